/**
 * Converse and ConverseStream of AWS Bedrock.
 *
 * @internal
 */
import type { LlmCallOptions, LlmResponse } from "../../GenAi.ts"
import type { ChatMessage, MessagePart, ToolDefinition } from "../../GenAiContent.ts"
import {
  blobPart,
  fields,
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
import { defined, read, readCount, readList, readNumber, readString, readStrings, readTag } from "./read.ts"
import type { StreamedResponse } from "./stream.ts"
import { type Apart, type ReportedUsage, tokensOf } from "./usage.ts"

/** @internal */
export const call = (params: unknown): LlmCallOptions => {
  // A command holds what it was made from.
  const input = read(params, "modelId") === undefined ? read(params, "input") ?? params : params
  const config = read(input, "inferenceConfig")
  const more = read(input, "additionalModelRequestFields")
  const system = readList(input, "system")
  const tools = readList(input, "toolConfig", "tools")
  const guardrailId = readString(input, "guardrailConfig", "guardrailIdentifier")
  return {
    provider: "aws.bedrock",
    operation: "chat",
    request: {
      model: readString(input, "modelId") ?? "unknown",
      temperature: readNumber(config, "temperature"),
      maxTokens: readCount(config, "maxTokens"),
      topP: readNumber(config, "topP"),
      topK: readCount(more, "top_k") ?? readCount(more, "inferenceConfig", "topK"),
      stopSequences: readStrings(config, "stopSequences"),
      outputType: readString(input, "outputConfig", "textFormat", "type") === "json_schema" ? "json" : undefined,
      reasoningLevel: readString(input, "outputConfig", "effort")
    },
    hasTools: tools.length > 0,
    systemInstructions: system.length === 0 ? undefined : () => blocks(system),
    input: () => readList(input, "messages").map(message),
    toolDefinitions: tools.length === 0 ? undefined : () => tools.flatMap(toolDefinition),
    awsBedrock: guardrailId === undefined ? undefined : { guardrailId }
  }
}

const toolDefinition = (tool: unknown): ReadonlyArray<ToolDefinition> => {
  const name = readString(tool, "toolSpec", "name")
  if (name !== undefined) return [{ type: "function", name }]
  const systemTool = readString(tool, "systemTool", "name")
  return systemTool === undefined ? [] : [{ type: "systemTool", name: systemTool }]
}

const message = (value: unknown): ChatMessage => messageOf(readString(value, "role"), blocks(read(value, "content")))

const blocks = (content: unknown): ReadonlyArray<MessagePart> => readList(content).flatMap(block)

const block = (value: unknown): ReadonlyArray<MessagePart> => {
  const type = readTag(value)
  if (type === undefined) return []
  const content = read(value, type)
  switch (type) {
    case "text":
      return [textPart(readString(content) ?? "")]
    case "cachePoint":
      // A mark between parts, and nothing that a model is given.
      return []
    case "reasoningContent": {
      const text = readString(content, "reasoningText", "text")
      return text === undefined ? [] : [reasoningPart(text)]
    }
    case "citationsContent":
      return readList(content, "content").flatMap(block)
    case "guardContent": {
      const text = readString(content, "text", "text")
      return text === undefined ? block(content) : [textPart(text)]
    }
    case "image":
    case "video":
    case "audio":
    case "document":
      return [media(type, content)]
    case "toolUse": {
      const id = readString(content, "toolUseId")
      const name = readString(content, "name") ?? "unknown"
      const input = read(content, "input")
      return [
        readString(content, "type") === "server_tool_use"
          ? serverToolCallPart(id, name, name, { input })
          : toolCallPart(id, name, input)
      ]
    }
    case "toolResult": {
      const id = readString(content, "toolUseId")
      const results = read(content, "content")
      const json = readList(results).length === 1 ? read(results, 0, "json") : undefined
      const serverType = readString(content, "type")
      return [
        serverType === undefined
          ? toolResponsePart(id, json ?? toolResponseOf(results, () => blocks(results)))
          : serverToolResponsePart(id, serverType, { content: results })
      ]
    }
    default:
      return [genericPart(type, value)]
  }
}

const media = (modality: string, content: unknown): MessagePart => {
  const format = readString(content, "format")
  const mimeType = modality === "document"
    ? format === "pdf" ? "application/pdf" : undefined
    : format === undefined
    ? undefined
    : `${modality}/${format}`
  const source = read(content, "source")
  const uri = readString(source, "s3Location", "uri")
  if (uri !== undefined) return uriPart(modality, uri, mimeType)
  const text = readString(source, "text")
  if (text !== undefined) return textPart(text)
  const bytes = read(source, "bytes")
  return bytes === undefined ? genericPart(modality, content) : blobPart(modality, bytes, mimeType)
}

const usageOf = (usage: unknown): ReportedUsage => ({
  inputTokens: readCount(usage, "inputTokens"),
  outputTokens: readCount(usage, "outputTokens"),
  cacheReadInputTokens: readCount(usage, "cacheReadInputTokens"),
  cacheWriteInputTokens: readCount(usage, "cacheWriteInputTokens"),
  total: readCount(usage, "totalTokens")
})

/** Bedrock counts what is read from a cache and written to it beside its input. */
const apart: Apart = { cache: true }

/** Only a prompt router says which model it took. */
const modelOf = (value: unknown): string | undefined => readString(value, "trace", "promptRouter", "invokedModelId")

/** @internal */
export const response = (value: unknown): LlmResponse => {
  const reason = readString(value, "stopReason")
  const message = read(value, "output", "message")
  return defined({
    model: modelOf(value),
    finishReasons: finishReasonsOf([reason]),
    ...tokensOf(usageOf(read(value, "usage")), apart),
    output: message === undefined
      ? undefined
      : () => [outputMessageOf(readString(message, "role"), blocks(read(message, "content")), reason)]
  })
}

/** @internal */
export const step = (state: StreamedResponse, event: unknown): void => {
  state.finish(0, readString(event, "messageStop", "stopReason"))
  const metadata = read(event, "metadata")
  state.identify(undefined, modelOf(metadata))
  state.report(usageOf(read(metadata, "usage")), apart)
  const message = state.message(0)
  if (message === undefined) return
  message.role ??= readString(event, "messageStart", "role")
  const start = read(event, "contentBlockStart")
  const toolUse = read(start, "start", "toolUse")
  if (toolUse !== undefined) {
    message.part(
      readString(toolUse, "type") === "server_tool_use" ? "server_tool_call" : "tool_call",
      readCount(start, "contentBlockIndex") ?? 0,
      readString(toolUse, "toolUseId"),
      readString(toolUse, "name")
    ).input = {}
  }
  const delta = read(event, "contentBlockDelta", "delta")
  const key = readCount(event, "contentBlockDelta", "contentBlockIndex") ?? 0
  const text = readString(delta, "text")
  const reasoning = readString(delta, "reasoningContent", "text")
  const input = readString(delta, "toolUse", "input")
  if (text !== undefined) message.part("text", key).text += text
  if (reasoning !== undefined) message.part("reasoning", key).text += reasoning
  if (input !== undefined) message.part("tool_call", key).text += input
  for (const type of ["toolResult", "image"]) {
    const begun = read(start, "start", type)
    const more = read(delta, type)
    if (begun === undefined && more === undefined) continue
    // It is kept in the form that it would have at once.
    const part = message.part("done", begun === undefined ? key : readCount(start, "contentBlockIndex") ?? 0)
    const next = type === "image"
      ? { ...fields(more), source: continued(read(part.input, "source"), read(more, "source")) }
      : { content: joined(readList(part.input, "content"), readList(more)) }
    part.input = { ...fields(part.input), ...fields(begun), ...next }
    part.done = block({ [type]: part.input })
  }
}

/** The blocks of a tool's result, where a text that follows a text continues it. */
const joined = (before: ReadonlyArray<unknown>, after: ReadonlyArray<unknown>): ReadonlyArray<unknown> => {
  const blocks = [...before]
  for (const item of after) {
    const text = readString(item, "text")
    const last = readString(blocks.at(-1), "text")
    if (text !== undefined && last !== undefined) blocks.pop()
    blocks.push(text === undefined ? item : { text: `${last ?? ""}${text}` })
  }
  return blocks
}

/** The source of an image, of which every event has the next bytes. */
const continued = (before: unknown, after: unknown): unknown => {
  const bytes = [read(before, "bytes"), read(after, "bytes")]
  try {
    return bytes.every((part) => part instanceof Uint8Array) ? { bytes: Buffer.concat(bytes) } : after ?? before
  } catch {
    return before
  }
}
