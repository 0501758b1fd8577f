/**
 * A chat model of OpenAI, by the official client.
 */
import { Config, Effect, Option, Redacted, Schema } from "effect"
import OpenAI from "openai"
import { type ChatMessage, withLlmSpan } from "../../src/index.ts"
import { ChatError, type ChatModel, type Reply, serverOf, settings, standIn } from "./ChatModel.ts"

const { maxTokens, system, tool } = settings
const model = "gpt-4.1-mini"
const temperature = 0.2

/** Needs no API key: without one it talks to a stand-in on this machine. */
export const make = Effect.gen(function*() {
  const apiKey = yield* Config.option(Config.Redacted("OPENAI_API_KEY"))
  const client = Option.isSome(apiKey)
    ? new OpenAI({ apiKey: Redacted.value(apiKey.value) })
    : new OpenAI({ apiKey: "none", baseURL: (yield* standIn).openAiBaseUrl })

  const complete = (
    messages: ReadonlyArray<OpenAI.ChatCompletionMessageParam>,
    input: ChatMessage,
    toolRound?: number
  ): Effect.Effect<Reply, ChatError> =>
    Effect.tryPromise({
      try: (signal) =>
        client.chat.completions.create({
          model,
          temperature,
          max_completion_tokens: maxTokens,
          messages: [{ role: "system", content: system }, ...messages],
          tools: [{ type: "function", function: tool }]
        }, { signal }),
      catch: (cause) => new ChatError({ cause })
    }).pipe(
      withLlmSpan({
        provider: "openai",
        request: { model, temperature, maxTokens },
        server: serverOf(client),
        hasTools: true,
        toolRound,
        systemInstructions: system,
        input: [input],
        response: ({ choices, id, model, usage }) => ({
          id,
          model,
          finishReasons: choices.map((choice) => choice.finish_reason),
          usage: {
            inputTokens: usage?.prompt_tokens,
            outputTokens: usage?.completion_tokens,
            cacheReadInputTokens: usage?.prompt_tokens_details?.cached_tokens
          },
          output: choices[0]?.message.content ?? ""
        })
      }),
      Effect.map(({ choices }) => {
        const message = choices[0]!.message
        const calls = (message.tool_calls ?? []).filter((call) => call.type === "function")
        return {
          text: message.content ?? "",
          toolCalls: calls.map((call) => ({
            id: call.id,
            name: call.function.name,
            arguments: Option.getOrUndefined(decodeJson(call.function.arguments))
          })),
          proceed: (results) => {
            const answers = calls.map(({ id }, index) => ({
              role: "tool" as const,
              tool_call_id: id,
              content: JSON.stringify(results[index])
            }))
            const input = { role: "tool", content: JSON.stringify(results) }
            return complete([...messages, message, ...answers], input, (toolRound ?? 0) + 1)
          }
        }
      })
    )

  return {
    ask: (question) => {
      const message = { role: "user" as const, content: question }
      return complete([message], message)
    }
  } satisfies ChatModel
})

const decodeJson = Schema.decodeOption(Schema.fromJsonString(Schema.Unknown))
