/**
 * The bridge between Effect's spans and W3C contexts. It reads OpenTelemetry's
 * span context structurally, so that it needs no OpenTelemetry package.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import { FLAG_RANDOM, FLAG_SAMPLED, isValidSpanIdentity, parseTracestate, TraceState } from "../TraceContext.ts"
import type { RemoteContext, Traceparent } from "../TraceContext.ts"

/** What OpenTelemetry's `TraceState` is to us. */
export interface TraceStateLike {
  readonly get: (key: string) => string | undefined
  readonly set: (key: string, value: string) => TraceStateLike
  readonly unset: (key: string) => TraceStateLike
  readonly serialize: () => string
}

/** What OpenTelemetry's `SpanContext` is to us. */
export interface SpanContextLike {
  readonly traceId: string
  readonly spanId: string
  traceFlags: number
  traceState?: TraceStateLike | undefined
  readonly isRemote?: boolean | undefined
}

// `@effect/opentelemetry` looks these two up on a remote parent. Spelling the
// keys out keeps its OpenTelemetry imports out of the package's root.

const OtelTraceFlags = Context.Service<"OtelTraceFlags", number>(
  "@effect/opentelemetry/Tracer/OtelTraceFlags"
)

const OtelTraceState = Context.Service<"OtelTraceState", TraceStateLike>(
  "@effect/opentelemetry/Tracer/OtelTraceState"
)

/** The mark of a span that is backed by an OpenTelemetry span, ours and `@effect/opentelemetry`'s alike. */
export const OtelSpanTypeId = "~@effect/opentelemetry/OtelTracer/OtelSpan"

/** The local span that was current where a remote context took over, so that a consumer span can link to it. */
export const AmbientSpan = Context.Service<"AmbientSpan", Tracer.AnySpan>("loom-tracing/AmbientSpan")

const otelSpanContext = (span: Tracer.AnySpan): SpanContextLike | undefined =>
  OtelSpanTypeId in span
    ? (span as unknown as { readonly span: { spanContext(): SpanContextLike } }).span.spanContext()
    : undefined

/** The span that a remote context stands for. `undefined` when it names none. */
export const toExternalSpan = (
  remote: RemoteContext,
  ambient?: Tracer.AnySpan | undefined
): Tracer.ExternalSpan | undefined => {
  if (remote.traceparent === undefined) return undefined
  const { spanId, traceFlags, traceId } = remote.traceparent
  let annotations: Context.Context<never> = Context.add(Context.empty(), OtelTraceFlags, traceFlags)
  if (remote.tracestate !== undefined) {
    annotations = Context.add(annotations, OtelTraceState, new TraceState(remote.tracestate))
  }
  if (ambient !== undefined) annotations = Context.add(annotations, AmbientSpan, ambient)
  return Tracer.externalSpan({ traceId, spanId, sampled: (traceFlags & FLAG_SAMPLED) !== 0, annotations })
}

/** The span that a link may refer to; `undefined` where there is none that anybody could find. */
export const toLinkedSpan = (remote: RemoteContext | undefined): Tracer.ExternalSpan | undefined =>
  remote?.traceparent !== undefined && isValidSpanIdentity(remote.traceparent) ? toExternalSpan(remote) : undefined

const isPropagated = (span: Tracer.AnySpan): boolean =>
  !(span instanceof Tracer.NativeSpan) && !Context.get(span.annotations, Tracer.DisablePropagation) &&
  isValidSpanIdentity(span)

/**
 * The nearest ancestor that another process can know: one that is remote
 * itself, or is really recorded. Effect's default spans have ids that nobody
 * will ever export, so a peer must not be given them as a parent.
 */
export const propagatedSpan = (span: Tracer.AnySpan | undefined): Tracer.AnySpan | undefined => {
  while (span !== undefined && !isPropagated(span)) {
    span = span._tag === "Span" ? Option.getOrUndefined(span.parent) : undefined
  }
  return span
}

/** The remote span at the root of a local branch: where `tracestate` and flags come from if the tracer keeps none. */
const remoteAncestor = (span: Tracer.AnySpan): Tracer.ExternalSpan | undefined => {
  let current: Tracer.AnySpan | undefined = span
  while (current !== undefined && current._tag === "Span") current = Option.getOrUndefined(current.parent)
  return current !== undefined && current.traceId === span.traceId ? current : undefined
}

/** The trace flags of a span, the random bit included where it is known. */
export const traceFlagsOf = (span: Tracer.AnySpan): number => {
  const otel = otelSpanContext(span)
  if (otel !== undefined) return otel.traceFlags
  const sampled = span.sampled ? FLAG_SAMPLED : 0
  const remote = remoteAncestor(span)
  if (remote === undefined) return sampled
  const flags = Context.getOrUndefined(remote.annotations, OtelTraceFlags)
  if (flags === undefined) return sampled
  return remote === span ? flags : sampled | (flags & FLAG_RANDOM)
}

/** The trace state of a span, or the one that it has inherited. */
export const traceStateOf = (span: Tracer.AnySpan): TraceStateLike | undefined => {
  const otel = otelSpanContext(span)
  if (otel !== undefined) return otel.traceState
  const remote = remoteAncestor(span)
  return remote === undefined ? undefined : Context.getOrUndefined(remote.annotations, OtelTraceState)
}

/** The `tracestate` header of a span; `undefined` when it would be empty. */
export const tracestateOf = (span: Tracer.AnySpan): string | undefined => {
  const state = traceStateOf(span)
  if (state === undefined) return undefined
  // Ours is in its canonical form; what another vendor's holds is not known.
  return state instanceof TraceState ? state.header || undefined : parseTracestate(state.serialize())
}

/**
 * Whether a span of this process continues a remote context already: somebody
 * has read the ids of it, as Effect's HTTP server does. Then what travels beside
 * them is brought to that span, so that its children and what is sent have it.
 */
export const continueRemote = (span: Tracer.AnySpan | undefined, remote: RemoteContext): boolean => {
  const { traceparent, tracestate } = remote
  if (
    traceparent === undefined || span?._tag !== "Span" || span.status._tag !== "Started" ||
    span.traceId !== traceparent.traceId || !isPropagated(span)
  ) {
    return false
  }
  const parent = Option.getOrUndefined(span.parent)
  if (
    parent?._tag !== "ExternalSpan" || parent.spanId !== traceparent.spanId || parent.traceId !== traceparent.traceId
  ) {
    return false
  }
  try {
    const context = otelSpanContext(span)
    // The span of another tracer has nowhere to put them.
    if (context === undefined) return false
    context.traceFlags |= traceparent.traceFlags & FLAG_RANDOM
    // With a tracestate of its own the parent has given that to the span.
    if (tracestate === undefined || Context.getOrUndefined(parent.annotations, OtelTraceState) !== undefined) {
      return true
    }
    context.traceState = withMembersOf(context.traceState, new TraceState(tracestate))
    return otelSpanContext(span)?.traceState === context.traceState
  } catch {
    // Another vendor's may be frozen.
    return false
  }
}

/** What a sampler has put into the state of a span comes first. */
const withMembersOf = (own: TraceStateLike | undefined, state: TraceState): TraceState =>
  (own?.serialize() ?? "").split(",").reduceRight((state, member) => {
    const at = member.indexOf("=")
    return at < 0 ? state : state.set(member.slice(0, at), member.slice(at + 1))
  }, state)

/** The header identity of a span. */
export const traceparentOf = (span: Tracer.AnySpan): Traceparent => ({
  traceId: span.traceId,
  spanId: span.spanId,
  traceFlags: traceFlagsOf(span)
})
