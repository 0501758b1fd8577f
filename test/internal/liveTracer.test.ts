import { assert, describe, it } from "@effect/vitest"
import * as Otel from "@opentelemetry/api"
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks"
import { suppressTracing } from "@opentelemetry/core"
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Cause, Context, Effect, Exit, Option, Tracer } from "effect"
import { withRemoteContext, withScope } from "loom-tracing"
import { isLiveSpan, LiveSpanTypeId } from "../../src/internal/liveSpan.ts"
import { makeLiveTracers } from "../../src/internal/liveTracer.ts"
import { withSpan } from "../../src/internal/otelContext.ts"
import { generateSpanId, generateTraceId } from "../../src/internal/randomIds.ts"
import * as Recorder from "../support/Recorder.ts"

const exporter = new InMemorySpanExporter()
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
const tracer = makeLiveTracers({ provider, report: () => {}, marksRandomIds: true })({ name: "test" })

type SpanOptions = Parameters<Tracer.Tracer["span"]>[0]
const start = (options: Partial<SpanOptions>) =>
  tracer.span({
    name: "span",
    parent: Option.none(),
    annotations: Context.empty(),
    links: [],
    startTime: 0n,
    kind: "internal",
    root: false,
    sampled: true,
    ...options
  })

describe("the times of a span", () => {
  const times = [
    0n,
    1n,
    999_999_999n,
    1_000_000_000n,
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 48n - 1n,
    2n ** 48n,
    1_700_000_000_123_456_789n,
    1_799_999_999_999_999_999n,
    2n ** 64n - 1n
  ]
  for (const time of times) {
    it(`are exact to the nanosecond: ${time}`, () => {
      const span = start({ startTime: time })
      span.end(time, Exit.void)
      const { endTime, startTime } = exporter.getFinishedSpans().at(-1)!
      const expected = [Number(time / 1_000_000_000n), Number(time % 1_000_000_000n)]
      assert.deepStrictEqual({ endTime, startTime }, { endTime: expected, startTime: expected })
    })
  }
})

describe("an attribute is recorded as what OpenTelemetry can hold of it", () => {
  for (
    const [name, value, recorded] of [
      ["a text", "a", "a"],
      ["a number", 1.5, 1.5],
      ["a boolean", false, false],
      ["a big integer", 12n, 12],
      ["a big integer that a number cannot hold", 2n ** 60n, "1152921504606846976"],
      ["nothing", undefined, undefined],
      ["null", null, undefined],
      ["a list of texts", ["a", "b"], ["a", "b"]],
      ["a list of numbers", [1, 2], [1, 2]],
      ["a list of booleans", [true, false], [true, false]],
      ["an empty list", [], []],
      ["a list of different kinds", ["a", 1], `["a",1]`],
      ["a list of objects", [{ a: 1 }], `[{"a":1}]`],
      ["a list of nulls", [null], "[null]"],
      ["an object", { a: 1 }, `{"a":1}`]
    ] as ReadonlyArray<readonly [string, unknown, Otel.AttributeValue | undefined]>
  ) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(Effect.annotateCurrentSpan("key", value).pipe(Effect.withSpan("a")))
        assert.deepStrictEqual(recorder.span("a").attributes["key"], recorded)
      }))
  }

  it.effect("a list is recorded as it is then", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const list = ["a"]
      const program = Effect.tap(Effect.annotateCurrentSpan("key", list), () => Effect.sync(() => list.push("b")))
      yield* recorder.run(program.pipe(Effect.withSpan("a")))
      assert.deepStrictEqual(recorder.span("a").attributes["key"], ["a"])
    }))
})

describe("the parent of a span is one that a collector can know", () => {
  const remote = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
  const hidden = Tracer.externalSpan({
    traceId: remote.traceId,
    spanId: "00000000000000aa",
    annotations: Context.make(Tracer.DisablePropagation, true)
  })
  for (
    const [name, around, parent, options] of [
      ["no span of Effect's default tracer", Effect.withSpan("native"), undefined, {}],
      [
        "but the remote one above it",
        (self) => self.pipe(Effect.withSpan("native"), Effect.withParentSpan(remote)),
        remote.spanId,
        {}
      ],
      ["none that does not propagate, where that is asked for", (self) => self, undefined, { parent: hidden }],
      ["none that cannot be", (self) => self, undefined, { parent: Tracer.externalSpan({ traceId: "x", spanId: "y" }) }]
    ] as ReadonlyArray<
      readonly [
        string,
        (self: Effect.Effect<void>) => Effect.Effect<void>,
        string | undefined,
        { readonly parent?: Tracer.AnySpan }
      ]
    >
  ) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* around(recorder.run(Effect.void.pipe(Effect.withSpan("child", options))))
        assert.strictEqual(recorder.span("child").parentSpanContext?.spanId, parent)
      }))
  }

  it("none of the layer's own that does not propagate, but the one above", () => {
    const outer = start({})
    const hidden = start({
      parent: Option.some(outer),
      annotations: Context.make(Tracer.DisablePropagation, true)
    })
    const child = start({ parent: Option.some(hidden) })
    child.end(0n, Exit.void)
    assert.strictEqual(exporter.getFinishedSpans().at(-1)?.parentSpanContext?.spanId, outer.spanId)
  })
})

describe("an attribute that throws when it is touched", () => {
  const { proxy, revoke } = Proxy.revocable([], {})
  revoke()
  const throws = () => {
    throw new Error("hands off")
  }
  for (
    const [name, hostile] of [
      ["a revoked proxy", proxy],
      ["an object with a toJSON and a toString of its own", { toJSON: throws, toString: throws }]
    ] as const
  ) {
    it.effect(`is left out of the span, its events and its links: ${name}`, () =>
      Effect.gen(function*() {
        const attributes = { hostile, good: 1 }
        const other = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
        const result = yield* Effect.useSpan("a", { attributes, links: [{ span: other, attributes }] }, (span) => {
          span.event("b", 0n, attributes)
          return Effect.succeed(42)
        }).pipe(Effect.withTracer(tracer))
        assert.strictEqual(result, 42)
        const span = exporter.getFinishedSpans().at(-1)!
        for (const recorded of [span, ...span.events, ...span.links]) {
          assert.deepStrictEqual(recorded.attributes, { good: 1 })
        }
        assert.deepStrictEqual([span.events.length, span.links.length], [1, 1])
      }))
  }
})

describe("a span that Effect has left out", () => {
  const leftOut = Effect.currentSpan.pipe(Effect.withSpan("left out", { sampled: false }))
  const isValid = ({ spanId, traceId }: Tracer.AnySpan) => Otel.isSpanContextValid({ spanId, traceId, traceFlags: 0 })

  it.effect("has its place in the trace", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const span = yield* recorder.run(leftOut.pipe(Effect.withSpan("outer")))
      const outer = recorder.span("outer").spanContext()
      assert.deepStrictEqual([span.traceId, span.sampled], [outer.traceId, false])
      assert.notStrictEqual(span.spanId, outer.spanId)
      assert.isTrue(isValid(span))
    }))

  it.effect("begins a trace where there is none", () =>
    Effect.gen(function*() {
      const [first, second] = yield* Effect.all([leftOut, leftOut]).pipe(Recorder.make().run)
      assert.isTrue(isValid(first) && isValid(second))
      assert.notStrictEqual(first.traceId, second.traceId)
    }))
})

describe("a span under one that other code has made current", () => {
  const spanContext = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 }
  for (
    const [name, current, expected] of [
      ["sampled", spanContext, { spanId: spanContext.spanId, sampled: true }],
      ["not sampled", { ...spanContext, traceFlags: 0 }, { spanId: spanContext.spanId, sampled: false }],
      ["invalid", { ...spanContext, spanId: "0" }, undefined]
    ] as ReadonlyArray<readonly [string, Otel.SpanContext, object | undefined]>
  ) {
    it(`has it for its parent: ${name}`, () => {
      Otel.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
      const active = Otel.trace.setSpanContext(Otel.ROOT_CONTEXT, current)
      const program = Effect.currentSpan.pipe(Effect.withSpan("inner"), Effect.withTracer(tracer))
      const parent = Option.getOrUndefined(Otel.context.with(active, () => Effect.runSync(program)).parent)
      Otel.context.disable()
      assert.deepStrictEqual(parent && { spanId: parent.spanId, sampled: parent.sampled }, expected as never)
    })
  }
})

describe("where tracing is suppressed", () => {
  it("a span leaves the API's invalid context as it is", () => {
    Otel.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    const program = Effect.void.pipe(Effect.withSpan("inner"), Effect.withSpan("outer"), Effect.withTracer(tracer))
    exporter.reset()
    Otel.context.with(suppressTracing(Otel.ROOT_CONTEXT), () => Effect.runSync(program))
    Otel.context.disable()
    assert.deepStrictEqual(exporter.getFinishedSpans(), [])
    assert.strictEqual(Otel.INVALID_SPAN_CONTEXT.traceFlags, Otel.TraceFlags.NONE)
  })
})

describe("a provider that refuses a scope", () => {
  it.effect("costs the spans of that scope, which is told", () =>
    Effect.gen(function*() {
      const reports: Array<string> = []
      const picky: Otel.TracerProvider = {
        getTracer: (name) => {
          if (name === "mine") throw new Error("no more scopes")
          return provider.getTracer(name)
        }
      }
      const tracer = makeLiveTracers({
        provider: picky,
        report: (message) => void reports.push(message),
        marksRandomIds: false
      })({ name: "test" })
      exporter.reset()
      const mine = Effect.succeed(42).pipe(Effect.withSpan("inner"), withScope("mine"))
      assert.strictEqual(yield* mine.pipe(Effect.withSpan("outer"), Effect.withTracer(tracer)), 42)
      assert.deepStrictEqual(exporter.getFinishedSpans().map((span) => span.name), ["outer"])
      assert.strictEqual(reports.length, 1)
      assert.include(reports[0], "no more scopes")
    }))
})

describe("a span of somebody else's that throws", () => {
  const broken = (): never => {
    throw new Error("not mine")
  }
  const external = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
  const link = Effect.map(
    Effect.orDie(Effect.currentSpan),
    (span) => span.addLinks([{ span: external, attributes: {} }])
  )
  const foreign = (overrides: Partial<Otel.Span>): Otel.TracerProvider => ({
    getTracer: (name) => {
      const tracer = provider.getTracer(name)
      return { ...tracer, startSpan: (...args) => Object.assign(tracer.startSpan(...args), overrides) }
    }
  })
  const all = { setAttribute: broken, addEvent: broken, addLink: broken, setStatus: broken, end: broken }

  for (
    const [name, overrides, program] of [
      ["setAttribute", { setAttribute: broken }, Effect.annotateCurrentSpan("a", 1)],
      ["addEvent", { addEvent: broken }, Effect.log("hi")],
      ["addLink", { addLink: broken }, link],
      ["setStatus", { setStatus: broken }, Effect.fail("typed")],
      ["isRecording", { isRecording: broken, setStatus: broken }, Effect.fail("typed")],
      ["end", { end: broken }, Effect.void],
      ["all of it", all, Effect.andThen(Effect.annotateCurrentSpan("a", 1), Effect.fail("typed"))],
      ["something that is no text", {
        setAttribute: () => {
          throw Object.create(null)
        }
      }, Effect.annotateCurrentSpan("a", 1)]
    ] as ReadonlyArray<readonly [string, Partial<Otel.Span>, Effect.Effect<unknown, string>]>
  ) {
    it.effect(`does not change the result, and is told once: ${name}`, () =>
      Effect.gen(function*() {
        const reports: Array<string> = []
        const tracer = makeLiveTracers({
          provider: foreign(overrides),
          report: (message) => void reports.push(message),
          marksRandomIds: false
        })({ name: "test" })
        const twice = Effect.all([program, program].map((program) => program.pipe(Effect.withSpan("a"), Effect.exit)))
        const untraced = yield* twice
        assert.deepStrictEqual(yield* twice.pipe(Effect.withTracer(tracer)), untraced)
        assert.strictEqual(reports.length, 1, reports.join("\n"))
        assert.match(reports[0], /^A provider, sampler or span processor has thrown/)
      }))
  }

  it.effect("ends where it can", () =>
    Effect.gen(function*() {
      const { end: _, ...others } = all
      const tracer = makeLiveTracers({ provider: foreign(others), report: () => {}, marksRandomIds: false })({
        name: "test"
      })
      exporter.reset()
      yield* Effect.exit(Effect.fail("typed").pipe(Effect.withSpan("a"), Effect.withTracer(tracer)))
      assert.deepStrictEqual(exporter.getFinishedSpans().map((span) => span.name), ["a"])
    }))
})

const raise = (error: Error): never => {
  throw error
}

describe("a span that fails", () => {
  const fail = Effect.die(new RangeError("out of range"))
  for (
    const [name, kind, attributes, expected] of [
      ["has the class of its error for error.type", "client", {}, "RangeError"],
      ["keeps the error.type that it has", "internal", { "error.type": "rate_limited" }, "rate_limited"],
      ["over HTTP has the status for error.type: of a client", "client", { "http.response.status_code": 404 }, "404"],
      ["over HTTP has the status for error.type: of a server", "server", { "http.response.status_code": 502 }, "502"],
      ["has failed by itself where its status is no server's error", "server", {
        "http.response.status_code": 404
      }, "RangeError"],
      ["over HTTP has the least status of an error, too: of a client", "client", {
        "http.response.status_code": 400
      }, "400"],
      ["over HTTP has the least status of an error, too: of a server", "server", {
        "http.response.status_code": 500
      }, "500"]
    ] as ReadonlyArray<readonly [string, Tracer.SpanKind, Record<string, unknown>, string]>
  ) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(fail.pipe(Effect.withSpan("a", { kind, attributes }))).pipe(Effect.exit)
        assert.strictEqual(recorder.span("a").attributes["error.type"], expected)
      }))
  }

  it.effect("has the cause of its error in the stack trace", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const error = new Error("no answer", { cause: new RangeError("port 70000") })
      yield* recorder.run(Effect.die(error).pipe(Effect.withSpan("a"))).pipe(Effect.exit)
      const stack = recorder.span("a").events[0].attributes?.["exception.stacktrace"]
      assert.match(String(stack), /^Error: no answer\n[^]*RangeError: port 70000/)
    }))

  for (
    const [name, effect, expected] of [
      ["a promise", Effect.tryPromise(() => Promise.reject(new RangeError("db down"))), ["RangeError", "db down"]],
      ["a function", Effect.try(() => raise(new Error("db down"))), ["Error", "db down"]],
      ["nothing", Effect.tryPromise(() => Promise.reject()), [
        "UnknownError",
        "An error occurred in Effect.tryPromise"
      ]],
      ["an error with a message of its own", Effect.fail(new Cause.UnknownError(new RangeError("x"), "db down")), [
        "UnknownError",
        "db down"
      ]]
    ] as ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>, readonly [string, string]]>
  ) {
    it.effect(`says what was thrown, where Effect's own error says nothing: ${name}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(effect.pipe(Effect.withSpan("a"))).pipe(Effect.exit)
        const { events, status } = recorder.span("a")
        const { "exception.message": message, "exception.type": type } = events[0].attributes ?? {}
        assert.deepStrictEqual([type, message], [...expected])
        assert.strictEqual(status.message, expected[1])
      }))
  }
})

describe("a span as Effect sees it", () => {
  it.effect("says how it has ended, and takes nothing any more", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const link = { span: Tracer.externalSpan({ traceId: "a".repeat(32), spanId: "b".repeat(16) }), attributes: {} }
      const span = yield* recorder.run(
        Effect.tap(Effect.currentSpan, (span) => Effect.sync(() => span.addLinks([link]))).pipe(Effect.withSpan("a"))
      )
      assert.deepStrictEqual(span.links, [link])
      assert.deepInclude(span.status, { _tag: "Ended", exit: Exit.succeed(span) })
      span.addLinks([link])
      span.attribute("late", true)
      span.event("late", 0n)
      span.end(0n, Exit.die("late"))
      assert.strictEqual(span.links.length, 1)
      const { attributes, events, links, status } = recorder.span("a")
      assert.deepStrictEqual([attributes, events, links.length, status], [{}, [], 1, {
        code: Otel.SpanStatusCode.UNSET
      }])
    }))
})

describe("texts that a span keeps out of its failure", () => {
  const megabyte = 1024 * 1024
  const long = ["a".repeat(0.7 * megabyte), "b".repeat(0.7 * megabyte), "the third text"]
  const many = Array.from({ length: 257 }, (_, i) => `the text number ${i}.`)
  for (
    const [name, texts, quoted, isShown] of [
      ["one that is longer than all that it may hold", ["a".repeat(2 * megabyte)], 0, false],
      ["the last two of three that are too long together", long, 1, false],
      ["not the first of three that are too long together", long, 0, true],
      ["the second of too many", many, 1, false],
      ["not the first of too many", many, 0, true]
    ] as ReadonlyArray<readonly [string, ReadonlyArray<string>, number, boolean]>
  ) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const program = Effect.gen(function*() {
          const span = yield* Effect.currentSpan
          if (isLiveSpan(span)) { for (const text of texts) span[LiveSpanTypeId]([text]) }
          return yield* Effect.fail(new Cause.UnknownError(undefined, texts[quoted]))
        })
        yield* recorder.run(program.pipe(Effect.withSpan("a"))).pipe(Effect.exit)
        assert.strictEqual(recorder.span("a").status.message, isShown ? texts[quoted] : undefined)
      }))
  }
})

describe("the random flag of a trace", () => {
  for (const traceFlags of [0b01, 0b11]) {
    it.effect(`goes where its id goes: ${traceFlags}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const traceparent = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags }
        yield* recorder.run(Effect.void.pipe(Effect.withSpan("a"), withRemoteContext({ traceparent })))
        assert.strictEqual(recorder.span("a").spanContext().traceFlags, traceFlags)
      }))
  }

  it.effect("is set where the id is made", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(Effect.void.pipe(Effect.withSpan("a")))
      assert.strictEqual(recorder.span("a").spanContext().traceFlags, 0b11)
    }))
})

describe("identifiers", () => {
  it("are lower-case hexadecimal digits, and no two of them are the same", () => {
    const traceIds = Array.from({ length: 1000 }, generateTraceId)
    const spanIds = Array.from({ length: 1000 }, generateSpanId)
    assert.deepStrictEqual(traceIds.filter((id) => !/^[0-9a-f]{32}$/.test(id)), [])
    assert.deepStrictEqual(spanIds.filter((id) => !/^[0-9a-f]{16}$/.test(id)), [])
    assert.strictEqual(new Set(traceIds).size, 1000)
    assert.strictEqual(new Set(spanIds).size, 1000)
  })
})

describe("the OpenTelemetry context of a span", () => {
  const spanOf = (spanId: string) =>
    Otel.trace.wrapSpanContext({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId, traceFlags: 1 })
  const outer = spanOf("00000000000000a1")
  const inner = spanOf("00000000000000a2")
  const key = Otel.createContextKey("test")
  const base = Otel.ROOT_CONTEXT.setValue(key, "kept")

  it("holds the innermost span, and what the contexts around it hold", () => {
    const context = withSpan(withSpan(base, outer), inner)
    assert.strictEqual(Otel.trace.getSpan(context), inner)
    assert.strictEqual(context.getValue(key), "kept")
  })

  it("can be changed as any other", () => {
    const context = withSpan(base, outer)
    const changed = context.setValue(key, "changed")
    assert.strictEqual(Otel.trace.getSpan(changed), outer)
    assert.strictEqual(changed.getValue(key), "changed")
    assert.strictEqual(Otel.trace.getSpan(context.deleteValue(key)), outer)
    assert.strictEqual(context.deleteValue(key).getValue(key), undefined)
    assert.strictEqual(Otel.trace.getSpan(Otel.trace.deleteSpan(context)), undefined)
    assert.strictEqual(Otel.trace.getSpan(Otel.trace.setSpan(context, inner)), inner)
    assert.strictEqual(context.getValue(key), "kept")
  })
})
