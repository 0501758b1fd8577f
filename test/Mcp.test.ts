import { assert, describe, it } from "@effect/vitest"
import { SpanStatusCode } from "@opentelemetry/api"
import { Cause, Data, Effect, Exit, identity, References } from "effect"
import { McpClientError, McpSchema } from "effect/ai"
import { TestClock } from "effect/testing"
import {
  extractHeaders,
  type GenAiSettings,
  injectHeaders,
  mcpCarrier,
  withAgentSpan,
  withConversation,
  withLlmSpan,
  withMcpSpan,
  withRemoteContext,
  withToolSpan
} from "loom-tracing"
import * as ForeignTracer from "./support/ForeignTracer.ts"
import * as Recorder from "./support/Recorder.ts"

/** What the official SDK throws. */
class McpError extends Error {
  override readonly name = "McpError"
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** What its transport throws, with the status of HTTP for a code. */
class StreamableHTTPError extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

class Disconnected extends Data.TaggedError("Disconnected")<{}> {}

const failWith = (error: unknown) => Effect.fail(error)

/** Where a tool is called: in a span of the request's own, or in the tool's. */
const places: ReadonlyArray<readonly [string, span: string, <A, E>(self: Effect.Effect<A, E>) => Effect.Effect<A, E>]> =
  [
    ["alone", "tools/call t", identity],
    ["inside the tool's span", "execute_tool t", withToolSpan({ name: "t" })]
  ]

const raise = (): never => {
  throw new RangeError("broken")
}

describe("withMcpSpan", () => {
  for (
    const [name, options] of [
      ["initialize", { method: "initialize" }],
      ["tools/call weather", { method: "tools/call", tool: "weather" }],
      ["prompts/get greeting", { method: "prompts/get", prompt: "greeting" }],
      // The URI has too many values for a name.
      ["resources/read", { method: "resources/read", resourceUri: "file:///a" }],
      ["notifications/progress", { method: "notifications/progress" }],
      ["vendor/method", { method: "vendor/method" }]
    ] as const
  ) {
    it.effect(`names the span ${name}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(Effect.void.pipe(withMcpSpan(options)))
        const span = recorder.span(name)
        assert.strictEqual(
          span.attributes["gen_ai.operation.name"],
          options.method === "tools/call" ? "execute_tool" : undefined
        )
      }))
  }

  for (
    const [name, effect, type, code] of [
      ["an error of the official SDK", failWith(new McpError(-32602, "Invalid params")), "-32602", "-32602"],
      [
        "an error of effect/ai",
        failWith(new McpSchema.MethodNotFound({ message: "no such method" })),
        "-32601",
        "-32601"
      ],
      ["a plain JSON-RPC error", failWith({ code: -32000, message: "busy" }), "-32000", "-32000"],
      [
        "an error that a promise was rejected with",
        failWith(new Cause.UnknownError(new McpError(-32602, "Invalid params"))),
        "-32602",
        "-32602"
      ],
      [
        "an error of the client of effect/ai",
        failWith(
          new McpClientError.McpClientError({
            reason: new McpClientError.ProtocolError({ code: -32602, description: "Invalid params" })
          })
        ),
        "-32602",
        "-32602"
      ],
      [
        "a result that the client of effect/ai has made an error of",
        failWith(
          new McpClientError.McpClientError({
            reason: new McpClientError.ToolError({
              result: McpSchema.CallToolResult.make({ isError: true, content: [] })
            })
          })
        ),
        "tool_error",
        undefined
      ],
      [
        "an error of the client of effect/ai without a code",
        failWith(
          new McpClientError.McpClientError({ reason: new McpClientError.TransportError({ description: "down" }) })
        ),
        "TransportError",
        undefined
      ],
      [
        "a defect with a code",
        Effect.promise(() => Promise.reject(new McpError(-32602, "Invalid params"))),
        "-32602",
        "-32602"
      ],
      ["a status of HTTP", failWith(new StreamableHTTPError(503, "down")), "StreamableHTTPError", undefined],
      ["a result that says so", Effect.succeed({ isError: true, content: [] }), "tool_error", undefined],
      [
        "a JSON-RPC response with an error",
        Effect.succeed({ jsonrpc: "2.0", id: 1, error: { code: -32602, message: "Invalid params" } }),
        "-32602",
        "-32602"
      ],
      [
        "a JSON-RPC response with a result that says so",
        Effect.succeed({ jsonrpc: "2.0", id: 1, result: { isError: true, content: [] } }),
        "tool_error",
        undefined
      ],
      [
        "a JSON-RPC response with a result that says that all is well",
        Effect.succeed({ jsonrpc: "2.0", id: 1, result: { content: [] } }),
        undefined,
        undefined
      ],
      [
        "a JSON-RPC response that is none",
        Effect.succeed({ jsonrpc: "2.0", id: 1, error: "busy" }),
        undefined,
        undefined
      ],
      ["a value with an error of its own", Effect.succeed({ error: { code: -32602 } }), undefined, undefined],
      ["any other error", failWith(new Disconnected()), "Disconnected", undefined],
      [
        "an error with a code of another kind",
        failWith(Object.assign(new RangeError("x"), { code: "ECONNRESET" })),
        "RangeError",
        undefined
      ],
      [
        "a timeout, which has a code of the DOM's",
        failWith(new DOMException("slow", "TimeoutError")),
        "TimeoutError",
        undefined
      ],
      ["a result that says that all is well", Effect.succeed({ isError: false }), undefined, undefined]
    ] as ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>, string | undefined, string | undefined]>
  ) {
    for (const [place, spanName, wrap] of places) {
      it.effect(`${name}, ${place}: error.type ${String(type)}, and the effect as it was`, () =>
        Effect.gen(function*() {
          const recorder = Recorder.make()
          const before = yield* Effect.exit(effect)
          const after = yield* recorder.run(
            effect.pipe(withMcpSpan({ method: "tools/call", tool: "t" }), wrap, Effect.exit)
          )
          assert.deepStrictEqual(after, before)
          const span = recorder.span(spanName)
          assert.strictEqual(span.attributes["error.type"], type)
          assert.strictEqual(span.attributes["rpc.response.status_code"], code)
          assert.strictEqual(span.status.code, type === undefined ? SpanStatusCode.UNSET : SpanStatusCode.ERROR)
        }))
    }
  }

  for (
    const [name, call, then, type] of [
      [
        "another failure",
        failWith(new McpError(-32602, "Invalid params")),
        (self) => Effect.mapError(self, () => new Disconnected()),
        "Disconnected"
      ],
      ["a success", failWith(new McpError(-32602, "Invalid params")), (self) => Effect.ignore(self), undefined],
      [
        "a defect",
        Effect.succeed({ isError: true }),
        (self) => Effect.andThen(self, Effect.die(new RangeError("x"))),
        "RangeError"
      ]
    ] as ReadonlyArray<
      readonly [
        string,
        Effect.Effect<unknown, unknown>,
        (self: Effect.Effect<unknown, unknown>) => Effect.Effect<unknown, unknown>,
        string | undefined
      ]
    >
  ) {
    it.effect(`a tool's span has the error that the tool ends with, where it makes ${name} of the request's`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(
          call.pipe(withMcpSpan({ method: "tools/call", tool: "t" }), then, withToolSpan({ name: "t" }), Effect.exit)
        )
        assert.strictEqual(recorder.span("execute_tool t").attributes["error.type"], type)
      }))
  }

  for (
    const [name, effect, type] of [
      ["that of an error", failWith(new McpError(-32602, "Invalid params")), "McpError"],
      ["the code of one that has none", failWith({ code: -32602, message: "Invalid params" }), "-32602"],
      ["tool_error, for a result that says so", Effect.succeed({ isError: true, content: [] }), "tool_error"]
    ] as ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>, string]>
  ) {
    it.effect(`where content is captured, the exception of a span has a name: ${name}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY" } })
        yield* recorder.run(effect.pipe(withMcpSpan({ method: "tools/call", tool: "t" }), Effect.exit))
        const [exception] = recorder.span("tools/call t").events
        assert.strictEqual(exception?.attributes?.["exception.type"], type)
      }))
  }

  for (const [place, spanName, wrap] of places) {
    const message = "quotes the prompt"
    const broken = Object.defineProperty({}, "broken", { enumerable: true, get: raise })
    for (
      const [name, attributes, error] of [
        ["attributes that throw, of a success", broken, undefined],
        ["attributes that throw, of a failure", broken, new Error(message)],
        ["a code that throws", {}, Object.defineProperty(new Error(message), "code", { get: raise })]
      ] as ReadonlyArray<readonly [string, Readonly<Record<string, unknown>>, Error | undefined]>
    ) {
      it.effect(`${name}, ${place}: the effect as it was, and nothing of the error's message`, () =>
        Effect.gen(function*() {
          const recorder = Recorder.make()
          const caught = yield* recorder.run(
            (error === undefined ? Effect.void : Effect.fail(error)).pipe(
              withMcpSpan({ method: "tools/call", tool: "t", attributes }),
              wrap,
              Effect.withSpan("outer"),
              Effect.catch(Effect.succeed)
            )
          )
          assert.isTrue(caught === error)
          assert.deepStrictEqual(recorder.spans.map((span) => span.name), [spanName, "outer"])
          const recorded = recorder.spans.map(({ attributes, events, status }) => [attributes, events, status])
          assert.notInclude(JSON.stringify(recorded), message)
        }))
    }

    it.effect(`options that cannot be read, ${place}: the effect as it was`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const options = Object.defineProperty({ method: "" }, "method", { get: raise })
        const results = yield* recorder.run(Effect.all([
          Effect.succeed(1).pipe(withMcpSpan(options), wrap),
          Effect.fail(2).pipe(withMcpSpan(options), wrap, Effect.flip)
        ]))
        assert.deepStrictEqual(results, [1, 2])
        const spans = recorder.spans.filter(({ attributes }) => "mcp.method.name" in attributes)
        assert.lengthOf(spans, 0)
      }))

    it.effect(`${place}: the message of an error that is no Error, and no stack of ours`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY" } })
        yield* recorder.run(
          failWith({ code: -32000, message: "busy" }).pipe(
            withMcpSpan({ method: "tools/call", tool: "t" }),
            wrap,
            Effect.exit
          )
        )
        const { events, status } = recorder.span(spanName)
        assert.strictEqual(status.message, "busy")
        assert.deepStrictEqual(events.map(({ attributes }) => attributes?.["exception.message"]), ["busy"])
        assert.notInclude(String(events[0].attributes?.["exception.stacktrace"]), "src/Mcp.ts")
      }))

    it.effect(`${place}: the stack of an error is its own, where content is captured`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY" } })
        const error = new McpError(-32602, "Invalid params")
        yield* recorder.run(
          failWith(error).pipe(withMcpSpan({ method: "tools/call", tool: "t" }), wrap, Effect.exit)
        )
        const [{ attributes }] = recorder.span(spanName).events
        assert.include(String(attributes?.["exception.stacktrace"]), error.stack!.split("\n")[1])
      }))

    it.effect(`${place}: a foreign tracer records no more than the name of what a peer has answered`, () =>
      Effect.gen(function*() {
        const { spans, tracer } = ForeignTracer.make()
        yield* Effect.succeed({ jsonrpc: "2.0", id: 1, error: { code: -32000, message: "quotes the prompt" } }).pipe(
          withMcpSpan({ method: "tools/call", tool: "t" }),
          wrap,
          Effect.withTracer(tracer)
        )
        const [{ status }] = spans
        assert(status._tag === "Ended" && Exit.isFailure(status.exit))
        const [error] = Cause.prettyErrors(status.exit.cause)
        assert.deepStrictEqual([error.name, error.message], ["-32000", ""])
        assert.notInclude(Cause.pretty(Cause.fail(error)), "quotes")
      }))

    it.effect(`${place}: the message of an error that a promise was rejected with`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY" } })
        yield* recorder.run(
          Effect.tryPromise(() => Promise.reject(new McpError(-32602, "Invalid params"))).pipe(
            withMcpSpan({ method: "tools/call", tool: "t" }),
            wrap,
            Effect.exit
          )
        )
        assert.strictEqual(recorder.span(spanName).status.message, "Invalid params")
      }))

    it.effect(`${place}: no time is made up where timing is off`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* TestClock.adjust("1 minute")
        yield* recorder.run(
          failWith(new McpError(-32602, "Invalid params")).pipe(
            withMcpSpan({ method: "tools/call", tool: "t" }),
            wrap,
            Effect.exit,
            Effect.provideService(References.TracerTimingEnabled, false)
          )
        )
        assert.deepStrictEqual(recorder.span(spanName).endTime, [0, 0])
      }))
  }

  it.effect("the call of a tool belongs to its conversation", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        Effect.void.pipe(withMcpSpan({ method: "tools/call", tool: "t" }), withConversation("conv-1"))
      )
      assert.strictEqual(recorder.span("tools/call t").attributes["gen_ai.conversation.id"], "conv-1")
    }))

  for (
    const [genAi, shown] of [
      [{ capture: "SPAN_ONLY" }, "Invalid params"],
      [{ capture: "NO_CONTENT" }, undefined],
      [{ capture: "SPAN_ONLY", redact: (content) => ({ ...content }) }, undefined]
    ] as ReadonlyArray<readonly [Partial<GenAiSettings>, string | undefined]>
  ) {
    it.effect(`${JSON.stringify(genAi)}: the status ${shown === undefined ? "is silent" : "has the error's message"}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi })
        yield* recorder.run(
          failWith(new McpError(-32602, "Invalid params")).pipe(withMcpSpan({ method: "ping" }), Effect.exit)
        )
        const span = recorder.span("ping")
        assert.strictEqual(span.status.message, shown)
        assert.strictEqual(span.events[0].attributes?.["exception.message"], shown)
      }))
  }

  it.effect("what a server does for a tool is a span of its own, also where it is called from within", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        Effect.void.pipe(
          withMcpSpan({ method: "tools/call", tool: "t", side: "server" }),
          withToolSpan({ name: "t" })
        )
      )
      assert.deepStrictEqual(recorder.spans.map(({ name }) => name), ["tools/call t", "execute_tool t"])
    }))

  it.effect("adds to the span of the tool that it calls, instead of making a second one", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const call = Effect.succeed({ content: [] }).pipe(
        withMcpSpan({
          method: "tools/call",
          tool: "weather",
          requestId: 7,
          sessionId: "s",
          network: { transport: "pipe" }
        })
      )
      yield* recorder.run(
        Effect.all([
          call.pipe(withToolSpan({ name: "weather", callId: "c" })),
          call.pipe(withToolSpan({ name: "another" })),
          call.pipe(Effect.withSpan("between"), withToolSpan({ name: "weather-2" }))
        ])
      )
      const names = recorder.spans.map(({ name }) => name)
      assert.deepStrictEqual(names, [
        "execute_tool weather",
        "tools/call weather",
        "execute_tool another",
        "tools/call weather",
        "between",
        "execute_tool weather-2"
      ])
      assert.deepStrictEqual(recorder.spans[0].attributes, {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "weather",
        "gen_ai.tool.call.id": "c",
        "mcp.method.name": "tools/call",
        "jsonrpc.request.id": "7",
        "mcp.session.id": "s",
        "network.transport": "pipe"
      })
      yield* recorder.run(
        failWith(new McpError(-32602, "Invalid params")).pipe(
          withMcpSpan({ method: "tools/call", tool: "weather" }),
          withToolSpan({ name: "weather" }),
          Effect.exit
        )
      )
      const { attributes } = recorder.spans[recorder.spans.length - 1]
      assert.strictEqual(attributes["rpc.response.status_code"], "-32602")
      assert.strictEqual(attributes["error.type"], "-32602")
    }))

  type Call = Effect.Effect<{ readonly content: ReadonlyArray<unknown> }, unknown>
  for (
    const [what, recover] of [
      ["a retry", (call: Call) => Effect.retry(call, { times: 1 })],
      ["a default", (call: Call) => Effect.orElseSucceed(call, () => ({ content: [] }))]
    ] as const
  ) {
    it.effect(`a failure that ${what} makes good is not the tool's`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        let attempts = 0
        const call = Effect.suspend(() =>
          attempts++ === 0 ? failWith(new McpError(-32000, "busy")) : Effect.succeed({ content: [] })
        )
        yield* recorder.run(
          call.pipe(
            withMcpSpan({ method: "tools/call", tool: "weather" }),
            recover,
            withToolSpan({ name: "weather" })
          )
        )
        const { attributes, status } = recorder.span("execute_tool weather")
        assert.deepStrictEqual(status, { code: SpanStatusCode.UNSET })
        assert.notProperty(attributes, "error.type")
        assert.notProperty(attributes, "rpc.response.status_code")
      }))
  }

  it.effect("a result that says so, and that another request makes good, is not the tool's", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const call = (isError: boolean) =>
        Effect.succeed({ isError, content: [] }).pipe(withMcpSpan({ method: "tools/call", tool: "weather" }))
      yield* recorder.run(Effect.andThen(call(true), call(false)).pipe(withToolSpan({ name: "weather" })))
      assert.deepStrictEqual(recorder.span("execute_tool weather").status, { code: SpanStatusCode.UNSET })
    }))

  it.effect("client and server share a trace through params._meta; what was current on the server is linked", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const serve = (params: object) =>
        Effect.flatMap(extractHeaders(params, mcpCarrier), (context) =>
          Effect.succeed({ content: [] }).pipe(
            withLlmSpan({ provider: "openai", request: { model: "m" } }),
            withMcpSpan({ method: "tools/call", tool: "weather", side: "server" }),
            withRemoteContext(context),
            Effect.withSpan("connection", { root: true })
          ))
      yield* recorder.run(
        injectHeaders({ name: "weather", arguments: {} }, mcpCarrier).pipe(
          Effect.flatMap((params) => serve(JSON.parse(JSON.stringify(params)))),
          withMcpSpan({ method: "tools/call", tool: "weather" }),
          withAgentSpan({ name: "a" })
        )
      )
      const [llm, server, connection, client] = recorder.spans
      assert.deepStrictEqual([server, client].map((span) => Recorder.summarize(span).kind), ["SERVER", "CLIENT"])
      assert.strictEqual(server.parentSpanContext?.spanId, client.spanContext().spanId)
      assert.strictEqual(server.spanContext().traceId, client.spanContext().traceId)
      assert.strictEqual(llm.parentSpanContext?.spanId, server.spanContext().spanId)
      assert.deepStrictEqual(server.links.map((link) => link.context.spanId), [connection.spanContext().spanId])
    }))
})
