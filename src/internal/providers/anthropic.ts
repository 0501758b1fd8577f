/**
 * Anthropic's messages, also as clouds serve them under the same names.
 *
 * @internal
 */
import type { LlmCallOptions, LlmResponse } from "../../GenAi.ts"
import type { ChatMessage, MessagePart, ToolDefinition } from "../../GenAiContent.ts"
import {
  blobPart,
  filePart,
  finishReasonsOf,
  genericPart,
  messageOf,
  outputMessageOf,
  reasoningPart,
  serverToolCallPart,
  serverToolResponsePart,
  textPart,
  toolCallPart,
  toolResponseOf,
  toolResponsePart,
  uriPart
} from "./parts.ts"
import { defined, isList, read, readCount, readList, readNumber, readString, readStrings } from "./read.ts"
import type { StreamedResponse } from "./stream.ts"
import { addUsage, type Apart, type ReportedUsage, tokensOf } from "./usage.ts"

/** @internal */
export const call = (params: unknown): LlmCallOptions => {
  const tools = readList(params, "tools")
  const system = read(params, "system")
  return {
    provider: "anthropic",
    operation: "chat",
    request: {
      model: readString(params, "model") ?? "unknown",
      temperature: readNumber(params, "temperature"),
      maxTokens: readCount(params, "max_tokens"),
      topP: readNumber(params, "top_p"),
      topK: readCount(params, "top_k"),
      stopSequences: readStrings(params, "stop_sequences"),
      // The second name is what the first had before.
      outputType: (read(params, "output_config", "format") ?? read(params, "output_format")) == null
        ? undefined
        : "json",
      reasoningLevel: readString(params, "output_config", "effort"),
      // The one under `diagnostics` is compared for its cache, and not gone on from.
      previousResponseId: readString(params, "thread", "previous_message_id"),
      stream: read(params, "stream") === true
    },
    hasTools: tools.length > 0,
    systemInstructions: system == null ? undefined : () => contentParts(system),
    input: () => readList(params, "messages").map(message),
    toolDefinitions: tools.length === 0 ? undefined : () => tools.map(toolDefinition)
  }
}

const toolDefinition = (tool: unknown): ToolDefinition => {
  const type = readString(tool, "type") ?? "custom"
  return { type: type === "custom" ? "function" : type, name: readString(tool, "name") ?? type }
}

const message = (value: unknown): ChatMessage =>
  messageOf(readString(value, "role"), contentParts(read(value, "content")))

const contentParts = (content: unknown): ReadonlyArray<MessagePart> =>
  typeof content === "string" ? content === "" ? [] : [textPart(content)] : readList(content).map(block)

const block = (value: unknown): MessagePart => {
  const type = readString(value, "type") ?? "unknown"
  switch (type) {
    case "text":
      return textPart(readString(value, "text") ?? "")
    case "thinking":
      return reasoningPart(readString(value, "thinking") ?? "")
    case "tool_use":
      return toolCallPart(readString(value, "id"), readString(value, "name"), read(value, "input"))
    case "tool_result": {
      const content = read(value, "content")
      return toolResponsePart(readString(value, "tool_use_id"), toolResponseOf(content, () => contentParts(content)))
    }
    case "image":
      return source("image", value)
    case "document":
      return source("document", value)
    case "container_upload":
      return filePart("document", readString(value, "file_id") ?? "")
    case "server_tool_use":
    case "mcp_tool_use": {
      const name = readString(value, "name") ?? type
      return serverToolCallPart(readString(value, "id"), name, name, { input: read(value, "input") })
    }
  }
  return type.endsWith("_tool_result")
    ? serverToolResponsePart(readString(value, "tool_use_id"), type, { content: read(value, "content") })
    : genericPart(type, value)
}

const source = (modality: string, value: unknown): MessagePart => {
  const mimeType = readString(value, "source", "media_type")
  const data = readString(value, "source", "data") ?? ""
  switch (readString(value, "source", "type")) {
    case "base64":
      return blobPart(modality, data, mimeType)
    case "text":
      return textPart(data)
    case "url":
      return uriPart(modality, readString(value, "source", "url") ?? "", mimeType)
    case "file":
      return filePart(modality, readString(value, "source", "file_id") ?? "")
    default:
      return genericPart(modality, value)
  }
}

const usageOf = (usage: unknown): ReportedUsage => {
  // What a summary costs is billed, and not in the counts of the answer.
  const summaries = readList(usage, "iterations").filter(isCompaction)
  return {
    ...countsOf(usage),
    beside: summaries.length === 0 ? undefined : summaries.map(countsOf).reduce(addUsage)
  }
}

const countsOf = (usage: unknown): ReportedUsage => ({
  inputTokens: readCount(usage, "input_tokens"),
  outputTokens: readCount(usage, "output_tokens"),
  cacheReadInputTokens: readCount(usage, "cache_read_input_tokens"),
  cacheWriteInputTokens: readCount(usage, "cache_creation_input_tokens"),
  reasoningOutputTokens: readCount(usage, "output_tokens_details", "thinking_tokens")
})

/** Anthropic counts what is read from a cache and written to it beside its input. */
const apart: Apart = { cache: true }

/** Whether a block is, or a count is of, a summary that has taken the place of what was said before it. */
const isCompaction = (block: unknown): boolean => readString(block, "type") === "compaction"

/** @internal */
export const response = (value: unknown): LlmResponse => {
  const reason = readString(value, "stop_reason")
  const content = read(value, "content")
  return defined({
    id: readString(value, "id"),
    model: readString(value, "model"),
    finishReasons: finishReasonsOf([reason]),
    ...tokensOf(usageOf(read(value, "usage")), apart),
    compacted: readList(content).some(isCompaction) || undefined,
    output: isList(content)
      ? () => [outputMessageOf(readString(value, "role"), contentParts(content), reason)]
      : undefined
  })
}

/** @internal */
export const step = (state: StreamedResponse, event: unknown): void => {
  const index = readCount(event, "index") ?? 0
  switch (readString(event, "type")) {
    case "message_start": {
      const message = read(event, "message")
      state.identify(readString(message, "id"), readString(message, "model"))
      state.report(usageOf(read(message, "usage")), apart)
      break
    }
    case "message_delta":
      state.finish(0, readString(event, "delta", "stop_reason"))
      state.report(usageOf(read(event, "usage")), apart)
      break
    case "content_block_start":
      blockStart(state, index, read(event, "content_block"))
      break
    case "content_block_delta":
      blockDelta(state, index, read(event, "delta"))
      break
  }
}

const blockStart = (state: StreamedResponse, index: number, start: unknown): void => {
  if (isCompaction(start)) state.compacted = true
  if (readString(start, "type") === "fallback") state.takeOver(readString(start, "to", "model"))
  const message = state.message(0)
  if (message === undefined) return
  const type = readString(start, "type")
  const id = readString(start, "id")
  const name = readString(start, "name")
  switch (type) {
    case "text":
      message.part("text", index).text += readString(start, "text") ?? ""
      break
    case "thinking":
      message.part("reasoning", index).text += readString(start, "thinking") ?? ""
      break
    case "tool_use":
      message.part("tool_call", index, id, name).input = read(start, "input")
      break
    case "server_tool_use":
    case "mcp_tool_use":
      message.part("server_tool_call", index, id, name).input = read(start, "input")
      break
    default:
      message.put([block(start)], index)
  }
}

const blockDelta = (state: StreamedResponse, index: number, delta: unknown): void => {
  const message = state.message(0)
  if (message === undefined) return
  switch (readString(delta, "type")) {
    case "text_delta":
      message.part("text", index).text += readString(delta, "text") ?? ""
      break
    case "thinking_delta":
      message.part("reasoning", index).text += readString(delta, "thinking") ?? ""
      break
    case "input_json_delta":
      message.part("tool_call", index).text += readString(delta, "partial_json") ?? ""
      break
    case "compaction_delta":
      message.put([{ type: "compaction", content: readString(delta, "content") ?? "" }], index)
      break
  }
}
