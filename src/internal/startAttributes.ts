import * as Context from "effect/Context"

/** An attribute value that OpenTelemetry takes as it is. */
export type AttributeValue = string | number | boolean | ReadonlyArray<string>

/** @internal */
export type Attributes = Record<string, AttributeValue>

/**
 * What a span of ours was made for, with the attributes that a sampler is to
 * see. Effect's tracer interface has no attributes at span start, so they travel
 * among the annotations of the span; a tracer that does not know them gets them
 * right after the start instead.
 *
 * @internal
 */
export const SpanSource = Context.Service<
  "SpanSource",
  { readonly start: Attributes; readonly hidesToolkitArguments?: boolean | undefined }
>("loom-tracing/SpanSource")
