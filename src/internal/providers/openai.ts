/**
 * OpenAI's chat completions, completions, responses and embeddings, and what
 * other providers answer under the same names.
 *
 * @internal
 */
import type { LlmCallOptions, LlmResponse } from "../../GenAi.ts"
import type { ChatMessage, MessagePart, OutputMessage, ToolDefinition } from "../../GenAiContent.ts"
import { embeddingsCall } from "./embeddings.ts"
import {
  blobPart,
  filePart,
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
  toolResponseOf,
  toolResponsePart,
  uriPart
} from "./parts.ts"
import {
  defined,
  isList,
  isRecord,
  parseJson,
  read,
  readCount,
  readList,
  readNumber,
  readString,
  readStrings
} from "./read.ts"
import type { StreamedResponse } from "./stream.ts"
import { byModality, type ReportedUsage, tokensOf } from "./usage.ts"

// -----------------------------------------------------------------------------
// Requests
// -----------------------------------------------------------------------------

type Api = "chat_completions" | "responses" | "completions" | "embeddings"

const apiOf = (params: unknown, operation: string | undefined): Api => {
  if (operation === "embeddings") return "embeddings"
  if (operation === "text_completion") return "completions"
  if (isList(read(params, "messages"))) return "chat_completions"
  if (read(params, "input") === undefined) {
    // A prompt that is an object is a stored one, which only the responses API takes.
    return read(params, "prompt") === undefined || readString(params, "prompt", "id") !== undefined
      ? "responses"
      : "completions"
  }
  const embeds = read(params, "dimensions") !== undefined || read(params, "encoding_format") !== undefined ||
    /embed/i.test(readString(params, "model") ?? "")
  return embeds ? "embeddings" : "responses"
}

const OPERATIONS: Readonly<Record<Api, string>> = {
  chat_completions: "chat",
  responses: "chat",
  completions: "text_completion",
  embeddings: "embeddings"
}

/** @internal */
export const call = (params: unknown, operation: string | undefined): LlmCallOptions => {
  const api = apiOf(params, operation)
  if (api === "embeddings") return embeddingsCall("openai", params)
  const tools = [...readList(params, "tools"), ...readList(params, "functions")]
  return {
    provider: "openai",
    operation: OPERATIONS[api],
    request: {
      model: readString(params, "model") ?? "unknown",
      temperature: readNumber(params, "temperature"),
      maxTokens: readCount(params, "max_completion_tokens") ?? readCount(params, "max_tokens") ??
        readCount(params, "max_output_tokens"),
      topP: readNumber(params, "top_p"),
      // Not OpenAI's, but of servers that speak its API.
      topK: readCount(params, "top_k"),
      stopSequences: readStrings(params, "stop"),
      seed: readNumber(params, "seed"),
      frequencyPenalty: readNumber(params, "frequency_penalty"),
      presencePenalty: readNumber(params, "presence_penalty"),
      choiceCount: readCount(params, "n"),
      outputType: outputTypeOf(params),
      reasoningLevel: readString(params, "reasoning_effort") ?? readString(params, "reasoning", "effort"),
      previousResponseId: readString(params, "previous_response_id"),
      stream: read(params, "stream") === true
    },
    conversationId: readString(params, "conversation") ?? readString(params, "conversation", "id"),
    hasTools: tools.length > 0,
    input: () => inputOf(api, params),
    systemInstructions: readString(params, "instructions"),
    toolDefinitions: tools.length === 0 ? undefined : () => tools.map(toolDefinition),
    openai: {
      apiType: api === "completions" ? undefined : api,
      serviceTier: readString(params, "service_tier")
    }
  }
}

const outputTypeOf = (params: unknown): string | undefined => {
  if (readList(params, "modalities").includes("audio")) return "speech"
  const format = readString(params, "response_format", "type") ?? readString(params, "text", "format", "type")
  return format?.startsWith("json") === true ? "json" : format === "text" ? "text" : undefined
}

const toolDefinition = (tool: unknown): ToolDefinition => {
  const type = readString(tool, "type") ?? "function"
  const name = readString(tool, type, "name") ?? readString(tool, "name") ?? readString(tool, "server_label") ?? type
  return { type, name }
}

const inputOf = (api: Api, params: unknown): ReadonlyArray<ChatMessage> => {
  switch (api) {
    case "chat_completions":
      return readList(params, "messages").map(chatMessage)
    case "responses": {
      const input = readString(params, "input")
      if (input !== undefined) return [messageOf("user", [textPart(input)])]
      const items = readList(params, "input")
      const isServers = runsThereAmong(items)
      return items.map((item) => inputItem(item, isServers))
    }
    default:
      return (readStrings(params, "prompt") ?? []).map((prompt) => messageOf("user", [textPart(prompt)]))
  }
}

// -----------------------------------------------------------------------------
// Messages
// -----------------------------------------------------------------------------

const contentParts = (content: unknown): ReadonlyArray<MessagePart> =>
  typeof content === "string" ? content === "" ? [] : [textPart(content)] : readList(content).map(contentPart)

/** A part of a message's content, in chat completions and in responses. */
const contentPart = (part: unknown): MessagePart => {
  if (typeof part === "string") return textPart(part)
  const type = readString(part, "type") ?? "unknown"
  switch (type) {
    case "text":
    case "input_text":
    case "output_text":
      return textPart(readString(part, "text") ?? "")
    case "refusal":
      return textPart(readString(part, "refusal") ?? "")
    case "thinking": {
      // Mistral's, a list of texts.
      const thinking = readList(part, "thinking").map((item) => readString(item, "text") ?? "")
      return reasoningPart(readString(part, "thinking") ?? thinking.join(""))
    }
    case "reasoning_text":
    case "summary_text":
      return reasoningPart(readString(part, "text") ?? "")
    case "image_url":
    case "input_image": {
      const fileId = readString(part, "file_id")
      if (fileId !== undefined) return filePart("image", fileId)
      return uriPart("image", readString(part, "image_url", "url") ?? readString(part, "image_url") ?? "")
    }
    case "input_audio": {
      const format = readString(part, "input_audio", "format")
      return blobPart(
        "audio",
        readString(part, "input_audio", "data") ?? "",
        format === undefined ? undefined : `audio/${format}`
      )
    }
    case "file":
    case "input_file": {
      const file = type === "file" ? read(part, "file") : part
      const fileId = readString(file, "file_id")
      if (fileId !== undefined) return filePart("document", fileId)
      const url = readString(file, "file_url")
      if (url !== undefined) return uriPart("document", url)
      const data = readString(file, "file_data") ?? ""
      return data.startsWith("data:")
        ? uriPart(modalityOf(/^data:([^;,]*)/.exec(data)?.[1]), data)
        : blobPart("document", data)
    }
    default:
      return genericPart(type, part)
  }
}

const chatToolCall = (call: unknown): MessagePart => {
  const custom = read(call, "custom")
  return custom === undefined
    ? toolCallPart(
      readString(call, "id"),
      readString(call, "function", "name"),
      argumentsOf(read(call, "function", "arguments"))
    )
    : toolCallPart(readString(call, "id"), readString(custom, "name"), read(custom, "input"))
}

const argumentsOf = (value: unknown): unknown => typeof value === "string" ? parseJson(value) : value

const chatParts = (message: unknown): ReadonlyArray<MessagePart> => {
  const reasoning = readString(message, "reasoning_content") ?? readString(message, "reasoning")
  const refusal = readString(message, "refusal")
  const transcript = readString(message, "audio", "transcript")
  const audio = readString(message, "audio", "data")
  const audioId = readString(message, "audio", "id")
  return [
    ...(reasoning === undefined ? [] : [reasoningPart(reasoning)]),
    ...contentParts(read(message, "content")),
    ...(refusal === undefined ? [] : [textPart(refusal)]),
    ...(transcript === undefined ? [] : [textPart(transcript)]),
    ...(audio === undefined
      ? audioId === undefined ? [] : [filePart("audio", audioId)]
      : [blobPart("audio", audio)]),
    ...readList(message, "tool_calls").map(chatToolCall),
    ...(isRecord(read(message, "function_call"))
      ? [
        toolCallPart(
          undefined,
          readString(message, "function_call", "name"),
          argumentsOf(read(message, "function_call", "arguments"))
        )
      ]
      : [])
  ]
}

const chatMessage = (message: unknown): ChatMessage => {
  const role = readString(message, "role")
  const content = read(message, "content")
  return role === "tool" || role === "function"
    ? messageOf(
      "tool",
      [
        toolResponsePart(
          readString(message, "tool_call_id"),
          toolResponseOf(content, () => contentParts(content))
        )
      ],
      readString(message, "name")
    )
    : messageOf(role, chatParts(message), readString(message, "name"))
}

const callIdOf = (item: unknown): string | undefined => readString(item, "call_id")

const isOutput = (item: unknown): boolean => readString(item, "type")?.endsWith("_output") === true

type RunsThere = (item: unknown) => boolean

/** Whether an item is of something that the server runs, as far as it says so itself. */
const runsThere: RunsThere = (item) =>
  readString(item, "environment", "container_id") !== undefined || readString(item, "execution") === "server" ||
  readString(item, "type") === "program_output"

/** The same among items of which a call says it, and its output does not. */
const runsThereAmong = (items: ReadonlyArray<unknown>): RunsThere => {
  const called = new Set(items.filter(runsThere).map(callIdOf))
  return (item) => {
    const callId = callIdOf(item)
    return runsThere(item) || (callId !== undefined && called.has(callId))
  }
}

/** The same in a response. The server answers in it what it has run, and nothing that is left to the program. */
const runsThereIn = (items: ReadonlyArray<unknown>): RunsThere => {
  const answered = new Set(items.filter(isOutput).map(callIdOf))
  return (item) => {
    const callId = callIdOf(item)
    return isOutput(item) || runsThere(item) || (callId !== undefined && answered.has(callId))
  }
}

/** The parts of an item that is no message: what a model asks for, does or thinks, and what it is told of that. */
const itemParts = (item: unknown, isServers: RunsThere): ReadonlyArray<MessagePart> => {
  const type = readString(item, "type") ?? "unknown"
  const callId = callIdOf(item)
  const id = readString(item, "id")
  switch (type) {
    case "message":
      return contentParts(read(item, "content"))
    case "reasoning":
      return [...readList(item, "summary"), ...readList(item, "content")].map((part) =>
        reasoningPart(readString(part, "text") ?? "")
      )
    case "compaction":
      return [{ type, ...(id === undefined ? undefined : { id }) }]
    case "program":
      return [serverToolCallPart(callId ?? id, type, type, item)]
    case "image_generation_call": {
      const image = readString(item, "result")
      const format = readString(item, "output_format")
      if (image !== undefined) return [blobPart("image", image, `image/${format ?? "png"}`)]
      break
    }
  }
  if (isOutput(item)) {
    const output = read(item, "output") ?? read(item, "result") ?? read(item, "tools")
    return [
      isServers(item)
        ? serverToolResponsePart(callId ?? id, type, item)
        : toolResponsePart(callId ?? id, toolResponseOf(output, () => contentParts(output)))
    ]
  }
  if (type.endsWith("_call")) {
    const name = readString(item, "name") ?? type.slice(0, -"_call".length)
    const args = argumentsOf(read(item, "arguments")) ?? read(item, "input") ?? read(item, "action") ??
      read(item, "actions") ?? read(item, "operation")
    return [
      isServers(item) || (callId === undefined && type !== "function_call")
        ? serverToolCallPart(callId ?? id, name, type, item)
        : toolCallPart(callId ?? id, name, args)
    ]
  }
  return [genericPart(type, item)]
}

/** The items that a program gives without a role, beside what tools have answered. The others, a model has made. */
const OF_USER: ReadonlySet<unknown> = new Set(["mcp_approval_response", "configuration_update", "compaction_trigger"])

const inputItem = (item: unknown, isServers: RunsThere): ChatMessage => {
  if (typeof item === "string") return messageOf("user", [textPart(item)])
  const type = readString(item, "type")
  return type === undefined || type === "message"
    ? messageOf(readString(item, "role"), contentParts(read(item, "content")))
    : messageOf(
      readString(item, "role") ?? (OF_USER.has(type) ? "user" : "assistant"),
      itemParts(item, isServers)
    )
}

// -----------------------------------------------------------------------------
// Responses
// -----------------------------------------------------------------------------

const usageOf = (value: unknown): ReportedUsage => {
  // Groq and Moonshot put the usage of a stream into places of their own.
  const usage = read(value, "usage") ?? read(value, "x_groq", "usage") ?? read(value, "choices", 0, "usage")
  const input = readCount(usage, "prompt_tokens") ?? readCount(usage, "input_tokens")
  const inputDetails = read(usage, "prompt_tokens_details") ?? read(usage, "input_tokens_details")
  const outputDetails = read(usage, "completion_tokens_details") ?? read(usage, "output_tokens_details")
  return {
    inputTokens: input,
    outputTokens: readCount(usage, "completion_tokens") ?? readCount(usage, "output_tokens"),
    // The second name is DeepSeek's, the third Moonshot's.
    cacheReadInputTokens: readCount(inputDetails, "cached_tokens") ?? readCount(usage, "prompt_cache_hit_tokens") ??
      readCount(usage, "cached_tokens"),
    cacheWriteInputTokens: readCount(inputDetails, "cache_write_tokens"),
    reasoningOutputTokens: readCount(outputDetails, "reasoning_tokens"),
    total: readCount(usage, "total_tokens"),
    byModality: byModality((modality) => ({
      inputTokens: readCount(inputDetails, `${modality}_tokens`),
      outputTokens: readCount(outputDetails, `${modality}_tokens`)
    }))
  }
}

/** Whether an item asks the program to call a tool. */
const isCall = (item: unknown, isServers: RunsThere): boolean =>
  readString(item, "type")?.endsWith("_call") === true && callIdOf(item) !== undefined && !isServers(item)

/** Why a response has ended. It does not say so in a word when all went well. */
const responseReason = (response: unknown): string | undefined => {
  switch (readString(response, "status")) {
    case "completed": {
      const items = readList(response, "output")
      const isServers = runsThereIn(items)
      return items.some((item) => isCall(item, isServers)) ? "tool_call" : "stop"
    }
    case "incomplete":
      return readString(response, "incomplete_details", "reason") ?? "incomplete"
    case "failed":
    case "cancelled":
      return "error"
    default:
      return undefined
  }
}

const outputOf = (value: unknown): ReadonlyArray<OutputMessage> => {
  if (isList(read(value, "output"))) {
    const items = readList(value, "output")
    const isServers = runsThereIn(items)
    return [outputMessageOf("assistant", items.flatMap((item) => itemParts(item, isServers)), responseReason(value))]
  }
  return readList(value, "choices").map((choice) => {
    const message = read(choice, "message")
    return outputMessageOf(
      readString(message, "role"),
      message === undefined ? contentParts(read(choice, "text")) : chatParts(message),
      readString(choice, "finish_reason")
    )
  })
}

/** Whether there is an answer. One in the background is still to come, and one that has failed may hold nothing. */
const hasOutput = (value: unknown): boolean => {
  const status = readString(value, "status")
  return status !== "queued" && status !== "in_progress" &&
    readList(value, isList(read(value, "output")) ? "output" : "choices").length > 0
}

/** Whether a value is of the responses API. Its last event may have no output, of servers that have streamed it. */
const isResponse = (value: unknown): boolean => {
  const object = readString(value, "object")
  return isList(read(value, "output")) || object === "response" ||
    (object === undefined && readString(value, "status") !== undefined && read(value, "choices") === undefined)
}

/** @internal */
export const response = (value: unknown): LlmResponse =>
  defined({
    id: readString(value, "id"),
    model: readString(value, "model"),
    finishReasons: finishReasonsOf(
      isResponse(value)
        ? [responseReason(value)]
        : readList(value, "choices").map((choice) => readString(choice, "finish_reason"))
    ),
    ...tokensOf(usageOf(value)),
    compacted: readList(value, "output").some(isCompaction) || undefined,
    openai: openAiOf(value),
    output: hasOutput(value) ? () => outputOf(value) : undefined
  })

/** Whether an item is a summary that has taken the place of what was said before it. */
const isCompaction = (item: unknown): boolean => readString(item, "type") === "compaction"

const openAiOf = (value: unknown): LlmResponse["openai"] => {
  const openai = defined({
    serviceTier: readString(value, "service_tier"),
    systemFingerprint: readString(value, "system_fingerprint")
  })
  return Object.keys(openai).length === 0 ? undefined : openai
}

// -----------------------------------------------------------------------------
// Streams
// -----------------------------------------------------------------------------

/** @internal */
export const step = (state: StreamedResponse, chunk: unknown): void => {
  const type = readString(chunk, "type")
  if (type === undefined) {
    chatChunk(state, chunk)
  } else {
    responseEvent(state, type, chunk)
  }
}

const chatChunk = (state: StreamedResponse, chunk: unknown): void => {
  const choices = readList(chunk, "choices")
  // A chunk of usage alone is about what came before it, whatever its id.
  state.identify(readString(chunk, "id"), readString(chunk, "model"), choices.length > 0)
  const openai = openAiOf(chunk)
  if (openai !== undefined) state.openai = { ...state.openai, ...openai }
  state.report(usageOf(chunk))
  for (const choice of choices) {
    const index = readCount(choice, "index") ?? 0
    state.finish(index, readString(choice, "finish_reason"))
    const message = state.message(index)
    if (message === undefined) continue
    const delta = read(choice, "delta")
    message.role ??= readString(delta, "role")
    message.append("reasoning", read(delta, "reasoning_content") ?? read(delta, "reasoning"))
    message.take(contentParts(read(delta, "content") ?? read(choice, "text")))
    const audio = read(delta, "audio")
    if (isRecord(audio)) {
      // What is said and the sound of it come by turns.
      message.part("text", "transcript").text += readString(audio, "transcript") ?? ""
      const data = readString(audio, "data")
      if (data !== undefined) message.part("audio", "audio").bytes.push(Buffer.from(data, "base64"))
    }
    message.append("text", read(delta, "refusal"))
    for (const call of [...readList(delta, "tool_calls"), read(delta, "function_call")]) {
      if (!isRecord(call)) continue
      const custom = read(call, "custom")
      const called = read(call, "function") ?? custom ?? call
      const part = message.call(readCount(call, "index") ?? 0, readString(call, "id"), readString(called, "name"))
      if (isRecord(custom)) part.isText = true
      part.text += readString(called, "arguments") ?? readString(called, "input") ?? ""
    }
  }
}

const responseEvent = (state: StreamedResponse, type: string, event: unknown): void => {
  const whole = read(event, "response")
  if (isRecord(whole)) {
    const { output, ...rest } = response(whole)
    state.identify(rest.id, rest.model)
    if (type === "response.completed" || type === "response.incomplete" || type === "response.failed") {
      state.whole = state.content && output !== undefined ? { ...rest, output } : rest
      // Some servers leave out what they have streamed.
      if (state.calls.size > 0 && readList(whole, "output").length === 0 && rest.finishReasons?.[0] === "stop") {
        state.whole = { ...state.whole, finishReasons: ["tool_call"] }
      }
    }
    return
  }
  const item = read(event, "item")
  if (isCompaction(item)) state.compacted = true
  const callId = callIdOf(item)
  if (callId !== undefined) {
    if (isCall(item, runsThere)) state.call(callId)
    if (isOutput(item)) state.calls.delete(callId)
  }
  const message = state.message(0)
  if (message === undefined) return
  const key = readCount(event, "output_index") ?? 0
  const delta = readString(event, "delta") ?? ""
  switch (type) {
    case "response.output_text.delta":
    case "response.refusal.delta":
      message.part("text", key).text += delta
      break
    case "response.reasoning_text.delta":
    case "response.reasoning_summary_text.delta":
      message.part("reasoning", key).text += delta
      break
    case "response.function_call_arguments.delta":
      message.part("tool_call", key).text += delta
      break
    case "response.custom_tool_call_input.delta": {
      const part = message.part("tool_call", key)
      part.isText = true
      part.text += delta
      break
    }
    case "response.output_item.added": {
      if (callId !== undefined) message.part("tool_call", key, callId, readString(item, "name"))
      break
    }
    case "response.output_item.done":
      message.put(itemParts(item, runsThereIn([item])), key)
      break
  }
}
