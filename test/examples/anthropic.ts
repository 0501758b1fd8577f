/**
 * Anthropic's client: an answer at once, and one that streams. Run it with `node test/examples/anthropic.ts`; without
 * `ANTHROPIC_API_KEY` it talks to a stand-in on this machine.
 */
import Anthropic from "@anthropic-ai/sdk"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Option, Redacted, Stream } from "effect"
// Users write `loom-tracing`.
import { anthropicCall, anthropicFold, TracingConsole, withAnthropicSpan, withLlmStreamSpan } from "../../src/index.ts"
import { standIn } from "./standIn.ts"

const makeClient = Effect.gen(function*() {
  const apiKey = yield* Config.option(Config.Redacted("ANTHROPIC_API_KEY"))
  return Option.isSome(apiKey)
    ? new Anthropic({ apiKey: Redacted.value(apiKey.value) })
    : new Anthropic({ apiKey: "none", baseURL: (yield* standIn).anthropicBaseUrl })
})

const ask = (question: string) => ({
  model: "claude-haiku-4-5",
  max_tokens: 200,
  messages: [{ role: "user" as const, content: question }]
})

const explain = (client: Anthropic) => {
  const params = ask("What is a trace?")
  return Effect.tryPromise((signal) => client.messages.create(params, { signal })).pipe(
    withAnthropicSpan(params, { client }),
    Effect.map((message) => message.content.map((block) => block.type === "text" ? block.text : "").join(""))
  )
}

const compose = (client: Anthropic) => {
  const params = { ...ask("A haiku on spans, please."), stream: true as const }
  return Effect.tryPromise((signal) => client.messages.create(params, { signal })).pipe(
    Effect.map((events) => Stream.fromAsyncIterable(events, (cause) => cause)),
    Stream.unwrap,
    withLlmStreamSpan({ ...anthropicCall(params, { client }), fold: anthropicFold }),
    Stream.map((event) =>
      event.type === "content_block_delta" && event.delta.type === "text_delta" ? event.delta.text : ""
    ),
    Stream.mkString
  )
}

const program = Effect.gen(function*() {
  const client = yield* makeClient
  yield* Console.log(yield* explain(client))
  yield* Console.log(yield* compose(client))
}).pipe(Effect.withSpan("anthropic"), Effect.scoped)

NodeRuntime.runMain(Effect.provide(program, TracingConsole))
