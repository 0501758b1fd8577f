/**
 * Google's generateContent, of the Gemini API and of Vertex AI.
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
import { defined, isList, read, readCount, readList, readNumber, readString, readStrings, readTag } from "./read.ts"
import type { StreamedResponse } from "./stream.ts"
import { type Apart, byModality, type ReportedUsage, tokensOf } from "./usage.ts"

/** @internal */
export const call = (params: unknown): LlmCallOptions => {
  // The SDK keeps in one place what the API keeps in two.
  const config = read(params, "config") ?? read(params, "generationConfig")
  const system = read(config, "systemInstruction") ?? read(params, "systemInstruction")
  const tools = [...readList(config, "tools"), ...readList(params, "tools")]
  return {
    // Which of Google's services it is, only the address tells.
    provider: "gcp.gen_ai",
    operation: "generate_content",
    request: {
      model: readString(params, "model") ?? "unknown",
      temperature: readNumber(config, "temperature"),
      maxTokens: readCount(config, "maxOutputTokens"),
      topP: readNumber(config, "topP"),
      topK: readCount(config, "topK"),
      stopSequences: readStrings(config, "stopSequences"),
      seed: readNumber(config, "seed"),
      frequencyPenalty: readNumber(config, "frequencyPenalty"),
      presencePenalty: readNumber(config, "presencePenalty"),
      choiceCount: readCount(config, "candidateCount"),
      outputType: outputTypeOf(config),
      reasoningLevel: readString(config, "thinkingConfig", "thinkingLevel")
    },
    hasTools: tools.length > 0,
    systemInstructions: system == null ? undefined : () => partsOf(system),
    input: () => inputOf(read(params, "contents")),
    toolDefinitions: tools.length === 0 ? undefined : () => tools.flatMap(toolDefinitions)
  }
}

const outputTypeOf = (config: unknown): string | undefined => {
  const modalities = readList(config, "responseModalities")
  if (modalities.includes("IMAGE")) return "image"
  if (modalities.includes("AUDIO")) return "speech"
  const mimeType = readString(config, "responseMimeType")
  return mimeType === "application/json" ? "json" : mimeType === "text/plain" ? "text" : undefined
}

const toolDefinitions = (tool: unknown): ReadonlyArray<ToolDefinition> => {
  // One that the client calls says what its functions are when it is asked, in an effect.
  if (typeof read(tool, "callTool") === "function") return []
  const functions = readList(tool, "functionDeclarations")
  const type = readTag(tool)
  if (functions.length > 0) {
    return functions.map((item) => ({ type: "function", name: readString(item, "name") ?? "unknown" }))
  }
  return type === undefined ? [] : [{ type, name: type }]
}

/** Contents are a list of messages or one, and each a message, its parts, a part or a text. */
const inputOf = (contents: unknown): ReadonlyArray<ChatMessage> => {
  const list = isList(contents) ? readList(contents) : [contents]
  return list.some((item) => read(item, "parts") !== undefined)
    ? list.map((item) => messageOf(roleOf(item), partsOf(item)))
    : [messageOf("user", list.flatMap(partsOf))]
}

const partsOf = (value: unknown): ReadonlyArray<MessagePart> => {
  if (typeof value === "string") return value === "" ? [] : [textPart(value)]
  if (isList(value)) return readList(value).flatMap(partsOf)
  const parts = read(value, "parts")
  return parts === undefined ? value == null ? [] : [part(value)] : readList(parts).map(part)
}

const roleOf = (content: unknown): string | undefined => {
  const role = readString(content, "role")
  return role === "model" ? "assistant" : role
}

const part = (value: unknown): MessagePart => {
  if (typeof value === "string") return textPart(value)
  const text = read(value, "text")
  if (typeof text === "string") return read(value, "thought") === true ? reasoningPart(text) : textPart(text)
  const inline = read(value, "inlineData")
  if (inline !== undefined) {
    const mimeType = readString(inline, "mimeType")
    return blobPart(modalityOf(mimeType), read(inline, "data") ?? "", mimeType)
  }
  const file = read(value, "fileData")
  if (file !== undefined) {
    const mimeType = readString(file, "mimeType")
    return uriPart(modalityOf(mimeType), readString(file, "fileUri") ?? "", mimeType)
  }
  const called = read(value, "functionCall")
  if (called !== undefined) {
    return toolCallPart(readString(called, "id"), readString(called, "name"), read(called, "args"))
  }
  const answered = read(value, "functionResponse")
  if (answered !== undefined) return toolResponsePart(readString(answered, "id"), functionResponseOf(answered))
  const tool = read(value, "toolCall")
  if (tool !== undefined) {
    const type = readString(tool, "toolType") ?? "unknown"
    return serverToolCallPart(readString(tool, "id"), type, type, tool)
  }
  const told = read(value, "toolResponse")
  if (told !== undefined) {
    return serverToolResponsePart(readString(told, "id"), readString(told, "toolType") ?? "unknown", told)
  }
  const code = read(value, "executableCode")
  if (code !== undefined) return serverToolCallPart(readString(code, "id"), "code_execution", "code_execution", code)
  const result = read(value, "codeExecutionResult")
  if (result !== undefined) return serverToolResponsePart(readString(result, "id"), "code_execution", result)
  return genericPart(readTag(value) ?? "unknown", value)
}

/** What a function has answered: an object alone, or with the media beside it. */
const functionResponseOf = (answered: unknown): unknown => {
  const json = read(answered, "response")
  const media = readList(answered, "parts").map(part)
  return media.length === 0 ? json : [...(json == null ? [] : [genericPart("json", { json })]), ...media]
}

const usageOf = (usage: unknown): ReportedUsage => {
  const prompt = readCount(usage, "promptTokenCount")
  return {
    inputTokens: prompt === undefined ? undefined : prompt + (readCount(usage, "toolUsePromptTokenCount") ?? 0),
    outputTokens: readCount(usage, "candidatesTokenCount"),
    cacheReadInputTokens: readCount(usage, "cachedContentTokenCount"),
    reasoningOutputTokens: readCount(usage, "thoughtsTokenCount"),
    total: readCount(usage, "totalTokenCount"),
    byModality: byModality((modality) => ({
      inputTokens: countOf(usage, modality, "promptTokensDetails", "toolUsePromptTokensDetails"),
      outputTokens: countOf(usage, modality, "candidatesTokensDetails"),
      cacheReadInputTokens: countOf(usage, modality, "cacheTokensDetails")
    }))
  }
}

const countOf = (usage: unknown, modality: string, ...keys: ReadonlyArray<string>): number =>
  keys.flatMap((key) => readList(usage, key))
    .filter((count) => readString(count, "modality") === modality.toUpperCase())
    .reduce((sum: number, count) => sum + (readCount(count, "tokenCount") ?? 0), 0)

/** Google counts thoughts beside the candidates. */
const apart: Apart = { reasoning: true }

/** @internal */
export const response = (value: unknown): LlmResponse => {
  const candidates = readList(value, "candidates")
  return defined({
    id: readString(value, "responseId"),
    model: readString(value, "modelVersion"),
    finishReasons: finishReasonsOf(candidates.map((candidate) => readString(candidate, "finishReason"))),
    ...tokensOf(usageOf(read(value, "usageMetadata")), apart),
    output: candidates.length === 0
      ? undefined
      : () =>
        candidates.map((candidate) =>
          outputMessageOf(
            "assistant",
            partsOf(read(candidate, "content")),
            readString(candidate, "finishReason")
          )
        )
  })
}

/** @internal */
export const step = (state: StreamedResponse, chunk: unknown): void => {
  const candidates = readList(chunk, "candidates")
  state.identify(readString(chunk, "responseId"), readString(chunk, "modelVersion"), candidates.length > 0)
  state.report(usageOf(read(chunk, "usageMetadata")), apart)
  for (const candidate of candidates) {
    // What the client has answered for the user, after it has called a function.
    if (readString(candidate, "content", "role") === "user") continue
    const index = readCount(candidate, "index") ?? 0
    state.finish(index, readString(candidate, "finishReason"))
    const message = state.message(index)
    if (message === undefined) continue
    for (const item of readList(candidate, "content", "parts")) {
      const called = read(item, "functionCall")
      const name = readString(called, "name")
      const isWhole = name !== undefined && read(called, "willContinue") !== true &&
        readList(called, "partialArgs").length === 0
      if (called === undefined || isWhole) {
        message.take([part(item)])
        continue
      }
      const call = message.nextCall(readString(called, "id"), name)
      call.input = read(called, "args") ?? call.input
      for (const arg of readList(called, "partialArgs")) {
        const value = read(arg, "stringValue") ?? read(arg, "numberValue") ?? read(arg, "boolValue") ?? null
        call.input = withArgument(call.input, keysOf(readString(arg, "jsonPath") ?? ""), value)
      }
    }
  }
}

/** The keys of a path such as `$.a.b[0]`, as far as any arguments are nested. */
const keysOf = (path: string): ReadonlyArray<string | number> =>
  Array.from(
    path.slice(0, 1_000).matchAll(/\.([^.[]+)|\[(\d+)\]|\['([^']*)'\]|\["([^"]*)"\]/g),
    (match) => match[2] === undefined ? match[1] ?? match[3] ?? match[4] ?? "" : Number(match[2])
  ).slice(0, 100)

/** Arguments with one more at a path, or with more of a text. Lists have no holes, which would cost memory. */
const withArgument = (args: unknown, [key, ...rest]: ReadonlyArray<string | number>, value: unknown): unknown => {
  if (key === undefined) return typeof args === "string" && typeof value === "string" ? args + value : value
  if (typeof key === "string") return { ...fields(args), [key]: withArgument(read(args, key), rest, value) }
  const list = [...readList(args)]
  const index = Math.min(key, list.length)
  list[index] = withArgument(list[index], rest, value)
  return list
}
