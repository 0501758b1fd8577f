/**
 * OpenTelemetry's active context, kept where Effect code runs, so that
 * libraries instrumented for OpenTelemetry nest under the right span.
 *
 * @internal
 */
import * as Otel from "@opentelemetry/api"
import type * as Fiber from "effect/Fiber"
import type * as Tracer from "effect/Tracer"
import { AsyncLocalStorage } from "node:async_hooks"

type Hook = NonNullable<Tracer.Tracer["context"]>

/** The context in which a fiber's code is to run; `undefined` leaves the one that is active. */
type ContextOf = (fiber: Fiber.Fiber<unknown, unknown>) => Otel.Context | undefined

/** The key under which a context holds its span. The API keeps it to itself, but asks a context for it. */
const SPAN_KEY: symbol | undefined = (() => {
  let asked: symbol | undefined
  const probe: Otel.Context = {
    getValue: (key) => {
      asked = key
    },
    setValue: () => probe,
    deleteValue: () => probe
  }
  Otel.trace.getSpan(probe)
  return asked
})()

/** A context with a span of its own. The API's contexts copy a map and make three functions each. */
class ContextWithSpan implements Otel.Context {
  /** Whose values it has but for the span. Never another of this class, so that no chain of them can grow. */
  readonly base: Otel.Context
  readonly span: Otel.Span

  constructor(base: Otel.Context, span: Otel.Span) {
    this.base = base
    this.span = span
  }

  getValue(key: symbol): unknown {
    return key === SPAN_KEY ? this.span : this.base.getValue(key)
  }

  setValue(key: symbol, value: unknown): Otel.Context {
    return Otel.trace.setSpan(this.base, this.span).setValue(key, value)
  }

  deleteValue(key: symbol): Otel.Context {
    return Otel.trace.setSpan(this.base, this.span).deleteValue(key)
  }
}

/**
 * A context with another span in it.
 *
 * @internal
 */
export const withSpan = (context: Otel.Context, span: Otel.Span): Otel.Context =>
  new ContextWithSpan(context instanceof ContextWithSpan ? context.base : context, span)

const evaluate = "~effect/Effect/evaluate"

/** What a context manager that is not ours allows: entering anew for every primitive. */
const enterEach = (contextOf: ContextOf): Hook => (primitive, fiber) => {
  const wanted = contextOf(fiber)
  return wanted === undefined || Otel.context.active() === wanted
    ? primitive[evaluate](fiber)
    : Otel.context.with(wanted, () => primitive[evaluate](fiber))
}

const PROBE = Otel.createContextKey("loom-tracing/probe")

/** Whether anybody has registered a context manager: without one, entering a context has no effect. @internal */
export const hasContextManager = (): boolean =>
  Otel.context.with(Otel.ROOT_CONTEXT.setValue(PROBE, true), () => Otel.context.active().getValue(PROBE) === true)

/**
 * A context manager on `AsyncLocalStorage` that a fiber can enter once and
 * leave when it yields, instead of at every primitive.
 *
 * @internal
 */
export class LoomContextManager implements Otel.ContextManager {
  readonly storage = new AsyncLocalStorage<Otel.Context>()

  active(): Otel.Context {
    return this.storage.getStore() ?? Otel.ROOT_CONTEXT
  }

  with<A extends Array<unknown>, F extends (...args: A) => ReturnType<F>>(
    context: Otel.Context,
    fn: F,
    thisArg?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    return this.storage.run(context, () => fn.call(thisArg as ThisParameterType<F>, ...args))
  }

  bind<T>(context: Otel.Context, target: T): T {
    if (typeof target !== "function") return target
    const storage = this.storage
    return new Proxy(target, {
      apply: (fn, thisArg, args) => storage.run(context, () => Reflect.apply(fn as never, thisArg, args))
    })
  }

  enable(): this {
    return this
  }

  disable(): this {
    this.storage.disable()
    return this
  }
}

/** What a primitive evaluates to when the fiber stops running, for now or for good. */
const Yield: unknown = Symbol.for("effect/Effect/Yield")

/** The context that was active where a fiber began to run, while it has entered another. */
const Outer = Symbol("loom-tracing/Outer")

interface Entered extends Fiber.Fiber<unknown, unknown> {
  [Outer]?: Otel.Context | undefined
}

/**
 * Enters a context once and stays in it as long as the fiber wants it. When the
 * fiber stops running, the context that was active before is active again, so
 * that nothing leaks to the caller or to the fiber that runs next.
 */
const enterOnce = (storage: AsyncLocalStorage<Otel.Context>, contextOf: ContextOf): Hook => {
  const hook: Hook = (primitive, fiber) => {
    const entered: Entered = fiber
    const wanted = contextOf(fiber) ?? entered[Outer]
    if (wanted !== undefined) {
      const active = storage.getStore()
      if (active !== wanted) {
        entered[Outer] ??= active ?? Otel.ROOT_CONTEXT
        storage.enterWith(wanted)
      }
    }
    const result = primitive[evaluate](fiber)
    // Under another tracer this is not asked again, so that it would not see the fiber stop.
    if (entered[Outer] !== undefined && (result === Yield || fiber.cache.tracerContext !== hook)) {
      storage.enterWith(entered[Outer])
      entered[Outer] = undefined
    }
    return result
  }
  return hook
}

/**
 * The tracer hook for the context manager in force; none when there is none,
 * since it would run for every primitive of every fiber.
 *
 * @internal
 */
export const makeContextHook = (contextOf: ContextOf, manager?: LoomContextManager): Hook | undefined => {
  if (manager !== undefined) return enterOnce(manager.storage, contextOf)
  return hasContextManager() ? enterEach(contextOf) : undefined
}
