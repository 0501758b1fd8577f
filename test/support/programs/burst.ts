/**
 * Ends so many spans without ever giving the event loop a turn, as a loop over a large batch does:
 *
 *   node [--expose-gc] burst.ts COUNT BYTES
 *
 * It prints the export numbers as they are after release, the peak of its resident memory and, with `--expose-gc`, what
 * of its heap the burst kept in use, in megabytes.
 */
import { Effect, References } from "effect"
import { makeTracingLive, Tracing } from "../../../src/index.ts"

const [count, bytes] = process.argv.slice(2).map(Number)

// Of its own for every span, as real content is.
const content = (index: number) => `${index} `.padStart(bytes, "x")

const heap = () => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

const burst = Effect.gen(function*() {
  const tracing = yield* Tracing
  let turns = 0
  const turn = setImmediate(() => turns++)
  const before = heap()
  for (let index = 0; index < count; index++) {
    yield* Effect.void.pipe(
      Effect.withSpan("small", bytes === 0 ? {} : { attributes: { content: content(index) } })
    )
  }
  const kept = heap() - before
  clearImmediate(turn)
  return { tracing, turns, liveMegabytes: Math.round(kept / 1024 / 1024) }
}).pipe(Effect.provideService(References.PreventSchedulerYield, true))

const { tracing, ...rest } = await Effect.runPromise(
  burst.pipe(Effect.provide(makeTracingLive({ shutdownTimeout: "1 minute" })))
)
const stats = await Effect.runPromise(tracing.exportStats)
console.log(JSON.stringify({ ...stats, ...rest, megabytes: Math.round(process.resourceUsage().maxRSS / 1024) }))
