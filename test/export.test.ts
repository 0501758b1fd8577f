import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Logger } from "effect"
import { makeTracingLive, Tracing, type TracingOptions } from "loom-tracing"
import * as OtlpReceiver from "./support/OtlpReceiver.ts"
import * as OtlpReceiverProcess from "./support/OtlpReceiverProcess.ts"
import * as Program from "./support/Program.ts"

const withEnv = (env: Record<string, string>) => Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(env)))

/** A live layer that sends full batches and flushes, and nothing else, to make its requests predictable. */
const live = (options: TracingOptions, env: Record<string, string> = {}) => {
  const logs: Array<string> = []
  const layer = makeTracingLive({ exportInterval: "1 hour", ...options }).pipe(
    withEnv(env),
    Layer.provideMerge(Logger.layer([Logger.make(({ message }) => void logs.push(String(message)))])),
    Layer.orDie
  )
  return { layer, logs }
}

const end = (count: number, attributes: Record<string, unknown> = {}) =>
  Effect.repeat(Effect.withSpan(Effect.void, "span", { attributes }), { times: count - 1 })

const distinct = (receiver: OtlpReceiver.OtlpReceiver) => new Set(receiver.spans.map((span) => span.spanId)).size

describe("a burst that never yields", () => {
  /** Runs `burst.ts` against a receiver in another process. */
  const burst = Effect.fnUntraced(function*(args: ReadonlyArray<number>, node: ReadonlyArray<string>) {
    const receiver = yield* OtlpReceiverProcess.make
    const { code, stderr, stdout } = yield* Program.run("support/programs/burst.ts", {
      args,
      node,
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }
    })
    assert.strictEqual(code, 0, stderr)
    const { liveMegabytes, megabytes, turns, ...stats } = JSON.parse(stdout.split("\n").at(-2)!)
    assert.strictEqual(turns, 0)
    return { stats, liveMegabytes, megabytes, warnings: stdout, received: yield* receiver.stop }
  })

  it.live("of 100,000 small spans arrives whole, in less than 450 MB", () =>
    Effect.gen(function*() {
      const { megabytes, received, stats } = yield* burst([100_000, 0], [])
      assert.deepStrictEqual(stats, { ended: 100_000, exported: 100_000, dropped: 0, queued: 0 })
      assert.deepStrictEqual([received.distinctSpans, received.duplicateSpans], [100_000, 0])
      assert.isBelow(megabytes, 450)
    }), 120_000)

  it.live(
    "of 100,000 spans with 8 kB each takes no more memory than it may, and loses what it says it loses",
    () =>
      Effect.gen(function*() {
        // 800 MB would not fit into such a heap. V8 would let garbage lie in a larger one for as long as there is room.
        const { liveMegabytes, megabytes, received, stats, warnings } = yield* burst(
          [100_000, 8192],
          ["--max-old-space-size=256", "--expose-gc"]
        )
        assert.strictEqual(stats.ended, 100_000)
        assert.strictEqual(stats.queued, 0)
        assert.strictEqual(stats.exported + stats.dropped, 100_000)
        assert.deepStrictEqual([received.distinctSpans, received.duplicateSpans], [stats.exported, 0])
        // What fits into 128 MiB is kept.
        assert.closeTo(stats.exported, 128 * 1024 / 8.3, 500)
        // The bound is one of content; a span itself takes another kilobyte or so.
        assert.isBelow(liveMegabytes, 128 * 1.25)
        assert.isBelow(megabytes, 600)
        assert.include(warnings, `Spans were lost, ${stats.dropped} in all: ${stats.dropped} dropped from a full queue`)
      }),
    120_000
  )
})

describe("a collector that is killed", () => {
  it.live("gets all that has ended with the first flush after it is back", () =>
    Effect.gen(function*() {
      const { port, url } = yield* Effect.scoped(OtlpReceiver.make())
      const { layer } = live({ endpoint: url })
      yield* Effect.gen(function*() {
        const { exportStats, flush } = yield* Tracing
        yield* end(1)
        yield* flush
        assert.deepStrictEqual(yield* exportStats, { ended: 1, exported: 0, dropped: 0, queued: 1 })
        const receiver = yield* OtlpReceiver.make({ port })
        yield* end(1)
        yield* flush
        assert.deepStrictEqual(yield* exportStats, { ended: 2, exported: 2, dropped: 0, queued: 0 })
        assert.strictEqual(receiver.spans.length, 2)
      }).pipe(Effect.provide(layer))
    }))

  it.live("and starts again loses nothing, and gets at most twice what was on its way", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiverProcess.make
      const { layer, logs } = live({
        endpoint: receiver.url,
        exportInterval: "200 millis",
        shutdownTimeout: "20 seconds"
      })
      const tracing = yield* Effect.gen(function*() {
        const tick = Effect.delay(end(10), "10 millis")
        const second = Effect.repeat(tick, { times: 99 })
        yield* second
        yield* receiver.kill
        yield* second
        yield* second
        yield* receiver.start
        yield* second
        return yield* Tracing
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(yield* tracing.exportStats, { ended: 4000, exported: 4000, dropped: 0, queued: 0 })
      const received = yield* receiver.stop
      assert.strictEqual(received.distinctSpans, 4000)
      // Four requests with a batch each.
      assert.isAtMost(received.duplicateSpans, 4 * 512)
      assert.match(
        logs[0],
        /^Spans cannot be exported to http:\/\/127\.0\.0\.1:\d+ at present; they are kept and retried: 14 UNAVAILABLE/
      )
      assert.match(logs[1], /^Spans are exported to http:\/\/127\.0\.0\.1:\d+ again\./)
      assert.strictEqual(logs.length, 2, logs.join("\n"))
    }), 60_000)
})

describe.concurrent("a collector that answers", () => {
  interface Case {
    readonly name: string
    /** One for each request; the last also counts for all after it. */
    readonly replies: ReadonlyArray<OtlpReceiver.Reply>
    readonly exported: number
    readonly dropped: number
    readonly requests: number
    /** Milliseconds between the first two requests, at least. */
    readonly pause?: number
    readonly logs: ReadonlyArray<RegExp>
  }
  const outage = (message: string) =>
    new RegExp(
      `^Spans cannot be exported to http://127\\.0\\.0\\.1:\\d+\\S* at present; they are kept and retried: ${message}`
    )
  const again = /^Spans are exported to http:\/\/127\.0\.0\.1:\d+\S* again\./
  const refused = (message: string) =>
    new RegExp(`^The collector refused a batch of 10 spans, which are lost: ${message}`)
  const lost = (count: number, why: string) => new RegExp(`^Spans were lost, ${count} in all: ${count} ${why}`)

  const cases: ReadonlyArray<Case> = [
    {
      name: "RESOURCE_EXHAUSTED with RetryInfo gets the spans again when it said",
      replies: [OtlpReceiver.failure("RESOURCE_EXHAUSTED", { retryAfter: "300 millis" }), OtlpReceiver.success],
      exported: 10,
      dropped: 0,
      requests: 2,
      pause: 300,
      logs: [outage("8 RESOURCE_EXHAUSTED"), again]
    },
    {
      name: "RESOURCE_EXHAUSTED without RetryInfo does not get them again",
      replies: [OtlpReceiver.failure("RESOURCE_EXHAUSTED", { message: "over quota" })],
      exported: 0,
      dropped: 10,
      requests: 1,
      logs: [refused("8 RESOURCE_EXHAUSTED: over quota"), lost(10, "refused by the collector")]
    },
    {
      name: "UNAVAILABLE with RetryInfo gets them again when it said",
      replies: [OtlpReceiver.failure("UNAVAILABLE", { retryAfter: "1500 millis" }), OtlpReceiver.success],
      exported: 10,
      dropped: 0,
      requests: 2,
      pause: 1500,
      logs: [outage("14 UNAVAILABLE"), again]
    },
    {
      name: "UNAVAILABLE without RetryInfo gets them again after the backoff",
      replies: [OtlpReceiver.failure("UNAVAILABLE"), OtlpReceiver.success],
      exported: 10,
      dropped: 0,
      requests: 2,
      pause: 800,
      logs: [outage("14 UNAVAILABLE"), again]
    },
    {
      name: "INVALID_ARGUMENT does not get them again",
      replies: [OtlpReceiver.failure("INVALID_ARGUMENT", { message: "no trace id" })],
      exported: 0,
      dropped: 10,
      requests: 1,
      logs: [refused("3 INVALID_ARGUMENT: no trace id"), lost(10, "refused by the collector")]
    },
    {
      name: "UNAUTHENTICATED is told with what to do about it",
      replies: [OtlpReceiver.failure("UNAUTHENTICATED")],
      exported: 0,
      dropped: 10,
      requests: 1,
      logs: [/Check the credentials in OTEL_EXPORTER_OTLP_HEADERS\.$/, lost(10, "refused by the collector")]
    },
    {
      name: "with partial success has what it took",
      replies: [OtlpReceiver.partialSuccess(3, "too old")],
      exported: 7,
      dropped: 3,
      requests: 1,
      logs: [
        /^The collector accepted a batch of 10 spans but for 3, which are lost: too old$/,
        lost(3, "rejected from batches that were accepted in part")
      ]
    },
    {
      name: "with a warning alone has all",
      replies: [OtlpReceiver.partialSuccess(0, "slow down")],
      exported: 10,
      dropped: 0,
      requests: 1,
      logs: [/^The collector accepted the spans with a warning: slow down$/]
    },
    {
      name: "with garbage has them all the same",
      replies: [OtlpReceiver.garbage],
      exported: 10,
      dropped: 0,
      requests: 1,
      logs: [/not a valid ExportTraceServiceResponse$/]
    },
    {
      name: "by resetting the connection gets them again",
      replies: [OtlpReceiver.reset, OtlpReceiver.success],
      exported: 10,
      dropped: 0,
      requests: 2,
      pause: 800,
      logs: [outage("14 UNAVAILABLE"), again]
    }
  ]
  for (const { dropped, exported, logs: expected, name, pause, replies, requests } of cases) {
    it.live(`${name}, and the numbers are exact`, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        const arrivals: Array<number> = []
        yield* receiver.respondWith(({ index }) => {
          arrivals.push(performance.now())
          return replies[Math.min(index, replies.length - 1)]
        })
        const { layer, logs } = live({ endpoint: receiver.url })
        const stats = yield* Effect.gen(function*() {
          const tracing = yield* Tracing
          yield* end(10)
          yield* tracing.flush
          yield* receiver.awaitRequests(requests)
          // What the last answer said is known when the flush after it is over.
          yield* tracing.flush
          return yield* tracing.exportStats
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(stats, { ended: 10, exported, dropped, queued: 0 })
        assert.strictEqual(receiver.requests.length, requests)
        assert.deepStrictEqual([receiver.spans.length, distinct(receiver)], [exported, exported])
        if (pause !== undefined) assert.isAtLeast(arrivals[1] - arrivals[0], pause)
        assert.strictEqual(logs.length, expected.length, logs.join("\n"))
        for (const [index, pattern] of expected.entries()) assert.match(logs[index], pattern)
      }))
  }

  it.live("after two seconds each time gets each span once, several requests at a time", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      let pending = 0
      let most = 0
      yield* receiver.respondWith(() => {
        most = Math.max(most, ++pending)
        setTimeout(() => pending--, 2000)
        return OtlpReceiver.delayed("2 seconds")
      })
      const { layer, logs } = live({ endpoint: receiver.url, shutdownTimeout: "20 seconds" }, {
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "100"
      })
      const tracing = yield* Effect.andThen(end(1600), Tracing).pipe(Effect.provide(layer))
      assert.deepStrictEqual(yield* tracing.exportStats, { ended: 1600, exported: 1600, dropped: 0, queued: 0 })
      assert.deepStrictEqual([receiver.requests.length, receiver.spans.length, distinct(receiver)], [16, 1600, 1600])
      assert.strictEqual(most, 8)
      assert.deepStrictEqual(logs, [])
    }))
})

describe("a span of 10 MB among small ones", () => {
  const among = end(50).pipe(
    Effect.andThen(Effect.withSpan(Effect.void, "large", { attributes: { content: "x".repeat(10_000_000), id: 1 } })),
    Effect.andThen(end(50)),
    Effect.andThen(Tracing)
  )

  it.live("is counted and told, and the small ones arrive", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const { layer, logs } = live({ endpoint: receiver.url })
      const tracing = yield* among.pipe(Effect.provide(layer))
      assert.deepStrictEqual(yield* tracing.exportStats, { ended: 101, exported: 100, dropped: 1, queued: 0 })
      assert.deepStrictEqual([receiver.spans.length, distinct(receiver)], [100, 100])
      assert.match(logs[0], /^A span is too large and is lost .*OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT cuts/)
    }))

  it.live("is cut and arrives with them where the environment limits attributes", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const { layer, logs } = live({ endpoint: receiver.url }, { OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: "1000" })
      const tracing = yield* among.pipe(Effect.provide(layer))
      assert.deepStrictEqual(yield* tracing.exportStats, { ended: 101, exported: 101, dropped: 0, queued: 0 })
      const large = receiver.spans.find((span) => span.name === "large")!
      assert.deepStrictEqual(large.attributes, { content: "x".repeat(1000), id: 1 })
      assert.deepStrictEqual(logs, [])
    }))

  it.live("does not matter when many are too much for one message", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const { layer, logs } = live({ endpoint: receiver.url })
      const tracing = yield* end(12, { content: "x".repeat(1_000_000) }).pipe(
        Effect.andThen(Tracing),
        Effect.provide(layer)
      )
      assert.deepStrictEqual(yield* tracing.exportStats, { ended: 12, exported: 12, dropped: 0, queued: 0 })
      assert.strictEqual(distinct(receiver), 12)
      assert.deepStrictEqual(logs, [])
    }))
})
