import type * as Tracer from "effect/Tracer"

/** The mark of a span of ours: it has taken its start attributes, and records its failure by itself. */
export const LiveSpanTypeId = "~loom-tracing/LiveSpan"

/** @internal */
export interface LiveSpanLike extends Tracer.Span {
  /** Keeps texts out of what the span records of its failure. */
  readonly [LiveSpanTypeId]: (texts: ReadonlyArray<string>) => void
}

/** @internal */
export const isLiveSpan = (span: Tracer.AnySpan): span is LiveSpanLike => LiveSpanTypeId in span
