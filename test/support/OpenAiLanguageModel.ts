/**
 * Models of `effect/ai` on OpenAI's own client, in the manner of Effect's packages for providers: like those, they write
 * what they know on the span that they are given.
 */
import { Effect, Layer, Stream } from "effect"
import {
  AiError,
  DecisionModel,
  EmbeddingModel,
  LanguageModel,
  type Prompt,
  type Response,
  Telemetry,
  Tool
} from "effect/ai"
import { APIError, type OpenAI } from "openai"

export interface Config {
  readonly client: OpenAI
  readonly model: string
  readonly temperature?: number
}

const failWith = (method: string) => (cause: unknown) =>
  AiError.make({
    module: "OpenAiLanguageModel",
    method,
    reason: cause instanceof APIError && cause.status !== undefined
      ? AiError.reasonFromHttpStatus({ status: cause.status, description: cause.message })
      : new AiError.UnknownError({ description: String(cause) })
  })

const textOf = (content: string | ReadonlyArray<{ readonly type: string }>): string =>
  typeof content === "string"
    ? content
    : content.map((part) => "text" in part && part.type === "text" ? String(part.text) : "").join("")

const toMessages = (message: Prompt.Message): ReadonlyArray<OpenAI.ChatCompletionMessageParam> => {
  switch (message.role) {
    case "system":
    case "user":
      return [{ role: message.role, content: textOf(message.content) }]
    case "assistant": {
      const calls = message.content.filter((part) => part.type === "tool-call")
      return [{
        role: "assistant",
        content: textOf(message.content),
        ...(calls.length === 0 ? undefined : {
          tool_calls: calls.map(({ id, name, params }) => ({
            id,
            type: "function" as const,
            function: { name, arguments: JSON.stringify(params) }
          }))
        })
      }]
    }
    case "tool":
      return message.content.filter((part) => part.type === "tool-result").map((part) => ({
        role: "tool",
        tool_call_id: part.id,
        content: JSON.stringify(part.result)
      }))
  }
}

const toParams = (
  { model, temperature }: Config,
  { prompt, responseFormat, span, tools }: LanguageModel.ProviderOptions
): OpenAI.ChatCompletionCreateParamsNonStreaming => {
  Telemetry.addGenAIAnnotations(span, {
    provider: { name: "openai" },
    operation: { name: "chat" },
    request: { model, temperature }
  })
  return {
    model,
    ...(temperature === undefined ? undefined : { temperature }),
    messages: prompt.content.flatMap(toMessages),
    ...(responseFormat.type === "text" ? undefined : { response_format: { type: "json_object" } }),
    ...(tools.length === 0 ? undefined : {
      tools: tools.map((tool) => ({
        type: "function",
        function: { name: tool.name, parameters: { ...Tool.getJsonSchema(tool) } }
      }))
    })
  }
}

const REASONS: Readonly<Record<string, Response.FinishReason>> = {
  stop: "stop",
  length: "length",
  tool_calls: "tool-calls"
}

const finish = (
  reason: string | null | undefined,
  usage: OpenAI.CompletionUsage | null | undefined
): Response.FinishPartEncoded => ({
  type: "finish",
  reason: REASONS[reason ?? ""] ?? "unknown",
  usage: {
    inputTokens: {
      total: usage?.prompt_tokens,
      uncached: usage == null ? undefined : usage.prompt_tokens - (usage.prompt_tokens_details?.cached_tokens ?? 0),
      cacheRead: usage?.prompt_tokens_details?.cached_tokens,
      cacheWrite: undefined
    },
    outputTokens: {
      total: usage?.completion_tokens,
      text: undefined,
      reasoning: usage?.completion_tokens_details?.reasoning_tokens
    }
  }
})

const toolCall = (id: string, name: string, params: string): Response.ToolCallPartEncoded => ({
  type: "tool-call",
  id,
  name,
  params: JSON.parse(params)
})

const toParts = (completion: OpenAI.ChatCompletion): Array<Response.PartEncoded> => {
  const { finish_reason, message } = completion.choices[0]!
  const calls = (message.tool_calls ?? []).filter((call) => call.type === "function")
  return [
    { type: "response-metadata", id: completion.id, modelId: completion.model },
    ...(message.content ? [{ type: "text" as const, text: message.content }] : []),
    ...calls.map((call) => toolCall(call.id, call.function.name, call.function.arguments)),
    finish(finish_reason, completion.usage)
  ]
}

async function* toStreamParts(
  chunks: AsyncIterable<OpenAI.ChatCompletionChunk>
): AsyncGenerator<Response.StreamPartEncoded> {
  const calls = new Map<number, { id: string; name: string; params: string }>()
  let reason: string | null | undefined
  let usage: OpenAI.CompletionUsage | null | undefined
  let started = false
  for await (const chunk of chunks) {
    if (!started) {
      started = true
      yield { type: "response-metadata", id: chunk.id, modelId: chunk.model }
      yield { type: "text-start", id: "text" }
    }
    const choice = chunk.choices[0]
    if (choice?.delta.content) yield { type: "text-delta", id: "text", delta: choice.delta.content }
    for (const { function: part, id, index } of choice?.delta.tool_calls ?? []) {
      const call = calls.get(index) ?? { id: id ?? "", name: part?.name ?? "", params: "" }
      call.params += part?.arguments ?? ""
      calls.set(index, call)
    }
    reason = choice?.finish_reason ?? reason
    usage = chunk.usage ?? usage
  }
  yield { type: "text-end", id: "text" }
  for (const { id, name, params } of calls.values()) yield toolCall(id, name, params)
  yield finish(reason, usage)
}

const make = (config: Config): Effect.Effect<LanguageModel.LanguageModel> =>
  LanguageModel.make({
    generateText: (options) =>
      Effect.tryPromise({
        try: async (signal) =>
          toParts(await config.client.chat.completions.create(toParams(config, options), { signal })),
        catch: failWith("generateText")
      }),
    streamText: (options) =>
      Stream.unwrap(Effect.tryPromise({
        try: async () => {
          const params = {
            ...toParams(config, options),
            stream: true as const,
            stream_options: { include_usage: true }
          }
          const parts = toStreamParts(await config.client.chat.completions.create(params))
          return Stream.fromAsyncIterable(parts, failWith("streamText"))
        },
        catch: failWith("streamText")
      }))
  })

export const layer = (config: Config): Layer.Layer<LanguageModel.LanguageModel> =>
  Layer.effect(LanguageModel.LanguageModel, make(config))

export const layerEmbedding = ({ client, model }: Config): Layer.Layer<EmbeddingModel.EmbeddingModel> =>
  Layer.effect(
    EmbeddingModel.EmbeddingModel,
    EmbeddingModel.make({
      embedMany: ({ inputs }) =>
        Effect.tryPromise({
          try: async (signal) => {
            const params = { model, input: [...inputs], encoding_format: "float" as const }
            const { data, usage } = await client.embeddings.create(params, { signal })
            return {
              results: data.map(({ embedding }) => embedding),
              usage: { inputTokens: usage.prompt_tokens }
            }
          },
          catch: failWith("embedMany")
        })
    })
  )

export const layerDecision = ({ client, model, temperature }: Config): Layer.Layer<DecisionModel.DecisionModel> =>
  Layer.effect(
    DecisionModel.DecisionModel,
    DecisionModel.make({
      decide: Effect.fnUntraced(function*({ decisions, state }) {
        Telemetry.addGenAIAnnotations(yield* Effect.orDie(Effect.currentSpan), { request: { temperature } })
        const completion = yield* Effect.tryPromise({
          try: (signal) =>
            client.chat.completions.create({
              model,
              response_format: { type: "json_object" },
              messages: [
                { role: "system", content: JSON.stringify(decisions) },
                { role: "user", content: typeof state === "string" ? state : JSON.stringify(state) }
              ]
            }, { signal }),
          catch: failWith("decide")
        })
        return {
          answers: JSON.parse(completion.choices[0]!.message.content!),
          usage: {
            inputTokens: completion.usage?.prompt_tokens,
            outputTokens: completion.usage?.completion_tokens
          },
          id: completion.id,
          modelId: completion.model
        }
      })
    })
  )
