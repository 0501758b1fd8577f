import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { execFile, spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { baseEnv } from "./support/baseEnv.ts"
import * as OtlpReceiver from "./support/OtlpReceiver.ts"

const worker = fileURLToPath(new URL("./examples/loom-messages.ts", import.meta.url))
const actor = fileURLToPath(new URL("./examples/loom_actor.py", import.meta.url))

const withoutPython = spawnSync("python3", ["--version"]).status !== 0
const skip = process.env.CI !== "true" && withoutPython

if (skip) {
  console.log("Python tests are skipped; to run them: apt-get install python3")
}

interface Outcome {
  readonly stdout: ReadonlyArray<string>
  readonly stderr: ReadonlyArray<string>
}

const linesOf = (text: string) => text.split("\n").slice(0, -1)

/** Runs a program to its end, with lines as its standard input. */
const run = (
  program: string,
  args: ReadonlyArray<string>,
  lines: ReadonlyArray<string>,
  env: Record<string, string> = {}
): Effect.Effect<Outcome> =>
  Effect.callback((resume, signal) => {
    const child = execFile(
      program,
      args,
      { env: { ...baseEnv, ...env }, signal },
      (error, stdout, stderr) =>
        resume(
          error === null ? Effect.succeed({ stdout: linesOf(stdout), stderr: linesOf(stderr) }) : Effect.die(error)
        )
    )
    child.stdin?.end(lines.map((line) => `${line}\n`).join(""))
  })

const runWorker = (lines: ReadonlyArray<string>, env?: Record<string, string>) =>
  run(process.execPath, [worker], lines, env)

/** As an actor reads it. */
const Context = Schema.Struct({
  traceparent: Schema.String,
  tracestate: Schema.optionalKey(Schema.String),
  baggage: Schema.optionalKey(Schema.String)
})
const Result = Schema.Struct({
  task_id: Schema.String,
  parent_task_id: Schema.NullOr(Schema.String),
  worker_type: Schema.String,
  status: Schema.String,
  output: Schema.NullOr(Schema.Record(Schema.String, Schema.Json)),
  error: Schema.NullOr(Schema.String),
  processing_time_ms: Schema.Int,
  completed_at: Schema.DateTimeUtcFromString,
  _trace_context: Schema.optionalKey(Context)
})
const decodeResult = Schema.decodeSync(Schema.fromJsonString(Result))
const read = (line: string) => decodeResult(line)
const readExchanges = Schema.decodeSync(
  Schema.fromJsonString(
    Schema.Array(Schema.Struct({ task: Schema.Struct({ _trace_context: Context }), result: Result }))
  )
)

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
const spanId = "00f067aa0ba902b7"
/** What `json.dumps` of Python made of a task: blanks after separators, nothing but ASCII, `None` as null. */
const recorded = [
  String.raw`{"task_id": "8a6e1c", "parent_task_id": null, "worker_type": "summarizer",`,
  String.raw`"payload": {"text": "\u00dcmit gr\u00fc\u00dft \u6771\u4eac und \ud83d\ude00. Der Rest ist Beiwerk."},`,
  String.raw`"model_tier": "local", "priority": "normal", "created_at": "2026-11-20T09:15:00.123456Z",`,
  String.raw`"request_id": null, "metadata": {"attempt": 1},`,
  String.raw`"_trace_context": {"traceparent": "00-${traceId}-${spanId}-01", "tracestate": "loom=actor",`,
  String.raw`"baggage": "tenant=%C3%9Cmit"}}`
].join(" ")
const context = { traceparent: `00-${traceId}-${spanId}-01`, tracestate: "loom=actor", baggage: "tenant=%C3%9Cmit" }

describe("a worker among Loom's Python actors", () => {
  it.effect("answers a task in its trace", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const { stderr, stdout } = yield* runWorker([recorded], { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url })
      assert.deepStrictEqual(stderr, [])
      const results = stdout.map(read)
      assert.deepStrictEqual(
        results.map(({ error, output, parent_task_id, status, task_id, worker_type }) => ({
          error,
          output,
          parent_task_id,
          status,
          task_id,
          worker_type
        })),
        [{
          error: null,
          output: { summary: "Ümit grüßt 東京 und 😀." },
          parent_task_id: null,
          status: "completed",
          task_id: "8a6e1c",
          worker_type: "summarizer"
        }]
      )
      const spans = new Map(receiver.spans.map((span) => [span.name, span]))
      const process = spans.get("process loom.tasks.summarizer")
      const publish = spans.get("publish loom.results.{parent_task_id}")
      assert.strictEqual(receiver.spans.length, 3)
      assert.isTrue(receiver.spans.every((span) => span.traceId === traceId))
      assert.strictEqual(process?.parentSpanId, spanId)
      assert.strictEqual(spans.get("summarize")?.parentSpanId, process?.spanId)
      assert.strictEqual(publish?.parentSpanId, process?.spanId)
      assert.deepStrictEqual(results[0]._trace_context, {
        ...context,
        traceparent: `00-${traceId}-${publish?.spanId}-01`
      })
    }))

  it.effect("passes a context on as it is while it records nothing, and makes none up", () =>
    Effect.gen(function*() {
      const task = { task_id: "1", worker_type: "summarizer", payload: { text: "Short." } }
      const contexts: ReadonlyArray<readonly [sent: object, passedOn: object | undefined]> = [
        [{ _trace_context: context }, context],
        [{}, undefined],
        // What Python has as `None`.
        [{ _trace_context: null }, undefined],
        [{ _trace_context: { traceparent: "00-0-0-01" } }, undefined]
      ]
      const { stdout } = yield* runWorker(contexts.map(([sent]) => JSON.stringify({ ...task, ...sent })))
      assert.deepStrictEqual(
        stdout.map(read).map((result) => [result.status, result._trace_context]),
        contexts.map(([, passedOn]) => ["completed", passedOn])
      )
    }))

  it.effect("sets aside what is no task, untouched, and goes on", () =>
    Effect.gen(function*() {
      const incomplete = JSON.stringify({ task_id: "2", _trace_context: context })
      // Python writes numbers that JSON lacks.
      const notJson = recorded.replace(`"attempt": 1`, `"attempt": NaN`)
      const { stderr, stdout } = yield* runWorker([incomplete, notJson, recorded])
      assert.deepStrictEqual(stdout.map((line) => read(line).task_id), ["8a6e1c"])
      const letters = stderr.map((line) => JSON.parse(line))
      assert.deepStrictEqual(letters.map(({ wire }) => wire), [incomplete, notJson])
      assert.match(letters[0].error, /"worker_type"/)
      assert.deepStrictEqual(letters.map(({ _trace_context }) => _trace_context), [context, undefined])
    }))

  describe.skipIf(skip)("with a Python process on the other side", () => {
    it.effect("each task and its result are in one trace", () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        const { stdout } = yield* run("python3", [actor, process.execPath, worker], [], {
          OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url
        })
        const exchanges = readExchanges(stdout[0])
        assert.deepStrictEqual(
          exchanges.map(({ result }) => [result.status, result.output, result.error]),
          [
            ["completed", { summary: "Ümit grüßt 東京 und 😀." }, null],
            ["failed", null, "There is nothing to summarize"]
          ]
        )
        for (const { result, task: { _trace_context: sent } } of exchanges) {
          const [, traceId, parentId] = sent.traceparent.split("-")
          const spans = receiver.spans.filter((span) => span.traceId === traceId)
          assert.strictEqual(spans.length, 3)
          assert.strictEqual(spans.find((span) => span.name.startsWith("process"))?.parentSpanId, parentId)
          const published = spans.find((span) => span.name.startsWith("publish"))
          assert.deepStrictEqual(result._trace_context, {
            ...sent,
            traceparent: `00-${traceId}-${published?.spanId}-01`
          })
        }
        assert.strictEqual(receiver.spans.length, 6)
      }))
  })
})
