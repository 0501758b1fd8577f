import { afterEach, assert, describe, it } from "@effect/vitest"
import {
  baggageEntryMetadataFromString,
  context,
  propagation,
  ROOT_CONTEXT,
  trace,
  type Tracer as OtelTracer
} from "@opentelemetry/api"
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks"
import { W3CTraceContextPropagator } from "@opentelemetry/core"
import type { ReadableSpan, SpanProcessor } from "@opentelemetry/sdk-trace-base"
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base"
import { ConfigProvider, Deferred, Effect, Fiber, Layer, Logger, Stream } from "effect"
import {
  makeTracingLive,
  Tracing,
  TracingNoop,
  type TracingOptions,
  withLlmSpan,
  withRemoteContext
} from "loom-tracing"

afterEach(() => {
  trace.disable()
  context.disable()
  propagation.disable()
})

const recorder = () => {
  const spans: Array<ReadableSpan> = []
  let shutdowns = 0
  const processor: SpanProcessor = {
    onStart() {},
    onEnd: (span) => void spans.push(span),
    forceFlush: () => Promise.resolve(),
    shutdown: () => {
      shutdowns++
      return Promise.resolve()
    }
  }
  return {
    spans,
    processor,
    get shutdowns() {
      return shutdowns
    },
    find: (name: string) => spans.find((span) => span.name === name)!
  }
}

const logs: Array<string> = []
const run = <A, E>(effect: Effect.Effect<A, E>, options: TracingOptions) => {
  logs.length = 0
  const environment = Layer.merge(
    ConfigProvider.layer(ConfigProvider.fromUnknown({})),
    Logger.layer([Logger.make(({ message }) => void logs.push(String(message)))])
  )
  return Effect.provide(
    effect,
    Layer.orDie(makeTracingLive({ exporter: "none", ...options })).pipe(Layer.provideMerge(environment))
  )
}

/** What a library instrumented for OpenTelemetry does: it knows nothing of Effect. */
const library = (name: string): void => {
  const tracer: OtelTracer = trace.getTracer("library")
  tracer.startActiveSpan(name, (span) => span.end())
}

const parentOf = (spans: ReadonlyArray<ReadableSpan>, name: string) => {
  const parentId = spans.find((span) => span.name === name)?.parentSpanContext?.spanId
  return spans.find((span) => span.spanContext().spanId === parentId)?.name
}

const spanOfContext = () => trace.getSpan(context.active())

describe("global: true", () => {
  it.live("a library instrumented for OpenTelemetry nests under the span that is current, wherever the fiber goes", () =>
    Effect.gen(function*() {
      const { processor, spans } = recorder()
      const call = (name: string) => Effect.sync(() => library(name))
      yield* run(
        Effect.gen(function*() {
          yield* call("sync")
          yield* Effect.sleep("1 millis")
          yield* call("after a sleep")
          yield* Effect.promise(async () => {
            library("in a promise")
            await Promise.resolve()
            library("after an await")
            await new Promise((resolve) => setTimeout(resolve, 1))
            library("after a timer")
          })
          yield* call("after a promise")
          yield* Effect.callback<void>((resume) => {
            setTimeout(() => {
              library("in a callback")
              resume(Effect.void)
            }, 1)
          })
          const fiber = yield* Effect.forkChild(Effect.andThen(Effect.sleep("1 millis"), call("in a forked fiber")))
          yield* Fiber.join(fiber)
          yield* Stream.range(1, 3).pipe(Stream.mapEffect(() => Effect.sleep("1 millis")), Stream.runDrain)
          yield* call("after a stream")
          yield* call("in a span").pipe(Effect.withSpan("inner"))
          yield* call("after a span")
        }).pipe(Effect.withSpan("outer")),
        { global: true, spanProcessors: [processor] }
      )
      const libraries = spans.filter((span) => span.instrumentationScope.name === "library").map((span) => span.name)
      assert.strictEqual(libraries.length, 11)
      for (const name of libraries) {
        assert.strictEqual(parentOf(spans, name), name === "in a span" ? "inner" : "outer", name)
      }
    }))

  it.live("fibers that take turns keep their own", () =>
    Effect.gen(function*() {
      const { processor, spans } = recorder()
      yield* run(
        Effect.forEach(
          Array.from({ length: 50 }, (_, index) => index),
          (index) =>
            Effect.gen(function*() {
              for (let step = 0; step < 10; step++) {
                yield* Effect.sync(() => library(`${index}`))
                yield* index % 3 === 0
                  ? Effect.yieldNow
                  : index % 3 === 1
                  ? Effect.sleep(`${step % 3} millis`)
                  : Effect.promise(() => Promise.resolve())
              }
            }).pipe(Effect.withSpan(`span ${index}`)),
          { concurrency: "unbounded" }
        ),
        { global: true, spanProcessors: [processor] }
      )
      const byId = new Map(spans.map((span) => [span.spanContext().spanId, span.name]))
      const libraries = spans.filter((span) => span.instrumentationScope.name === "library")
      assert.strictEqual(libraries.length, 500)
      for (const span of libraries) {
        assert.strictEqual(byId.get(span.parentSpanContext?.spanId ?? ""), `span ${span.name}`)
      }
    }))

  it.live("nothing of it is left with the caller, with timers set outside, or with what runs next", () =>
    Effect.gen(function*() {
      const { processor } = recorder()
      const seen: Record<string, unknown> = {}
      yield* run(
        Effect.gen(function*() {
          const runtime = yield* Effect.context<never>()
          yield* Effect.promise(async () => {
            await new Promise<void>((resolve) => {
              // A plain caller, such as a web framework: no span of Effect's is current here.
              setTimeout(() => {
                context.with(ROOT_CONTEXT, () => {
                  Effect.runSyncWith(runtime)(Effect.withSpan(Effect.sync(() => library("x")), "sync program"))
                  seen["after runSync"] = spanOfContext()
                  const gate = Deferred.makeUnsafe<void>()
                  Effect.runForkWith(runtime)(Effect.withSpan(Deferred.await(gate), "forked program"))
                  seen["after runFork"] = spanOfContext()
                  setTimeout(() => {
                    seen["in a timer set after runFork"] = spanOfContext()
                    Deferred.doneUnsafe(gate, Effect.void)
                    seen["after waking a fiber"] = spanOfContext()
                    resolve()
                  }, 1)
                })
              }, 1)
            })
          })
        }),
        { global: true, spanProcessors: [processor] }
      )
      assert.deepStrictEqual(seen, {
        "after runSync": undefined,
        "after runFork": undefined,
        "in a timer set after runFork": undefined,
        "after waking a fiber": undefined
      })
    }))

  it.live("nothing of it is left by a span in which tracing is off for a while", () =>
    Effect.gen(function*() {
      const { find, processor, spans } = recorder()
      let active: unknown
      yield* run(
        Effect.gen(function*() {
          const runtime = yield* Effect.context<never>()
          yield* Effect.callback<void>((resume) => {
            // A plain caller, as above.
            setTimeout(() => {
              context.with(ROOT_CONTEXT, () => {
                const gate = Deferred.makeUnsafe<void>()
                const fiber = Effect.runForkWith(runtime)(
                  Effect.sync(() => library("in what is off")).pipe(
                    Effect.andThen(Deferred.await(gate)),
                    Effect.andThen(Effect.sync(() => library("in what is off, later"))),
                    Effect.provide(TracingNoop),
                    Effect.andThen(Effect.sync(() => library("in it again"))),
                    Effect.withSpan("partly off")
                  )
                )
                active = spanOfContext()
                Effect.runForkWith(runtime)(Effect.withSpan(Effect.void, "unrelated"))
                Deferred.doneUnsafe(gate, Effect.void)
                fiber.addObserver(() => {
                  resume(Effect.void)
                })
              })
            }, 1)
          })
        }),
        { global: true, spanProcessors: [processor] }
      )
      assert.isUndefined(active)
      assert.isUndefined(find("unrelated").parentSpanContext)
      for (const name of ["in what is off", "in what is off, later", "in it again"]) {
        assert.strictEqual(parentOf(spans, name), "partly off", name)
      }
    }))

  it.live("a program inside a program leaves the outer one's span current", () =>
    Effect.gen(function*() {
      const { processor, spans } = recorder()
      yield* run(
        Effect.gen(function*() {
          const services = yield* Effect.context<never>()
          yield* Effect.sync(() => {
            Effect.runSyncWith(services)(Effect.withSpan(Effect.sync(() => library("inside")), "inner", { root: true }))
            library("after it")
          })
        }).pipe(Effect.withSpan("outer")),
        { global: true, spanProcessors: [processor] }
      )
      assert.strictEqual(parentOf(spans, "inside"), "inner")
      assert.strictEqual(parentOf(spans, "after it"), "outer")
    }))

  it.live("registers propagators that keep what W3C defines", () =>
    Effect.gen(function*() {
      const headers = {
        Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03",
        tracestate: "1foo=1,a@b@c=2",
        baggage: "k=v;p=1,empty="
      }
      const sent: Record<string, string> = {}
      yield* run(
        Effect.sync(() => propagation.inject(propagation.extract(ROOT_CONTEXT, headers), sent)),
        { global: true }
      )
      assert.deepStrictEqual(sent, {
        traceparent: headers.Traceparent,
        tracestate: headers.tracestate,
        baggage: "k=v;p=1,empty="
      })
    }))

  it.live("its propagators take a header that is no text for none, and throw nothing at a library", () =>
    Effect.gen(function*() {
      const headers = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", baggage: "k=v" }
      for (const value of [Buffer.from("a=1"), 5, true, null, {}, Symbol("a"), [5], [null]]) {
        for (const name of ["traceparent", "tracestate", "baggage"]) {
          const { [name]: _, ...others } = headers as Record<string, string>
          const sent: Record<string, string> = {}
          yield* run(
            Effect.sync(() =>
              propagation.inject(propagation.extract(ROOT_CONTEXT, { ...headers, [name]: value }), sent)
            ),
            { global: true }
          )
          assert.deepStrictEqual(sent, others)
        }
      }
    }))

  for (
    const [baggage, sent = baggage] of [
      ["a=1;p=x%3By"],
      ["a=1;p=%20x%20"],
      ["a=1;p;,b=2", "a=1;p,b=2"]
    ] as ReadonlyArray<readonly [string, string?]>
  ) {
    it.live(`its propagators keep the properties of baggage: ${baggage}`, () =>
      Effect.gen(function*() {
        const headers: Record<string, string> = {}
        yield* run(
          Effect.sync(() => propagation.inject(propagation.extract(ROOT_CONTEXT, { baggage }), headers)),
          { global: true }
        )
        assert.deepStrictEqual(headers, { baggage: sent })
      }))
  }

  it.live("its propagators send the metadata of a library's baggage, but for empty properties", () =>
    Effect.gen(function*() {
      const headers: Record<string, string> = {}
      const baggage = propagation.createBaggage({
        a: { value: "1", metadata: baggageEntryMetadataFromString("p=x%3By;;q;") },
        b: { value: "2" }
      })
      yield* run(
        Effect.sync(() => propagation.inject(propagation.setBaggage(ROOT_CONTEXT, baggage), headers)),
        { global: true }
      )
      assert.deepStrictEqual(headers, { baggage: "a=1;p=x%3By;q,b=2" })
    }))

  it.live("a library nests under the remote span of a message, where no span of the program's is in between", () =>
    Effect.gen(function*() {
      const { processor, spans } = recorder()
      const traceparent = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 }
      yield* run(
        Effect.forEach(["lib", "again"], (name) => Effect.sync(() => library(name))).pipe(
          withRemoteContext({ traceparent })
        ),
        { global: true, spanProcessors: [processor] }
      )
      assert.deepStrictEqual(spans.map(({ name, parentSpanContext }) => [name, parentSpanContext?.spanId]), [
        ["lib", traceparent.spanId],
        ["again", traceparent.spanId]
      ])
    }))

  it.live("is undone on release", () =>
    Effect.gen(function*() {
      yield* run(
        Effect.sync(() => assert.isTrue(trace.getTracer("x").startSpan("x").isRecording())),
        { global: true }
      )
      assert.isFalse(trace.getTracer("x").startSpan("x").isRecording())
      assert.deepStrictEqual(propagation.fields(), [])
      assert.isUndefined(context.with(trace.setSpanContext(ROOT_CONTEXT, {} as never), spanOfContext))
    }))

  it.live("leaves what another SDK has registered in its place meanwhile, when it is released", () =>
    Effect.gen(function*() {
      const theirs = recorder()
      const provider = new BasicTracerProvider({ spanProcessors: [theirs.processor] })
      yield* run(
        Effect.sync(() => {
          trace.disable()
          context.disable()
          propagation.disable()
          trace.setGlobalTracerProvider(provider)
          context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
          propagation.setGlobalPropagator(new W3CTraceContextPropagator())
        }),
        { global: true }
      )
      trace.getTracer("x").startActiveSpan("outer", (span) => {
        library("inner")
        span.end()
      })
      assert.strictEqual(parentOf(theirs.spans, "inner"), "outer")
      assert.deepStrictEqual(propagation.fields(), ["traceparent", "tracestate"])
    }))

  it.live("joins what is registered already, says so, and leaves it there", () =>
    Effect.gen(function*() {
      const theirs = recorder()
      const ours = recorder()
      trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [theirs.processor] }))
      context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
      yield* run(
        Effect.sync(() => library("lib")).pipe(Effect.withSpan("outer")),
        { global: true, spanProcessors: [ours.processor] }
      )
      assert.deepStrictEqual(theirs.spans.map((span) => span.name), ["lib", "outer"])
      assert.strictEqual(parentOf(theirs.spans, "lib"), "outer")
      assert.deepStrictEqual([ours.spans.length, theirs.shutdowns], [0, 0])
      assert.strictEqual(logs.filter((log) => log.startsWith("global: ")).length, 2)
      assert.isTrue(trace.getTracer("x").startSpan("x").isRecording())
    }))
})

describe("two layers with global: true", () => {
  it.live("record on their own, and the second goes on when the first has been released", () =>
    Effect.gen(function*() {
      const [first, second] = [recorder(), recorder()]
      const release = Deferred.makeUnsafe<void>()
      const isRegistered = Deferred.makeUnsafe<void>()
      const outer = yield* Effect.forkChild(
        run(
          Effect.andThen(Deferred.succeed(isRegistered, undefined), Deferred.await(release)).pipe(
            Effect.withSpan("first")
          ),
          { global: true, spanProcessors: [first.processor] }
        )
      )
      yield* Deferred.await(isRegistered)
      yield* run(
        Effect.gen(function*() {
          yield* Effect.sync(() => library("of the first")).pipe(Effect.withSpan("inner"), Effect.withSpan("outer"))
          yield* Deferred.succeed(release, undefined)
          yield* Fiber.join(outer)
          yield* Effect.withSpan(Effect.void, "later")
        }),
        { global: true, spanProcessors: [second.processor] }
      )
      assert.deepStrictEqual(second.spans.map((span) => span.name), ["inner", "outer", "later"])
      assert.strictEqual(parentOf(second.spans, "inner"), "outer")
      assert.deepStrictEqual(first.spans.map((span) => span.name), ["of the first", "first"])
      assert.isTrue(logs.some((log) => log.startsWith("global: another layer of this package has registered its")))
    }))

  it.live("one after the other are both registered", () =>
    Effect.gen(function*() {
      for (const { processor, spans } of [recorder(), recorder()]) {
        yield* run(Effect.sync(() => library("lib")), { global: true, spanProcessors: [processor] })
        assert.deepStrictEqual(spans.map((span) => span.name), ["lib"])
        assert.deepStrictEqual(logs, [])
      }
    }))
})

describe("a context that OpenTelemetry has made current", () => {
  it.live("is the parent of what Effect traces in it", () =>
    Effect.gen(function*() {
      context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
      const theirs = recorder()
      const ours = recorder()
      const provider = new BasicTracerProvider({ spanProcessors: [theirs.processor] })
      yield* run(
        Effect.gen(function*() {
          const services = yield* Effect.context<never>()
          yield* Effect.promise(() =>
            provider.getTracer("http").startActiveSpan("GET /", async (span) => {
              await Effect.runPromiseWith(services)(
                Effect.void.pipe(Effect.withSpan("inner"), Effect.andThen(Effect.void.pipe(Effect.withSpan("second"))))
              )
              span.end()
            })
          )
        }),
        { spanProcessors: [ours.processor] }
      )
      const request = theirs.find("GET /").spanContext()
      for (const name of ["inner", "second"]) {
        assert.strictEqual(ours.find(name).parentSpanContext?.spanId, request.spanId)
        assert.strictEqual(ours.find(name).spanContext().traceId, request.traceId)
      }
    }))

  it.live("does not beat a span of Effect's, or a root", () =>
    Effect.gen(function*() {
      context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
      const ours = recorder()
      yield* run(
        Effect.void.pipe(Effect.withSpan("inner"), Effect.withSpan("outer", { root: true })),
        { spanProcessors: [ours.processor] }
      )
      assert.strictEqual(parentOf(ours.spans, "inner"), "outer")
      assert.isUndefined(ours.find("outer").parentSpanContext)
    }))
})

describe("provider", () => {
  const use = Effect.gen(function*() {
    const tracing = yield* Tracing
    assert.isTrue(tracing.enabled)
    yield* Effect.void.pipe(withLlmSpan({ provider: "openai", request: { model: "m" } }), Effect.withSpan("outer"))
    yield* tracing.flush
    assert.deepStrictEqual(yield* tracing.exportStats, { ended: 0, exported: 0, dropped: 0, queued: 0 })
  })

  it.live("records on one that is given, which stays its owner's", () =>
    Effect.gen(function*() {
      const theirs = recorder()
      const provider = new BasicTracerProvider({ spanProcessors: [theirs.processor] })
      yield* run(use, { provider })
      assert.deepStrictEqual(theirs.spans.map((span) => span.name), ["llm.call", "outer"])
      assert.strictEqual(parentOf(theirs.spans, "llm.call"), "outer")
      assert.strictEqual(theirs.find("llm.call").attributes["gen_ai.request.model"], "m")
      assert.strictEqual(theirs.shutdowns, 0)
    }))

  it.live("\"global\" is the one that is registered", () =>
    Effect.gen(function*() {
      const theirs = recorder()
      trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [theirs.processor] }))
      yield* run(use, { provider: "global" })
      assert.deepStrictEqual(theirs.spans.map((span) => span.name), ["llm.call", "outer"])
      assert.strictEqual(theirs.shutdowns, 0)
    }))

  it.live("\"global\" with none registered does no harm", () => run(use, { provider: "global" }))
})
