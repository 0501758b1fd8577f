/**
 * Spans for messages: where one is sent and where it is processed, after
 * OpenTelemetry's messaging semantic conventions.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Tracer from "effect/Tracer"
import { readTraceContext, withRemoteContext } from "./Carrier.ts"
import { GenAiSettings } from "./GenAiSettings.ts"
import { isTracingOff } from "./internal/off.ts"
import * as semconv from "./internal/semconv.ts"
import { setAttribute, traced } from "./internal/span.ts"
import { AmbientSpan, propagatedSpan } from "./internal/spanContext.ts"
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
  /** The system's own verb. Default: `send` for a producer, `process` for a consumer. */
  readonly operation?: string | undefined
  readonly messageId?: string | undefined
  /** The correlation id of a request and its reply. */
  readonly conversationId?: string | undefined
  /** Bytes. */
  readonly bodySize?: number | undefined
  readonly consumerGroup?: string | undefined
  /**
   * How a consumer span refers to the context in which its message was created:
   * as its parent (the default, so that one trace shows the whole flow), or by a
   * link, as the specification does by default.
   */
  readonly relation?: "parent" | "link" | undefined
}

/**
 * A message whose payload does not decode: everything that a dead-letter queue
 * wants to keep.
 *
 * @category errors
 * @since 0.1.0
 */
export class UndecodableMessage extends Data.TaggedError("UndecodableMessage")<{
  /** The message as it arrived. */
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

type OperationType = "send" | "process"

const startAttributes = (options: MessagingOptions, type: OperationType): Attributes => {
  const start: Attributes = {
    [semconv.MESSAGING_SYSTEM_NAME]: options.system,
    [semconv.MESSAGING_OPERATION_NAME]: options.operation ?? type,
    [semconv.MESSAGING_OPERATION_TYPE]: type,
    [semconv.MESSAGING_DESTINATION_NAME]: options.destination
  }
  if (options.template !== undefined) start[semconv.MESSAGING_DESTINATION_TEMPLATE] = options.template
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
}

const spanName = (options: MessagingOptions, type: OperationType): string =>
  `${options.operation ?? type} ${options.template ?? options.destination}`

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
 * `send` unless you say otherwise.
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
 * @category combinators
 * @since 0.1.0
 */
export const withProducerSpan: {
  (options: MessagingOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: MessagingOptions): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: MessagingOptions): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) =>
      isTracingOff(fiber) ? self : traced(self, {
        name: spanName(options, "send"),
        kind: "producer",
        start: startAttributes(options, "send"),
        begin: (span) => writeMessage(span, options, fiber)
      })
    )
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
 * consumer's own trace whole.
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
    Effect.withFiber((fiber) => {
      if (isTracingOff(fiber)) return self
      const creation = fiber.cache.span?._tag === "ExternalSpan" ? fiber.cache.span : undefined
      const ambient = creation === undefined
        ? undefined
        : propagatedSpan(Context.getOrUndefined(creation.annotations, AmbientSpan))
      const linksCreation = options.relation === "link" && creation !== undefined
      const linked = linksCreation ? creation : ambient
      return traced(self, {
        name: spanName(options, "process"),
        kind: "consumer",
        start: startAttributes(options, "process"),
        ...(linked === undefined ? undefined : { links: [{ span: linked, attributes: {} }] }),
        ...(linksCreation ? ambient === undefined ? { root: true } : { parent: ambient } : undefined),
        begin: (span) => writeMessage(span, options, fiber)
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
 * fails with {@link UndecodableMessage}, which holds the untouched message and
 * its trace context, inside a consumer span of the same trace. A bad trace
 * context is no context.
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
 * @category handlers
 * @since 0.1.0
 */
export const handleTracedMessage = <A, I, RD, RE, B, E, R>(
  schema: Schema.Codec<TracedMessage<A>, I, RD, RE>,
  options: MessagingOptions,
  handler: (payload: A, message: TracedMessage<A>) => Effect.Effect<B, E, R>
): (wire: unknown) => Effect.Effect<B, E | UndecodableMessage, R | RD> => {
  const decode = Schema.decodeUnknownEffect(schema)
  return (wire) =>
    Effect.matchEffect(decode(wire), {
      onSuccess: (message) =>
        Effect.suspend(() => handler(message.payload, message)).pipe(
          withConsumerSpan(options),
          inContext(message.traceContext)
        ),
      onFailure: (cause) => {
        const traceContext = salvageTraceContext(wire)
        return Effect.fail(new UndecodableMessage({ wire, traceContext, cause })).pipe(
          withConsumerSpan(options),
          inContext(traceContext)
        )
      }
    })
}

const inContext = (context: Option.Option<RemoteContext>) => <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Option.isNone(context) ? self : withRemoteContext(self, context.value)
