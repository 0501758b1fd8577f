import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { SpanKind, SpanStatusCode } from "@opentelemetry/api"
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base"
import { Effect, Layer, Schema } from "effect"
import { McpClient, type McpClientError, McpProtocol, type McpSchema, McpServer, Tool, Toolkit } from "effect/ai"
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

const Registrations = Layer.mergeAll(
  McpServer.toolkit(Tools),
  McpServer.resource({ uri: "test://greeting", name: "greeting", content: Effect.succeed("hello") }),
  McpServer.prompt({ name: "greet", content: () => Effect.succeed("Hello!") }),
  McpServer.middleware(withMcpServerSpan, { global: true })
).pipe(Layer.provide(Tools.toLayer({
  add: ({ a, b }) => Effect.map(injectTraceContext({}), (message) => ({ sum: a + b, message })),
  broken: () => Effect.fail("out of order")
})))

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
        assert.deepStrictEqual(ofServer, { ...tool, tool: "add" })
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
