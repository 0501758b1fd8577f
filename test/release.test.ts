import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Net from "node:net"
import * as OtlpReceiver from "./support/OtlpReceiver.ts"
import * as Program from "./support/Program.ts"

/** Nothing listens on the port of tcpmux. */
const dead = "http://127.0.0.1:1"

const exportTo = (endpoint: string) => ({ env: { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } })

const exportMetricsTo = (endpoint: string) => ({
  env: { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_METRICS_EXPORTER: "otlp", OTEL_TRACES_EXPORTER: "none" }
})

/** The port of a server that takes connections and says nothing. */
const silent = Effect.acquireRelease(
  Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
    const sockets = new Set<Net.Socket>()
    const server = Net.createServer((socket) => {
      sockets.add(socket.on("error", () => {}))
    })
    server.listen(0, "localhost", () =>
      resume(Effect.succeed({
        port: (server.address() as Net.AddressInfo).port,
        close: () => {
          for (const socket of sockets) socket.destroy()
          server.close()
        }
      })))
  }),
  ({ close }) => Effect.sync(close)
).pipe(Effect.map(({ port }) => port))

/** The programs release within a second. A request may take 10, and a process that waits for it would live as long. */
const soon = 6000

/** What `work.ts` prints when all is released. */
const statsOf = ({ stdout }: Program.Outcome) => {
  const { spans, ...stats } = JSON.parse(/^\{.*\}$/m.exec(stdout)![0])
  return { spans: spans as number, stats }
}

const warningsOf = ({ stdout }: Program.Outcome) => stdout.split("\n").filter((line) => line.includes("WARN"))

/** All that a program prints for its own part. */
const resultOf = ({ stdout }: Program.Outcome) =>
  stdout.split("\n").filter((line) => /^result|ERROR/.test(line)).map((line) => line.replace(/^\[.*?\] /, ""))

describe.concurrent("a program under NodeRuntime.runMain", () => {
  for (const [outcome, code] of [["succeed", 0], ["fail", 1], ["die", 1]] as const) {
    it.live(`ends as it would untraced when its collector is dead: ${outcome}`, () =>
      Effect.gen(function*() {
        const work = "support/programs/work.ts"
        const [bare, traced] = yield* Effect.all([
          Program.run(work, { args: [outcome, "untraced"] }),
          Program.runAfter("working", work, { args: [outcome], ...exportTo(dead) })
        ], { concurrency: 2 })
        assert.strictEqual(bare.code, code, bare.stderr)
        assert.strictEqual(traced.code, code, traced.stderr)
        assert.deepStrictEqual(resultOf(traced), resultOf(bare))
        assert.strictEqual(traced.stderr, bare.stderr)
        const { spans, stats } = statsOf(traced)
        assert.deepStrictEqual(stats, { ended: spans, exported: 0, dropped: spans, queued: 0 })
        assert.strictEqual(warningsOf(traced).length, 1, traced.stdout)
        assert.include(warningsOf(traced)[0], `Spans were lost, ${spans} in all: ${spans} not exported before release`)
        assert.isBelow(traced.millis, soon)
      }))
  }

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it.live(`exports all that has ended when it is stopped in the middle of its work by ${signal}`, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        const program = yield* Program.start("support/programs/work.ts", { args: ["wait"], ...exportTo(receiver.url) })
        yield* program.prints("working")
        yield* program.kill(signal)
        const outcome = yield* program.outcome
        assert.strictEqual(outcome.code, 130)
        const { spans, stats } = statsOf(outcome)
        assert.isAbove(spans, 700)
        assert.deepStrictEqual(stats, { ended: spans, exported: spans, dropped: 0, queued: 0 })
        assert.strictEqual(new Set(receiver.spans.map((span) => span.spanId)).size, spans)
        assert.strictEqual(receiver.spans.length, spans)
        assert.strictEqual(receiver.spans.filter((span) => span.name === "work").length, 1)
        assert.deepStrictEqual(warningsOf(outcome), [])
      }))
  }

  it.live("is stopped as fast when its collector is dead", () =>
    Effect.gen(function*() {
      const program = yield* Program.start("support/programs/work.ts", { args: ["wait"], ...exportTo(dead) })
      yield* program.prints("working")
      const stopped = performance.now()
      yield* program.kill("SIGTERM")
      const outcome = yield* program.outcome
      assert.isBelow(performance.now() - stopped, soon)
      assert.strictEqual(outcome.code, 130)
      const { spans, stats } = statsOf(outcome)
      assert.deepStrictEqual(stats, { ended: spans, exported: 0, dropped: spans, queued: 0 })
    }))

  it.live("does not wait for a collector that takes too long, neither in release nor in its process", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* receiver.respondWith(() => OtlpReceiver.delayed("1 minute"))
      const outcome = yield* Program.runAfter("working", "support/programs/work.ts", {
        args: ["succeed"],
        ...exportTo(receiver.url)
      })
      assert.strictEqual(outcome.code, 0)
      assert.deepStrictEqual(statsOf(outcome), { spans: 2, stats: { ended: 2, exported: 0, dropped: 2, queued: 0 } })
      assert.isBelow(outcome.millis, soon)
    }))

  it.live.each(["grpc", "http/protobuf"])(
    "nor for one that does not finish the handshake of TLS, over %s",
    (protocol) =>
      Effect.gen(function*() {
        const port = yield* silent
        const { env } = exportTo(`https://localhost:${port}`)
        const outcome = yield* Program.runAfter("working", "support/programs/work.ts", {
          args: ["succeed"],
          env: { ...env, OTEL_EXPORTER_OTLP_PROTOCOL: protocol, OTEL_METRICS_EXPORTER: "otlp" }
        })
        assert.strictEqual(outcome.code, 0)
        assert.deepStrictEqual(statsOf(outcome), { spans: 2, stats: { ended: 2, exported: 0, dropped: 2, queued: 0 } })
        assert.isBelow(outcome.millis, soon)
      })
  )

  it.live("nor for one that leaves its metrics unanswered", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* receiver.respondWith(() => OtlpReceiver.delayed("1 minute"))
      const outcome = yield* Program.runAfter("working", "support/programs/work.ts", {
        args: ["succeed"],
        ...exportMetricsTo(receiver.url)
      })
      assert.strictEqual(outcome.code, 0)
      assert.strictEqual(warningsOf(outcome).length, 1, outcome.stdout)
      assert.match(warningsOf(outcome)[0], /Metrics could not be exported to \S+: there was no answer in time/)
      assert.isBelow(outcome.millis, soon)
    }))
})

describe.concurrent("a program that has nothing left to do", () => {
  for (
    const [name, args, code, spans] of [
      ["exports what has ended, though nobody disposes its runtime", [1000], 0, 1000],
      ["also exports what ends while it exports", [1000, "late"], 0, 1001],
      ["loses nothing to process.exit when it disposes its runtime before", [1000, "exit"], 3, 1000]
    ] as const
  ) {
    it.live(name, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        const outcome = yield* Program.run("support/programs/forgotten.ts", { args, ...exportTo(receiver.url) })
        assert.strictEqual(outcome.code, code, outcome.stderr)
        assert.strictEqual(receiver.spans.length, spans)
        assert.strictEqual(outcome.stdout, "done\n")
      }))
  }

  it.live("prints its last trace, where it prints traces", () =>
    Effect.gen(function*() {
      const outcome = yield* Program.run("support/programs/forgotten.ts", {
        args: [1],
        env: { OTEL_TRACES_EXPORTER: "console" }
      })
      assert.strictEqual(outcome.code, 0, outcome.stderr)
      assert.match(outcome.stdout, /^done\n[^]*\bforgotten\b/)
      assert.strictEqual(outcome.stdout.match(/\bforgotten\b/g)?.length, 1)
    }))

  it.live("ends as it would untraced where nobody reads the traces that it prints", () =>
    Effect.gen(function*() {
      const bye = encodeURIComponent(`process.once("beforeExit", () => console.log("bye"))`)
      const program = yield* Program.start("support/programs/environment.ts", {
        node: ["--import", `data:text/javascript,${bye}`],
        env: { OTEL_TRACES_EXPORTER: "console" }
      })
      yield* program.closeStdout
      assert.deepStrictEqual(yield* program.outcome, { code: 0, stdout: "", stderr: "" })
    }))

  it.live("flushes a span processor of its own, once", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const outcome = yield* Program.run("support/programs/forgotten.ts", {
        args: [10, "processor"],
        ...exportTo(receiver.url)
      })
      assert.strictEqual(outcome.code, 0, outcome.stderr)
      assert.strictEqual(outcome.stdout, "done\nflushed 10\n")
      assert.strictEqual(receiver.spans.length, 10)
    }))

  it.live("says what it could not export, and ends in time", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* receiver.respondWith(() => OtlpReceiver.delayed("1 minute"))
      const outcomes = yield* Effect.forEach(
        [dead, receiver.url],
        (endpoint) => Program.runAfter("done", "support/programs/forgotten.ts", { args: [100], ...exportTo(endpoint) }),
        { concurrency: 2 }
      )
      for (const outcome of outcomes) {
        assert.strictEqual(outcome.code, 0, outcome.stderr)
        assert.include(outcome.stdout, "Spans were lost, 100 in all: 100 not exported before release")
        assert.isBelow(outcome.millis, soon)
      }
    }))

  it.live("says that it could not export its metrics, and ends in time", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* receiver.respondWith(() => OtlpReceiver.delayed("1 minute"))
      const outcome = yield* Program.runAfter("done", "support/programs/forgotten.ts", {
        args: [1],
        ...exportMetricsTo(receiver.url)
      })
      assert.strictEqual(outcome.code, 0, outcome.stderr)
      assert.include(outcome.stdout, "there was no answer in time")
      assert.isBelow(outcome.millis, soon)
    }))

  it.live("ends though its collector takes longer for its metrics than their interval is", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* receiver.respondWith(() => OtlpReceiver.delayed("1 minute"))
      // Alive for as long as it takes to have more than one interval.
      const busy = encodeURIComponent("setTimeout(() => {}, 1200)")
      const { env } = exportMetricsTo(receiver.url)
      const outcome = yield* Program.runAfter("done", "support/programs/forgotten.ts", {
        args: [1],
        node: ["--import", `data:text/javascript,${busy}`],
        env: { ...env, OTEL_METRIC_EXPORT_INTERVAL: "250", OTEL_EXPORTER_OTLP_TIMEOUT: "2000" }
      })
      assert.strictEqual(outcome.code, 0, outcome.stderr)
      assert.include(outcome.stdout, "Metrics could not be exported")
      assert.isBelow(outcome.millis, 2 * soon)
    }))
})

describe("the example of a short script", () => {
  it.live("exports before it ends, with the exit code of its result", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const run = (args: ReadonlyArray<string>) =>
        Program.run("examples/short-script.ts", { args, ...exportTo(receiver.url) })
      const good = yield* run(["1", "2", "3.5"])
      assert.deepStrictEqual([good.code, good.stdout], [0, "6.5\n"])
      assert.deepStrictEqual(receiver.spans.map((span) => span.name), ["parse", "parse", "parse", "sum"])
      const bad = yield* run(["1", "two"])
      assert.strictEqual(bad.code, 1)
      assert.strictEqual(receiver.spans.length, 7)
      assert.strictEqual(receiver.spans.filter((span) => span.status.code === "error").length, 2)
    }))
})

describe("the example of a serverless function", () => {
  it.live("has exported when it answers, so that it loses nothing when it is never thawed", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const program = yield* Program.start("support/programs/frozen.ts", {
        args: ["Ada", "Grace"],
        ...exportTo(receiver.url)
      })
      yield* program.prints("Hello Grace\n")
      assert.deepStrictEqual(receiver.spans.map((span) => span.name), ["greet", "greet"])
      assert.strictEqual(receiver.requests.length, 2)
      yield* program.kill("SIGKILL")
      assert.strictEqual((yield* program.outcome).code, null)
    }))

  it.live("answers in time when its collector is dead", () =>
    Effect.gen(function*() {
      const program = yield* Program.start("support/programs/frozen.ts", { args: ["Ada", "Grace"], ...exportTo(dead) })
      yield* program.prints("Hello Ada\n")
      yield* program.prints("Hello Grace\n")
    }))
})
