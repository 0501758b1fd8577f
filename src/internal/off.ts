import type * as Fiber from "effect/Fiber"
import * as Tracer from "effect/Tracer"
import { noopTracer } from "./noopTracer.ts"

/**
 * Whether nothing records the spans of this fiber: it has no tracer, Effect's
 * own or the no-op, or tracing is disabled on it.
 *
 * @internal
 */
export const isTracingOff = (fiber: Fiber.Fiber<unknown, unknown>): boolean => {
  const { tracer, tracerEnabled } = fiber.cache
  return tracer === undefined || tracer === Tracer.nativeTracer || tracer === noopTracer || !tracerEnabled
}
