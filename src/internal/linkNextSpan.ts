import type * as Tracer from "effect/Tracer"
import { isScopedTracer, type ScopedTracer, ScopedTracerTypeId } from "./scopedTracer.ts"

/**
 * A tracer that adds a link to the first span that it makes, and is nothing but
 * the other tracer after that.
 *
 * @internal
 */
export const linkNextSpan = (tracer: Tracer.Tracer, link: Tracer.SpanLink): Tracer.Tracer => {
  let linked = false
  const wrap = (tracer: Tracer.Tracer): Tracer.Tracer => {
    const wrapped: Tracer.Tracer = {
      span(options) {
        if (linked) return tracer.span(options)
        linked = true
        return tracer.span({ ...options, links: [...options.links, link] })
      },
      ...(tracer.context === undefined ? undefined : { context: tracer.context })
    }
    // Another instrumentation scope is still the same effect: whichever of the two makes a span first links it.
    return isScopedTracer(tracer)
      ? { ...wrapped, [ScopedTracerTypeId]: (scope) => wrap(tracer[ScopedTracerTypeId](scope)) } as ScopedTracer
      : wrapped
  }
  return wrap(tracer)
}
