/**
 * Keeps off our spans what `Toolkit.handle` of `effect/ai` writes on the one
 * that is current, `tool` and then `parameters`: a tool's arguments are content,
 * and these are neither asked for nor redacted.
 *
 * @internal
 */
import * as Context from "effect/Context"
import type * as Tracer from "effect/Tracer"
import { SpanSource } from "./startAttributes.ts"

/** @internal */
export const TOOLKIT_TOOL = "tool"

/** @internal */
export const TOOLKIT_ARGUMENTS = "parameters"

/**
 * Whether a span of the live tracer goes without its `parameters`.
 *
 * @internal
 */
export const hidesToolkitArguments = (span: Tracer.Span): boolean =>
  Context.getOrUndefined(span.annotations, SpanSource)?.hidesToolkitArguments === true &&
  span.attributes.has(TOOLKIT_TOOL)

const guarded = new WeakSet<Tracer.Span>()

/**
 * The same for a span of somebody else's tracer. It is the span that changes,
 * since such a tracer would not know one around it for its own.
 *
 * @internal
 */
export const guardToolkitArguments = (
  span: Tracer.Span,
  spec: { readonly hidesToolkitArguments?: boolean | undefined }
): void => {
  // A tracer may give one span for all that it does not record.
  if (guarded.has(span)) return
  guarded.add(span)
  const { attribute } = span
  let hasTool = false
  const guard: Tracer.Span["attribute"] = (key, value) => {
    hasTool ||= key === TOOLKIT_TOOL
    if (key === TOOLKIT_ARGUMENTS && hasTool && spec.hidesToolkitArguments === true) return
    attribute.call(span, key, value)
  }
  // One that cannot be changed stays as it is.
  Reflect.set(span, "attribute", guard)
}
