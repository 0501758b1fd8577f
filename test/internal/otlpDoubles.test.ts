import { assert, describe, it } from "@effect/vitest"
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer"
import { Effect } from "effect"
import { recordEvaluation, withAgentSpan, withLlmSpan, withToolSpan } from "loom-tracing"
import { keepDoubles, serializeSpans } from "../../src/internal/otlpDoubles.ts"
import * as OtlpDecoder from "../support/OtlpDecoder.ts"
import * as Recorder from "../support/Recorder.ts"

const serialize = (recorder: ReturnType<typeof Recorder.make>): Uint8Array =>
  ProtobufTraceSerializer.serializeRequest([...recorder.spans]) ?? new Uint8Array()

const call = (temperature: number) =>
  recordEvaluation({ name: "e", score: { value: 1 } }).pipe(
    withLlmSpan({
      provider: "openai",
      request: {
        model: "gpt-4o",
        temperature,
        topP: 0,
        frequencyPenalty: -2,
        presencePenalty: 0.5,
        maxTokens: 1,
        topK: 1
      }
    })
  )

describe("keepDoubles", () => {
  for (const temperature of [0, 1, 2, -1, 0.7, 300, 2 ** 40, -(2 ** 40), Number.MAX_SAFE_INTEGER]) {
    it.effect(`a temperature of ${temperature} is a double, and everything else is as it was`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(call(temperature).pipe(withAgentSpan({ name: "a", request: { temperature } })))
        const bytes = serialize(recorder)
        const before = OtlpDecoder.decodeSpans(Buffer.from(bytes))
        const after = OtlpDecoder.decodeSpans(Buffer.from(keepDoubles(bytes)))
        const untyped = (spans: typeof before) =>
          spans.map((span) => ({
            ...span,
            attributeTypes: 0,
            events: span.events.map((event) => ({ ...event, attributeTypes: 0 }))
          }))
        assert.deepStrictEqual(untyped(after), untyped(before))
        const [llm, agent] = after
        assert.strictEqual(agent.attributeTypes["gen_ai.request.temperature"], "doubleValue")
        const { attributeTypes, events } = llm
        for (const name of ["temperature", "top_p", "frequency_penalty", "presence_penalty"]) {
          assert.strictEqual(attributeTypes[`gen_ai.request.${name}`], "doubleValue", name)
        }
        for (const name of ["max_tokens", "top_k"]) {
          assert.strictEqual(attributeTypes[`gen_ai.request.${name}`], "intValue", name)
        }
        assert.strictEqual(events[0].attributeTypes["gen_ai.evaluation.score.value"], "doubleValue")
      }))
  }

  it.effect("hands back the very bytes where there is nothing to do", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(Effect.void.pipe(withToolSpan({ name: "t", attributes: { count: 3, list: [1, 2] } })))
      const bytes = serialize(recorder)
      assert.strictEqual(keepDoubles(bytes), bytes)
      assert.lengthOf(keepDoubles(new Uint8Array()), 0)
    }))

  // The last one has a length whose second byte is that of an integer's tag.
  for (const length of [0, 1, 24, 125, 126, 3093]) {
    it.effect(`a text of ${length} characters under the name of a double stays a text`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const attributes = { "gen_ai.request.temperature": "x".repeat(length) }
        yield* recorder.run(Effect.void.pipe(withToolSpan({ name: "t", attributes })))
        const bytes = serialize(recorder)
        assert.strictEqual(keepDoubles(bytes), bytes)
      }))
  }

  it.effect("finds its way among many spans of many shapes", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ env: { OTEL_RESOURCE_ATTRIBUTES: "gen_ai.request.temperature=1" } })
      yield* recorder.run(
        Effect.forEach(
          Array.from({ length: 500 }, (_, index) => index),
          (index) =>
            call(index % 3).pipe(
              withToolSpan({ name: "x".repeat(index), attributes: { text: "y".repeat(index * 10) } }),
              Effect.withSpan("plain", { attributes: { flag: true, n: index, ratio: 0.5 } })
            )
        )
      )
      const spans = OtlpDecoder.decodeSpans(Buffer.from(keepDoubles(serialize(recorder))))
      assert.lengthOf(spans, 1500)
      for (const [index, span] of spans.filter(({ name }) => name === "llm.call").entries()) {
        assert.strictEqual(span.attributes["gen_ai.request.temperature"], index % 3)
        assert.strictEqual(span.attributeTypes["gen_ai.request.temperature"], "doubleValue")
      }
    }))

  for (
    const [name, temperature, evaluated] of [
      ["on a span", 1, 0.5],
      ["in an event", 0.5, 1]
    ] as const
  ) {
    it.effect(`is asked where a double without a fraction is ${name}, among spans without one`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* Effect.void.pipe(withToolSpan({ name: "t" }), recorder.run)
        yield* recordEvaluation({ name: "e", score: { value: evaluated } }).pipe(
          withLlmSpan({ provider: "openai", request: { model: "gpt-4o", temperature } }),
          recorder.run
        )
        const [, llm] = OtlpDecoder.decodeSpans(Buffer.from(serializeSpans([...recorder.spans])!))
        assert.strictEqual(llm.attributeTypes["gen_ai.request.temperature"], "doubleValue")
        assert.strictEqual(llm.events[0].attributeTypes["gen_ai.evaluation.score.value"], "doubleValue")
      }))
  }
})
