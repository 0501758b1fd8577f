import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, References, Tracer } from "effect"
import {
  Tracing,
  TracingNoop,
  withAgentSpan,
  withLlmSpan,
  withProducerSpan,
  withScope,
  withToolSpan
} from "loom-tracing"
import * as Recorder from "./support/Recorder.ts"

const none = { ended: 0, exported: 0, dropped: 0, queued: 0 }

describe("Tracing", () => {
  for (const [name, layer] of [["by default", Layer.empty], ["under TracingNoop", TracingNoop]] as const) {
    it.effect(`is a no-op ${name}`, () =>
      Effect.gen(function*() {
        const tracing = yield* Tracing
        assert.isFalse(tracing.enabled)
        assert.deepStrictEqual(yield* tracing.exportStats, none)
        yield* tracing.flush
        yield* Effect.void.pipe(Effect.withSpan("a"), Effect.withTracer(tracing.tracer({ name: "x" })))
      }).pipe(Effect.provide(layer)))
  }

  it.effect("TracingNoop turns off what a layer around it has turned on", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        Effect.gen(function*() {
          assert.isTrue((yield* Tracing).enabled)
          yield* Effect.gen(function*() {
            assert.isFalse((yield* Tracing).enabled)
            yield* Effect.void.pipe(Effect.withSpan("inside"))
          }).pipe(Effect.provide(TracingNoop))
        }).pipe(Effect.withSpan("outside"))
      )
      assert.deepStrictEqual(recorder.spans.map((span) => span.name), ["outside"])
    }))

  it.effect("gives one tracer for each scope", () =>
    Effect.gen(function*() {
      const tracing = yield* Tracing
      const scope = { name: "lib", version: "1", schemaUrl: "https://example.com/1" }
      assert.strictEqual(tracing.tracer(scope), tracing.tracer({ ...scope }))
      assert.notStrictEqual(tracing.tracer(scope), tracing.tracer({ name: "lib" }))
    }).pipe(Effect.provide(Recorder.make().layer)))
})

describe("withScope", () => {
  it.effect("names the instrumentation scope of the spans inside", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        Effect.void.pipe(
          Effect.withSpan("inner"),
          withScope({ name: "lib", version: "1.2.3", schemaUrl: "https://example.com/1" }),
          Effect.withSpan("outer"),
          withScope("app"),
          Effect.withSpan("default")
        )
      )
      const scopes = recorder.spans.map((span): unknown => [span.name, span.instrumentationScope])
      assert.deepStrictEqual(scopes.slice(0, 2), [
        ["inner", { name: "lib", version: "1.2.3", schemaUrl: "https://example.com/1" }],
        ["outer", { name: "app", version: undefined, schemaUrl: undefined }]
      ])
      assert.strictEqual(recorder.span("default").instrumentationScope.name, "loom-tracing")
      assert.strictEqual(recorder.span("inner").parentSpanContext?.spanId, recorder.span("outer").spanContext().spanId)
    }))

  it.effect("leaves a foreign tracer alone, and tracing that is off", () =>
    Effect.gen(function*() {
      const foreign = Tracer.make({ span: (options) => new Tracer.NativeSpan(options) })
      const recorder = Recorder.make()
      assert.strictEqual(yield* recorder.run(Effect.tracer.pipe(withScope("lib"), Effect.withTracer(foreign))), foreign)
      assert.strictEqual(yield* Effect.tracer.pipe(withScope("lib")), Tracer.nativeTracer)
    }))
})

describe("with tracing off", () => {
  const combinators: ReadonlyArray<
    readonly [string, <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>]
  > = [
    [
      "withLlmSpan",
      withLlmSpan({ provider: "openai", request: { model: "m" }, input: () => assert.fail("evaluated") })
    ],
    ["withToolSpan", withToolSpan({ name: "t", arguments: () => assert.fail("evaluated") })],
    ["withAgentSpan", withAgentSpan({ name: "a" })],
    ["withProducerSpan", withProducerSpan({ system: "nats", destination: "s" })],
    ["withScope", withScope("lib")]
  ]
  for (const [name, combinator] of combinators) {
    for (
      const [state, off] of [
        ["nothing provided", (self) => self],
        ["the native tracer", Effect.withTracer(Tracer.nativeTracer)],
        ["TracingNoop", Effect.provide(TracingNoop)],
        [
          "withTracerEnabled(false)",
          (self) =>
            Effect.provideService(self, References.TracerEnabled, false).pipe(Effect.provide(Recorder.make().layer))
        ]
      ] as ReadonlyArray<readonly [string, <A, E>(self: Effect.Effect<A, E>) => Effect.Effect<A, E>]>
    ) {
      it.effect(`${name} runs the effect and nothing else: ${state}`, () =>
        Effect.gen(function*() {
          const span = yield* off(combinator(Effect.withFiber((fiber) => Effect.succeed(fiber.cache.span))))
          assert.isUndefined(span)
        }))
    }
  }

  it.effect("TracingNoop's spans have no identity of their own", () =>
    Effect.gen(function*() {
      const remote = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
      const span = Effect.currentSpan.pipe(Effect.withSpan("a"), Effect.provide(TracingNoop))
      const alone = yield* span
      assert.deepStrictEqual([alone.traceId, alone.spanId, alone.sampled], ["0".repeat(32), "0".repeat(16), false])
      const child = yield* span.pipe(Effect.withParentSpan(remote))
      assert.deepStrictEqual([child.traceId, child.spanId, child.sampled], [remote.traceId, remote.spanId, true])
      child.attribute("a", 1)
      assert.strictEqual(child.attributes.size, 0)
    }))
})
