import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { errorType } from "./errors.ts"
import { isLiveSpan } from "./liveSpan.ts"
import { reportOnce } from "./reportOnce.ts"
import * as semconv from "./semconv.ts"
import { type Attributes, SpanSource } from "./startAttributes.ts"
import { guardToolkitArguments } from "./toolkitArguments.ts"

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
  /** Whether the span takes no `parameters` beside a `tool`, which is how `effect/ai` writes a tool's arguments. */
  readonly hidesToolkitArguments?: boolean | undefined
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

// What is written may come out of the caller's objects, whose getters can throw; the traced effect must not notice.

const begin = <A, E>(span: Tracer.Span, spec: SpanSpec<A, E>): Effect.Effect<void> | undefined => {
  try {
    if (!isLiveSpan(span)) {
      if (spec.hidesToolkitArguments !== undefined) guardToolkitArguments(span, spec)
      setAttributes(span, spec.start)
    }
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
    if (exit._tag === "Failure" && !isLiveSpan(span) && !span.attributes.has(semconv.ERROR_TYPE)) {
      setAttribute(span, semconv.ERROR_TYPE, errorType(exit.cause))
    }
    return spec.finish?.(span, exit)
  } catch {
    return undefined
  }
}

/** The context of what runs inside a span. */
const contextInside = <A, E>(
  context: Context.Context<never>,
  span: Tracer.Span,
  spec: SpanSpec<A, E>
): Context.Context<never> =>
  Context.add(spec.inside === undefined ? context : Context.merge(context, spec.inside), Tracer.ParentSpan, span)

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
  Effect.updateContext(self, (context: Context.Context<R>) => contextInside(context, span, spec) as Context.Context<R>)

/** The span that Effect would take for the parent. */
const currentParent = (span: Tracer.AnySpan | undefined): Tracer.AnySpan | undefined => {
  let parent = span
  while (parent !== undefined && Context.get(parent.annotations, Tracer.DisablePropagation)) {
    parent = parent._tag === "Span" ? Option.getOrUndefined(parent.parent) : undefined
  }
  return parent
}

const isBelowLevel = (context: Context.Context<never>): boolean => {
  const minimum = Context.get(context, Tracer.MinimumTraceLevel)
  return minimum !== "All" && LogLevel.isGreaterThan(minimum, Context.get(context, Tracer.CurrentTraceLevel))
}

/**
 * What `Effect.makeSpan` does, for a fiber whose tracer is known to be there:
 * nothing is looked up twice, and nothing that is not needed.
 */
const makeSpan = <A, E>(
  fiber: Fiber.Fiber<unknown, unknown>,
  tracer: Tracer.Tracer,
  spec: SpanSpec<A, E>,
  startTime: bigint
): Tracer.Span => {
  const { cache, context } = fiber
  const parent = spec.parent ?? (spec.root === true ? undefined : currentParent(cache.span))
  const links = Context.get(context, References.TracerSpanLinks)
  const span = tracer.span({
    name: spec.name,
    parent: Option.fromUndefinedOr(parent),
    annotations: Context.add(Context.empty(), SpanSource, spec),
    links: spec.links === undefined ? links.slice() : [...links, ...spec.links],
    startTime,
    kind: spec.kind,
    root: spec.root ?? false,
    sampled: parent?.sampled !== false && !isBelowLevel(context)
  })
  const annotations = Context.get(context, References.TracerSpanAnnotations)
  for (const key in annotations) span.attribute(key, annotations[key])
  return span
}

const endSpan = (span: Tracer.Span, clock: Clock.Clock | undefined, exit: Exit.Exit<unknown, unknown>): undefined => {
  if (span.status._tag !== "Ended") span.end(clock?.currentTimeNanosUnsafe() ?? 0n, exit)
}

/** Goes on with an effect in another context, which stays. */
const within = <A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  context: Context.Context<never>,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    fiber.setContext(context)
    return self
  })

/**
 * Runs an effect without the span whose options have thrown where they were
 * read.
 *
 * @internal
 */
export const withoutSpan = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  reader: object,
  error: unknown
): Effect.Effect<A, E, R> => {
  const problem = reportOnce(reader, "The options of a span could not be read; it is left out", error)
  return problem === undefined ? self : Effect.andThen(problem, self)
}

/**
 * As {@link traced}, with what is to be known of the span made from options of
 * the caller's. Those may throw where they are read; where tracing is off,
 * nobody reads them, so the effect runs without the span.
 *
 * @internal
 */
export const tracedBy = <A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  self: Effect.Effect<A, E, R>,
  make: (fiber: Fiber.Fiber<unknown, unknown>) => SpanSpec<A, E>
): Effect.Effect<A, E, R> => {
  let spec: SpanSpec<A, E>
  try {
    spec = make(fiber)
  } catch (error) {
    return withoutSpan(self, make, error)
  }
  return traced(fiber, self, spec)
}

const evaluate = "~effect/Effect/evaluate"

/**
 * Runs an effect inside a span. Only for a fiber that is evaluating
 * `Effect.withFiber`, and that tracing is not off for: its span is made, and
 * its context changed, at once. The one finalizer is in its place before
 * anything else can happen to the fiber, so that the span ends and the context
 * comes back on every way out, also where an interruption arrives before the
 * effect has begun.
 *
 * @internal
 */
export const traced = <A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  self: Effect.Effect<A, E, R>,
  spec: SpanSpec<A, E>
): Effect.Effect<A, E, R> => {
  const { context } = fiber
  const clock = Context.get(context, References.TracerTimingEnabled) ? Context.get(context, Clock.Clock) : undefined
  const span = makeSpan(fiber, fiber.cache.tracer!, spec, clock?.currentTimeNanosUnsafe() ?? 0n)
  const first = begin(span, spec)
  const inside = contextInside(context, span, spec)
  if (first === undefined) fiber.setContext(inside)
  const finalized = Effect.onExitPrimitive(
    first === undefined ? self : Effect.andThen(first, within(fiber, inside, self)),
    (exit) => {
      fiber.setContext(context)
      const last = finish(span, spec, exit)
      return last === undefined
        ? endSpan(span, clock, exit)
        : Effect.onExitPrimitive(last, () => endSpan(span, clock, exit))
    }
  )
  return (finalized as unknown as Tracer.EffectPrimitive<typeof self>)[evaluate](fiber)
}

/**
 * Starts a span that ends with a scope, whose exit is the span's.
 *
 * @internal
 */
export const startSpan = <A, E>(
  spec: Omit<SpanSpec<A, E>, "links" | "parent" | "root">,
  scope: Scope.Scope
): Effect.Effect<Tracer.Span> =>
  Effect.uninterruptibleMask((restore) => {
    const options = { kind: spec.kind, annotations: Context.make(SpanSource, spec) }
    return Effect.flatMap(
      Effect.provideService(Effect.makeSpanScoped(spec.name, options), Scope.Scope, scope),
      (span) => {
        const first = begin(span, spec)
        // Finalizers run in reverse, so this one still finds the span open.
        const added = Scope.addFinalizerExit(scope, (exit) => finish(span, spec, exit) ?? Effect.void)
        return first === undefined ? Effect.as(added, span) : Effect.as(Effect.andThen(added, restore(first)), span)
      }
    )
  })
