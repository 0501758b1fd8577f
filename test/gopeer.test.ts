import { assert, describe } from "@effect/vitest"
import type { Msg } from "@nats-io/transport-node"
import { Effect, Option, Schema } from "effect"
import {
  type BaggageMember,
  extractHeaders,
  formatTraceparent,
  handleTracedMessage,
  injectTraceContext,
  makeTracedMessage,
  natsCarrier,
  parseBaggage,
  TracedMessage,
  withProducerSpan,
  withTraceContext
} from "loom-tracing"
import { describeNats } from "./support/describeNats.ts"
import * as GoPeer from "./support/gopeer/GoPeer.ts"
import { Nats } from "./support/Nats.ts"
import * as Recorder from "./support/Recorder.ts"

const skip = process.env.CI !== "true" && !GoPeer.isAvailable

if (skip) {
  console.log(`Go tests are skipped; to run them: ${GoPeer.howToGetOne}`)
}

const Identity = Schema.Struct({
  traceId: Schema.String,
  spanId: Schema.String,
  flags: Schema.String
}).pipe(Schema.encodeKeys({ traceId: "trace_id", spanId: "span_id" }))

const Task = Schema.Struct({ taskId: Schema.String }).pipe(Schema.encodeKeys({ taskId: "task_id" }))
const TaskMessage = Schema.fromJsonString(TracedMessage(Task))

/** What the peer did, and what had come with the message that it got. */
const Answer = Schema.Struct({
  taskId: Schema.String,
  span: Identity,
  carrier: Schema.Record(Schema.String, Schema.String),
  remote: Identity,
  state: Schema.optionalKey(Schema.String),
  baggage: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
}).pipe(Schema.encodeKeys({ taskId: "task_id" }))
const AnswerMessage = Schema.fromJsonString(TracedMessage(Answer))

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"
const tracestate = "vendor=t61rcWkgMzE,rojo=00f067aa0ba902b7"
const baggage = "tenant=acme-7;ttl=60;internal,plan=gold"
const upstream = (flags: string) => ({
  _trace_context: { traceparent: `00-${traceId}-${spanId}-${flags}`, tracestate, baggage }
})

/** The peer's library keeps baggage without an order. */
const byKey = (members: ReadonlyArray<BaggageMember> = []) => members.toSorted((a, b) => a.key < b.key ? -1 : 1)
const members = byKey(parseBaggage(baggage))

/** Asks the peer, and looks around where the answer is processed. */
const request = Effect.fnUntraced(function*(subject: string) {
  const { connection } = yield* Nats
  const options = { system: "nats", destination: subject, template: "gopeer" }
  const handle = handleTracedMessage(
    AnswerMessage,
    { ...options, operation: "receive" },
    (answer, { traceContext }) =>
      Effect.map(injectTraceContext({}), ({ _trace_context: onward }) => ({
        answer,
        back: Option.getOrThrow(traceContext),
        onward
      }))
  )
  return yield* Effect.gen(function*() {
    const { _trace_context: sent } = yield* injectTraceContext({})
    const task = yield* Effect.flatMap(makeTracedMessage({ taskId: "t-1" }), Schema.encodeEffect(TaskMessage))
    const reply = yield* Effect.promise(() => connection.request(subject, task, { timeout: 10_000 }))
    const headers = yield* extractHeaders(reply.headers, natsCarrier)
    return { sent, headers, ...yield* handle(reply.string()) }
  }).pipe(withProducerSpan(options))
})

describe.skipIf(skip)("a service in Go, instrumented with opentelemetry-go", () => {
  describeNats("over NATS", (it) => {
    it.layer(GoPeer.layer, { timeout: "2 minutes" })("built from source", (it) => {
      for (const flags of ["00", "01", "02", "03"]) {
        it.effect(`one trace there and back, with tracestate, baggage and flags ${flags}`, () =>
          Effect.gen(function*() {
            const { level2 } = yield* GoPeer.GoPeer
            const recorder = Recorder.make()
            const { answer, back, headers, onward, sent } = yield* request(level2.answer).pipe(
              withTraceContext(upstream(flags)),
              Effect.provide(recorder.layer)
            )
            // There: the peer has got what was sent, to the byte, and its library understands it.
            assert.deepStrictEqual(answer.carrier, { ...sent, tracestate, baggage })
            assert.strictEqual(formatRemote(answer.remote), sent?.traceparent)
            assert.notStrictEqual(answer.remote.spanId, spanId)
            assert.strictEqual(answer.remote.traceId, traceId)
            assert.strictEqual(answer.remote.flags, flags)
            assert.strictEqual(answer.state, tracestate)
            assert.deepStrictEqual(answer.baggage, { tenant: "acme-7", plan: "gold" })

            // And back: the peer's span is the parent of what follows.
            const stamped = `gopeer=${answer.span.spanId},${tracestate}`
            assert.strictEqual(answer.span.traceId, traceId)
            assert.strictEqual(formatTraceparent(back.traceparent!), formatRemote(answer.span))
            assert.strictEqual(back.traceparent?.traceFlags, Number(flags))
            assert.strictEqual(back.tracestate, stamped)
            assert.deepStrictEqual(byKey(back.baggage), members)
            // Go's `http.Header` has its own spelling of the names.
            assert.deepStrictEqual(Option.getOrThrow(headers).traceparent, back.traceparent)
            assert.strictEqual(Option.getOrThrow(headers).tracestate, stamped)
            assert.deepStrictEqual(byKey(Option.getOrThrow(headers).baggage), members)

            // What is sent next goes on from there.
            assert.match(onward!.traceparent!, new RegExp(`^00-${traceId}-[0-9a-f]{16}-${flags}$`))
            assert.strictEqual(onward!.tracestate, stamped)
            assert.deepStrictEqual(byKey(parseBaggage(onward!.baggage!)), members)

            const sampled = Number(flags) % 2 === 1
            assert.strictEqual(recorder.spans.length, sampled ? 2 : 0)
            if (!sampled) return
            const asking = recorder.span("send gopeer")
            const processing = recorder.span("receive gopeer")
            assert.strictEqual(asking.parentSpanContext?.spanId, spanId)
            assert.strictEqual(answer.remote.spanId, asking.spanContext().spanId)
            assert.strictEqual(processing.parentSpanContext?.spanId, answer.span.spanId)
            assert.strictEqual(processing.spanContext().traceId, traceId)
            assert.strictEqual(processing.spanContext().traceFlags, Number(flags))
            assert.strictEqual(processing.spanContext().traceState?.serialize(), stamped)
            assert.deepStrictEqual(
              processing.links.map((link) => link.context.spanId),
              [asking.spanContext().spanId]
            )
          }))
      }

      it.effect("one trace there and back that begins here", () =>
        Effect.gen(function*() {
          const { level2 } = yield* GoPeer.GoPeer
          const recorder = Recorder.make()
          const { answer, back, sent } = yield* Effect.provide(request(level2.answer), recorder.layer)
          const asking = recorder.span("send gopeer").spanContext()
          assert.deepStrictEqual<object | undefined>(answer.carrier, sent)
          assert.strictEqual(sent?.traceparent, `00-${asking.traceId}-${asking.spanId}-03`)
          assert.strictEqual(answer.span.traceId, asking.traceId)
          assert.strictEqual(back.traceparent?.traceFlags, 3)
          assert.strictEqual(recorder.span("receive gopeer").spanContext().traceId, asking.traceId)
        }))

      // opentelemetry-go 1.1; it was 2026 until one knew Level 2.
      const outcomes: ReadonlyArray<readonly [sent: string, returned: string, continued: boolean, outcome: string]> = [
        ["00", "00", true, "continues the trace"],
        ["01", "01", true, "continues the trace"],
        ["02", "00", true, "continues the trace without the random flag"],
        ["03", "01", false, "begins a trace of its own, which is linked to the request's"]
      ]
      for (const [flags, returned, continued, outcome] of outcomes) {
        it.effect(`one of Level 1 that gets flags ${flags} ${outcome}`, () =>
          Effect.gen(function*() {
            const { level1 } = yield* GoPeer.GoPeer
            const recorder = Recorder.make()
            const { answer, back, onward } = yield* request(level1.answer).pipe(
              withTraceContext(upstream(flags)),
              Effect.provide(recorder.layer)
            )
            assert.match(answer.carrier.traceparent, new RegExp(`^00-${traceId}-[0-9a-f]{16}-${flags}$`))
            assert.strictEqual(answer.span.traceId === traceId, continued)
            // Nothing of what comes back is lost, and nothing is made up.
            assert.strictEqual(formatTraceparent(back.traceparent!), formatRemote({ ...answer.span, flags: returned }))
            assert.strictEqual(
              back.tracestate,
              [`gopeer=${answer.span.spanId}`, ...continued ? [tracestate] : []].join(",")
            )
            assert.deepStrictEqual(byKey(back.baggage), members)
            assert.match(onward!.traceparent!, new RegExp(`^00-${answer.span.traceId}-[0-9a-f]{16}-${returned}$`))
            if (returned === "01") {
              const asking = recorder.span("send gopeer").spanContext()
              assert.deepStrictEqual(
                recorder.span("receive gopeer").links.map(({ context: { spanId, traceId } }) => ({ spanId, traceId })),
                [{ spanId: asking.spanId, traceId }]
              )
            }
          }))
      }

      it.effect("one trace that begins there", () => {
        const recorder = Recorder.make()
        return Effect.gen(function*() {
          const { level2: { ask } } = yield* GoPeer.GoPeer
          const { connection, subject } = yield* Nats
          const here = subject("tasks")
          let seen: ReadonlyArray<BaggageMember> | undefined
          const handle = handleTracedMessage(
            TaskMessage,
            { system: "nats", destination: here, template: "tasks" },
            (task, { traceContext }) => {
              seen = Option.getOrThrow(traceContext).baggage
              return Effect.flatMap(makeTracedMessage(task), Schema.encodeEffect(TaskMessage))
            }
          )
          const context = yield* Effect.context()
          const callback = (_: unknown, message: Msg) =>
            void Effect.runPromiseWith(context)(handle(message.string())).then((reply) => message.respond(reply))
          yield* Effect.acquireRelease(
            Effect.sync(() => connection.subscribe(here, { callback })),
            (subscription) => Effect.sync(() => subscription.unsubscribe())
          )
          yield* Effect.promise(() => connection.flush())
          const reply = yield* Effect.promise(() =>
            connection.request(ask, JSON.stringify({ task_id: "t-1", ask: here }), { timeout: 10_000 })
          )
          const { payload: answer } = yield* Schema.decodeEffect(AnswerMessage)(reply.string())

          const processing = recorder.span("process tasks")
          assert.strictEqual(processing.spanContext().traceId, answer.span.traceId)
          assert.strictEqual(processing.parentSpanContext?.spanId, answer.span.spanId)
          assert.strictEqual(processing.spanContext().traceState?.serialize(), `gopeer=${answer.span.spanId}`)
          assert.deepStrictEqual(seen, [{ key: "tenant", value: "acme-7" }])

          // The library sets no random flag, so none is sent back.
          assert.strictEqual(answer.span.flags, "01")
          assert.deepStrictEqual(answer.carrier, {
            traceparent: `00-${answer.span.traceId}-${processing.spanContext().spanId}-01`,
            tracestate: `gopeer=${answer.span.spanId}`,
            baggage: "tenant=acme-7"
          })
          assert.strictEqual(formatRemote(answer.remote), answer.carrier.traceparent)
        }).pipe(Effect.provide(recorder.layer))
      })
    })
  })
})

const formatRemote = (identity: typeof Identity.Type) => `00-${identity.traceId}-${identity.spanId}-${identity.flags}`
