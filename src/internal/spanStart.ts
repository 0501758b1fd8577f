import type * as Otel from "@opentelemetry/api"
import {
  type ReadableSpan,
  type Sampler,
  SamplingDecision,
  type Span,
  type SpanProcessor
} from "@opentelemetry/sdk-trace-base"

/**
 * The short way of start attributes into a span of the SDK. Those that
 * `startSpan` is given are copied and checked twice before the span checks
 * them once more. Here the sampler is shown a copy, and the first processor
 * writes it, so that no sampler and no other processor sees a difference.
 *
 * @internal
 */
export class SpanStart {
  /** The sampler of the provider, around the one that decides. */
  readonly sampler: Sampler
  /** Has to be the first processor of the provider. */
  readonly processor: SpanProcessor
  /** For the span that is being started, until the sampler has seen them. */
  private pending: Otel.Attributes | undefined = undefined
  /** For the span that the sampler has just let pass. */
  private passed: Otel.Attributes | undefined = undefined

  constructor(sampler: Sampler) {
    this.sampler = {
      shouldSample: (context, traceId, name, kind, attributes, links) => {
        const shown = this.take() ?? attributes
        const result = sampler.shouldSample(context, traceId, name, kind, shown, links)
        if (shown !== attributes && result.decision !== SamplingDecision.NOT_RECORD) {
          // What the sampler adds comes last.
          this.passed = result.attributes === undefined ? shown : Object.assign(shown, result.attributes)
        }
        return result
      },
      toString: () => sampler.toString()
    }
    this.processor = new StartProcessor((span) => this.write(span))
  }

  start(
    tracer: Otel.Tracer,
    name: string,
    options: Otel.SpanOptions,
    context: Otel.Context,
    attributes: Otel.Attributes | undefined
  ): Otel.Span {
    this.pending = attributes
    try {
      return tracer.startSpan(name, options, context)
    } finally {
      // A suppressed span has met no sampler, one whose sampler has thrown no processor.
      this.pending = undefined
      this.passed = undefined
    }
  }

  /** A sampler may change what it is given, and may start spans of its own. */
  private take(): Otel.Attributes | undefined {
    const { pending } = this
    this.pending = undefined
    return pending === undefined ? undefined : { ...pending }
  }

  private write(span: Span): void {
    const { passed } = this
    if (passed === undefined) return
    this.passed = undefined
    span.setAttributes(passed)
  }
}

class StartProcessor implements SpanProcessor {
  readonly onStart: (span: Span) => void

  constructor(onStart: (span: Span) => void) {
    this.onStart = onStart
  }

  onEnd(_span: ReadableSpan): void {}

  forceFlush(): Promise<void> {
    return Promise.resolve()
  }

  shutdown(): Promise<void> {
    return Promise.resolve()
  }
}
