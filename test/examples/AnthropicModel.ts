/**
 * A chat model of Anthropic, by the official client.
 */
import Anthropic from "@anthropic-ai/sdk"
import { Config, Effect, Option, Redacted } from "effect"
import { type ChatMessage, withLlmSpan } from "../../src/index.ts"
import { ChatError, type ChatModel, type Reply, serverOf, settings, standIn } from "./ChatModel.ts"

const { maxTokens, system, tool } = settings
const model = "claude-haiku-4-5"

/** Needs no API key: without one it talks to a stand-in on this machine. */
export const make = Effect.gen(function*() {
  const apiKey = yield* Config.option(Config.Redacted("ANTHROPIC_API_KEY"))
  const client = Option.isSome(apiKey)
    ? new Anthropic({ apiKey: Redacted.value(apiKey.value) })
    : new Anthropic({ apiKey: "none", baseURL: (yield* standIn).anthropicBaseUrl })

  const complete = (
    messages: ReadonlyArray<Anthropic.MessageParam>,
    input: ChatMessage,
    toolRound?: number
  ): Effect.Effect<Reply, ChatError> =>
    Effect.tryPromise({
      try: (signal) =>
        client.messages.create({
          model,
          max_tokens: maxTokens,
          system,
          messages: [...messages],
          tools: [{ name: tool.name, description: tool.description, input_schema: tool.parameters }]
        }, { signal }),
      catch: (cause) => new ChatError({ cause })
    }).pipe(
      withLlmSpan({
        provider: "anthropic",
        request: { model, maxTokens },
        server: serverOf(client),
        hasTools: true,
        toolRound,
        systemInstructions: system,
        input: [input],
        response: ({ content, id, model, stop_reason, usage }) => {
          const cacheReadInputTokens = usage.cache_read_input_tokens ?? 0
          const cacheWriteInputTokens = usage.cache_creation_input_tokens ?? 0
          return {
            id,
            model,
            finishReasons: stop_reason === null ? undefined : [stop_reason],
            usage: {
              // Anthropic does not count cached tokens as input; the convention does.
              inputTokens: usage.input_tokens + cacheReadInputTokens + cacheWriteInputTokens,
              outputTokens: usage.output_tokens,
              cacheReadInputTokens,
              cacheWriteInputTokens
            },
            output: textOf(content)
          }
        }
      }),
      Effect.map(({ content }) => {
        const calls = content.filter((block) => block.type === "tool_use")
        return {
          text: textOf(content),
          toolCalls: calls.map(({ id, input, name }) => ({ id, name, arguments: input })),
          proceed: (results) => {
            const answers = calls.map(({ id }, index) => ({
              type: "tool_result" as const,
              tool_use_id: id,
              content: JSON.stringify(results[index])
            }))
            const turn = [{ role: "assistant" as const, content }, { role: "user" as const, content: answers }]
            const input = { role: "tool", content: JSON.stringify(results) }
            return complete([...messages, ...turn], input, (toolRound ?? 0) + 1)
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

const textOf = (content: ReadonlyArray<Anthropic.ContentBlock>): string =>
  content.map((block) => block.type === "text" ? block.text : "").join("")
