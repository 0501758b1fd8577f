/**
 * `effect/ai`: what a `LanguageModel` is given and answers.
 *
 * @internal
 */
import type { LlmCallOptions, LlmResponse } from "../../GenAi.ts"
import type { ChatMessage, MessagePart, ToolDefinition } from "../../GenAiContent.ts"
import {
  blobPart,
  finishReasonsOf,
  genericPart,
  messageOf,
  modalityOf,
  outputMessageOf,
  reasoningPart,
  serverToolCallPart,
  serverToolResponsePart,
  textPart,
  toolCallPart,
  toolResponsePart,
  uriPart
} from "./parts.ts"
import { defined, isList, isRecord, read, readCount, readList, readString } from "./read.ts"
import type { StreamedResponse } from "./stream.ts"
import { type ReportedUsage, tokensOf } from "./usage.ts"

/** @internal */
export const call = (params: unknown): LlmCallOptions => {
  const tools = toolsOf(params)
  return {
    // Neither is known to the request: the model has them.
    provider: "unknown",
    operation: "chat",
    request: {
      model: "unknown",
      outputType: readString(params, "responseFormat", "type") === "json" ? "json" : undefined
    },
    hasTools: tools.length > 0,
    input: () => inputOf(read(params, "prompt")),
    toolDefinitions: tools.length === 0 ? undefined : () => tools.map(toolDefinition)
  }
}

/** The tools that a provider is given, or those of a toolkit. */
const toolsOf = (params: unknown): ReadonlyArray<unknown> => {
  const toolkit = read(params, "toolkit", "tools")
  try {
    return isRecord(toolkit) ? Object.values(toolkit) : readList(params, "tools")
  } catch {
    return []
  }
}

const toolDefinition = (tool: unknown): ToolDefinition => ({
  type: "function",
  name: readString(tool, "name") ?? "unknown"
})

const inputOf = (prompt: unknown): ReadonlyArray<ChatMessage> => {
  if (typeof prompt === "string") return [messageOf("user", [textPart(prompt)])]
  const messages = isList(prompt) ? readList(prompt) : readList(prompt, "content")
  return messages.map((message) => {
    const content = read(message, "content")
    return messageOf(
      readString(message, "role"),
      typeof content === "string" ? [textPart(content)] : readList(content).map(part)
    )
  })
}

const part = (value: unknown): MessagePart => {
  const type = readString(value, "type") ?? "unknown"
  const id = readString(value, "id")
  const name = readString(value, "name") ?? "unknown"
  switch (type) {
    case "text":
      return textPart(readString(value, "text") ?? "")
    case "reasoning":
      return reasoningPart(readString(value, "text") ?? "")
    case "tool-call": {
      const params = read(value, "params")
      return read(value, "providerExecuted") === true
        ? serverToolCallPart(id, name, name, { arguments: params })
        : toolCallPart(id, name, params)
    }
    case "tool-result": {
      // A result as the model is given it, where the program has another form of it.
      const result = read(value, "encodedResult") ?? read(value, "result")
      return read(value, "providerExecuted") === true
        ? serverToolResponsePart(id, name, { result })
        : toolResponsePart(id, result)
    }
    case "file": {
      const mimeType = readString(value, "mediaType")
      const data = read(value, "data")
      const url = data instanceof URL ? data.href : typeof data === "string" && data.includes(":") ? data : undefined
      return url === undefined
        ? blobPart(modalityOf(mimeType), data ?? "", mimeType)
        : uriPart(modalityOf(mimeType), url, mimeType)
    }
    default:
      return genericPart(type, value)
  }
}

/** Whether a part is of the model's answer: results of tools that the program has run are not. */
const isAnswer = (value: unknown): boolean => {
  switch (readString(value, "type")) {
    case "text":
    case "reasoning":
    case "tool-call":
    case "file":
    case "source":
    case "tool-approval-request":
      return true
    case "tool-result":
      return read(value, "providerExecuted") === true
    default:
      return false
  }
}

const usageOf = (usage: unknown): ReportedUsage => {
  const input = read(usage, "inputTokens")
  const uncached = readCount(input, "uncached")
  const cacheRead = readCount(input, "cacheRead")
  const cacheWrite = readCount(input, "cacheWrite")
  const text = readCount(usage, "outputTokens", "text")
  const reasoning = readCount(usage, "outputTokens", "reasoning")
  const sum = uncached === undefined ? undefined : uncached + (cacheRead ?? 0) + (cacheWrite ?? 0)
  const total = readCount(input, "total")
  return {
    // A total that is no more than its uncached part leaves out what was read from a cache.
    inputTokens: total === undefined || total === uncached && (cacheRead ?? 0) > 0 ? sum : total,
    outputTokens: readCount(usage, "outputTokens", "total") ??
      (text === undefined ? undefined : text + (reasoning ?? 0)),
    cacheReadInputTokens: cacheRead,
    cacheWriteInputTokens: cacheWrite,
    reasoningOutputTokens: reasoning
  }
}

/** A response or its parts. */
const contentOf = (value: unknown): ReadonlyArray<unknown> =>
  isList(value) ? readList(value) : readList(value, "content")

/** @internal */
export const response = (value: unknown): LlmResponse => {
  const content = contentOf(value)
  const metadata = content.find((part) => readString(part, "type") === "response-metadata")
  const finish = content.find((part) => readString(part, "type") === "finish")
  const reason = readString(finish, "reason")
  return defined({
    id: readString(metadata, "id"),
    model: readString(metadata, "modelId"),
    finishReasons: finishReasonsOf([reason]),
    ...tokensOf(usageOf(read(finish, "usage"))),
    output: content.length === 0
      ? undefined
      : () => [outputMessageOf("assistant", content.filter(isAnswer).map(part), reason)]
  })
}

/** @internal */
export const step = (state: StreamedResponse, value: unknown): void => {
  const type = readString(value, "type")
  if (type === "response-metadata") state.identify(readString(value, "id"), readString(value, "modelId"))
  if (type === "finish") {
    state.finish(0, readString(value, "reason"))
    state.report(usageOf(read(value, "usage")))
  }
  const message = state.message(0)
  if (message === undefined) return
  const id = readString(value, "id") ?? ""
  switch (type) {
    case "text-delta":
      message.part("text", `text ${id}`).text += readString(value, "delta") ?? ""
      break
    case "reasoning-delta":
      message.part("reasoning", `reasoning ${id}`).text += readString(value, "delta") ?? ""
      break
    case "tool-params-start":
      message.part("tool_call", `tool ${id}`, id, readString(value, "name"))
      break
    case "tool-params-delta":
      message.part("tool_call", `tool ${id}`, id).text += readString(value, "delta") ?? ""
      break
    case "tool-call":
      message.put([part(value)], `tool ${id}`)
      break
    default:
      if (isAnswer(value)) message.put([part(value)])
  }
}
