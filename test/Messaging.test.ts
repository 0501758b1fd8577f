import { assert, describe, it } from "@effect/vitest"
import { SpanStatusCode } from "@opentelemetry/api"
import { Effect, Option, Schema } from "effect"
import {
  handleTracedMessage,
  injectTraceContext,
  type MessagingOptions,
  TracedMessage,
  UndecodableMessage,
  withConsumerSpan,
  withProducerSpan,
  withTraceContext
} from "loom-tracing"
import * as Recorder from "./support/Recorder.ts"

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"
const received = { _trace_context: { traceparent: `00-${traceId}-${spanId}-01` } }
const options = { system: "nats", destination: "tasks" }

const complete: MessagingOptions = {
  system: "kafka",
  destination: "orders.eu.7",
  template: "orders.{region}.{n}",
  messageId: "m-1",
  conversationId: "c-1",
  bodySize: 128,
  consumerGroup: "g-1"
}
const attributes = {
  "messaging.system.name": "kafka",
  "messaging.destination.name": "orders.eu.7",
  "messaging.destination.template": "orders.{region}.{n}",
  "messaging.message.id": "m-1",
  "messaging.message.conversation_id": "c-1",
  "messaging.message.body.size": 128,
  "messaging.consumer.group.name": "g-1"
}

describe("withProducerSpan", () => {
  it.effect("follows the convention", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { convention: "latest" } })
      assert.strictEqual(yield* recorder.run(withProducerSpan(Effect.succeed(1), complete)), 1)
      assert.deepStrictEqual(Recorder.summarize(recorder.spans[0]), {
        name: "send orders.{region}.{n}",
        kind: "PRODUCER",
        status: "UNSET",
        attributes: { ...attributes, "messaging.operation.name": "send", "messaging.operation.type": "send" }
      })
    }))

  it.effect("has the former name of the system beside it under Loom's convention, and the system's own verb", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(Effect.void.pipe(withProducerSpan({ ...options, operation: "publish" })))
      assert.deepStrictEqual(Recorder.summarize(recorder.spans[0]), {
        name: "publish tasks",
        kind: "PRODUCER",
        status: "UNSET",
        attributes: {
          "messaging.system.name": "nats",
          "messaging.system": "nats",
          "messaging.operation.name": "publish",
          "messaging.operation.type": "send",
          "messaging.destination.name": "tasks"
        }
      })
    }))

  it.effect("is what a message sent inside it names", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const sent = yield* recorder.run(injectTraceContext({}).pipe(withProducerSpan(options)))
      assert.include(sent._trace_context?.traceparent, recorder.spans[0].spanContext().spanId)
    }))
})

describe("withConsumerSpan", () => {
  it.effect("follows the convention, under the context of the message", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { convention: "latest" } })
      yield* recorder.run(Effect.void.pipe(withConsumerSpan(complete), withTraceContext(received)))
      const span = recorder.spans[0]
      assert.deepStrictEqual(Recorder.summarize(span), {
        name: "process orders.{region}.{n}",
        kind: "CONSUMER",
        status: "UNSET",
        attributes: { ...attributes, "messaging.operation.name": "process", "messaging.operation.type": "process" }
      })
      assert.strictEqual(span.spanContext().traceId, traceId)
      assert.strictEqual(span.parentSpanContext?.spanId, spanId)
      assert.deepStrictEqual(span.links, [])
    }))

  it.effect("links the span that was current already", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        Effect.void.pipe(withConsumerSpan(options), withTraceContext(received), Effect.withSpan("poll"))
      )
      const span = recorder.span("process tasks")
      assert.strictEqual(span.parentSpanContext?.spanId, spanId)
      assert.deepStrictEqual(span.links.map((link) => link.context.spanId), [
        recorder.span("poll").spanContext().spanId
      ])
    }))

  it.effect("relation link: a trace of its own that refers to the message's", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        Effect.void.pipe(withConsumerSpan({ ...options, relation: "link" }), withTraceContext(received))
      )
      const span = recorder.spans[0]
      assert.isUndefined(span.parentSpanContext)
      assert.notStrictEqual(span.spanContext().traceId, traceId)
      assert.deepStrictEqual(span.links.map((link) => link.context.spanId), [spanId])
    }))

  it.effect("relation link: a child of the span that was current already", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        Effect.void.pipe(
          withConsumerSpan({ ...options, relation: "link" }),
          withTraceContext(received),
          Effect.withSpan("poll")
        )
      )
      const span = recorder.span("process tasks")
      assert.strictEqual(span.parentSpanContext?.spanId, recorder.span("poll").spanContext().spanId)
      assert.deepStrictEqual(span.links.map((link) => link.context.spanId), [spanId])
    }))

  it.effect("without a context, a child of the span that is current", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(withConsumerSpan(Effect.void, options).pipe(Effect.withSpan("poll")))
      assert.strictEqual(
        recorder.span("process tasks").parentSpanContext?.spanId,
        recorder.span("poll").spanContext().spanId
      )
    }))
})

describe("handleTracedMessage", () => {
  const Task = Schema.Struct({ id: Schema.Number })
  const schema = Schema.fromJsonString(TracedMessage(Task))
  const handle = handleTracedMessage(
    schema,
    options,
    (task, message) =>
      task.id < 0 ? Effect.fail("negative" as const) : Effect.succeed([task.id, Option.isSome(message.traceContext)])
  )

  it.effect("decodes a message and handles it in a consumer span of its trace", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const result = yield* recorder.run(handle(JSON.stringify({ id: 7, ...received })))
      assert.deepStrictEqual(result, [7, true])
      assert.strictEqual(recorder.span("process tasks").parentSpanContext?.spanId, spanId)
    }))

  it.effect("a failure of the handler is that of the effect, and of the span", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const error = yield* Effect.flip(recorder.run(handle(`{"id":-1}`)))
      assert.strictEqual(error, "negative")
      assert.strictEqual(recorder.spans[0].status.code, SpanStatusCode.ERROR)
    }))

  const bytes = (text: string) => new TextEncoder().encode(text)
  for (
    const [name, codec, wire, traced] of [
      ["JSON with a bad payload", schema, JSON.stringify({ id: "x", ...received }), true],
      ["JSON of no object", schema, "[]", false],
      ["no JSON", schema, "{", false],
      ["an object with a bad payload", TracedMessage(Task), { id: "x", ...received }, true],
      ["bytes, where text was expected", schema, bytes(JSON.stringify({ id: 1, ...received })), true],
      ["bytes that are no text", schema, Uint8Array.of(0xff, 0xfe), false],
      ["undefined", schema, undefined, false]
    ] as ReadonlyArray<
      readonly [string, Schema.Codec<TracedMessage<{ readonly id: number }>, unknown>, unknown, boolean]
    >
  ) {
    it.effect(`keeps what does not decode for a dead letter: ${name}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const handle = handleTracedMessage(codec, options, () => Effect.die("not to be handled"))
        const error = yield* Effect.flip(recorder.run(handle(wire)))
        assert.instanceOf(error, UndecodableMessage)
        assert.strictEqual(error.wire, wire)
        assert.isTrue(Schema.isSchemaError(error.cause))
        assert.include(error.message, "could not be decoded")
        assert.strictEqual(
          Option.getOrUndefined(error.traceContext)?.traceparent?.spanId,
          traced ? spanId : undefined
        )
        const span = recorder.span("process tasks")
        assert.strictEqual(span.attributes["error.type"], "UndecodableMessage")
        assert.strictEqual(span.parentSpanContext?.spanId, traced ? spanId : undefined)
      }))
  }

  it.effect("with tracing off it decodes and handles all the same, and passes the context on", () =>
    Effect.gen(function*() {
      const relay = handleTracedMessage(schema, options, (task) => injectTraceContext({ id: task.id + 1 }))
      assert.deepStrictEqual(yield* relay(JSON.stringify({ id: 1, ...received })), { id: 2, ...received })
      assert.instanceOf(yield* Effect.flip(relay("{")), UndecodableMessage)
    }))
})
