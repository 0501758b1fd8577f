import { assert, describe, it } from "@effect/vitest"
import type { Attributes } from "@opentelemetry/api"
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  type Sampler,
  SamplingDecision,
  type SpanProcessor
} from "@opentelemetry/sdk-trace-base"
import { ConfigProvider, Context, Effect, Exit, Fiber, Option, References, Tracer } from "effect"
import { makeTracingLive, withConsumerSpan, withLlmSpan } from "loom-tracing"
import { type SpanSpec, traced } from "../../src/internal/span.ts"
import * as Recorder from "../support/Recorder.ts"

type SpanOptions = Parameters<Tracer.Tracer["span"]>[0]

const makeTracer = (onSpan: () => void = () => {}) => {
  const asked: Array<SpanOptions> = []
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span(options) {
      const span = new Tracer.NativeSpan(options)
      asked.push(options)
      spans.push(span)
      onSpan()
      return span
    }
  })
  return { asked, spans, tracer }
}

const inside = <A, E, R>(self: Effect.Effect<A, E, R>, spec: Partial<SpanSpec<A, E>> = {}) =>
  Effect.withFiber<A, E, R>((fiber) => traced(fiber, self, { name: "span", kind: "client", start: {}, ...spec }))

const external = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
const unsampled = Tracer.externalSpan({ traceId: external.traceId, spanId: external.spanId, sampled: false })
const hidden = Tracer.externalSpan({
  traceId: external.traceId,
  spanId: external.spanId,
  annotations: Context.make(Tracer.DisablePropagation, true)
})

describe("a span is asked for as Effect asks for one", () => {
  type Around = (self: Effect.Effect<void>) => Effect.Effect<void>
  type Options = Pick<Tracer.SpanOptionsNoTrace, "links" | "parent" | "root">
  const link = { span: external, attributes: { reason: "test" } }
  for (
    const [name, around, options] of [
      ["with nothing around", (self) => self, {}],
      ["below a remote span", Effect.withParentSpan(external), {}],
      ["below an unsampled one", Effect.withParentSpan(unsampled), {}],
      ["below a local one", (self) => Effect.withSpan(self, "outer"), {}],
      ["below one that does not propagate", Effect.withParentSpan(hidden), {}],
      ["below one that does not propagate, in one that does", (self) =>
        self.pipe(
          Effect.withSpan("hidden", { annotations: Context.make(Tracer.DisablePropagation, true) }),
          Effect.withSpan("outer")
        ), {}],
      ["as a root", Effect.withParentSpan(external), { root: true }],
      ["with a parent of its own", Effect.withParentSpan(external), { parent: unsampled }],
      ["with a parent of its own, where there is none", (self) => self, { parent: external }],
      ["where spans are linked", Effect.linkSpans(external, { reason: "around" }), {}],
      ["with a link of its own", Effect.linkSpans(external, { reason: "around" }), { links: [link] }],
      ["where spans are annotated", Effect.annotateSpans("key", "value"), {}],
      ["below the minimum level", Effect.provideService(Tracer.MinimumTraceLevel, "Warn"), {}],
      ["at the minimum level", (self) =>
        self.pipe(
          Effect.provideService(Tracer.MinimumTraceLevel, "Warn"),
          Effect.provideService(Tracer.CurrentTraceLevel, "Warn")
        ), {}],
      ["at no level", Effect.provideService(Tracer.MinimumTraceLevel, "None"), {}],
      ["without times", Effect.provideService(References.TracerTimingEnabled, false), {}]
    ] as ReadonlyArray<readonly [string, Around, Options]>
  ) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const ours = makeTracer()
        const effects = makeTracer()
        yield* Effect.withTracer(around(inside(Effect.void, options)), ours.tracer)
        yield* Effect.withTracer(
          around(Effect.useSpan("span", { kind: "client", ...options }, () => Effect.void)),
          effects.tracer
        )
        const told = ({ asked, spans }: typeof ours) => {
          const { annotations: _, parent, ...options } = asked.at(-1)!
          const span = spans.at(-1)!
          return {
            ...options,
            parent: Option.match(parent, {
              onNone: () => undefined,
              onSome: (span) => span._tag === "Span" ? span.name : span
            }),
            attributes: Object.fromEntries(span.attributes),
            status: span.status
          }
        }
        assert.deepStrictEqual(told(ours), told(effects))
        assert.strictEqual(ours.asked.length, effects.asked.length)
      }))
  }
})

describe("a span under a tracer that is not ours", () => {
  it.effect("has no attribute for an option without a value", () =>
    Effect.gen(function*() {
      const { spans, tracer } = makeTracer()
      const options = { system: "nats", destination: "tasks", messageId: undefined, clientId: null as never }
      yield* Effect.void.pipe(withConsumerSpan(options), Effect.withTracer(tracer))
      assert.deepStrictEqual(Object.fromEntries(spans[0]!.attributes), {
        "messaging.system": "nats",
        "messaging.system.name": "nats",
        "messaging.destination.name": "tasks",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process"
      })
    }))

  it.effect("keeps an `error.type` that the program has set", () =>
    Effect.gen(function*() {
      const { spans, tracer } = makeTracer()
      const call = Effect.andThen(Effect.annotateCurrentSpan("error.type", "429"), Effect.fail("no"))
      yield* Effect.exit(call.pipe(
        withLlmSpan({ provider: "openai", request: { model: "gpt-4o" } }),
        Effect.withTracer(tracer)
      ))
      assert.strictEqual(spans[0]!.attributes.get("error.type"), "429")
    }))
})

describe("a span that is interrupted before its effect has begun", () => {
  it.effect("ends, and gives the context back", () =>
    Effect.gen(function*() {
      let ran = false
      let after: Tracer.AnySpan | undefined = external
      let interrupt = () => {}
      const { spans, tracer } = makeTracer(() => interrupt())
      const program = Effect.withFiber((fiber) => {
        interrupt = () => fiber.interruptUnsafe()
        return inside(Effect.sync(() => {
          ran = true
        }))
      }).pipe(Effect.onExit(() =>
        Effect.withFiber((fiber) => {
          after = fiber.cache.span
          return Effect.void
        })
      ))
      const fiber = yield* Effect.forkChild(Effect.withTracer(program, tracer))
      const exit = yield* Fiber.await(fiber)
      assert.isTrue(Exit.hasInterrupts(exit))
      assert.isFalse(ran)
      assert.isUndefined(after)
      assert.deepStrictEqual(spans.map((span) => span.status._tag), ["Ended"])
    }))
})

describe("start attributes", () => {
  const call = Effect.void.pipe(withLlmSpan({ provider: "openai", request: { model: "gpt-4o" } }))
  const start = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o"
  }

  /** A layer with a processor that tells what it sees when a span starts, and when it ends. */
  const record = Effect.fnUntraced(function*(program: Effect.Effect<unknown, unknown>, sampler?: Sampler) {
    const started: Array<readonly [string, Attributes]> = []
    const ended: Array<readonly [string, Attributes]> = []
    const processor: SpanProcessor = {
      onStart: (span) => void started.push([span.name, { ...span.attributes }]),
      onEnd: (span) => void ended.push([span.name, { ...span.attributes }]),
      forceFlush: () => Promise.resolve(),
      shutdown: () => Promise.resolve()
    }
    const layer = makeTracingLive({
      exporter: "none",
      spanProcessors: [processor],
      sampler,
      genAi: { convention: "latest" }
    })
    const exit = yield* Effect.exit(Effect.provide(program, layer))
    return { exit, started, ended }
  })

  it.effect("are there when a processor first sees the span", () =>
    Effect.gen(function*() {
      const { started } = yield* record(call)
      assert.deepStrictEqual(started, [["chat gpt-4o", start]])
    }))

  it.effect("give way to those that the sampler adds", () =>
    Effect.gen(function*() {
      const { started } = yield* record(call, {
        shouldSample: () => ({
          decision: SamplingDecision.RECORD_AND_SAMPLED,
          attributes: { "gen_ai.request.model": "chosen", "sampling.rule": 7 }
        })
      })
      assert.deepStrictEqual(started[0][1], { ...start, "gen_ai.request.model": "chosen", "sampling.rule": 7 })
    }))

  it.effect("can be changed by a sampler, for the span and for nothing else", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({
        genAi: { convention: "latest", capture: "EVENT_ONLY" },
        sampler: {
          shouldSample: (_context, _traceId, _name, _kind, attributes) => {
            assert.deepStrictEqual(attributes, start)
            delete attributes["gen_ai.provider.name"]
            return { decision: SamplingDecision.RECORD_AND_SAMPLED }
          }
        }
      })
      yield* recorder.run(call)
      const { "gen_ai.provider.name": _, ...left } = start
      const [span] = recorder.spans
      assert.deepStrictEqual(span.attributes, left)
      assert.deepStrictEqual(span.events.map(({ attributes }) => attributes), [start])
    }))

  it.effect("go to no other span: one that the sampler starts, one after a sampler that has thrown or has said no", () =>
    Effect.gen(function*() {
      const always = new AlwaysOnSampler()
      const inner = new BasicTracerProvider().getTracer("inner")
      let asked = 0
      const { exit, started } = yield* record(
        Effect.gen(function*() {
          yield* call
          yield* Effect.withSpan(Effect.void, "plain")
          yield* call
          yield* Effect.withSpan(Effect.void, "plain")
          yield* call
          yield* Effect.withSpan(Effect.void, "plain")
        }),
        {
          shouldSample: () => {
            inner.startSpan("inner").end()
            asked++
            if (asked === 1) throw new Error("broken")
            return asked === 3 ? { decision: SamplingDecision.NOT_RECORD } : always.shouldSample()
          }
        }
      )
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(started, [["plain", {}], ["plain", {}], ["chat gpt-4o", start], ["plain", {}]])
    }))

  it.effect("go to no other span where the sampler's answer cannot be read to its end", () =>
    Effect.gen(function*() {
      let reads = 0
      const { started } = yield* record(Effect.andThen(call, Effect.withSpan(Effect.void, "plain")), {
        shouldSample: () => ({
          decision: SamplingDecision.RECORD_AND_SAMPLED,
          get attributes() {
            if (++reads === 3) throw new Error("broken")
            return {}
          }
        })
      })
      assert.deepStrictEqual(started, [["plain", {}]])
    }))

  it.effect("respect the limits of the span", () =>
    Effect.gen(function*() {
      const environment = ConfigProvider.layer(ConfigProvider.fromUnknown({ OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: "2" }))
      const { ended } = yield* Effect.provide(record(call), environment)
      assert.deepStrictEqual(Object.keys(ended[0][1]), ["gen_ai.operation.name", "gen_ai.provider.name"])
    }))
})
