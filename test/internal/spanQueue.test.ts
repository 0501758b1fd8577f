import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import { type Attributes, context, ROOT_CONTEXT } from "@opentelemetry/api"
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks"
import { type ExportResult, ExportResultCode, isTracingSuppressed } from "@opentelemetry/core"
import { resourceFromAttributes } from "@opentelemetry/resources"
import { BasicTracerProvider, type ReadableSpan, type Sampler, SamplingDecision } from "@opentelemetry/sdk-trace-base"
import * as Schema from "effect/Schema"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { type PartialSuccess, SpanQueue, type SpanQueueOptions } from "../../src/internal/spanQueue.ts"

type Callback = (result: ExportResult & { readonly partialSuccess?: PartialSuccess }) => void

/** What the exporter does with one request. */
type Answer = (callback: Callback, spans: ReadonlyArray<ReadableSpan>) => void

const succeed: Answer = (callback) => callback({ code: ExportResultCode.SUCCESS })
const partly = (partialSuccess: unknown): Answer => (callback) =>
  callback({ code: ExportResultCode.SUCCESS, partialSuccess: partialSuccess as PartialSuccess })
const failWith = (error: unknown): Answer => (callback) =>
  callback({ code: ExportResultCode.FAILED, error: error as Error })
const answerGarbage = (result: unknown): Answer => (callback) => callback(result as ExportResult)
const after = (millis: number, answer: Answer): Answer => (callback, spans) =>
  void setTimeout(() => answer(callback, spans), millis)
const never: Answer = () => {}
const throwing = (error: unknown): Answer => () => {
  throw error
}
/** What an exporter does that is written as an `async` function. */
const rejecting = (error: unknown): Answer => () => Promise.reject(error)

/** An error as grpc-js makes it. */
const grpcError = (code: number, message: string, details?: Uint8Array) => ({
  code,
  message: `${code} ${message}`,
  metadata: { get: (key: string) => key === "grpc-status-details-bin" && details !== undefined ? [details] : [] }
})
const unavailable = failWith(grpcError(14, "UNAVAILABLE: connect ECONNREFUSED 127.0.0.1:4317"))
const invalid = failWith(grpcError(3, "INVALID_ARGUMENT: no thanks"))
const tooLarge = failWith(grpcError(8, "RESOURCE_EXHAUSTED: Received message larger than max (5000000 vs 4194304)"))

const protobuf = (field: number, value: Uint8Array | number): Array<number> => {
  if (typeof value !== "number") return [(field << 3) | 2, value.length, ...value]
  const bytes = [field << 3]
  for (let rest = BigInt.asUintN(64, BigInt(value));; rest >>= 7n) {
    if (rest < 128n) return [...bytes, Number(rest)]
    bytes.push(Number(rest & 127n) | 128)
  }
}
const anyOf = (type: string, value: ReadonlyArray<number>) =>
  Uint8Array.from([...protobuf(1, new TextEncoder().encode(type)), ...protobuf(2, Uint8Array.from(value))])
const statusOf = (...details: ReadonlyArray<Uint8Array>) =>
  Buffer.from([...protobuf(1, 14), ...details.flatMap((detail) => protobuf(3, detail))])
const retryInfo = (seconds: number, nanos: number) =>
  anyOf(
    "type.googleapis.com/google.rpc.RetryInfo",
    protobuf(1, Uint8Array.from([...protobuf(1, seconds), ...protobuf(2, nanos)]))
  )
const debugInfo = anyOf("type.googleapis.com/google.rpc.DebugInfo", protobuf(2, new TextEncoder().encode("why")))

interface Request {
  readonly at: number
  readonly names: ReadonlyArray<string>
}

interface SetupOptions extends Partial<SpanQueueOptions> {
  /** The answers to the first requests; the last one goes on. */
  readonly answers?: ReadonlyArray<Answer>
  readonly onReport?: (message: string) => void
}

/** A queue of small limits on a provider whose spans end into it. */
const setup = ({ answers = [succeed], onReport, ...options }: SetupOptions = {}) => {
  const started = performance.now()
  const requests: Array<Request> = []
  const reports: Array<string> = []
  const exporter = {
    shutdowns: 0,
    export(spans: Array<ReadableSpan>, callback: Callback) {
      const answer = answers[Math.min(requests.length, answers.length - 1)]!
      requests.push({ at: performance.now() - started, names: spans.map((span) => span.name) })
      return answer(callback, spans)
    },
    async shutdown() {
      exporter.shutdowns++
    }
  }
  const queue = new SpanQueue({
    exporter,
    maxQueueSize: 1000,
    maxQueueBytes: 10_000_000,
    maxExportBatchSize: 10,
    maxExportBatchBytes: 1_000_000,
    scheduleDelay: 5000,
    exportTimeout: 30_000,
    report: (message) => {
      reports.push(message)
      onReport?.(message)
    },
    random: () => 0.5,
    ...options
  })
  const tracer = new BasicTracerProvider({ spanProcessors: [queue] }).getTracer("test")
  const end = (name: string, attributes: Attributes = {}) => tracer.startSpan(name, { attributes }).end()
  return {
    queue,
    exporter,
    requests,
    reports,
    tracer,
    end,
    /** Ends so many spans, named by their number from 0. */
    endMany: (count: number) => {
      const first = queue.stats.ended
      for (let i = first; i < first + count; i++) end(String(i))
    },
    names: () => requests.map(({ names }) => names.join(" ")),
    times: () => requests.map(({ at }) => Math.round(at))
  }
}

const recordOnly: Sampler = {
  shouldSample: () => ({ decision: SamplingDecision.RECORD }),
  toString: () => "recordOnly"
}

const stats = (ended: number, exported: number, dropped: number, queued: number) => ({
  ended,
  exported,
  dropped,
  queued
})

/** Lets everything happen that is to happen now, and in the given time. */
const pass = (millis = 0) => vi.advanceTimersByTimeAsync(millis)

const isSettled = async (promise: Promise<unknown>) => {
  let settled = false
  void promise.finally(() => settled = true)
  await pass()
  return settled
}

/** Fake immediates would take a fake millisecond each when they follow from another; these take none. */
const useFakeTime = () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"] })
  const cleared = new Set<unknown>()
  vi.stubGlobal("setImmediate", (run: () => void) => {
    const handle = {}
    queueMicrotask(() => cleared.has(handle) || run())
    return handle
  })
  vi.stubGlobal("clearImmediate", (handle: unknown) => cleared.add(handle))
}

const useRealTime = () => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
}

describe("SpanQueue", () => {
  beforeEach((test) => {
    useFakeTime()
    test.onTestFinished(useRealTime)
  })

  describe("what is counted", () => {
    it("counts spans that are sampled, and no others", async () => {
      const { end, queue, requests } = setup()
      const record = new BasicTracerProvider({ spanProcessors: [queue], sampler: recordOnly }).getTracer("test")
      record.startSpan("recorded only").end()
      end("sampled")
      assert.deepStrictEqual(queue.stats, stats(1, 0, 0, 1))
      await pass(5000)
      assert.deepStrictEqual(requests, [{ at: 5000, names: ["sampled"] }])
    })

    it("counts a span as queued until the exporter has confirmed it", async () => {
      const { endMany, queue } = setup({ answers: [after(100, succeed)] })
      endMany(10)
      await pass(99)
      assert.deepStrictEqual(queue.stats, stats(10, 0, 0, 10))
      await pass(1)
      assert.deepStrictEqual(queue.stats, stats(10, 10, 0, 0))
    })
  })

  describe("when spans are sent", () => {
    it("sends a full batch at once, but not inside the span's end", async () => {
      const { endMany, names } = setup()
      endMany(25)
      assert.deepStrictEqual(names(), [])
      await pass()
      assert.deepStrictEqual(names(), ["0 1 2 3 4 5 6 7 8 9", "10 11 12 13 14 15 16 17 18 19"])
    })

    it("sends a batch that does not fill after the schedule delay of its first span", async () => {
      const { endMany, names, times } = setup()
      await pass(1000)
      endMany(1)
      await pass(4000)
      endMany(1)
      await pass(1000)
      endMany(1)
      await pass(5000)
      assert.deepStrictEqual(names(), ["0 1", "2"])
      assert.deepStrictEqual(times(), [6000, 11_000])
    })

    it("never sends more bytes in a request than it may, unless one span alone has more", async () => {
      const { end, names } = setup({ maxExportBatchBytes: 10_000 })
      end("a", { text: "x".repeat(4000) })
      end("b", { text: "x".repeat(4000) })
      end("c", { texts: ["x".repeat(2000), "x".repeat(2000)] })
      end("huge", { text: "x".repeat(50_000) })
      end("d", { text: "x".repeat(4000) })
      await pass()
      assert.deepStrictEqual(names(), ["a b", "c", "huge"])
      await pass(5000)
      assert.deepStrictEqual(names(), ["a b", "c", "huge", "d"])
    })

    it("measures names, attributes, events, links and status, in bytes and not in characters", async () => {
      const { names, tracer } = setup({ maxExportBatchBytes: 10_000 })
      const text = "語".repeat(3000)
      const spanContext = { traceId: "1".repeat(32), spanId: "1".repeat(16), traceFlags: 1 }
      tracer.startSpan("attribute", { attributes: { text } }).end()
      tracer.startSpan("event").addEvent("event", { text }).end()
      tracer.startSpan("link", { links: [{ context: spanContext, attributes: { text } }] }).end()
      tracer.startSpan("status").setStatus({ code: 2, message: text }).end()
      tracer.startSpan("array", { attributes: { array: [text.slice(0, 1500), text.slice(0, 1500)] } }).end()
      tracer.startSpan("x".repeat(9000)).end()
      await pass(5000)
      assert.deepStrictEqual(names(), ["attribute", "event", "link", "status", "array", "x".repeat(9000)])
    })

    it("has eight requests in flight at most", async () => {
      const { endMany, queue, requests } = setup({ answers: [after(100, succeed)] })
      endMany(200)
      await pass()
      assert.strictEqual(requests.length, 8)
      await pass(100)
      assert.strictEqual(requests.length, 16)
      assert.deepStrictEqual(queue.stats, stats(200, 80, 0, 120))
    })

    it("sends a batch per turn of the event loop, so that a backlog does not block it", async () => {
      useRealTime()
      vi.useFakeTimers()
      const { endMany, requests } = setup()
      endMany(50)
      const seen: Array<number> = []
      for (let turn = 0; turn < 5; turn++) {
        vi.advanceTimersToNextTimer()
        seen.push(requests.length)
      }
      assert.deepStrictEqual(seen, [1, 2, 3, 4, 5])
    })

    it("loses nothing of a burst of 100,000 spans that never yields", async () => {
      const { endMany, queue, requests } = setup({
        maxQueueSize: 131_072,
        maxExportBatchSize: 512,
        maxQueueBytes: 2 ** 27
      })
      endMany(100_000)
      assert.deepStrictEqual(queue.stats, stats(100_000, 0, 0, 100_000))
      await pass(5000)
      assert.deepStrictEqual(queue.stats, stats(100_000, 100_000, 0, 0))
      assert.strictEqual(new Set(requests.flatMap(({ names }) => names)).size, 100_000)
    })

    it("waits for resource attributes that are still being detected, but not for ever", async () => {
      const { queue, requests } = setup({ exportTimeout: 1000, maxExportBatchSize: 1 })
      const detected = Promise.withResolvers<string>()
      const endWith = (attribute: Promise<string>) =>
        new BasicTracerProvider({ resource: resourceFromAttributes({ attribute }), spanProcessors: [queue] })
          .getTracer("test").startSpan("span").end()
      endWith(detected.promise)
      await pass(500)
      assert.strictEqual(requests.length, 0)
      detected.resolve("yes")
      await pass()
      assert.deepStrictEqual(queue.stats, stats(1, 1, 0, 0))

      endWith(new Promise(() => {}))
      await pass(1999)
      assert.strictEqual(requests.length, 1)
      await pass(1)
      assert.deepStrictEqual(queue.stats, stats(2, 2, 0, 0))

      const late = Promise.withResolvers<string>()
      endWith(late.promise)
      await pass(1500)
      late.resolve("too late for the first attempt")
      await pass(499)
      assert.strictEqual(requests.length, 2)
      await pass(1)
      assert.deepStrictEqual(queue.stats, stats(3, 3, 0, 0))
    })

    it("lets the exporter change the array that it gets", async () => {
      const { endMany, queue, names } = setup({
        answers: [(callback, spans) => {
          ;(spans as Array<ReadableSpan>).length = 0
          unavailable(callback, spans)
        }, succeed]
      })
      endMany(10)
      await pass(1000)
      assert.deepStrictEqual(names(), ["0 1 2 3 4 5 6 7 8 9", "0 1 2 3 4 5 6 7 8 9"])
      assert.deepStrictEqual(queue.stats, stats(10, 10, 0, 0))
    })

    it("suppresses tracing while the exporter runs, whatever the span's own context", async (test) => {
      context.setGlobalContextManager(new AsyncLocalStorageContextManager())
      test.onTestFinished(() => context.disable())
      const seen: Array<boolean> = []
      const { end } = setup({
        maxExportBatchSize: 1,
        answers: [(callback) => {
          seen.push(isTracingSuppressed(context.active()))
          callback({ code: ExportResultCode.SUCCESS })
        }]
      })
      context.with(ROOT_CONTEXT, () => end("span"))
      await pass()
      assert.deepStrictEqual(seen, [true])
    })
  })

  describe("a queue that is full", () => {
    it("drops the oldest spans, counts them and keeps the newest", async () => {
      const { endMany, names, queue } = setup({ maxQueueSize: 20, scheduleDelay: 1000 })
      endMany(33)
      assert.deepStrictEqual(queue.stats, stats(33, 0, 13, 20))
      await pass(1000)
      assert.deepStrictEqual(names(), ["13 14 15 16 17 18 19", "20 21 22 23 24 25 26 27 28 29", "30 31 32"])
      assert.deepStrictEqual(queue.stats, stats(33, 20, 13, 0))
    })

    it("are bounded as well when something has a name that is no text", () => {
      const { end, queue, tracer } = setup({ maxQueueBytes: 10_000 })
      const odd = new Error("no") as unknown as string
      tracer.startSpan(odd).addEvent(odd).updateName(404 as unknown as string).end()
      for (let i = 0; i < 20; i++) end(String(i), { text: "x".repeat(1000) })
      assert.strictEqual(queue.stats.ended, 21)
      assert.isAtMost(queue.stats.queued, 9)
    })

    it("drops the oldest spans when those it has take too many bytes", async () => {
      const { end, names, queue } = setup({ maxQueueBytes: 10_000 })
      for (const name of ["a", "b", "c", "d"]) end(name, { text: "x".repeat(3000) })
      assert.deepStrictEqual(queue.stats, stats(4, 0, 1, 3))
      await pass(5000)
      assert.deepStrictEqual(names(), ["b c d"])
    })

    it("drops a span that alone is larger than the queue may be, and no other", async () => {
      const { end, names, queue } = setup({ maxQueueBytes: 10_000 })
      end("a")
      end("huge", { text: "x".repeat(10_000) })
      end("b")
      await pass(5000)
      assert.deepStrictEqual(names(), ["a b"])
      assert.deepStrictEqual(queue.stats, stats(3, 2, 1, 0))
    })

    it("cannot drop what is being sent", async () => {
      const { endMany, names, queue } = setup({ maxQueueSize: 10, answers: [after(1000, succeed)] })
      endMany(10)
      await pass()
      endMany(3)
      assert.deepStrictEqual(queue.stats, stats(13, 0, 3, 10))
      await pass(6000)
      assert.deepStrictEqual(names(), ["0 1 2 3 4", "5 6 7 8 9"])
      assert.deepStrictEqual(queue.stats, stats(13, 10, 3, 0))
    })

    it("drops what is kept for a retry first: it is the oldest", async () => {
      const { endMany, names, queue } = setup({ maxQueueSize: 20, answers: [unavailable, succeed] })
      endMany(10)
      await pass()
      endMany(15)
      assert.deepStrictEqual(queue.stats, stats(25, 0, 5, 20))
      await pass(10_000)
      assert.deepStrictEqual(names().slice(1), ["5 6 7 8 9", "10 11 12 13 14 15 16 17 18 19", "20 21 22 23 24"])
      assert.deepStrictEqual(queue.stats, stats(25, 20, 5, 0))
    })

    for (const maxExportBatchSize of [6, 100]) {
      it(`sends what half of it holds, so that there is room meanwhile: a batch of ${maxExportBatchSize} in 6`, async () => {
        const { endMany, names, queue } = setup({ maxQueueSize: 6, maxExportBatchSize, answers: [after(100, succeed)] })
        endMany(3)
        await pass()
        endMany(3)
        await pass(1000)
        assert.deepStrictEqual(names(), ["0 1 2", "3 4 5"])
        assert.deepStrictEqual(queue.stats, stats(6, 6, 0, 0))
      })
    }
  })

  describe("failures that may pass", () => {
    const retryable: Array<[string, unknown]> = [
      ["CANCELLED", grpcError(1, "CANCELLED: call cancelled")],
      ["DEADLINE_EXCEEDED", grpcError(4, "DEADLINE_EXCEEDED: after 10 s")],
      ["ABORTED", grpcError(10, "ABORTED")],
      ["OUT_OF_RANGE", grpcError(11, "OUT_OF_RANGE")],
      ["UNAVAILABLE", grpcError(14, "UNAVAILABLE: no connection established")],
      ["DATA_LOSS", grpcError(15, "DATA_LOSS")],
      ["RESOURCE_EXHAUSTED with RetryInfo", grpcError(8, "RESOURCE_EXHAUSTED", statusOf(retryInfo(1, 0)))],
      ["HTTP 429", Object.assign(new Error("Too Many Requests"), { code: 429 })],
      ["HTTP 502", Object.assign(new Error("Bad Gateway"), { code: 502 })],
      ["HTTP 503", Object.assign(new Error("Service Unavailable"), { code: 503 })],
      ["HTTP 504", Object.assign(new Error("Gateway Timeout"), { code: 504 })],
      ["a reset connection", Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" })],
      ["an error that has only a code", Object.assign(new Error(""), { code: "ECONNREFUSED" })],
      ["a failed fetch", new TypeError("fetch failed")],
      ["a timeout", new Error("Request timed out")],
      ["the HTTP exporter's own wording", new Error("Export failed with retryable status")],
      ["too many requests at once", new Error("Concurrent export limit reached")]
    ]
    it.each(retryable)("sends again after %s", async (_, error) => {
      const { endMany, queue, times } = setup({ answers: [failWith(error), succeed] })
      endMany(10)
      await pass()
      assert.deepStrictEqual(queue.stats, stats(10, 0, 0, 10))
      await pass(1000)
      assert.deepStrictEqual(times(), [0, 1000])
      assert.deepStrictEqual(queue.stats, stats(10, 10, 0, 0))
    })

    it("waits longer after each failure, to half a minute, and starts anew after a success", async () => {
      const failures = Array.from({ length: 12 }, () => unavailable)
      const { endMany, times } = setup({ answers: [...failures, succeed, unavailable, succeed] })
      endMany(10)
      await pass(600_000)
      const waits = (all: ReadonlyArray<number>) => all.slice(1).map((time, i) => time - all[i]!)
      assert.deepStrictEqual(
        waits(times()),
        [1000, 1500, 2250, 3375, 5063, 7594, 11_391, 17_086, 25_629, 30_000, 30_000, 30_000]
      )
      endMany(10)
      await pass(10_000)
      assert.deepStrictEqual(waits(times().slice(-2)), [1000])
    })

    it.each([[0, 800], [0.75, 1100]])("spreads retries: a random %d waits %d ms", async (random, wait) => {
      const { endMany, times } = setup({ answers: [unavailable, succeed], random: () => random })
      endMany(10)
      await pass(2000)
      assert.deepStrictEqual(times(), [0, wait])
    })

    const info: Array<[string, Uint8Array, number]> = [
      ["a longer delay", statusOf(retryInfo(7, 500_000_000)), 7500],
      ["a shorter delay", statusOf(retryInfo(0, 20_000_000)), 20],
      ["other details before it", statusOf(debugInfo, retryInfo(3, 0)), 3000],
      ["no delay in it", statusOf(anyOf("type.googleapis.com/google.rpc.RetryInfo", [])), 1000],
      ["a negative delay", statusOf(retryInfo(-5, 0)), 1000],
      ["a delay of a century", statusOf(retryInfo(3_000_000_000, 0)), 300_000],
      ["no RetryInfo among the details", statusOf(debugInfo), 1000],
      ["empty details", new Uint8Array(), 1000],
      ["details that end in the middle", statusOf(retryInfo(7, 0)).subarray(0, -3), 1000],
      ["details that are noise", Uint8Array.from({ length: 200 }, (_, i) => (i * 89 + 255) % 256), 1000],
      ["details that never end", new Uint8Array(500).fill(255), 1000]
    ]
    it.each(info)("honours what the server says about the delay: %s", async (_, details, wait) => {
      const { endMany, times } = setup({ answers: [failWith(grpcError(14, "UNAVAILABLE", details)), succeed] })
      endMany(10)
      await pass(400_000)
      assert.deepStrictEqual(times(), [0, wait])
    })

    it("asks a collector that is down with one batch at a time, and goes on in full when it is back", async () => {
      const { endMany, queue, times } = setup({
        answers: [...Array.from({ length: 9 }, () => after(10, unavailable)), after(10, succeed)]
      })
      endMany(160)
      await pass(2000)
      assert.deepStrictEqual(times(), [0, 0, 0, 0, 0, 0, 0, 0, 1010])
      await pass(520)
      assert.deepStrictEqual(times(), [0, 0, 0, 0, 0, 0, 0, 0, 1010, 2520])
      await pass(100)
      assert.deepStrictEqual(queue.stats, stats(160, 160, 0, 0))
    })

    it("takes new spans while it waits, and sends none of them before the wait is over", async () => {
      const { endMany, queue, requests } = setup({ answers: [unavailable, succeed] })
      endMany(10)
      await pass()
      endMany(30)
      await pass(999)
      assert.strictEqual(requests.length, 1)
      assert.deepStrictEqual(queue.stats, stats(40, 0, 0, 40))
      await pass(1)
      assert.deepStrictEqual(queue.stats, stats(40, 40, 0, 0))
    })

    it("is not held up by a batch that fails every time, and goes on trying it", async () => {
      let cured = false
      let down = false
      const { endMany, queue } = setup({
        answers: [(callback, spans) => {
          const fails = down || (spans[0]!.name === "0" && !cured)
          ;(fails ? unavailable : succeed)(callback, spans)
        }]
      })
      endMany(60)
      await pass(60_000)
      assert.deepStrictEqual(queue.stats, stats(60, 50, 0, 10))
      down = true
      endMany(10)
      await pass(500)
      down = false
      endMany(10)
      await pass(500)
      assert.deepStrictEqual(queue.stats, stats(80, 70, 0, 10))
      cured = true
      await pass(30_000)
      assert.deepStrictEqual(queue.stats, stats(80, 80, 0, 0))
    })

    it("does not take many batches that fail again for many bad batches", async () => {
      let down = true
      const { endMany, queue, requests } = setup({
        answers: [(callback, spans) => (down ? after(10, unavailable) : after(10, succeed))(callback, spans)]
      })
      endMany(200)
      void queue.forceFlush()
      await pass(100)
      assert.strictEqual(requests.length, 20)
      down = false
      await pass(945)
      assert.deepStrictEqual(queue.stats, stats(200, 10, 0, 190))
      down = true
      await pass(1000)
      assert.isAtMost(requests.length, 20 + 1 + 8 + 9)
      down = false
      await pass(5000)
      assert.deepStrictEqual(queue.stats, stats(200, 200, 0, 0))
    })

    it("does not let another failure shorten the delay that the server named", async () => {
      const { endMany, times } = setup({
        answers: [
          after(10, failWith(grpcError(14, "UNAVAILABLE", statusOf(retryInfo(5, 0))))),
          after(20, unavailable),
          succeed
        ]
      })
      endMany(20)
      await pass(6000)
      assert.deepStrictEqual(times(), [0, 0, 5010, 5010])
    })

    it("is not fooled by a success that was under way when others failed", async () => {
      const { endMany, times } = setup({ answers: [after(10, unavailable), after(20, succeed), succeed] })
      endMany(20)
      await pass(1009)
      assert.deepStrictEqual(times(), [0, 0])
      await pass(1)
      assert.deepStrictEqual(times(), [0, 0, 1010])
    })
  })

  describe("failures that will not pass", () => {
    const permanent: Array<[string, Answer, string]> = [
      ["UNKNOWN", failWith(grpcError(2, "UNKNOWN: ???")), "2 UNKNOWN: ???."],
      ["INVALID_ARGUMENT", invalid, "3 INVALID_ARGUMENT: no thanks."],
      [
        "PERMISSION_DENIED",
        failWith(grpcError(7, "PERMISSION_DENIED")),
        "Check the credentials in OTEL_EXPORTER_OTLP_HEADERS."
      ],
      ["RESOURCE_EXHAUSTED without RetryInfo", failWith(grpcError(8, "RESOURCE_EXHAUSTED: quota")), "quota."],
      [
        "UNIMPLEMENTED",
        failWith(grpcError(12, "UNIMPLEMENTED")),
        "Check that the endpoint is an OTLP receiver of traces"
      ],
      ["INTERNAL", failWith(grpcError(13, "INTERNAL")), "13 INTERNAL."],
      ["UNAUTHENTICATED", failWith(grpcError(16, "UNAUTHENTICATED")), "Check the credentials"],
      ["HTTP 400", failWith(Object.assign(new Error("Bad Request"), { code: 400 })), "Bad Request."],
      ["HTTP 404", failWith(Object.assign(new Error("Not Found"), { code: 404 })), "Check that the endpoint"]
    ]
    const exporters: typeof permanent = [
      ["an exporter that throws", throwing(new TypeError("x is not a function")), "x is not a function."],
      ["an exporter that throws nothing", throwing(undefined), "no reason was given."],
      ["an exporter that rejects", rejecting(new TypeError("x is not a function")), "x is not a function."],
      ["a failure without an error", failWith(undefined), "no reason was given."],
      ["a text as an error", failWith("broken"), "broken."],
      ["a text of many lines", failWith(new Error("one\r\n\ttwo\u0000three")), "one two three."],
      ["undefined for a result", answerGarbage(undefined), "no reason was given."],
      ["a number for a result", answerGarbage(42), "no reason was given."],
      ["a result without a code", answerGarbage({}), "no reason was given."],
      ["a code that nobody knows", answerGarbage({ code: "fine" }), "no reason was given."]
    ]
    for (
      const [rows, failure, lost] of [
        [permanent, "The collector refused", "refused by the collector"],
        [exporters, "The exporter failed on", "that the exporter failed on"]
      ] as const
    ) {
      it.each(rows)("drops the batch, counts it and goes on after %s", async (_, answer, reason) => {
        const { endMany, queue, reports } = setup({ answers: [answer, succeed] })
        endMany(20)
        await pass(60_000)
        assert.deepStrictEqual(queue.stats, stats(20, 10, 10, 0))
        assert.include(reports[0], `${failure} a batch of 10 spans, which are lost: `)
        assert.include(reports[0], reason)
        assert.deepStrictEqual(reports.slice(1), [`Spans were lost, 10 in all: 10 ${lost}.`])
      })
    }
  })

  describe("requests that are too large", () => {
    const wordings: Array<[string, unknown]> = [
      ["Go", grpcError(8, "RESOURCE_EXHAUSTED: grpc: received message larger than max (5242880 vs. 4194304)")],
      [
        "Go, compressed",
        grpcError(8, "RESOURCE_EXHAUSTED: grpc: received message after decompression larger than max 4194304")
      ],
      ["Java", grpcError(8, "RESOURCE_EXHAUSTED: gRPC message exceeds maximum size 4194304: 5242880")],
      [".NET", grpcError(8, "RESOURCE_EXHAUSTED: Received message exceeds the maximum configured message size.")],
      ["Rust", grpcError(11, "OUT_OF_RANGE: Error, decoded message length too large: found 5242880 bytes")],
      ["an odd one", grpcError(3, "INVALID_ARGUMENT: request is too large")],
      ["a proxy", grpcError(2, "UNKNOWN: Received HTTP status code 413")],
      ["HTTP", Object.assign(new Error("Content Too Large"), { code: 413 })]
    ]
    it.each(wordings)("halves the batch and sends both halves at once: %s", async (_, error) => {
      const { endMany, names, queue, reports, times } = setup({ answers: [failWith(error), succeed] })
      endMany(10)
      await pass(1)
      assert.deepStrictEqual(names(), ["0 1 2 3 4 5 6 7 8 9", "0 1 2 3 4", "5 6 7 8 9"])
      assert.deepStrictEqual(times(), [0, 0, 0])
      assert.deepStrictEqual(queue.stats, stats(10, 10, 0, 0))
      assert.deepStrictEqual(reports, [])
    })

    it("loses only the span that is too large by itself", async () => {
      const { end, queue, reports } = setup({
        answers: [
          (callback, spans) => (spans.some(({ name }) => name === "huge") ? tooLarge : succeed)(callback, spans)
        ]
      })
      for (const name of ["a", "b", "c", "huge", "d", "e", "f", "g", "h", "i"]) end(name)
      await pass(30_000)
      assert.deepStrictEqual(queue.stats, stats(10, 9, 1, 0))
      assert.strictEqual(reports.length, 2)
      assert.include(reports[0], "A span is too large and is lost")
      assert.include(reports[0], "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")
      assert.strictEqual(reports[1], "Spans were lost, 1 in all: 1 too large.")
    })

    it("learns from a refusal how much the collector takes", async () => {
      const limit = 300_000
      let refused = 0
      const { end, queue } = setup({
        answers: [(callback, spans) => {
          const bytes = spans.reduce((sum, { attributes }) => sum + String(attributes["text"]).length, 0)
          if (bytes <= limit) return succeed(callback, spans)
          refused++
          tooLarge(callback, spans)
        }]
      })
      for (let i = 0; i < 200; i++) {
        end(String(i), { text: "x".repeat(90_000) })
        await pass()
      }
      await pass(5000)
      assert.deepStrictEqual(queue.stats, stats(200, 200, 0, 0))
      assert.isAtMost(refused, 4)
    })
  })

  describe("exporters that break the rules", () => {
    it("takes no answer within the export timeout as a failure that may pass", async () => {
      const { endMany, queue, times } = setup({ answers: [never, succeed] })
      endMany(10)
      await pass(31_000)
      assert.deepStrictEqual(times(), [0, 30_000 + 1000])
      assert.deepStrictEqual(queue.stats, stats(10, 10, 0, 0))
    })

    const twice = (first: Answer, second: Answer): Answer => (callback, spans) => {
      first(callback, spans)
      return second(callback, spans)
    }
    const doubles: Array<[string, Answer, number, number]> = [
      ["success and success", twice(succeed, succeed), 10, 0],
      ["success and failure", twice(succeed, invalid), 10, 0],
      ["success and a throw", twice(succeed, throwing(new Error("late"))), 10, 0],
      ["success and a promise that rejects", twice(succeed, rejecting(new Error("late"))), 10, 0],
      ["rejection and success", twice(invalid, succeed), 0, 10],
      ["rejection and rejection", twice(invalid, invalid), 0, 10],
      ["failure and success", twice(unavailable, succeed), 10, 0],
      ["failure and rejection", twice(unavailable, invalid), 10, 0],
      ["too large and success", twice(tooLarge, succeed), 10, 0]
    ]
    it.each(doubles)("counts a batch once when it is answered twice: %s", async (_, answer, exported, dropped) => {
      const { endMany, queue } = setup({ answers: [answer, succeed] })
      endMany(10)
      await pass(10_000)
      assert.deepStrictEqual(queue.stats, stats(10, exported, dropped, 0))
      endMany(10)
      await pass()
      assert.deepStrictEqual(queue.stats, stats(20, exported + 10, dropped, 0))
    })

    it("does not send again what a late answer says has arrived", async () => {
      const { endMany, queue, requests } = setup({ exportTimeout: 1000, answers: [after(1500, succeed), succeed] })
      endMany(10)
      await pass(1000)
      assert.deepStrictEqual(queue.stats, stats(10, 0, 0, 10))
      await pass(60_000)
      assert.strictEqual(requests.length, 1)
      assert.deepStrictEqual(queue.stats, stats(10, 10, 0, 0))
    })

    it("takes a late answer while it sends again, and goes on", async () => {
      const { endMany, queue } = setup({ exportTimeout: 1000, answers: [after(2500, succeed), never, succeed] })
      endMany(10)
      await pass(2500)
      assert.deepStrictEqual(queue.stats, stats(10, 10, 0, 0))
      endMany(10)
      await pass(10_000)
      assert.deepStrictEqual(queue.stats, stats(20, 20, 0, 0))
    })

    it("takes late answers in any order", async () => {
      const { endMany, names, queue } = setup({
        exportTimeout: 1000,
        answers: [never, after(1100, succeed), after(1200, succeed), succeed]
      })
      endMany(30)
      await pass(1300)
      assert.deepStrictEqual(queue.stats, stats(30, 20, 0, 10))
      endMany(2)
      const flushed = queue.forceFlush()
      await pass()
      await flushed
      assert.deepStrictEqual(names().slice(3), ["0 1 2 3 4 5 6 7 8 9", "30 31"])
      assert.deepStrictEqual(queue.stats, stats(32, 32, 0, 0))
    })

    it("leaves out of a late answer what was dropped before it came", async () => {
      const { endMany, queue } = setup({
        exportTimeout: 1000,
        maxQueueSize: 20,
        answers: [after(1500, succeed), after(1500, succeed), never]
      })
      endMany(20)
      await pass(1000)
      endMany(13)
      assert.deepStrictEqual(queue.stats, stats(33, 0, 13, 20))
      await pass(500)
      assert.deepStrictEqual(queue.stats, stats(33, 7, 13, 13))
    })

    it("goes on when the report throws", async () => {
      const { endMany, queue } = setup({
        answers: [invalid, succeed],
        onReport: () => {
          throw new Error("the log is full")
        }
      })
      endMany(20)
      await pass()
      assert.deepStrictEqual(queue.stats, stats(20, 10, 10, 0))
    })
  })

  describe("partial success", () => {
    const rejections: Array<[unknown, number]> = [
      [3, 3],
      [10, 10],
      [11, 10],
      [0, 0],
      [-3, 0],
      [Number.NaN, 0],
      [Infinity, 10],
      [2.5, 2],
      ["3", 0],
      [undefined, 0]
    ]
    it.each(rejections)("counts rejected spans as dropped: %s of 10", async (rejectedSpans, dropped) => {
      const { endMany, queue } = setup({ answers: [partly({ rejectedSpans })] })
      endMany(10)
      await pass()
      assert.deepStrictEqual(queue.stats, stats(10, 10 - dropped, dropped, 0))
    })

    it("is reported once, and again with the number when it is over", async () => {
      const answer = partly({ rejectedSpans: 3, errorMessage: "no span may\nbe called 3" })
      const { endMany, queue, reports } = setup({ answers: [answer, answer, succeed] })
      endMany(30)
      await pass(60_000)
      assert.deepStrictEqual(queue.stats, stats(30, 24, 6, 0))
      assert.deepStrictEqual(reports, [
        "The collector accepted a batch of 10 spans but for 3, which are lost: no span may be called 3",
        "Spans were lost, 6 in all: 6 rejected from batches that were accepted in part."
      ])
    })

    it("without rejected spans is a warning, and one a minute is enough", async () => {
      const { endMany, reports } = setup({ answers: [partly({ errorMessage: "field x is deprecated" })] })
      for (let second = 0; second < 100; second++) {
        endMany(10)
        await pass(1000)
      }
      assert.deepStrictEqual(reports, [
        "The collector accepted the spans with a warning: field x is deprecated",
        "The collector accepted the spans with a warning: field x is deprecated"
      ])
    })
  })

  describe("forceFlush", () => {
    it("sends what is queued, and resolves when it has arrived", async () => {
      const { endMany, names, queue } = setup({ answers: [after(100, succeed)] })
      endMany(13)
      const flushed = queue.forceFlush()
      assert.isFalse(await isSettled(flushed))
      await pass(100)
      assert.isTrue(await isSettled(flushed))
      assert.deepStrictEqual(names(), ["0 1 2 3 4 5 6 7 8 9", "10 11 12"])
      assert.deepStrictEqual(queue.stats, stats(13, 13, 0, 0))
    })

    it("resolves at once when there is nothing to send", async () => {
      const { queue, requests } = setup()
      await queue.forceFlush()
      assert.deepStrictEqual(requests, [])
    })

    it("waits for what is in flight, but not for spans that end after the call", async () => {
      const { endMany, queue } = setup({ answers: [after(100, succeed), after(5000, succeed)] })
      endMany(10)
      await pass(50)
      const flushed = queue.forceFlush()
      endMany(10)
      await pass(49)
      assert.isFalse(await isSettled(flushed))
      await pass(1)
      assert.isTrue(await isSettled(flushed))
      assert.deepStrictEqual(queue.stats, stats(20, 10, 0, 10))
    })

    it("tries each batch once, without waiting for the time of a retry, and resolves though all fail", async () => {
      const { endMany, queue, requests, times } = setup({ answers: [unavailable] })
      endMany(10)
      await pass()
      endMany(63)
      const flushed = queue.forceFlush()
      assert.isTrue(await isSettled(flushed))
      assert.deepStrictEqual(queue.stats, stats(73, 0, 0, 73))
      assert.deepStrictEqual(times(), Array(9).fill(0))
      assert.strictEqual(new Set(requests.slice(1).flatMap(({ names }) => names)).size, 73)
    })

    it("makes a collector that is back known at once", async () => {
      const { endMany, queue } = setup({ answers: [unavailable, unavailable, unavailable, succeed] })
      endMany(10)
      await pass(5000)
      await queue.forceFlush()
      assert.deepStrictEqual(queue.stats, stats(10, 10, 0, 0))
      endMany(10)
      await pass()
      assert.deepStrictEqual(queue.stats, stats(20, 20, 0, 0))
    })

    it("waits for both halves of a batch that is too large", async () => {
      const { endMany, queue } = setup({ answers: [tooLarge, succeed, after(100, succeed)] })
      endMany(10)
      const flushed = queue.forceFlush()
      assert.isFalse(await isSettled(flushed))
      await pass(100)
      assert.isTrue(await isSettled(flushed))
      assert.deepStrictEqual(queue.stats, stats(10, 10, 0, 0))
    })

    it("resolves when what it waits for is dropped instead", async () => {
      const { endMany, queue } = setup({ maxQueueSize: 10, maxExportBatchSize: 5, answers: [never] })
      endMany(10)
      const flushed = queue.forceFlush()
      endMany(10)
      await pass()
      assert.deepStrictEqual(queue.stats, stats(20, 0, 10, 10))
      assert.isTrue(await isSettled(flushed))
    })

    it("also flushes the exporter, and does not mind if that fails", async () => {
      const { exporter, queue } = setup()
      let flushes = 0
      Object.assign(exporter, {
        forceFlush: () => {
          flushes++
          return Promise.reject(new Error("no"))
        }
      })
      await queue.forceFlush()
      assert.strictEqual(flushes, 1)
    })

    it("can be called many times at once", async () => {
      const { endMany, queue, requests } = setup({ answers: [after(100, succeed)] })
      endMany(35)
      const flushes = Promise.all([queue.forceFlush(), queue.forceFlush(), queue.forceFlush()])
      await pass(100)
      await flushes
      assert.strictEqual(requests.length, 4)
      assert.deepStrictEqual(queue.stats, stats(35, 35, 0, 0))
    })
  })

  describe("abandon", () => {
    it("exports what is queued and goes on", async () => {
      const { endMany, exporter, queue, reports } = setup({ answers: [after(100, succeed)] })
      endMany(25)
      const abandoned = queue.abandon(5000)
      await pass(100)
      await abandoned
      endMany(5)
      await pass(5100)
      assert.deepStrictEqual(queue.stats, stats(30, 30, 0, 0))
      assert.strictEqual(exporter.shutdowns, 0)
      assert.deepStrictEqual(reports, [])
    })

    for (const [name, answer] of [["does not answer", after(2000, succeed)], ["refuses", unavailable]] as const) {
      it(`counts as lost what a collector ${name} until then, and exports what ends afterwards`, async () => {
        let cancelled = 0
        let up = false
        const { endMany, exporter, queue, reports } = setup({
          answers: [(callback, spans) => (up ? succeed : answer)(callback, spans)],
          maxExportBatchSize: 30,
          cancel: () => void cancelled++
        })
        endMany(25)
        const abandoned = queue.abandon(1000)
        await pass(1000)
        await abandoned
        assert.deepStrictEqual(queue.stats, stats(25, 0, 25, 0))
        assert.strictEqual(reports.length, 1)
        assert.include(reports[0], "Spans were lost, 25 in all")
        assert.strictEqual(cancelled, 1)
        // What the collector says of it now is too late.
        await pass(1500)
        assert.deepStrictEqual(queue.stats, stats(25, 0, 25, 0))
        up = true
        endMany(5)
        const flushed = queue.forceFlush()
        await pass()
        await flushed
        assert.deepStrictEqual(queue.stats, stats(30, 5, 25, 0))
        assert.strictEqual(exporter.shutdowns, 0)
      })
    }

    it("leaves it to a shutdown that comes meanwhile", async () => {
      const { endMany, exporter, queue, reports } = setup({ answers: [after(3000, succeed)] })
      endMany(10)
      const abandoned = queue.abandon(1000)
      const stopped = queue.shutdown(5000)
      await pass(3000)
      await Promise.all([abandoned, stopped])
      assert.deepStrictEqual(queue.stats, stats(10, 10, 0, 0))
      assert.strictEqual(exporter.shutdowns, 1)
      assert.deepStrictEqual(reports, [])
      assert.strictEqual(queue.abandon(1000), stopped)
    })
  })

  describe("shutdown", () => {
    it("exports what is queued, then shuts the exporter down", async () => {
      const { endMany, exporter, queue, reports } = setup({ answers: [after(100, succeed)] })
      endMany(25)
      const stopped = queue.shutdown(5000)
      await pass(100)
      await stopped
      assert.deepStrictEqual(queue.stats, stats(25, 25, 0, 0))
      assert.strictEqual(exporter.shutdowns, 1)
      assert.deepStrictEqual(reports, [])
    })

    it("retries fast while the collector cannot be reached", async () => {
      const { endMany, queue, reports, times } = setup({ answers: [unavailable, unavailable, unavailable, succeed] })
      endMany(5)
      const stopped = queue.shutdown(5000)
      await pass(600)
      await stopped
      assert.deepStrictEqual(times(), [0, 200, 400, 600])
      assert.deepStrictEqual(queue.stats, stats(5, 5, 0, 0))
      assert.deepStrictEqual(reports, [])
    })

    it("tries at once though a retry was not yet due", async () => {
      const { endMany, queue } = setup({ answers: [unavailable, unavailable, unavailable, succeed] })
      endMany(10)
      await pass(3000)
      const stopped = queue.shutdown(5000)
      await pass()
      await stopped
      assert.deepStrictEqual(queue.stats, stats(10, 10, 0, 0))
    })

    it("tries at once what had failed too often to be tried soon", async () => {
      let cured = false
      const { endMany, queue } = setup({
        answers: [(callback, spans) => (cured || spans[0]!.name !== "0" ? succeed : unavailable)(callback, spans)]
      })
      endMany(20)
      await pass(60_000)
      assert.deepStrictEqual(queue.stats, stats(20, 10, 0, 10))
      cured = true
      const stopped = queue.shutdown(5000)
      await pass()
      await stopped
      assert.deepStrictEqual(queue.stats, stats(20, 20, 0, 0))
    })

    it("gives up in time, and says once how many spans were lost and why", async () => {
      const { endMany, exporter, queue, reports } = setup({ answers: [unavailable] })
      endMany(25)
      const stopped = queue.shutdown(5000)
      await pass(4999)
      assert.isFalse(await isSettled(stopped))
      await pass(1)
      assert.isTrue(await isSettled(stopped))
      assert.deepStrictEqual(queue.stats, stats(25, 0, 25, 0))
      assert.strictEqual(exporter.shutdowns, 1)
      assert.deepStrictEqual(reports, [
        "Spans were lost, 25 in all: 25 not exported before release. " +
        "The last failure: 14 UNAVAILABLE: connect ECONNREFUSED 127.0.0.1:4317."
      ])
    })

    it("gives up in time on an exporter that does not answer, and forgets its answer", async () => {
      const { endMany, queue, reports } = setup({ answers: [after(60_000, succeed)] })
      endMany(10)
      const stopped = queue.shutdown(1000)
      await pass(1000)
      await stopped
      assert.deepStrictEqual(queue.stats, stats(10, 0, 10, 0))
      assert.deepStrictEqual(reports, [
        "Spans were lost, 10 in all: 10 not exported before release. The last failure: there was no answer in time."
      ])
      await pass(120_000)
      assert.deepStrictEqual(queue.stats, stats(10, 0, 10, 0))
    })

    it("takes spans that end while it is exporting, and counts those that end later as dropped", async () => {
      const { endMany, queue, reports } = setup({ answers: [after(100, succeed)] })
      endMany(10)
      const stopped = queue.shutdown(5000)
      await pass(50)
      endMany(3)
      await pass(200)
      await stopped
      assert.deepStrictEqual(queue.stats, stats(13, 13, 0, 0))
      endMany(4)
      assert.deepStrictEqual(queue.stats, stats(17, 13, 4, 0))
      assert.strictEqual(reports.length, 1)
      assert.include(reports[0], "ended after tracing was released")
    })

    it("happens once", async () => {
      const { endMany, exporter, queue } = setup({ answers: [after(100, succeed)] })
      endMany(10)
      const first = queue.shutdown(5000)
      assert.strictEqual(queue.shutdown(1), first)
      await pass(100)
      await first
      await queue.shutdown()
      await queue.forceFlush()
      assert.strictEqual(exporter.shutdowns, 1)
      assert.deepStrictEqual(queue.stats, stats(10, 10, 0, 0))
    })

    it("releases whoever waits for a flush", async () => {
      const { endMany, queue } = setup({ answers: [never] })
      endMany(100)
      const flushed = queue.forceFlush()
      const stopped = queue.shutdown(1000)
      await pass(1000)
      await Promise.all([flushed, stopped])
      assert.deepStrictEqual(queue.stats, stats(100, 0, 100, 0))
    })

    const shutdowns: Array<[string, () => Promise<void>]> = [
      ["throws", () => {
        throw new Error("no")
      }],
      ["rejects", () => Promise.reject(new Error("no"))],
      ["never resolves", () => new Promise(() => {})]
    ]
    it.each(shutdowns)("resolves in time though the exporter's own shutdown %s", async (_, shutdown) => {
      const { endMany, exporter, queue } = setup()
      Object.assign(exporter, { shutdown })
      endMany(5)
      const stopped = queue.shutdown(2000)
      await pass(2000)
      assert.isTrue(await isSettled(stopped))
      assert.deepStrictEqual(queue.stats, stats(5, 5, 0, 0))
    })

    it("leaves no timer behind", async () => {
      const { endMany, queue } = setup({ maxQueueSize: 30, answers: [unavailable, never, invalid, unavailable] })
      endMany(45)
      await pass(500)
      endMany(5)
      const stopped = queue.shutdown(1000)
      await pass(1000)
      await stopped
      assert.strictEqual(vi.getTimerCount(), 0)
    })
  })

  describe("what is reported", () => {
    it("tells of an outage once when it begins and once when it ends", async () => {
      const { endMany, reports } = setup({ answers: [...Array.from({ length: 8 }, () => unavailable), succeed] })
      endMany(80)
      await pass()
      assert.deepStrictEqual(reports, [
        "Spans cannot be exported at present; they are kept and retried: " +
        "14 UNAVAILABLE: connect ECONNREFUSED 127.0.0.1:4317"
      ])
      await pass(60_000)
      assert.deepStrictEqual(reports.slice(1), ["Spans are exported again. 70 are still waiting."])
    })

    it("tells of a collector that comes and goes once a minute at most", async () => {
      let count = 0
      const { endMany, reports } = setup({
        answers: [(callback, spans) => (count++ % 2 === 1 ? succeed : unavailable)(callback, spans)]
      })
      for (let second = 0; second < 100; second++) {
        endMany(10)
        await pass(1000)
      }
      assert.isAtMost(reports.length, 4)
    })

    it("tells late of an outage that began right after another", async () => {
      const { endMany, reports } = setup({ answers: [unavailable, succeed, unavailable] })
      endMany(10)
      await pass(2000)
      assert.strictEqual(reports.length, 2)
      endMany(10)
      await pass(50_000)
      assert.strictEqual(reports.length, 2)
      await pass(60_000)
      assert.strictEqual(reports.length, 3)
    })

    it("tells of loss when it begins, with reason and remedy, and when it is over, with the exact number", async () => {
      let up = false
      const { endMany, queue, reports } = setup({
        maxQueueSize: 100,
        answers: [(callback, spans) => (up ? succeed : unavailable)(callback, spans)]
      })
      for (let second = 0; second < 60; second++) {
        endMany(7)
        await pass(1000)
      }
      up = true
      await pass(60_000)
      assert.deepStrictEqual(queue.stats, stats(420, 100, 320, 0))
      assert.deepStrictEqual(reports, [
        "Spans cannot be exported at present; they are kept and retried: " +
        "14 UNAVAILABLE: connect ECONNREFUSED 127.0.0.1:4317",
        "The span queue is full (100 spans or 10000000 bytes), so the oldest spans are dropped. " +
        "The collector cannot be reached: 14 UNAVAILABLE: connect ECONNREFUSED 127.0.0.1:4317. " +
        "OTEL_BSP_MAX_QUEUE_SIZE and maxQueueBytes make it larger.",
        "Spans were lost, 320 in all: 320 dropped from a full queue.",
        "Spans are exported again. 90 are still waiting."
      ])
    })

    it("tells of rejections once, however many batches they cost and whatever succeeds in between", async () => {
      let count = 0
      const { endMany, queue, reports } = setup({
        answers: [(callback, spans) => (count++ % 2 === 0 ? invalid : succeed)(callback, spans)]
      })
      for (let second = 0; second < 100; second++) {
        endMany(10)
        await pass(1000)
      }
      assert.strictEqual(reports.length, 1)
      await pass(60_000)
      assert.deepStrictEqual(queue.stats, stats(1000, 500, 500, 0))
      assert.deepStrictEqual(reports.slice(1), ["Spans were lost, 500 in all: 500 refused by the collector."])
    })

    it("adds up all that was lost in one sentence at shutdown", async () => {
      const { endMany, queue, reports } = setup({ maxQueueSize: 30, answers: [invalid, unavailable] })
      endMany(37)
      await pass()
      const stopped = queue.shutdown(100)
      await pass(100)
      await stopped
      assert.deepStrictEqual(queue.stats, stats(37, 0, 37, 0))
      assert.match(
        reports.at(-1)!,
        /^Spans were lost, 37 in all: 7 dropped from a full queue, \d+ refused by the collector, \d+ not exported before release\. /
      )
    })
  })

  describe("what it costs the process", () => {
    it("has no timer that keeps the process alive", async (test) => {
      useRealTime()
      const timeouts = vi.spyOn(globalThis, "setTimeout")
      const intervals = vi.spyOn(globalThis, "setInterval")
      test.onTestFinished(() => {
        timeouts.mockRestore()
        intervals.mockRestore()
      })
      const timers = () =>
        [...timeouts.mock.results, ...intervals.mock.results].map(({ value }) => value as NodeJS.Timeout)
      const { end, endMany, queue, requests } = setup({ answers: [invalid, unavailable, never] })
      end("waits for its batch to fill")
      endMany(34)
      void queue.forceFlush()
      while (requests.length < 4) await new Promise(setImmediate)
      // For the batches to fill, for their answers, for a retry and for the end of the loss.
      assert.isAtLeast(timers().length, 10)
      assert.deepStrictEqual(timers().filter((timer) => timer.hasRef()), [])
      await queue.shutdown(0)
    })

    const heldCallbacks: Array<Callback> = []
    // As grpc-js does until the call itself is collected.
    const held = (answer: Answer): Answer => (callback, spans) => {
      heldCallbacks.push(callback)
      answer(callback, spans)
    }
    const flushed = (queue: SpanQueue) => queue.forceFlush()
    const shutDown = (queue: SpanQueue) => queue.shutdown(0)
    const memoryCases: ReadonlyArray<readonly [string, Answer, (queue: SpanQueue) => Promise<void>, exported: number]> =
      [
        ["as soon as it is sent", succeed, flushed, 50_000],
        ["while its exporter still holds the callback of every request", held(succeed), flushed, 50_000],
        ["after a shutdown that had no answer", held(never), shutDown, 0],
        ["after a shutdown whose requests had failed", unavailable, shutDown, 0]
      ]
    for (const [name, answer, settle, exported] of memoryCases) {
      it(`gives the memory of a burst back, ${name}`, async () => {
        useRealTime()
        setFlagsFromString("--expose-gc")
        const collectGarbage: () => void = runInNewContext("gc")
        const { queue, tracer } = setup({
          answers: [answer],
          maxQueueSize: 50_000,
          maxQueueBytes: 2 ** 27,
          maxExportBatchSize: 512
        })
        const burst = Array.from({ length: 50_000 }, () => {
          const span = tracer.startSpan("span")
          span.end()
          return new WeakRef(span)
        })
        // For the first request to be under way.
        await new Promise(setImmediate)
        await settle(queue)
        await vi.waitUntil(() => {
          collectGarbage()
          return burst.every((span) => span.deref() === undefined)
        })
        assert.deepStrictEqual(queue.stats, stats(50_000, exported, 50_000 - exported, 0))
      })
    }
  })
})

describe("SpanQueue, whatever happens", () => {
  const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
  const answersByName = {
    succeed,
    slow: after(700, succeed),
    unavailable,
    slowlyUnavailable: after(300, unavailable),
    throttled: failWith(grpcError(8, "RESOURCE_EXHAUSTED", statusOf(retryInfo(2, 0)))),
    invalid,
    tooLarge,
    partly: partly({ rejectedSpans: 2, errorMessage: "two too many" }),
    never,
    throwing: throwing(new Error("thrown")),
    garbage: answerGarbage(null),
    twice: ((callback, spans) => [unavailable, succeed, invalid].forEach((answer) => answer(callback, spans))) as Answer
  }
  const answerNames = Object.keys(answersByName) as Array<keyof typeof answersByName>
  afterEach(useRealTime)
  it.prop(
    "adds up at every moment",
    {
      answers: Schema.Array(Schema.Literals(answerNames)).check(Schema.isMinLength(1), Schema.isMaxLength(40)),
      steps: Schema.Array(Schema.Struct({
        step: Schema.Literals(["end", "end large", "wait", "wait long", "flush"]),
        amount: between(1, 30)
      })),
      maxQueueSize: between(1, 60),
      maxExportBatchSize: between(1, 20),
      patience: between(0, 3000)
    },
    ({ answers, maxExportBatchSize, maxQueueSize, patience, steps }) => {
      // Only here: the property's own fiber needs the real ones.
      vi.useFakeTimers()
      const delivered = new Set<string>()
      let rejected = 0
      const { end, exporter, queue, reports } = setup({
        maxQueueSize,
        maxQueueBytes: 30_000,
        maxExportBatchSize,
        maxExportBatchBytes: 8000,
        exportTimeout: 1000,
        answers: answers.map((name) => (callback, spans) =>
          answersByName[name]((result) => {
            if (result?.code === ExportResultCode.SUCCESS && exporter.shutdowns === 0) {
              const before = delivered.size
              for (const span of spans) delivered.add(span.name)
              rejected += Math.min(result.partialSuccess?.rejectedSpans ?? 0, delivered.size - before)
            }
            callback(result)
          }, spans)
        ),
        onReport: () => check()
      })
      let ended = 0
      const check = () => {
        const { dropped, exported, queued, ...rest } = queue.stats
        assert.strictEqual(rest.ended, exported + dropped + queued)
        assert.isAtMost(queued, maxQueueSize)
        for (const count of [exported, dropped, queued]) assert.isAtLeast(count, 0)
      }
      const endOne = (bytes: number) => {
        end(String(ended++), { text: "x".repeat(bytes) })
        check()
      }
      const waitFor = (millis: number) => {
        vi.advanceTimersByTime(millis)
        check()
      }
      for (const { amount, step } of steps) {
        if (step === "end") { for (let i = 0; i < amount; i++) endOne(10) }
        else if (step === "end large") endOne(amount * 1100)
        else if (step === "wait") waitFor(amount * 20)
        else if (step === "wait long") waitFor(amount * 1000)
        else void queue.forceFlush()
      }
      void queue.shutdown(patience)
      waitFor(patience)
      assert.deepStrictEqual(queue.stats, {
        ended,
        exported: delivered.size - rejected,
        dropped: ended - delivered.size + rejected,
        queued: 0
      })
      const reported = reports.map((report) => Number(/^Spans were lost, (\d+) in all/.exec(report)?.[1] ?? 0))
      assert.strictEqual(reported.reduce((sum, count) => sum + count, 0), queue.stats.dropped)
      useRealTime()
    },
    { arbitrary: { runs: 500 } }
  )
})
