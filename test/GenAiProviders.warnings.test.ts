/** What provider combinators warn of once in a process, in a file of its own so that it is the first time. */
import { assert, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import {
  annotateLlmResponse,
  withAnthropicSpan,
  withBedrockSpan,
  withGoogleSpan,
  withOllamaSpan,
  withOpenAiSpan
} from "loom-tracing"
import * as Recorder from "./support/Recorder.ts"

const messages = [{ role: "user", content: "hello" }]

const combinators = {
  withOpenAiSpan: withOpenAiSpan({ model: "m", messages }),
  withAnthropicSpan: withAnthropicSpan({ model: "m", messages }),
  withOllamaSpan: withOllamaSpan({ model: "m", messages }),
  withGoogleSpan: withGoogleSpan({ model: "m", contents: "hello" }),
  withBedrockSpan: withBedrockSpan({ modelId: "m", messages })
}

/** What is logged while an effect runs. */
const logged = (effect: Effect.Effect<unknown>) => {
  const logs: Array<unknown> = []
  const logger = Logger.layer([Logger.make(({ message }) => logs.push(message))])
  return Recorder.make().run(effect).pipe(Effect.provide(logger), Effect.as(logs))
}

const openAiAnswers: ReadonlyArray<readonly [name: string, answer: unknown]> = [
  ["embeddings that do not say their model", { object: "list", data: [{ embedding: [1] }] }],
  ["a moderation", { results: [{ flagged: false }] }],
  ["images", { created: 1, data: [{ url: "https://example.com" }] }],
  ["a chat without choices", { choices: [] }],
  ["a response without output", { output: [] }],
  ["the same by withResponse", { data: { choices: [] }, response: new Response(), request_id: null }],
  ["nothing at all", {}]
]
const answers: ReadonlyArray<readonly [name: string, combinator: keyof typeof combinators, answer: unknown]> = [
  ...openAiAnswers.map(([name, answer]) => [name, "withOpenAiSpan", answer] as const),
  ["an empty message", "withAnthropicSpan", { content: [] }],
  ["a count of tokens", "withAnthropicSpan", { input_tokens: 3 }],
  ["embeddings", "withOllamaSpan", { embeddings: [[1]] }],
  ["a model that is loaded", "withOllamaSpan", { done: true, response: "" }],
  ["a prompt that was blocked", "withGoogleSpan", { promptFeedback: { blockReason: "SAFETY" } }],
  ["what only HTTP is known of", "withGoogleSpan", { sdkHttpResponse: { headers: {} } }],
  ["an output without a message", "withBedrockSpan", { $metadata: { httpStatusCode: 200 } }]
]
for (const [name, combinator, answer] of answers) {
  it.effect(`${combinator} does not warn of ${name}`, () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* logged(Effect.succeed(answer).pipe(combinators[combinator])), [])
    }))
}

it.effect("a text that the program has described by itself is not warned of", () =>
  Effect.gen(function*() {
    const described = Effect.as(annotateLlmResponse({ usage: { inputTokens: 1 } }), "Hi")
    for (const combinator of Object.values(combinators)) {
      assert.deepStrictEqual(yield* logged(described.pipe(combinator)), [])
    }
  }))

const message = { role: "assistant", content: "Hi", refusal: null }
const mapped: ReadonlyArray<readonly [name: keyof typeof combinators, value: unknown]> = [
  ["withOpenAiSpan", message],
  ["withAnthropicSpan", [{ type: "text", text: "Hi" }]],
  ["withOllamaSpan", "Hi"],
  ["withGoogleSpan", undefined],
  ["withBedrockSpan", "Hi"]
]
for (const [name, value] of mapped) {
  it.effect(`${name} warns once of an answer that was mapped before its span has read it`, () =>
    Effect.gen(function*() {
      const call = Effect.succeed(value).pipe(combinators[name])
      const logs = yield* logged(Effect.andThen(call, call))
      assert.lengthOf(logs, 1)
      assert.match(String(logs[0]), new RegExp(`^${name} .* directly around the client's call`))
    }))
}
