import { OtelTracer } from "@effect/opentelemetry"
import { assert, describe, it } from "@effect/vitest"
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base"
import { Effect, Layer, Option, Tracer } from "effect"
import { type Headers, HttpClient, HttpClientResponse } from "effect/http"
import { OtlpSerialization, OtlpTracer } from "effect/observability"
import {
  Baggage,
  currentTraceContext,
  extractTraceContext,
  injectTraceContext,
  type TraceHeaders,
  TracingNoop,
  withLlmSpan,
  withTraceContext
} from "loom-tracing"
import * as Recorder from "./support/Recorder.ts"

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"
const traceparent = `00-${traceId}-${spanId}-03`
const received = { id: 1, _trace_context: { traceparent, tracestate: "vendor=1,other=2", baggage: "tenant=acme" } }

/** What the OTel SDK has made of the current span. */
const identity = (span: { spanContext(): { traceId: string; spanId: string; traceFlags: number } }) => {
  const { spanId, traceFlags, traceId } = span.spanContext()
  return `00-${traceId}-${spanId}-0${traceFlags}`
}

const offStates: ReadonlyArray<readonly [string, <A, E>(self: Effect.Effect<A, E>) => Effect.Effect<A, E>]> = [
  ["nothing provided", (self) => self],
  ["TracingNoop", Effect.provide(TracingNoop)],
  ["OTEL_SDK_DISABLED", (self) => Effect.provide(self, Recorder.make({ env: { OTEL_SDK_DISABLED: "true" } }).layer)],
  ["withTracerEnabled(false)", Effect.withTracerEnabled(false)],
  [
    "withTracerEnabled(false) under a live layer",
    (self) => Effect.withTracerEnabled(self, false).pipe(Effect.provide(Recorder.make().layer))
  ]
]

describe("injectTraceContext", () => {
  it.effect("names the current span, in a copy of the message", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const message = { id: 1 }
      const sent = yield* recorder.run(injectTraceContext(message).pipe(Effect.withSpan("outer")))
      assert.deepStrictEqual(message, { id: 1 })
      assert.deepStrictEqual(sent, { id: 1, _trace_context: { traceparent: identity(recorder.span("outer")) } })
      // A new root has a random trace id, and says so (Level 2).
      assert.match(sent._trace_context!.traceparent!, /-03$/)
    }))

  it.effect("replaces a context that the message has already", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const sent = yield* recorder.run(injectTraceContext(received).pipe(Effect.withSpan("outer")))
      assert.deepStrictEqual<TraceHeaders>(sent._trace_context, { traceparent: identity(recorder.span("outer")) })
    }))

  it.effect("keeps tracestate, flags and baggage across a hop", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const sent = yield* recorder.run(
        injectTraceContext({}).pipe(Effect.withSpan("process"), withTraceContext(received))
      )
      const span = recorder.span("process")
      assert.strictEqual(span.parentSpanContext?.spanId, spanId)
      assert.strictEqual(span.spanContext().traceState?.serialize(), "vendor=1,other=2")
      assert.deepStrictEqual(sent, {
        _trace_context: { traceparent: identity(span), tracestate: "vendor=1,other=2", baggage: "tenant=acme" }
      })
      assert.isTrue(sent._trace_context!.traceparent!.startsWith(`00-${traceId}-`))
      assert.isTrue(sent._trace_context!.traceparent!.endsWith("-03"))
    }))

  it.effect("does not claim a random trace id that the sender did not claim", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const plain = { _trace_context: { traceparent: `00-${traceId}-${spanId}-01` } }
      const sent = yield* recorder.run(injectTraceContext({}).pipe(Effect.withSpan("process"), withTraceContext(plain)))
      assert.match(sent._trace_context!.traceparent!, /-01$/)
    }))

  it.effect("an unsampled trace stays unsampled", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const unsampled = { _trace_context: { traceparent: `00-${traceId}-${spanId}-00` } }
      const sent = yield* recorder.run(
        injectTraceContext({}).pipe(Effect.withSpan("process"), withTraceContext(unsampled))
      )
      assert.match(sent._trace_context!.traceparent!, new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`))
      assert.deepStrictEqual(recorder.spans, [])
    }))

  for (const [name, off] of offStates) {
    it.effect(`off (${name}): the same object, no identifier invented`, () =>
      Effect.gen(function*() {
        const message = { id: 1 }
        const inner = injectTraceContext(message).pipe(
          withLlmSpan({ provider: "openai", request: { model: "m" } }),
          Effect.withSpan("outer")
        )
        assert.strictEqual(yield* off(inner), message)
      }))

    it.effect(`off (${name}): a context that was received is passed on unchanged`, () =>
      Effect.gen(function*() {
        const sent = yield* off(
          injectTraceContext({ id: 2 }).pipe(
            withLlmSpan({ provider: "openai", request: { model: "m" } }),
            Effect.withSpan("outer"),
            withTraceContext(received)
          )
        )
        assert.deepStrictEqual(sent, { ...received, id: 2 })
      }))
  }

  it.effect("skips spans that only this process knows, up to one that others can", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const sent = yield* recorder.run(
        injectTraceContext({}).pipe(
          Effect.withSpan("disabled", { annotations: Tracer.DisablePropagation.context(true) }),
          Effect.withTracer(Tracer.nativeTracer),
          Effect.withSpan("recorded")
        )
      )
      assert.deepStrictEqual(sent, { _trace_context: { traceparent: identity(recorder.span("recorded")) } })
    }))

  it.effect("a span whose ids are not W3C's is skipped", () =>
    Effect.gen(function*() {
      const odd = Tracer.externalSpan({ traceId: "abc", spanId: "def" })
      assert.deepStrictEqual(yield* injectTraceContext({}).pipe(Effect.withParentSpan(odd)), {})
    }))

  class Message {
    readonly id = 1
  }
  const proxy = new Proxy({}, {
    ownKeys: () => {
      throw new Error("hands off")
    }
  })
  const getter = Object.defineProperty({}, "x", {
    enumerable: true,
    get: () => {
      throw new Error("hands off")
    }
  })
  for (
    const [name, message] of [
      ["an array", [1]],
      ["an instance of a class", new Message()],
      ["a Map", new Map()],
      ["a function", () => 1],
      ["a throwing proxy", proxy],
      ["a throwing getter", getter]
    ] as ReadonlyArray<readonly [string, object]>
  ) {
    it.effect(`${name} goes out as it is`, () =>
      Effect.gen(function*() {
        const sent = yield* Recorder.make().run(injectTraceContext(message).pipe(Effect.withSpan("outer")))
        assert.isTrue(sent === message)
      }))
  }

  it.effect("an object without prototype, or with a __proto__ key, keeps its keys", () =>
    Effect.gen(function*() {
      const bare = Object.assign(Object.create(null), { id: 1 })
      const tricky = JSON.parse(`{"__proto__":{"polluted":true},"id":1}`)
      const run = (message: object) => Recorder.make().run(injectTraceContext(message).pipe(Effect.withSpan("outer")))
      assert.deepStrictEqual(Object.keys(yield* run(bare)), ["id", "_trace_context"])
      const sent = yield* run(tricky)
      assert.deepStrictEqual(Object.keys(sent), ["__proto__", "id", "_trace_context"])
      assert.isUndefined(Object.getPrototypeOf(sent).polluted)
    }))
})

describe("extractTraceContext", () => {
  it.effect("reads what Loom's Python actors write", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(
        yield* extractTraceContext(received),
        Option.some({
          traceparent: { traceId, spanId, traceFlags: 3 },
          tracestate: "vendor=1,other=2",
          baggage: [{ key: "tenant", value: "acme" }]
        })
      )
    }))

  it.effect("baggage without a traceparent is a context too", () =>
    Effect.gen(function*() {
      const message = { _trace_context: { baggage: "a=1" } }
      assert.deepStrictEqual(yield* extractTraceContext(message), Option.some({ baggage: [{ key: "a", value: "1" }] }))
      assert.deepStrictEqual(yield* injectTraceContext({}).pipe(withTraceContext(message)), message)
    }))

  const throwing = new Proxy({}, {
    get: () => {
      throw new Error("hands off")
    },
    getOwnPropertyDescriptor: () => {
      throw new Error("hands off")
    },
    has: () => {
      throw new Error("hands off")
    }
  })
  const getter = {
    get _trace_context(): unknown {
      throw new Error("hands off")
    }
  }
  for (
    const [name, message] of [
      ["undefined", undefined],
      ["null", null],
      ["a number", 42],
      ["a string", traceparent],
      ["an array", [received]],
      ["an array with the key", Object.assign([], received)],
      ["a function", () => received],
      ["a throwing proxy", throwing],
      ["a throwing getter", getter],
      ["a context on the prototype", Object.create(received)],
      ["no context", { id: 1 }],
      ["a context that is null", { _trace_context: null }],
      ["a context that is a string", { _trace_context: traceparent }],
      ["a context that is an array", { _trace_context: [traceparent] }],
      ["a context that is a throwing proxy", { _trace_context: throwing }],
      ["an empty context", { _trace_context: {} }],
      ["a traceparent that is a number", { _trace_context: { traceparent: 1 } }],
      ["a repeated traceparent", { _trace_context: { traceparent: [traceparent, traceparent] } }],
      ["a traceparent on the prototype", { _trace_context: Object.create({ traceparent }) }],
      ["a malformed traceparent", { _trace_context: { traceparent: "00-abc-def-01" } }],
      ["a traceparent of 1 MB", { _trace_context: { traceparent: "0".repeat(1_000_000) } }],
      ["a tracestate alone", { _trace_context: { tracestate: "a=b" } }]
    ] as ReadonlyArray<readonly [string, unknown]>
  ) {
    it.effect(`none: ${name}`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* extractTraceContext(message), Option.none())
        const ran = yield* Effect.succeed("ran").pipe(withTraceContext(message))
        assert.strictEqual(ran, "ran")
      }))
  }
})

describe("withTraceContext", () => {
  it.effect("beats a span that is current", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        Effect.void.pipe(Effect.withSpan("process"), withTraceContext(received), Effect.withSpan("poll"))
      )
      assert.strictEqual(recorder.span("process").spanContext().traceId, traceId)
      assert.notStrictEqual(recorder.span("poll").spanContext().traceId, traceId)
    }))

  it.effect("without a context, leaves the span that is current", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        withTraceContext(Effect.void.pipe(Effect.withSpan("process")), { id: 1 }).pipe(Effect.withSpan("poll"))
      )
      assert.strictEqual(
        recorder.span("process").parentSpanContext?.spanId,
        recorder.span("poll").spanContext().spanId
      )
    }))

  it.effect("brings the baggage of the message, for the effect alone", () =>
    Effect.gen(function*() {
      const inside = yield* Baggage.pipe(withTraceContext(received))
      assert.deepStrictEqual(inside, [{ key: "tenant", value: "acme" }])
      assert.deepStrictEqual(yield* Baggage, [])
    }))

  it.effect("works under any Effect tracer, with tracestate and flags", () =>
    Effect.gen(function*() {
      const otel = OtelTracer.layer.pipe(
        Layer.provide(Layer.succeed(OtelTracer.OtelTracerProvider, new BasicTracerProvider()))
      )
      const silent = Layer.succeed(
        HttpClient.HttpClient,
        HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, new Response())))
      )
      const otlp = OtlpTracer.layer({ url: "http://127.0.0.1:1", resource: { serviceName: "test" } }).pipe(
        Layer.provide([OtlpSerialization.layerJson, silent])
      )
      for (const layer of [otel, otlp]) {
        const sent = yield* injectTraceContext({}).pipe(
          Effect.withSpan("process"),
          withTraceContext(received),
          Effect.provide(layer as Layer.Layer<never>)
        )
        assert.strictEqual(sent._trace_context?.tracestate, "vendor=1,other=2")
        assert.match(sent._trace_context?.traceparent ?? "", new RegExp(`^00-${traceId}-[0-9a-f]{16}-0[13]$`))
        assert.notInclude(sent._trace_context?.traceparent, spanId)
      }
    }))

  it.effect("Effect's own HTTP propagation passes a remote context on under TracingNoop", () =>
    Effect.gen(function*() {
      let headers: Headers.Headers | undefined
      const client = HttpClient.make((request) => {
        headers = request.headers
        return Effect.succeed(HttpClientResponse.fromWeb(request, new Response()))
      })
      yield* client.get("http://127.0.0.1/").pipe(withTraceContext(received), Effect.provide(TracingNoop))
      assert.strictEqual(headers?.traceparent, `00-${traceId}-${spanId}-01`)
    }))
})

describe("currentTraceContext", () => {
  it.effect("is what a message would carry", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* currentTraceContext, Option.none())
      assert.deepStrictEqual(
        yield* currentTraceContext.pipe(withTraceContext(received)),
        yield* extractTraceContext(received)
      )
    }))
})
