import { assert, describe, it } from "@effect/vitest"
import { SpanStatusCode } from "@opentelemetry/api"
import { Data, Effect, Fiber, Latch, Option, Schema, Stream } from "effect"
import {
  extractHeaders,
  handleTracedMessage,
  handleTracedStream,
  injectTraceContext,
  TracedMessage,
  UndecodableMessage,
  withRemoteContext,
  withSettleSpan
} from "loom-tracing"
import * as Recorder from "./support/Recorder.ts"

const Task = Schema.Struct({ id: Schema.Number })
const schema = Schema.fromJsonString(TracedMessage(Task))
const options = { system: "nats", destination: "tasks" }
const noDeadLetter = { ...options, deadLetter: () => Effect.die("not to be a dead letter") }

const creation = (id: number) => id.toString(16).padStart(16, "0")
/** Each message in a trace of its own. */
const traceOf = (id: number) => id.toString(16).padStart(32, "f")
const contextOf = (id: number) => ({ traceparent: `00-${traceOf(id)}-${creation(id)}-01` })
const wire = (id: number, payload: object = { id }) => JSON.stringify({ ...payload, _trace_context: contextOf(id) })
const wires = (count: number) => Stream.range(1, count).pipe(Stream.map((id) => wire(id)))

class Busy extends Data.TaggedError("Busy") {}

describe("handleTracedStream", () => {
  it.effect("handles each message under a span of its own, in its own trace", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const results = yield* recorder.run(
        wires(3).pipe(
          handleTracedStream(schema, noDeadLetter, (task, message) =>
            Effect.succeed([task.id, Option.getOrThrow(message.traceContext).traceparent?.spanId] as const).pipe(
              Effect.withSpan("work")
            )),
          Stream.runCollect
        )
      )
      assert.deepStrictEqual(results, [[1, creation(1)], [2, creation(2)], [3, creation(3)]])
      const spans = recorder.spans.filter((span) =>
        span.name === "process tasks"
      )
      assert.deepStrictEqual(
        spans.map((span) => [span.spanContext().traceId, span.parentSpanContext?.spanId]),
        [1, 2, 3].map((id) => [traceOf(id), creation(id)])
      )
      assert.deepStrictEqual(
        recorder.spans.filter((span) =>
          span.name === "work"
        ).map((span) => span.parentSpanContext?.spanId),
        spans.map((span) => span.spanContext().spanId)
      )
    }))

  it.effect("links to the span that the stream runs in", () =>
    Effect.gen(function*() {
      for (const concurrency of [1, 4]) {
        const recorder = Recorder.make()
        yield* recorder.run(
          wires(2).pipe(
            handleTracedStream(schema, { ...noDeadLetter, concurrency }, () => Effect.void),
            Stream.runDrain,
            Effect.withSpan("subscription")
          )
        )
        const subscription = recorder.span("subscription").spanContext().spanId
        const spans = recorder.spans.filter((span) => span.name === "process tasks")
        assert.deepStrictEqual(
          spans.map((span) => span.links.map((link) => link.context.spanId)),
          [[subscription], [subscription]]
        )
      }
    }))

  it.effect("handles as many at once as it may, in order", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      let running = 0
      let most = 0
      const full = yield* Latch.make()
      const results = yield* recorder.run(
        wires(50).pipe(
          handleTracedStream(schema, { ...noDeadLetter, concurrency: 8 }, (task) =>
            Effect.gen(function*() {
              most = Math.max(most, ++running)
              // The first ones wait for each other, so that fewer would never end.
              if (running === 8) yield* full.open
              yield* full.await
              // The later a message, the sooner it is done.
              for (let i = 0; i < 50 - task.id; i++) yield* Effect.yieldNow
              running--
              return task.id
            })),
          Stream.runCollect
        )
      )
      assert.deepStrictEqual(results, Array.from({ length: 50 }, (_, i) => i + 1))
      assert.strictEqual(most, 8)
      assert.strictEqual(recorder.spans.length, 50)
    }))

  it.effect("unordered, gives results as they are ready", () =>
    Effect.gen(function*() {
      const last = yield* Latch.make()
      const results = yield* wires(3).pipe(
        handleTracedStream(schema, { ...noDeadLetter, concurrency: 3, unordered: true }, (task) =>
          Effect.as(task.id === 3 ? Effect.void : last.await, task.id)),
        // In order, the first two would wait for ever.
        Stream.tap((id) =>
          id === 3 ? last.open : Effect.void
        ),
        Stream.runCollect
      )
      assert.strictEqual(results[0], 3)
      assert.sameMembers(results, [1, 2, 3])
    }))

  it.effect("what does not decode goes to the dead letter with its context, in the span that has failed", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const dead: Array<readonly [UndecodableMessage, string, object]> = []
      const bad = wire(2, { id: "two" })
      const results = yield* recorder.run(
        Stream.make(wire(1), bad, "{", wire(4)).pipe(
          handleTracedStream(schema, {
            ...options,
            deadLetter: (undecodable, raw: string) =>
              Effect.map(injectTraceContext({}), (sent) => {
                dead.push([undecodable, raw, sent])
              })
          }, (task) => Effect.succeed(task.id)),
          Stream.runCollect
        )
      )
      assert.deepStrictEqual(results, [1, 4])
      assert.deepStrictEqual(dead.map(([undecodable, raw]) => [undecodable.wire, raw]), [[bad, bad], ["{", "{"]])
      assert.isTrue(dead.every(([undecodable]) => undecodable instanceof UndecodableMessage))
      assert.strictEqual(Option.getOrThrow(dead[0][0].traceContext).traceparent?.spanId, creation(2))
      assert.isTrue(Option.isNone(dead[1][0].traceContext))

      const failed = recorder.spans.filter((span) => span.attributes["error.type"] === "UndecodableMessage")
      assert.deepStrictEqual(failed.map((span) => span.parentSpanContext?.spanId), [creation(2), undefined])
      assert.deepStrictEqual(
        dead.map(([, , sent]) => sent),
        failed.map((span) => {
          const { spanId, traceFlags, traceId } = span.spanContext()
          return { _trace_context: { traceparent: `00-${traceId}-${spanId}-0${traceFlags}` } }
        })
      )
      assert.strictEqual(recorder.spans.length, 4)
    }))

  it.effect("a failing dead letter fails the stream, so that nothing is lost unnoticed", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const error = yield* Effect.flip(recorder.run(
        Stream.make("{", wire(2)).pipe(
          handleTracedStream(
            schema,
            { ...options, deadLetter: () => Effect.fail({ _tag: "QueueFull" } as const) },
            (task) => Effect.succeed(task.id)
          ),
          Stream.runDrain
        )
      ))
      assert.strictEqual(error._tag, "QueueFull")
      assert.deepStrictEqual(recorder.spans.map((span) => span.attributes["error.type"]), ["QueueFull"])
    }))

  it.effect("a dead letter that fails with the message itself fails the stream with it", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const error = yield* Effect.flip(recorder.run(
        Stream.make("{", wire(2)).pipe(
          handleTracedStream(schema, { ...options, deadLetter: Effect.fail }, (task) => Effect.succeed(task.id)),
          Stream.runDrain
        )
      ))
      assert.instanceOf(error, UndecodableMessage)
      assert.strictEqual(error.wire, "{")
      assert.lengthOf(recorder.spans, 1)
    }))

  it.effect("a failing handler fails the stream, also with an undecodable message of its own", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const inner = handleTracedMessage(schema, options, () => Effect.void)
      const error = yield* Effect.flip(recorder.run(
        wires(3).pipe(
          handleTracedStream(schema, noDeadLetter, (task) => task.id === 2 ? inner("inner") : Effect.void),
          Stream.runDrain
        )
      ))
      assert.instanceOf(error, UndecodableMessage)
      assert.strictEqual(error.wire, "inner")
      assert.deepStrictEqual(
        recorder.spans.map((span) => span.status.code),
        [SpanStatusCode.UNSET, SpanStatusCode.ERROR, SpanStatusCode.ERROR]
      )
    }))

  it.effect("reads raw messages as it is told, and hands them on to be settled", () =>
    Effect.gen(function*() {
      interface Delivery {
        readonly data: string
        readonly headers?: Record<string, string>
        readonly sequence: number
      }
      const recorder = Recorder.make()
      const settled: Array<string> = []
      const settle = (how: string, delivery: Delivery) =>
        Effect.sync(() => {
          settled.push(`${how} ${delivery.sequence}`)
        })
      const deliveries: ReadonlyArray<Delivery> = [
        { data: `{"id":1}`, headers: contextOf(1), sequence: 11 },
        // Redelivered: another span under the same context.
        { data: `{"id":1}`, headers: contextOf(1), sequence: 11 },
        { data: "no JSON", headers: contextOf(2), sequence: 12 },
        { data: `{"id":3}`, sequence: 13 }
      ]
      yield* recorder.run(
        Stream.fromIterable(deliveries).pipe(
          handleTracedStream(
            schema,
            {
              ...options,
              wire: (delivery: Delivery) => delivery.data,
              traceContext: (delivery) => extractHeaders(delivery.headers),
              describe: (delivery) => ({ messageId: String(delivery.sequence) }),
              deadLetter: ({ wire }, delivery) => {
                assert.strictEqual(wire, "no JSON")
                return settle("term", delivery)
              }
            },
            (_task, _message, delivery) => settle("ack", delivery)
          ),
          Stream.runDrain
        )
      )
      assert.deepStrictEqual(settled, ["ack 11", "ack 11", "term 12", "ack 13"])
      assert.deepStrictEqual(
        recorder.spans.map((span) => [span.attributes["messaging.message.id"], span.parentSpanContext?.spanId]),
        [["11", creation(1)], ["11", creation(1)], ["12", creation(2)], ["13", undefined]]
      )
    }))

  it.effect("a consumer that goes on after a failure, as in the README, has failed spans and what it settled in them", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      interface Delivery {
        readonly data: string
      }
      const settled: Array<string> = []
      const settle = (how: "ack" | "nak" | "term", delivery: Delivery) =>
        Effect.sync(() => settled.push(`${how} ${delivery.data.slice(0, 8)}`)).pipe(
          withSettleSpan({ ...options, operation: how })
        )
      let failures = 0
      const work = (task: typeof Task.Type) =>
        Effect.suspend(() => task.id === 1 && failures++ === 0 ? Effect.fail(new Busy()) : Effect.void)
      const handle = handleTracedMessage(
        schema,
        { ...options, wire: (delivery: Delivery) => delivery.data },
        (task, _, delivery) =>
          work(task).pipe(
            Effect.tapError(() => settle("nak", delivery)),
            Effect.andThen(settle("ack", delivery))
          )
      )
      yield* recorder.run(
        // The first is delivered again.
        Stream.make(wire(1), wire(2), wire(3, { id: "x" }), wire(1)).pipe(
          Stream.map((data): Delivery => ({ data })),
          Stream.mapEffect((delivery) =>
            handle(delivery).pipe(
              Effect.catchTag("UndecodableMessage", ({ traceContext }) =>
                settle("term", delivery).pipe(withRemoteContext(traceContext))),
              Effect.ignore
            )
          ),
          Stream.runDrain
        )
      )
      assert.deepStrictEqual(settled, [`nak {"id":1,`, `ack {"id":2,`, `term {"id":"x`, `ack {"id":1,`])
      const processed = recorder.spans.filter((span) => span.name === "process tasks")
      assert.deepStrictEqual(
        processed.map((span) => [span.spanContext().traceId, span.attributes["error.type"], span.status.code]),
        [
          [traceOf(1), "Busy", SpanStatusCode.ERROR],
          [traceOf(2), undefined, SpanStatusCode.UNSET],
          [traceOf(3), "UndecodableMessage", SpanStatusCode.ERROR],
          [traceOf(1), undefined, SpanStatusCode.UNSET]
        ]
      )
      assert.deepStrictEqual(
        ["nak tasks", "ack tasks", "term tasks"].flatMap((name) =>
          recorder.spans.filter((span) => span.name === name).map((span) => span.parentSpanContext?.spanId)
        ),
        [...[processed[0], processed[1], processed[3]].map((span) => span.spanContext().spanId), creation(3)]
      )
    }))

  for (const unordered of [false, true]) {
    it.effect(`an early end interrupts what still runs, and ends each span once (unordered: ${unordered})`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        let started = 0
        const others = yield* Latch.make()
        const results = yield* recorder.run(
          wires(100).pipe(
            handleTracedStream(schema, { ...noDeadLetter, concurrency: 4, unordered }, (task) =>
              Effect.suspend(() => {
                if (++started === 4) others.openUnsafe()
                return task.id === 1 ? Effect.as(others.await, task.id) : Effect.never
              })),
            Stream.take(1),
            Stream.runCollect
          )
        )
        assert.deepStrictEqual(results, [1])
        assert.strictEqual(recorder.spans.length, started)
        assert.deepStrictEqual(
          recorder.spans.filter((span) => span.parentSpanContext?.spanId !== creation(1)).map((span) => [
            span.attributes["effect.fiber.interrupted"],
            span.status.code
          ]),
          Array.from({ length: started - 1 }, () => [true, SpanStatusCode.UNSET])
        )
        assert.strictEqual(new Set(recorder.spans.map((span) => span.spanContext().spanId)).size, started)
      }))
  }

  it.effect("an interruption ends each span once", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      let started = 0
      const busy = yield* Latch.make()
      yield* recorder.run(
        Effect.gen(function*() {
          const fiber = yield* wires(100).pipe(
            handleTracedStream(schema, { ...noDeadLetter, concurrency: 4 }, () =>
              Effect.suspend(() => {
                if (++started === 4) busy.openUnsafe()
                return Effect.never
              })),
            Stream.runDrain,
            Effect.forkChild
          )
          yield* busy.await
          yield* Fiber.interrupt(fiber)
        })
      )
      assert.strictEqual(started, 4)
      assert.strictEqual(recorder.spans.length, 4)
      assert.isTrue(recorder.spans.every((span) => span.attributes["effect.fiber.interrupted"] === true))
    }))

  it.effect("with tracing off, handles all the same and passes contexts on", () =>
    Effect.gen(function*() {
      const dead: Array<object> = []
      const sent = yield* Stream.make(wire(1), wire(2, { id: "two" })).pipe(
        handleTracedStream(schema, {
          ...options,
          deadLetter: () =>
            Effect.map(injectTraceContext({}), (sent) => {
              dead.push(sent)
            })
        }, () => injectTraceContext({})),
        Stream.runCollect
      )
      assert.deepStrictEqual(sent, [{ _trace_context: contextOf(1) }])
      assert.deepStrictEqual(dead, [{ _trace_context: contextOf(2) }])
    }))

  it.effect("loses nothing: 5,000 messages, of which every 20th does not decode", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const count = 5000
      const isBad = (id: number) => id % 20 === 0
      const dead: Array<string | undefined> = []
      const results = yield* recorder.run(
        Stream.range(1, count).pipe(
          Stream.map((id) => wire(id, isBad(id) ? { id: "bad" } : { id })),
          handleTracedStream(schema, {
            ...options,
            concurrency: 16,
            deadLetter: ({ traceContext }) =>
              Effect.sync(() => {
                dead.push(Option.getOrUndefined(traceContext)?.traceparent?.spanId)
              })
          }, (task) => Effect.as(Effect.yieldNow, task.id)),
          Stream.runCollect
        )
      )
      const ids = Array.from({ length: count }, (_, i) => i + 1)
      assert.deepStrictEqual(results, ids.filter((id) => !isBad(id)))
      assert.deepStrictEqual(dead.toSorted(), ids.filter(isBad).map(creation))
      const spans = new Map(recorder.spans.map((span) => [span.parentSpanContext?.spanId, span]))
      assert.strictEqual(recorder.spans.length, count)
      for (const id of ids) {
        const span = spans.get(creation(id))
        assert.strictEqual(span?.spanContext().traceId, traceOf(id))
        assert.strictEqual(span?.attributes["error.type"], isBad(id) ? "UndecodableMessage" : undefined)
      }
    }))
})
