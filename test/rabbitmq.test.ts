import { assert, describe, layer } from "@effect/vitest"
import type { ConsumeMessage } from "amqplib"
import { Data, Effect, Fiber, Option, Schema } from "effect"
import {
  amqpCarrier,
  extractHeaders,
  formatTraceparent,
  handleTracedMessage,
  injectHeaders,
  TracedMessage,
  withProducerSpan,
  withSettleSpan,
  withTraceContext
} from "loom-tracing"
import * as RabbitMq from "./support/RabbitMq.ts"
import * as Recorder from "./support/Recorder.ts"

// Another machine's broker cannot be asked for: these tests run where there is one.
const skip = !await RabbitMq.isAvailable()

if (skip) {
  console.log(`RabbitMQ tests are skipped; to run them: ${RabbitMq.howToGetOne}`)
}

const Task = Schema.Struct({ id: Schema.Number })
const TaskMessage = Schema.fromJsonString(TracedMessage(Task))

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"
const tracestate = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
const baggage = "tenant=%C3%9Cmit%20&%20Co;ttl=60,plan="
const headers = { traceparent: `00-${traceId}-${spanId}-03`, tracestate, baggage }
const upstream = { _trace_context: headers }

/** What spans say of a message. The server makes up the names of the queues. */
const about = (queue: RabbitMq.OwnQueue, template = "tasks") => ({
  system: "rabbitmq",
  destination: queue.name,
  template
})
const reading = {
  wire: (message: ConsumeMessage) => message.content.toString(),
  traceContext: (message: ConsumeMessage) => extractHeaders(message.properties, amqpCarrier),
  describe: ({ properties: { correlationId, messageId } }: ConsumeMessage) => ({
    messageId,
    conversationId: correlationId
  })
}

const publish = (queue: RabbitMq.OwnQueue, task: unknown, options: object = {}) =>
  Effect.gen(function*() {
    yield* queue.publish(JSON.stringify(task), yield* injectHeaders(options, amqpCarrier))
  }).pipe(withProducerSpan({ ...about(queue), operation: "publish" }))

const settle = (queue: RabbitMq.OwnQueue, how: "ack" | "nack" | "reject", message: ConsumeMessage) =>
  Effect.sync(() =>
    how === "ack"
      ? queue.channel.ack(message)
      : how === "nack"
      ? queue.channel.nack(message)
      : queue.channel.reject(message, false)
  ).pipe(withSettleSpan({ ...about(queue), operation: how }))

class Busy extends Data.TaggedError("Busy") {}

describe.skipIf(skip)("on a RabbitMQ server", () => {
  layer(RabbitMq.layer)("amqplib", (it) => {
    it.effect("publication, processing and acknowledgement are in one trace, with all that came along", () =>
      Effect.gen(function*() {
        const { makeQueue } = yield* RabbitMq.RabbitMq
        const queue = yield* makeQueue()
        const recorder = Recorder.make()
        const handle = handleTracedMessage(
          TaskMessage,
          { ...about(queue), ...reading },
          (task, message, delivery) => Effect.as(settle(queue, "ack", delivery), { task, message, delivery })
        )
        const { delivery, message, task } = yield* Effect.gen(function*() {
          const options = { messageId: "m-1", headers: { attempt: 1, TraceParent: "stale" } }
          yield* withTraceContext(publish(queue, { id: 7 }, options), upstream)
          return yield* Effect.flatMap(queue.next, handle)
        }).pipe(Effect.provide(recorder.layer))

        assert.deepStrictEqual(task, { id: 7 })
        const [published, processed, acknowledged] = ["publish", "process", "ack"].map((verb) =>
          recorder.span(`${verb} tasks`)
        )
        const traceparent = formatTraceparent(published.spanContext())
        assert.deepStrictEqual({ ...delivery.properties.headers }, { attempt: 1, ...headers, traceparent })
        assert.strictEqual(published.parentSpanContext?.spanId, spanId)
        assert.strictEqual(processed.parentSpanContext?.spanId, published.spanContext().spanId)
        assert.strictEqual(acknowledged.parentSpanContext?.spanId, processed.spanContext().spanId)
        for (const span of [published, processed, acknowledged]) {
          assert.strictEqual(span.spanContext().traceId, traceId)
          assert.strictEqual(span.spanContext().traceFlags, 3)
          assert.strictEqual(span.spanContext().traceState?.serialize(), tracestate)
        }
        assert.strictEqual(processed.attributes["messaging.message.id"], "m-1")
        assert.deepStrictEqual(Option.getOrThrow(message.traceContext).baggage, [
          { key: "tenant", value: "Ümit & Co", properties: [{ key: "ttl", value: "60" }] },
          { key: "plan", value: "" }
        ])
      }))

    it.effect("headers that another client wrote as bytes are read", () =>
      Effect.gen(function*() {
        const { makeQueue } = yield* RabbitMq.RabbitMq
        const queue = yield* makeQueue()
        const bytes = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Buffer.from(value)]))
        yield* queue.publish("{}", { headers: bytes })
        const delivery = yield* queue.next
        assert.instanceOf(delivery.properties.headers?.traceparent, Buffer)
        const context = Option.getOrThrow(yield* extractHeaders(delivery.properties, amqpCarrier))
        assert.strictEqual(formatTraceparent(context.traceparent!), headers.traceparent)
        assert.strictEqual(context.tracestate, tracestate)
        assert.strictEqual(context.baggage?.[0].value, "Ümit & Co")
      }))

    for (const relation of ["parent", "link"] as const) {
      it.effect(`a message that is delivered again has a new span with the same ${relation}`, () =>
        Effect.gen(function*() {
          const { makeQueue } = yield* RabbitMq.RabbitMq
          const queue = yield* makeQueue()
          const recorder = Recorder.make()
          const handle = handleTracedMessage(
            TaskMessage,
            { ...about(queue), ...reading, relation },
            (_task, _message, delivery) =>
              delivery.fields.redelivered
                ? settle(queue, "ack", delivery)
                : Effect.andThen(settle(queue, "nack", delivery), Effect.fail(new Busy()))
          )
          yield* Effect.gen(function*() {
            yield* publish(queue, { id: 7 })
            assert.strictEqual((yield* Effect.flip(Effect.flatMap(queue.next, handle)))._tag, "Busy")
            yield* Effect.flatMap(queue.next, handle)
          }).pipe(Effect.provide(recorder.layer))

          const created = recorder.span("publish tasks").spanContext()
          const spans = recorder.spans.filter((span) => span.name === "process tasks")
          assert.deepStrictEqual(spans.map((span) => span.attributes["error.type"]), ["Busy", undefined])
          assert.strictEqual(new Set(spans.map((span) => span.spanContext().spanId)).size, 2)
          const related = [[created.traceId, created.spanId], [created.traceId, created.spanId]]
          assert.deepStrictEqual(
            spans.flatMap(({ links, parentSpanContext }) => [
              ...parentSpanContext === undefined ? [] : [parentSpanContext],
              ...links.map((link) => link.context)
            ]).map(({ spanId, traceId }) => [traceId, spanId]),
            related
          )
          assert.strictEqual(spans.every((span) => span.links.length === 0), relation === "parent")
        }))
    }

    it.effect("what does not decode is in the same trace where the server has put the dead letters", () =>
      Effect.gen(function*() {
        const { makeQueue } = yield* RabbitMq.RabbitMq
        const dead = yield* makeQueue()
        const queue = yield* makeQueue({ deadLetterExchange: "", deadLetterRoutingKey: dead.name })
        const recorder = Recorder.make()
        const handle = handleTracedMessage(
          TaskMessage,
          { ...about(queue), ...reading },
          () => Effect.die("not to be handled")
        )
        const look = handleTracedMessage(
          Schema.fromJsonString(TracedMessage(Schema.Record(Schema.String, Schema.Json))),
          { ...about(dead, "dead-letters"), ...reading },
          (payload, _, delivery) => Effect.as(settle(dead, "ack", delivery), { payload, delivery })
        )
        const { delivery, payload } = yield* Effect.gen(function*() {
          yield* publish(queue, { id: "seven" })
          yield* Effect.flatMap(
            queue.next,
            (delivery) =>
              handle(delivery).pipe(Effect.catchTag("UndecodableMessage", () => settle(queue, "reject", delivery)))
          )
          return yield* Effect.flatMap(dead.next, look)
        }).pipe(Effect.provide(recorder.layer))

        assert.deepStrictEqual(payload, { id: "seven" })
        assert.strictEqual(delivery.properties.headers?.["x-death"]?.[0].reason, "rejected")
        const created = recorder.span("publish tasks").spanContext()
        for (const [name, error] of [["process tasks", "UndecodableMessage"], ["process dead-letters", undefined]]) {
          const span = recorder.span(name!)
          assert.strictEqual(span.spanContext().traceId, created.traceId)
          assert.strictEqual(span.parentSpanContext?.spanId, created.spanId)
          assert.strictEqual(span.attributes["error.type"], error)
        }
      }))

    it.effect("a request and its reply are in one trace and one conversation", () =>
      Effect.gen(function*() {
        const { makeQueue } = yield* RabbitMq.RabbitMq
        const [requests, replies] = [yield* makeQueue(), yield* makeQueue()]
        const recorder = Recorder.make()
        const serve = handleTracedMessage(
          TaskMessage,
          { ...about(requests), ...reading },
          (task, _, { properties: { correlationId, replyTo } }) =>
            Effect.gen(function*() {
              assert.strictEqual(replyTo, replies.name)
              const options = yield* injectHeaders({ correlationId }, amqpCarrier)
              yield* replies.publish(JSON.stringify({ id: task.id * 2 }), options)
            }).pipe(withProducerSpan({ ...about(replies, "replies"), conversationId: correlationId }))
        )
        const receive = handleTracedMessage(
          TaskMessage,
          { ...about(replies, "replies"), ...reading },
          (task) => Effect.succeed(task.id)
        )
        const result = yield* Effect.gen(function*() {
          const server = yield* Effect.forkChild(Effect.flatMap(requests.next, serve))
          yield* publish(requests, { id: 21 }, { replyTo: replies.name, correlationId: "c-1" })
          const result = yield* Effect.flatMap(replies.next, receive)
          yield* Fiber.join(server)
          return result
        }).pipe(Effect.provide(recorder.layer))

        assert.strictEqual(result, 42)
        const spans = ["publish tasks", "process tasks", "send replies", "process replies"].map(recorder.span)
        assert.deepStrictEqual(
          spans.map((span) => span.parentSpanContext?.spanId),
          [undefined, ...spans.slice(0, -1).map((span) => span.spanContext().spanId)]
        )
        assert.strictEqual(new Set(spans.map((span) => span.spanContext().traceId)).size, 1)
        assert.deepStrictEqual(
          spans.slice(1).map((span) => span.attributes["messaging.message.conversation_id"]),
          ["c-1", "c-1", "c-1"]
        )
      }))
  })
})
