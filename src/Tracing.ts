/**
 * The `Tracing` service: what a program may ask of its tracing setup, and the
 * no-op that it gets when nobody provides one.
 *
 * A program never needs `Tracing` to make spans: those go to Effect's own
 * `Tracer`. It is here for instrumentation scopes, flushing and numbers.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Tracer from "effect/Tracer"
import { noopTracer } from "./internal/noopTracer.ts"
import { isTracingOff } from "./internal/off.ts"
import { isScopedTracer, ScopedTracerTypeId } from "./internal/scopedTracer.ts"

/**
 * The instrumentation scope of a tracer: the library or module whose spans it
 * makes (OpenTelemetry specification, "Instrumentation Scope").
 *
 * @category models
 * @since 0.1.0
 */
export interface InstrumentationScope {
  readonly name: string
  readonly version?: string | undefined
  readonly schemaUrl?: string | undefined
}

/**
 * What has become of the sampled spans that the layer's own queue was given.
 *
 * **Details**
 *
 * The numbers are exact: `ended` is always the sum of the other three.
 * `queued` includes the batch that is on its way. All are zero where there is
 * no queue: with the exporters `console` and `none`, and beside `provider`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExportStats {
  /** Sampled spans that have ended and were to be exported. */
  readonly ended: number
  /** Spans that the collector has accepted. */
  readonly exported: number
  /** Spans that were lost: queue overflow, rejection by the collector, or release before they could be sent. */
  readonly dropped: number
  /** Spans that wait to be sent or are being sent. */
  readonly queued: number
}

/**
 * The tracing setup of the running program.
 *
 * @category services
 * @since 0.1.0
 */
export interface Tracing {
  /** Whether spans are recorded and exported by this service. */
  readonly enabled: boolean
  /** The tracer of an instrumentation scope. The same scope gives the same tracer. */
  readonly tracer: (scope: InstrumentationScope) => Tracer.Tracer
  /** Exports what has ended, within the shutdown timeout. Never fails. */
  readonly flush: Effect.Effect<void>
  /** What has become of the spans so far. */
  readonly exportStats: Effect.Effect<ExportStats>
}

const noop: Tracing = {
  enabled: false,
  tracer: () => noopTracer,
  flush: Effect.void,
  exportStats: Effect.succeed({ ended: 0, exported: 0, dropped: 0, queued: 0 })
}

/**
 * The tracing setup of the running program, a no-op unless a layer provides one.
 *
 * **When to use**
 *
 * Use to flush before a process is frozen or to read the export numbers.
 *
 * **Details**
 *
 * A `Reference`: it never shows in the requirements of an effect.
 *
 * **Example** (Flushing at the end of a request)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Tracing, TracingNoop } from "loom-tracing"
 *
 * const program = Effect.gen(function*() {
 *   const tracing = yield* Tracing
 *   yield* tracing.flush
 *   return tracing.enabled
 * })
 *
 * Effect.runSync(program.pipe(Effect.provide(TracingNoop))) // => false
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export const Tracing: Context.Reference<Tracing> = Context.Reference<Tracing>("loom-tracing/Tracing", {
  defaultValue: () => noop
})

/**
 * Turns tracing off: no span is recorded, no identifier is invented, and a
 * trace context that was received is passed on unchanged.
 *
 * **When to use**
 *
 * Use at the edge of a program or a test that must not trace, also below a
 * layer that does.
 *
 * **Example** (Running without traces)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Tracing, TracingNoop } from "loom-tracing"
 *
 * const isOn = Effect.map(Tracing, ({ enabled }) => enabled)
 *
 * Effect.runSync(isOn.pipe(Effect.provide(TracingNoop))) // => false
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const TracingNoop: Layer.Layer<never> = Layer.suspend(() => Layer.succeedContext(noopContext))

/** @internal */
export const noopContext: Context.Context<never> = Context.empty().pipe(
  Context.add(Tracing, noop),
  Context.add(Tracer.Tracer, noopTracer)
)

/**
 * Runs an effect so that its spans belong to another instrumentation scope.
 *
 * **When to use**
 *
 * Use in a library, so that its users can tell its spans from their own.
 *
 * **Details**
 *
 * Does nothing when tracing is off, or when the tracer in use is not one of
 * this package's.
 *
 * **Example** (Naming a library)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withScope } from "loom-tracing"
 *
 * const search = Effect.succeed(["a", "b"]).pipe(
 *   Effect.withSpan("search"),
 *   withScope({ name: "my-search", version: "1.2.0" })
 * )
 *
 * Effect.runSync(search) // => ["a", "b"]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withScope: {
  (scope: string | InstrumentationScope): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, scope: string | InstrumentationScope): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, scope: string | InstrumentationScope): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => {
      const tracer = fiber.cache.tracer
      if (tracer === undefined || isTracingOff(fiber) || !isScopedTracer(tracer)) return self
      return Effect.withTracer(self, tracer[ScopedTracerTypeId](typeof scope === "string" ? { name: scope } : scope))
    })
)
