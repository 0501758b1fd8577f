import * as Otel from "@opentelemetry/api"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { apiRegistry } from "./otelApi.ts"
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
  /** The provider to record on: ours, or the one of another SDK that was there before. */
  readonly provider: Otel.TracerProvider
  readonly contextManager: LoomContextManager | undefined
}

/** The providers that layers have registered. They go with their layers, so that nobody else is to record on them. */
const ofLayers = new WeakSet<Otel.TracerProvider>()

const registeredProvider = (): Otel.TracerProvider => {
  const provider = Otel.trace.getTracerProvider()
  return provider instanceof Otel.ProxyTracerProvider ? provider.getDelegate() : provider
}

/** The API does not tell which manager is registered, but asks it to enter a context. */
const isInForce = (manager: LoomContextManager): boolean => {
  const probe = Otel.trace.deleteSpan(Otel.ROOT_CONTEXT)
  return Otel.context.with(probe, () => manager.active() === probe)
}

/**
 * Makes a provider the one that libraries instrumented for OpenTelemetry find,
 * until the scope closes. What another SDK has registered stays, before and
 * after.
 *
 * @internal
 */
export const registerGlobal = (options: GlobalOptions): Effect.Effect<Registered, never, Scope.Scope> =>
  Effect.gen(function*() {
    const undo: Array<() => void> = []
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const disable of undo) {
          try {
            disable()
          } catch {
            // What throws when it is asked is not ours.
          }
        }
      })
    )

    const isRegistered = Otel.trace.setGlobalTracerProvider(options.provider)
    // Another version of the API has registered something else, and takes nothing from this one.
    if (!isRegistered && apiRegistry()?.trace === undefined) {
      options.report(
        `global: nothing could be registered, since @opentelemetry/api ${apiRegistry()?.version} was first in this ` +
          "program and takes no other version. Spans of libraries are not recorded; those of Effect are. Use " +
          "@opentelemetry/api 1.9 alone, which instrumentation of 0.2xx goes with."
      )
      return { provider: options.provider, contextManager: undefined }
    }
    const current = Otel.trace.getTracerProvider()
    const isAnotherLayers = !isRegistered && current !== options.provider && ofLayers.has(registeredProvider())
    if (isRegistered) {
      ofLayers.add(options.provider)
      undo.push(() => {
        ofLayers.delete(options.provider)
        if (registeredProvider() === options.provider) Otel.trace.disable()
      })
    } else if (isAnotherLayers) {
      options.report(
        "global: another layer of this package has registered its tracer provider already. Spans of libraries are " +
          "recorded on that one until it is released, those of Effect on this layer's own."
      )
    } else {
      options.report(
        "global: another OpenTelemetry SDK has registered its tracer provider already. Spans are recorded on that one: " +
          "its exporter, sampler and resource count, not those of this layer."
      )
    }

    const manager = new LoomContextManager()
    const isManaged = Otel.context.setGlobalContextManager(manager)
    if (isManaged) {
      undo.push(() => {
        if (isInForce(manager)) Otel.context.disable()
      })
    } else if (apiRegistry()?.context !== undefined) {
      options.report("global: another context manager is registered already and is used.")
    }

    const propagator = new LoomPropagator(options.propagators)
    if (Otel.propagation.setGlobalPropagator(propagator)) {
      undo.push(() => {
        if (Otel.propagation.fields() === propagator.fields()) Otel.propagation.disable()
      })
    } else if (apiRegistry()?.propagation !== undefined) {
      options.report("global: other propagators are registered already and stay.")
    }

    return {
      provider: isRegistered || isAnotherLayers ? options.provider : current,
      contextManager: isManaged ? manager : undefined
    }
  })
