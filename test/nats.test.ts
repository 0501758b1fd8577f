import { assert } from "@effect/vitest"
import { headers, type Msg, type SubscriptionOptions } from "@nats-io/transport-node"
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base"
import { Effect, Fiber, Option, Schema, Stream } from "effect"
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
  withProducerSpan,
  withTraceContext
} from "loom-tracing"
import { describeNats } from "./support/describeNats.ts"
import { Nats } from "./support/Nats.ts"
import * as Recorder from "./support/Recorder.ts"

const Task = Schema.Struct({ id: Schema.Number })
const TaskMessage = Schema.fromJsonString(TracedMessage(Task))

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"
const tracestate = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
const baggage = "tenant=%C3%9Cmit%20&%20Co;ttl=60,plan="
const upstream = { _trace_context: { traceparent: `00-${traceId}-${spanId}-03`, tracestate, baggage } }

interface Outgoing {
  readonly payload: string
  readonly headers?: ReturnType<typeof headers>
}

/** The two ways in which a message can carry the context that is current. */
const carriers: Record<string, (task: typeof Task.Type) => Effect.Effect<Outgoing, Schema.SchemaError>> = {
  _trace_context: (task) =>
    makeTracedMessage(task).pipe(
      Effect.flatMap(Schema.encodeEffect(TaskMessage)),
      Effect.map((payload) => ({ payload }))
    ),
  MsgHdrs: (task) =>
    Effect.map(injectHeaders(headers(), natsCarrier), (headers) => ({ payload: JSON.stringify(task), headers }))
}

/** What spans say of a message. Subjects are made for one test, so a template names them. */
const about = (destination: string, template = "tasks") => ({ system: "nats", destination, template })
/** Reads a message that carries its context in either way. */
const reading = {
  wire: (message: Msg) => message.string(),
  traceContext: (message: Msg) => extractHeaders(message.headers, natsCarrier)
}

/** The messages of a subscription that the server knows of. */
const subscribe = Effect.fnUntraced(function*(subject: string, options?: SubscriptionOptions) {
  const { connection } = yield* Nats
  const subscription = yield* Effect.acquireRelease(
    Effect.sync(() => connection.subscribe(subject, options)),
    (subscription) => Effect.sync(() => subscription.unsubscribe())
  )
  yield* Effect.promise(() => connection.flush())
  return { subscription, messages: Stream.orDie(Stream.fromAsyncIterable(subscription, (cause) => cause)) }
})

/** What a peer could tell of a span by its headers. */
const headersOf = (span: ReadableSpan) => {
  const { spanId, traceFlags, traceId, traceState } = span.spanContext()
  return [formatTraceparent({ traceId, spanId, traceFlags }), traceState?.serialize()]
}

describeNats("core NATS", (it) => {
  for (const [carrier, outgoing] of Object.entries(carriers)) {
    it.effect(`a publication and its processing are in one trace, by ${carrier}`, () =>
      Effect.gen(function*() {
        const { connection, subject } = yield* Nats
        const tasks = subject("tasks")
        const recorder = Recorder.make()
        const { messages } = yield* subscribe(tasks, { max: 1 })
        const handle = handleTracedMessage(
          TaskMessage,
          { ...about(tasks), ...reading },
          (task, message) => Effect.map(outgoing(task), (onward) => ({ task, message, onward }))
        )
        const [{ message, onward, task }] = yield* Effect.gen(function*() {
          yield* outgoing({ id: 1 }).pipe(
            Effect.map(({ payload, ...options }) => connection.publish(tasks, payload, options)),
            withProducerSpan({ ...about(tasks), operation: "publish" }),
            withTraceContext(upstream)
          )
          return yield* messages.pipe(Stream.mapEffect(handle), Stream.runCollect)
        }).pipe(Effect.provide(recorder.layer))

        assert.deepStrictEqual(task, { id: 1 })
        const published = recorder.span("publish tasks")
        const processed = recorder.span("process tasks")
        assert.strictEqual(published.parentSpanContext?.spanId, spanId)
        assert.strictEqual(processed.parentSpanContext?.spanId, published.spanContext().spanId)
        for (const span of [published, processed]) {
          const { spanId } = span.spanContext()
          assert.deepStrictEqual(headersOf(span), [`00-${traceId}-${spanId}-03`, tracestate])
        }
        const context = Option.getOrThrow(message.traceContext)
        assert.strictEqual(formatTraceparent(context.traceparent!), headersOf(published)[0])
        assert.strictEqual(context.tracestate, tracestate)
        assert.deepStrictEqual(context.baggage, [
          { key: "tenant", value: "Ümit & Co", properties: [{ key: "ttl", value: "60" }] },
          { key: "plan", value: "" }
        ])
        // What the handler sends on has all of it too.
        const [traceparent] = headersOf(processed)
        assert.deepStrictEqual(
          onward.headers === undefined
            ? JSON.parse(onward.payload)._trace_context
            : Object.fromEntries(Array.from(onward.headers, ([name, values]) => [name, values.join()])),
          { traceparent, tracestate, baggage }
        )
      }))

    it.effect(`a request and its reply are in one trace, by ${carrier}`, () =>
      Effect.gen(function*() {
        const { connection, subject } = yield* Nats
        const tasks = subject("tasks")
        const recorder = Recorder.make()
        const { messages } = yield* subscribe(tasks, { max: 1 })
        const serve = handleTracedMessage(TaskMessage, { ...about(tasks), ...reading }, (task, _, request) =>
          outgoing({ id: task.id * 2 }).pipe(
            Effect.map(({ payload, ...options }) =>
              request.respond(payload, options)
            ),
            withProducerSpan({ system: "nats", destination: request.reply!, temporary: true, operation: "reply" })
          ))
        const receive = handleTracedMessage(
          TaskMessage,
          {
            system: "nats",
            destination: "inbox",
            operation: "receive",
            ...reading,
            describe: (reply) => ({ destination: reply.subject, temporary: true })
          },
          (task) =>
            Effect.succeed(task.id)
        )
        const result = yield* Effect.gen(function*() {
          const server = yield* messages.pipe(Stream.mapEffect(serve), Stream.runDrain, Effect.forkChild)
          const { payload, ...options } = yield* outgoing({ id: 21 })
          const reply = yield* Effect.promise(() => connection.request(tasks, payload, { timeout: 10_000, ...options }))
          const result = yield* receive(reply)
          yield* Fiber.join(server)
          return result
        }).pipe(
          withProducerSpan({ ...about(tasks), operation: "request" }),
          Effect.provide(recorder.layer)
        )
        assert.strictEqual(result, 42)

        const names = ["request tasks", "process tasks", "reply", "receive"]
        const [request, ...others] = names.map(recorder.span)
        assert.strictEqual(request.parentSpanContext, undefined)
        assert.deepStrictEqual(
          others.map((span) => [span.spanContext().traceId, span.parentSpanContext?.spanId]),
          [request, ...others.slice(0, -1)].map((span) => [span.spanContext().traceId, span.spanContext().spanId])
        )
        // The requester was at work all the time.
        assert.deepStrictEqual(
          recorder.span("receive").links.map((link) => link.context.spanId),
          [request.spanContext().spanId]
        )
        const inbox = recorder.span("reply").attributes["messaging.destination.name"]
        assert.match(`${inbox}`, /^_INBOX\./)
        assert.strictEqual(recorder.span("receive").attributes["messaging.destination.name"], inbox)
      }))

    it.effect(`a queue group processes each message once, in the trace of its publication, by ${carrier}`, () =>
      Effect.gen(function*() {
        const { connection, subject } = yield* Nats
        const tasks = subject("tasks")
        const recorder = Recorder.make()
        const members = yield* Effect.all(Array.from({ length: 3 }, () => subscribe(tasks, { queue: "workers" })))
        const handle = handleTracedMessage(
          TaskMessage,
          { ...about(tasks), ...reading, consumerGroup: "workers" },
          (task) => Effect.succeed(task.id)
        )
        const ids = Array.from({ length: 100 }, (_, id) => id)
        const processed = yield* Effect.gen(function*() {
          for (const id of ids) {
            yield* outgoing({ id }).pipe(
              Effect.map(({ payload, ...options }) => connection.publish(tasks, payload, options)),
              withProducerSpan({ ...about(tasks), messageId: `${id}` })
            )
          }
          yield* Effect.promise(() => connection.flush())
          return yield* Effect.forEach(members, ({ messages, subscription }, member) =>
            Effect.gen(function*() {
              yield* Effect.promise(() => subscription.drain())
              return yield* messages.pipe(
                Stream.mapEffect(handle),
                Stream.map((id) => ({ id, member })),
                Stream.runCollect
              )
            }), { concurrency: "unbounded" })
        }).pipe(Effect.provide(recorder.layer))

        assert.deepStrictEqual(processed.flat().map(({ id }) => id).toSorted((a, b) => a - b), ids)
        assert.isAbove(new Set(processed.flat().map(({ member }) => member)).size, 1)
        const [published, consumed] = ["send tasks", "process tasks"].map((name) =>
          recorder.spans.filter((span) => span.name === name)
        )
        assert.sameDeepMembers(
          consumed.map((span) => [span.spanContext().traceId, span.parentSpanContext?.spanId]),
          published.map((span) => [span.spanContext().traceId, span.spanContext().spanId])
        )
        assert.strictEqual(new Set(published.map((span) => span.spanContext().traceId)).size, ids.length)
        assert.isTrue(consumed.every((span) => span.attributes["messaging.consumer.group.name"] === "workers"))
      }))
  }

  it.effect("a dead letter has the text that did not decode, which can be sent on as it is", () =>
    Effect.gen(function*() {
      const { connection, subject } = yield* Nats
      const [tasks, deadLetters] = [subject("tasks"), subject("dead-letters")]
      const { messages } = yield* subscribe(tasks, { max: 1 })
      const letters = yield* subscribe(deadLetters, { max: 1 })
      connection.publish(tasks, `{"id":"two"}`)
      yield* messages.pipe(
        handleTracedStream(TaskMessage, {
          ...about(tasks),
          ...reading,
          deadLetter: ({ wire }) => Effect.sync(() => connection.publish(deadLetters, JSON.stringify(wire)))
        }, () => Effect.die("not to be handled")),
        Stream.runDrain
      )
      const [letter] = yield* Stream.runCollect(letters.messages)
      assert.strictEqual(letter.json(), `{"id":"two"}`)
    }))

  it.effect("50,000 messages, of which every 20th does not decode: each has its one span, none is lost", () =>
    Effect.gen(function*() {
      const { connection, subject } = yield* Nats
      const [tasks, deadLetters] = [subject("tasks"), subject("dead-letters")]
      const recorder = Recorder.make()
      const ids = Array.from({ length: 50_000 }, (_, id) => id)
      const isBad = (id: number) => id % 20 === 0
      /** Of each message the context that it was created in, and its text. */
      const sent: Array<{ readonly traceparent: string; readonly payload: string }> = []

      const publish = Effect.fnUntraced(
        function*(id: number) {
          const { payload: text, ...options } = yield* carriers[id % 3 === 0 ? "_trace_context" : "MsgHdrs"]({ id })
          // Either it is cut short, which leaves a context in its headers alone, or its id is no number.
          const payload = !isBad(id)
            ? text
            : id % 3 === 1
            ? text.slice(0, -1)
            : text.replace(/"id":\d+/, `"id":"?"`)
          const { traceparent } = Option.getOrThrow(yield* currentTraceContext)
          sent.push({ traceparent: formatTraceparent(traceparent!), payload })
          connection.publish(tasks, payload, options)
        },
        (effect) => withProducerSpan(effect, about(tasks))
      )
      const consume = handleTracedStream(TaskMessage, {
        ...about(tasks),
        ...reading,
        concurrency: 16,
        deadLetter: (undecodable, message: Msg) =>
          Effect.gen(function*() {
            const letter = headers()
            letter.set("created-in", formatTraceparent(Option.getOrThrow(undecodable.traceContext).traceparent!))
            connection.publish(deadLetters, message.data, { headers: yield* injectHeaders(letter, natsCarrier) })
          })
      }, (task) => Effect.as(Effect.yieldNow, task.id))

      const { messages, subscription } = yield* subscribe(tasks)
      const letters = yield* subscribe(deadLetters)
      const [processed, dead] = yield* Effect.gen(function*() {
        const consumer = yield* messages.pipe(consume, Stream.runCollect, Effect.forkChild)
        yield* Effect.forEach(ids, publish, { discard: true })
        // What was sent before is still delivered; then the streams end.
        yield* Effect.promise(() => subscription.drain())
        const processed = yield* Fiber.join(consumer)
        yield* Effect.promise(() => letters.subscription.drain())
        return [processed, yield* Stream.runCollect(letters.messages)] as const
      }).pipe(Effect.provide(recorder.layer))

      assert.deepStrictEqual(processed, ids.filter((id) => !isBad(id)))
      const spans = recorder.spans.filter((span) => span.name === "process tasks")
      assert.strictEqual(spans.length, ids.length)
      assert.strictEqual(recorder.spans.length, 2 * ids.length)
      const processing = new Map(spans.map((span) => [span.parentSpanContext?.spanId, span]))
      for (const id of ids) {
        const [, traceId, spanId] = sent[id].traceparent.split("-")
        const span = processing.get(spanId)
        assert.strictEqual(span?.spanContext().traceId, traceId)
        assert.strictEqual(span?.attributes["error.type"], isBad(id) ? "UndecodableMessage" : undefined)
      }
      assert.strictEqual(new Set(sent.map(({ traceparent }) => traceparent.slice(0, 35))).size, ids.length)

      assert.deepStrictEqual(
        dead.map((letter) => `${letter.headers?.get("created-in")} ${letter.string()}`).toSorted(),
        ids.filter(isBad).map((id) => `${sent[id].traceparent} ${sent[id].payload}`).toSorted()
      )
      // The letters themselves were sent within the spans that have failed.
      assert.deepStrictEqual(
        dead.map((letter) => letter.headers?.get("traceparent")).toSorted(),
        spans.filter((span) => span.attributes["error.type"] !== undefined).map((span) => headersOf(span)[0]).toSorted()
      )
    }))
})
