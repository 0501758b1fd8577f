import * as Context from "effect/Context"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import { isScopedTracer, type ScopedTracer, ScopedTracerTypeId } from "./scopedTracer.ts"
import { OtelSpanTypeId } from "./spanContext.ts"

/**
 * Stands where somebody else's code makes a span for what has one already. What
 * is written on it goes to that span, what is started under it becomes a child
 * of that span, and its end is nobody's end.
 *
 * @internal
 */
export class StandInSpan implements Tracer.Span {
  readonly _tag = "Span"
  readonly annotations: Context.Context<never>
  readonly parent: Option.Option<Tracer.AnySpan>
  private readonly original: Tracer.Span
  private readonly keeps: (key: string, value: unknown) => boolean

  /** `keeps` says which attributes get through. */
  constructor(span: Tracer.Span, keeps: (key: string, value: unknown) => boolean) {
    this.original = span
    this.keeps = keeps
    // So that `@effect/opentelemetry` finds the span of OpenTelemetry behind it.
    if (OtelSpanTypeId in span && "span" in span) {
      Object.assign(this, { [OtelSpanTypeId]: OtelSpanTypeId, span: span.span })
    }
    // Whatever looks for a parent passes over it, and finds the span.
    this.annotations = Context.add(span.annotations, Tracer.DisablePropagation, true)
    this.parent = Option.some(span)
  }

  get name() {
    return this.original.name
  }
  get kind() {
    return this.original.kind
  }
  get traceId() {
    return this.original.traceId
  }
  get spanId() {
    return this.original.spanId
  }
  get sampled() {
    return this.original.sampled
  }
  get status() {
    return this.original.status
  }
  get attributes() {
    return this.original.attributes
  }
  get links() {
    return this.original.links
  }
  attribute(key: string, value: unknown): void {
    if (this.keeps(key, value)) this.original.attribute(key, value)
  }
  event(name: string, startTime: bigint, attributes?: Record<string, unknown>): void {
    this.original.event(name, startTime, attributes)
  }
  addLinks(links: ReadonlyArray<Tracer.SpanLink>): void {
    this.original.addLinks(links)
  }
  end(): void {}
}

type SpanOptions = Parameters<Tracer.Tracer["span"]>[0]

/**
 * A tracer that makes no span where the parent is that span already, and is
 * nothing but the other tracer otherwise.
 *
 * @internal
 */
export const standInTracer = (
  tracer: Tracer.Tracer,
  isDouble: (options: SpanOptions, parent: Tracer.Span) => boolean,
  keeps: (key: string, value: unknown) => boolean
): Tracer.Tracer => {
  const wrapped: Tracer.Tracer = {
    span(options) {
      const parent = Option.getOrUndefined(options.parent)
      return parent?._tag === "Span" && isDouble(options, parent)
        ? new StandInSpan(parent, keeps)
        : tracer.span(options)
    },
    ...(tracer.context === undefined ? undefined : { context: tracer.context })
  }
  return isScopedTracer(tracer)
    ? {
      ...wrapped,
      [ScopedTracerTypeId]: (scope) => standInTracer(tracer[ScopedTracerTypeId](scope), isDouble, keeps)
    } as ScopedTracer
    : wrapped
}
