import type { Context } from "@opentelemetry/api"
import type { ReadableSpan, Span, SpanProcessor } from "@opentelemetry/sdk-trace-base"
import * as Predicate from "effect/Predicate"

/**
 * A processor of the user's, whose `async` methods must not end the process:
 * the SDK does not look at what they return.
 *
 * @internal
 */
export class UserProcessor implements SpanProcessor {
  private readonly processor: SpanProcessor
  private readonly rejected: (error: unknown) => void

  constructor(processor: SpanProcessor, rejected: (error: unknown) => void) {
    this.processor = processor
    this.rejected = rejected
  }

  onStart(span: Span, context: Context): void {
    this.watch(this.processor.onStart(span, context))
  }

  onEnding(span: Span): void {
    this.watch(this.processor.onEnding?.(span))
  }

  onEnd(span: ReadableSpan): void {
    this.watch(this.processor.onEnd(span))
  }

  forceFlush(): Promise<void> {
    return this.processor.forceFlush()
  }

  shutdown(): Promise<void> {
    return this.processor.shutdown()
  }

  private watch(returned: unknown): void {
    // Nearly all return nothing, three times for every span.
    if (returned !== undefined && Predicate.isPromiseLike(returned)) returned.then(undefined, this.rejected)
  }
}
