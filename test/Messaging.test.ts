import { assert, describe, it } from "@effect/vitest"
import { SpanStatusCode } from "@opentelemetry/api"
import { SamplingDecision } from "@opentelemetry/sdk-trace-base"
import { Effect, Exit, Logger, Option, Schema, SchemaGetter, Tracer } from "effect"
import {
  type BatchMessage,
  extractHeaders,
  extractTraceContext,
  handleTracedMessage,
  injectTraceContext,
  type MessagingOptions,
  TracedMessage,
  UndecodableMessage,
  withBatchSpan,
  withConsumerSpan,
  withCreateSpan,
  withProducerSpan,
  withReceiveSpan,
  withRemoteContext,
  withSettleSpan,
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
  partition: "3",
  messageId: "m-1",
  conversationId: "c-1",
  bodySize: 128,
  consumerGroup: "g-1",
  subscription: "s-1",
  clientId: "worker-5",
  server: { address: "kafka.example", port: 9092 }
}
/** What a sampler may decide on. */
const startAttributes = {
  "messaging.system.name": "kafka",
  "messaging.destination.name": "orders.eu.7",
  "messaging.destination.template": "orders.{region}.{n}",
  "messaging.destination.partition.id": "3",
  "server.address": "kafka.example",
  "server.port": 9092
}
const attributes = {
  ...startAttributes,
  "messaging.message.id": "m-1",
  "messaging.message.conversation_id": "c-1",
  "messaging.message.body.size": 128,
  "messaging.consumer.group.name": "g-1",
  "messaging.destination.subscription.name": "s-1",
  "messaging.client.id": "worker-5"
}

type Combinator = (options: MessagingOptions) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const batch = (type?: "send" | "receive" | "process" | "settle"): Combinator => (options) =>
  withBatchSpan({ ...options, type, messages: [{}, {}] })

const spans: ReadonlyArray<readonly [name: string, Combinator, type: string, kind: string, count?: number]> = [
  ["withCreateSpan", withCreateSpan, "create", "PRODUCER"],
  ["withProducerSpan", withProducerSpan, "send", "PRODUCER"],
  ["withReceiveSpan", withReceiveSpan, "receive", "CLIENT"],
  ["withConsumerSpan", withConsumerSpan, "process", "CONSUMER"],
  ["withSettleSpan", withSettleSpan, "settle", "CLIENT"],
  ["withBatchSpan", batch(), "process", "CONSUMER", 2],
  ["withBatchSpan of process", batch("process"), "process", "CONSUMER", 2],
  ["withBatchSpan of send", batch("send"), "send", "CLIENT", 2],
  ["withBatchSpan of receive", batch("receive"), "receive", "CLIENT", 2],
  ["withBatchSpan of settle", batch("settle"), "settle", "CLIENT", 2]
]

describe.for(spans)("the convention: %s", ([_, withSpan, type, kind, count]) => {
  const operation = { "messaging.operation.name": type, "messaging.operation.type": type }
  const size = count === undefined ? {} : { "messaging.batch.message_count": count }

  it.effect("has the name, kind and attributes, and what a sampler decides on from the start", () =>
    Effect.gen(function*() {
      const sampled: Array<object> = []
      const recorder = Recorder.make({
        genAi: { convention: "latest" },
        sampler: {
          shouldSample: (_context, _traceId, _name, _kind, attributes) => {
            sampled.push(attributes)
            return { decision: SamplingDecision.RECORD_AND_SAMPLED }
          }
        }
      })
      assert.strictEqual(yield* recorder.run(Effect.succeed(1).pipe(withSpan(complete))), 1)
      assert.deepStrictEqual(Recorder.summarize(recorder.spans[0]), {
        name: `${type} orders.{region}.{n}`,
        kind,
        status: "UNSET",
        attributes: { ...attributes, ...operation, ...size }
      })
      assert.deepStrictEqual(sampled, [{ ...startAttributes, ...operation, ...size }])
    }))

  it.effect("has the former name of the system beside it under Loom's convention, and the system's own verb", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(Effect.void.pipe(withSpan({ ...options, operation: "verb" })))
      assert.deepStrictEqual(Recorder.summarize(recorder.spans[0]), {
        name: "verb tasks",
        kind,
        status: "UNSET",
        attributes: {
          "messaging.system.name": "nats",
          "messaging.system": "nats",
          "messaging.operation.name": "verb",
          "messaging.operation.type": type,
          "messaging.destination.name": "tasks",
          ...size
        }
      })
    }))

  it.effect("records the failure of the effect, and nothing else of it", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const error = yield* Effect.flip(recorder.run(Effect.fail({ _tag: "Refused" }).pipe(withSpan(options))))
      assert.deepStrictEqual(error, { _tag: "Refused" })
      assert.strictEqual(recorder.spans[0].attributes["error.type"], "Refused")
      assert.strictEqual(recorder.spans[0].status.code, SpanStatusCode.ERROR)
    }))

  it.effect("off, it is the effect alone", () =>
    Effect.gen(function*() {
      const span = Effect.option(Effect.currentParentSpan)
      assert.deepStrictEqual(yield* span.pipe(withSpan(complete)), Option.none())
    }))
})

describe("the name of a messaging span", () => {
  for (
    const [name, more, expected] of [
      ["a temporary destination", { temporary: true }, "send"],
      ["an anonymous destination", { anonymous: true }, "send"],
      ["a temporary destination with a template", { temporary: true, template: "inbox" }, "send inbox"],
      ["one that is neither", { temporary: false, anonymous: false }, "send tasks"]
    ] as ReadonlyArray<readonly [string, Partial<MessagingOptions>, string]>
  ) {
    it.effect(`${name}: ${expected}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(Effect.void.pipe(withProducerSpan({ ...options, ...more })))
        const span = recorder.span(expected)
        assert.strictEqual(span.attributes["messaging.destination.name"], "tasks")
        assert.strictEqual(span.attributes["messaging.destination.temporary"], more.temporary || undefined)
        assert.strictEqual(span.attributes["messaging.destination.anonymous"], more.anonymous || undefined)
      }))
  }
})

describe("withProducerSpan", () => {
  it.effect("is what a message sent inside it names", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const sent = yield* recorder.run(injectTraceContext({}).pipe(withProducerSpan(options)))
      assert.include(sent._trace_context?.traceparent, recorder.spans[0].spanContext().spanId)
    }))

  it.effect("of a message with a context of its own: a client span that links to it", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const traceContext = yield* extractTraceContext(received)
      yield* recorder.run(Effect.void.pipe(withProducerSpan({ ...options, traceContext })))
      yield* recorder.run(Effect.void.pipe(withProducerSpan({ ...options, traceContext: Option.none() })))
      assert.deepStrictEqual(recorder.spans.map((span) => [Recorder.summarize(span).kind, spanIdsOf(span.links)]), [
        ["CLIENT", [spanId]],
        ["PRODUCER", []]
      ])
    }))
})

/** Options of which one cannot be read. */
const throwing = <K extends string>(key: K): MessagingOptions & Record<K, never> =>
  Object.defineProperty({ ...options }, key, {
    get: () => {
      throw new Error("hands off")
    }
  }) as never

const spanIdsOf = (links: ReadonlyArray<{ readonly context: { readonly spanId: string } }>) =>
  links.map((link) => link.context.spanId)

describe("withReceiveSpan", () => {
  const pulled = [
    { id: 1, ...received },
    { id: 2 },
    { id: 3, _trace_context: { traceparent: `00-${traceId}-00000000000000aa-00`, tracestate: "a=b" } }
  ]

  it.effect("links to what was received, and counts it", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const messages = yield* recorder.run(
        Effect.succeed(pulled).pipe(withReceiveSpan({
          ...options,
          messages: (batch) => batch.map((message) => ({ ...message, messageId: `m-${message.id}` }))
        }))
      )
      assert.strictEqual(messages, pulled)
      const span = recorder.span("receive tasks")
      assert.strictEqual(span.attributes["messaging.batch.message_count"], 3)
      assert.deepStrictEqual(
        span.links.map(({ attributes, context }) => [context.spanId, context.traceState?.serialize(), attributes]),
        [
          [spanId, undefined, { "messaging.message.id": "m-1" }],
          ["00000000000000aa", "a=b", { "messaging.message.id": "m-3" }]
        ]
      )
    }))

  it.effect("counts none, and counts nothing when the pull has failed", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const messages = (batch: ReadonlyArray<BatchMessage>) => batch
      yield* recorder.run(withReceiveSpan(Effect.succeed([]), { ...options, messages }))
      yield* recorder.run(Effect.ignore(withReceiveSpan(Effect.fail("no"), { ...options, messages })))
      assert.deepStrictEqual(
        recorder.spans.map((span) => span.attributes["messaging.batch.message_count"]),
        [0, undefined]
      )
    }))

  it.effect("a messages option that throws changes nothing", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const messages = (): never => {
        throw new Error("broken")
      }
      assert.strictEqual(yield* recorder.run(withReceiveSpan(Effect.succeed(1), { ...options, messages })), 1)
      assert.strictEqual(recorder.span("receive tasks").status.code, SpanStatusCode.UNSET)
    }))

  it("keeps the type of the effect", () => {
    // Compiling is the test.
    const pull: Effect.Effect<ReadonlyArray<{ readonly id: number }>, "no"> = Effect.succeed([{ id: 1 }])
    const stored = withReceiveSpan({ ...options, messages: (batch: ReadonlyArray<BatchMessage>) => batch })
    const piped: typeof pull = pull.pipe(withReceiveSpan({ ...options, messages: (batch) => batch.map(() => ({})) }))
    const first: typeof pull = withReceiveSpan(pull, { ...options, messages: (batch) => batch.map(() => ({})) })
    const plain: typeof pull = pull.pipe(withReceiveSpan(options))
    const wider: Effect.Effect<Array<{ readonly messageId: string }>> = Effect.succeed([{ messageId: "1" }]).pipe(
      stored
    )
    assert.isTrue([piped, first, plain, wider].every(Effect.isEffect))
  })
})

describe("withBatchSpan", () => {
  it.effect("links to each message, with what is to be said of it alone", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { convention: "latest" } })
      const decoded = yield* Schema.decodeUnknownEffect(TracedMessage(Schema.Struct({ id: Schema.Int })))({
        id: 1,
        _trace_context: { traceparent: `00-${traceId}-00000000000000aa-00` }
      })
      const thrower: BatchMessage = {
        get traceContext(): never {
          throw new Error("hands off")
        }
      }
      const messages: ReadonlyArray<BatchMessage> = [
        { ...received, messageId: "m-1", conversationId: "c-1", bodySize: 5, destination: "tasks.a", partition: "7" },
        decoded,
        { messageId: "without a context" },
        thrower,
        { traceContext: { traceparent: { traceId, spanId: "00000000000000bb", traceFlags: 1 } } },
        { traceContext: { baggage: [{ key: "a", value: "1" }] } },
        { traceContext: { traceparent: { traceId: "0".repeat(32), spanId: "00000000000000cc", traceFlags: 1 } } }
      ]
      yield* recorder.run(Effect.void.pipe(withBatchSpan({ ...options, messages })))
      const span = recorder.span("process tasks")
      assert.strictEqual(span.attributes["messaging.batch.message_count"], 7)
      assert.deepStrictEqual(span.links.map(({ attributes, context }) => [context.spanId, attributes ?? {}]), [
        [spanId, {
          "messaging.message.id": "m-1",
          "messaging.message.conversation_id": "c-1",
          "messaging.message.body.size": 5,
          "messaging.destination.name": "tasks.a",
          "messaging.destination.partition.id": "7"
        }],
        ["00000000000000aa", {}],
        ["00000000000000bb", {}]
      ])
    }))

  for (const relation of ["parent", "link"] as const) {
    it.effect(`has a span for each message inside, by relation: ${relation}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const messages = ["aa", "bb"].map((id) => ({
          id,
          _trace_context: { traceparent: `00-${traceId}-00000000000000${id}-01` }
        }))
        const run = Effect.forEach(messages, (message) =>
          Effect.withSpan(Effect.void, "work").pipe(
            withConsumerSpan({ ...options, operation: `handle ${message.id}`, relation }),
            withTraceContext(message)
          ))
        yield* recorder.run(run.pipe(withBatchSpan({ ...options, messages })))
        const batch = recorder.span("process tasks")
        assert.strictEqual(batch.attributes["messaging.batch.message_count"], 2)
        assert.deepStrictEqual(spanIdsOf(batch.links), ["00000000000000aa", "00000000000000bb"])
        for (const { id } of messages) {
          const span = recorder.span(`handle ${id} tasks`)
          const creation = `00000000000000${id}`
          const ids = [span.parentSpanContext?.spanId, spanIdsOf(span.links)]
          assert.deepStrictEqual(
            ids,
            relation === "parent"
              ? [creation, [batch.spanContext().spanId]]
              : [batch.spanContext().spanId, [creation]]
          )
          assert.strictEqual(span.spanContext().traceId === traceId, relation === "parent")
        }
        assert.strictEqual(recorder.spans.filter((span) => span.name === "work").length, 2)
      }))
  }

  it.effect("with options that cannot be read costs the span, and is reported once", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const logs: Array<unknown> = []
      const logger = Logger.make(({ message }) => logs.push(message))
      const spans = [{ ...options }, throwing("type"), throwing("messages")].map((broken) =>
        withBatchSpan(broken as never)
      )
      const result = yield* recorder.run(Effect.all(spans.map((span, index) => span(Effect.succeed(index))))).pipe(
        Effect.provide(Logger.layer([logger]))
      )
      assert.deepStrictEqual(result, [0, 1, 2])
      assert.lengthOf(recorder.spans, 0)
      assert.lengthOf(logs, 1)
      assert.match(String(logs[0]), /options of a span could not be read.*TypeError/)
    }))

  it.effect("sends what create spans have made", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(Effect.gen(function*() {
        const messages = yield* Effect.forEach([1, 2], (id) => injectTraceContext({ id }).pipe(withCreateSpan(options)))
        yield* Effect.void.pipe(withBatchSpan({ ...options, type: "send", messages }))
      }))
      const created = recorder.spans.filter((span) => span.name === "create tasks")
      assert.deepStrictEqual(
        spanIdsOf(recorder.span("send tasks").links),
        created.map((span) => span.spanContext().spanId)
      )
    }))
})

describe("withConsumerSpan", () => {
  it.effect("is in the trace of the message", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(Effect.void.pipe(withConsumerSpan(options), withTraceContext(received)))
      const span = recorder.span("process tasks")
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

  it.effect("links it from inside one context in another, too", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const around = { _trace_context: { traceparent: `00-${traceId}-00000000000000aa-01` } }
      yield* recorder.run(
        Effect.void.pipe(
          withConsumerSpan(options),
          withTraceContext(received),
          withTraceContext(around),
          Effect.withSpan("poll")
        )
      )
      const span = recorder.span("process tasks")
      assert.strictEqual(span.parentSpanContext?.spanId, spanId)
      assert.deepStrictEqual(spanIdsOf(span.links), [recorder.span("poll").spanContext().spanId])
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

  it.effect("relation link: to no span that there cannot be", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const traceContext = { traceparent: { traceId: "abcd1234", spanId: "ff00", traceFlags: 1 } }
      yield* recorder.run(
        Effect.void.pipe(withConsumerSpan({ ...options, relation: "link" }), withRemoteContext(traceContext))
      )
      assert.deepStrictEqual(recorder.spans.map(({ links, parentSpanContext }) => ({ links, parentSpanContext })), [
        { links: [], parentSpanContext: undefined }
      ])
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

  for (const relation of ["parent", "link"] as const) {
    it.effect(`without a context, a child of the span that is current (relation: ${relation})`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(withConsumerSpan(Effect.void, { ...options, relation }).pipe(Effect.withSpan("poll")))
        assert.strictEqual(
          recorder.span("process tasks").parentSpanContext?.spanId,
          recorder.span("poll").spanContext().spanId
        )
      }))
  }
})

describe("options that throw where they are read cost the span, and nothing else", () => {
  for (
    const [name, span] of [
      ["withProducerSpan", withProducerSpan(throwing("traceContext"))],
      ["withCreateSpan", withCreateSpan(throwing("destination"))],
      ["withConsumerSpan", withConsumerSpan(throwing("relation"))],
      ["withReceiveSpan", withReceiveSpan(throwing("messages"))],
      ["withSettleSpan", withSettleSpan(throwing("operation"))]
    ] as const
  ) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const result = yield* recorder.run(span(Effect.succeed(1)).pipe(withTraceContext(received)))
        assert.deepStrictEqual([result, recorder.spans.length], [1, 0])
      }))
  }
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

  interface Raw {
    readonly headers?: Record<string, string>
    readonly text: string
    readonly id: string
  }
  const raw: Raw = { headers: { Traceparent: received._trace_context.traceparent }, text: `{"id":1}`, id: "m-1" }

  it.effect("reads what, whence and who as it is told", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const handle = handleTracedMessage(schema, {
        ...options,
        wire: (raw: Raw) => raw.text,
        traceContext: (raw) => extractHeaders(raw.headers),
        describe: (raw) => ({ messageId: raw.id, bodySize: raw.text.length })
      }, (task, message, raw) => Effect.succeed([task.id, message.traceContext, raw.id] as const))
      const [id, traceContext, messageId] = yield* recorder.run(handle(raw))
      assert.deepStrictEqual([id, messageId], [1, "m-1"])
      assert.deepStrictEqual(traceContext, yield* extractHeaders(raw.headers))
      const span = recorder.span("process tasks")
      assert.strictEqual(span.parentSpanContext?.spanId, spanId)
      assert.strictEqual(span.attributes["messaging.message.id"], "m-1")
      assert.strictEqual(span.attributes["messaging.message.body.size"], 8)
    }))

  it.effect("a context in the headers is that of what decoding does, too", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const Looked = Schema.NumberFromString.pipe(
        Schema.decodeTo(Schema.Number, {
          decode: SchemaGetter.transformEffect((id: number) => Effect.succeed(id).pipe(Effect.withSpan("look up"))),
          encode: SchemaGetter.passthrough()
        })
      )
      const handle = handleTracedMessage(TracedMessage(Schema.Struct({ id: Looked })), {
        ...options,
        wire: () => ({ id: "1" }),
        traceContext: (raw: Raw) => extractHeaders(raw.headers)
      }, (task) => Effect.succeed(task.id))
      assert.strictEqual(yield* recorder.run(handle(raw)), 1)
      assert.strictEqual(
        recorder.span("look up").parentSpanContext?.spanId,
        recorder.span("process tasks").spanContext().spanId
      )
    }))

  for (
    const [name, traceContext] of [
      ["in the message", undefined],
      ["in the headers", (raw: Raw) => extractHeaders(raw.headers)]
    ] as const
  ) {
    it.effect(`a defect in a schema stays what it is, in a span of the trace of the context ${name}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const defect = new RangeError("broken schema")
        const Broken = Schema.String.pipe(
          Schema.decodeTo(Schema.String, {
            decode: SchemaGetter.transform((): string => {
              throw defect
            }),
            encode: SchemaGetter.passthrough()
          })
        )
        const handle = handleTracedMessage(TracedMessage(Schema.Struct({ id: Broken })), {
          ...options,
          wire: () => ({ id: "1", ...(traceContext === undefined ? received : undefined) }),
          traceContext
        }, () => Effect.void)
        const exit = yield* Effect.exit(recorder.run(handle(raw)))
        assert.deepStrictEqual(exit, Exit.die(defect))
        const span = recorder.span("process tasks")
        assert.strictEqual(span.parentSpanContext?.spanId, spanId)
        assert.strictEqual(span.attributes["error.type"], "RangeError")
        assert.strictEqual(span.status.code, SpanStatusCode.ERROR)
      }))
  }

  it.effect("headers beat the context in the payload, which serves where there are none", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const text = JSON.stringify({ id: 1, _trace_context: { traceparent: `00-${traceId}-00000000000000aa-01` } })
      const handle = handleTracedMessage(schema, {
        ...options,
        wire: (raw: Raw) => raw.text,
        traceContext: (raw) => extractHeaders(raw.headers)
      }, () => Effect.void)
      yield* recorder.run(handle({ ...raw, text }))
      yield* recorder.run(handle({ text, id: "m-2" }))
      assert.deepStrictEqual(recorder.spans.map((span) => span.parentSpanContext?.spanId), [spanId, "00000000000000aa"])
    }))

  it.effect("the context in the headers of what does not decode is kept", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const handle = handleTracedMessage(schema, {
        ...options,
        wire: (raw: Raw): unknown => JSON.parse(raw.text),
        traceContext: (raw) => extractHeaders(raw.headers)
      }, () => Effect.die("not to be handled"))
      for (const text of ["{", "[]"]) {
        const error = yield* Effect.flip(recorder.run(handle({ ...raw, text })))
        assert.deepStrictEqual(error.traceContext, yield* extractHeaders(raw.headers))
        assert.include(error.message, "could not be decoded")
      }
      assert.deepStrictEqual(recorder.spans.map((span) => span.parentSpanContext?.spanId), [spanId, spanId])
    }))

  it.effect("what does not decode is kept as it was to be decoded, and whole where its wire cannot be had", () =>
    Effect.gen(function*() {
      for (const traceContext of [undefined, (raw: Raw) => extractHeaders(raw.headers)]) {
        const handle = handleTracedMessage(TracedMessage(Schema.Struct({ id: Schema.Number })), {
          ...options,
          wire: (raw: Raw): unknown => JSON.parse(raw.text),
          traceContext
        }, () => Effect.die("not to be handled"))
        const [decodable, broken] = [{ ...raw, text: `{"id":"x"}` }, { ...raw, text: "{" }]
        assert.deepStrictEqual((yield* Effect.flip(handle(decodable))).wire, { id: "x" })
        assert.strictEqual((yield* Effect.flip(handle(broken))).wire, broken)
      }
    }))

  for (const [name, thrown] of [["an error", new Error("no text")], ["a text", "no text"]] as const) {
    it.effect(`where the wire cannot be had, the message says why: ${name} is thrown`, () =>
      Effect.gen(function*() {
        const wire = (): never => {
          throw thrown
        }
        const handle = handleTracedMessage(schema, { ...options, wire }, () => Effect.die("not to be handled"))
        assert.strictEqual((yield* Effect.flip(handle({}))).cause.message, "no text")
      }))
  }

  for (const relation of ["parent", "link"] as const) {
    it.effect(`the span of a message is no other where its context is continued already (relation: ${relation})`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const handle = handleTracedMessage(schema, { ...options, relation }, () => Effect.void)
        const parent = Tracer.externalSpan({ traceId, spanId, sampled: true })
        yield* recorder.run(
          handle(JSON.stringify({ id: 7, ...received })).pipe(Effect.withSpan("server", { parent }))
        )
        const ids = [spanId, recorder.span("server").spanContext().spanId]
        const { links, parentSpanContext } = recorder.span("process tasks")
        assert.deepStrictEqual(
          [parentSpanContext?.spanId, ...links.map((link) => link.context.spanId)],
          relation === "parent" ? ids : ids.toReversed()
        )
      }))
  }

  for (const [name, answer] of [["no effect", undefined], ["an effect of no option", Effect.void]]) {
    it.effect(`a traceContext option that answers with ${name} answers with no context`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const traceContext = () => answer as never
        const handle = handleTracedMessage(schema, { ...options, traceContext }, (task) => Effect.succeed(task.id))
        assert.strictEqual(yield* recorder.run(handle(JSON.stringify({ id: 7, ...received }))), 7)
        assert.strictEqual(recorder.span("process tasks").parentSpanContext?.spanId, spanId)
      }))
  }

  it.effect("options that throw cost what they would have said, and nothing else", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const broken = (): never => {
        throw new Error("broken")
      }
      const handle = handleTracedMessage(schema, { ...options, traceContext: broken, describe: broken }, (task) =>
        Effect.succeed(task.id))
      const wire = JSON.stringify({ id: 7, ...received })
      for (const times of [1, 2]) {
        assert.strictEqual(yield* recorder.run(handle(wire)), 7)
        assert.deepStrictEqual(
          recorder.spans.map(({ parentSpanContext, status }) => [parentSpanContext?.spanId, status.code]),
          Array.from({ length: times }, () => [spanId, SpanStatusCode.UNSET])
        )
      }
    }))
})
