import type * as Tracer from "effect/Tracer"
import type { InstrumentationScope } from "../Tracing.ts"

/** The mark of a tracer that can give its sibling for another instrumentation scope. */
export const ScopedTracerTypeId = "~loom-tracing/ScopedTracer"

/** @internal */
export interface ScopedTracer extends Tracer.Tracer {
  readonly [ScopedTracerTypeId]: (scope: InstrumentationScope) => Tracer.Tracer
}

/** @internal */
export const isScopedTracer = (tracer: Tracer.Tracer): tracer is ScopedTracer => ScopedTracerTypeId in tracer
