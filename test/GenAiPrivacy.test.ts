/** With content off, not a byte of a conversation leaves the process, however the call ends. */
import { assert, describe, it } from "@effect/vitest"
import { SpanStatusCode } from "@opentelemetry/api"
import { Cause, ConfigProvider, Data, Effect, Fiber, Layer, Schedule, Schema, Stream } from "effect"
import {
  annotateLlmResponse,
  type GenAiSettings,
  handleTracedMessage,
  makeTracingLive,
  recordEvaluation,
  traceAsyncIterable,
  TracedMessage,
  withAgentSpan,
  withConsumerSpan,
  withCreateAgentSpan,
  withEmbeddingsSpan,
  withFetchResponseSpan,
  withLlmSpan,
  withLlmStreamSpan,
  withMcpSpan,
  withMemorySpan,
  withPlanSpan,
  withRetrievalSpan,
  withToolSpan,
  withWorkflowSpan
} from "loom-tracing"
import { inspect } from "node:util"
import OpenAI, { APIError } from "openai"
import * as LlmServer from "./support/LlmServer.ts"
import * as OtlpReceiver from "./support/OtlpReceiver.ts"
import * as Recorder from "./support/Recorder.ts"

const CANARY = "canary-5f1d2c"

class ProviderError extends Data.TaggedError("ProviderError")<{ readonly message: string; readonly cause?: unknown }> {}

const content = {
  input: CANARY,
  systemInstructions: CANARY,
  toolDefinitions: [{ type: "function", name: "t", description: CANARY }],
  prompt: { name: "p", variables: { a: CANARY } }
} as const
const call = { provider: "openai", request: { model: "gpt-4o" }, ...content } as const
const response = () => ({ id: "r", output: CANARY })
const fold = {
  initial: () => "",
  step: (text: string, chunk: string) => text + chunk,
  response: (text: string) => ({ output: text })
}

type Wrap = <A, E>(self: Effect.Effect<A, E>) => Effect.Effect<A, E>

const raise = (): never => {
  throw new Error("hands off")
}

const throwing = (error: unknown) => ({
  async *[Symbol.asyncIterator]() {
    yield CANARY
    throw error
  }
})

/** Everything of ours that stands around a call. */
const operations: Readonly<Record<string, Wrap>> = {
  withLlmSpan: (self) =>
    Effect.tap(self, () => annotateLlmResponse({ output: CANARY })).pipe(
      withLlmSpan({ ...call, response })
    ),
  withLlmStreamSpan: (self) =>
    Stream.concat(Stream.make(CANARY), Stream.fromEffect(Effect.as(self, CANARY))).pipe(
      withLlmStreamSpan({ ...call, fold }),
      Stream.runDrain,
      Effect.andThen(self)
    ),
  withToolSpan: withToolSpan({ name: "t", arguments: { q: CANARY }, result: () => CANARY }),
  withAgentSpan: withAgentSpan({ name: "a", ...content, response }),
  withCreateAgentSpan: withCreateAgentSpan({ provider: "openai", systemInstructions: CANARY }),
  withPlanSpan: withPlanSpan({}),
  withWorkflowSpan: withWorkflowSpan({ name: "w", input: CANARY, output: () => CANARY }),
  withEmbeddingsSpan: withEmbeddingsSpan({ provider: "openai", request: { model: "e" } }),
  withRetrievalSpan: withRetrievalSpan({ query: CANARY, documents: () => [{ id: "1", text: CANARY }] }),
  withMemorySpan: withMemorySpan({ operation: "search_memory", query: CANARY, records: [{ content: CANARY }] }),
  withFetchResponseSpan: withFetchResponseSpan({ provider: "openai", responseId: "r", response }),
  withMcpSpan: withMcpSpan({ method: "tools/call", tool: "t", arguments: { q: CANARY }, result: () => CANARY })
}

/** What goes wrong inside, each time quoting the prompt. */
const failures: Readonly<Record<string, Effect.Effect<unknown, unknown>>> = {
  "nothing": Effect.succeed(CANARY),
  "a typed error": Effect.fail(new ProviderError({ message: `Bad request: ${CANARY}` })),
  "a cause within": Effect.fail(
    new ProviderError({ message: "Bad request", cause: new Error("400", { cause: new Error(CANARY) }) })
  ),
  "a JSON-RPC error": Effect.fail(Object.assign(new Error(`Invalid params: ${CANARY}`), { code: -32602 }) as unknown),
  "a tool's error": Effect.succeed({ isError: true, content: CANARY }),
  "a rejected promise": Effect.tryPromise(() => Promise.reject(new Error(CANARY))),
  "a thrown string": Effect.fail(CANARY),
  "a defect": Effect.die(new TypeError(`Cannot read ${CANARY}`)),
  "several at once": Effect.failCause(
    Cause.combine(Cause.fail(new AggregateError([new Error(CANARY)], CANARY)), Cause.die(CANARY))
  ),
  "a retried error": Effect.suspend(() => Effect.fail(new ProviderError({ message: CANARY }))).pipe(
    Effect.retry(Schedule.recurs(3))
  ),
  "an interruption": Effect.interrupt
}

const copied = (error: unknown) =>
  new ProviderError({ message: `failed: ${String(error)} ${error instanceof Error ? error.message : ""}` })

const message = { _trace_context: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" } }

/** What a program has around its calls. */
const surroundings: Readonly<Record<string, Wrap>> = {
  "its own spans": (self) => self.pipe(Effect.withSpan("inner"), Effect.withSpan("outer")),
  "an agent of a workflow": (self) => self.pipe(withAgentSpan({ name: "a" }), withWorkflowSpan({ name: "w" })),
  "retries of spans": (self) =>
    self.pipe(Effect.withSpan("attempt"), Effect.retry(Schedule.recurs(2)), Effect.withSpan("all")),
  "an error of its own that wraps": (self) =>
    self.pipe(
      Effect.mapError((cause) => new ProviderError({ message: "failed", cause })),
      Effect.withSpan("wrapped")
    ) as typeof self,
  "an error of its own that copies": (self) =>
    self.pipe(
      Effect.mapError(copied),
      Effect.withSpan("copied")
    ) as typeof self,
  "defects out of errors": (self) => self.pipe(Effect.orDie, Effect.withSpan("orDie")) as typeof self,
  "a message's handling": (self) => self.pipe(withConsumerSpan({ system: "nats", destination: "tasks" })),
  "the handling of a message with a context, and a copy of its error": (self) =>
    handleTracedMessage(TracedMessage(Schema.Struct({})), { system: "nats", destination: "tasks" }, () => self)(message)
      .pipe(Effect.mapError(copied), Effect.withSpan("worker")) as typeof self,
  "forked fibers": (self) => Effect.flatMap(Effect.forkChild(self), Fiber.join).pipe(Effect.withSpan("forked"))
}

const live = (receiver: OtlpReceiver.OtlpReceiver, convention: GenAiSettings["convention"]) =>
  makeTracingLive({ endpoint: receiver.url, genAi: { convention } }).pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({})))
  )

const assertSilent = (receiver: OtlpReceiver.OtlpReceiver, spans: number) => {
  assert.isAtLeast(receiver.spans.length, spans)
  // Also not a part of it.
  const bytes = Buffer.concat(receiver.rawBytes).toString("latin1")
  assert.include(bytes, "gen_ai.operation.name")
  for (const text of [CANARY, CANARY.slice(0, 6)]) {
    const found = receiver.spans.filter((span) => JSON.stringify(span, jsonOf).includes(text))
    assert.deepStrictEqual(
      found.map(({ attributes, events, name, status }) => ({ name, attributes, events, status })),
      []
    )
    assert.notInclude(bytes, text)
  }
}

const jsonOf = (_: string, value: unknown): unknown => typeof value === "bigint" ? String(value) : value

for (const convention of ["loom", "latest"] as const) {
  describe(`with content off, under ${convention}`, () => {
    it.live("nothing of a conversation is exported, whatever fails, on whatever span", () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        const programs = Object.values(operations).flatMap((wrap) =>
          Object.values(failures).flatMap((failure) =>
            Object.values(surroundings).map((surround) => surround(wrap(failure)))
          )
        )
        yield* Effect.forEach(programs, Effect.exit, { concurrency: 16 }).pipe(
          Effect.provide(live(receiver, convention))
        )
        assertSilent(receiver, programs.length * 2)
        // The errors are there all the same, by their type.
        const types = new Set(receiver.spans.map((span) => span.attributes["error.type"]))
        for (const type of ["ProviderError", "TypeError", "Error", "_OTHER", "-32602", "tool_error"]) {
          assert.isTrue(types.has(type), type)
        }
      }))

    it.live("nor of async iterables, evaluations and tools called by MCP", () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        const iterated = Effect.succeed(throwing(new Error(CANARY))).pipe(
          traceAsyncIterable({ ...call, fold }),
          Effect.flatMap((iterable) =>
            Effect.tryPromise(async () => {
              for await (const _ of iterable) void _
            })
          ),
          Effect.withSpan("reader")
        )
        const evaluated = recordEvaluation({ name: "relevance", score: { value: 1 }, explanation: `It says ${CANARY}` })
          .pipe(withLlmSpan(call))
        const unreadable = new Proxy({}, { get: () => raise() })
        const annotated = annotateLlmResponse(unreadable).pipe(
          Effect.andThen(annotateLlmResponse(unreadable)),
          Effect.andThen(Effect.fail(new ProviderError({ message: CANARY }))),
          withLlmSpan(call),
          Effect.withSpan("outer")
        )
        const called = Effect.fail(Object.assign(new Error(CANARY), { code: -32000 }) as unknown).pipe(
          withMcpSpan({ method: "tools/call", tool: "t", arguments: CANARY }),
          withToolSpan({ name: "t", arguments: CANARY })
        )
        yield* Effect.forEach([iterated, evaluated, annotated, called], Effect.exit).pipe(
          Effect.provide(live(receiver, convention))
        )
        assertSilent(receiver, 6)
      }))

    it.live("nor of what a real client throws when the provider's answer quotes the prompt", () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        const server = yield* LlmServer.make
        const body = { error: { message: `Your prompt "${CANARY}" was refused`, type: "invalid_request_error" } }
        const refusing = yield* server.serve({ status: 400, body: [body] })
        const garbled = yield* server.serve({ body: [`{"choices": [ "${CANARY}`] })
        const cut = yield* server.serve({
          headers: { "content-type": "text/event-stream" },
          body: [
            `data: {"choices":[{"delta":{"content":"${CANARY}"}}]}\n\n`,
            `data: {"error":{"message":"${CANARY}"}}\n\n`
          ]
        })
        const ask = (baseURL: string, stream: boolean) =>
          Effect.tryPromise(async () => {
            const client = new OpenAI({ baseURL, apiKey: "key", maxRetries: 1 })
            const answer = await client.chat.completions.create({
              model: "gpt-4o",
              messages: [{ role: "user", content: CANARY }],
              stream
            })
            if (Symbol.asyncIterator in answer) { for await (const _ of answer) void _ }
            return answer
          }).pipe(
            withLlmSpan({ ...call, response }),
            Effect.retry(Schedule.recurs(1)),
            Effect.withSpan("ask"),
            Effect.mapError(({ cause }) =>
              new ProviderError({
                message: cause instanceof APIError ? JSON.stringify(cause.error) : `failed: ${String(cause)}`
              })
            ),
            withAgentSpan({ name: "a" }),
            Effect.exit
          )
        const exits = yield* Effect.all([
          ask(refusing, false),
          ask(refusing, true),
          ask(garbled, false),
          ask(cut, true)
        ])
          .pipe(Effect.provide(live(receiver, convention)))
        for (const exit of exits) assert.strictEqual(exit._tag, "Failure")
        assertSilent(receiver, 4 * 4)
      }))
  })
}

it.effect("what a span keeps of the errors inside, so as not to record them, does not grow with their number", () =>
  Effect.gen(function*() {
    const length = 1_000_000
    const texts = Array.from({ length: 20 }, (_, index) => String(index).padEnd(length, "x"))
    const recorder = Recorder.make()
    let kept = ""
    yield* recorder.run(
      Effect.gen(function*() {
        for (const message of texts) {
          yield* Effect.fail(new ProviderError({ message })).pipe(withLlmSpan(call), Effect.ignore)
        }
        kept = inspect(yield* Effect.currentSpan, { depth: 2, maxStringLength: Infinity })
        return yield* Effect.fail(new ProviderError({ message: `failed: ${texts.at(-1)}` }))
      }).pipe(Effect.withSpan("worker"), Effect.exit)
    )
    assert.isBelow(kept.length, 3 * length)
    // The latest is kept.
    assert.deepStrictEqual(recorder.span("worker").status, { code: SpanStatusCode.ERROR })
  }))

it.effect("nor where an error of the program's own takes over the stack of one that quotes the prompt", () =>
  Effect.gen(function*() {
    const recorder = Recorder.make()
    const fail = (name: string, stackOf: (stack: string, own: string) => string) =>
      Effect.fail(new ProviderError({ message: `Bad request:\nYour prompt was ${CANARY}` })).pipe(
        withLlmSpan(call),
        Effect.mapError(({ stack = "" }) => {
          const error = new Error("failed")
          error.stack = stackOf(stack, "Error: failed\n    at program.ts:1:1")
          return error
        }),
        Effect.withSpan(name),
        Effect.exit
      )
    yield* recorder.run(Effect.all([
      fail("in place of its own", (stack) => stack),
      fail("below its own", (stack, own) => `${own}\nCaused by: ${stack}`),
      fail("its own", (_, own) => own)
    ]))
    assert.notInclude(
      inspect([recorder.span("in place of its own"), recorder.span("below its own")], { depth: 4 }),
      CANARY
    )
    assert.deepStrictEqual(recorder.span("its own").status, { code: SpanStatusCode.ERROR, message: "failed" })
  }))

it.effect("what tells where a call went, or how an answer ended, does not hide the messages that repeat it", () =>
  Effect.gen(function*() {
    const recorder = Recorder.make()
    const errors = {
      "no connection to api.openai.com": { code: "ERR_TLS_CERT_ALTNAME_INVALID", host: "api.openai.com" },
      "the assistant could not answer": { messages: [{ role: "assistant", content: CANARY }] },
      "stopped: content_filter": { choices: [{ finish_reason: "content_filter" }] }
    }
    yield* recorder.run(
      Effect.forEach(
        Object.entries(errors),
        ([message, held]) =>
          Effect.fail(Object.assign(new Error(CANARY), held)).pipe(
            withLlmSpan(call),
            Effect.mapError(() => new ProviderError({ message })),
            Effect.withSpan(message),
            Effect.exit
          )
      )
    )
    for (const message of Object.keys(errors)) {
      assert.deepStrictEqual(recorder.span(message).status, { code: SpanStatusCode.ERROR, message })
    }
  }))
