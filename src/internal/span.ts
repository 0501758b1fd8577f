import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
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
export const setAttributes = (span: Tracer.Span, attributes: Readonly<Record<string, unknown>> | undefined): void => {
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
  readonly annotations?: Context.Context<never>
  readonly links?: ReadonlyArray<Tracer.SpanLink>
  /** Instead of the span that is current. */
  readonly parent?: Tracer.AnySpan
  readonly root?: boolean
  /** Runs when the span has started. The effect, if there is one, must not fail; it runs before the traced one. */
  readonly begin?: (span: Tracer.Span) => Effect.Effect<void> | undefined
  /** Runs right before the span ends. The effect, if there is one, must not fail. */
  readonly finish?: (span: Tracer.Span, exit: Exit.Exit<A, E>) => Effect.Effect<void> | undefined
}

/**
 * Runs an effect inside a span. `useSpan` ends the span on every way out, also
 * where an interruption arrives before the effect has begun.
 *
 * @internal
 */
export const traced = <A, E, R>(self: Effect.Effect<A, E, R>, spec: SpanSpec<A, E>): Effect.Effect<A, E, R> =>
  Effect.useSpan(
    spec.name,
    {
      kind: spec.kind,
      annotations: Context.add(spec.annotations ?? Context.empty(), StartAttributes, spec.start),
      ...(spec.links === undefined ? undefined : { links: spec.links }),
      ...(spec.parent === undefined ? undefined : { parent: spec.parent }),
      ...(spec.root === true ? { root: true } : undefined)
    },
    (span) => {
      const isLive = isLiveSpan(span)
      if (!isLive) setAttributes(span, spec.start)
      const begin = spec.begin?.(span)
      // `R` may hold `ParentSpan`, which is provided here and yet must stay as the caller wrote it.
      const inside = Effect.provideService(self, Tracer.ParentSpan, span) as Effect.Effect<A, E, R>
      return Effect.onExitPrimitive(
        begin === undefined ? inside : Effect.andThen(begin, inside),
        (exit) => {
          if (!isLive && exit._tag === "Failure") setAttribute(span, semconv.ERROR_TYPE, errorType(exit.cause))
          return spec.finish?.(span, exit)
        }
      )
    }
  )
