/**
 * Spans for calls to generative models, after OpenTelemetry's GenAI semantic
 * conventions and Loom's own. Streams, tools, agents, retrieval, memory and MCP
 * have modules beside this one.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import type { ChatMessage, Lazy, MessagePart, OutputMessage, ToolDefinition } from "./GenAiContent.ts"
import { recordTokenUsage } from "./GenAiMetrics.ts"
import { addDefined, addServer, GenAiSpan, type OpenString, readResult, withGenAiSpan } from "./internal/genAi.ts"
import { llmCallOf, LlmSpan } from "./internal/llmSpan.ts"
import * as semconv from "./internal/semconv.ts"

// =============================================================================
// Models
// =============================================================================

/**
 * Who serves a model: `gen_ai.provider.name`.
 *
 * @category models
 * @since 0.1.0
 */
export type GenAiProvider = OpenString<
  | "openai"
  | "anthropic"
  | "gcp.gen_ai"
  | "gcp.vertex_ai"
  | "gcp.gemini"
  | "cohere"
  | "azure.ai.inference"
  | "azure.ai.openai"
  | "ibm.watsonx.ai"
  | "aws.bedrock"
  | "perplexity"
  | "x_ai"
  | "deepseek"
  | "groq"
  | "mistral_ai"
  | "moonshot_ai"
>

/**
 * What a model is asked to do: `gen_ai.operation.name`.
 *
 * @category models
 * @since 0.1.0
 */
export type LlmOperation = OpenString<"chat" | "text_completion" | "generate_content">

/**
 * The parameters of a request to a model.
 *
 * @category models
 * @since 0.1.0
 */
export interface LlmRequest {
  readonly model: string
  readonly temperature?: number | undefined
  readonly maxTokens?: number | undefined
  readonly topP?: number | undefined
  readonly topK?: number | undefined
  readonly stopSequences?: ReadonlyArray<string> | undefined
  readonly seed?: number | undefined
  readonly frequencyPenalty?: number | undefined
  readonly presencePenalty?: number | undefined
  /** How many answers are asked for. Recorded unless it is one. */
  readonly choiceCount?: number | undefined
  readonly outputType?: OpenString<"text" | "json" | "image" | "speech"> | undefined
  /** The provider's own word for the effort of reasoning. */
  readonly reasoningLevel?: string | undefined
  /** The response that this request continues, where the provider keeps conversations. */
  readonly previousResponseId?: string | undefined
  readonly stream?: boolean | undefined
}

/**
 * Tokens of one modality. They are part of the totals in {@link LlmUsage}.
 *
 * @category models
 * @since 0.1.0
 */
export interface ModalityUsage {
  readonly inputTokens?: number | undefined
  readonly outputTokens?: number | undefined
  readonly cacheReadInputTokens?: number | undefined
}

/**
 * The tokens of a call by modality.
 *
 * @category models
 * @since 0.1.0
 */
export interface UsageByModality {
  readonly text?: ModalityUsage | undefined
  readonly image?: ModalityUsage | undefined
  readonly audio?: ModalityUsage | undefined
}

/**
 * Tokens that a call has used. The totals include their parts: `inputTokens`
 * counts cached input, `outputTokens` counts reasoning.
 *
 * @category models
 * @since 0.1.0
 */
export interface LlmUsage {
  readonly inputTokens?: number | undefined
  readonly outputTokens?: number | undefined
  readonly cacheReadInputTokens?: number | undefined
  readonly cacheWriteInputTokens?: number | undefined
  readonly reasoningOutputTokens?: number | undefined
}

/**
 * What a span tells of a model's answer.
 *
 * @category models
 * @since 0.1.0
 */
export interface LlmResponse {
  readonly id?: string | undefined
  readonly model?: string | undefined
  /** Why each choice has ended, in order. A choice without a reason counts as `error`. */
  readonly finishReasons?: ReadonlyArray<string | null | undefined> | undefined
  readonly usage?: LlmUsage | undefined
  /** How the totals of `usage` split, where the provider tells. Recorded under the `latest` convention. */
  readonly usageByModality?: UsageByModality | undefined
  /** Whether the provider has replaced a part of the conversation by a summary. */
  readonly compacted?: boolean | undefined
  /** What OpenAI adds, recorded only where the provider is `openai` or `azure.ai.openai`. */
  readonly openai?: {
    readonly serviceTier?: string | undefined
    readonly systemFingerprint?: string | undefined
  } | undefined
  /** The answer itself, recorded only when content is captured. */
  readonly output?: Lazy<string | ReadonlyArray<OutputMessage>> | undefined
}

/**
 * The address of a server.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServerAddress {
  readonly address: string
  readonly port?: number | undefined
}

/**
 * A prompt that is kept under a name, as a template.
 *
 * @category models
 * @since 0.1.0
 */
export interface NamedPrompt {
  readonly name: string
  readonly version?: string | undefined
  /** What the template was filled with, recorded only when content is captured. */
  readonly variables?: Lazy<Readonly<Record<string, unknown>>> | undefined
}

/**
 * What a request to OpenAI has beside the common parameters.
 *
 * @category models
 * @since 0.1.0
 */
export interface OpenAiRequest {
  readonly apiType?: OpenString<"chat_completions" | "responses"> | undefined
  readonly serviceTier?: OpenString<"auto" | "default"> | undefined
}

/**
 * What a request to AWS Bedrock has beside the common parameters.
 *
 * @category models
 * @since 0.1.0
 */
export interface AwsBedrockRequest {
  readonly guardrailId?: string | undefined
  readonly knowledgeBaseId?: string | undefined
}

/**
 * The options of a span for a model call, but for how its answer is read.
 *
 * @category options
 * @since 0.1.0
 */
export interface LlmCallOptions {
  readonly provider: GenAiProvider
  /** Default: `"chat"`. */
  readonly operation?: LlmOperation | undefined
  readonly request: LlmRequest
  readonly server?: ServerAddress | undefined
  readonly conversationId?: string | undefined
  /** Whether the model may call tools (`llm.has_tools`, Loom's convention). */
  readonly hasTools?: boolean | undefined
  /** Which round of tool calls this call continues. From 1 on, Loom names the span `llm.tool_continuation`. */
  readonly toolRound?: number | undefined
  readonly input?: Lazy<string | ReadonlyArray<ChatMessage>> | undefined
  readonly systemInstructions?: Lazy<string | ReadonlyArray<MessagePart>> | undefined
  readonly toolDefinitions?: Lazy<ReadonlyArray<ToolDefinition>> | undefined
  readonly prompt?: NamedPrompt | undefined
  readonly openai?: OpenAiRequest | undefined
  readonly awsBedrock?: AwsBedrockRequest | undefined
  /** Further attributes of the span. */
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
  /** The name of the span, instead of the convention's. */
  readonly name?: string | undefined
}

/**
 * The options of {@link withLlmSpan}.
 *
 * @category options
 * @since 0.1.0
 */
export interface LlmSpanOptions<A> extends LlmCallOptions {
  /** Reads the answer. If it throws, the span goes without. */
  readonly response?: ((value: A) => LlmResponse) | undefined
}

/**
 * The options of {@link withEmbeddingsSpan}.
 *
 * @category options
 * @since 0.1.0
 */
export interface EmbeddingsSpanOptions<A> {
  readonly provider: GenAiProvider
  readonly request: {
    readonly model: string
    readonly encodingFormats?: ReadonlyArray<string> | undefined
    readonly dimensions?: number | undefined
  }
  readonly server?: ServerAddress | undefined
  /** Reads the answer: its model and input tokens. If it throws, the span goes without. */
  readonly response?: ((value: A) => LlmResponse) | undefined
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

/**
 * A response that a provider keeps, as it is now.
 *
 * @category models
 * @since 0.1.0
 */
export interface FetchedResponse extends LlmResponse {
  readonly status?:
    | OpenString<"queued" | "in_progress" | "completed" | "incomplete" | "failed" | "cancelled">
    | undefined
}

/**
 * The options of {@link withFetchResponseSpan}.
 *
 * @category options
 * @since 0.1.0
 */
export interface FetchResponseSpanOptions<A> {
  readonly provider: GenAiProvider
  readonly responseId: string
  /** Where in a stream to go on. */
  readonly streamCursor?: string | undefined
  readonly server?: ServerAddress | undefined
  readonly systemInstructions?: Lazy<string | ReadonlyArray<MessagePart>> | undefined
  readonly toolDefinitions?: Lazy<ReadonlyArray<ToolDefinition>> | undefined
  /** Reads the answer. Its usage is not recorded: that belongs to the call that has made the response. */
  readonly response?: ((value: A) => FetchedResponse) | undefined
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

// =============================================================================
// Model calls
// =============================================================================

/**
 * Runs an effect inside a span for a call to a language model.
 *
 * **When to use**
 *
 * Use around every call to a model. For a tool round, use it again around the
 * continued call, with `toolRound`.
 *
 * **Details**
 *
 * The span follows OpenTelemetry's GenAI convention ("Inference"): kind
 * `CLIENT`, `gen_ai.*` attributes, and by default Loom's name and `llm.*`
 * attributes beside them; `GenAiSettings.convention` chooses. Operation,
 * provider, model and server are there when a sampler decides.
 *
 * The effect keeps its type, result, errors and interruption. The span ends
 * once, however the effect ends, with `error.type` from the typed error.
 * Content is recorded only when `GenAiSettings.capture` says so; while it is
 * off, the text of an error that leaves the span is not recorded either, here
 * or on any span around it, since a provider's error can quote the prompt. A
 * part that the program cuts out of such a text is not recognised there.
 *
 * **Gotchas**
 *
 * Retries belong inside the span: one logical call is one span.
 *
 * **Example** (Tracing a call)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withLlmSpan } from "loom-tracing"
 *
 * const answer = Effect.succeed({ id: "r1", text: "Hello", tokens: { in: 3, out: 1 } }).pipe(
 *   withLlmSpan({
 *     provider: "openai",
 *     request: { model: "gpt-4o", temperature: 0.2 },
 *     response: (r) => ({ id: r.id, usage: { inputTokens: r.tokens.in, outputTokens: r.tokens.out } })
 *   })
 * )
 *
 * Effect.runSync(answer).text // => "Hello"
 * ```
 *
 * @see {@link annotateLlmResponse} for a response that the effect does not return
 *
 * @category combinators
 * @since 0.1.0
 */
export const withLlmSpan: {
  (options: LlmCallOptions & { readonly response?: undefined }): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A>(options: LlmSpanOptions<NoInfer<A>>): <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <B>(options: LlmSpanOptions<B>): <A extends B, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: LlmSpanOptions<NoInfer<A>>): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: LlmSpanOptions<A>): Effect.Effect<A, E, R> =>
    withGenAiSpan(self, (fiber) => new LlmSpan<A, E>(fiber, options, options.response))
)

/**
 * Adds to the response of the model call that is running.
 *
 * **When to use**
 *
 * Use inside an effect under `withLlmSpan` whose result does not hold the
 * response: where it is decoded, or where only its text is passed on.
 *
 * **Details**
 *
 * It finds the nearest enclosing model call, also from inside spans of your
 * own. What is said twice counts as said last; the `response` option comes
 * after everything else. Outside a model call it does nothing.
 *
 * **Example** (Reporting usage where it is known)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { annotateLlmResponse, withLlmSpan } from "loom-tracing"
 *
 * const text = Effect.succeed("Hello").pipe(
 *   Effect.tap(() => annotateLlmResponse({ usage: { inputTokens: 3, outputTokens: 1 } })),
 *   withLlmSpan({ provider: "openai", request: { model: "gpt-4o" } })
 * )
 *
 * Effect.runSync(text) // => "Hello"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const annotateLlmResponse = (response: LlmResponse): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    let span = fiber.cache.span
    while (span !== undefined) {
      const call = llmCallOf(span)
      if (call !== undefined) {
        try {
          call.add(response)
        } catch {
          // A response that cannot be read tells nothing.
        }
        break
      }
      span = span._tag === "Span" ? Option.getOrUndefined(span.parent) : undefined
    }
    return Effect.void
  })

// =============================================================================
// Embeddings
// =============================================================================

class EmbeddingsSpan<A, E> extends GenAiSpan<A, E> {
  readonly name: string
  private readonly options: EmbeddingsSpanOptions<A>
  private response: LlmResponse | undefined = undefined

  constructor(fiber: Fiber.Fiber<unknown, unknown>, options: EmbeddingsSpanOptions<A>) {
    super(fiber, "embeddings", "client")
    this.options = options
    this.name = `embeddings ${options.request.model}`
    this.start[semconv.GEN_AI_PROVIDER_NAME] = options.provider
    this.start[semconv.GEN_AI_REQUEST_MODEL] = options.request.model
    addServer(this.start, options.server)
  }

  protected writeStart(): void {
    const { request } = this.options
    this.set(semconv.GEN_AI_REQUEST_ENCODING_FORMATS, request.encodingFormats)
    this.set(semconv.GEN_AI_EMBEDDINGS_DIMENSION_COUNT, request.dimensions)
    this.setSession()
    this.setAll(this.options.attributes)
  }

  protected override writeEnd(exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    return readResult(this.options.response, exit, "The `response` function", (response) => {
      this.set(semconv.GEN_AI_RESPONSE_MODEL, response.model)
      this.set(semconv.GEN_AI_USAGE_INPUT_TOKENS, response.usage?.inputTokens)
      if (response.usage?.inputTokens !== undefined) this.session.run?.addUsage()
      // Metrics read it again, so only what could be read is kept.
      this.response = response
    })
  }

  protected override measure(seconds: number, error: string | undefined): void {
    const attributes = { ...this.start }
    addDefined(attributes, semconv.GEN_AI_RESPONSE_MODEL, this.response?.model)
    // Since 2026-10-07 the convention has no metric for the tokens of embeddings.
    if (this.settings.convention === "loom" && this.response?.usage !== undefined) {
      recordTokenUsage({ inputTokens: this.response.usage.inputTokens }, attributes, this.context)
    }
    this.recordClientDuration(seconds, error, attributes)
  }
}

/**
 * Runs an effect inside a span for a call to an embedding model.
 *
 * **Details**
 *
 * Follows "Embeddings" of the GenAI convention: `embeddings {model}`, kind
 * `CLIENT`. The texts are never recorded.
 *
 * **Example** (Tracing embeddings)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withEmbeddingsSpan } from "loom-tracing"
 *
 * const vectors = Effect.succeed({ data: [[0.1, 0.2]], tokens: 5 }).pipe(
 *   withEmbeddingsSpan({
 *     provider: "openai",
 *     request: { model: "text-embedding-3-small", dimensions: 2 },
 *     response: (r) => ({ usage: { inputTokens: r.tokens } })
 *   })
 * )
 *
 * Effect.runSync(vectors).data.length // => 1
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withEmbeddingsSpan: {
  (options: EmbeddingsSpanOptions<never> & { readonly response?: undefined }): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A>(options: EmbeddingsSpanOptions<NoInfer<A>>): <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <B>(options: EmbeddingsSpanOptions<B>): <A extends B, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: EmbeddingsSpanOptions<NoInfer<A>>): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: EmbeddingsSpanOptions<A>): Effect.Effect<A, E, R> =>
    withGenAiSpan(self, (fiber) => new EmbeddingsSpan<A, E>(fiber, options))
)

// =============================================================================
// Responses that a provider keeps
// =============================================================================

class FetchResponseSpan<A, E> extends GenAiSpan<A, E> {
  readonly name = "fetch_response"
  private readonly options: FetchResponseSpanOptions<A>
  private response: FetchedResponse | undefined = undefined

  constructor(fiber: Fiber.Fiber<unknown, unknown>, options: FetchResponseSpanOptions<A>) {
    super(fiber, "fetch_response", "client")
    this.options = options
    this.start[semconv.GEN_AI_PROVIDER_NAME] = options.provider
    addServer(this.start, options.server)
  }

  protected writeStart(): void {
    this.set(semconv.GEN_AI_RESPONSE_ID, this.options.responseId)
    this.set(semconv.GEN_AI_REQUEST_STREAM_CURSOR, this.options.streamCursor)
    this.setSession()
    this.setAll(this.options.attributes)
  }

  protected override captureStart(): Effect.Effect<void> | undefined {
    return this.inOrder(
      this.captureInstructions(this.options.systemInstructions),
      this.captureToolDefinitions(this.options.toolDefinitions)
    )
  }

  protected override writeEnd(exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    return readResult(this.options.response, exit, "The `response` function", (response) => {
      this.set(semconv.GEN_AI_RESPONSE_STATUS, response.status)
      this.setResponse({ model: response.model, finishReasons: response.finishReasons, openai: response.openai })
      this.response = response
    })
  }

  protected override captureEnd(): Effect.Effect<void> | undefined {
    return this.captureOutput(this.response?.output)
  }

  protected override measure(seconds: number, error: string | undefined): void {
    const attributes = { ...this.start }
    addDefined(attributes, semconv.GEN_AI_RESPONSE_MODEL, this.response?.model)
    this.recordClientDuration(seconds, error, attributes)
  }
}

/**
 * Runs an effect inside a span for the retrieval of a response that a provider
 * keeps: one that runs in the background, or whose stream is resumed.
 *
 * **Details**
 *
 * Follows "Fetch response" of the GenAI convention: `fetch_response`, kind
 * `CLIENT`. Tokens are not recorded, since the call that has made the response
 * has recorded them.
 *
 * **Example** (Polling)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withFetchResponseSpan } from "loom-tracing"
 *
 * const poll = Effect.succeed({ status: "completed", model: "gpt-4o" }).pipe(
 *   withFetchResponseSpan({
 *     provider: "openai",
 *     responseId: "resp_1",
 *     response: (r) => ({ status: r.status, model: r.model })
 *   })
 * )
 *
 * Effect.runSync(poll).status // => "completed"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withFetchResponseSpan: {
  (options: FetchResponseSpanOptions<never> & { readonly response?: undefined }): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A>(options: FetchResponseSpanOptions<NoInfer<A>>): <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <B>(options: FetchResponseSpanOptions<B>): <A extends B, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: FetchResponseSpanOptions<NoInfer<A>>): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: FetchResponseSpanOptions<A>): Effect.Effect<A, E, R> =>
    withGenAiSpan(self, (fiber) => new FetchResponseSpan<A, E>(fiber, options))
)
