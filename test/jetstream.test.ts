import { assert } from "@effect/vitest"
import {
  AckPolicy,
  type ConsumerConfig,
  jetstream,
  jetstreamManager,
  type JsMsg,
  StorageType
} from "@nats-io/jetstream"
import { headers, nanos } from "@nats-io/transport-node"
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base"
import { Data, Effect, Option, Schema, Stream } from "effect"
import {
  currentTraceContext,
  extractHeaders,
  formatTraceparent,
  handleTracedMessage,
  handleTracedStream,
  injectHeaders,
  makeTracedMessage,
  natsCarrier,
  TracedMessage,
  withBatchSpan,
  withConsumerSpan,
  withProducerSpan,
  withReceiveSpan,
  withRemoteContext,
  withSettleSpan
} from "loom-tracing"
import { describeNats } from "./support/describeNats.ts"
import { Nats } from "./support/Nats.ts"
import * as Recorder from "./support/Recorder.ts"

const Task = Schema.Struct({ id: Schema.Number })
const TaskMessage = Schema.fromJsonString(TracedMessage(Task))

const options = { system: "nats", destination: "tasks", consumerGroup: "workers" }
/** Reads a message that carries its context in either way. */
const reading = {
  wire: (message: JsMsg) => message.string(),
  traceContext: (message: JsMsg) => extractHeaders(message.headers, natsCarrier),
  describe: (message: JsMsg) => ({ messageId: `${message.seq}` })
}

/** A stream and its consumer, which are gone when the test is over. */
const makeStream = Effect.fnUntraced(function*(config: Partial<ConsumerConfig> = {}) {
  const { connection, subject } = yield* Nats
  const tasks = subject("tasks")
  const name = tasks.replaceAll(".", "_")
  const manager = yield* Effect.promise(() => jetstreamManager(connection))
  yield* Effect.acquireRelease(
    Effect.promise(() => manager.streams.add({ name, subjects: [tasks], storage: StorageType.Memory })),
    () => Effect.promise(() => manager.streams.delete(name))
  )
  const { name: worker } = yield* Effect.promise(() =>
    manager.consumers.add(name, { ack_policy: AckPolicy.Explicit, ...config })
  )
  const client = jetstream(connection)
  const consumer = yield* Effect.promise(() => client.consumers.get(name, worker))
  return {
    consumer,
    publish: (payload: string, options?: { readonly headers: ReturnType<typeof headers> }) =>
      Effect.promise(() => client.publish(tasks, payload, options)),
    /** What the server counts once nothing waits for an acknowledgement any more. */
    settled: Effect.promise(async () => {
      const deadline = Date.now() + 10_000
      for (;;) {
        const { num_ack_pending, num_pending, num_redelivered } = await consumer.info()
        if (num_ack_pending === 0 || Date.now() > deadline) return { num_ack_pending, num_pending, num_redelivered }
      }
    }),
    /** The next delivery. */
    next: Effect.flatMap(
      Effect.promise(() => consumer.next({ expires: 10_000 })),
      (message) => message === null ? Effect.die("there is no message") : Effect.succeed(message)
    )
  }
})

type JetStream = Effect.Success<ReturnType<typeof makeStream>>

/** Tasks that are right and wrong. */
const AnyTask = Schema.Record(Schema.String, Schema.Json)
const AnyMessage = Schema.fromJsonString(TracedMessage(AnyTask))

/** The two ways in which a message can carry the context that is current. */
const carriers: Record<string, (stream: JetStream, task: typeof AnyTask.Type) => Effect.Effect<unknown, unknown>> = {
  _trace_context: (stream, task) =>
    makeTracedMessage(task).pipe(Effect.flatMap(Schema.encodeEffect(AnyMessage)), Effect.flatMap(stream.publish)),
  MsgHdrs: (stream, task) =>
    Effect.flatMap(
      injectHeaders(headers(), natsCarrier),
      (headers) => stream.publish(JSON.stringify(task), { headers })
    )
}

/** Publishes a task in a trace of its own, and tells the context in which it was created. */
const publish = (carrier: string, stream: JetStream, task: typeof AnyTask.Type) =>
  Effect.gen(function*() {
    yield* carriers[carrier](stream, task)
    return formatTraceparent(Option.getOrThrow(yield* currentTraceContext).traceparent!)
  }).pipe(withProducerSpan({ ...options, operation: "publish" }))

const settle = (how: "ack" | "nak" | "term", message: JsMsg) =>
  Effect.sync(() => message[how]()).pipe(
    withSettleSpan({ ...options, operation: how, messageId: `${message.seq}` })
  )

class Busy extends Data.TaggedError("Busy") {}

describeNats("JetStream", (it) => {
  for (const carrier of Object.keys(carriers)) {
    it.effect(`publication, processing and acknowledgement are in one trace, by ${carrier}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const stream = yield* makeStream()
        const handle = handleTracedMessage(
          TaskMessage,
          { ...options, ...reading },
          (task, _, message) => Effect.as(settle("ack", message), task.id)
        )
        const id = yield* publish(carrier, stream, { id: 7 }).pipe(
          Effect.andThen(stream.next),
          Effect.flatMap(handle),
          Effect.provide(recorder.layer)
        )
        assert.strictEqual(id, 7)
        const spans = ["publish tasks", "process tasks", "ack tasks"].map(recorder.span)
        assert.deepStrictEqual(
          spans.map((span) => span.parentSpanContext?.spanId),
          [undefined, ...spans.slice(0, -1).map((span) => span.spanContext().spanId)]
        )
        assert.strictEqual(new Set(spans.map((span) => span.spanContext().traceId)).size, 1)
        assert.deepStrictEqual(
          spans.map((span) => span.attributes["messaging.message.id"]),
          [undefined, "1", "1"]
        )
        assert.deepStrictEqual(yield* stream.settled, { num_ack_pending: 0, num_pending: 0, num_redelivered: 0 })
      }))

    const redeliveries = [
      { cause: "is refused", config: {}, refuse: (message: JsMsg) => settle("nak", message) },
      { cause: "is not acknowledged in time", config: { ack_wait: nanos(250) }, refuse: () => Effect.void }
    ]
    for (const { cause, config, refuse } of redeliveries) {
      for (const relation of ["parent", "link"] as const) {
        it.effect(`a message that ${cause} has a new span with the same ${relation}, by ${carrier}`, () =>
          Effect.gen(function*() {
            const recorder = Recorder.make()
            const stream = yield* makeStream(config)
            const handle = handleTracedMessage(
              TaskMessage,
              { ...options, ...reading, relation },
              (_task, _message, delivery) =>
                delivery.redelivered
                  ? settle("ack", delivery)
                  : Effect.andThen(refuse(delivery), Effect.fail(new Busy()))
            )
            const created = yield* Effect.gen(function*() {
              const created = yield* publish(carrier, stream, { id: 7 })
              const error = yield* Effect.flip(Effect.flatMap(stream.next, handle))
              assert.strictEqual(error._tag, "Busy")
              yield* Effect.flatMap(stream.next, handle)
              return created
            }).pipe(Effect.provide(recorder.layer))

            const [, traceId, spanId] = created.split("-")
            const spans = recorder.spans.filter((span) => span.name === "process tasks")
            assert.deepStrictEqual(spans.map((span) => span.attributes["error.type"]), ["Busy", undefined])
            assert.deepStrictEqual(spans.map((span) => span.attributes["messaging.message.id"]), ["1", "1"])
            assert.strictEqual(new Set(spans.map((span) => span.spanContext().spanId)).size, 2)
            for (const { links, parentSpanContext, spanContext } of spans.map(plain)) {
              if (relation === "parent") {
                assert.strictEqual(spanContext.traceId, traceId)
                assert.strictEqual(parentSpanContext?.spanId, spanId)
                assert.deepStrictEqual(links, [])
              } else {
                assert.notStrictEqual(spanContext.traceId, traceId)
                assert.strictEqual(parentSpanContext, undefined)
                assert.deepStrictEqual(links, [created])
              }
            }
          }))
      }
    }

    it.effect(`what does not decode is given up once, with its context, by ${carrier}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const stream = yield* makeStream()
        const tasks = [{ id: 1 }, { id: "two" }, { id: 3 }, { name: "four" }, { id: 5 }]
        const dead: Array<readonly [wire: string, created: string]> = []
        const [created, results] = yield* Effect.gen(function*() {
          const created = yield* Effect.forEach(tasks, (task) => publish(carrier, stream, task))
          const deliveries = yield* Effect.promise(() => stream.consumer.fetch({ max_messages: 5, expires: 10_000 }))
          const results = yield* Stream.fromAsyncIterable(deliveries, (cause) => cause).pipe(
            handleTracedStream(TaskMessage, {
              ...options,
              ...reading,
              concurrency: 2,
              deadLetter: ({ traceContext }, message: JsMsg) => {
                dead.push([message.string(), formatTraceparent(Option.getOrThrow(traceContext).traceparent!)])
                return settle("term", message)
              }
            }, (task, _, message) => Effect.as(settle("ack", message), task.id)),
            Stream.runCollect
          )
          return [created, results] as const
        }).pipe(Effect.provide(recorder.layer))

        assert.deepStrictEqual(results, [1, 3, 5])
        assert.deepStrictEqual(dead.map(([wire]) => JSON.parse(wire).id), ["two", undefined])
        assert.deepStrictEqual(dead.map(([, context]) => context), [created[1], created[3]])
        assert.deepStrictEqual(
          recorder.spans.filter((span) => span.name === "process tasks").map((span) => [
            formatTraceparent(span.parentSpanContext!),
            span.attributes["error.type"]
          ]).toSorted(),
          created.map((context, index) => [context, index % 2 === 1 ? "UndecodableMessage" : undefined]).toSorted()
        )
        assert.deepStrictEqual(yield* stream.settled, { num_ack_pending: 0, num_pending: 0, num_redelivered: 0 })
      }))

    it.effect(`a batch has a link to each publication, and each message its own span, by ${carrier}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const stream = yield* makeStream()
        const decode = Schema.decodeUnknownEffect(TaskMessage)
        const pull = Effect.gen(function*() {
          const deliveries = yield* Effect.promise(() => stream.consumer.fetch({ max_messages: 3, expires: 10_000 }))
          return yield* Stream.fromAsyncIterable(deliveries, (cause) => cause).pipe(
            Stream.mapEffect((delivery) =>
              Effect.gen(function*() {
                const headers = yield* extractHeaders(delivery.headers, natsCarrier)
                const { payload, traceContext } = yield* decode(delivery.string())
                return {
                  task: payload,
                  delivery,
                  messageId: `${delivery.seq}`,
                  traceContext: Option.orElse(headers, () => traceContext)
                }
              })
            ),
            Stream.runCollect
          )
        }).pipe(withReceiveSpan({ ...options, messages: (messages) => messages }))
        const created = yield* Effect.gen(function*() {
          const created = yield* Effect.forEach([1, 2, 3], (id) => publish(carrier, stream, { id }))
          const messages = yield* pull
          yield* Effect.forEach(
            messages,
            ({ delivery, messageId, traceContext }) =>
              settle("ack", delivery).pipe(
                withConsumerSpan({ ...options, messageId }),
                withRemoteContext(traceContext)
              )
          ).pipe(withBatchSpan({ ...options, operation: "handle", messages }))
          return created
        }).pipe(Effect.provide(recorder.layer))

        for (const name of ["receive tasks", "handle tasks"]) {
          const span = recorder.span(name)
          assert.strictEqual(span.attributes["messaging.batch.message_count"], 3)
          assert.deepStrictEqual(plain(span).links, created)
          assert.deepStrictEqual(
            span.links.map((link) => link.attributes?.["messaging.message.id"]),
            ["1", "2", "3"]
          )
        }
        const batch = recorder.span("handle tasks").spanContext().spanId
        const processed = recorder.spans.filter((span) => span.name === "process tasks")
        assert.deepStrictEqual(processed.map((span) => formatTraceparent(span.parentSpanContext!)), created)
        assert.deepStrictEqual(
          processed.map((span) => span.links.map((link) => link.context.spanId)),
          [[batch], [batch], [batch]]
        )
      }))
  }
})

const plain = (span: ReadableSpan) => ({
  spanContext: span.spanContext(),
  parentSpanContext: span.parentSpanContext,
  links: span.links.map((link) => formatTraceparent(link.context))
})
