/**
 * Carries the trace context of the running fiber in messages: into one that is
 * about to be sent, and out of one that has arrived.
 *
 * A "message" is a JSON-like object whose context sits under
 * {@link TRACE_CONTEXT_KEY}, as Loom's Python actors write it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Tracer from "effect/Tracer"
import { propagatedSpan, toExternalSpan, traceparentOf, traceStateOf } from "./internal/spanContext.ts"
import { formatTraceHeaders, parseTraceHeaders } from "./TraceContext.ts"
import type { BaggageMember, RemoteContext, TraceHeaders } from "./TraceContext.ts"

/**
 * The key of a message under which its trace context sits.
 *
 * @category constants
 * @since 0.1.0
 */
export const TRACE_CONTEXT_KEY = "_trace_context"

/**
 * A message that may hold a trace context.
 *
 * @category models
 * @since 0.1.0
 */
export interface TraceCarrier {
  readonly [TRACE_CONTEXT_KEY]?: TraceHeaders
}

/**
 * The baggage of the running fiber: name-value pairs that travel with the trace
 * from service to service (W3C Baggage). Empty unless a message brought some.
 *
 * @category references
 * @since 0.1.0
 */
export const Baggage: Context.Reference<ReadonlyArray<BaggageMember>> = Context.Reference<
  ReadonlyArray<BaggageMember>
>("loom-tracing/Baggage", { defaultValue: () => [] })

/** The context that a peer may know of this fiber; `undefined` when there is none. */
const currentContext = (fiber: Fiber.Fiber<unknown, unknown>): RemoteContext | undefined => {
  const span = propagatedSpan(fiber.cache.span)
  const baggage = Context.get(fiber.context, Baggage)
  if (span === undefined) return baggage.length === 0 ? undefined : { baggage }
  const tracestate = traceStateOf(span)?.serialize()
  return {
    traceparent: traceparentOf(span),
    ...(tracestate === undefined || tracestate === "" ? undefined : { tracestate }),
    ...(baggage.length === 0 ? undefined : { baggage })
  }
}

/**
 * The trace context that a message sent now would carry.
 *
 * **Details**
 *
 * It names the nearest span that another process can know. Spans of Effect's
 * default tracer, of `TracingNoop` and of disabled tracing are skipped, so a
 * remote context that was received is passed on unchanged when tracing is off.
 *
 * @category propagation
 * @since 0.1.0
 */
export const currentTraceContext: Effect.Effect<Option.Option<RemoteContext>> = Effect.withFiber((fiber) =>
  Effect.succeed(Option.fromUndefinedOr(currentContext(fiber)))
)

const isPlainObject = (value: object): boolean => {
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/**
 * Puts the current trace context into a message, under `_trace_context`.
 *
 * **When to use**
 *
 * Use right before a message is encoded and sent.
 *
 * **Details**
 *
 * Returns a copy; the message itself is never changed. Without a context to
 * add, the same object comes back. Only plain objects can carry a context:
 * anything else (an array, an instance of a class) comes back as it is.
 *
 * **Example** (Relaying a context)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { injectTraceContext, withTraceContext } from "loom-tracing"
 *
 * const received = { _trace_context: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" } }
 * const sent = injectTraceContext({ task: "summarise" }).pipe(withTraceContext(received))
 *
 * Effect.runSync(sent)._trace_context?.traceparent // => "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
 * Effect.runSync(injectTraceContext({ task: "summarise" })) // => { task: "summarise" }
 * ```
 *
 * @see {@link extractTraceContext} for the way back
 *
 * @category propagation
 * @since 0.1.0
 */
export const injectTraceContext = <M extends object>(message: M): Effect.Effect<M & TraceCarrier> =>
  Effect.withFiber((fiber) => {
    const context = currentContext(fiber)
    return Effect.succeed(context === undefined ? message : addToMessage(message, context))
  })

const addToMessage = <M extends object>(message: M, context: RemoteContext): M & TraceCarrier => {
  // A hostile object (a proxy, a getter) may throw at any touch; then it is sent without a context.
  try {
    if (!isPlainObject(message)) return message
    const headers = formatTraceHeaders(context)
    return { ...message, [TRACE_CONTEXT_KEY]: headers }
  } catch {
    return message
  }
}

const getHeader = (headers: object, name: string): string | undefined => {
  const exact = Object.hasOwn(headers, name) ? (headers as Record<string, unknown>)[name] : undefined
  return typeof exact === "string" ? exact : undefined
}

/**
 * Reads the trace context of a message. Total: whatever is wrong with it, the
 * answer is "none".
 *
 * @internal
 */
export const readTraceContext = (message: unknown): Option.Option<RemoteContext> => {
  try {
    if (!Predicate.isObject(message) || !Object.hasOwn(message, TRACE_CONTEXT_KEY)) return Option.none()
    const headers = (message as Record<string, unknown>)[TRACE_CONTEXT_KEY]
    if (!Predicate.isObject(headers)) return Option.none()
    const traceparent = getHeader(headers, "traceparent")
    const tracestate = getHeader(headers, "tracestate")
    const baggage = getHeader(headers, "baggage")
    return parseTraceHeaders({
      ...(traceparent === undefined ? undefined : { traceparent }),
      ...(tracestate === undefined ? undefined : { tracestate }),
      ...(baggage === undefined ? undefined : { baggage })
    })
  } catch {
    return Option.none()
  }
}

/**
 * Reads the trace context that a message carries under `_trace_context`.
 *
 * **Details**
 *
 * Total: a context that is missing, of the wrong type or malformed is `None`,
 * and nothing that a message holds can make this fail or throw.
 *
 * **Example** (Reading a message)
 *
 * ```ts
 * import { Effect, Option } from "effect"
 * import { extractTraceContext } from "loom-tracing"
 *
 * const message = { _trace_context: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" } }
 *
 * Option.getOrThrow(Effect.runSync(extractTraceContext(message))).traceparent?.spanId // => "b7ad6b7169203331"
 * Option.isNone(Effect.runSync(extractTraceContext("not even an object"))) // => true
 * ```
 *
 * @see {@link withTraceContext} for running an effect inside the context
 *
 * @category propagation
 * @since 0.1.0
 */
export const extractTraceContext = (message: unknown): Effect.Effect<Option.Option<RemoteContext>> =>
  Effect.sync(() => readTraceContext(message))

/**
 * Runs an effect inside a trace context that has been read already.
 *
 * @internal
 */
export const withRemoteContext = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  remote: RemoteContext
): Effect.Effect<A, E, R> =>
  Effect.updateContext(self, (context: Context.Context<R>): Context.Context<R> => {
    const ambient = Context.getOrUndefined(context, Tracer.ParentSpan)
    const parent = toExternalSpan(remote, ambient?._tag === "Span" ? ambient : undefined)
    let next = parent === undefined ? context : Context.add(context, Tracer.ParentSpan, parent)
    if (remote.baggage !== undefined) next = Context.add(next, Baggage, remote.baggage)
    return next as Context.Context<R>
  })

/**
 * Runs an effect as a child of the trace context that a message carries.
 *
 * **When to use**
 *
 * Use around the handling of a message that is not decoded by `TracedMessage`.
 *
 * **Details**
 *
 * The message's context beats a span that is current already. Its baggage
 * becomes the baggage of the effect. A message without a valid context leaves
 * the effect as it is.
 *
 * **Example** (Continuing a trace)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withTraceContext } from "loom-tracing"
 *
 * const message = { _trace_context: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" } }
 * const traceId = Effect.currentParentSpan.pipe(Effect.map((span) => span.traceId), withTraceContext(message))
 *
 * Effect.runSync(traceId) // => "0af7651916cd43dd8448eb211c80319c"
 * ```
 *
 * @category propagation
 * @since 0.1.0
 */
export const withTraceContext: {
  (message: unknown): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, message: unknown): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, message: unknown): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const remote = readTraceContext(message)
    return Option.isNone(remote) ? self : withRemoteContext(self, remote.value)
  }))
