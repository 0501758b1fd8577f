/**
 * A pipeline of actors that share one trace: a planner publishes tasks, two workers let language models answer them,
 * an aggregator collects the results. Run it with `npm start`; it needs neither keys nor servers. The environment can
 * put real ones in their place:
 *
 * - `OPENAI_API_KEY`, `ANTHROPIC_API_KEY`: that provider, instead of a stand-in on this machine
 * - `NATS_URL`: a NATS server, instead of a bus inside this process
 * - `OTEL_EXPORTER_OTLP_ENDPOINT`: a collector, instead of the terminal
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Fiber, identity, Layer, Option, Schema, Stream } from "effect"
// Users write `loom-tracing`.
import {
  handleTracedMessage,
  makeTracedMessage,
  makeTracingLive,
  TracedMessage,
  TracingConsole,
  withAgentSpan,
  withProducerSpan,
  withToolSpan
} from "../../src/index.ts"
import * as AnthropicModel from "./AnthropicModel.ts"
import { Bus, type Channel } from "./Bus.ts"
import type { ChatModel, ToolCall } from "./ChatModel.ts"
import * as OpenAiModel from "./OpenAiModel.ts"

// Messages: JSON with the trace context beside the fields, as Loom's actors write it.

const WorkerType = Schema.Literals(["shipping", "refunds"])

const Task = Schema.Struct({
  taskId: Schema.String,
  workerType: WorkerType,
  payload: Schema.Struct({ question: Schema.String })
}).pipe(Schema.encodeKeys({ taskId: "task_id", workerType: "worker_type" }))
const TaskMessage = Schema.fromJsonString(TracedMessage(Task))

const TaskResult = Schema.Struct({
  taskId: Schema.String,
  status: Schema.Literals(["completed", "failed"]),
  output: Schema.String
}).pipe(Schema.encodeKeys({ taskId: "task_id" }))
const ResultMessage = Schema.fromJsonString(TracedMessage(TaskResult))

const publish = <A>(channel: Channel, schema: Schema.Codec<TracedMessage<A>, string>, payload: A) =>
  makeTracedMessage(payload).pipe(
    Effect.flatMap(Schema.encodeEffect(schema)),
    Effect.flatMap(channel.publish),
    withProducerSpan({ ...channel.span, operation: "publish" })
  )

// The planner.

const tasks: ReadonlyArray<typeof Task.Type> = [
  { taskId: "task-1", workerType: "shipping", payload: { question: "Where is my order A-17?" } },
  { taskId: "task-2", workerType: "refunds", payload: { question: "Can I still return order B-23?" } },
  { taskId: "task-3", workerType: "shipping", payload: { question: "Has order C-42 been delivered?" } }
]

const plan = Effect.fnUntraced(function*(aggregator: Effect.Success<typeof startAggregator>) {
  const bus = yield* Bus
  for (const task of tasks) {
    yield* publish(bus.channel(`tasks.${task.workerType}`), TaskMessage, task)
    yield* Console.log(`planner: ${task.taskId} for ${task.workerType}`)
  }
  return yield* Fiber.join(aggregator)
}, withAgentSpan({ name: "planner" }))

// The workers.

const orders: Record<string, object> = {
  "A-17": { status: "in transit", shipped: "yesterday", arrives: "Thursday" },
  "B-23": { status: "delivered", returnable: "until the end of the month" },
  "C-42": { status: "delivered", delivered: "this morning" }
}

const LookupOrder = Schema.Struct({ order_id: Schema.String })

const lookupOrder = Effect.fnUntraced(
  function*(call: ToolCall) {
    const { order_id } = yield* Schema.decodeUnknownEffect(LookupOrder)(call.arguments)
    return orders[order_id] ?? { status: "unknown" }
  },
  (effect, { arguments: input, id, name }) =>
    withToolSpan(effect, { name, callId: id, type: "function", arguments: input, result: identity })
)

const answer = Effect.fnUntraced(function*(model: ChatModel, question: string) {
  let reply = yield* model.ask(question)
  while (reply.toolCalls.length > 0) {
    reply = yield* reply.proceed(yield* Effect.forEach(reply.toolCalls, lookupOrder))
  }
  return reply.text
})

const startWorker = Effect.fnUntraced(function*(workerType: typeof WorkerType.Type, model: ChatModel) {
  const bus = yield* Bus
  const channel = bus.channel(`tasks.${workerType}`)
  const handle = handleTracedMessage(
    TaskMessage,
    channel.span,
    ({ payload, taskId }) =>
      answer(model, payload.question).pipe(
        withAgentSpan({ name: `${workerType}-agent` }),
        Effect.interruptible,
        Effect.match({
          onSuccess: (output) => ({ taskId, status: "completed" as const, output }),
          onFailure: (error) => ({ taskId, status: "failed" as const, output: error.message })
        }),
        Effect.flatMap((result) => publish(bus.channel("results"), ResultMessage, result))
      )
  )
  const messages = yield* channel.subscribe
  yield* messages.pipe(
    Stream.runForEach((message) =>
      handle(message).pipe(
        // What cannot be handled must not end the worker.
        Effect.catch((error) => Console.error(`${workerType}: ${error.message}`)),
        // When the worker is stopped, an agent may be cut short; an answer that is there is published.
        Effect.uninterruptible
      )
    ),
    Effect.forkScoped
  )
})

// The aggregator.

const startAggregator = Effect.gen(function*() {
  const bus = yield* Bus
  const channel = bus.channel("results")
  const handle = handleTracedMessage(
    ResultMessage,
    channel.span,
    (result) => Effect.as(Console.log(`${result.taskId} ${result.status}: ${result.output}`), result)
  )
  const messages = yield* channel.subscribe
  return yield* messages.pipe(
    Stream.mapEffect(handle),
    Stream.take(tasks.length),
    Stream.runCollect,
    Effect.forkScoped
  )
})

class TasksFailed extends Schema.TaggedError<TasksFailed>()("TasksFailed", { taskIds: Schema.Array(Schema.String) }) {
  override get message() {
    return this.taskIds.join(", ")
  }
}

const pipeline = Effect.gen(function*() {
  yield* startWorker("shipping", yield* OpenAiModel.make)
  yield* startWorker("refunds", yield* AnthropicModel.make)
  const aggregator = yield* startAggregator
  const results = yield* plan(aggregator)
  const failed = results.filter((result) => result.status === "failed")
  if (failed.length > 0) {
    return yield* new TasksFailed({ taskIds: failed.map((result) => result.taskId) })
  }
}).pipe(Effect.scoped, Effect.timeout("1 minute"))

// The edge: here alone it is decided where spans go.

const Tracing = Layer.unwrap(Effect.gen(function*() {
  const collector = yield* Config.option(Config.String("OTEL_EXPORTER_OTLP_ENDPOINT"))
  const serviceName = yield* Config.withDefault(Config.String("OTEL_SERVICE_NAME"), "loom-pipeline")
  return Option.isSome(collector) ? makeTracingLive({ serviceName }) : TracingConsole
}))

pipeline.pipe(
  Effect.provide(Layer.provideMerge(Bus.layer, Tracing)),
  NodeRuntime.runMain
)
