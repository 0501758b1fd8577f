import * as Otel from "@opentelemetry/api"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { LoomContextManager } from "./otelContext.ts"
import { LoomPropagator } from "./otelPropagator.ts"

/** @internal */
export interface GlobalOptions {
  readonly provider: Otel.TracerProvider
  readonly propagators: { readonly tracecontext: boolean; readonly baggage: boolean }
  readonly report: (message: string) => void
}

/** @internal */
export interface Registered {
  /** The provider to record on: ours, or the one that was there before. */
  readonly provider: Otel.TracerProvider
  readonly contextManager: LoomContextManager | undefined
}

/**
 * Makes a provider the one that libraries instrumented for OpenTelemetry find,
 * until the scope closes. What another SDK has registered stays.
 *
 * @internal
 */
export const registerGlobal = (options: GlobalOptions): Effect.Effect<Registered, never, Scope.Scope> =>
  Effect.gen(function*() {
    const undo: Array<() => void> = []
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const disable of undo) disable()
      })
    )

    const isOurs = Otel.trace.setGlobalTracerProvider(options.provider)
    if (isOurs) undo.push(() => Otel.trace.disable())
    else {
      options.report(
        "global: another OpenTelemetry SDK has registered its tracer provider already. Spans are recorded on that one: " +
          "its exporter, sampler and resource count, not those of this layer."
      )
    }

    const manager = new LoomContextManager()
    const isManaged = Otel.context.setGlobalContextManager(manager)
    if (isManaged) undo.push(() => Otel.context.disable())
    else options.report("global: another context manager is registered already and is used.")

    if (Otel.propagation.setGlobalPropagator(new LoomPropagator(options.propagators))) {
      undo.push(() => Otel.propagation.disable())
    } else {
      options.report("global: other propagators are registered already and stay.")
    }

    return {
      provider: isOurs ? options.provider : Otel.trace.getTracerProvider(),
      contextManager: isManaged ? manager : undefined
    }
  })
