/**
 * What the SDKs of model providers are given and answer, as GenAI spans tell
 * it. No SDK is needed: everything is read by its shape.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { type LlmCallOptions, type LlmRequest, type LlmUsage, withLlmSpan } from "./GenAi.ts"
import { isTracingOff } from "./internal/off.ts"
import * as anthropic from "./internal/providers/anthropic.ts"
import * as bedrock from "./internal/providers/bedrock.ts"
import * as effectAi from "./internal/providers/effectAi.ts"
import * as google from "./internal/providers/google.ts"
import * as ollama from "./internal/providers/ollama.ts"
import * as openAi from "./internal/providers/openai.ts"
import { defined, read, readString } from "./internal/providers/read.ts"
import { providerAt, serverOf } from "./internal/providers/server.ts"
import { type ProviderResponse, StreamedResponse } from "./internal/providers/stream.ts"
import * as usage from "./internal/providers/usage.ts"
import * as semconv from "./internal/semconv.ts"

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
 * How the chunks of a stream become one response.
 *
 * **Details**
 *
 * `initial` is called for each run of the stream. The state that it makes is
 * changed by `step`. With `content: false`, the default, it keeps nothing of the
 * answer itself and does not grow with the stream.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProviderFold {
  readonly initial: (options?: { readonly content?: boolean | undefined }) => StreamedResponse
  readonly step: (state: StreamedResponse, chunk: unknown) => StreamedResponse
  readonly response: (state: StreamedResponse) => ProviderResponse
}

export type { ProviderResponse, StreamedResponse }

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
  const { attributes, baseURL: _, client: __, request, ...rest } = options ?? {}
  const baseUrl = baseUrlOf(options)
  const server = rest.server ?? (baseUrl === undefined ? undefined : serverOf(baseUrl))
  const provider = rest.provider ?? (server === undefined ? undefined : providerAt(server.address)) ?? derived.provider
  const own = derived.attributes
  return {
    ...derived,
    server,
    ...defined(rest),
    provider,
    request: { ...derived.request, ...defined(request ?? {}) },
    attributes: defined({
      ...(speaksOpenAi(provider) ? own : withoutOpenAi(own)),
      ...(provider.startsWith("azure.") ? { [semconv.AZURE_RESOURCE_PROVIDER_NAMESPACE]: AZURE } : undefined),
      ...attributes
    })
  }
}

const AZURE = "Microsoft.CognitiveServices"

/** Others answer under OpenAI's names; the convention keeps `openai.*` for what OpenAI's models answer. */
const speaksOpenAi = (provider: string): boolean => provider === "openai" || provider === "azure.ai.openai"

const withoutOpenAi = (
  attributes: Readonly<Record<string, unknown>> | undefined
): Readonly<Record<string, unknown>> | undefined =>
  attributes === undefined
    ? undefined
    : Object.fromEntries(Object.entries(attributes).filter(([key]) => !key.startsWith("openai.")))

const providerSpan = <A, E, R, Params>(
  self: Effect.Effect<A, E, R>,
  params: Params,
  options: ProviderCallOptions | undefined,
  call: (params: Params, options: ProviderCallOptions | undefined) => LlmCallOptions,
  response: (value: unknown) => ProviderResponse
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    // Nothing is read of a request that nobody records.
    if (isTracingOff(fiber)) return self
    const callOptions = call(params, options)
    return withLlmSpan(self, {
      ...callOptions,
      response: (value): ProviderResponse => {
        const answer = response(value)
        if (answer.attributes === undefined || speaksOpenAi(callOptions.provider)) return answer
        return { ...answer, attributes: withoutOpenAi(answer.attributes) }
      }
    })
  })

const makeFold = (step: (state: StreamedResponse, chunk: unknown) => void): ProviderFold => ({
  initial: (options) => new StreamedResponse(options?.content === true),
  step: (state, chunk) => {
    step(state, chunk)
    return state
  },
  response: (state) => state.toResponse()
})

const isDataFirst = (args: IArguments): boolean => Effect.isEffect(args[0])

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
 * wrong, say `operation: "embeddings"`.
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
export const openAiResponse: (value: unknown) => ProviderResponse = openAi.response

/**
 * Folds the chunks of a chat completion or the events of a response.
 *
 * **Gotchas**
 *
 * OpenAI reports the usage of a streamed chat completion only on request:
 * `stream_options: { include_usage: true }`.
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
 * openAiFold.response(chunks.reduce(openAiFold.step, openAiFold.initial())).finishReasons // => ["stop"]
 * ```
 *
 * @category streaming
 * @since 0.1.0
 */
export const openAiFold: ProviderFold = makeFold(openAi.step)

/**
 * Runs a call of OpenAI's SDK inside a span, as its request describes it.
 *
 * **Details**
 *
 * Works with every server that speaks OpenAI's API; `baseURL` or `client` tells
 * which it is. The effect keeps its type; a result that is no response of the
 * API adds nothing to the span.
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
 * @category combinators
 * @since 0.1.0
 */
export const withOpenAiSpan: {
  <Params extends OpenAiParams>(params: Params, options?: ProviderCallOptions): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A, E, R, Params extends OpenAiParams>(
    self: Effect.Effect<A, E, R>,
    params: Params,
    options?: ProviderCallOptions
  ): Effect.Effect<A, E, R>
} = dual(
  isDataFirst,
  <A, E, R>(self: Effect.Effect<A, E, R>, params: OpenAiParams, options?: ProviderCallOptions) =>
    providerSpan(self, params, options, openAiCall, openAiResponse)
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
export const anthropicResponse: (value: unknown) => ProviderResponse = anthropic.response

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
 * anthropicFold.response(events.reduce(anthropicFold.step, anthropicFold.initial())).usage
 * // => { inputTokens: 25, outputTokens: 15 }
 * ```
 *
 * @category streaming
 * @since 0.1.0
 */
export const anthropicFold: ProviderFold = makeFold(anthropic.step)

/**
 * Runs a call of Anthropic's SDK inside a span, as its request describes it.
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
 * @category combinators
 * @since 0.1.0
 */
export const withAnthropicSpan: {
  <Params extends AnthropicParams>(params: Params, options?: ProviderCallOptions): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A, E, R, Params extends AnthropicParams>(
    self: Effect.Effect<A, E, R>,
    params: Params,
    options?: ProviderCallOptions
  ): Effect.Effect<A, E, R>
} = dual(
  isDataFirst,
  <A, E, R>(self: Effect.Effect<A, E, R>, params: AnthropicParams, options?: ProviderCallOptions) =>
    providerSpan(self, params, options, anthropicCall, anthropicResponse)
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
export const ollamaResponse: (value: unknown) => ProviderResponse = ollama.response

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
 * ollamaFold.response(chunks.reduce(ollamaFold.step, ollamaFold.initial())).finishReasons // => ["stop"]
 * ```
 *
 * @category streaming
 * @since 0.1.0
 */
export const ollamaFold: ProviderFold = makeFold(ollama.step)

/**
 * Runs a call of Ollama's SDK inside a span, as its request describes it.
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
 * @category combinators
 * @since 0.1.0
 */
export const withOllamaSpan: {
  <Params extends OllamaParams>(params: Params, options?: ProviderCallOptions): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A, E, R, Params extends OllamaParams>(
    self: Effect.Effect<A, E, R>,
    params: Params,
    options?: ProviderCallOptions
  ): Effect.Effect<A, E, R>
} = dual(
  isDataFirst,
  <A, E, R>(self: Effect.Effect<A, E, R>, params: OllamaParams, options?: ProviderCallOptions) =>
    providerSpan(self, params, options, ollamaCall, ollamaResponse)
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
export const googleResponse: (value: unknown) => ProviderResponse = google.response

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
 * googleFold.response(chunks.reduce(googleFold.step, googleFold.initial())).finishReasons // => ["STOP"]
 * ```
 *
 * @category streaming
 * @since 0.1.0
 */
export const googleFold: ProviderFold = makeFold(google.step)

/**
 * Runs a call of Google's SDK for `generateContent` inside a span, as its
 * request describes it.
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
 * @category combinators
 * @since 0.1.0
 */
export const withGoogleSpan: {
  <Params extends GoogleParams>(params: Params, options?: ProviderCallOptions): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A, E, R, Params extends GoogleParams>(
    self: Effect.Effect<A, E, R>,
    params: Params,
    options?: ProviderCallOptions
  ): Effect.Effect<A, E, R>
} = dual(
  isDataFirst,
  <A, E, R>(self: Effect.Effect<A, E, R>, params: GoogleParams, options?: ProviderCallOptions) =>
    providerSpan(self, params, options, googleCall, googleResponse)
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
export const bedrockResponse: (value: unknown) => ProviderResponse = bedrock.response

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
 * bedrockFold.response(events.reduce(bedrockFold.step, bedrockFold.initial())).usage
 * // => { inputTokens: 47, outputTokens: 20 }
 * ```
 *
 * @category streaming
 * @since 0.1.0
 */
export const bedrockFold: ProviderFold = makeFold(bedrock.step)

/**
 * Runs a Converse call of the AWS SDK inside a span, as its input or its command
 * describes it.
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
 * @category combinators
 * @since 0.1.0
 */
export const withBedrockSpan: {
  <Params extends BedrockParams>(params: Params, options?: ProviderCallOptions): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A, E, R, Params extends BedrockParams>(
    self: Effect.Effect<A, E, R>,
    params: Params,
    options?: ProviderCallOptions
  ): Effect.Effect<A, E, R>
} = dual(
  isDataFirst,
  <A, E, R>(self: Effect.Effect<A, E, R>, params: BedrockParams, options?: ProviderCallOptions) =>
    providerSpan(self, params, options, bedrockCall, bedrockResponse)
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
export const effectAiResponse: (value: unknown) => ProviderResponse = effectAi.response

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
 * effectAiFold.response(parts.reduce(effectAiFold.step, effectAiFold.initial())).finishReasons // => ["stop"]
 * ```
 *
 * @category streaming
 * @since 0.1.0
 */
export const effectAiFold: ProviderFold = makeFold(effectAi.step)
