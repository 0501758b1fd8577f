/**
 * OpenAI's client: an answer at once, and one that streams. Run it with `node test/examples/openai.ts`; without
 * `OPENAI_API_KEY` it talks to a stand-in on this machine.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Option, Redacted, Stream } from "effect"
import OpenAI from "openai"
// Users write `loom-tracing`.
import { openAiCall, openAiFold, TracingConsole, withLlmStreamSpan, withOpenAiSpan } from "../../src/index.ts"
import { standIn } from "./standIn.ts"

const makeClient = Effect.gen(function*() {
  const apiKey = yield* Config.option(Config.Redacted("OPENAI_API_KEY"))
  return Option.isSome(apiKey)
    ? new OpenAI({ apiKey: Redacted.value(apiKey.value) })
    : new OpenAI({ apiKey: "none", baseURL: (yield* standIn).openAiBaseUrl })
})

const model = "gpt-4.1-mini"

const explain = (client: OpenAI) => {
  const params = { model, temperature: 0, messages: [{ role: "user" as const, content: "What is a trace?" }] }
  return Effect.tryPromise((signal) => client.chat.completions.create(params, { signal })).pipe(
    withOpenAiSpan(params, { client }),
    Effect.map((completion) => completion.choices[0]?.message.content)
  )
}

const compose = (client: OpenAI) => {
  const params = {
    model,
    messages: [{ role: "user" as const, content: "A haiku on spans, please." }],
    stream: true as const,
    // Without this, OpenAI does not say how many tokens a stream has used.
    stream_options: { include_usage: true }
  }
  return Effect.tryPromise((signal) => client.chat.completions.create(params, { signal })).pipe(
    Effect.map((chunks) => Stream.fromAsyncIterable(chunks, (cause) => cause)),
    Stream.unwrap,
    withLlmStreamSpan({ ...openAiCall(params, { client }), fold: openAiFold }),
    Stream.map((chunk) => chunk.choices[0]?.delta.content ?? ""),
    Stream.mkString
  )
}

const program = Effect.gen(function*() {
  const client = yield* makeClient
  yield* Console.log(yield* explain(client))
  yield* Console.log(yield* compose(client))
}).pipe(Effect.withSpan("openai"), Effect.scoped)

NodeRuntime.runMain(Effect.provide(program, TracingConsole))
