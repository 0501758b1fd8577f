import { currentOtelSpan } from "@effect/opentelemetry/OtelTracer"
import { assert, describe, it, layer, test } from "@effect/vitest"
import { SpanStatusCode } from "@opentelemetry/api"
import { AlwaysOffSampler } from "@opentelemetry/sdk-trace-base"
import { Context, Deferred, Effect, Exit, Fiber, Layer, ManagedRuntime } from "effect"
import { TestClock } from "effect/testing"
import {
  type GenAiSettings,
  injectTraceContext,
  linkTraceContext,
  TRACE_CONTEXT_KEY,
  Tracing,
  withAgentSpan,
  withBatchSpan,
  withConsumerSpan,
  withCreateAgentSpan,
  withCreateSpan,
  withEmbeddingsSpan,
  withFetchResponseSpan,
  withLlmSpan,
  withMcpSpan,
  withMemorySpan,
  withPlanSpan,
  withProducerSpan,
  withReceiveSpan,
  withRetrievalSpan,
  withScope,
  withSettleSpan,
  withToolSpan,
  withTraceContext,
  withWorkflowSpan
} from "loom-tracing"
import { type SpanExpectation, TracingTest } from "loom-tracing/TracingTest"
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { inspect } from "node:util"

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
const SPAN_ID = "b7ad6b7169203331"
const message = { [TRACE_CONTEXT_KEY]: { traceparent: `00-${TRACE_ID}-${SPAN_ID}-01` } }

const convention: {
  readonly attributes: Readonly<Record<string, { readonly type: string }>>
  readonly spans: Readonly<
    Record<string, {
      readonly operations: ReadonlyArray<string>
      readonly kind: "client" | "internal"
      readonly attributes: Readonly<Record<string, string>>
    }>
  >
} = JSON.parse(readFileSync(resolve(import.meta.dirname, "support/semconv-genai.json"), "utf8"))

/** A program with a bit of everything. */
const program = Effect.gen(function*() {
  yield* Effect.succeed("Hi").pipe(
    withLlmSpan({
      provider: "openai",
      request: { model: "gpt-4o", temperature: 0.5, stopSequences: ["a", "b"] },
      response: () => ({ usage: { inputTokens: 3 } })
    })
  )
  yield* Effect.fail("not found").pipe(withToolSpan({ name: "search" }), Effect.ignore)
}).pipe(
  withAgentSpan({ name: "planner" }),
  withConsumerSpan({ system: "nats", destination: "tasks" }),
  withTraceContext(message)
)

const provided = <A, E>(
  effect: Effect.Effect<A, E, TracingTest>,
  genAi?: Partial<GenAiSettings>
): Effect.Effect<A, E> =>
  Effect.provide(effect, genAi === undefined ? TracingTest.layer : TracingTest.layerWith({ genAi }))

// -- in test runners -------------------------------------------------------------------------------------------------

layer(TracingTest.layer)("a layer shared by the tests of a suite", (it) => {
  it.effect("records what a test does", () =>
    Effect.gen(function*() {
      const tracing = yield* TracingTest
      yield* tracing.reset
      yield* Effect.void.pipe(Effect.withSpan("first"))
      assert.strictEqual(yield* tracing.tree, "first")
    }))

  it.effect("forgets the test before on reset", () =>
    Effect.gen(function*() {
      const tracing = yield* TracingTest
      yield* tracing.reset
      yield* Effect.void.pipe(Effect.withSpan("second"))
      assert.strictEqual(yield* tracing.tree, "second")
    }))
})

class Greeter extends Context.Service<Greeter, { readonly greet: Effect.Effect<string> }>()("test/Greeter") {
  static readonly layer = Layer.effect(
    Greeter,
    Effect.succeed({ greet: Effect.succeed("Hello").pipe(Effect.withSpan("greet")) }).pipe(
      Effect.withSpan("make greeter")
    )
  )
}

describe("a layer of one test", () => {
  it.effect("goes around the layers of the services under test", () =>
    Effect.gen(function*() {
      yield* (yield* Greeter).greet
      assert.strictEqual(yield* (yield* TracingTest).tree, "make greeter\ngreet")
    }).pipe(Effect.provide(Layer.provideMerge(Greeter.layer, TracingTest.layer))))

  test("works without an Effect test runner", async () => {
    const runtime = ManagedRuntime.make(TracingTest.layer)
    await runtime.runPromise(program)
    const span = await runtime.runPromise(
      Effect.flatMap(TracingTest, (tracing) => tracing.expectSpan({ name: "llm.call", parent: "invoke_agent planner" }))
    )
    assert.strictEqual(span.attributes["gen_ai.request.model"], "gpt-4o")
    await runtime.dispose()
  })

  test("a failed expectation rejects with a message that a runner shows", async () => {
    const failing = Effect.gen(function*() {
      yield* program
      yield* (yield* TracingTest).expectSpan({ name: "llm.call", kind: "internal" })
    })
    const error = await Effect.runPromise(provided(failing)).catch((error: unknown) => error)
    assert.instanceOf(error, Error)
    assert.include(error.message, "kind: expected \"internal\", got \"client\"")
  })
})

describe("in parallel", () => {
  const names = Effect.map(
    Effect.flatMap(TracingTest, (tracing) => tracing.spans),
    (spans) => spans.map(({ name }) => name)
  )

  it.effect("two layers do not see each other's spans", () =>
    Effect.gen(function*() {
      const both = yield* Deferred.make<void>()
      const one = (name: string, meet: Effect.Effect<unknown>) =>
        provided(Effect.andThen(Effect.andThen(meet.pipe(Effect.withSpan(name)), Effect.yieldNow), names))
      const results = yield* Effect.all(
        [one("left", Deferred.await(both)), one("right", Deferred.succeed(both, undefined))],
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(results, [["left"], ["right"]])
    }))

  it.effect("nor does a layer inside another", () =>
    provided(Effect.gen(function*() {
      const inner = yield* provided(Effect.andThen(Effect.void.pipe(Effect.withSpan("inner")), names))
      yield* Effect.void.pipe(Effect.withSpan("outer"))
      assert.deepStrictEqual(inner, ["inner"])
      assert.deepStrictEqual(yield* names, ["outer"])
    })))

  it.effect("the environment changes nothing", () =>
    Effect.gen(function*() {
      const variables = {
        OTEL_SDK_DISABLED: "true",
        OTEL_TRACES_SAMPLER: "always_off",
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: "1",
        LOOM_TRACE_CONTENT: "1"
      }
      Object.assign(process.env, variables)
      const tree = yield* provided(Effect.gen(function*() {
        yield* program
        const tracing = yield* TracingTest
        assert.deepStrictEqual(yield* tracing.conventionViolations, [])
        return yield* tracing.tree
      })).pipe(Effect.ensuring(Effect.sync(() => {
        for (const name of Object.keys(variables)) delete process.env[name]
      })))
      assert.include(tree, "llm.call")
    }))
})

// -- what was recorded -----------------------------------------------------------------------------------------------

describe("recorded spans", () => {
  it.effect("are plain values, with times of the test's clock", () =>
    provided(Effect.gen(function*() {
      const tracing = yield* TracingTest
      yield* TestClock.adjust("1 second")
      const fiber = yield* Effect.forkChild(
        Effect.sleep("250 millis").pipe(
          Effect.andThen(Effect.log("halfway")),
          Effect.andThen(Effect.sleep("250 millis")),
          Effect.withSpan("work", { attributes: { tags: ["a", "b"], size: 2 } }),
          linkTraceContext(message, { why: "caused by" }),
          Effect.withSpan("outer"),
          withScope({ name: "my-library", version: "1.0.0", schemaUrl: "https://opentelemetry.io/schemas/1.41.0" })
        )
      )
      yield* TestClock.adjust("500 millis")
      yield* Fiber.join(fiber)
      const [work, outer] = yield* tracing.spans
      assert.isUndefined(outer.parent)
      assert.deepStrictEqual(work.events.map(({ name, time }) => ({ name, time })), [{ name: "halfway", time: 1250 }])
      assert.deepStrictEqual({ ...work, events: [] }, {
        name: "work",
        kind: "internal",
        traceId: outer.traceId,
        spanId: work.spanId,
        parent: { traceId: outer.traceId, spanId: outer.spanId, isRemote: false },
        attributes: { tags: ["a", "b"], size: 2 },
        status: { code: "unset" },
        events: [],
        links: [{ traceId: TRACE_ID, spanId: SPAN_ID, attributes: { why: "caused by" } }],
        scope: { name: "my-library", version: "1.0.0", schemaUrl: "https://opentelemetry.io/schemas/1.41.0" },
        start: 1000,
        end: 1500,
        duration: 500
      })
    })))

  it.effect("have the text of an error, a scope that is no more than a name, and random ids", () =>
    provided(Effect.gen(function*() {
      const tracing = yield* TracingTest
      const sent = yield* Effect.exit(
        Effect.flatMap(injectTraceContext({}), (sent) => Effect.die(new Error(JSON.stringify(sent)))).pipe(
          Effect.withSpan("failing"),
          withScope({ name: "my-library" })
        )
      )
      assert.isTrue(Exit.isFailure(sent))
      const [{ scope, spanId, status, traceId }] = yield* tracing.spans
      const context = { _trace_context: { traceparent: `00-${traceId}-${spanId}-03` } }
      assert.deepStrictEqual(status, { code: "error", message: JSON.stringify(context) })
      assert.deepStrictEqual(scope, { name: "my-library" })
    })))

  it.effect("come as a tree, with kinds, errors, remote parents and what has not ended", () =>
    provided(Effect.gen(function*() {
      const tracing = yield* TracingTest
      const never = yield* Effect.forkChild(Effect.never.pipe(Effect.withSpan("inner"), Effect.withSpan("forever")))
      yield* Effect.yieldNow
      yield* program
      assert.strictEqual(
        yield* tracing.tree,
        [
          "forever [not ended]",
          "  inner [not ended]",
          "process tasks [consumer, remote parent]",
          "  invoke_agent planner",
          "    llm.call [client]",
          "    execute_tool search [error _OTHER]"
        ].join("\n")
      )
      yield* Fiber.interrupt(never)
    })))

  it.effect("are open until they end, and gone after a reset", () =>
    provided(Effect.gen(function*() {
      const tracing = yield* TracingTest
      const gate = yield* Deferred.make<void>()
      const run = (name: string) => Effect.forkChild(Deferred.await(gate).pipe(Effect.withSpan(name)))
      const names = Effect.map(tracing.open, (spans) => spans.map((span) => [span.name, span.end, span.duration]))
      yield* run("before")
      yield* Effect.yieldNow
      assert.deepStrictEqual(yield* names, [["before", undefined, undefined]])
      yield* tracing.reset
      assert.deepStrictEqual(yield* names, [])
      const fiber = yield* run("after")
      yield* Effect.yieldNow
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* names, [])
      assert.deepStrictEqual((yield* tracing.spans).map((span) => span.name), ["after"])
      yield* tracing.reset
      assert.deepStrictEqual(yield* tracing.spans, [])
    })))

  it.effect("are those that the sampler keeps", () =>
    Effect.gen(function*() {
      const tracing = yield* TracingTest
      yield* program
      assert.deepStrictEqual(yield* tracing.spans, [])
    }).pipe(Effect.provide(TracingTest.layerWith({ sampler: new AlwaysOffSampler() }))))

  it.effect("count as exported", () =>
    provided(Effect.gen(function*() {
      yield* program
      const tracing = yield* Tracing
      yield* tracing.flush
      assert.isTrue(tracing.enabled)
      assert.deepStrictEqual(yield* tracing.exportStats, { ended: 4, exported: 4, dropped: 0, queued: 0 })
    })))
})

// -- expectations ----------------------------------------------------------------------------------------------------

/** What `program` does, a batch that links to it, and a producer that is still at it. */
const recorded = Effect.gen(function*() {
  yield* program
  yield* Effect.log("done").pipe(withBatchSpan({ system: "kafka", destination: "orders", messages: [message] }))
  yield* Effect.forkChild(Effect.never.pipe(withProducerSpan({ system: "nats", destination: "results" })))
  yield* Effect.yieldNow
  const tracing = yield* TracingTest
  const consumer = (yield* tracing.spans).find((span) => span.name === "process tasks")!
  yield* Effect.void.pipe(
    Effect.withSpan("audit", { links: [{ span: toSpan(consumer), attributes: { reason: "all" } }] })
  )
  return tracing
})

/** A row of a table with a title that tells it from the others. */
const titled = <A>([expected, rest]: readonly [SpanExpectation, A]) =>
  [inspect(expected, { depth: null, breakLength: Infinity }), expected, rest] as const

const toSpan = (identity: { readonly traceId: string; readonly spanId: string }) => ({
  _tag: "ExternalSpan" as const,
  ...identity,
  sampled: true,
  annotations: Context.empty()
})

describe("expectSpan", () => {
  const matching: ReadonlyArray<readonly [SpanExpectation, name: string]> = [
    [{}, "process tasks"],
    [{ name: "llm.call" }, "llm.call"],
    [{ name: /^execute_tool/ }, "execute_tool search"],
    [{ kind: "client" }, "llm.call"],
    [{ status: "error" }, "execute_tool search"],
    [{ status: { code: "error", message: undefined } }, "execute_tool search"],
    [{ attributes: { "gen_ai.request.stop_sequences": ["a", "b"], "error.type": undefined } }, "llm.call"],
    [{ attributes: { "gen_ai.tool.name": /^sea/ } }, "execute_tool search"],
    [{ parent: "process tasks" }, "invoke_agent planner"],
    [{ parent: { kind: "internal", parent: { kind: "consumer" } } }, "llm.call"],
    [{ parent: { traceId: TRACE_ID, spanId: SPAN_ID } }, "process tasks"],
    [{ parent: { traceId: TRACE_ID }, kind: "consumer" }, "process tasks"],
    [{ parent: { spanId: SPAN_ID } }, "process tasks"],
    [{ parent: null, kind: "internal" }, "audit"],
    [{ events: ["exception"] }, "execute_tool search"],
    [{ events: [{ name: "done", attributes: { "effect.logLevel": "INFO" } }] }, "process orders"],
    [{ events: [{ attributes: { "effect.logLevel": "INFO" } }] }, "process orders"],
    [{ links: [{ traceId: TRACE_ID, spanId: SPAN_ID }] }, "process orders"],
    [{ links: ["process tasks"] }, "audit"],
    [{ links: [{ span: { kind: "consumer" }, attributes: { reason: "all" } }] }, "audit"],
    [{ scope: "loom-tracing", traceId: TRACE_ID }, "process tasks"]
  ]
  it.effect.each(matching.map(titled))("%s finds a span", ([, expected, name]) =>
    provided(Effect.gen(function*() {
      const tracing = yield* recorded
      assert.strictEqual((yield* tracing.expectSpan(expected)).name, name)
    })))

  const several: ReadonlyArray<readonly [expected: SpanExpectation, isFound: boolean]> = [
    [{ events: ["retry", "retry"] }, true],
    [{ events: ["retry", "retry", "retry"] }, false],
    [{ events: [{ name: /./ }, "retry", "retry"] }, true],
    [{ events: [{ name: /./ }, { name: /./ }, "done", "retry"] }, false],
    [{ links: [{ traceId: TRACE_ID }, { attributes: { reason: "all" } }] }, false],
    [{ links: [{ traceId: TRACE_ID, attributes: { reason: "all" } }] }, true]
  ]
  it.effect.each(several.map(titled))(
    "%s expects an event or a link of its own for each",
    ([, expected, isFound]) =>
      provided(Effect.gen(function*() {
        const links = [{ span: toSpan({ traceId: TRACE_ID, spanId: SPAN_ID }), attributes: { reason: "all" } }]
        yield* Effect.useSpan("job", { links }, (span) => {
          for (const event of ["retry", "retry", "done"]) span.event(event, 0n)
          return Effect.void
        })
        const tracing = yield* TracingTest
        assert.strictEqual(Exit.isSuccess(yield* Effect.exit(tracing.expectSpan(expected))), isFound)
        assert.strictEqual(Exit.isFailure(yield* Effect.exit(tracing.expectNoSpan(expected))), isFound)
      }))
  )

  it.effect("zero is zero, whatever its sign", () =>
    provided(Effect.gen(function*() {
      yield* Effect.void.pipe(Effect.withSpan("job", { attributes: { change: -0, ratio: NaN } }))
      yield* (yield* TracingTest).expectSpan({ attributes: { change: 0, ratio: NaN } })
    })))

  const different: ReadonlyArray<readonly [SpanExpectation, differences: ReadonlyArray<readonly [string, unknown]>]> = [
    [{ name: "llm.call", kind: "internal" }, [["kind", "client"]]],
    [{ name: "llm.call", scope: "mine" }, [["scope", "loom-tracing"]]],
    [{ name: "llm.call", status: "error" }, [["status", "unset"]]],
    [{ name: "llm.call", status: { message: "no" } }, [["status.message", undefined]]],
    [{ name: "llm.call", spanId: SPAN_ID, kind: "client", parent: null }, [
      ["spanId", "SPAN_ID"],
      ["parent", "invoke_agent planner"]
    ]],
    [{ name: "llm.call", attributes: { "gen_ai.request.model": "gpt-5" } }, [
      [`attributes["gen_ai.request.model"]`, "gpt-4o"]
    ]],
    [{ name: "llm.call", attributes: { "gen_ai.request.stop_sequences": ["a"] } }, [
      [`attributes["gen_ai.request.stop_sequences"]`, ["a", "b"]]
    ]],
    [{ name: "llm.call", attributes: { "gen_ai.request.model": undefined } }, [
      [`attributes["gen_ai.request.model"]`, "gpt-4o"]
    ]],
    [{ name: "llm.call", attributes: { "gen_ai.request.temperature": /0/ } }, [
      [`attributes["gen_ai.request.temperature"]`, 0.5]
    ]],
    [{ name: "llm.call", attributes: { missing: 1 } }, [[`attributes["missing"]`, undefined]]],
    [{ name: "llm.call", parent: "process tasks" }, [["parent", "invoke_agent planner"]]],
    [{ name: "process tasks", parent: { name: "upstream" } }, [["parent", { traceId: TRACE_ID, spanId: SPAN_ID }]]],
    [{ name: "process tasks", parent: { spanId: TRACE_ID } }, [["parent", { traceId: TRACE_ID, spanId: SPAN_ID }]]],
    [{ name: "process tasks", parent: { traceId: SPAN_ID } }, [["parent", { traceId: TRACE_ID, spanId: SPAN_ID }]]],
    [{ name: "process tasks", traceId: SPAN_ID }, [["traceId", TRACE_ID]]],
    [{ name: "audit", parent: "process tasks" }, [["parent", null]]],
    [{ name: "llm.call", events: ["exception"] }, [["events", []]]],
    [{ name: "audit", links: ["llm.call"] }, [["links", ["process tasks"]]]],
    [{ name: "audit", links: [{ spanId: SPAN_ID }] }, [["links", ["process tasks"]]]],
    [{ name: "audit", links: [{ traceId: SPAN_ID }] }, [["links", ["process tasks"]]]],
    [{ name: "llm.call", attributes: { "gen_ai.request.stop_sequences": ["a", "c"] } }, [
      [`attributes["gen_ai.request.stop_sequences"]`, ["a", "b"]]
    ]],
    [{ name: "audit", links: [{ attributes: { reason: "some" } }] }, [["links", ["process tasks"]]]],
    [{ name: "send results" }, [["end", undefined]]],
    [{ name: "llm.cal", parent: "invoke_agent planner", kind: "client" }, [["name", "llm.call"]]]
  ]
  it.effect.each(different.map(titled))(
    "%s fails with what differs about the closest",
    ([, expected, differences]) =>
      provided(Effect.gen(function*() {
        const tracing = yield* recorded
        const error = yield* Effect.flip(tracing.expectSpan(expected))
        assert.strictEqual(error._tag, "SpanNotFound")
        assert.deepStrictEqual(
          error.differences.map(({ actual, path }) => [path, path === "spanId" ? "SPAN_ID" : actual]),
          differences.map(([path, actual]) => [path, actual])
        )
      }))
  )

  it.effect("says what was expected, what came close and what there is", () =>
    provided(Effect.gen(function*() {
      yield* program
      const tracing = yield* TracingTest
      const error = yield* Effect.flip(tracing.expectSpan({
        name: "llm.call",
        parent: null,
        attributes: { "gen_ai.request.model": /^gpt-5/, "gen_ai.usage.input_tokens": undefined },
        events: [{ name: "gen_ai.content.prompt", attributes: { "gen_ai.prompt": "Hi" } }]
      }))
      assert.strictEqual(
        error.message,
        `No finished span is like { name: "llm.call", parent: no parent, ` +
          `attributes: { "gen_ai.request.model": /^gpt-5/, "gen_ai.usage.input_tokens": nothing }, ` +
          `events: [{ name: "gen_ai.content.prompt", attributes: { "gen_ai.prompt": "Hi" } }] }
The closest is "llm.call":
  parent: expected no parent, got "invoke_agent planner"
  attributes["gen_ai.request.model"]: expected /^gpt-5/, got "gpt-4o"
  attributes["gen_ai.usage.input_tokens"]: expected nothing, got 3
  events: expected { name: "gen_ai.content.prompt", attributes: { "gen_ai.prompt": "Hi" } }, got []
Recorded:
  process tasks [consumer, remote parent]
    invoke_agent planner
      llm.call [client]
      execute_tool search [error _OTHER]`
      )
    })))

  it.effect("says which attributes were expected to be absent, whatever they are called", () =>
    provided(Effect.gen(function*() {
      yield* Effect.void.pipe(Effect.withSpan("query", { attributes: { rows: 3 } }))
      const error = yield* Effect.flip(
        (yield* TracingTest).expectSpan({ name: "query", attributes: { rows: undefined } })
      )
      assert.match(error.message, /^No finished span is like \{ name: "query", attributes: \{ rows: nothing \} \}\n/)
    })))

  it.effect("shows the beginning of what there is when that is much", () =>
    provided(Effect.gen(function*() {
      const nested = Array.from({ length: 3000 }).reduce<Effect.Effect<void>>(Effect.withSpan("deep"), Effect.void)
      yield* nested
      const error = yield* Effect.flip((yield* TracingTest).expectSpan({ name: "a" }))
      assert.match(error.message, /\n {2}deep\n {4}deep\n[^]*\n {2}… and 2950 more$/)
    })))

  it.effect("says what may be wrong when nothing was recorded", () =>
    Effect.gen(function*() {
      const error = yield* provided(Effect.flatMap(TracingTest, (tracing) => tracing.expectSpan({ name: "a" }))).pipe(
        Effect.flip
      )
      assert.match(error.message, /^No finished span is like \{ name: "a" \}\nNothing was recorded\..*the same layer/)
      assert.isUndefined(error.closest)
    }))
})

describe("expectNoSpan", () => {
  it.effect("succeeds when there is none", () =>
    provided(Effect.gen(function*() {
      const tracing = yield* recorded
      yield* tracing.expectNoSpan({ name: "llm.call", status: "error" })
      yield* tracing.expectNoSpan({ attributes: { "error.type": "Timeout" } })
    })))

  const unexpected: ReadonlyArray<readonly [SpanExpectation, ReadonlyArray<string>]> = [
    [{ status: "error" }, ["execute_tool search"]],
    [{ name: /^process/ }, ["process tasks", "process orders"]],
    [{ kind: "producer" }, ["send results"]],
    [{ events: [{ attributes: { "effect.logLevel": "INFO" } }] }, ["process orders"]]
  ]
  it.effect.each(unexpected.map(titled))(
    "%s fails with the spans that are so, ended or not",
    ([, unexpected, names]) =>
      provided(Effect.gen(function*() {
        const tracing = yield* recorded
        const error = yield* Effect.flip(tracing.expectNoSpan(unexpected))
        assert.strictEqual(error._tag, "UnexpectedSpan")
        assert.deepStrictEqual(error.found.map((span) => span.name), names)
        assert.include(error.message, `got ${names.map((name) => JSON.stringify(name)).join(", ")}\nRecorded:`)
      }))
  )
})

/** A span of every combinator, one in the other, with all that it can be told. */
const server = { address: "127.0.0.1", port: 4222 }
const usage = {
  inputTokens: 5,
  outputTokens: 4,
  cacheReadInputTokens: 3,
  cacheWriteInputTokens: 2,
  reasoningOutputTokens: 1
}
const response = () => ({ id: "r", model: "m-1", output: "Hello", finishReasons: ["stop"], usage })
const request = { model: "m", maxTokens: 9, topK: 3, choiceCount: 2, outputType: "json", temperature: 1 }
const called = {
  provider: "anthropic",
  request,
  server,
  hasTools: true,
  input: "Hi",
  systemInstructions: "Be brief",
  toolDefinitions: [{ type: "function", name: "search" }]
}
const nats = { system: "nats", destination: "tasks", server, messageId: "1", bodySize: 12 }
const everySpan: ReadonlyArray<(self: Effect.Effect<void>) => Effect.Effect<void>> = [
  withLlmSpan({ ...called, response }),
  withLlmSpan({ ...called, operation: "text_completion", toolRound: 1, response }),
  withEmbeddingsSpan({
    provider: "openai",
    request: { model: "m", encodingFormats: ["base64"], dimensions: 3 },
    server,
    response
  }),
  withFetchResponseSpan({ provider: "openai", responseId: "r", server, response }),
  withToolSpan({ name: "t", callId: "c", type: "function", arguments: { q: 1 }, result: () => "found" }),
  withAgentSpan({ name: "a", conversationId: "c", input: "Hi", request }),
  withAgentSpan({ name: "a", remote: true, provider: "aws.bedrock", id: "arn", version: "1", server }),
  withCreateAgentSpan({ provider: "openai", name: "a", request: { model: "m" }, server }),
  withPlanSpan({ agentName: "a" }),
  withWorkflowSpan({ name: "w", input: "Hi", output: () => "Hello" }),
  withMemorySpan({ operation: "search_memory", provider: "openai", storeId: "s", query: "q", server }),
  withRetrievalSpan({
    dataSourceId: "d",
    provider: "openai",
    topK: 3,
    query: "q",
    documents: () => [{ id: "1" }],
    server
  }),
  withMcpSpan({ method: "tools/call", tool: "t", requestId: 1, arguments: { q: 1 }, result: () => "found" }),
  withMcpSpan({ method: "resources/read", side: "server", resourceUri: "file:a" }),
  withProducerSpan({ ...nats, operation: "publish" }),
  withProducerSpan({ ...nats, temporary: true }),
  withCreateSpan(nats),
  withReceiveSpan({ ...nats, messages: () => [message] }),
  withConsumerSpan({ ...nats, consumerGroup: "g" }),
  withBatchSpan({ ...nats, template: "tasks.{id}", messages: [message] }),
  withSettleSpan({ ...nats, operation: "ack" })
]

// -- conventions -----------------------------------------------------------------------------------------------------

interface Given {
  readonly name?: string
  readonly kind?: "internal" | "server" | "client" | "producer" | "consumer"
  readonly attributes: Record<string, unknown>
  readonly events?: ReadonlyArray<string>
  /** Those of each event. */
  readonly eventAttributes?: Record<string, unknown>
}

const makeSpan = ({ attributes, eventAttributes, events = [], kind = "internal", name = "any" }: Given) =>
  Effect.useSpan(name, { kind, attributes }, (span) => {
    for (const event of events) span.event(event, 0n, eventAttributes)
    return Effect.void
  })

const chat = { "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m" }
const call: Given = { name: "chat m", kind: "client", attributes: chat }
const sending = {
  "messaging.system.name": "nats",
  "messaging.operation.name": "publish",
  "messaging.operation.type": "send",
  "messaging.destination.name": "tasks"
}
const mcp = { "mcp.method.name": "tools/call", "gen_ai.tool.name": "search", "gen_ai.operation.name": "execute_tool" }

describe("conventionViolations", () => {
  const violationsOf = (given: Given, genAi: Partial<GenAiSettings>) =>
    provided(
      Effect.gen(function*() {
        yield* makeSpan(given)
        return yield* (yield* TracingTest).conventionViolations
      }),
      genAi
    )

  const clean: ReadonlyArray<readonly [string, Given]> = [
    ["a span of no convention", { kind: "server", attributes: { "http.request.method": "GET" } }],
    ["a conversation's id anywhere", { attributes: { "gen_ai.conversation.id": "c" } }],
    ["a call to a model", call],
    ["a model in the same process", { ...call, kind: "internal" }],
    ["a model that is not known", {
      name: "chat",
      kind: "client",
      attributes: { ...chat, "gen_ai.request.model": undefined }
    }],
    ["an operation of one's own", { name: "dream", attributes: { "gen_ai.operation.name": "dream" } }],
    ["a server with its port", { ...call, attributes: { ...chat, "server.address": "a", "server.port": 1 } }],
    ["an agent in this program", {
      name: "invoke_agent a",
      attributes: { "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "a" }
    }],
    ["a memory", { name: "search_memory", kind: "client", attributes: { "gen_ai.operation.name": "search_memory" } }],
    ["a tool called by MCP", { name: "tools/call search", kind: "client", attributes: mcp }],
    ["a tool called by MCP, without the port of its server", {
      name: "tools/call search",
      kind: "client",
      attributes: { ...mcp, "server.address": "a" }
    }],
    ["a tool span with MCP's attributes", { name: "execute_tool search", attributes: mcp }],
    ["a resource in the name", {
      name: "resources/read file:a",
      kind: "server",
      attributes: { "mcp.method.name": "resources/read", "mcp.resource.uri": "file:a" }
    }],
    ["a message sent", { name: "publish tasks", kind: "producer", attributes: sending }],
    ["a message with a context of its own", { name: "publish tasks", kind: "client", attributes: sending }],
    ["a template in the name", {
      name: "publish t.*",
      kind: "producer",
      attributes: { ...sending, "messaging.destination.template": "t.*" }
    }],
    ["a temporary destination, whose name is left out", {
      name: "publish",
      kind: "producer",
      attributes: { ...sending, "messaging.destination.temporary": true }
    }],
    ["an anonymous destination with a template", {
      name: "publish t.*",
      kind: "producer",
      attributes: { ...sending, "messaging.destination.anonymous": true, "messaging.destination.template": "t.*" }
    }],
    ["a destination with many names", { name: "publish", kind: "producer", attributes: sending }]
  ]
  it.effect.each(clean)("has nothing to say of %s", ([, given]) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* violationsOf(given, { convention: "latest" }), [])
    }))

  const wrong: ReadonlyArray<readonly [rule: string, message: RegExp, Given]> = [
    ["missing-attribute", /^gen_ai\.provider\.name is missing; it is required of chat$/, {
      ...call,
      attributes: { ...chat, "gen_ai.provider.name": undefined }
    }],
    ["missing-attribute", /^gen_ai\.operation\.name .* of a span with gen_ai\.usage\.input_tokens$/, {
      attributes: { "gen_ai.usage.input_tokens": 1 }
    }],
    ["missing-attribute", /^server\.port .* beside server\.address$/, {
      ...call,
      attributes: { ...chat, "server.address": "a" }
    }],
    ["missing-attribute", /^gen_ai\.provider\.name .* of invoke_agent in another service$/, {
      name: "invoke_agent",
      kind: "client",
      attributes: { "gen_ai.operation.name": "invoke_agent" }
    }],
    ["missing-attribute", /^gen_ai\.tool\.name/, {
      name: "execute_tool",
      attributes: { "gen_ai.operation.name": "execute_tool" }
    }],
    ["missing-attribute", /^messaging\.operation\.name is missing; it is required of messaging$/, {
      name: "x",
      kind: "producer",
      attributes: { "messaging.system.name": "nats" }
    }],
    ["wrong-type", /^gen_ai\.request\.max_tokens is "100"; it should be a whole number$/, {
      ...call,
      attributes: { ...chat, "gen_ai.request.max_tokens": "100" }
    }],
    ["wrong-type", /is 1\.5; it should be a whole number/, {
      ...call,
      attributes: { ...chat, "gen_ai.usage.input_tokens": 1.5 }
    }],
    ["wrong-type", /should be a number/, { ...call, attributes: { ...chat, "gen_ai.request.temperature": "hot" } }],
    ["wrong-type", /should be true or false/, { ...call, attributes: { ...chat, "gen_ai.request.stream": "true" } }],
    ["wrong-type", /should be an array of strings/, {
      ...call,
      attributes: { ...chat, "gen_ai.response.finish_reasons": "stop" }
    }],
    ["wrong-type", /should be a string/, { ...call, attributes: { ...chat, "gen_ai.response.id": 1 } }],
    ["deprecated-name", /^gen_ai\.system is deprecated; write gen_ai\.provider\.name$/, {
      ...call,
      attributes: { ...chat, "gen_ai.system": "openai" }
    }],
    ["deprecated-name", /^llm\.has_tools is deprecated; nothing has taken its place$/, {
      attributes: { "llm.has_tools": true }
    }],
    ["deprecated-name", /^messaging\.kafka\.offset is deprecated; write kafka\.offset$/, {
      name: "publish tasks",
      kind: "producer",
      attributes: { ...sending, "messaging.kafka.offset": 1 }
    }],
    ...([
      ["messaging.kafka.destination.partition", "messaging.destination.partition.id"],
      ["messaging.kafka.message.offset", "kafka.offset"],
      ["messaging.kafka.consumer.group", "messaging.consumer.group.name"],
      ["messaging.eventhubs.consumer.group", "messaging.consumer.group.name"],
      ["messaging.rocketmq.client_group", "messaging.consumer.group.name"],
      ["messaging.servicebus.destination.subscription_name", "messaging.destination.subscription.name"],
      ["messaging.client_id", "messaging.client.id"],
      ["messaging.operation", "messaging.operation.type"]
    ].map(([old, current]) =>
      [
        "deprecated-name",
        new RegExp(`^${old} is deprecated; write ${current}$`),
        { name: "publish tasks", kind: "producer", attributes: { ...sending, [old]: "a" } }
      ] as const
    )),
    ["deprecated-value", /^gemini is a deprecated value of gen_ai\.provider\.name; write gcp\.gemini$/, {
      ...call,
      attributes: { ...chat, "gen_ai.provider.name": "gemini" }
    }],
    ["content", /^gen_ai\.input\.messages holds content, while capture is NO_CONTENT$/, {
      ...call,
      attributes: { ...chat, "gen_ai.input.messages": "[]" }
    }],
    ["content", /^gen_ai\.prompt\.0\.content holds/, { attributes: { "gen_ai.prompt.0.content": "Hi" } }],
    ["content", /^gen_ai\.evaluation\.explanation holds/, { attributes: { "gen_ai.evaluation.explanation": "?" } }],
    ["content", /^gen_ai\.prompt\.variable\.name holds/, { attributes: { "gen_ai.prompt.variable.name": "Ann" } }],
    ["span-name", /^the name is "ask"; by its attributes it should be "chat m"$/, { ...call, name: "ask" }],
    ["span-name", /should be "publish tasks"$/, { name: "tasks publish", kind: "producer", attributes: sending }],
    ...["temporary", "anonymous"].map((what) =>
      ["span-name", /should be "publish"$/, {
        name: "publish tasks",
        kind: "producer",
        attributes: { ...sending, [`messaging.destination.${what}`]: true }
      }] as const
    ),
    ["span-name", /should be "tools\/call search"$/, { name: "execute_tool search", kind: "client", attributes: mcp }],
    ["span-kind", /^the kind is server; that of chat is client or internal$/, { ...call, kind: "server" }],
    ["span-kind", /^the kind is internal; that of MCP is client or server$/, {
      name: "tools/list",
      attributes: { "mcp.method.name": "tools/list" }
    }],
    ["span-kind", /^the kind is consumer; that of send \(messaging\) is producer or client$/, {
      name: "publish tasks",
      kind: "consumer",
      attributes: sending
    }]
  ]
  it.effect.each(wrong)("reports %s: %s", ([rule, message, given]) =>
    Effect.gen(function*() {
      const violations = yield* violationsOf(given, { convention: "latest" })
      assert.strictEqual(violations.length, 1, JSON.stringify(violations))
      assert.strictEqual(violations[0].rule, rule)
      assert.strictEqual(violations[0].span, given.name ?? "any")
      assert.match(violations[0].message, message)
    }))

  it.effect("reports an error of which only OpenTelemetry was told", () =>
    provided(Effect.gen(function*() {
      const tracing = yield* TracingTest
      yield* Effect.map(currentOtelSpan, (span) => span.setStatus({ code: SpanStatusCode.ERROR })).pipe(
        withLlmSpan({ provider: "openai", request: { model: "m" } })
      )
      const violations = yield* tracing.conventionViolations
      assert.deepStrictEqual(violations.map(({ attribute, rule }) => [rule, attribute]), [
        ["missing-attribute", "error.type"]
      ])
    })))

  it.effect("reports events that are deprecated, and that they hold content", () =>
    Effect.gen(function*() {
      const violations = yield* violationsOf(
        { attributes: {}, events: ["gen_ai.user.message", "gen_ai.user.message"] },
        {}
      )
      assert.deepStrictEqual(violations.map(({ attribute, rule }) => [rule, attribute]), [
        ["deprecated-name", "gen_ai.user.message"],
        ["content", "gen_ai.user.message"]
      ])
    }))

  for (
    const [event, attributes, allowed] of [
      ["any", { "gen_ai.input.messages": "[]" }, ["EVENT_ONLY", "SPAN_AND_EVENT"]],
      ["gen_ai.evaluation.result", { "gen_ai.evaluation.explanation": "?" }, [
        "SPAN_ONLY",
        "EVENT_ONLY",
        "SPAN_AND_EVENT"
      ]]
    ] as ReadonlyArray<readonly [string, Record<string, unknown>, ReadonlyArray<string>]>
  ) {
    for (const capture of ["NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"] as const) {
      const [name] = Object.keys(attributes)
      it.effect(`${capture}: ${allowed.includes(capture) ? "allows" : "reports"} ${name} of an event`, () =>
        Effect.gen(function*() {
          const given: Given = { attributes: {}, events: [event, event], eventAttributes: attributes }
          const violations = yield* violationsOf(given, { capture })
          assert.deepStrictEqual(
            violations.map(({ attribute, rule }) => [rule, attribute]),
            allowed.includes(capture) ? [] : [["content", name]]
          )
        }))
    }
  }

  const loom: ReadonlyArray<Given> = [
    { ...call, name: "llm.call", attributes: { ...chat, "gen_ai.system": "openai", "llm.model": "m" } },
    { ...call, name: "llm.tool_continuation" },
    { attributes: {}, events: ["gen_ai.content.prompt"], eventAttributes: { "gen_ai.prompt": "Hi" } },
    { name: "publish tasks", kind: "producer", attributes: { ...sending, "messaging.system": "nats" } }
  ]
  it.effect.each(loom)(
    "what is Loom's own is wrong only under the latest convention: %j",
    (given) =>
      Effect.gen(function*() {
        const ok = yield* violationsOf(given, { convention: "loom", capture: "SPAN_ONLY" })
        assert.deepStrictEqual(ok, [])
        const wrong = yield* violationsOf(given, { convention: "latest", capture: "SPAN_ONLY" })
        assert.isAbove(wrong.length, 0)
      })
  )

  it.effect("content that was asked for is checked for its form", () =>
    Effect.gen(function*() {
      const given = (messages: string): Given => ({
        ...call,
        attributes: { ...chat, "gen_ai.input.messages": messages }
      })
      const settings = { convention: "latest", capture: "SPAN_AND_EVENT" } as const
      assert.deepStrictEqual(yield* violationsOf(given("[]"), settings), [])
      const [violation] = yield* violationsOf(given("[{"), settings)
      assert.include(violation.message, "should be JSON in a string")
    }))

  it.effect("a span that has not ended is said to be so, and nothing else", () =>
    provided(Effect.gen(function*() {
      const tracing = yield* TracingTest
      yield* Effect.forkChild(Effect.never.pipe(Effect.withSpan("loop", { attributes: { "llm.model": 1 } })))
      yield* Effect.yieldNow
      const [loop] = yield* tracing.open
      assert.deepStrictEqual(yield* tracing.conventionViolations, [
        { rule: "not-ended", span: "loop", spanId: loop.spanId, message: "the span has not ended" }
      ])
    })))

  const settings = (["loom", "latest"] as const).flatMap((convention) =>
    (["NO_CONTENT", "SPAN_ONLY"] as const).map((capture) => ({ convention, capture }))
  )
  it.effect.each(settings)("has nothing to say of the spans of this package: %j", (genAi) =>
    provided(
      Effect.gen(function*() {
        const tracing = yield* TracingTest
        yield* program
        yield* everySpan.reduce((self, within) => within(self), Effect.void)
        assert.deepStrictEqual(yield* tracing.conventionViolations, [])
        assert.strictEqual((yield* tracing.spans).length, 4 + everySpan.length)
      }),
      genAi
    ))
})

// The convention as data: what it says of each attribute and operation, the lint has to say too.
describe("conventionViolations knows the GenAI convention", () => {
  const violationsOf = (given: Given) =>
    provided(
      Effect.gen(function*() {
        yield* makeSpan(given)
        return yield* (yield* TracingTest).conventionViolations
      }),
      { capture: "SPAN_ONLY", convention: "latest" }
    )

  // Neither of the two is of any of the types.
  const attributes = Object.entries(convention.attributes).filter(([, { type }]) => !type.startsWith("template"))
  it.effect.each(attributes)("the type of %s", ([key, { type }]) =>
    Effect.gen(function*() {
      const wrong = type === "string" || type === "any" ? 1.5 : "no"
      const violations = yield* violationsOf({ attributes: { [key]: wrong } })
      assert.deepStrictEqual(
        violations.filter(({ rule }) => rule === "wrong-type").map(({ attribute }) => attribute),
        [key]
      )
    }))

  const operations = Object.values(convention.spans).flatMap((span) =>
    span.operations.map((operation) => ({ ...span, operation }))
  )
  it.effect.each(operations)(
    "what is required of $operation ($kind), and its kind",
    ({ attributes, kind, operation }) =>
      Effect.gen(function*() {
        const given: Given = { kind, attributes: { "gen_ai.operation.name": operation } }
        const missing = (yield* violationsOf(given)).filter(({ rule }) => rule === "missing-attribute")
        const required = Object.entries(attributes).filter(([, level]) => level === "required").map(([key]) => key)
        assert.deepStrictEqual(
          ["gen_ai.operation.name", ...missing.map(({ attribute }) => attribute)].sort(),
          required.sort()
        )
        const rules = (yield* violationsOf({ ...given, kind: "consumer" })).map(({ rule }) => rule)
        assert.include(rules, "span-kind")
        assert.notInclude((yield* violationsOf(given)).map(({ rule }) => rule), "span-kind")
      })
  )
})

// -- without the SDK -------------------------------------------------------------------------------------------------

it.live("without the OpenTelemetry packages, it says that it needs them", () =>
  Effect.gen(function*() {
    const hooks = `import { registerHooks } from "node:module"
      registerHooks({ resolve(name, context, next) {
        if (/^@opentelemetry\\//.test(name)) throw new Error("Cannot find package '" + name + "'")
        return next(name, context)
      } })`
    const code = `import { Effect } from "effect"
      import { TracingTest } from ${JSON.stringify(resolve(import.meta.dirname, "../src/TracingTest.ts"))}
      const exit = await Effect.runPromiseExit(Effect.provide(Effect.void, TracingTest.layer))
      console.log(String(exit))`
    const output = yield* Effect.callback<string>((resume) => {
      execFile(
        process.execPath,
        [
          "--import",
          `data:text/javascript,${encodeURIComponent(hooks)}`,
          "--input-type=module-typescript",
          "--eval",
          code
        ],
        { cwd: resolve(import.meta.dirname, "..") },
        (_, stdout, stderr) => resume(Effect.succeed(stdout + stderr))
      )
    })
    assert.match(output, /TracingTest records on the OpenTelemetry SDK, which could not be loaded.*--omit=optional/)
  }))
