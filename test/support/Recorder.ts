/** The live layer with its spans kept in memory, through the real SDK. */
import { assert } from "@effect/vitest"
import { SpanKind, SpanStatusCode } from "@opentelemetry/api"
import type { ReadableSpan, Sampler, SpanProcessor } from "@opentelemetry/sdk-trace-base"
import { ConfigProvider, Effect, Layer } from "effect"
import { type GenAiSettings, makeTracingLive } from "loom-tracing"

export interface RecorderOptions {
  readonly genAi?: Partial<GenAiSettings>
  readonly sampler?: Sampler
  /** The environment that the layer sees. Nothing of the real one gets through. */
  readonly env?: Record<string, string>
}

export const make = (options: RecorderOptions = {}) => {
  const spans: Array<ReadableSpan> = []
  const processor: SpanProcessor = {
    onStart() {},
    onEnd(span) {
      spans.push(span)
    },
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve()
  }
  const layer = Layer.orDie(makeTracingLive({
    exporter: "none",
    spanProcessors: [processor],
    sampler: options.sampler,
    genAi: options.genAi
  })).pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(options.env ?? {})))
  )
  return {
    layer,
    /** The spans that have ended, in that order. */
    spans: spans as ReadonlyArray<ReadableSpan>,
    /** The only span of that name. */
    span(name: string): ReadableSpan {
      const found = spans.filter((span) => span.name === name)
      assert.strictEqual(found.length, 1, `spans named "${name}" among: ${spans.map((span) => span.name).join(", ")}`)
      return found[0]
    },
    run: <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> => Effect.provide(effect, layer)
  }
}

/** What of a span is told apart by eye: kind, status and the like by name. */
export const summarize = (span: ReadableSpan) => ({
  name: span.name,
  kind: SpanKind[span.kind],
  status: SpanStatusCode[span.status.code],
  attributes: span.attributes
})
