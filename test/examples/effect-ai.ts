/**
 * A program on `effect/ai` that knows nothing of tracing: a chat with a tool, and an answer that streams. Only the layer of
 * its model says that it is traced. Run it with `node test/examples/effect-ai.ts`; without `OPENAI_API_KEY` it talks to a
 * stand-in on this machine.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Layer, Option, Redacted, Schema, Stream } from "effect"
import { Chat, LanguageModel, Tool, Toolkit } from "effect/ai"
import OpenAI from "openai"
// Users write `loom-tracing/GenAiEffectAi` and `loom-tracing`.
import { withEffectAiSpans } from "../../src/GenAiEffectAi.ts"
import { TracingConsole } from "../../src/index.ts"
// Users have a provider's package here.
import * as OpenAiLanguageModel from "../support/OpenAiLanguageModel.ts"
import { standIn } from "./standIn.ts"

// The program.

const Tools = Toolkit.make(
  Tool.make("weather", {
    description: "The weather in a city",
    parameters: Schema.Struct({ city: Schema.String }),
    success: Schema.Struct({ celsius: Schema.Number })
  })
)

const ToolsLive = Tools.toLayer({ weather: () => Effect.succeed({ celsius: 21 }) })

const answer = Effect.fn("forecaster")(function*(question: string) {
  const chat = yield* Chat.empty
  let response = yield* chat.generateText({ prompt: question, toolkit: Tools })
  while (response.toolCalls.length > 0) {
    response = yield* chat.generateText({ prompt: [], toolkit: Tools })
  }
  return response.text
})

const compose = LanguageModel.streamText({ prompt: "A haiku on spans, please." }).pipe(
  Stream.map((part) => part.type === "text-delta" ? part.delta : ""),
  Stream.mkString
)

const program = Effect.gen(function*() {
  yield* Console.log(yield* answer("How is the weather in Paris?"))
  yield* Console.log(yield* compose)
}).pipe(Effect.withSpan("effect-ai"))

// The edge.

const ModelLive = Layer.unwrap(Effect.gen(function*() {
  const apiKey = yield* Config.option(Config.Redacted("OPENAI_API_KEY"))
  const client = Option.isSome(apiKey)
    ? new OpenAI({ apiKey: Redacted.value(apiKey.value) })
    : new OpenAI({ apiKey: "none", baseURL: (yield* standIn).openAiBaseUrl })
  const model = "gpt-4.1-mini"
  return OpenAiLanguageModel.layer({ client, model }).pipe(
    withEffectAiSpans({ provider: "openai", request: { model }, baseURL: client.baseURL })
  )
}))

NodeRuntime.runMain(Effect.provide(program, Layer.mergeAll(ModelLive, ToolsLive, TracingConsole)))
