/** The live layer with its spans kept in memory, through the real SDK. */
import { SpanKind, SpanStatusCode } from "@opentelemetry/api"
import type { ReadableSpan, Sampler } from "@opentelemetry/sdk-trace-base"
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { assert } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { type GenAiSettings, makeTracingLive } from "loom-tracing"

export interface RecorderOptions {
  readonly genAi?: Partial<GenAiSettings>
  readonly sampler?: Sampler
  /** The environment that the layer sees. Nothing of the real one gets through. */
  readonly env?: Record<string, string>
}

export const make = (options: RecorderOptions = {}) => {
  const exporter = new InMemorySpanExporter()
  const layer = Layer.orDie(makeTracingLive({
    exporter: "none",
    spanProcessors: [new SimpleSpanProcessor(exporter)],
    ...(options.sampler === undefined ? {} : { sampler: options.sampler }),
    ...(options.genAi === undefined ? {} : { genAi: options.genAi })
  })).pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(options.env ?? {})))
  )
  let finished: ReadonlyArray<ReadableSpan> = []
  return {
    layer,
    /** The spans that have ended, in that order. */
    get spans(): ReadonlyArray<ReadableSpan> {
      // The exporter forgets its spans when the layer is released.
      const spans = exporter.getFinishedSpans()
      if (spans.length > 0) finished = spans.slice()
      return finished
    },
    /** The only span of that name. */
    span(name: string): ReadableSpan {
      const found = this.spans.filter((span) => span.name === name)
      assert.strictEqual(found.length, 1, `spans named "${name}" among: ${this.spans.map((span) => span.name).join(", ")}`)
      return found[0]
    },
    run<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> {
      // Read before release, which clears the exporter.
      return Effect.ensuring(effect, Effect.sync(() => this.spans)).pipe(Effect.provide(layer))
    }
  }
}

/** What of a span is told apart by eye: kind, status and the like by name. */
export const summarize = (span: ReadableSpan) => ({
  name: span.name,
  kind: SpanKind[span.kind],
  status: SpanStatusCode[span.status.code],
  attributes: span.attributes
})
