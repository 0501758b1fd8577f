import { OtelTracer } from "@effect/opentelemetry"
import { assert, describe, it } from "@effect/vitest"
import { BasicTracerProvider, type ReadableSpan, SamplingDecision } from "@opentelemetry/sdk-trace-base"
import { Effect, flow, Layer, Option, Schema, Tracer } from "effect"
import { type Headers, HttpClient, HttpClientResponse } from "effect/http"
import { OtlpSerialization, OtlpTracer } from "effect/observability"
import {
  Baggage,
  currentTraceContext,
  extractHeaders,
  extractTraceContext,
  injectHeaders,
  injectTraceContext,
  linkRemoteContext,
  linkTraceContext,
  makeTracedMessage,
  Propagators,
  TracedMessage,
  type TraceHeaders,
  TraceState,
  TracingNoop,
  withBaggage,
  withLlmSpan,
  withRemoteContext,
  withScope,
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

  for (
    const [name, context] of [
      ["as Go's http.Header writes them", { Traceparent: traceparent, Tracestate: "a=b", Baggage: "c=d" }],
      ["in capitals", { TRACEPARENT: traceparent, TRACESTATE: "a=b", BAGGAGE: "c=d" }],
      ["as they come", { tRaCePaReNt: traceparent, traceState: "a=b", BaGgAgE: "c=d" }],
      ["with one in capitals", { traceparent, TRACESTATE: "a=b", baggage: "c=d" }],
      ["with the last one in capitals", { traceparent, tracestate: "a=b", BAGGAGE: "c=d" }],
      ["beside what is no header of a trace", { id: "1", traceparent, tracestate: "a=b", sender: "x", baggage: "c=d" }],
      ["beside a misspelt one that is worse", {
        Traceparent: "00-bad",
        traceparent,
        tracestate: "a=b",
        baggage: "c=d"
      }],
      ["with lists in parts", { traceparent: [traceparent], tracestate: ["a=b"], baggage: ["c=d"] }],
      ["with a null beside", { traceparent: null, Traceparent: traceparent, tracestate: "a=b", baggage: "c=d" }]
    ] as ReadonlyArray<readonly [string, object]>
  ) {
    it.effect(`reads keys ${name}`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(
          yield* extractTraceContext({ _trace_context: context }),
          Option.some({
            traceparent: { traceId, spanId, traceFlags: 3 },
            tracestate: "a=b",
            baggage: [{ key: "c", value: "d" }]
          })
        )
      }))
  }

  it.effect("baggage without a traceparent is a context too", () =>
    Effect.gen(function*() {
      const message = { _trace_context: { baggage: "a=1" } }
      assert.deepStrictEqual(yield* extractTraceContext(message), Option.some({ baggage: [{ key: "a", value: "1" }] }))
      assert.deepStrictEqual(yield* injectTraceContext({}).pipe(withTraceContext(message)), message)
    }))

  for (const beside of [{}, { vendor: "1" }]) {
    it.effect(`reads a header once, with ${Object.keys(beside).length} others beside it`, () =>
      Effect.gen(function*() {
        let reads = 0
        const headers = {
          ...beside,
          get traceparent() {
            reads++
            return traceparent
          }
        }
        assert.isTrue(Option.isSome(yield* extractTraceContext({ _trace_context: headers })))
        assert.strictEqual(reads, 1)
      }))
  }

  class Headered {
    get traceparent() {
      return traceparent
    }
  }

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
      ["two spellings of traceparent", { _trace_context: { Traceparent: traceparent, TRACEPARENT: traceparent } }],
      ["a traceparent on the prototype", { _trace_context: Object.create({ traceparent }) }],
      ["a traceparent of a class", { _trace_context: new Headered() }],
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

  it("none: a traceparent that somebody has given to every object", () => {
    let context: unknown
    Reflect.set(Object.prototype, "traceparent", traceparent)
    try {
      context = Effect.runSync(extractTraceContext({ _trace_context: {} }))
    } finally {
      Reflect.deleteProperty(Object.prototype, "traceparent")
    }
    assert.deepStrictEqual(context, Option.none())
  })
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

  it.effect("a message without baggage brings none: what was current belongs to somebody else", () =>
    Effect.gen(function*() {
      const message = { _trace_context: { traceparent } }
      const inside = yield* Baggage.pipe(withTraceContext(message), withBaggage({ tenant: "other" }))
      assert.deepStrictEqual(inside, [])
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

describe("withRemoteContext", () => {
  it.effect("takes what extraction gives, or a context itself", () =>
    Effect.gen(function*() {
      const context = yield* extractTraceContext(received)
      for (const remote of [context, Option.getOrThrow(context)]) {
        const sent = yield* injectTraceContext({ id: 1 }).pipe(withRemoteContext(remote))
        assert.deepStrictEqual(sent, received)
        assert.deepStrictEqual(yield* withRemoteContext(injectTraceContext({ id: 1 }), remote), received)
      }
    }))

  it.effect("none leaves the effect as it is", () =>
    Effect.gen(function*() {
      const effect = Effect.succeed(1)
      assert.strictEqual(withRemoteContext(effect, Option.none()), effect)
    }))

  describe("inside a span that continues the context by its ids, as that of Effect's HTTP server does", () => {
    const remote = {
      traceparent: { traceId, spanId, traceFlags: 3 },
      tracestate: "vendor=1,other=2",
      baggage: [{ key: "tenant", value: "acme" }]
    }
    const server = (parent: Partial<Tracer.ExternalSpan> = {}) =>
      Effect.withSpan("server", {
        kind: "server",
        parent: Tracer.externalSpan({ traceId, spanId, sampled: true, ...parent })
      })
    const work = injectHeaders({}).pipe(Effect.withSpan("work"))

    it.effect("the span stays the parent, and tracestate, flags and baggage go on", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const inside = Effect.all([injectHeaders({}), work])
        // Twice is as once.
        const [[own, below], after] = yield* recorder.run(
          Effect.all([inside.pipe(withRemoteContext(remote), withRemoteContext(remote)), Baggage]).pipe(server())
        )
        const { tracestate, baggage } = received._trace_context
        assert.deepStrictEqual<object>(own, { traceparent: identity(recorder.span("server")), tracestate, baggage })
        assert.deepStrictEqual<object>(below, { traceparent: identity(recorder.span("work")), tracestate, baggage })
        assert.strictEqual(identity(recorder.span("work")).slice(-2), "03")
        assert.deepStrictEqual(after, [])
        const parent = recorder.span("server").spanContext()
        assert.strictEqual(parent.traceState?.serialize(), tracestate)
        assert.strictEqual(recorder.span("work").parentSpanContext?.spanId, parent.spanId)
      }))

    it.effect("a context without tracestate and baggage leaves the span alone, and brings no baggage", () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const sent = yield* recorder.run(
          work.pipe(withRemoteContext({ traceparent: remote.traceparent }), withBaggage({ tenant: "other" }), server())
        )
        assert.deepStrictEqual<object>(sent, { traceparent: identity(recorder.span("work")) })
        assert.strictEqual(
          recorder.span("work").parentSpanContext?.spanId,
          recorder.span("server").spanContext().spanId
        )
      }))

    it.effect("what a sampler has written into the tracestate comes first and stays", () =>
      Effect.gen(function*() {
        const traceState = new TraceState("sampler=s,other=s")
        const recorder = Recorder.make({
          sampler: {
            shouldSample: () => ({ decision: SamplingDecision.RECORD_AND_SAMPLED, traceState }),
            toString: () => "sampler"
          }
        })
        yield* recorder.run(Effect.void.pipe(withRemoteContext(remote), server()))
        assert.strictEqual(
          recorder.span("server").spanContext().traceState?.serialize(),
          "sampler=s,other=s,vendor=1"
        )
      }))

    it.effect("the span of @effect/opentelemetry's tracer stays, too", () =>
      Effect.gen(function*() {
        const otel = OtelTracer.layer.pipe(
          Layer.provide(Layer.succeed(OtelTracer.OtelTracerProvider, new BasicTracerProvider()))
        )
        const [span, [parent, sent]] = yield* Effect.all([
          Effect.currentSpan,
          Effect.all([Effect.currentSpan, injectHeaders({})]).pipe(
            Effect.map(([span, sent]) => [span.parent, sent] as const),
            Effect.withSpan("work"),
            withRemoteContext(remote)
          )
        ]).pipe(server(), Effect.provide(otel as Layer.Layer<never>))
        assert.strictEqual(Option.getOrThrow(parent).spanId, span.spanId)
        assert.deepInclude<object>(sent, { tracestate: remote.tracestate, baggage: "tenant=acme" })
      }))

    it.effect("the context is the parent where the span is another's: below, of another parent, ended, or not written", () =>
      Effect.gen(function*() {
        const parentOfWork = Effect.fnUntraced(function*(
          around: <A, E>(self: Effect.Effect<A, E>) => Effect.Effect<A, E>
        ) {
          const recorder = Recorder.make()
          const sent = yield* recorder.run(work.pipe(withRemoteContext(remote), around))
          assert.deepInclude<object>(sent, { tracestate: remote.tracestate, baggage: "tenant=acme" })
          return recorder.span("work").parentSpanContext?.spanId
        })
        const frozen = <A, E>(self: Effect.Effect<A, E>) =>
          Effect.andThen(
            Effect.map(Effect.currentSpan, (span) => {
              Object.freeze((span as unknown as { span: { spanContext(): object } }).span.spanContext())
            }),
            self
          ).pipe(Effect.catchTag("NoSuchElementError", Effect.die), server())
        const ended = <A, E>(self: Effect.Effect<A, E>) =>
          Effect.flatMap(Effect.orDie(Effect.currentSpan).pipe(server()), (span) => Effect.withParentSpan(self, span))
        assert.deepStrictEqual(
          yield* Effect.all([
            (self: typeof work) => self,
            flow(Effect.withSpan("inner"), server()),
            server({ spanId: "00000000000000aa" }),
            server({ traceId: "0".repeat(31) + "1" }),
            ended,
            frozen
          ].map((around) => parentOfWork(around as never))),
          Array.from({ length: 6 }, () => spanId)
        )
      }))

    it.effect("a context is passed on as it came where tracing is off", () =>
      Effect.gen(function*() {
        const sent = injectHeaders({}).pipe(withRemoteContext(remote))
        // The first of them has nothing provided.
        for (const [, off] of offStates.slice(1)) {
          assert.deepStrictEqual<object>(
            yield* Recorder.make().run(off(sent).pipe(server())),
            received._trace_context
          )
        }
      }))
  })

  it.effect("a context made by hand that is not valid is not passed on", () =>
    Effect.gen(function*() {
      const invalid = {
        traceparent: { traceId: "x\r\ny: z", spanId, traceFlags: 1 },
        tracestate: "a=b\r\n",
        baggage: [{ key: "a\nb", value: "1" }, { key: "c", value: "\r\n" }]
      }
      assert.deepStrictEqual(yield* injectTraceContext({}).pipe(withRemoteContext(invalid)), {
        _trace_context: { baggage: "c=%0D%0A" }
      })
    }))
})

describe("withBaggage", () => {
  it.effect("adds to the baggage that is there, replacing members of the same key, for the effect alone", () =>
    Effect.gen(function*() {
      const sent = injectTraceContext({}).pipe(
        withBaggage({ user: "u 1", tenant: "other" }),
        withBaggage([{ key: "flag", value: "", properties: [{ key: "ttl", value: "1" }] }]),
        withTraceContext({ _trace_context: { baggage: "tenant=acme,region=eu" } })
      )
      assert.deepStrictEqual(yield* sent, {
        _trace_context: { baggage: "region=eu,flag=;ttl=1,user=u%201,tenant=other" }
      })
      assert.deepStrictEqual(yield* Baggage, [])
    }))

  it.effect("is data-first too, and may name anything a record can", () =>
    Effect.gen(function*() {
      const entries = JSON.parse(`{"__proto__":"a","constructor":"b"}`)
      assert.deepStrictEqual(yield* withBaggage(Baggage, entries), [
        { key: "__proto__", value: "a" },
        { key: "constructor", value: "b" }
      ])
    }))

  it.effect("travels with tracing off, without a trace", () =>
    Effect.gen(function*() {
      const sent = yield* injectTraceContext({ id: 1 }).pipe(withBaggage({ a: "1" }), Effect.provide(TracingNoop))
      assert.deepStrictEqual(sent, { id: 1, _trace_context: { baggage: "a=1" } })
    }))

  it.effect("a value that is no string, from a program without types, costs that member alone", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const Task = TracedMessage(Schema.Struct({ id: Schema.Int }))
      const sent = yield* recorder.run(
        Effect.all([
          injectTraceContext({ id: 1 }),
          Effect.flatMap(makeTracedMessage({ id: 1 }), Schema.encodeEffect(Task)),
          injectHeaders({})
        ]).pipe(
          Effect.withSpan("outer"),
          withBaggage({ tenant: undefined as never, region: "eu", attempt: 2 as never })
        )
      )
      const headers = { traceparent: identity(recorder.span("outer")), baggage: "region=eu" }
      const message = { id: 1, _trace_context: headers }
      assert.deepStrictEqual<ReadonlyArray<object>>(sent, [message, message, headers])
    }))

  it.effect("what cannot be sent adds nothing", () =>
    Effect.gen(function*() {
      const message = { id: 1 }
      assert.strictEqual(yield* injectTraceContext(message).pipe(withBaggage({ "not a token": "1" })), message)
    }))
})

describe("Propagators", () => {
  const context = { traceparent: { traceId, spanId, traceFlags: 3 }, tracestate: "vendor=1,other=2" }
  const baggage = [{ key: "tenant", value: "acme" }]
  const headers = received._trace_context
  const { baggage: baggageHeader, ...traceHeaders } = headers
  for (
    const [name, propagators, read, written] of [
      ["both", { tracecontext: true, baggage: true }, { ...context, baggage }, headers],
      ["tracecontext", { tracecontext: true, baggage: false }, context, traceHeaders],
      ["baggage", { tracecontext: false, baggage: true }, { baggage }, { baggage: baggageHeader }],
      ["none", { tracecontext: false, baggage: false }, undefined, undefined]
    ] as ReadonlyArray<readonly [string, Propagators, object | undefined, TraceHeaders | undefined]>
  ) {
    it.effect(`${name}: all that reads a context`, () =>
      Effect.gen(function*() {
        const expected = Option.fromUndefinedOr(read)
        assert.deepStrictEqual(yield* extractTraceContext(received), expected)
        assert.deepStrictEqual(yield* extractHeaders(headers), expected)
        const decoded = yield* Schema.decodeUnknownEffect(TracedMessage(Schema.Struct({ id: Schema.Int })))(received)
        assert.deepStrictEqual(decoded.traceContext, expected)
        assert.deepStrictEqual(
          yield* currentTraceContext.pipe(withTraceContext(received)),
          expected
        )
      }).pipe(Effect.provideService(Propagators, propagators)))

    it.effect(`${name}: all that writes a context`, () =>
      Effect.gen(function*() {
        const inside = Effect.all([currentTraceContext, injectTraceContext({ id: 1 }), injectHeaders({ id: "1" })])
        const [current, message, record] = yield* inside.pipe(
          Effect.provideService(Propagators, propagators),
          withTraceContext(received)
        )
        assert.deepStrictEqual(current, Option.fromUndefinedOr(read))
        assert.deepStrictEqual(message, written === undefined ? { id: 1 } : { id: 1, _trace_context: written })
        assert.deepStrictEqual(record, { id: "1", ...written })
      }))
  }
})

describe("linkTraceContext", () => {
  const link = { traceId, spanId, traceFlags: 3, traceState: "vendor=1,other=2", attributes: { part: 1 } }
  const linksOf = (span: ReadableSpan) =>
    span.links.map(({ attributes, context }) => ({
      traceId: context.traceId,
      spanId: context.spanId,
      traceFlags: context.traceFlags,
      traceState: context.traceState?.serialize(),
      attributes
    }))

  it.effect("links the next span, and only that one", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const first = Effect.void.pipe(Effect.withSpan("child"), Effect.withSpan("first"))
      yield* recorder.run(
        Effect.andThen(first, Effect.withSpan(Effect.void, "second")).pipe(
          linkTraceContext(received, { part: 1 }),
          Effect.andThen(Effect.withSpan(Effect.void, "after")),
          Effect.withSpan("outer")
        )
      )
      assert.deepStrictEqual(linksOf(recorder.span("first")), [link])
      assert.strictEqual(
        recorder.span("first").parentSpanContext?.spanId,
        recorder.span("outer").spanContext().spanId
      )
      for (const name of ["child", "second", "after", "outer"]) {
        assert.deepStrictEqual(linksOf(recorder.span(name)), [], name)
      }
    }))

  it.effect("links anew whenever the effect runs, and takes several links", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const other = { _trace_context: { traceparent: `00-${traceId}-00000000000000aa-00` } }
      const linked = linkTraceContext(Effect.withSpan(Effect.void, "job"), received).pipe(linkTraceContext(other))
      yield* recorder.run(Effect.andThen(linked, linked))
      assert.deepStrictEqual(
        recorder.spans.map((span) => linksOf(span).map((link) => link.spanId)),
        [[spanId, "00000000000000aa"], [spanId, "00000000000000aa"]]
      )
    }))

  it.effect("keeps the order of links and the span's own", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const own = Tracer.externalSpan({ traceId, spanId: "00000000000000bb" })
      yield* recorder.run(
        Effect.void.pipe(
          Effect.withSpan("job", { links: [{ span: own, attributes: {} }] }),
          linkTraceContext(received)
        )
      )
      assert.deepStrictEqual(linksOf(recorder.span("job")).map((link) => link.spanId), ["00000000000000bb", spanId])
    }))

  it.effect("goes with a change of the instrumentation scope", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const inner = Effect.withSpan(Effect.void, "scoped").pipe(withScope("library"))
      yield* recorder.run(Effect.andThen(inner, Effect.withSpan(Effect.void, "later")).pipe(linkTraceContext(received)))
      assert.strictEqual(recorder.span("scoped").instrumentationScope.name, "library")
      assert.strictEqual(linksOf(recorder.span("scoped")).length, 1)
      assert.strictEqual(recorder.span("later").instrumentationScope.name, "loom-tracing")
      assert.deepStrictEqual(linksOf(recorder.span("later")), [])
    }))

  it.effect("works under any Effect tracer", () =>
    Effect.gen(function*() {
      const links: Array<ReadonlyArray<Tracer.SpanLink>> = []
      const tracer = Tracer.make({
        span(options) {
          links.push(options.links)
          return new Tracer.NativeSpan(options)
        }
      })
      yield* Effect.void.pipe(
        Effect.withSpan("child"),
        Effect.withSpan("job"),
        linkRemoteContext(yield* extractTraceContext(received), { part: 1 }),
        Effect.withTracer(tracer)
      )
      assert.deepStrictEqual(links.map((links) => links.map((link) => link.span.spanId)), [[spanId], []])
      assert.deepStrictEqual(links[0][0].attributes, { part: 1 })
    }))

  for (const [name, off] of offStates) {
    it.effect(`off (${name}): nothing happens`, () =>
      Effect.gen(function*() {
        const [inside, outside] = yield* off(Effect.all([linkTraceContext(Effect.tracer, received), Effect.tracer]))
        assert.strictEqual(inside, outside)
      }))
  }

  for (
    const identity of [
      { traceId: "0".repeat(32), spanId },
      { traceId, spanId: "0".repeat(16) },
      { traceId: "x", spanId: "y" }
    ]
  ) {
    it.effect(`a context made by hand with invalid ids links nothing: ${identity.traceId}-${identity.spanId}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const job = Effect.withSpan(Effect.void, "job")
        yield* recorder.run(linkRemoteContext(job, { traceparent: { ...identity, traceFlags: 1 } }))
        assert.deepStrictEqual(recorder.span("job").links, [])
      }))
  }

  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  for (
    const [name, message] of [
      ["no context", {}],
      ["baggage alone", { _trace_context: { baggage: "a=1" } }],
      ["a proxy that is revoked", revoked.proxy]
    ] as const
  ) {
    it.effect(`a message with ${name} changes nothing`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const tracer = Effect.tracer.pipe(linkTraceContext(message))
        const [inside, outside] = yield* recorder.run(Effect.all([tracer, Effect.tracer]))
        assert.strictEqual(inside, outside)
      }))
  }
})
