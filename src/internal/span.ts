import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { errorType } from "./errors.ts"
import { isLiveSpan } from "./liveSpan.ts"
import * as semconv from "./semconv.ts"
import { type Attributes, StartAttributes } from "./startAttributes.ts"

/** Writes an attribute, unless there is nothing to write. */
export const setAttribute = (span: Tracer.Span, key: string, value: unknown): void => {
  if (value !== undefined && value !== null) span.attribute(key, value)
}

/** Writes a record of attributes, skipping those without a value. */
const setAttributes = (span: Tracer.Span, attributes: Readonly<Record<string, unknown>> | undefined): void => {
  if (attributes === undefined) return
  for (const key of Object.keys(attributes)) setAttribute(span, key, attributes[key])
}

/**
 * A span around an effect, under any tracer.
 *
 * @internal
 */
export interface SpanSpec<A, E> {
  readonly name: string
  readonly kind: Tracer.SpanKind
  /** What a sampler may decide on. */
  readonly start: Attributes
  readonly annotations?: Context.Context<never> | undefined
  readonly links?: ReadonlyArray<Tracer.SpanLink> | undefined
  /** Instead of the span that is current. */
  readonly parent?: Tracer.AnySpan | undefined
  readonly root?: boolean | undefined
  /** What the effect is given beside the span. */
  readonly inside?: Context.Context<never> | undefined
  /** Runs when the span has started. The effect, if there is one, must not fail; it runs before the traced one. */
  begin?(span: Tracer.Span): Effect.Effect<void> | undefined
  /**
   * Runs right before the span ends. The effect, if there is one, must not
   * fail. A span that it ends itself is not ended again.
   */
  finish?(span: Tracer.Span, exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined
}

const spanOptions = <A, E>(spec: SpanSpec<A, E>): Tracer.SpanOptionsNoTrace => ({
  kind: spec.kind,
  annotations: Context.add(spec.annotations ?? Context.empty(), StartAttributes, spec.start),
  ...(spec.links === undefined ? undefined : { links: spec.links }),
  ...(spec.parent === undefined ? undefined : { parent: spec.parent }),
  ...(spec.root === true ? { root: true } : undefined)
})

// What is written may come out of the caller's objects, whose getters can throw; the traced effect must not notice.

const begin = <A, E>(span: Tracer.Span, spec: SpanSpec<A, E>): Effect.Effect<void> | undefined => {
  try {
    if (!isLiveSpan(span)) setAttributes(span, spec.start)
    return spec.begin?.(span)
  } catch {
    return undefined
  }
}

const finish = <A, E>(
  span: Tracer.Span,
  spec: SpanSpec<A, E>,
  exit: Exit.Exit<A, E>
): Effect.Effect<void> | undefined => {
  try {
    if (exit._tag === "Failure" && !isLiveSpan(span)) setAttribute(span, semconv.ERROR_TYPE, errorType(exit.cause))
    return spec.finish?.(span, exit)
  } catch {
    return undefined
  }
}

/**
 * Runs an effect with a span as the current one.
 *
 * @internal
 */
export const withinSpan = <A, E, R, B, X>(
  self: Effect.Effect<A, E, R>,
  span: Tracer.Span,
  spec: SpanSpec<B, X>
): Effect.Effect<A, E, R> =>
  // `R` may hold `ParentSpan`, which is provided here and yet must stay as the caller wrote it.
  (spec.inside === undefined
    ? Effect.provideService(self, Tracer.ParentSpan, span)
    : Effect.provideContext(self, Context.add(spec.inside, Tracer.ParentSpan, span))) as Effect.Effect<A, E, R>

/**
 * Runs an effect inside a span. `useSpan` ends the span on every way out, also
 * where an interruption arrives before the effect has begun.
 *
 * @internal
 */
export const traced = <A, E, R>(self: Effect.Effect<A, E, R>, spec: SpanSpec<A, E>): Effect.Effect<A, E, R> =>
  Effect.useSpan(spec.name, spanOptions(spec), (span) => {
    const first = begin(span, spec)
    const inside = withinSpan(self, span, spec)
    return Effect.onExitPrimitive(
      first === undefined ? inside : Effect.andThen(first, inside),
      (exit) => finish(span, spec, exit)
    )
  })

/**
 * Starts a span that ends with a scope, whose exit is the span's.
 *
 * @internal
 */
export const startSpan = <A, E>(spec: SpanSpec<A, E>, scope: Scope.Scope): Effect.Effect<Tracer.Span> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.provideService(Effect.makeSpanScoped(spec.name, spanOptions(spec)), Scope.Scope, scope),
      (span) => {
        const first = begin(span, spec)
        // Finalizers run in reverse, so this one still finds the span open.
        const added = Scope.addFinalizerExit(scope, (exit) => finish(span, spec, exit) ?? Effect.void)
        return first === undefined ? Effect.as(added, span) : Effect.as(Effect.andThen(added, restore(first)), span)
      }
    )
  )
