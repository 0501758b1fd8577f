/**
 * Ollama's chat, generate and embed.
 *
 * @internal
 */
import type { LlmCallOptions, LlmResponse } from "../../GenAi.ts"
import type { ChatMessage, MessagePart, ToolDefinition } from "../../GenAiContent.ts"
import { embeddingsCall } from "./embeddings.ts"
import {
  blobPart,
  finishReasonsOf,
  messageOf,
  outputMessageOf,
  reasoningPart,
  textPart,
  toolCallPart,
  toolResponsePart
} from "./parts.ts"
import { defined, read, readCount, readList, readNumber, readString, readStrings } from "./read.ts"
import type { StreamedResponse } from "./stream.ts"
import { type ReportedUsage, tokensOf } from "./usage.ts"

/** @internal */
export const call = (params: unknown, operation: string | undefined): LlmCallOptions => {
  if (operation === "embeddings" || read(params, "input") !== undefined) return embeddingsCall("ollama", params)
  const options = read(params, "options")
  const tools = readList(params, "tools")
  const isChat = read(params, "prompt") === undefined
  return {
    provider: "ollama",
    operation: isChat ? "chat" : "text_completion",
    request: {
      model: readString(params, "model") ?? "unknown",
      temperature: readNumber(options, "temperature"),
      maxTokens: readCount(options, "num_predict"),
      topP: readNumber(options, "top_p"),
      topK: readCount(options, "top_k"),
      stopSequences: readStrings(options, "stop"),
      seed: readNumber(options, "seed"),
      frequencyPenalty: readNumber(options, "frequency_penalty"),
      presencePenalty: readNumber(options, "presence_penalty"),
      outputType: read(params, "format") == null || read(params, "format") === "" ? undefined : "json",
      reasoningLevel: readString(params, "think"),
      stream: read(params, "stream") === true
    },
    hasTools: tools.length > 0,
    systemInstructions: readString(params, "system"),
    input: isChat
      ? () => readList(params, "messages").map(message)
      : () => [messageOf("user", parts(read(params, "prompt"), params))],
    toolDefinitions: tools.length === 0 ? undefined : () => tools.map(toolDefinition)
  }
}

const toolDefinition = (tool: unknown): ToolDefinition => ({
  type: readString(tool, "type") ?? "function",
  name: readString(tool, "function", "name") ?? "unknown"
})

const message = (value: unknown): ChatMessage => {
  const role = readString(value, "role")
  return role === "tool"
    ? messageOf(role, [toolResponsePart(readString(value, "tool_call_id"), read(value, "content"))])
    : messageOf(role, parts(read(value, "content"), value))
}

const parts = (content: unknown, value: unknown): ReadonlyArray<MessagePart> => {
  const thinking = readString(value, "thinking")
  return [
    ...(thinking === undefined ? [] : [reasoningPart(thinking)]),
    ...(typeof content === "string" && content !== "" ? [textPart(content)] : []),
    ...images(value),
    ...readList(value, "tool_calls").map(toolCall)
  ]
}

/** The images of a message, and the one that a model has made. */
const images = (value: unknown): ReadonlyArray<MessagePart> => {
  const made = readString(value, "image")
  return [...readList(value, "images"), ...(made === undefined ? [] : [made])].map((image) => blobPart("image", image))
}

const toolCall = (value: unknown): MessagePart =>
  toolCallPart(readString(value, "id"), readString(value, "function", "name"), read(value, "function", "arguments"))

const usageOf = (value: unknown): ReportedUsage => ({
  inputTokens: readCount(value, "prompt_eval_count"),
  outputTokens: readCount(value, "eval_count")
})

/** @internal */
export const response = (value: unknown): LlmResponse => {
  const reason = readString(value, "done_reason")
  const message = read(value, "message")
  const text = read(value, "response")
  return defined({
    model: readString(value, "model"),
    finishReasons: finishReasonsOf([reason]),
    ...tokensOf(usageOf(value)),
    output: message === undefined && text === undefined && images(value).length === 0
      ? undefined
      : () => [
        outputMessageOf(
          readString(message, "role"),
          message === undefined ? parts(text, value) : parts(read(message, "content"), message),
          reason
        )
      ]
  })
}

/** @internal */
export const step = (state: StreamedResponse, chunk: unknown): void => {
  state.identify(undefined, readString(chunk, "model"))
  state.finish(0, readString(chunk, "done_reason"))
  state.report(usageOf(chunk))
  const streamed = state.message(0)
  if (streamed === undefined) return
  const message = read(chunk, "message") ?? chunk
  streamed.role ??= readString(message, "role")
  streamed.append("reasoning", read(message, "thinking"))
  streamed.append("text", read(message, "content") ?? read(message, "response"))
  streamed.take([...images(message), ...readList(message, "tool_calls").map(toolCall)])
}
