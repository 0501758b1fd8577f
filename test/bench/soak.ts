/**
 * A steady load on the live layer, its collector being another process:
 *
 *   node test/bench/soak.ts [--minutes 30] [--rate 2000] [--outage SECONDS]
 *
 * `--rate` is in spans per second. With `--outage` the collector is killed after a third of the time, and starts again
 * on its port after so many seconds. Prints what was measured as JSON, and exits with 1 when memory was not flat, the
 * event loop was held up, or a span was lost or counted wrong.
 */
import { Effect, Schedule } from "effect"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { parseArgs } from "node:util"
import { makeTracingLive, Tracing, withLlmSpan } from "../../src/index.ts"
import * as OtlpReceiverProcess from "../support/OtlpReceiverProcess.ts"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    rate: { type: "string", default: "2000" },
    outage: { type: "string", default: "0" }
  }
})
const seconds = Number(values.minutes) * 60
const rate = Number(values.rate)
const outage = Number(values.outage)

const TICK = 10

/** A message that is handled with one call of a model: two spans. */
const handle = Effect.void.pipe(
  withLlmSpan({
    provider: "openai",
    request: { model: "gpt-4o", temperature: 0.2 },
    response: () => ({ model: "gpt-4o-2024-08-06", usage: { inputTokens: 100, outputTokens: 20 } })
  }),
  Effect.withSpan("handle", { attributes: { subject: "tasks" } })
)

/** As many spans as are due by the clock: a tick that comes late makes up for it. */
const load = Effect.suspend(() => {
  const started = performance.now()
  let made = 0
  const tick = Effect.suspend(() => {
    const due = Math.floor((performance.now() - started) / 1000 * rate / 2) - made
    made += due
    return due === 0 ? Effect.void : Effect.repeat(handle, { times: due - 1 })
  })
  return tick.pipe(
    Effect.repeat(Schedule.spaced(TICK)),
    Effect.timeoutOption(seconds * 1000)
  )
})

const megabytes = (bytes: number) => Math.round(bytes / 1024 / 1024 * 10) / 10
const mean = (samples: ReadonlyArray<number>) => samples.reduce((sum, sample) => sum + sample, 0) / samples.length

/** The resident memory, second by second. */
const sampleMemory = (samples: Array<number>) =>
  Effect.repeat(Effect.sync(() => samples.push(process.memoryUsage.rss())), Schedule.spaced("1 second"))

const program = Effect.gen(function*() {
  const receiver = yield* OtlpReceiverProcess.make
  const samples: Array<number> = []
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const interrupt = outage === 0 ? Effect.void : receiver.kill.pipe(
    Effect.delay(seconds * 1000 / 3),
    Effect.andThen(Effect.delay(receiver.start, outage * 1000))
  )
  const tracing = yield* Effect.gen(function*() {
    yield* Effect.forkChild(sampleMemory(samples))
    yield* Effect.forkChild(interrupt)
    delay.enable()
    yield* load
    delay.disable()
    return yield* Tracing
  }).pipe(Effect.provide(makeTracingLive({ endpoint: receiver.url, shutdownTimeout: "1 minute" })))
  const stats = yield* tracing.exportStats
  const received = yield* receiver.stop

  const third = Math.floor(samples.length / 3)
  const [middle, last] = [mean(samples.slice(third, -third)), mean(samples.slice(-third))]
  const p99 = delay.percentile(99) / 1e6
  const passed = {
    // What waits through an outage takes memory.
    memoryIsFlat: outage > 0 || Math.abs(last - middle) <= middle * 0.05,
    eventLoopIsFree: p99 < 20,
    nothingIsLost: stats.exported === stats.ended && received.distinctSpans === stats.ended,
    // Four requests with a batch each were on their way when the collector was killed.
    nothingCameTwice: received.duplicateSpans <= (outage === 0 ? 0 : 4 * 512)
  }
  console.log(JSON.stringify(
    {
      minutes: seconds / 60,
      rate,
      outage,
      spansPerSecond: Math.round(stats.ended / seconds),
      stats,
      received: { distinct: received.distinctSpans, duplicates: received.duplicateSpans },
      rssMegabytes: {
        first: megabytes(mean(samples.slice(0, third))),
        middle: megabytes(middle),
        last: megabytes(last),
        most: megabytes(Math.max(...samples))
      },
      eventLoopDelayMillis: { p50: delay.percentile(50) / 1e6, p99, most: delay.max / 1e6 },
      passed
    },
    undefined,
    2
  ))
  if (Object.values(passed).includes(false)) process.exitCode = 1
})

await Effect.runPromise(Effect.scoped(program))
