import type { ChatMessage, MessagePart, OutputMessage } from "../../GenAiContent.ts"
import { defined, isList, isRecord, readString } from "./read.ts"

/** @internal */
export const textPart = (content: string): MessagePart => ({ type: "text", content })

/** @internal */
export const reasoningPart = (content: string): MessagePart => ({ type: "reasoning", content })

/** @internal */
export const toolCallPart = (id: string | undefined, name: string | undefined, args: unknown): MessagePart =>
  defined({ type: "tool_call", id, name: name ?? "unknown", arguments: args })

/** @internal */
export const toolResponsePart = (id: string | undefined, response: unknown): MessagePart =>
  defined({ type: "tool_call_response", id, response: response ?? null })

/** A tool that the provider runs itself. */
export const serverToolCallPart = (
  id: string | undefined,
  name: string,
  type: string,
  call: unknown
): MessagePart => defined({ type: "server_tool_call", id, name, server_tool_call: { ...fields(call), type } })

/** @internal */
export const serverToolResponsePart = (id: string | undefined, type: string, response: unknown): MessagePart =>
  defined({ type: "server_tool_call_response", id, server_tool_call_response: { ...fields(response), type } })

const KNOWN_TYPES: ReadonlySet<string> = new Set([
  "text",
  "reasoning",
  "tool_call",
  "tool_call_response",
  "server_tool_call",
  "server_tool_call_response",
  "blob",
  "file",
  "uri"
])

/** A part that the convention has no type for, or one that is not what its type promises. */
export const genericPart = (type: string, value: unknown): MessagePart => ({
  ...fields(value),
  type: KNOWN_TYPES.has(type) ? "unknown" : type
})

/** What an object holds itself; nothing of anything else. */
export const fields = (value: unknown): object => {
  try {
    return isRecord(value) ? { ...value } : {}
  } catch {
    return {}
  }
}

/** @internal */
export const modalityOf = (mimeType: string | undefined): string => {
  const kind = mimeType?.split("/", 1)[0]
  return kind === "image" || kind === "video" || kind === "audio" ? kind : "document"
}

/** Data in the message itself, in base64 or as bytes, which whoever prints the part may leave out. */
export const blobPart = (modality: string, content: unknown, mimeType?: string | undefined): MessagePart =>
  defined({ type: "blob", modality, mime_type: mimeType, content })

/** @internal */
export const filePart = (modality: string, fileId: string): MessagePart => ({ type: "file", modality, file_id: fileId })

/** What a URL refers to, or holds: the convention keeps data URLs out of `uri`. */
export const uriPart = (modality: string, uri: string, mimeType?: string | undefined): MessagePart => {
  const data = /^data:([^;,]*)[^,]*?(;base64)?,/i.exec(uri)
  if (data === null) return defined({ type: "uri", modality, mime_type: mimeType, uri })
  const content = uri.slice(data[0].length)
  const type = data[1] === "" ? mimeType : data[1]
  return blobPart(modality, data[2] === undefined ? Buffer.from(decode(content)).toString("base64") : content, type)
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** A message with parts. One that holds nothing but answers of tools is the tools' own. */
export const messageOf = (
  role: string | undefined,
  parts: ReadonlyArray<MessagePart>,
  name?: string | undefined
): ChatMessage => {
  const isToolMessage = parts.length > 0 && parts.every((part) => part.type === "tool_call_response")
  const message = { role: isToolMessage ? "tool" : role ?? "user", parts }
  return name === undefined ? message : { ...message, name }
}

/** A message that a model has answered with. */
export const outputMessageOf = (
  role: string | undefined,
  parts: ReadonlyArray<MessagePart>,
  finishReason: string | undefined
): OutputMessage => ({ role: role ?? "assistant", parts, finish_reason: finishReasonOf(finishReason) })

/** What a tool has answered: a text alone, rather than a list of one text. */
export const toolResponseOf = (content: unknown, parts: () => ReadonlyArray<MessagePart>): unknown => {
  if (!isList(content)) return content
  const list = parts()
  return list.length > 0 && list.every((part) => part.type === "text")
    ? list.map((part) => readString(part, "content") ?? "").join("\n")
    : list
}

const FINISH_REASONS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    stop: ["stop", "end_turn", "stop_sequence", "completed"],
    length: ["length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"],
    content_filter: [
      "content_filter",
      "content-filter",
      "content_filtered",
      "refusal",
      "guardrail_intervened",
      "safety",
      "recitation",
      "blocklist",
      "prohibited_content",
      "spii",
      "image_safety",
      "image_prohibited_content",
      "image_recitation"
    ],
    tool_call: ["tool_call", "tool_calls", "tool-calls", "tool_use", "function_call"],
    error: [
      "error",
      "failed",
      "cancelled",
      "malformed_function_call",
      "malformed_model_output",
      "malformed_tool_use",
      "unexpected_tool_call"
    ]
  }).flatMap(([known, values]) => values.map((value) => [value, known] as const))
)

/**
 * The convention's word for why a message ends, which is the provider's where
 * it has none. A message whose generation did not end has failed.
 */
const finishReasonOf = (reason: string | undefined): string =>
  reason === undefined ? "error" : FINISH_REASONS.get(reason.toLowerCase()) ?? reason

/**
 * Why each choice has ended, in the provider's own words and in order. A choice
 * without a reason beside others that have one has failed; nothing is known if
 * none has one.
 *
 * @internal
 */
export const finishReasonsOf = (
  reasons: ReadonlyArray<string | undefined>
): ReadonlyArray<string> | undefined =>
  reasons.some((reason) => reason !== undefined) ? Array.from(reasons, (reason) => reason ?? "error") : undefined
