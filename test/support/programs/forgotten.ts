/**
 * A program whose runtime nobody disposes, unless it is told to:
 *
 *   node forgotten.ts COUNT [late | exit | processor]
 *
 * `late` ends one more span when the program has nothing left to do, `exit` disposes the runtime and exits with code 3,
 * `processor` adds a span processor that prints how many spans it flushes. It prints `done` when its work is.
 */
import type { SpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Effect, ManagedRuntime, Metric } from "effect"
import { makeTracingLive } from "../../../src/index.ts"

const [count, end] = process.argv.slice(2)

let held = 0
const processor: SpanProcessor = {
  onStart() {},
  onEnd: () => void held++,
  forceFlush: async () => {
    console.log(`flushed ${held}`)
    held = 0
  },
  shutdown: () => Promise.resolve()
}

const runtime = ManagedRuntime.make(
  makeTracingLive({ shutdownTimeout: "1 second", spanProcessors: end === "processor" ? [processor] : [] })
)

if (end === "late") {
  process.once("beforeExit", () => void runtime.runPromise(Effect.withSpan(Effect.sleep("20 millis"), "late")))
}

const work = Effect.withSpan(Metric.update(Metric.counter("works"), 1), "forgotten")
await runtime.runPromise(Effect.repeat(work, { times: Number(count) - 1 }))
console.log("done")

if (end === "exit") {
  await runtime.dispose()
  process.exit(3)
}
