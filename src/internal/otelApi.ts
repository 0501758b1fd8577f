/**
 * What the copies of `@opentelemetry/api` in a process share. The first of them
 * to register anything says with which version others may, and the API tells
 * neither.
 *
 * @internal
 */
import type * as Otel from "@opentelemetry/api"

interface Registry {
  readonly version: string
  readonly trace?: Otel.TracerProvider
  readonly context?: Otel.ContextManager
  readonly propagation?: Otel.TextMapPropagator
  readonly diag?: Otel.DiagLogger
}

const API = Symbol.for("opentelemetry.js.api.1")

/** @internal */
export const apiRegistry = (): Registry | undefined => (globalThis as { readonly [API]?: Registry })[API]
