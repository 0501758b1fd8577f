/**
 * A worker among the Python actors of Loom: it takes their tasks and answers with results that they can read, in the
 * trace of each task. Messages are lines here, where Loom has a NATS subject for each kind: tasks come by standard
 * input, results go by standard output, and what is no task goes to standard error. `OTEL_EXPORTER_OTLP_ENDPOINT` names
 * a collector; without one the trace is passed on all the same.
 *
 *   python3 test/examples/loom_actor.py | node test/examples/loom-messages.ts
 */
import { NodeRuntime, NodeStdio } from "@effect/platform-node"
import { Config, Console, DateTime, Duration, Effect, Layer, Logger, Option, Schema, Stdio, Stream } from "effect"
// Users write `loom-tracing`.
import {
  handleTracedStream,
  injectTraceContext,
  makeTracedMessage,
  makeTracingLive,
  TracedMessage,
  TracingNoop,
  withProducerSpan
} from "../../src/index.ts"

// Loom's messages, as far as this worker cares. Names are Python's on the wire and TypeScript's here; what Python has
// as `None` is null, and a field that pydantic would fill in may be missing.

const TaskMessage = Schema.Struct({
  taskId: Schema.String,
  parentTaskId: Schema.NullOr(Schema.String).pipe(Schema.withDecodingDefaultKey(Effect.succeed(null))),
  workerType: Schema.String,
  payload: Schema.Struct({ text: Schema.String }),
  modelTier: Schema.Literals(["local", "standard", "frontier"]).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed("standard" as const))
  ),
  createdAt: Schema.optionalKey(Schema.DateTimeUtcFromString),
  metadata: Schema.Record(Schema.String, Schema.Json).pipe(Schema.withDecodingDefaultKey(Effect.succeed({})))
}).pipe(Schema.encodeKeys({
  taskId: "task_id",
  parentTaskId: "parent_task_id",
  workerType: "worker_type",
  modelTier: "model_tier",
  createdAt: "created_at"
}))

const TaskResult = Schema.Struct({
  taskId: Schema.String,
  parentTaskId: Schema.NullOr(Schema.String),
  workerType: Schema.String,
  status: Schema.Literals(["completed", "failed"]),
  output: Schema.NullOr(Schema.Struct({ summary: Schema.String })),
  error: Schema.NullOr(Schema.String),
  processingTimeMs: Schema.Int,
  completedAt: Schema.DateTimeUtcFromString
}).pipe(Schema.encodeKeys({
  taskId: "task_id",
  parentTaskId: "parent_task_id",
  workerType: "worker_type",
  processingTimeMs: "processing_time_ms",
  completedAt: "completed_at"
}))

// The trace context stands beside these fields, under `_trace_context`.
const Task = Schema.fromJsonString(TracedMessage(TaskMessage))
const Result = Schema.fromJsonString(TracedMessage(TaskResult))

const publish = (result: typeof TaskResult.Type) =>
  makeTracedMessage(result).pipe(
    Effect.flatMap(Schema.encodeEffect(Result)),
    Effect.flatMap((line) => Console.log(line)),
    withProducerSpan({
      system: "stdio",
      destination: `loom.results.${result.parentTaskId ?? "default"}`,
      template: "loom.results.{parent_task_id}",
      operation: "publish"
    })
  )

class NothingToSummarize extends Schema.TaggedError<NothingToSummarize>()("NothingToSummarize", {}) {
  override get message() {
    return "There is nothing to summarize"
  }
}

/** The first sentence says it all. */
const summarize = (text: string) => {
  const summary = /^\s*(.+?[.!?])(\s|$)/su.exec(text)?.[1]
  return summary === undefined ? Effect.fail(new NothingToSummarize()) : Effect.succeed({ summary })
}

const work = Effect.fnUntraced(function*({ parentTaskId, payload, taskId, workerType }: typeof TaskMessage.Type) {
  const [elapsed, outcome] = yield* summarize(payload.text).pipe(
    Effect.withSpan("summarize"),
    Effect.match({
      onSuccess: (output) => ({ status: "completed" as const, output, error: null }),
      onFailure: ({ message }) => ({ status: "failed" as const, output: null, error: message })
    }),
    Effect.timed
  )
  yield* publish({
    taskId,
    parentTaskId,
    workerType,
    ...outcome,
    processingTimeMs: Math.round(Duration.toMillis(elapsed)),
    completedAt: yield* DateTime.now
  })
})

const worker = Effect.gen(function*() {
  const { stdin } = yield* Stdio.Stdio
  yield* stdin.pipe(
    Stream.decodeText(),
    Stream.splitLines,
    handleTracedStream(
      Task,
      {
        system: "stdio",
        destination: "loom.tasks.summarizer",
        deadLetter: ({ message, wire }) =>
          Effect.flatMap(
            injectTraceContext({ error: message, wire }),
            (letter) => Console.error(JSON.stringify(letter))
          )
      },
      work
    ),
    Stream.runDrain
  )
})

const Tracing = Layer.unwrap(
  Effect.map(
    Config.option(Config.String("OTEL_EXPORTER_OTLP_ENDPOINT")),
    Option.match({ onNone: () => TracingNoop, onSome: () => makeTracingLive({ serviceName: "loom-worker" }) })
  )
)

worker.pipe(
  // Standard output is for results alone.
  Effect.provide([NodeStdio.layer, Tracing, Layer.succeed(Logger.LogToStderr, true)]),
  NodeRuntime.runMain
)
