/** In a file of its own, since it fills the instruments of its process. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric } from "effect"
import { GenAiMetrics, withToolSpan } from "loom-tracing"
import * as Recorder from "./support/Recorder.ts"

describe("GenAiMetrics", () => {
  it.effect("names without end do not fill the memory: what is too many is counted together", () =>
    Effect.gen(function*() {
      yield* Effect.forEach(
        Array.from({ length: 3000 }, (_, index) => index),
        (index) => Effect.void.pipe(withToolSpan({ name: `tool-${index}` })),
        { discard: true }
      ).pipe(Effect.provide(Layer.merge(Recorder.make().layer, Layer.succeed(GenAiMetrics, true))))
      const series = (yield* Metric.snapshot).flatMap((metric) =>
        metric.type === "Histogram" ? [{ attributes: metric.attributes, count: metric.state.count }] : []
      )
      assert.lengthOf(series, 2001)
      const rest = series.find(({ attributes }) => attributes?.["otel.metric.overflow"] === "true")
      assert.strictEqual(rest?.count, 1000)
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
})
