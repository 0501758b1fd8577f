import { OtelTracer } from "@effect/opentelemetry"
import { assert, describe, it } from "@effect/vitest"
import * as Api from "@opentelemetry/api"
import type { Sampler } from "@opentelemetry/sdk-trace-base"
import { SamplingDecision } from "@opentelemetry/sdk-trace-base"
import { Cause, Data, DateTime, Deferred, Effect, Exit, Fiber, Layer, Logger, Metric, Redacted, Tracer } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import type { GenAiSettings, LlmResponse, LlmSpanOptions } from "loom-tracing"
import { annotateLlmResponse, GenAiMetrics, TracingNoop, withAgentSpan, withLlmSpan, withToolSpan } from "loom-tracing"
import * as ForeignTracer from "./support/ForeignTracer.ts"
import * as Recorder from "./support/Recorder.ts"

const minimal = { provider: "openai", request: { model: "gpt-4o" } } as const

const complete: LlmSpanOptions<unknown> = {
  provider: "anthropic",
  request: {
    model: "claude-sonnet-4-5",
    temperature: 1,
    maxTokens: 100,
    topP: 0.9,
    topK: 40,
    stopSequences: ["END"],
    seed: 7,
    frequencyPenalty: 0.1,
    presencePenalty: 0.2,
    choiceCount: 2,
    outputType: "json",
    reasoningLevel: "high",
    stream: true
  },
  server: { address: "api.anthropic.com", port: 443 },
  conversationId: "conv-1",
  hasTools: true,
  toolRound: 1,
  attributes: { "app.tenant": "acme", "app.nothing": undefined },
  response: () => ({
    id: "msg_1",
    model: "claude-sonnet-4-5-20250929",
    finishReasons: ["stop", "length"],
    usage: {
      inputTokens: 120,
      outputTokens: 80,
      cacheReadInputTokens: 60,
      cacheWriteInputTokens: 20,
      reasoningOutputTokens: 30
    }
  })
}

const current = {
  "gen_ai.operation.name": "chat",
  "gen_ai.provider.name": "anthropic",
  "gen_ai.request.model": "claude-sonnet-4-5",
  "server.address": "api.anthropic.com",
  "server.port": 443,
  "gen_ai.conversation.id": "conv-1",
  "gen_ai.request.temperature": 1,
  "gen_ai.request.max_tokens": 100,
  "gen_ai.request.top_p": 0.9,
  "gen_ai.request.top_k": 40,
  "gen_ai.request.stop_sequences": ["END"],
  "gen_ai.request.seed": 7,
  "gen_ai.request.frequency_penalty": 0.1,
  "gen_ai.request.presence_penalty": 0.2,
  "gen_ai.request.choice.count": 2,
  "gen_ai.request.reasoning.level": "high",
  "gen_ai.request.stream": true,
  "gen_ai.output.type": "json",
  "app.tenant": "acme",
  "gen_ai.response.id": "msg_1",
  "gen_ai.response.model": "claude-sonnet-4-5-20250929",
  "gen_ai.response.finish_reasons": ["stop", "length"],
  "gen_ai.usage.input_tokens": 120,
  "gen_ai.usage.output_tokens": 80,
  "gen_ai.usage.cache_read.input_tokens": 60,
  "gen_ai.usage.reasoning.output_tokens": 30
}

class RateLimited extends Data.TaggedError("RateLimited")<{ readonly message: string }> {}

const aiError = AiError.make({
  module: "test",
  method: "generateText",
  reason: new AiError.RateLimitError({})
})

const message = (role: string, content: string) => ({ role, parts: [{ type: "text", content }] })

const raise = (): never => {
  throw new TypeError("hands off")
}

describe("withLlmSpan", () => {
  describe("writes the convention", () => {
    it.effect("loom: Loom's name and attributes beside the current ones", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(Effect.void.pipe(withLlmSpan(complete)))
        assert.deepStrictEqual(Recorder.summarize(recorder.span("llm.tool_continuation")), {
          name: "llm.tool_continuation",
          kind: "CLIENT",
          status: "UNSET",
          attributes: {
            ...current,
            "gen_ai.usage.cache_creation.input_tokens": 20,
            "gen_ai.system": "anthropic",
            "llm.model": "claude-sonnet-4-5",
            "llm.max_tokens": 100,
            "llm.has_tools": true,
            "llm.tool_round": 1,
            "llm.prompt_tokens": 120,
            "llm.completion_tokens": 80
          }
        })
      }))

    it.effect("latest: the current names alone", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { convention: "latest" } })
        yield* recorder.run(Effect.void.pipe(withLlmSpan(complete)))
        assert.deepStrictEqual(Recorder.summarize(recorder.spans[0]), {
          name: "chat claude-sonnet-4-5",
          kind: "CLIENT",
          status: "UNSET",
          attributes: { ...current, "gen_ai.usage.cache_write.input_tokens": 20 }
        })
      }))

    it.effect("leaves out what was not given", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { convention: "latest" } })
        yield* recorder.run(Effect.void.pipe(withLlmSpan({
          ...minimal,
          request: { model: "gpt-4o", temperature: undefined, choiceCount: 1, stream: false },
          response: () => ({ id: undefined, usage: { inputTokens: undefined, outputTokens: 0 } })
        })))
        assert.deepStrictEqual(recorder.spans[0].attributes, {
          "gen_ai.operation.name": "chat",
          "gen_ai.provider.name": "openai",
          "gen_ai.request.model": "gpt-4o",
          "gen_ai.usage.output_tokens": 0
        })
      }))

    for (
      const [name, convention, options] of [
        ["llm.call", "loom", minimal],
        ["llm.call", "loom", { ...minimal, toolRound: 0 }],
        ["llm.tool_continuation", "loom", { ...minimal, toolRound: 2 }],
        ["chat gpt-4o", "latest", { ...minimal, toolRound: 2 }],
        ["generate_content gpt-4o", "latest", { ...minimal, operation: "generate_content" }],
        ["mine", "loom", { ...minimal, name: "mine" }],
        ["mine", "latest", { ...minimal, name: "mine" }]
      ] as const
    ) {
      it.effect(`${convention} names the span ${name} for ${JSON.stringify(options)}`, () =>
        Effect.gen(function*() {
          const recorder = Recorder.make({ genAi: { convention } })
          yield* recorder.run(Effect.void.pipe(withLlmSpan(options)))
          assert.deepStrictEqual(recorder.spans.map((span) => span.name), [name])
        }))
    }

    for (
      const [value, name] of [
        ["gen_ai_latest_experimental", "chat gpt-4o"],
        ["http, GEN_AI_LATEST_EXPERIMENTAL", "chat gpt-4o"],
        ["http", "llm.call"],
        ["", "llm.call"]
      ] as const
    ) {
      it.effect(`OTEL_SEMCONV_STABILITY_OPT_IN=${JSON.stringify(value)} gives ${name}`, () =>
        Effect.gen(function*() {
          const recorder = Recorder.make({ env: { OTEL_SEMCONV_STABILITY_OPT_IN: value } })
          yield* recorder.run(Effect.void.pipe(withLlmSpan(minimal)))
          assert.deepStrictEqual(recorder.spans.map((span) => span.name), [name])
        }))
    }

    it.effect("shows a sampler what it may decide on", () =>
      Effect.gen(function*() {
        let seen: Api.Attributes = {}
        const sampler: Sampler = {
          shouldSample: (_context, _traceId, _name, _kind, attributes) => {
            seen = { ...attributes }
            return { decision: SamplingDecision.RECORD_AND_SAMPLED }
          }
        }
        const recorder = Recorder.make({ sampler })
        yield* recorder.run(Effect.void.pipe(withLlmSpan(complete)))
        assert.deepStrictEqual(seen, {
          "gen_ai.operation.name": "chat",
          "gen_ai.provider.name": "anthropic",
          "gen_ai.request.model": "claude-sonnet-4-5",
          "server.address": "api.anthropic.com",
          "server.port": 443
        })
      }))
  })

  describe("keeps the effect as it is", () => {
    it.effect("piped, stored, data-first, inside Effect.fn and with a structurally typed response", () =>
      Effect.gen(function*() {
        interface Answer {
          readonly id: string
          readonly tokens: number
        }
        const call: Effect.Effect<Answer, RateLimited, never> = Effect.succeed({ id: "a", tokens: 3 })
        const read = (answer: { readonly id: string }): LlmResponse => ({ id: answer.id })
        const stored = withLlmSpan({ ...minimal, response: read })
        const plain = withLlmSpan(minimal)
        const piped: Effect.Effect<Answer, RateLimited> = call.pipe(
          withLlmSpan({ ...minimal, response: (answer) => ({ id: answer.id, usage: { inputTokens: answer.tokens } }) })
        )
        const kept: Effect.Effect<Answer, RateLimited> = stored(call)
        const bare: Effect.Effect<Answer, RateLimited> = plain(call)
        const first: Effect.Effect<Answer, RateLimited> = withLlmSpan(call, {
          ...minimal,
          response: (answer) => ({ id: answer.id })
        })
        const fn: (id: string) => Effect.Effect<Answer, RateLimited> = Effect.fn("ask")(
          function*(id: string) {
            return { ...(yield* call), id }
          },
          withLlmSpan({ ...minimal, response: read })
        )
        const recorder = Recorder.make()
        for (const effect of [piped, kept, bare, first, fn("a")]) {
          assert.deepStrictEqual(yield* recorder.run(effect), { id: "a", tokens: 3 })
        }
      }))

    for (
      const [name, effect] of [
        ["a success", Effect.succeed(42)],
        ["a failure", Effect.fail("no")],
        ["a defect", Effect.die(new Error("boom"))],
        ["an interruption", Effect.interrupt]
      ] as ReadonlyArray<readonly [string, Effect.Effect<number, string>]>
    ) {
      it.effect(`${name} comes through unchanged, traced or not`, () =>
        Effect.gen(function*() {
          const bare = yield* Effect.exit(effect)
          const traced = effect.pipe(withLlmSpan({ ...minimal, response: () => ({ id: "x" }) }))
          const recorder = Recorder.make()
          const strip = (exit: Exit.Exit<number, string>) =>
            Exit.isFailure(exit) ? exit.cause.reasons.map((reason) => ({ ...reason, fiberId: undefined })) : exit.value
          assert.deepStrictEqual(strip(yield* Effect.exit(traced)), strip(bare))
          assert.deepStrictEqual(strip(yield* recorder.run(traced).pipe(Effect.exit)), strip(bare))
          assert.strictEqual(recorder.spans.length, 1)
        }))
    }

    it.effect("a response function that throws changes neither the result nor the end of the span, and is reported once", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const logs: Array<unknown> = []
        const broken = withLlmSpan({
          ...minimal,
          response: (): LlmResponse => {
            throw new TypeError("no such field")
          }
        })
        const logger = Logger.make(({ message }) => logs.push(message))
        const result = yield* recorder.run(
          Effect.all([broken(Effect.succeed(1)), broken(Effect.succeed(2))])
        ).pipe(Effect.provide(Logger.layer([logger])))
        assert.deepStrictEqual(result, [1, 2])
        assert.strictEqual(recorder.spans.length, 2)
        assert.strictEqual(logs.length, 1)
        assert.match(String(logs[0]), /`response` function has thrown.*TypeError/)
      }))

    it.effect("a logger that throws at such a report changes nothing either", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const seen: Array<unknown> = []
        const logger = Logger.make(({ message }) => {
          seen.push(message)
          return raise()
        })
        const result = yield* recorder.run(
          Effect.succeed(1).pipe(withLlmSpan({ ...minimal, response: () => raise() }))
        ).pipe(Effect.provide(Logger.layer([logger])))
        assert.strictEqual(result, 1)
        assert.strictEqual(seen.length, 1)
      }))

    for (
      const [name, response] of [
        ["whose id throws", {
          get id() {
            return raise()
          }
        }],
        ["whose finish reasons are no list", { finishReasons: "stop" as never }]
      ] as ReadonlyArray<readonly [string, LlmResponse]>
    ) {
      it.effect(`a response ${name} costs what it would have told, and nothing else`, () =>
        Effect.gen(function*() {
          const recorder = Recorder.make({ genAi: { convention: "latest", capture: "SPAN_ONLY" } })
          const registry = new Map()
          const result = yield* recorder.run(
            Effect.succeed(1).pipe(withLlmSpan({ ...minimal, input: "Hi", response: () => response }))
          ).pipe(Effect.provideService(GenAiMetrics, true), Effect.provideService(Metric.MetricRegistry, registry))
          assert.strictEqual(result, 1)
          const { attributes, status } = recorder.span("chat gpt-4o")
          assert.deepStrictEqual(attributes, {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.input.messages": JSON.stringify([message("user", "Hi")])
          })
          assert.strictEqual(status.code, Api.SpanStatusCode.UNSET)
          const metrics = yield* Effect.provideService(Metric.snapshot, Metric.MetricRegistry, registry)
          assert.deepStrictEqual(metrics.map(({ id }) => id), ["gen_ai.client.inference.duration"])
        }))
    }

    it.effect("options that cannot be read cost the span, and are reported once", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const logs: Array<unknown> = []
        const logger = Logger.make(({ message }) => logs.push(message))
        const result = yield* recorder.run(
          Effect.all([
            Effect.succeed(1).pipe(withLlmSpan({ provider: "openai" } as never)),
            Effect.succeed(2).pipe(withLlmSpan({
              ...minimal,
              request: {
                get model() {
                  return raise()
                }
              }
            })),
            Effect.fail(3).pipe(withLlmSpan({ provider: "openai" } as never), Effect.flip)
          ])
        ).pipe(Effect.provide(Logger.layer([logger])))
        assert.deepStrictEqual(result, [1, 2, 3])
        assert.lengthOf(recorder.spans, 0)
        assert.lengthOf(logs, 1)
        assert.match(String(logs[0]), /options of a span could not be read.*TypeError/)
      }))
  })

  describe("records how the effect ended", () => {
    class Custom extends Error {}
    // What a client written without Effect throws.
    const rangeError: unknown = new RangeError("out")
    const custom: unknown = new Custom("c")
    for (
      const [name, effect, type] of [
        ["a tagged error", Effect.fail(new RateLimited({ message: "slow down" })), "RateLimited"],
        ["an error of effect/ai", Effect.fail(aiError), "RateLimitError"],
        ["a plain tagged value", Effect.fail({ _tag: "NotFound" }), "NotFound"],
        ["an Error", Effect.fail(rangeError), "RangeError"],
        ["a subclass without a name", Effect.fail(custom), "Custom"],
        ["what a promise has thrown", Effect.tryPromise(() => Promise.reject(new RangeError("out"))), "RangeError"],
        ["a string", Effect.fail("no"), "_OTHER"],
        ["undefined", Effect.fail(undefined), "_OTHER"],
        ["a defect", Effect.die(new TypeError("boom")), "TypeError"],
        ["a defect that is no error", Effect.die("boom"), "_OTHER"],
        [
          "a typed error beside a defect",
          Effect.failCause(
            Cause.combine(Cause.die(new TypeError("boom")), Cause.fail(new RateLimited({ message: "slow down" })))
          ),
          "RateLimited"
        ],
        [
          "a hostile error",
          Effect.fail(
            new Proxy({}, {
              get: () => {
                throw new Error("hands off")
              },
              has: () => {
                throw new Error("hands off")
              }
            })
          ),
          "_OTHER"
        ]
      ] as ReadonlyArray<readonly [string, Effect.Effect<never, unknown>, string]>
    ) {
      it.effect(`${name} is error.type ${type}`, () =>
        Effect.gen(function*() {
          const recorder = Recorder.make()
          const exit = yield* recorder.run(effect.pipe(withLlmSpan(minimal))).pipe(Effect.exit)
          assert.isTrue(Exit.isFailure(exit))
          const span = recorder.span("llm.call")
          assert.strictEqual(span.attributes["error.type"], type)
          assert.strictEqual(span.status.code, Api.SpanStatusCode.ERROR)
        }))
    }

    for (
      const [name, response, expected] of [
        ["usage", { id: "r", usage: null, usageByModality: null, model: null }, { "gen_ai.response.id": "r" }],
        ["finish reasons", { id: "r", finishReasons: null, openai: null, usage: { inputTokens: 3 } }, {
          "gen_ai.response.id": "r",
          "gen_ai.usage.input_tokens": 3
        }],
        ["numbers that count nothing", { usage: { inputTokens: NaN, outputTokens: -1, cacheReadInputTokens: "5" } }, {}]
      ] as ReadonlyArray<readonly [string, object, object]>
    ) {
      it.effect(`a response is read around what its type rules out: ${name}`, () =>
        Effect.gen(function*() {
          const recorder = Recorder.make({ genAi: { convention: "latest" } })
          yield* Effect.void.pipe(
            withLlmSpan({ ...minimal, response: () => response }),
            recorder.run,
            Effect.provideService(GenAiMetrics, true)
          )
          const read = Object.entries(recorder.spans[0].attributes).filter(([key]) => /response|usage/.test(key))
          assert.deepStrictEqual(Object.fromEntries(read), expected)
          const [duration] = yield* Metric.snapshot
          assert.notProperty(duration.attributes, "gen_ai.response.model")
        }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
    }

    it.effect("an error.type that is set stays, on the span and in metrics", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* Effect.fail(new RateLimited({ message: "slow down" })).pipe(
          Effect.tapError(() => Effect.annotateCurrentSpan("error.type", "429")),
          withLlmSpan(minimal),
          recorder.run,
          Effect.exit,
          Effect.provideService(GenAiMetrics, true)
        )
        const span = recorder.span("llm.call")
        assert.strictEqual(span.attributes["error.type"], "429")
        assert.strictEqual(span.status.code, Api.SpanStatusCode.ERROR)
        const [duration] = yield* Metric.snapshot
        assert.strictEqual(duration.attributes?.["error.type"], "429")
      }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

    it.effect("a timeout inside is an error", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const fiber = yield* Effect.forkChild(
          recorder.run(Effect.never.pipe(Effect.timeout("1 second"), withLlmSpan(minimal), Effect.exit))
        )
        yield* Effect.yieldNow
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(fiber)
        assert.strictEqual(recorder.span("llm.call").attributes["error.type"], "TimeoutError")
      }))

    it.effect("an interruption is no error", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(Effect.gen(function*() {
          const started = yield* Deferred.make<void>()
          const fiber = yield* Effect.forkChild(
            Deferred.succeed(started, undefined).pipe(Effect.andThen(Effect.never), withLlmSpan(minimal))
          )
          yield* Deferred.await(started)
          yield* Fiber.interrupt(fiber)
        }))
        const span = recorder.span("llm.call")
        assert.strictEqual(span.status.code, Api.SpanStatusCode.UNSET)
        assert.isUndefined(span.attributes["error.type"])
        assert.strictEqual(span.attributes["effect.fiber.interrupted"], true)
      }))

    it.effect("a fiber that is interrupted before it begins leaves no span open", () =>
      Effect.gen(function*() {
        const { ended, spans, tracer } = ForeignTracer.make()
        yield* Effect.forEach(
          Array.from({ length: 200 }, (_, i) => i),
          (i) =>
            Effect.gen(function*() {
              const fiber = yield* Effect.forkChild(
                Effect.yieldNow.pipe(Effect.repeat({ times: i % 7 }), withLlmSpan(minimal))
              )
              for (let n = 0; n < i % 5; n++) yield* Effect.yieldNow
              yield* Fiber.interrupt(fiber)
            }),
          { concurrency: 20 }
        ).pipe(Effect.withTracer(tracer))
        assert.isAbove(spans.length, 0)
        const ids = (spans: ReadonlyArray<Tracer.Span>) => spans.map(({ spanId }) => spanId).toSorted()
        assert.deepStrictEqual(ids(ended), ids(spans))
      }))
  })

  describe("keeps content out unless it is asked for", () => {
    const canary = "CANARY-PROMPT"
    const quoting: unknown = new Error(canary)
    const options = {
      ...minimal,
      input: canary,
      systemInstructions: canary,
      toolDefinitions: [{ type: "function", name: "t", description: canary }],
      response: () => ({ output: canary })
    }

    it.effect("nothing of the conversation is on the span, and thunks are not called", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const thunk = (): never => assert.fail("evaluated")
        yield* recorder.run(
          Effect.void.pipe(withLlmSpan({ ...options, input: thunk, response: () => ({ output: thunk }) }))
        )
        yield* recorder.run(Effect.void.pipe(withLlmSpan(options)))
        assert.strictEqual(recorder.spans.length, 2)
        assert.notInclude(JSON.stringify(recorder.spans.map((span) => [span.attributes, span.events])), canary)
      }))

    for (
      const [name, fail] of [
        ["typed", Effect.fail(new RateLimited({ message: canary }))],
        ["a defect", Effect.die(new Error(canary))],
        ["a string", Effect.fail(canary)],
        ["an aggregate", Effect.fail(new AggregateError([quoting]))]
      ] as ReadonlyArray<readonly [string, Effect.Effect<never, unknown>]>
    ) {
      it.effect(`an error that quotes the prompt is recorded by its type alone, on the span and around it: ${name}`, () =>
        Effect.gen(function*() {
          const recorder = Recorder.make()
          yield* recorder.run(
            fail.pipe(
              withLlmSpan(minimal),
              Effect.mapError((error) => error instanceof Error ? new Error("wrapped", { cause: error }) : error),
              Effect.withSpan("outer"),
              withAgentSpan({ name: "agent" })
            )
          ).pipe(Effect.exit)
          assert.strictEqual(recorder.spans.length, 3)
          for (const span of recorder.spans) {
            assert.strictEqual(span.status.code, Api.SpanStatusCode.ERROR)
            assert.isString(span.attributes["error.type"])
            assert.notInclude(JSON.stringify([span.attributes, span.events, span.status]), canary)
          }
        }))
    }

    it.effect("nor is a message that a program has copied into an error of its own", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(
          Effect.fail(quoting).pipe(
            withLlmSpan(minimal),
            Effect.mapError((error) => new RateLimited({ message: `The model said: ${String(error)}` })),
            Effect.withSpan("outer")
          )
        ).pipe(Effect.exit)
        const span = recorder.span("outer")
        assert.strictEqual(span.attributes["error.type"], "RateLimited")
        assert.notInclude(JSON.stringify([span.attributes, span.events, span.status]), canary)
      }))

    const body = { error: { type: "invalid_request_error", message: `Bad:\n"${canary}"` } }
    const cyclic = Object.assign(new Error("Bad"), { self: {}, detail: canary })
    cyclic.self = cyclic
    const hostile = Object.defineProperties(new Error("Bad"), {
      cause: { get: () => assert.fail("hands off") },
      first: { enumerable: true, get: () => assert.fail("hands off") },
      second: { enumerable: true, value: canary }
    })
    const unreadable = new Proxy(new Error(canary), { ownKeys: () => assert.fail("hands off") })
    const nested = (depth: number): object => depth === 0 ? { text: canary } : { in: nested(depth - 1) }

    for (
      const [name, error, copy] of [
        ["the error in a response", Object.assign(new Error("400"), body), body.error.message],
        ["a response within a response", { error: body }, body.error.message],
        [
          "a part of JSON that a client has left as it came",
          new Error(`400 ${JSON.stringify(body)}`),
          body.error.message
        ],
        ["an error as JSON", Object.assign(new Error("400"), body), JSON.stringify({ status: 400, ...body })],
        ["an error as JSON in JSON", Object.assign(new Error("400"), body), JSON.stringify(JSON.stringify(body))],
        ["a field", { detail: canary }, `No account for ${canary}`],
        ["a reason's field", { reason: { _tag: "Refused", description: canary } }, `Refused: ${canary}`],
        ["one of several errors", [new Error("other"), new Error(canary)], `other; ${canary}`],
        ["an aggregated error", new AggregateError([quoting]), canary],
        ["what is far inside", nested(32), canary],
        ["a cyclic error", cyclic, canary],
        ["an error with getters that throw", hostile, canary],
        ["an error whose keys cannot be read", unreadable, canary],
        ["what comes after many numbers", [{ vector: Array.from({ length: 1536 }, Math.random) }, canary], canary],
        ["what comes beside many bytes", { bytes: new Uint8Array(1_000_000), text: canary }, canary],
        ["more than text under a name for a code", { code: `no ${canary}` }, `no ${canary}`]
      ] as ReadonlyArray<readonly [string, unknown, string]>
    ) {
      for (
        const [form, made] of [
          ["a message", new RateLimited({ message: `The model said: ${copy}` })],
          ["a record", { said: copy }]
        ]
      ) {
        it.effect(`nor is what a program has copied from elsewhere in an error: ${name}, into ${form}`, () =>
          Effect.gen(function*() {
            const recorder = Recorder.make()
            yield* recorder.run(
              Effect.fail(error).pipe(withLlmSpan(minimal), Effect.mapError(() => made), Effect.withSpan("outer"))
            ).pipe(Effect.exit)
            const { attributes, events, status } = recorder.span("outer")
            assert.deepStrictEqual(status, { code: Api.SpanStatusCode.ERROR })
            assert.isString(attributes["error.type"])
            assert.notInclude(JSON.stringify([attributes, events, status]), canary)
          }))
      }
    }

    it.effect("a short text counts when it is the whole message", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const refused = Effect.fail({ pin: "4711" }).pipe(withLlmSpan(minimal))
        const failing = (message: string) =>
          Effect.mapError(refused, () => new RateLimited({ message })).pipe(Effect.withSpan(message), Effect.exit)
        yield* recorder.run(Effect.andThen(failing("4711"), failing("port 4711")))
        assert.deepStrictEqual(recorder.span("4711").status, { code: Api.SpanStatusCode.ERROR })
        assert.strictEqual(recorder.span("port 4711").status.message, "port 4711")
      }))

    class Unavailable extends Data.TaggedError("UnavailableError")<object> {}

    for (
      const [name, error, message] of [
        ["a code", { code: "rate_limit_exceeded" }, "try later (rate_limit_exceeded)"],
        ["a type inside", { error: { type: "invalid_request_error" } }, "invalid_request_error"],
        ["a status", { status: "RESOURCE_EXHAUSTED" }, "RESOURCE_EXHAUSTED"],
        ["a model", { model: "gpt-4o-mini" }, "gpt-4o-mini is overloaded"],
        ["a request's id", { requestID: "req_011CSHoEeqs5" }, "see req_011CSHoEeqs5"],
        ["a parameter", { param: "messages" }, "no messages left"],
        ["a tag", new Unavailable(), "UnavailableError"],
        ["a class", Object.assign(new TypeError("Bad request"), { name: "TypeError2" }), "a TypeError2"],
        ["a header", { headers: { "content-type": "application/json" } }, "expected application/json"]
      ] as ReadonlyArray<readonly [string, object, string]>
    ) {
      it.effect(`what tells errors apart is no content, and hides no error around the call: ${name}`, () =>
        Effect.gen(function*() {
          const recorder = Recorder.make()
          yield* recorder.run(
            Effect.fail(error).pipe(
              withLlmSpan(minimal),
              Effect.mapError(() => new RateLimited({ message })),
              Effect.withSpan("outer")
            )
          ).pipe(Effect.exit)
          assert.strictEqual(recorder.span("outer").status.message, message)
        }))
    }

    it.effect("a failure that was recovered from does not hide a later one", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(
          Effect.fail(quoting).pipe(
            withLlmSpan(minimal),
            Effect.ignore,
            Effect.andThen(Effect.fail(new RateLimited({ message: "database is down" }))),
            Effect.withSpan("outer")
          )
        ).pipe(Effect.exit)
        assert.strictEqual(recorder.span("outer").status.message, "database is down")
      }))

    it.effect("an error elsewhere keeps its message and stack", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(
          Effect.void.pipe(
            withLlmSpan(minimal),
            Effect.andThen(Effect.fail(new RateLimited({ message: "database is down" }))),
            Effect.withSpan("outer")
          )
        ).pipe(Effect.exit)
        const span = recorder.span("outer")
        assert.strictEqual(span.status.message, "database is down")
        assert.strictEqual(span.events[0].name, "exception")
        assert.strictEqual(span.events[0].attributes?.["exception.message"], "database is down")
        assert.match(String(span.events[0].attributes?.["exception.stacktrace"]), /GenAi\.test\.ts/)
      }))
  })

  describe("records content on request", () => {
    for (
      const [env, captured] of [
        [{ LOOM_TRACE_CONTENT: "1" }, true],
        [{ LOOM_TRACE_CONTENT: "TRUE" }, true],
        [{ LOOM_TRACE_CONTENT: "0" }, false],
        [{ LOOM_TRACE_CONTENT: "yes" }, false],
        [{ OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: " span_only " }, true],
        [{ OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: "true" }, false],
        [{ LOOM_TRACE_CONTENT: "1", OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: "NO_CONTENT" }, false],
        [{ LOOM_TRACE_CONTENT: "1", OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: "NO_CONTNT" }, false]
      ] as ReadonlyArray<readonly [Record<string, string>, boolean]>
    ) {
      it.effect(`${JSON.stringify(env)} ${captured ? "does" : "does not"}`, () =>
        Effect.gen(function*() {
          const recorder = Recorder.make({ env })
          yield* recorder.run(Effect.void.pipe(withLlmSpan({ ...minimal, input: "Hi" })))
          assert.strictEqual(recorder.span("llm.call").events.length, captured ? 1 : 0)
        }))
    }

    it.effect("loom: prompt and completion are span events", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY" } })
        yield* recorder.run(
          Effect.all([
            Effect.void.pipe(withLlmSpan({ ...minimal, input: "Hi", response: () => ({ output: "Hello" }) })),
            Effect.void.pipe(withLlmSpan({
              ...minimal,
              input: [{ role: "user", content: "Hi" }],
              response: () => ({ output: [{ role: "assistant", parts: [{ type: "tool_call", name: "t" }] }] })
            }))
          ])
        )
        const events = recorder.spans.map((span) => span.events.map((event) => [event.name, event.attributes]))
        assert.deepStrictEqual(events, [
          [["gen_ai.content.prompt", { "gen_ai.prompt": "Hi" }], [
            "gen_ai.content.completion",
            { "gen_ai.completion": "Hello" }
          ]],
          // An answer without text has no completion.
          [["gen_ai.content.prompt", { "gen_ai.prompt": `[{"role":"user","content":"Hi"}]` }]]
        ])
      }))

    it.effect("latest: messages are JSON attributes, after all others", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY", convention: "latest" } })
        yield* recorder.run(Effect.void.pipe(withLlmSpan({
          ...minimal,
          input: () => [{ role: "user", content: "Hi" }],
          systemInstructions: "Be brief",
          toolDefinitions: [{ type: "function", name: "lookup" }],
          response: () => ({ id: "r", output: "Hello" })
        })))
        const attributes = recorder.spans[0].attributes
        assert.deepStrictEqual(Object.entries(attributes).slice(-5), [
          ["gen_ai.response.id", "r"],
          ["gen_ai.system_instructions", JSON.stringify([{ type: "text", content: "Be brief" }])],
          ["gen_ai.input.messages", JSON.stringify([message("user", "Hi")])],
          ["gen_ai.tool.definitions", JSON.stringify([{ type: "function", name: "lookup" }])],
          ["gen_ai.output.messages", JSON.stringify([message("assistant", "Hello")])]
        ])
      }))

    it.effect("the prompt is the one that was sent, whatever the program does with its messages afterwards", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY", convention: "latest" } })
        const messages = [{ role: "user", content: "Hi" }]
        yield* recorder.run(
          Effect.sync(() => messages.push({ role: "assistant", content: "later" })).pipe(
            withLlmSpan({ ...minimal, input: () => messages })
          )
        )
        assert.strictEqual(
          recorder.spans[0].attributes["gen_ai.input.messages"],
          JSON.stringify([message("user", "Hi")])
        )
      }))

    for (
      const [name, redact, expected] of [
        ["a function", (content: { value: unknown }) => ({ ...content, value: "[redacted]" }), "[redacted]"],
        [
          "an effect",
          (content: { value: unknown }) => Effect.succeed({ ...content, value: "[redacted]" }),
          "[redacted]"
        ],
        ["one that throws", () => {
          throw new Error("broken")
        }, undefined],
        ["one that fails", () => Effect.fail("broken"), undefined],
        ["one that dies", () => Effect.die("broken"), undefined]
      ] as ReadonlyArray<readonly [string, GenAiSettings["redact"], string | undefined]>
    ) {
      it.effect(`redact: ${name}`, () =>
        Effect.gen(function*() {
          const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY", convention: "latest", redact } })
          const result = yield* recorder.run(Effect.succeed(1).pipe(withLlmSpan({ ...minimal, input: "secret" })))
          assert.strictEqual(result, 1)
          assert.strictEqual(recorder.spans[0].attributes["gen_ai.input.messages"], expected)
        }))
    }

    it.effect("secrets, cycles, bytes and large integers do no harm", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY" } })
        const cycle: Record<string, unknown> = {
          key: Redacted.make("hunter2"),
          bytes: new Uint8Array(3),
          big: 2n ** 70n
        }
        cycle.self = cycle
        yield* recorder.run(Effect.void.pipe(withToolSpan({ name: "t", arguments: cycle })))
        assert.strictEqual(
          recorder.spans[0].attributes["gen_ai.tool.call.arguments"],
          `{"key":"<redacted>","bytes":"<3 bytes>","big":"1180591620717411303424","self":"<circular>"}`
        )
      }))

    it.effect("content is cut to the budget and stays valid JSON", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY", convention: "latest", maxContentBytes: 500 } })
        yield* recorder.run(Effect.void.pipe(withLlmSpan({
          ...minimal,
          input: [{ role: "user", content: "ä".repeat(10_000) }],
          response: () => ({ output: "b".repeat(10_000) })
        })))
        const { attributes } = recorder.spans[0]
        const input = String(attributes["gen_ai.input.messages"])
        assert.strictEqual(JSON.parse(input)[0].role, "user")
        assert.match(JSON.parse(input)[0].parts[0].content, /^ä+…\[cut\]$/)
        const all = input + String(attributes["gen_ai.output.messages"] ?? "")
        assert.isAtMost(Buffer.byteLength(all), 500)
      }))
  })

  describe("under a foreign tracer", () => {
    it.effect("@effect/opentelemetry's gets all attributes, and error.type", () =>
      Effect.gen(function*() {
        const { InMemorySpanExporter, BasicTracerProvider, SimpleSpanProcessor } = yield* Effect.promise(() =>
          import("@opentelemetry/sdk-trace-base")
        )
        const exporter = new InMemorySpanExporter()
        const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
        const layer = OtelTracer.layer.pipe(Layer.provide(Layer.succeed(OtelTracer.OtelTracerProvider, provider)))
        yield* Effect.fail(new RateLimited({ message: "x" })).pipe(
          withLlmSpan(minimal),
          Effect.exit,
          Effect.provide(layer)
        )
        const [span] = exporter.getFinishedSpans()
        assert.strictEqual(span.attributes["gen_ai.request.model"], "gpt-4o")
        assert.strictEqual(span.attributes["error.type"], "RateLimited")
      }))

    it.effect("@effect/opentelemetry's currentOtelSpan works on our spans", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(
          Effect.map(OtelTracer.currentOtelSpan, (span) => span.setAttribute("mine", true)).pipe(withLlmSpan(minimal))
        )
        assert.strictEqual(recorder.spans[0].attributes.mine, true)
      }))
  })
})

type SpanOptions = Parameters<Tracer.Tracer["span"]>[0]

describe("annotateLlmResponse", () => {
  it.effect("adds to the enclosing model call, from inside spans of the program too", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { convention: "latest" } })
      yield* recorder.run(
        annotateLlmResponse({ id: "a", usage: { inputTokens: 3 }, openai: { serviceTier: "flex" } }).pipe(
          Effect.andThen(
            annotateLlmResponse({ model: "m", usage: { outputTokens: 4 }, openai: { systemFingerprint: "fp" } })
          ),
          Effect.withSpan("decode"),
          withLlmSpan({ ...minimal, response: () => ({ id: "b" }) })
        )
      )
      const { attributes } = recorder.span("chat gpt-4o")
      assert.strictEqual(attributes["gen_ai.response.id"], "b")
      assert.strictEqual(attributes["gen_ai.response.model"], "m")
      assert.strictEqual(attributes["gen_ai.usage.input_tokens"], 3)
      assert.strictEqual(attributes["gen_ai.usage.output_tokens"], 4)
      assert.strictEqual(attributes["openai.response.service_tier"], "flex")
      assert.strictEqual(attributes["openai.response.system_fingerprint"], "fp")
      assert.deepStrictEqual(recorder.span("decode").attributes, {})
    }))

  it.effect("is kept where the response says that it knows nothing", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { convention: "latest" } })
      yield* recorder.run(
        annotateLlmResponse({ id: "a", usage: { inputTokens: 3, outputTokens: 9 } }).pipe(
          withLlmSpan({ ...minimal, response: () => ({ id: undefined, usage: { inputTokens: undefined } }) })
        )
      )
      const { attributes } = recorder.span("chat gpt-4o")
      assert.strictEqual(attributes["gen_ai.response.id"], "a")
      assert.strictEqual(attributes["gen_ai.usage.input_tokens"], 3)
      assert.strictEqual(attributes["gen_ai.usage.output_tokens"], 9)
    }))

  it.effect("is kept when the call fails", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        annotateLlmResponse({ usage: { inputTokens: 3 } }).pipe(
          Effect.andThen(Effect.fail("cut off")),
          withLlmSpan(minimal),
          Effect.exit
        )
      )
      assert.strictEqual(recorder.span("llm.call").attributes["gen_ai.usage.input_tokens"], 3)
    }))

  for (
    const [name, around] of [
      ["spreads what it is given", (inner) => (options) => inner.span({ ...options })],
      ["knows Effect's options by name", (inner) => (options) => {
        const { annotations, kind, links, name, parent, root, sampled, startTime } = options
        return inner.span({ annotations, kind, links, name, parent, root, sampled, startTime })
      }],
      ["makes spans of its own", () => (options) => new Tracer.NativeSpan(options)]
    ] as ReadonlyArray<readonly [string, (inner: Tracer.Tracer) => (options: SpanOptions) => Tracer.Span]>
  ) {
    it.effect(`finds the call under a tracer that takes the place of the layer's and ${name}`, () =>
      Effect.gen(function*() {
        const spans: Array<Tracer.Span> = []
        const replaced = (inner: Tracer.Tracer): Tracer.Tracer => ({
          ...inner,
          span: (options) => {
            const span = around(inner)(options)
            spans.push(span)
            return span
          }
        })
        yield* Recorder.make().run(
          Effect.flatMap(Effect.tracer, (inner) =>
            annotateLlmResponse({ id: "a" }).pipe(
              withLlmSpan(minimal),
              Effect.withSpan("outer"),
              Effect.withTracer(replaced(inner))
            ))
        )
        const [outer, call] = spans
        assert.deepStrictEqual([outer.name, call.name], ["outer", "llm.call"])
        assert.strictEqual(call.attributes.get("gen_ai.request.model"), "gpt-4o")
        assert.strictEqual(call.attributes.get("gen_ai.response.id"), "a")
      }))
  }

  it.effect("does nothing outside a model call, or with tracing off", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(annotateLlmResponse({ id: "a" }).pipe(Effect.withSpan("outer")))
      assert.deepStrictEqual(recorder.span("outer").attributes, {})
      yield* annotateLlmResponse({ id: "a" }).pipe(withLlmSpan(minimal), Effect.provide(TracingNoop))
    }))
})

describe("withToolSpan", () => {
  const options = {
    name: "lookup",
    callId: "call_1",
    type: "function",
    description: "Looks things up",
    arguments: { city: "Paris" },
    result: (value: number) => ({ value })
  } as const

  it.effect("follows the convention, without content", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      assert.strictEqual(yield* recorder.run(Effect.succeed(21).pipe(withToolSpan(options))), 21)
      assert.deepStrictEqual(Recorder.summarize(recorder.spans[0]), {
        name: "execute_tool lookup",
        kind: "INTERNAL",
        status: "UNSET",
        attributes: {
          "gen_ai.operation.name": "execute_tool",
          "gen_ai.tool.name": "lookup",
          "gen_ai.tool.type": "function",
          "gen_ai.tool.call.id": "call_1",
          "gen_ai.tool.description": "Looks things up"
        }
      })
    }))

  it.effect("records arguments and result as objects on request", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY" } })
      yield* recorder.run(Effect.succeed(21).pipe(withToolSpan(options)))
      yield* recorder.run(Effect.succeed(21).pipe(withToolSpan({ name: "bare", arguments: "x", result: (n) => n })))
      const content = recorder.spans.map((
        { attributes }
      ) => [attributes["gen_ai.tool.call.arguments"], attributes["gen_ai.tool.call.result"]])
      assert.deepStrictEqual(content, [[`{"city":"Paris"}`, `{"value":21}`], [`{"input":"x"}`, `{"output":21}`]])
    }))

  for (
    const [name, value, expected] of [
      ["a text", "x", "x"],
      ["null", null, null],
      ["a list", [1], [1]],
      ["a date", new Date(0), "1970-01-01T00:00:00.000Z"],
      ["a moment of Effect's", DateTime.makeUnsafe(0), "1970-01-01T00:00:00.000Z"],
      ["an address", new URL("http://localhost/a"), "http://localhost/a"],
      ["bytes", new Uint8Array(3), "<3 bytes>"],
      ["a secret", Redacted.make("x"), "<redacted>"],
      ["an object that says it is a list", { toJSON: () => [1] }, [1]]
    ] as ReadonlyArray<readonly [string, unknown, unknown]>
  ) {
    it.effect(`records ${name} inside an object`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY" } })
        yield* recorder.run(
          Effect.succeed(value).pipe(withToolSpan({ name: "t", arguments: value, result: (value) => value }))
        )
        const { attributes } = recorder.spans[0]
        assert.deepStrictEqual(JSON.parse(String(attributes["gen_ai.tool.call.arguments"])), { input: expected })
        assert.deepStrictEqual(JSON.parse(String(attributes["gen_ai.tool.call.result"])), { output: expected })
      }))
  }

  for (const [redacted, expected] of [["hidden", `{"output":"hidden"}`], [`{"a":"hidden"}`, `{"a":"hidden"}`]]) {
    it.effect(`records ${redacted} from \`redact\` as an object`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({
          genAi: { capture: "SPAN_ONLY", redact: ({ kind }) => ({ kind, value: redacted }) }
        })
        yield* recorder.run(Effect.succeed(21).pipe(withToolSpan(options)))
        assert.strictEqual(recorder.spans[0].attributes["gen_ai.tool.call.result"], expected)
      }))
  }

  it.effect("records JSON from `redact` that is too long for its place as an object still", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({
        genAi: {
          capture: "SPAN_ONLY",
          maxContentBytes: 400,
          redact: ({ kind, value }) => ({ kind, value: JSON.stringify(value) })
        }
      })
      const given = { city: "Paris", body: "x".repeat(1000), key: "k" }
      yield* recorder.run(Effect.void.pipe(withToolSpan({ name: "t", arguments: given })))
      const printed = JSON.parse(String(recorder.spans[0].attributes["gen_ai.tool.call.arguments"]))
      assert.deepStrictEqual({ ...printed, body: "" }, { ...given, body: "" })
      assert.match(printed.body, /^x+…\[cut\]$/)
    }))
})

describe("withAgentSpan", () => {
  it.effect("in this program: INTERNAL, without provider or id", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(Effect.void.pipe(
        withAgentSpan({
          name: "planner",
          id: "x",
          version: "1",
          description: "Plans",
          provider: "openai",
          conversationId: "c"
        })
      ))
      assert.deepStrictEqual(Recorder.summarize(recorder.spans[0]), {
        name: "invoke_agent planner",
        kind: "INTERNAL",
        status: "UNSET",
        attributes: {
          "gen_ai.operation.name": "invoke_agent",
          "gen_ai.agent.name": "planner",
          "gen_ai.agent.description": "Plans",
          "gen_ai.conversation.id": "c"
        }
      })
    }))

  it.effect("in another service: CLIENT, with provider, model and id", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(Effect.void.pipe(
        withAgentSpan({ id: "arn:1", provider: "aws.bedrock", remote: true, request: { model: "m", temperature: 0 } })
      ))
      assert.deepStrictEqual(Recorder.summarize(recorder.spans[0]), {
        name: "invoke_agent",
        kind: "CLIENT",
        status: "UNSET",
        attributes: {
          "gen_ai.operation.name": "invoke_agent",
          "gen_ai.provider.name": "aws.bedrock",
          "gen_ai.request.model": "m",
          "gen_ai.agent.id": "arn:1",
          "gen_ai.request.temperature": 0
        }
      })
    }))
})
