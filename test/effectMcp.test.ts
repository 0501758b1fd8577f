import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { SpanKind, SpanStatusCode } from "@opentelemetry/api"
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base"
import { Effect, Layer, Schema, Stream } from "effect"
import { McpClient, type McpClientError, McpProtocol, McpSchema, McpServer, McpTest, Tool, Toolkit } from "effect/ai"
import { FetchHttpClient, HttpRouter, HttpServer } from "effect/http"
import { injectTraceContext, withBaggage, withToolSpan } from "loom-tracing"
import { withMcpClientSpans, withMcpServerSpan } from "loom-tracing/McpEffectAi"
import { createServer } from "node:http"
import * as Recorder from "./support/Recorder.ts"

const Add = Tool.make("add", {
  parameters: Schema.Struct({ a: Schema.Number, b: Schema.Number }),
  success: Schema.Struct({ sum: Schema.Number, message: Schema.Unknown })
})
const Broken = Tool.make("broken", { success: Schema.Void, failure: Schema.String })
const Tools = Toolkit.make(Add, Broken)

const ToolsLive = Tools.toLayer({
  add: ({ a, b }) => Effect.map(injectTraceContext({}), (message) => ({ sum: a + b, message })),
  broken: () => Effect.fail("it is out of order")
})

const Registrations = Layer.mergeAll(
  McpServer.toolkit(Tools),
  McpServer.resource({ uri: "test://greeting", name: "greeting", content: Effect.succeed("hello") }),
  McpServer.prompt({ name: "greet", content: () => Effect.succeed("Hello!") }),
  McpServer.middleware(withMcpServerSpan, { global: true })
).pipe(Layer.provide(ToolsLive))

const protocols = [McpProtocol.v2025_11_25, McpProtocol.v2026_07_28] as const

/** Runs a program with a client on a real server of its own. */
const connected = <A, E>(
  protocol: typeof protocols[number],
  recorder: ReturnType<typeof Recorder.make>,
  use: (client: McpClient.McpClient) => Effect.Effect<A, E>,
  clientIsTraced = true
) =>
  Effect.gen(function*() {
    const { address } = yield* HttpServer.HttpServer
    assert(address._tag === "InetAddressV4")
    const transport = yield* McpClient.http({ url: `http://127.0.0.1:${address.port}/mcp`, protocol })
    const client = yield* McpClient.make({ name: "test", version: "1" }).pipe(Effect.provideService(
      McpClient.Transport,
      clientIsTraced ? withMcpClientSpans(transport, { network: { transport: "tcp" } }) : transport
    ))
    return yield* use(client)
  }).pipe(
    Effect.scoped,
    Effect.provide(
      HttpRouter.serve(
        McpServer.layerHttp({
          name: "s",
          version: "1",
          path: "/mcp",
          protocols: [protocol],
          registrations: Registrations
        }),
        { disableLogger: true, disableListenLog: true }
      ).pipe(
        Layer.provideMerge(FetchHttpClient.layer),
        Layer.provideMerge(NodeHttpServer.layer(() => createServer(), { port: 0, host: "127.0.0.1" })),
        Layer.provideMerge(recorder.layer)
      )
    )
  )

const make = () => Recorder.make({ genAi: { convention: "latest" } })

/** The spans of that name, the client's first. */
const both = ({ spans }: ReturnType<typeof Recorder.make>, name: string): readonly [ReadableSpan, ReadableSpan] => {
  const found = [SpanKind.CLIENT, SpanKind.SERVER].map((kind) =>
    spans.filter((span) => span.name === name && span.kind === kind)
  )
  assert.deepStrictEqual(found.map(({ length }) => length), [1, 1], name)
  return [found[0][0], found[1][0]]
}

const callTool = Effect.fnUntraced(
  function*(client: McpClient.McpClient, name: string, args: Record<string, unknown> = {}) {
    const tool = (yield* client.listTools()).find((tool) => tool.name === name)
    assert(tool !== undefined)
    return yield* client.callTool({ tool, arguments: args })
  }
)

for (const protocol of protocols) {
  const { protocolVersion } = protocol

  describe(`between Effect's MCP client and server, ${protocolVersion}`, () => {
    it.effect("a tool runs in the trace of its caller, with the caller's baggage", () =>
      Effect.gen(function*() {
        const recorder = make()
        const result = yield* connected(
          protocol,
          recorder,
          (client) => callTool(client, "add", { a: 1, b: 2 }).pipe(withBaggage({ tenant: "acme" }))
        )
        const [client, server] = both(recorder, "tools/call add")
        assert.strictEqual(server.parentSpanContext?.spanId, client.spanContext().spanId)
        assert.strictEqual(server.spanContext().traceId, client.spanContext().traceId)
        assert.deepStrictEqual<unknown>(result.structuredContent, {
          sum: 3,
          message: {
            _trace_context: {
              traceparent: `00-${client.spanContext().traceId}-${server.spanContext().spanId}-03`,
              baggage: "tenant=acme"
            }
          }
        })
        const tool = {
          "gen_ai.operation.name": "execute_tool",
          "gen_ai.tool.name": "add",
          "mcp.method.name": "tools/call",
          "mcp.protocol.version": protocolVersion
        }
        const { "jsonrpc.request.id": id, ...attributes } = client.attributes
        assert.match(String(id), /^\d+$/)
        assert.deepStrictEqual(attributes, { ...tool, "network.transport": "tcp" })
        const { "mcp.session.id": session, ...ofServer } = server.attributes
        assert.strictEqual(session === undefined, protocolVersion === "2026-07-28", "only the older one has sessions")
        // What Effect writes beside the arguments.
        assert.deepStrictEqual(ofServer, {
          ...tool,
          tool: "add",
          "network.transport": "tcp",
          "network.protocol.name": "http"
        })
      }))

    for (
      const { attributes, name, run } of [
        {
          name: "resources/read",
          attributes: { "mcp.resource.uri": "test://greeting" },
          run: (client) => client.readResource({ uri: "test://greeting" })
        },
        {
          name: "prompts/get greet",
          attributes: { "gen_ai.prompt.name": "greet" },
          run: (client) =>
            Effect.flatMap(client.listPrompts(), ([prompt]) => client.getPrompt({ prompt, arguments: {} }))
        }
      ] as ReadonlyArray<{
        readonly name: string
        readonly attributes: object
        readonly run: (client: McpClient.McpClient) => Effect.Effect<unknown, McpClientError.McpClientError>
      }>
    ) {
      it.effect(`${name} is a span of either side`, () =>
        Effect.gen(function*() {
          const recorder = make()
          yield* connected(protocol, recorder, run)
          const [client, server] = both(recorder, name)
          assert.strictEqual(server.parentSpanContext?.spanId, client.spanContext().spanId)
          for (const span of [client, server]) assert.include(span.attributes, attributes)
        }))
    }

    for (
      const { error, name, sides, tool } of [
        { name: "a tool that fails", tool: "broken", error: "tool_error", sides: [SpanKind.CLIENT, SpanKind.SERVER] },
        // No middleware runs for it.
        { name: "a tool that is not there", tool: "missing", error: "-32602", sides: [SpanKind.CLIENT] }
      ]
    ) {
      it.effect(`${name} is an error of the span, and the program has what it had`, () =>
        Effect.gen(function*() {
          const run = (recorder: ReturnType<typeof Recorder.make>, clientIsTraced: boolean) =>
            connected(protocol, recorder, (client) =>
              Effect.gen(function*() {
                const [descriptor] = yield* client.listTools()
                return yield* Effect.exit(client.callTool({ tool: { ...descriptor, name: tool }, arguments: {} }))
              }), clientIsTraced)
          const recorder = make()
          const exit = yield* run(recorder, true)
          assert.deepStrictEqual(exit, yield* run(make(), false))
          const spans = recorder.spans.filter((span) => span.name === `tools/call ${tool}`)
          assert.sameMembers(spans.map(({ kind }) => kind), sides)
          for (const { attributes, status } of spans) {
            assert.strictEqual(attributes["error.type"], error)
            assert.strictEqual(status.code, SpanStatusCode.ERROR)
          }
        }))
    }

    it.effect("lists are spans of the client alone, and what the client says of itself too", () =>
      Effect.gen(function*() {
        const recorder = make()
        yield* connected(protocol, recorder, (client) => client.listTools())
        const names = recorder.spans.filter((span) => "mcp.method.name" in span.attributes).map((span) => span.name)
        assert.deepStrictEqual(
          names,
          protocolVersion === "2026-07-28"
            ? ["server/discover", "tools/list"]
            : ["initialize", "notifications/initialized", "tools/list"]
        )
      }))

    it.effect("content stays off, whatever is said about it, as what is sensitive in it is not known", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { convention: "latest", capture: "SPAN_AND_EVENT" } })
        yield* connected(protocol, recorder, (client) => callTool(client, "add", { a: 123454321, b: 2 }))
        both(recorder, "tools/call add")
        assert.notInclude(
          JSON.stringify(recorder.spans.map(({ attributes, events }) => [attributes, events])),
          "123454321"
        )
      }))

    for (
      const { name, run } of [
        {
          name: "the client",
          run: (client) =>
            Effect.flatMap(
              client.listTools(),
              ([tool]) =>
                client.callTool({ tool: { ...tool, name: "broken" }, arguments: {}, schema: Schema.Struct({}) })
            )
        },
        {
          name: "the client's toolkit",
          run: (client) =>
            Effect.flatMap(
              McpClient.toolkit(client),
              (toolkit) => Effect.flatMap(toolkit.handle("broken", {}), Stream.runDrain)
            )
        }
      ] as ReadonlyArray<{
        readonly name: string
        readonly run: (client: McpClient.McpClient) => Effect.Effect<unknown, unknown>
      }>
    ) {
      it.effect(`what a tool has failed with is on no span, where ${name} makes an error of it`, () =>
        Effect.gen(function*() {
          const recorder = make()
          const exit = yield* connected(
            protocol,
            recorder,
            (client) => Effect.exit(run(client).pipe(Effect.withSpan("program")))
          )
          assert.include(String(exit), "it is out of order")
          assert.strictEqual(recorder.span("program").status.code, SpanStatusCode.ERROR)
          const recorded = recorder.spans.map(({ attributes, events, status }) => [attributes, events, status])
          assert.notInclude(JSON.stringify(recorded), "out of order")
        }))
    }

    it.effect("a request without a context is in the trace of what was current", () =>
      Effect.gen(function*() {
        const recorder = make()
        yield* connected(protocol, recorder, (client) => callTool(client, "add", { a: 1, b: 2 }), false)
        const span = recorder.span("tools/call add")
        const parent = recorder.spans.find((other) => other.spanContext().spanId === span.parentSpanContext?.spanId)
        assert.strictEqual(parent?.name, `McpServer.@effect/mcp/${protocolVersion}/tools/call`)
        assert.lengthOf(span.links, 0)
      }))
  })
}

describe("withMcpClientSpans", () => {
  /** A transport that answers every request, and what it has been given. */
  const makeTransport = () => {
    const sent: Array<unknown> = []
    const transport: McpClient.Transport = {
      "~effect/ai/McpClient/Transport": "~effect/ai/McpClient/Transport",
      protocol: McpProtocol.v2025_11_25,
      request: (message, tool) =>
        Effect.sync(() => {
          sent.push(message, tool)
          return { jsonrpc: "2.0", id: message.id, result: {} }
        }),
      notify: (message) => Effect.sync(() => void sent.push(message)),
      isCallable: () => true
    }
    return { sent, transport }
  }
  const request = { jsonrpc: "2.0", id: 7, method: "tools/call", params: { name: "t", arguments: {} } } as const
  const notification = { jsonrpc: "2.0", method: "notifications/initialized" } as const
  const tool = { name: "t", inputSchema: {} } as McpSchema.Tool

  it.effect("where tracing is off, messages are sent as they are", () =>
    Effect.gen(function*() {
      const { sent, transport } = makeTransport()
      const traced = withMcpClientSpans(transport)
      yield* traced.request(request, tool)
      yield* traced.notify(notification)
      assert.deepStrictEqual(sent, [request, tool, notification])
      assert.strictEqual(sent[0], request)
      assert.strictEqual(sent[2], notification)
    }))

  it.effect("keeps the caller's message, and what its params._meta has already", () =>
    Effect.gen(function*() {
      const { sent, transport } = makeTransport()
      const message = { ...request, params: { ...request.params, _meta: { progressToken: 1 } } }
      const copy = structuredClone(message)
      const recorder = make()
      yield* recorder.run(
        Effect.andThen(
          withMcpClientSpans(transport).request(message),
          withMcpClientSpans(transport).notify(notification)
        )
      )
      assert.deepStrictEqual(message, copy)
      const [asked, noted] = ["tools/call t", "notifications/initialized"].map((name) =>
        `00-${recorder.span(name).spanContext().traceId}-${recorder.span(name).spanContext().spanId}-03`
      )
      assert.deepStrictEqual(sent, [
        { ...request, params: { ...request.params, _meta: { progressToken: 1, traceparent: asked } } },
        undefined,
        { ...notification, params: { _meta: { traceparent: noted } } }
      ])
    }))

  it.effect("of a transport with methods keeps them", () =>
    Effect.gen(function*() {
      class OwnTransport implements McpClient.Transport {
        readonly "~effect/ai/McpClient/Transport" = "~effect/ai/McpClient/Transport"
        readonly protocol = McpProtocol.v2025_11_25
        readonly inner = makeTransport()
        request(message: McpSchema.JsonRpcRequest, tool?: McpSchema.Tool) {
          return this.inner.transport.request(message, tool)
        }
        notify(message: McpSchema.JsonRpcNotification) {
          return this.inner.transport.notify(message)
        }
        isCallable(tool: McpSchema.Tool) {
          return this.inner.transport.isCallable(tool)
        }
      }
      const own = new OwnTransport()
      const traced = withMcpClientSpans(own)
      yield* traced.request(request, tool)
      yield* traced.notify(notification)
      assert.isTrue(traced.isCallable(tool))
      assert.deepStrictEqual(own.inner.sent, [request, tool, notification])
    }))

  for (
    const { answer, code, error, name } of [
      {
        name: "a JSON-RPC error",
        answer: { error: { code: -32001, message: "busy" } },
        error: "-32001",
        code: "-32001"
      },
      {
        name: "a result that is one",
        answer: { result: { isError: true, content: [{ type: "text", text: "busy" }] } },
        error: "tool_error",
        code: undefined
      }
    ] as const
  ) {
    it.effect(`${name} is one of the tool's span too, where the client makes an error of it`, () =>
      Effect.gen(function*() {
        const { transport } = makeTransport()
        const recorder = make()
        const client = yield* McpClient.make({ name: "test", version: "1" }).pipe(
          Effect.provideService(
            McpClient.Transport,
            withMcpClientSpans({
              ...transport,
              request: ({ id, method }) =>
                Effect.succeed(
                  method === "tools/call" ? { jsonrpc: "2.0", id, ...answer } : {
                    jsonrpc: "2.0",
                    id,
                    result: {
                      protocolVersion: "2025-11-25",
                      capabilities: { tools: {} },
                      serverInfo: { name: "s", version: "1" }
                    }
                  }
                )
            })
          )
        )
        const call = client.callTool({ tool, schema: Schema.Struct({}) })
        yield* recorder.run(Effect.andThen(Effect.exit(call), Effect.exit(call.pipe(withToolSpan({ name: "t" })))))
        for (const span of ["tools/call t", "execute_tool t"]) {
          assert.strictEqual(recorder.span(span).attributes["error.type"], error)
          assert.strictEqual(recorder.span(span).attributes["rpc.response.status_code"], code)
        }
      }).pipe(Effect.scoped))
  }

  it.effect("adds to the span of a tool of the same name", () =>
    Effect.gen(function*() {
      const { transport } = makeTransport()
      const recorder = make()
      yield* recorder.run(withMcpClientSpans(transport).request(request).pipe(withToolSpan({ name: "t" })))
      assert.lengthOf(recorder.spans, 1)
      assert.strictEqual(recorder.span("execute_tool t").attributes["mcp.method.name"], "tools/call")
    }))

  it.effect("says what its options say, piped as well", () =>
    Effect.gen(function*() {
      const { transport } = makeTransport()
      const recorder = make()
      const options = {
        network: { transport: "pipe" },
        peer: { address: "mcp.internal", port: 3000 },
        sessionId: "s1",
        attributes: { region: "eu" }
      }
      yield* recorder.run(
        Effect.andThen(
          withMcpClientSpans(transport, options).request(request),
          Effect.succeed(transport).pipe(
            Effect.map(withMcpClientSpans(options)),
            Effect.flatMap((transport) => transport.request(request))
          )
        )
      )
      assert.lengthOf(recorder.spans, 2)
      for (const { attributes } of recorder.spans) {
        assert.include(attributes, {
          "network.transport": "pipe",
          "server.address": "mcp.internal",
          "server.port": 3000,
          "mcp.session.id": "s1",
          region: "eu"
        })
      }
    }))
})

describe("withMcpServerSpan", () => {
  /** The requests of the protocol that a server has spans for. */
  const served = <A, E, R>(
    registrations: Layer.Layer<A, E, R>,
    use: (client: McpTest.Client) => Effect.Effect<unknown, unknown>
  ) =>
    Effect.gen(function*() {
      const recorder = make()
      const client = yield* McpTest.makeClient(
        Layer.merge(registrations, McpServer.middleware(withMcpServerSpan, { global: true })),
        { protocols: [McpProtocol.v2025_11_25] }
      ).pipe(Effect.provide(recorder.layer))
      yield* use(client).pipe(Effect.provide(recorder.layer))
      return recorder.spans.filter(({ attributes }) => "mcp.method.name" in attributes).map(({ name }) => name)
    })

  it.effect("is none for a list, of which a middleware is told for each item", () =>
    Effect.gen(function*() {
      const visible = McpServer.toolkit(Tools).pipe(
        Layer.provide(McpServer.visibility(() => Effect.succeed(true)).layer),
        Layer.provide(ToolsLive)
      )
      const names = yield* served(visible, (client) =>
        Effect.andThen(client.listTools({}), client.callTool({ name: "add", arguments: { a: 1, b: 2 } })))
      assert.deepStrictEqual(names, ["tools/call add"])
    }).pipe(Effect.scoped))

  it.effect("of a completion has the name of a prompt, and no template's", () =>
    Effect.gen(function*() {
      const id = McpSchema.param("id", Schema.String)
      const names = yield* served(
        Layer.merge(
          McpServer.prompt({
            name: "greet",
            parameters: { name: Schema.String },
            completion: { name: () => Effect.succeed(["Ada"]) },
            content: ({ name }) => Effect.succeed(`Hello ${name}!`)
          }),
          McpServer.resource`test://people/${id}`({
            name: "person",
            completion: { id: () => Effect.succeed(["1"]) },
            content: (_, id) => Effect.succeed(id)
          })
        ),
        (client) =>
          Effect.andThen(
            client.complete({
              ref: { type: "ref/prompt", name: "greet" },
              argument: { name: "name", value: "A" }
            }),
            client.complete({
              ref: { type: "ref/resource", uri: "test://people/{id}" },
              argument: { name: "id", value: "1" }
            })
          )
      )
      assert.deepStrictEqual(names, ["completion/complete greet", "completion/complete"])
    }).pipe(Effect.scoped))

  it.effect("says nothing of HTTP where that was not used", () =>
    Effect.gen(function*() {
      const recorder = make()
      yield* Effect.gen(function*() {
        const client = yield* McpTest.makeClient(Registrations, { protocols: [McpProtocol.v2025_11_25] })
        yield* client.readResource({ uri: "test://greeting" })
      }).pipe(Effect.scoped, Effect.provide(recorder.layer))
      assert.deepStrictEqual(recorder.span("resources/read").attributes, {
        "mcp.method.name": "resources/read",
        "mcp.resource.uri": "test://greeting",
        "mcp.protocol.version": "2025-11-25"
      })
    }))
})
