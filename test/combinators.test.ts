import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import {
  type RemoteContext,
  withAgent,
  withAgentSpan,
  withBatchSpan,
  withConsumerSpan,
  withConversation,
  withCreateAgentSpan,
  withCreateSpan,
  withEmbeddingsSpan,
  withFetchResponseSpan,
  withLlmSpan,
  withMcpSpan,
  withMemorySpan,
  withPlanSpan,
  withProducerSpan,
  withReceiveSpan,
  withRemoteContext,
  withRetrievalSpan,
  withScope,
  withSettleSpan,
  withToolSpan,
  withTraceContext,
  withWorkflowSpan
} from "loom-tracing"
import * as Recorder from "./support/Recorder.ts"

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
const context: RemoteContext = {
  traceparent: { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 }
}
const destination = { system: "nats", destination: "tasks" }

/** A span in which everything shows that a combinator can put around it. */
const work = withLlmSpan(Effect.succeed(1), { provider: "openai", request: { model: "gpt-4o" } })

/** What a combinator can change of the spans. */
const seen = (effect: Effect.Effect<number>) =>
  Effect.gen(function*() {
    const recorder = Recorder.make()
    assert.strictEqual(yield* recorder.run(effect), 1)
    return recorder.spans.map((span) => [
      Recorder.summarize(span),
      span.instrumentationScope.name,
      span.parentSpanContext?.isRemote
    ])
  })

describe("a combinator does the same whether its effect comes first or is piped", () => {
  for (
    const [name, first, last] of [
      ["withAgent", withAgent(work, "planner"), work.pipe(withAgent("planner"))],
      ["withAgentSpan", withAgentSpan(work, { name: "planner" }), work.pipe(withAgentSpan({ name: "planner" }))],
      [
        "withBatchSpan",
        withBatchSpan(work, { ...destination, messages: [] }),
        work.pipe(withBatchSpan({ ...destination, messages: [] }))
      ],
      ["withConsumerSpan", withConsumerSpan(work, destination), work.pipe(withConsumerSpan(destination))],
      ["withConversation", withConversation(work, "conversation"), work.pipe(withConversation("conversation"))],
      [
        "withCreateAgentSpan",
        withCreateAgentSpan(work, { provider: "openai", name: "planner" }),
        work.pipe(withCreateAgentSpan({ provider: "openai", name: "planner" }))
      ],
      ["withCreateSpan", withCreateSpan(work, destination), work.pipe(withCreateSpan(destination))],
      [
        "withEmbeddingsSpan",
        withEmbeddingsSpan(work, { provider: "openai", request: { model: "e" } }),
        work.pipe(withEmbeddingsSpan({ provider: "openai", request: { model: "e" } }))
      ],
      [
        "withFetchResponseSpan",
        withFetchResponseSpan(work, { provider: "openai", responseId: "r" }),
        work.pipe(withFetchResponseSpan({ provider: "openai", responseId: "r" }))
      ],
      [
        "withLlmSpan",
        withLlmSpan(work, { provider: "openai", request: { model: "gpt-4o" } }),
        work.pipe(withLlmSpan({ provider: "openai", request: { model: "gpt-4o" } }))
      ],
      ["withMcpSpan", withMcpSpan(work, { method: "tools/list" }), work.pipe(withMcpSpan({ method: "tools/list" }))],
      [
        "withMemorySpan",
        withMemorySpan(work, { operation: "search_memory", provider: "mem" }),
        work.pipe(withMemorySpan({ operation: "search_memory", provider: "mem" }))
      ],
      ["withPlanSpan", withPlanSpan(work, {}), work.pipe(withPlanSpan({}))],
      ["withProducerSpan", withProducerSpan(work, destination), work.pipe(withProducerSpan(destination))],
      ["withReceiveSpan", withReceiveSpan(work, destination), work.pipe(withReceiveSpan(destination))],
      [
        "withRemoteContext",
        withRemoteContext(work, Option.some(context)),
        work.pipe(withRemoteContext(Option.some(context)))
      ],
      [
        "withRetrievalSpan",
        withRetrievalSpan(work, { provider: "store", dataSourceId: "docs" }),
        work.pipe(withRetrievalSpan({ provider: "store", dataSourceId: "docs" }))
      ],
      ["withScope", withScope(work, "library"), work.pipe(withScope("library"))],
      [
        "withSettleSpan",
        withSettleSpan(work, { ...destination, operation: "ack" }),
        work.pipe(withSettleSpan({ ...destination, operation: "ack" }))
      ],
      ["withToolSpan", withToolSpan(work, { name: "weather" }), work.pipe(withToolSpan({ name: "weather" }))],
      [
        "withTraceContext",
        withTraceContext(work, { _trace_context: { traceparent } }),
        work.pipe(withTraceContext({ _trace_context: { traceparent } }))
      ],
      ["withWorkflowSpan", withWorkflowSpan(work, { name: "flow" }), work.pipe(withWorkflowSpan({ name: "flow" }))]
    ] as ReadonlyArray<readonly [string, Effect.Effect<number>, Effect.Effect<number>]>
  ) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const alone = yield* seen(work)
        const whole = yield* seen(first)
        assert.notDeepEqual(whole, alone)
        assert.deepStrictEqual(yield* seen(last), whole)
      }))
  }
})
