/**
 * Spans for messages: where they are made, sent, received, processed and
 * settled, after OpenTelemetry's messaging semantic conventions.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { dual, identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Stream from "effect/Stream"
import type * as Tracer from "effect/Tracer"
import { contextOf, inRemoteContext, readTraceContext, type TRACE_CONTEXT_KEY } from "./Carrier.ts"
import { GenAiSettings } from "./GenAiSettings.ts"
import { isTracingOff } from "./internal/off.ts"
import { reportOnce } from "./internal/reportOnce.ts"
import * as semconv from "./internal/semconv.ts"
import { setAttribute, type SpanSpec, tracedBy } from "./internal/span.ts"
import { AmbientSpan, propagatedSpan, toLinkedSpan } from "./internal/spanContext.ts"
import type { Attributes } from "./internal/startAttributes.ts"
import type { RemoteContext } from "./TraceContext.ts"
import type { TracedMessage } from "./TracedMessage.ts"

// =============================================================================
// Models
// =============================================================================

/**
 * What a messaging span says of its message.
 *
 * @category options
 * @since 0.1.0
 */
export interface MessagingOptions {
  /** The messaging system, such as `nats`, `kafka` or `rabbitmq`. */
  readonly system: string
  /** The queue, topic or subject. */
  readonly destination: string
  /** The pattern that the destination was made from, when its name has many values. It names the span. */
  readonly template?: string | undefined
  /** The destination was made for a while, as the inbox of a request is. Its name is not that of the span. */
  readonly temporary?: boolean | undefined
  /** The destination has no name, or one that the broker has made up. Its name is not that of the span. */
  readonly anonymous?: boolean | undefined
  readonly partition?: string | undefined
  /** The system's own verb. Default: that of the convention, such as `send` for a producer. */
  readonly operation?: string | undefined
  readonly messageId?: string | undefined
  /** The correlation id of a request and its reply. */
  readonly conversationId?: string | undefined
  /** Bytes. */
  readonly bodySize?: number | undefined
  readonly consumerGroup?: string | undefined
  readonly subscription?: string | undefined
  readonly clientId?: string | undefined
  /** The broker. */
  readonly server?: { readonly address: string; readonly port?: number | undefined } | undefined
  /**
   * How a consumer span refers to the context in which its message was created:
   * as its parent (the default, so that one trace shows the whole flow), or by a
   * link, as the specification does by default.
   */
  readonly relation?: "parent" | "link" | undefined
}

/**
 * One of several messages that are handled together: where it comes from, and
 * what is to be said of it alone.
 *
 * **Details**
 *
 * A decoded `TracedMessage` is one, and so is a message that carries its
 * `_trace_context`.
 *
 * @category options
 * @since 0.1.0
 */
export interface BatchMessage
  extends Partial<Pick<MessagingOptions, "destination" | "partition" | "messageId" | "conversationId" | "bodySize">>
{
  /** The context in which it was created. */
  readonly traceContext?: RemoteContext | Option.Option<RemoteContext> | undefined
  /** That context, as the message carries it. */
  readonly [TRACE_CONTEXT_KEY]?: unknown
}

/**
 * The options of a span for a message that is sent.
 *
 * @category options
 * @since 0.1.0
 */
export interface ProducerOptions extends MessagingOptions {
  /** The context that the message carries, when that was created before and elsewhere. */
  readonly traceContext?: RemoteContext | Option.Option<RemoteContext> | undefined
}

/**
 * The options of a span for messages that are fetched.
 *
 * @category options
 * @since 0.1.0
 */
export interface ReceiveOptions<A> extends MessagingOptions {
  /** The messages in what the effect returns: the span links to each, and counts them. */
  readonly messages?: ((value: A) => ReadonlyArray<BatchMessage>) | undefined
}

/**
 * The options of a span for several messages at once.
 *
 * @category options
 * @since 0.1.0
 */
export interface BatchOptions extends MessagingOptions {
  readonly messages: ReadonlyArray<BatchMessage>
  /** What is done with them. Default: `process`. */
  readonly type?: "send" | "receive" | "process" | "settle" | undefined
}

/**
 * The options of a handler of raw messages.
 *
 * @category options
 * @since 0.1.0
 */
export interface HandlerOptions<M> extends MessagingOptions {
  /** What of a raw message is decoded. Default: all of it. What it throws makes the message undecodable. */
  readonly wire?: ((raw: M) => unknown) | undefined
  /** Reads a context that a message carries in its headers. It beats the one in what is decoded. */
  readonly traceContext?: ((raw: M) => Effect.Effect<Option.Option<RemoteContext>>) | undefined
  /** What the span is to say of this one message, such as its id. */
  readonly describe?: ((raw: M) => Partial<MessagingOptions>) | undefined
}

/**
 * The options of a handler of a stream of raw messages.
 *
 * @category options
 * @since 0.1.0
 */
export interface StreamHandlerOptions<M, E, R> extends HandlerOptions<M> {
  /**
   * Takes a message that does not decode, and the raw message as it arrived. It runs in the span that has failed; what it
   * fails with, the stream does.
   */
  readonly deadLetter: (undecodable: UndecodableMessage, raw: M) => Effect.Effect<unknown, E, R>
  /** How many messages are handled at once. Default: 1. */
  readonly concurrency?: number | "unbounded" | undefined
  /** Whether results come as they are ready. Default: in the order of their messages. */
  readonly unordered?: boolean | undefined
}

/**
 * A message whose payload does not decode: everything that a dead-letter queue
 * wants to keep.
 *
 * **Example** (Keeping what does not decode)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { handleTracedMessage, TracedMessage } from "loom-tracing"
 *
 * const Task = Schema.Struct({ id: Schema.Number })
 * const handle = handleTracedMessage(TracedMessage(Task), { system: "nats", destination: "tasks" }, Effect.succeed)
 *
 * const outcome = handle({ id: "one" }).pipe(
 *   Effect.catchTag("UndecodableMessage", ({ message, wire }) =>
 *     Effect.succeed({ wire, reason: message.split("\n")[1] }))
 * )
 *
 * Effect.runSync(outcome) // => { wire: { id: "one" }, reason: "  at [\"id\"]" }
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class UndecodableMessage extends Data.TaggedError("UndecodableMessage")<{
  /** What was to be decoded: what the `wire` option gave; the raw message without that option, or where it threw. */
  readonly wire: unknown
  /** The trace context that could be read from it. */
  readonly traceContext: Option.Option<RemoteContext>
  /** What is wrong with it, with the paths of the wire. */
  readonly cause: Schema.SchemaError
}> {
  override get message(): string {
    return `The message could not be decoded: ${this.cause.message}`
  }
}

// =============================================================================
// Spans
// =============================================================================

type OperationType = "create" | "send" | "receive" | "process" | "settle"

const KINDS: Record<OperationType, Tracer.SpanKind> = {
  create: "producer",
  send: "producer",
  receive: "client",
  process: "consumer",
  settle: "client"
}

const startAttributes = (options: MessagingOptions, type: OperationType): Attributes => {
  const start: Attributes = {
    [semconv.MESSAGING_SYSTEM_NAME]: options.system,
    [semconv.MESSAGING_OPERATION_NAME]: options.operation ?? type,
    [semconv.MESSAGING_OPERATION_TYPE]: type,
    [semconv.MESSAGING_DESTINATION_NAME]: options.destination
  }
  if (options.template !== undefined) start[semconv.MESSAGING_DESTINATION_TEMPLATE] = options.template
  if (options.temporary === true) start[semconv.MESSAGING_DESTINATION_TEMPORARY] = true
  if (options.anonymous === true) start[semconv.MESSAGING_DESTINATION_ANONYMOUS] = true
  if (options.partition !== undefined) start[semconv.MESSAGING_DESTINATION_PARTITION_ID] = options.partition
  if (options.server !== undefined) {
    start[semconv.SERVER_ADDRESS] = options.server.address
    if (options.server.port !== undefined) start[semconv.SERVER_PORT] = options.server.port
  }
  return start
}

const writeMessage = (
  span: Tracer.Span,
  options: MessagingOptions,
  fiber: Fiber.Fiber<unknown, unknown>
): undefined => {
  if (Context.get(fiber.context, GenAiSettings).convention === "loom") {
    setAttribute(span, semconv.MESSAGING_SYSTEM, options.system)
  }
  setAttribute(span, semconv.MESSAGING_MESSAGE_ID, options.messageId)
  setAttribute(span, semconv.MESSAGING_MESSAGE_CONVERSATION_ID, options.conversationId)
  setAttribute(span, semconv.MESSAGING_MESSAGE_BODY_SIZE, options.bodySize)
  setAttribute(span, semconv.MESSAGING_CONSUMER_GROUP_NAME, options.consumerGroup)
  setAttribute(span, semconv.MESSAGING_DESTINATION_SUBSCRIPTION_NAME, options.subscription)
  setAttribute(span, semconv.MESSAGING_CLIENT_ID, options.clientId)
}

/** A name that differs from one destination to the next would tell a backend nothing. */
const spanName = (options: MessagingOptions, type: OperationType): string => {
  const operation = options.operation ?? type
  if (options.template !== undefined) return `${operation} ${options.template}`
  return options.temporary === true || options.anonymous === true ? operation : `${operation} ${options.destination}`
}

const messagingSpec = <A, E>(
  fiber: Fiber.Fiber<unknown, unknown>,
  options: MessagingOptions,
  type: OperationType
): SpanSpec<A, E> => ({
  name: spanName(options, type),
  kind: KINDS[type],
  start: startAttributes(options, type),
  begin: (span) => writeMessage(span, options, fiber)
})

/** What is to be known of the span beside the usual is read by `more`, since options may throw where they are read. */
const messagingSpan = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  fiber: Fiber.Fiber<unknown, unknown>,
  options: MessagingOptions,
  type: OperationType,
  more?: () => Partial<SpanSpec<A, E>> | undefined
): Effect.Effect<A, E, R> => tracedBy(fiber, self, () => ({ ...messagingSpec(fiber, options, type), ...more?.() }))

/** The link to the context of a message, with what is to be said of it. */
const linkOf = (message: BatchMessage): Tracer.SpanLink | undefined => {
  // A message may be a hostile object, as in `injectTraceContext`.
  try {
    const { traceContext } = message
    const span = toLinkedSpan(contextOf(traceContext ?? readTraceContext(message)))
    return span === undefined ? undefined : { span, attributes: linkAttributes(message) }
  } catch {
    return undefined
  }
}

const linkAttributes = (message: BatchMessage): Attributes => {
  const attributes: Attributes = {}
  if (message.destination !== undefined) attributes[semconv.MESSAGING_DESTINATION_NAME] = message.destination
  if (message.partition !== undefined) attributes[semconv.MESSAGING_DESTINATION_PARTITION_ID] = message.partition
  if (message.messageId !== undefined) attributes[semconv.MESSAGING_MESSAGE_ID] = message.messageId
  if (message.conversationId !== undefined) {
    attributes[semconv.MESSAGING_MESSAGE_CONVERSATION_ID] = message.conversationId
  }
  if (message.bodySize !== undefined) attributes[semconv.MESSAGING_MESSAGE_BODY_SIZE] = message.bodySize
  return attributes
}

const linksOf = (messages: ReadonlyArray<BatchMessage>): ReadonlyArray<Tracer.SpanLink> =>
  messages.map(linkOf).filter(Predicate.isNotUndefined)

/**
 * Runs an effect inside a span for a message that it sends.
 *
 * **When to use**
 *
 * Use around the injection and the sending of a message: what is injected
 * inside names this span, so that the consumer's span hangs under it.
 *
 * **Details**
 *
 * Kind `PRODUCER`, named `{operation} {destination}`, the operation being
 * `send` unless you say otherwise. A message that keeps a context of its own,
 * given as `traceContext`, is linked, and the kind is `CLIENT`.
 *
 * **Example** (Publishing)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { injectTraceContext, withProducerSpan } from "loom-tracing"
 *
 * const sent: Array<object> = []
 * const publish = (message: { readonly id: number }) =>
 *   injectTraceContext(message).pipe(
 *     Effect.flatMap((message) => Effect.sync(() => sent.push(message))),
 *     withProducerSpan({ system: "nats", destination: "tasks", operation: "publish" })
 *   )
 *
 * Effect.runSync(publish({ id: 1 })) // => 1
 * ```
 *
 * @see {@link withCreateSpan} for messages that are made one by one and sent together
 *
 * @category combinators
 * @since 0.1.0
 */
export const withProducerSpan: {
  (options: ProducerOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: ProducerOptions): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: ProducerOptions): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => {
      if (isTracingOff(fiber)) return self
      return messagingSpan(self, fiber, options, "send", () => {
        const { traceContext } = options
        const created = traceContext === undefined ? undefined : linkOf({ traceContext })
        return created === undefined ? undefined : { kind: "client", links: [created] }
      })
    })
)

/**
 * Runs an effect inside a span for a message that it makes but does not send.
 *
 * **When to use**
 *
 * Use for each message of a batch, around its injection; then send them inside
 * `withBatchSpan`, which links to them.
 *
 * **Details**
 *
 * Kind `PRODUCER`, named `create {destination}`.
 *
 * **Example** (Sending a batch)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { injectTraceContext, withBatchSpan, withCreateSpan } from "loom-tracing"
 *
 * const kafka = { system: "kafka", destination: "orders" }
 * const sendAll = (messages: ReadonlyArray<object>) => Effect.succeed(messages.length)
 *
 * const send = Effect.gen(function*() {
 *   const messages = yield* Effect.forEach(
 *     [{ order: 1 }, { order: 2 }],
 *     (message) => injectTraceContext(message).pipe(withCreateSpan(kafka))
 *   )
 *   return yield* sendAll(messages).pipe(withBatchSpan({ ...kafka, type: "send", messages }))
 * })
 *
 * Effect.runSync(send) // => 2
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withCreateSpan: {
  (options: MessagingOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: MessagingOptions): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: MessagingOptions): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => isTracingOff(fiber) ? self : messagingSpan(self, fiber, options, "create"))
)

/**
 * Runs an effect inside a span for a message that it processes.
 *
 * **When to use**
 *
 * Use inside `withTraceContext`, which says where the message comes from. For
 * messages with a schema, `handleTracedMessage` does both.
 *
 * **Details**
 *
 * Kind `CONSUMER`, named `{operation} {destination}`, the operation being
 * `process` unless you say otherwise. The span is a child of the context in
 * which the message was created; a span that was current already is linked. With
 * `relation: "link"` it is the other way round, which keeps a long-lived
 * consumer's own trace whole. Inside a span that `withTraceContext` keeps,
 * since it continues that context already, it is a child of that, without a link.
 *
 * **Example** (Processing)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withConsumerSpan, withTraceContext } from "loom-tracing"
 *
 * const process = (message: { readonly id: number }) =>
 *   Effect.succeed(message.id * 2).pipe(
 *     withConsumerSpan({ system: "nats", destination: "tasks" }),
 *     withTraceContext(message)
 *   )
 *
 * Effect.runSync(process({ id: 21 })) // => 42
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withConsumerSpan: {
  (options: MessagingOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: MessagingOptions): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: MessagingOptions): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => isTracingOff(fiber) ? self : consumerSpan(self, fiber, options))
)

const consumerSpan = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  fiber: Fiber.Fiber<unknown, unknown>,
  options: MessagingOptions
): Effect.Effect<A, E, R> =>
  messagingSpan(self, fiber, options, "process", () => {
    const creation = fiber.cache.span?._tag === "ExternalSpan" ? fiber.cache.span : undefined
    const ambient = creation === undefined
      ? undefined
      : propagatedSpan(Context.getOrUndefined(creation.annotations, AmbientSpan))
    const linksCreation = options.relation === "link" && creation !== undefined
    // A context that was made by hand may name no span that there can be.
    const linked = linksCreation ? propagatedSpan(creation) : ambient
    return {
      ...(linked === undefined ? undefined : { links: [{ span: linked, attributes: {} }] }),
      ...(linksCreation ? ambient === undefined ? { root: true } : { parent: ambient } : undefined)
    }
  })

const withReceiveSpanOptions = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  options: ReceiveOptions<A>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    if (isTracingOff(fiber)) return self
    return messagingSpan(self, fiber, options, "receive", () => {
      const { messages } = options
      return messages === undefined ? undefined : {
        finish: (span, exit) => exit._tag === "Success" ? writeReceived(span, messages, exit.value) : undefined
      }
    })
  })

const writeReceived = <A>(
  span: Tracer.Span,
  messages: (value: A) => ReadonlyArray<BatchMessage>,
  value: A
): Effect.Effect<void> | undefined => {
  try {
    const received = messages(value)
    span.attribute(semconv.MESSAGING_BATCH_MESSAGE_COUNT, received.length)
    span.addLinks(linksOf(received))
    return undefined
  } catch (error) {
    return reportOnce(messages, "The messages option of withReceiveSpan has thrown, so they are not linked", error)
  }
}

/**
 * Runs an effect inside a span for messages that it fetches from a broker.
 *
 * **When to use**
 *
 * Use around a pull, not around the wait of a subscription.
 *
 * **Details**
 *
 * Kind `CLIENT`, named `{operation} {destination}`, the operation being
 * `receive` unless you say otherwise. With `messages`, the span links to the
 * context of each and counts them; none is a count too.
 *
 * **Example** (Pulling a batch)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withReceiveSpan } from "loom-tracing"
 *
 * const pull = Effect.succeed([{ id: 1, _trace_context: {} }, { id: 2 }])
 * const receive = pull.pipe(
 *   withReceiveSpan({ system: "aws.sqs", destination: "tasks", messages: (batch) => batch })
 * )
 *
 * Effect.runSync(receive).length // => 2
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
// One signature that is generic over the options would narrow the effect's type to that of the callback.
export const withReceiveSpan: {
  (options: MessagingOptions & { readonly messages?: undefined }): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A>(options: ReceiveOptions<NoInfer<A>>): <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <B>(options: ReceiveOptions<B>): <A extends B, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: ReceiveOptions<NoInfer<A>>): Effect.Effect<A, E, R>
} = dual(2, withReceiveSpanOptions)

/**
 * Runs an effect inside a span for the acknowledgement or rejection of a
 * message.
 *
 * **Details**
 *
 * Kind `CLIENT`, named `{operation} {destination}`, the operation being
 * `settle` unless you say otherwise: `ack`, `nack`, `commit`.
 *
 * **Example** (Acknowledging)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withSettleSpan } from "loom-tracing"
 *
 * const ack = Effect.succeed("acknowledged").pipe(
 *   withSettleSpan({ system: "rabbitmq", destination: "tasks", operation: "ack" })
 * )
 *
 * Effect.runSync(ack) // => "acknowledged"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withSettleSpan: {
  (options: MessagingOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: MessagingOptions): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: MessagingOptions): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => isTracingOff(fiber) ? self : messagingSpan(self, fiber, options, "settle"))
)

/**
 * Runs an effect inside one span for several messages.
 *
 * **When to use**
 *
 * Use where messages are processed, sent or settled together. Inside it each
 * message can have a span of its own, by `withConsumerSpan`.
 *
 * **Details**
 *
 * Kind `CONSUMER` for `process`, else `CLIENT`. The span links to the context
 * of each message; the link says what is said of that message alone. The
 * consumer span of a message inside it is in the message's trace and links to
 * the batch; with `relation: "link"` it is a child of the batch and links to the
 * message's context.
 *
 * **Gotchas**
 *
 * A span keeps 128 links unless `OTEL_SPAN_LINK_COUNT_LIMIT` says otherwise.
 *
 * **Example** (Processing a batch)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withBatchSpan, withConsumerSpan, withTraceContext } from "loom-tracing"
 *
 * const kafka = { system: "kafka", destination: "orders" }
 *
 * const processAll = (messages: ReadonlyArray<{ readonly id: number; readonly _trace_context?: object }>) =>
 *   Effect.forEach(messages, (message) =>
 *     Effect.succeed(message.id * 2).pipe(withConsumerSpan(kafka), withTraceContext(message))
 *   ).pipe(withBatchSpan({ ...kafka, messages }))
 *
 * Effect.runSync(processAll([{ id: 1 }, { id: 2 }])) // => [2, 4]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withBatchSpan: {
  (options: BatchOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: BatchOptions): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: BatchOptions): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => {
      if (isTracingOff(fiber)) return self
      return tracedBy(fiber, self, () => {
        const { messages, type = "process" } = options
        const spec = messagingSpec<A, E>(fiber, options, type)
        return {
          ...spec,
          kind: type === "process" ? "consumer" : "client",
          start: { ...spec.start, [semconv.MESSAGING_BATCH_MESSAGE_COUNT]: messages.length },
          links: linksOf(messages)
        }
      })
    })
)

// =============================================================================
// Handlers
// =============================================================================

/** The context of a message that does not decode, from whichever form it came in. */
const salvageTraceContext = (wire: unknown): Option.Option<RemoteContext> => {
  if (!Predicate.isString(wire) && !(wire instanceof Uint8Array)) return readTraceContext(wire)
  return readTraceContext(Option.getOrUndefined(decodeJson(Predicate.isString(wire) ? wire : utf8.decode(wire))))
}

const utf8 = new TextDecoder()
const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

/** Decodes a raw message and goes on inside its consumer span, one way or the other. */
const makeProcess = <T extends TracedMessage<unknown>, I, RD, RE, M>(
  schema: Schema.Codec<T, I, RD, RE>,
  options: HandlerOptions<M>
) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return <B, E, R, B2, E2, R2>(
    raw: M,
    onMessage: (message: TracedMessage<T["payload"]>) => Effect.Effect<B, E, R>,
    onUndecodable: (undecodable: UndecodableMessage) => Effect.Effect<B2, E2, R2>
  ): Effect.Effect<B | B2, E | E2, R | R2 | RD> => {
    const within = <A, E, R>(self: Effect.Effect<A, E, R>, traceContext: Option.Option<RemoteContext>) =>
      self.pipe(withDescribedSpan(options, raw), (self) => inRemoteContext(self, traceContext))
    const refuse = (wire: unknown, traceContext: Option.Option<RemoteContext>, cause: Schema.SchemaError) =>
      Effect.suspend(() => onUndecodable(new UndecodableMessage({ wire, traceContext, cause })))
    /** The message, or what has become of its decoding. A defect in a schema goes on as what it is. */
    const handle = (
      wire: unknown,
      onDecoded: (decoded: T) => Effect.Effect<B, E, R>,
      onFailure: (
        failed: (traceContext: Option.Option<RemoteContext>) => Effect.Effect<B2, E2, R2>
      ) => Effect.Effect<B2, E2, R2>
    ) =>
      Effect.matchCauseEffect(decode(wire), {
        onSuccess: onDecoded,
        onFailure: (cause) => {
          const error = Cause.findError(cause)
          return onFailure((traceContext) =>
            Result.isSuccess(error)
              ? refuse(wire, traceContext, error.success)
              : Effect.failCause(cause as Cause.Cause<never>)
          )
        }
      })
    const decodeRaw = (headers: Option.Option<RemoteContext>) => {
      let wire: unknown = raw
      try {
        if (options.wire !== undefined) wire = options.wire(raw)
      } catch (error) {
        return within(refuse(raw, headers, unreadable(error)), headers)
      }
      // Where its context is known before, what decoding does is part of the span.
      return Option.isSome(headers)
        ? within(
          handle(
            wire,
            ({ payload }) => Effect.suspend(() => onMessage({ payload, traceContext: headers })),
            (failed) => failed(headers)
          ),
          headers
        )
        : handle(
          wire,
          (message) => within(Effect.suspend(() => onMessage(message)), message.traceContext),
          (failed) => {
            const traceContext = salvageTraceContext(wire)
            return within(failed(traceContext), traceContext)
          }
        )
    }
    return Effect.suspend(() =>
      options.traceContext === undefined
        ? decodeRaw(Option.none())
        : Effect.flatMap(readGivenContext(options.traceContext, raw), decodeRaw)
    )
  }
}

/** The context where the handler says that it is. A wrong answer is no context. */
const readGivenContext = <M>(
  traceContext: NonNullable<HandlerOptions<M>["traceContext"]>,
  raw: M
): Effect.Effect<Option.Option<RemoteContext>> =>
  Effect.suspend((): Effect.Effect<unknown> => {
    const given: unknown = traceContext(raw)
    return Effect.isEffect(given) ? given as Effect.Effect<unknown> : Effect.void
  }).pipe(
    Effect.map((given) => Option.isOption(given) ? given as Option.Option<RemoteContext> : Option.none()),
    Effect.catchDefect((error) =>
      Effect.as(
        reportOnce(traceContext, "The traceContext option of a message handler has failed", error) ?? Effect.void,
        Option.none<RemoteContext>()
      )
    )
  )

const unreadable = (error: unknown): Schema.SchemaError =>
  new Schema.SchemaError(
    new SchemaIssue.InvalidValue({ message: Predicate.isError(error) ? error.message : String(error) })
  )

/** A consumer span that also says what `describe` says. */
const withDescribedSpan =
  <M>(options: HandlerOptions<M>, raw: M) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => {
      if (isTracingOff(fiber)) return self
      const { describe } = options
      if (describe === undefined) return consumerSpan(self, fiber, options)
      try {
        return consumerSpan(self, fiber, { ...options, ...describe(raw) })
      } catch (error) {
        const report = reportOnce(describe, "The describe option of a message handler has thrown", error)
        const span = consumerSpan(self, fiber, options)
        return report === undefined ? span : Effect.andThen(report, span)
      }
    })

/**
 * Makes a handler of raw messages: it decodes a message, continues its trace in
 * a consumer span and hands the payload on.
 *
 * **When to use**
 *
 * Use as the body of a subscription.
 *
 * **Details**
 *
 * `schema` is what a message decodes with, such as
 * `Schema.fromJsonString(TracedMessage(Task))`. A payload that does not decode
 * fails with {@link UndecodableMessage}, which holds what was to be decoded,
 * untouched, and its trace context, inside a consumer span of the same trace. A
 * bad trace context is no context. Where `traceContext` finds one, decoding is part of the
 * span; that of a message which carries its context is over when it begins.
 *
 * A raw message may be more than its text: `wire` says what of it is decoded,
 * and kept where that fails, `traceContext` reads its headers, `describe` names its id and the like. The
 * handler gets it as its third argument.
 *
 * **Example** (Handling a message)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { handleTracedMessage, TracedMessage } from "loom-tracing"
 *
 * const Task = Schema.Struct({ id: Schema.Number })
 * const handle = handleTracedMessage(
 *   Schema.fromJsonString(TracedMessage(Task)),
 *   { system: "nats", destination: "tasks" },
 *   (task) => Effect.succeed(task.id)
 * )
 *
 * Effect.runSync(handle(`{"id":7}`)) // => 7
 * Effect.runSync(Effect.flip(handle(`{"id":"x"}`)))._tag // => "UndecodableMessage"
 * ```
 *
 * @see {@link handleTracedStream} for a stream of messages
 *
 * @category handlers
 * @since 0.1.0
 */
export const handleTracedMessage: {
  // With a type parameter for what nothing tells, a generator function as the handler would be inferred as `any`.
  <T extends TracedMessage<unknown>, I, RD, RE, B, E, R>(
    schema: Schema.Codec<T, I, RD, RE>,
    options: HandlerOptions<unknown>,
    handler: (payload: T["payload"], message: TracedMessage<T["payload"]>, raw: unknown) => Effect.Effect<B, E, R>
  ): (wire: unknown) => Effect.Effect<B, E | UndecodableMessage, R | RD>
  <T extends TracedMessage<unknown>, I, RD, RE, B, E, R, M>(
    schema: Schema.Codec<T, I, RD, RE>,
    options: HandlerOptions<M>,
    handler: (payload: T["payload"], message: TracedMessage<T["payload"]>, raw: M) => Effect.Effect<B, E, R>
  ): (wire: M) => Effect.Effect<B, E | UndecodableMessage, R | RD>
} = <T extends TracedMessage<unknown>, I, RD, RE, B, E, R, M>(
  schema: Schema.Codec<T, I, RD, RE>,
  options: HandlerOptions<M>,
  handler: (payload: T["payload"], message: TracedMessage<T["payload"]>, raw: M) => Effect.Effect<B, E, R>
): (wire: M) => Effect.Effect<B, E | UndecodableMessage, R | RD> => {
  const receive = makeProcess(schema, options)
  return (raw) => receive(raw, (message) => handler(message.payload, message, raw), Effect.fail)
}

/**
 * Makes a handler of a stream of raw messages: each is handled in a consumer
 * span of its own, in the trace that it belongs to.
 *
 * **When to use**
 *
 * Use to consume a subscription. `Stream.withSpan` and a `mapEffect` would put
 * all messages into one trace, or none.
 *
 * **Details**
 *
 * The stream gives what the handler returns, in the order of the messages unless
 * `unordered` is set. A message that does not decode goes to `deadLetter` and
 * gives nothing: its span has failed with {@link UndecodableMessage}, and what
 * `deadLetter` sends is in the same trace. The raw message, which may be more
 * than what was decoded, is its second argument. A failure of the handler ends the
 * stream, as it does with `mapEffect`.
 *
 * When the stream ends early, handlers that still run are interrupted and their
 * spans end. The rest is as with `handleTracedMessage`.
 *
 * **Example** (Consuming a subscription)
 *
 * ```ts
 * import { Effect, Schema, Stream } from "effect"
 * import { handleTracedStream, TracedMessage } from "loom-tracing"
 *
 * const Task = Schema.Struct({ id: Schema.Number })
 * const dead: Array<unknown> = []
 *
 * const results = Stream.make(`{"id":1}`, `{"id":"two"}`, `{"id":3}`).pipe(
 *   handleTracedStream(
 *     Schema.fromJsonString(TracedMessage(Task)),
 *     {
 *       system: "nats",
 *       destination: "tasks",
 *       concurrency: 8,
 *       deadLetter: ({ wire }) => Effect.sync(() => dead.push(wire))
 *     },
 *     (task) => Effect.succeed(task.id * 10)
 *   ),
 *   Stream.runCollect
 * )
 *
 * await Effect.runPromise(results) // => [10, 30]
 * dead // => ["{\"id\":\"two\"}"]
 * ```
 *
 * @category handlers
 * @since 0.1.0
 */
export const handleTracedStream = <T extends TracedMessage<unknown>, I, RD, RE, B, E, R, E2, R2, M = unknown>(
  schema: Schema.Codec<T, I, RD, RE>,
  options: StreamHandlerOptions<M, E2, R2>,
  handler: (payload: T["payload"], message: TracedMessage<T["payload"]>, raw: M) => Effect.Effect<B, E, R>
): <E3, R3>(messages: Stream.Stream<M, E3, R3>) => Stream.Stream<B, E | E2 | E3, R | R2 | R3 | RD> => {
  const receive = makeProcess(schema, options)
  const handle = (raw: M): Effect.Effect<Result.Result<B, void>, E | E2, R | R2 | RD> => {
    /** Once it has been taken: `deadLetter` may fail with it as well. */
    let dead: UndecodableMessage | undefined
    const handled = receive(
      raw,
      (message) => Effect.map(handler(message.payload, message, raw), Result.succeed),
      (undecodable) =>
        Effect.andThen(
          options.deadLetter(undecodable, raw),
          Effect.suspend(() => {
            dead = undecodable
            return Effect.fail(undecodable)
          })
        )
    )
    // By identity, as the handler may have messages of its own that do not decode.
    return Effect.catchIf(
      handled,
      (error): error is UndecodableMessage => error === dead,
      () => Effect.succeed(Result.failVoid)
    ) as Effect.Effect<Result.Result<B, void>, E | E2, R | R2 | RD>
  }
  return (messages) =>
    messages.pipe(
      Stream.mapEffect(handle, { concurrency: options.concurrency, unordered: options.unordered }),
      Stream.filterMap(identity)
    )
}
