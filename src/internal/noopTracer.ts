import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"

const INVALID_TRACE_ID = "0".repeat(32)
const INVALID_SPAN_ID = "0".repeat(16)

const ENDED: Tracer.SpanStatus = { _tag: "Ended", startTime: 0n, endTime: 0n, exit: Exit.void }
const NO_ATTRIBUTES: ReadonlyMap<string, unknown> = new Map()
const NO_LINKS: ReadonlyArray<Tracer.SpanLink> = []

/**
 * A span that records nothing. Its identity is its parent's, so that code which
 * propagates the current span by itself passes a remote context on, and zeros
 * without one, which W3C defines as no context.
 */
class NoopSpan implements Tracer.Span {
  readonly _tag = "Span"
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
  readonly parent: Option.Option<Tracer.AnySpan>
  readonly annotations: Context.Context<never>
  readonly kind: Tracer.SpanKind

  constructor(options: Parameters<Tracer.Tracer["span"]>[0]) {
    const parent = Option.getOrUndefined(options.parent)
    this.name = options.name
    this.traceId = parent?.traceId ?? INVALID_TRACE_ID
    this.spanId = parent?.spanId ?? INVALID_SPAN_ID
    this.sampled = parent?.sampled ?? false
    this.parent = options.parent
    this.annotations = Context.add(options.annotations, Tracer.DisablePropagation, true)
    this.kind = options.kind
  }

  get status() {
    return ENDED
  }
  get attributes() {
    return NO_ATTRIBUTES
  }
  get links() {
    return NO_LINKS
  }
  attribute(): void {}
  event(): void {}
  addLinks(): void {}
  end(): void {}
}

type Hook = Tracer.Tracer["context"]

let hook: Hook

/** @internal */
export const noopTracer: Tracer.Tracer = Tracer.make({
  span: (options) => new NoopSpan(options),
  get context() {
    // Effect asks whether there is one.
    return hook as NonNullable<Hook>
  }
})

/**
 * What runs without traces stays in OpenTelemetry's context of the span around
 * it, as long as a context manager of this package is registered in the
 * process. Returns what there was before.
 *
 * @internal
 */
export const setNoopHook = (next: Hook): Hook => {
  const before = hook
  hook = next
  return before
}
