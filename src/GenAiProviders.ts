/**
 * What the SDKs of model providers are given and answer, as GenAI spans tell
 * it. No SDK is needed: everything is read by its shape.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import { isPlainObject } from "./Carrier.ts"
import { type LlmCallOptions, type LlmRequest, type LlmResponse, type LlmUsage, withEmbeddingsSpan } from "./GenAi.ts"
import type { LlmStreamFold } from "./GenAiStream.ts"
import { speaksOpenAi, withGenAiSpan } from "./internal/genAi.ts"
import { isEffect } from "./internal/isEffect.ts"
import { LlmSpan } from "./internal/llmSpan.ts"
import { isTracingOff } from "./internal/off.ts"
import * as anthropic from "./internal/providers/anthropic.ts"
import * as bedrock from "./internal/providers/bedrock.ts"
import * as effectAi from "./internal/providers/effectAi.ts"
import * as google from "./internal/providers/google.ts"
import * as ollama from "./internal/providers/ollama.ts"
import * as openAi from "./internal/providers/openai.ts"
import { defined, isRecord, read, readString } from "./internal/providers/read.ts"
import { providerAt, serverOf } from "./internal/providers/server.ts"
import { StreamedResponse as State } from "./internal/providers/stream.ts"
import * as usage from "./internal/providers/usage.ts"
import { withoutSpan } from "./internal/span.ts"
import { warn } from "./internal/warn.ts"

// =============================================================================
// Models
// =============================================================================

/**
 * What a program says of a call beside the request that it sends. Whatever is
 * given here takes the place of what the request says.
 *
 * @category options
 * @since 0.1.0
 */
export interface ProviderCallOptions extends Partial<Omit<LlmCallOptions, "request">> {
  readonly request?: Partial<LlmRequest> | undefined
  /** Where requests go. Known hosts name the provider, as `api.groq.com` does behind OpenAI's SDK. */
  readonly baseURL?: string | URL | undefined
  /** The SDK's client, of which only its base URL is read. */
  readonly client?: object | undefined
}

/**
 * What a fold knows of a streamed response. Without content it does not grow
 * with the stream.
 *
 * @category models
 * @since 0.1.0
 */
export interface StreamedResponse {
  readonly "~loom-tracing/StreamedResponse": unknown
}

/**
 * The request of OpenAI's SDK for chat completions, responses, completions or
 * embeddings. Named here is what tells them apart; more is read where it is
 * there, as of the requests below.
 *
 * @category models
 * @since 0.1.0
 */
export interface OpenAiParams {
  readonly model?: string | null | undefined
  readonly messages?: unknown
  readonly input?: unknown
  readonly prompt?: unknown
}

/**
 * The request of Anthropic's SDK for a message.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnthropicParams {
  readonly model: string
  readonly messages: unknown
  readonly system?: unknown
}

/**
 * The request of Ollama's SDK for chat, generate or embed.
 *
 * @category models
 * @since 0.1.0
 */
export interface OllamaParams {
  readonly model: string
  readonly messages?: unknown
  readonly prompt?: unknown
  readonly input?: unknown
}

/**
 * The request of Google's SDK for generateContent, or that of its API.
 *
 * @category models
 * @since 0.1.0
 */
export interface GoogleParams {
  readonly model: string
  readonly contents?: unknown
  readonly config?: unknown
}

/**
 * The input of Converse in the AWS SDK, or the command that holds it.
 *
 * @category models
 * @since 0.1.0
 */
export type BedrockParams =
  | { readonly modelId: string | undefined; readonly messages?: unknown }
  | { readonly input: { readonly modelId: string | undefined; readonly messages?: unknown } }

/**
 * What `effect/ai` gives a language model: the options of `generateText`, or
 * those that a provider gets.
 *
 * @category models
 * @since 0.1.0
 */
export interface EffectAiParams {
  readonly prompt: unknown
  readonly tools?: unknown
  readonly toolkit?: unknown
  readonly responseFormat?: unknown
}

/**
 * A combinator that runs a call of a provider's SDK inside a span, as its
 * request describes it.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProviderSpan<Request> {
  <Params extends Request>(params: Params, options?: ProviderCallOptions): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A, E, R, Params extends Request>(
    self: Effect.Effect<A, E, R>,
    params: Params,
    options?: ProviderCallOptions
  ): Effect.Effect<A, E, R>
}

// =============================================================================
// Usage
// =============================================================================

/**
 * Makes token counts that can be added up: whole, not negative, the parts no
 * more than their totals.
 *
 * **Details**
 *
 * What is no count is dropped, and so is a part that is more than the total it
 * belongs to: cached input of all input, reasoning of all output. Totals stay
 * as they are, since they are what a provider bills.
 *
 * **Example** (Dropping what cannot be)
 *
 * ```ts
 * import { normalizeUsage } from "loom-tracing"
 *
 * normalizeUsage({ inputTokens: 10, cacheReadInputTokens: 12, outputTokens: Number.NaN }) // => { inputTokens: 10 }
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export const normalizeUsage: (usage: LlmUsage) => LlmUsage = usage.normalizeUsage

// =============================================================================
// Internals
// =============================================================================

/** Base URLs as the SDKs of OpenAI and Anthropic, of Ollama and of Google keep them. */
const baseUrlOf = (options: ProviderCallOptions | undefined): string | URL | undefined =>
  options?.baseURL ?? readString(options, "client", "baseURL") ?? readString(options, "client", "config", "host") ??
    readString(options, "client", "apiClient", "clientOptions", "httpOptions", "baseUrl")

const callOf = (derived: LlmCallOptions, options: ProviderCallOptions | undefined): LlmCallOptions => {
  const { baseURL: _, client: __, request, ...rest } = options ?? {}
  const baseUrl = baseUrlOf(options)
  const server = rest.server ?? (baseUrl === undefined ? undefined : serverOf(baseUrl))
  const provider = rest.provider ?? (server === undefined ? undefined : providerAt(server.address)) ?? derived.provider
  return {
    ...derived,
    server,
    openai: speaksOpenAi(provider) ? derived.openai : undefined,
    ...defined(rest),
    provider,
    request: { ...derived.request, ...defined(request ?? {}) }
  }
}

const makeSpan = <Request>(
  name: string,
  call: (params: Request, options: ProviderCallOptions | undefined) => LlmCallOptions,
  response: (value: unknown) => LlmResponse,
  keys: ReadonlyArray<string>
): ProviderSpan<Request> => {
  const warnOf = makeWarnOf(name, keys)
  return dual(
    (args) => isEffect(args[0]),
    <A, E, R>(self: Effect.Effect<A, E, R>, params: Request, options?: ProviderCallOptions) =>
      Effect.withFiber((fiber): Effect.Effect<A, E, R> => {
        // Nothing is read of a request that nobody records.
        if (isTracingOff(fiber)) return self
        let described: LlmCallOptions
        try {
          described = call(params, options)
        } catch (error) {
          return withoutSpan(self, call, error)
        }
        let span: LlmSpan<A, E> | undefined
        let answer: LlmResponse | undefined
        const take = (value: A) => answer = response(bodyOf(value))
        const traced = described.operation === "embeddings"
          ? withEmbeddingsSpan(self, { ...described, response: take })
          : withGenAiSpan(self, (fiber) => span = new LlmSpan<A, E>(fiber, described, take))
        return Effect.tap(traced, (value) =>
          warnOf(
            bodyOf(value),
            answer !== undefined && Object.keys(answer).length === 0 && span?.isAnswered !== true
          ))
      })
  )
}

/** The answer itself, where `withResponse` of OpenAI's and Anthropic's clients has put the one of HTTP beside it. */
const bodyOf = (value: unknown): unknown => {
  const data = read(value, "data")
  return isRecord(data) && isRecord(read(value, "response")) ? data : value
}

const isStream = (value: unknown): boolean => {
  try {
    return Stream.isStream(value) || Predicate.hasProperty(value, Symbol.asyncIterator)
  } catch {
    return false
  }
}

/** Whether a value has the form of an answer, though it may say nothing: one of its keys, or nothing at all. */
const hasForm = (value: unknown, keys: ReadonlyArray<string>): boolean => {
  if (!isRecord(value)) return false
  try {
    return keys.some((key) => key in value) || (isPlainObject(value) && Object.keys(value).length === 0)
  } catch {
    return true
  }
}

/** Warns, each once, of an answer that had not come when its span has ended, and of a value that is none. */
const makeWarnOf = (name: string, keys: ReadonlyArray<string>) => {
  const warned = new Set<string>()
  const once = (message: string): Effect.Effect<void> => {
    if (warned.has(message)) return Effect.void
    warned.add(message)
    return warn(message)
  }
  const ofStream =
    `${name} ends its span before the answer that is streamed; use withLlmStreamSpan or traceAsyncIterable for that`
  const ofNone = `${name} has found no answer in what its effect has given, and its span tells nothing of one; ` +
    "it belongs directly around the client's call, before its answer is mapped"
  return (value: unknown, isUnread: boolean): Effect.Effect<void> => {
    // The AWS SDK has the stream inside of what it answers.
    if (isStream(value) || isStream(read(value, "stream"))) return once(ofStream)
    return isUnread && !hasForm(value, keys) ? once(ofNone) : Effect.void
  }
}

// A chunk is said to be an `object`: were it `unknown`, `withLlmStreamSpan` stored in a constant would forget what its
// stream is of.
const makeFold = (step: (state: State, chunk: unknown) => void): LlmStreamFold<object, StreamedResponse> => {
  const fold: LlmStreamFold<object, State> = {
    initial: ({ content }) => new State(content),
    step: (state, chunk) => {
      step(state, chunk)
      return state
    },
    response: (state) => state.toResponse()
  }
  // What it knows is its own affair.
  return fold as unknown as LlmStreamFold<object, StreamedResponse>
}

// =============================================================================
// OpenAI
// =============================================================================

/**
 * Reads the options of a span from a request of OpenAI's SDK.
 *
 * **When to use**
 *
 * Use with `withLlmStreamSpan`, or where {@link withOpenAiSpan} does not fit.
 *
 * **Details**
 *
 * The shape tells which API is meant: `messages` chat completions, `input`
 * responses, `prompt` completions, and `input` beside `dimensions`,
 * `encoding_format` or a model whose name holds "embed" embeddings. Where that is
 * wrong, say `operation: "embeddings"`. What is read of such a request is for
 * `withEmbeddingsSpan`.
 *
 * `openai.*` is for OpenAI's own models, also on Azure.
 *
 * Content comes as functions, which run only when it is captured. Of tools, only
 * type and name are recorded, as the convention asks for; `toolDefinitions` can
 * say more.
 *
 * **Example** (Reading a request)
 *
 * ```ts
 * import { openAiCall } from "loom-tracing"
 *
 * const call = openAiCall(
 *   { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] },
 *   { baseURL: "https://api.groq.com/openai/v1" }
 * )
 *
 * call.provider // => "groq"
 * call.server // => { address: "api.groq.com", port: 443 }
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const openAiCall = <Params extends OpenAiParams>(
  params: Params,
  options?: ProviderCallOptions
): LlmCallOptions => callOf(openAi.call(params, options?.operation), options)

/**
 * Reads a chat completion, response, completion or list of embeddings of
 * OpenAI's API, or of a server that speaks it.
 *
 * **Details**
 *
 * Finish reasons stay in the provider's words; messages get the convention's. A
 * response that is complete has no word of its own: it is `tool_call` if the
 * program is to call a tool, else `stop`.
 *
 * **Example** (Reading a response)
 *
 * ```ts
 * import { openAiResponse } from "loom-tracing"
 *
 * const response = openAiResponse({
 *   id: "chatcmpl-1",
 *   model: "gpt-4o-2024-08-06",
 *   choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "Hi" } }],
 *   usage: { prompt_tokens: 8, completion_tokens: 2, total_tokens: 10 }
 * })
 *
 * response.usage // => { inputTokens: 8, outputTokens: 2 }
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const openAiResponse: (value: unknown) => LlmResponse = openAi.response

/**
 * Folds the chunks of a chat completion or the events of a response.
 *
 * **Gotchas**
 *
 * OpenAI reports the usage of a streamed chat completion only on request:
 * `stream_options: { include_usage: true }`.
 *
 * **Example** (Tracing a stream)
 *
 * ```ts
 * import { Stream } from "effect"
 * import { openAiCall, openAiFold, withLlmStreamSpan } from "loom-tracing"
 *
 * const params = { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }], stream: true }
 *
 * // Stands for the iterable that `client.chat.completions.create(params)` gives.
 * const create = Stream.make({ id: "chatcmpl-1", choices: [{ index: 0, delta: { content: "Hi" } }] })
 *
 * const chunks = create.pipe(withLlmStreamSpan({ ...openAiCall(params), fold: openAiFold }))
 * ```
 *
 * **Example** (Folding chunks)
 *
 * ```ts
 * import { openAiFold } from "loom-tracing"
 *
 * const chunks = [
 *   { id: "chatcmpl-1", model: "gpt-4o", choices: [{ index: 0, delta: { content: "Hi" } }] },
 *   { id: "chatcmpl-1", model: "gpt-4o", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }
 * ]
 *
 * const state = chunks.reduce(openAiFold.step, openAiFold.initial({ content: false }))
 * openAiFold.response(state).finishReasons // => ["stop"]
 * ```
 *
 * @category streaming
 * @since 0.1.0
 */
export const openAiFold: LlmStreamFold<object, StreamedResponse> = makeFold(openAi.step)

/**
 * Runs a call of OpenAI's SDK inside a span, as its request describes it.
 *
 * **Details**
 *
 * Works with every server that speaks OpenAI's API; `baseURL` or `client` tells
 * which it is. The effect keeps its type. What `withResponse()` of the client
 * gives is read as well. A request for embeddings gets the span of
 * `withEmbeddingsSpan`.
 *
 * **Gotchas**
 *
 * It belongs directly around the client's call. A result that is no response of
 * the API, as one that was mapped before, adds nothing to the span, and a warning
 * says so once.
 *
 * The span ends with the effect. Where that gives a stream whose chunks are yet
 * to come, nothing is known of the answer, and a warning says so once: use
 * `withLlmStreamSpan` or `traceAsyncIterable` with {@link openAiCall} and
 * {@link openAiFold}.
 *
 * **Example** (Tracing a chat completion)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withOpenAiSpan } from "loom-tracing"
 *
 * const params = { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] }
 *
 * // Stands for `Effect.tryPromise(() => client.chat.completions.create(params))`.
 * const create = Effect.succeed({ id: "chatcmpl-1", choices: [{ message: { content: "Hi" } }] })
 *
 * const completion = create.pipe(withOpenAiSpan(params))
 *
 * Effect.runSync(completion).id // => "chatcmpl-1"
 * ```
 *
 * @see {@link openAiFold} for an answer that is streamed
 *
 * @category combinators
 * @since 0.1.0
 */
export const withOpenAiSpan: ProviderSpan<OpenAiParams> = makeSpan(
  "withOpenAiSpan",
  openAiCall,
  openAiResponse,
  // Beside answers: images, tokens that were counted and moderations.
  ["object", "choices", "output", "data", "input_tokens", "results"]
)

// =============================================================================
// Anthropic
// =============================================================================

/**
 * Reads the options of a span from a request of Anthropic's SDK.
 *
 * **Example** (Reading a request)
 *
 * ```ts
 * import { anthropicCall } from "loom-tracing"
 *
 * const call = anthropicCall({
 *   model: "claude-sonnet-4-5",
 *   max_tokens: 100,
 *   messages: [{ role: "user", content: "Hello" }]
 * })
 *
 * call.request.maxTokens // => 100
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const anthropicCall = <Params extends AnthropicParams>(
  params: Params,
  options?: ProviderCallOptions
): LlmCallOptions => callOf(anthropic.call(params), options)

/**
 * Reads a message of Anthropic's API.
 *
 * **Details**
 *
 * Anthropic's `input_tokens` leaves out what was read from a cache or written to
 * it. As the convention asks for, `inputTokens` is the sum of the three.
 *
 * **Example** (Counting all input)
 *
 * ```ts
 * import { anthropicResponse } from "loom-tracing"
 *
 * const response = anthropicResponse({
 *   usage: { input_tokens: 10, cache_read_input_tokens: 90, cache_creation_input_tokens: 0, output_tokens: 5 }
 * })
 *
 * response.usage?.inputTokens // => 100
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const anthropicResponse: (value: unknown) => LlmResponse = anthropic.response

/**
 * Folds the events of a streamed message of Anthropic's API.
 *
 * **Example** (Folding events)
 *
 * ```ts
 * import { anthropicFold } from "loom-tracing"
 *
 * const events = [
 *   { type: "message_start", message: { id: "msg_1", usage: { input_tokens: 25, output_tokens: 1 } } },
 *   { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 15 } }
 * ]
 *
 * const state = events.reduce(anthropicFold.step, anthropicFold.initial({ content: false }))
 * anthropicFold.response(state).usage
 * // => { inputTokens: 25, outputTokens: 15 }
 * ```
 *
 * @category streaming
 * @since 0.1.0
 */
export const anthropicFold: LlmStreamFold<object, StreamedResponse> = makeFold(anthropic.step)

/**
 * Runs a call of Anthropic's SDK inside a span, as its request describes it. It
 * belongs directly around the client's call, whose answer it reads.
 *
 * **Example** (Tracing a message)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withAnthropicSpan } from "loom-tracing"
 *
 * const params = { model: "claude-sonnet-4-5", max_tokens: 100, messages: [{ role: "user", content: "Hello" }] }
 *
 * // Stands for `Effect.tryPromise(() => client.messages.create(params))`.
 * const create = Effect.succeed({ id: "msg_1", content: [{ type: "text", text: "Hi" }] })
 *
 * const message = create.pipe(withAnthropicSpan(params))
 *
 * Effect.runSync(message).id // => "msg_1"
 * ```
 *
 * @see {@link anthropicFold} for an answer that is streamed
 *
 * @category combinators
 * @since 0.1.0
 */
export const withAnthropicSpan: ProviderSpan<AnthropicParams> = makeSpan(
  "withAnthropicSpan",
  anthropicCall,
  anthropicResponse,
  // Of tokens that were counted.
  ["input_tokens"]
)

// =============================================================================
// Ollama
// =============================================================================

/**
 * Reads the options of a span from a request of Ollama's SDK: `chat`,
 * `generate` or `embed`, which `messages`, `prompt` and `input` tell apart.
 *
 * **Example** (Reading a request)
 *
 * ```ts
 * import { ollamaCall } from "loom-tracing"
 *
 * ollamaCall({ model: "llama3.2", prompt: "Once" }, { baseURL: "127.0.0.1:11434" }).operation // => "text_completion"
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const ollamaCall = <Params extends OllamaParams>(
  params: Params,
  options?: ProviderCallOptions
): LlmCallOptions => callOf(ollama.call(params, options?.operation), options)

/**
 * Reads a response of Ollama's chat, generate or embed.
 *
 * **Example** (Reading a response)
 *
 * ```ts
 * import { ollamaResponse } from "loom-tracing"
 *
 * const response = ollamaResponse({
 *   model: "llama3.2",
 *   message: { role: "assistant", content: "Hi" },
 *   done_reason: "stop",
 *   prompt_eval_count: 26,
 *   eval_count: 2
 * })
 *
 * response.usage // => { inputTokens: 26, outputTokens: 2 }
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const ollamaResponse: (value: unknown) => LlmResponse = ollama.response

/**
 * Folds the chunks of Ollama's chat or generate.
 *
 * **Example** (Folding chunks)
 *
 * ```ts
 * import { ollamaFold } from "loom-tracing"
 *
 * const chunks = [
 *   { message: { role: "assistant", content: "Hi" }, done: false },
 *   { message: { role: "assistant", content: "" }, done: true, done_reason: "stop" }
 * ]
 *
 * const state = chunks.reduce(ollamaFold.step, ollamaFold.initial({ content: false }))
 * ollamaFold.response(state).finishReasons // => ["stop"]
 * ```
 *
 * @category streaming
 * @since 0.1.0
 */
export const ollamaFold: LlmStreamFold<object, StreamedResponse> = makeFold(ollama.step)

/**
 * Runs a call of Ollama's SDK inside a span, as its request describes it. It
 * belongs directly around the client's call, whose answer it reads.
 *
 * **Example** (Tracing a chat)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withOllamaSpan } from "loom-tracing"
 *
 * const params = { model: "llama3.2", messages: [{ role: "user", content: "Hello" }] }
 *
 * // Stands for `Effect.tryPromise(() => ollama.chat(params))`.
 * const chat = Effect.succeed({ message: { role: "assistant", content: "Hi" } })
 *
 * Effect.runSync(chat.pipe(withOllamaSpan(params))).message.content // => "Hi"
 * ```
 *
 * @see {@link ollamaFold} for an answer that is streamed
 *
 * @category combinators
 * @since 0.1.0
 */
export const withOllamaSpan: ProviderSpan<OllamaParams> = makeSpan(
  "withOllamaSpan",
  ollamaCall,
  ollamaResponse,
  ["done", "created_at", "embeddings", "embedding"]
)

// =============================================================================
// Google
// =============================================================================

/**
 * Reads the options of a span from a request of Google's SDK for
 * `generateContent`.
 *
 * **Details**
 *
 * The client tells whether it is Vertex AI or the Gemini API, and so does a base
 * URL. Without either, the provider is `gcp.gen_ai`.
 *
 * **Example** (Reading a request)
 *
 * ```ts
 * import { googleCall } from "loom-tracing"
 *
 * const call = googleCall({ model: "gemini-2.5-flash", contents: "Hello", config: { temperature: 0 } })
 *
 * call.operation // => "generate_content"
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const googleCall = <Params extends GoogleParams>(
  params: Params,
  options?: ProviderCallOptions
): LlmCallOptions => {
  const derived = google.call(params)
  const isVertex = read(options, "client", "vertexai")
  return callOf(
    typeof isVertex === "boolean" ? { ...derived, provider: isVertex ? "gcp.vertex_ai" : "gcp.gemini" } : derived,
    options
  )
}

/**
 * Reads a response of Google's `generateContent`.
 *
 * **Details**
 *
 * Google counts thoughts beside the candidates, and what its own tools answer
 * beside the prompt. As the convention asks for, they are counted in.
 *
 * **Example** (Counting thoughts)
 *
 * ```ts
 * import { googleResponse } from "loom-tracing"
 *
 * const response = googleResponse({
 *   usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 5, thoughtsTokenCount: 20, totalTokenCount: 35 }
 * })
 *
 * response.usage // => { inputTokens: 10, outputTokens: 25, reasoningOutputTokens: 20 }
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const googleResponse: (value: unknown) => LlmResponse = google.response

/**
 * Folds the chunks of Google's `generateContentStream`.
 *
 * **Example** (Folding chunks)
 *
 * ```ts
 * import { googleFold } from "loom-tracing"
 *
 * const chunks = [
 *   { candidates: [{ index: 0, content: { parts: [{ text: "Hi" }] } }] },
 *   { candidates: [{ index: 0, finishReason: "STOP" }] }
 * ]
 *
 * const state = chunks.reduce(googleFold.step, googleFold.initial({ content: false }))
 * googleFold.response(state).finishReasons // => ["STOP"]
 * ```
 *
 * @category streaming
 * @since 0.1.0
 */
export const googleFold: LlmStreamFold<object, StreamedResponse> = makeFold(google.step)

/**
 * Runs a call of Google's SDK for `generateContent` inside a span, as its
 * request describes it. It belongs directly around the client's call, whose
 * answer it reads.
 *
 * **Example** (Tracing a generation)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withGoogleSpan } from "loom-tracing"
 *
 * const params = { model: "gemini-2.5-flash", contents: "Hello" }
 *
 * // Stands for `Effect.tryPromise(() => ai.models.generateContent(params))`.
 * const generate = Effect.succeed({ responseId: "r1", candidates: [{ content: { parts: [{ text: "Hi" }] } }] })
 *
 * Effect.runSync(generate.pipe(withGoogleSpan(params))).responseId // => "r1"
 * ```
 *
 * @see {@link googleFold} for an answer that is streamed
 *
 * @category combinators
 * @since 0.1.0
 */
export const withGoogleSpan: ProviderSpan<GoogleParams> = makeSpan(
  "withGoogleSpan",
  googleCall,
  googleResponse,
  ["candidates", "promptFeedback", "usageMetadata", "sdkHttpResponse", "embeddings", "totalTokens"]
)

// =============================================================================
// AWS Bedrock
// =============================================================================

/**
 * Reads the options of a span from the input of `ConverseCommand` or
 * `ConverseStreamCommand`, or from the command.
 *
 * **Example** (Reading a request)
 *
 * ```ts
 * import { bedrockCall } from "loom-tracing"
 *
 * const call = bedrockCall({
 *   modelId: "amazon.nova-pro-v1:0",
 *   messages: [{ role: "user", content: [{ text: "Hello" }] }]
 * })
 *
 * call.request.model // => "amazon.nova-pro-v1:0"
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const bedrockCall = <Params extends BedrockParams>(
  params: Params,
  options?: ProviderCallOptions
): LlmCallOptions => callOf(bedrock.call(params), options)

/**
 * Reads the output of Converse.
 *
 * **Details**
 *
 * Bedrock's `inputTokens` leaves out what was read from a cache or written to
 * it. As the convention asks for, `inputTokens` is the sum of the three, unless
 * `totalTokens` says that it was already.
 *
 * **Example** (Counting all input)
 *
 * ```ts
 * import { bedrockResponse } from "loom-tracing"
 *
 * const response = bedrockResponse({
 *   usage: { inputTokens: 4, cacheReadInputTokens: 1696, outputTokens: 350, totalTokens: 2050 }
 * })
 *
 * response.usage?.inputTokens // => 1700
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const bedrockResponse: (value: unknown) => LlmResponse = bedrock.response

/**
 * Folds the events of ConverseStream.
 *
 * **Example** (Folding events)
 *
 * ```ts
 * import { bedrockFold } from "loom-tracing"
 *
 * const events = [
 *   { messageStop: { stopReason: "end_turn" } },
 *   { metadata: { usage: { inputTokens: 47, outputTokens: 20, totalTokens: 67 } } }
 * ]
 *
 * const state = events.reduce(bedrockFold.step, bedrockFold.initial({ content: false }))
 * bedrockFold.response(state).usage
 * // => { inputTokens: 47, outputTokens: 20 }
 * ```
 *
 * @category streaming
 * @since 0.1.0
 */
export const bedrockFold: LlmStreamFold<object, StreamedResponse> = makeFold(bedrock.step)

/**
 * Runs a Converse call of the AWS SDK inside a span, as its input or its command
 * describes it. It belongs directly around the client's call, whose answer it
 * reads.
 *
 * **Example** (Tracing a conversation)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withBedrockSpan } from "loom-tracing"
 *
 * const input = { modelId: "amazon.nova-pro-v1:0", messages: [{ role: "user", content: [{ text: "Hello" }] }] }
 *
 * // Stands for `Effect.tryPromise(() => client.send(new ConverseCommand(input)))`.
 * const converse = Effect.succeed({ stopReason: "end_turn" })
 *
 * Effect.runSync(converse.pipe(withBedrockSpan(input))).stopReason // => "end_turn"
 * ```
 *
 * @see {@link bedrockFold} for an answer that is streamed
 *
 * @category combinators
 * @since 0.1.0
 */
export const withBedrockSpan: ProviderSpan<BedrockParams> = makeSpan(
  "withBedrockSpan",
  bedrockCall,
  bedrockResponse,
  ["$metadata", "output", "metrics"]
)

// =============================================================================
// effect/ai
// =============================================================================

/**
 * Reads the options of a span from what `effect/ai` gives a language model.
 *
 * **Gotchas**
 *
 * Such a request names neither provider nor model: give both.
 *
 * **Example** (Reading a request)
 *
 * ```ts
 * import { effectAiCall } from "loom-tracing"
 *
 * const call = effectAiCall({ prompt: "Hello" }, { provider: "openai", request: { model: "gpt-4o" } })
 *
 * call.request.model // => "gpt-4o"
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const effectAiCall = <Params extends EffectAiParams>(
  params: Params,
  options: ProviderCallOptions & {
    readonly provider: LlmCallOptions["provider"]
    readonly request: Partial<LlmRequest> & { readonly model: string }
  }
): LlmCallOptions => callOf(effectAi.call(params), options)

/**
 * Reads a response of `LanguageModel.generateText` or `generateObject`, or its
 * parts.
 *
 * **Details**
 *
 * The results of tools that the program has run are no part of the model's
 * answer and are left out of it.
 *
 * **Example** (Reading a response)
 *
 * ```ts
 * import { effectAiResponse } from "loom-tracing"
 *
 * const response = effectAiResponse({
 *   content: [{ type: "text", text: "Hi" }, { type: "finish", reason: "stop", usage: { inputTokens: { total: 8 } } }]
 * })
 *
 * response.usage // => { inputTokens: 8 }
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const effectAiResponse: (value: unknown) => LlmResponse = effectAi.response

/**
 * Folds the parts of `LanguageModel.streamText`.
 *
 * **Example** (Folding parts)
 *
 * ```ts
 * import { effectAiFold } from "loom-tracing"
 *
 * const parts = [{ type: "text-delta", id: "1", delta: "Hi" }, { type: "finish", reason: "stop" }]
 *
 * const state = parts.reduce(effectAiFold.step, effectAiFold.initial({ content: false }))
 * effectAiFold.response(state).finishReasons // => ["stop"]
 * ```
 *
 * @category streaming
 * @since 0.1.0
 */
export const effectAiFold: LlmStreamFold<object, StreamedResponse> = makeFold(effectAi.step)
