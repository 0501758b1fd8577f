import * as Context from "effect/Context"
import type * as Tracer from "effect/Tracer"

/** An attribute value that OpenTelemetry takes as it is. */
export type AttributeValue = string | number | boolean | ReadonlyArray<string>

/** @internal */
export type Attributes = Record<string, AttributeValue>

/** What a span of ours was made for, with the attributes that a sampler is to see. */
export interface Source {
  readonly start: Attributes
}

/**
 * The source of a span. Effect's tracer interface has no attributes at span
 * start, so they travel among the annotations of the span; a tracer that does
 * not know them gets them right after the start instead.
 *
 * @internal
 */
export const SpanSource = Context.Service<"SpanSource", Source>("loom-tracing/SpanSource")

/**
 * What a tracer of ours is given: the source beside the annotations, where it
 * puts it when somebody reads them. Hardly anybody does, and a context takes
 * longer to make than all the rest of this.
 *
 * @internal
 */
export interface SourcedSpanOptions extends Readonly<Parameters<Tracer.Tracer["span"]>[0]> {
  readonly source?: Source | undefined
}

/** @internal */
export const withSource = (
  annotations: Context.Context<never>,
  source: Source | undefined
): Context.Context<never> => source === undefined ? annotations : Context.add(annotations, SpanSource, source)
