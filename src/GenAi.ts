/**
 * Spans for generative AI: model calls, tools and agents, after OpenTelemetry's
 * GenAI semantic conventions and Loom's own.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Tracer from "effect/Tracer"
import {
  captureContent,
  type ChatMessage,
  ContentBudget,
  type Lazy,
  normalizeMessages,
  type OutputMessage,
  textOf,
  type ToolDefinition
} from "./GenAiContent.ts"
import { GenAiSettings } from "./GenAiSettings.ts"
import { markSensitive } from "./internal/errors.ts"
import { isTracingOff } from "./internal/off.ts"
import { reportOnce } from "./internal/reportOnce.ts"
import * as semconv from "./internal/semconv.ts"
import { setAttribute, setAttributes, traced } from "./internal/span.ts"
import type { Attributes } from "./internal/startAttributes.ts"

// =============================================================================
// Models
// =============================================================================

/**
 * A string with known values that an editor can complete, and room for any other.
 */
type OpenString<Known extends string> = Known | (string & {})

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
  readonly stream?: boolean | undefined
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
  readonly finishReasons?: ReadonlyArray<string> | undefined
  readonly usage?: LlmUsage | undefined
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
  readonly systemInstructions?: Lazy<string> | undefined
  readonly toolDefinitions?: Lazy<ReadonlyArray<ToolDefinition>> | undefined
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
 * The options of {@link withToolSpan}.
 *
 * @category options
 * @since 0.1.0
 */
export interface ToolSpanOptions<A> {
  readonly name: string
  readonly callId?: string | undefined
  readonly type?: OpenString<"function" | "extension" | "datastore"> | undefined
  readonly description?: string | undefined
  readonly arguments?: unknown
  /** The result of the tool, recorded only when content is captured. */
  readonly result?: ((value: A) => unknown) | undefined
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

/**
 * The options of {@link withAgentSpan}.
 *
 * @category options
 * @since 0.1.0
 */
export interface AgentSpanOptions {
  /** A name of low cardinality. */
  readonly name?: string | undefined
  /** The stable id of a hosted agent, never that of an instance in memory. */
  readonly id?: string | undefined
  readonly description?: string | undefined
  readonly version?: string | undefined
  readonly conversationId?: string | undefined
  readonly provider?: GenAiProvider | undefined
  readonly request?: Partial<LlmRequest> | undefined
  /** Whether the agent runs in another service. Then the span is a `CLIENT` one, else `INTERNAL`. */
  readonly remote?: boolean | undefined
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

// =============================================================================
// Attributes
// =============================================================================

const writeRequest = (span: Tracer.Span, request: Partial<LlmRequest>): void => {
  setAttribute(span, semconv.GEN_AI_REQUEST_TEMPERATURE, request.temperature)
  setAttribute(span, semconv.GEN_AI_REQUEST_MAX_TOKENS, request.maxTokens)
  setAttribute(span, semconv.GEN_AI_REQUEST_TOP_P, request.topP)
  setAttribute(span, semconv.GEN_AI_REQUEST_TOP_K, request.topK)
  setAttribute(span, semconv.GEN_AI_REQUEST_STOP_SEQUENCES, request.stopSequences)
  setAttribute(span, semconv.GEN_AI_REQUEST_SEED, request.seed)
  setAttribute(span, semconv.GEN_AI_REQUEST_FREQUENCY_PENALTY, request.frequencyPenalty)
  setAttribute(span, semconv.GEN_AI_REQUEST_PRESENCE_PENALTY, request.presencePenalty)
  if (request.choiceCount !== 1) setAttribute(span, semconv.GEN_AI_REQUEST_CHOICE_COUNT, request.choiceCount)
  setAttribute(span, semconv.GEN_AI_REQUEST_REASONING_LEVEL, request.reasoningLevel)
  // The convention leaves the attribute unset for a call that does not stream.
  if (request.stream === true) setAttribute(span, semconv.GEN_AI_REQUEST_STREAM, true)
  setAttribute(span, semconv.GEN_AI_OUTPUT_TYPE, request.outputType)
}

const writeResponse = (span: Tracer.Span, settings: GenAiSettings, response: LlmResponse): void => {
  const loom = settings.convention === "loom"
  const usage = response.usage
  setAttribute(span, semconv.GEN_AI_RESPONSE_ID, response.id)
  setAttribute(span, semconv.GEN_AI_RESPONSE_MODEL, response.model)
  setAttribute(span, semconv.GEN_AI_RESPONSE_FINISH_REASONS, response.finishReasons)
  if (usage === undefined) return
  setAttribute(span, semconv.GEN_AI_USAGE_INPUT_TOKENS, usage.inputTokens)
  setAttribute(span, semconv.GEN_AI_USAGE_OUTPUT_TOKENS, usage.outputTokens)
  setAttribute(span, semconv.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, usage.cacheReadInputTokens)
  setAttribute(
    span,
    loom ? semconv.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS : semconv.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
    usage.cacheWriteInputTokens
  )
  setAttribute(span, semconv.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, usage.reasoningOutputTokens)
  if (loom) {
    setAttribute(span, semconv.LLM_PROMPT_TOKENS, usage.inputTokens)
    setAttribute(span, semconv.LLM_COMPLETION_TOKENS, usage.outputTokens)
  }
}

const addServer = (attributes: Attributes, server: ServerAddress | undefined): void => {
  if (server === undefined) return
  attributes[semconv.SERVER_ADDRESS] = server.address
  if (server.port !== undefined) attributes[semconv.SERVER_PORT] = server.port
}

const capturesOnSpan = (settings: GenAiSettings): boolean =>
  settings.capture === "SPAN_ONLY" || settings.capture === "SPAN_AND_EVENT"

// =============================================================================
// Model calls
// =============================================================================

/** What is known of a model call while it runs. */
class LlmCall {
  response: LlmResponse | undefined = undefined

  add(response: LlmResponse): void {
    const usage = { ...this.response?.usage, ...response.usage }
    this.response = { ...this.response, ...response, usage }
  }
}

/** Finds the call of a span from the effects inside it, under any tracer. */
const CurrentLlmCall = Context.Service<"LlmCall", LlmCall>("loom-tracing/LlmCall")

const llmSpanName = (options: LlmCallOptions, settings: GenAiSettings): string => {
  if (options.name !== undefined) return options.name
  if (settings.convention === "latest") return `${options.operation ?? "chat"} ${options.request.model}`
  return options.toolRound !== undefined && options.toolRound >= 1 ? "llm.tool_continuation" : "llm.call"
}

const llmStart = (options: LlmCallOptions): Attributes => {
  const start: Attributes = {
    [semconv.GEN_AI_OPERATION_NAME]: options.operation ?? "chat",
    [semconv.GEN_AI_PROVIDER_NAME]: options.provider,
    [semconv.GEN_AI_REQUEST_MODEL]: options.request.model
  }
  addServer(start, options.server)
  return start
}

const writeLlmCall = (span: Tracer.Span, options: LlmCallOptions, settings: GenAiSettings): void => {
  if (settings.convention === "loom") {
    setAttribute(span, semconv.GEN_AI_SYSTEM, options.provider)
    setAttribute(span, semconv.LLM_MODEL, options.request.model)
    setAttribute(span, semconv.LLM_MAX_TOKENS, options.request.maxTokens)
    setAttribute(span, semconv.LLM_HAS_TOOLS, options.hasTools)
    setAttribute(span, semconv.LLM_TOOL_ROUND, options.toolRound)
  }
  setAttribute(span, semconv.GEN_AI_CONVERSATION_ID, options.conversationId)
  writeRequest(span, options.request)
  setAttributes(span, options.attributes)
}

/** The content that a call was given, printed when it starts, since the caller may go on to change it. */
interface CapturedInput {
  system: string | undefined
  input: string | undefined
  tools: string | undefined
}

const captureInput = Effect.fnUntraced(function*(
  options: LlmCallOptions,
  settings: GenAiSettings,
  budget: ContentBudget,
  captured: CapturedInput
) {
  if (options.systemInstructions !== undefined) {
    captured.system = yield* captureContent(
      settings,
      budget,
      "system_instructions",
      options.systemInstructions,
      (text) => [{ type: "text", content: text }]
    )
  }
  if (options.input !== undefined) {
    captured.input = yield* captureContent(
      settings,
      budget,
      "input_messages",
      options.input,
      (messages) => normalizeMessages(messages, "user")
    )
  }
  if (options.toolDefinitions !== undefined) {
    captured.tools = yield* captureContent(
      settings,
      budget,
      "tool_definitions",
      options.toolDefinitions,
      (tools) => tools
    )
  }
})

/** Loom puts the prompt on the span as an event, as it was given. */
const recordLoomPrompt = Effect.fnUntraced(function*(
  span: Tracer.Span,
  options: LlmCallOptions,
  settings: GenAiSettings,
  budget: ContentBudget
) {
  if (options.input === undefined) return
  const prompt = yield* captureContent(settings, budget, "input_messages", options.input, (input) => input)
  if (prompt !== undefined) yield* addEvent(span, semconv.LOOM_PROMPT_EVENT, { [semconv.LOOM_PROMPT]: prompt })
})

const recordLoomCompletion = Effect.fnUntraced(function*(
  span: Tracer.Span,
  output: NonNullable<LlmResponse["output"]>,
  settings: GenAiSettings,
  budget: ContentBudget
) {
  const completion = yield* captureContent(settings, budget, "output_messages", output, textOf)
  if (completion !== undefined) {
    yield* addEvent(span, semconv.LOOM_COMPLETION_EVENT, { [semconv.LOOM_COMPLETION]: completion })
  }
})

const addEvent = (span: Tracer.Span, name: string, attributes: Record<string, unknown>): Effect.Effect<void> =>
  Effect.clockWith((clock) => Effect.sync(() => span.event(name, clock.currentTimeNanosUnsafe(), attributes)))

const withLlmSpanOptions = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  options: LlmSpanOptions<A>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    if (isTracingOff(fiber)) return self
    const settings = Context.get(fiber.context, GenAiSettings)
    const captures = capturesOnSpan(settings)
    const loom = settings.convention === "loom"
    const call = new LlmCall()
    const budget = new ContentBudget(captures ? settings.maxContentBytes : 0)
    const captured: CapturedInput = { system: undefined, input: undefined, tools: undefined }

    return traced(self, {
      name: llmSpanName(options, settings),
      kind: "client",
      start: llmStart(options),
      annotations: Context.make(CurrentLlmCall, call),
      begin: (span) => {
        writeLlmCall(span, options, settings)
        if (!captures) return undefined
        return loom
          ? recordLoomPrompt(span, options, settings, budget)
          : captureInput(options, settings, budget, captured)
      },
      finish: (span, exit) => {
        const problem = readResponse(call, options.response, exit)
        if (call.response !== undefined) writeResponse(span, settings, call.response)
        if (!captures) {
          if (exit._tag === "Failure") markSensitive(exit.cause, span)
          return problem
        }
        // Content comes last, so that an attribute limit drops it before anything else.
        setAttribute(span, semconv.GEN_AI_SYSTEM_INSTRUCTIONS, captured.system)
        setAttribute(span, semconv.GEN_AI_INPUT_MESSAGES, captured.input)
        setAttribute(span, semconv.GEN_AI_TOOL_DEFINITIONS, captured.tools)
        const output = call.response?.output
        if (output === undefined) return problem
        const record = loom
          ? recordLoomCompletion(span, output, settings, budget)
          : Effect.map(
            captureContent(
              settings,
              budget,
              "output_messages",
              output,
              (messages) => normalizeMessages(messages, "assistant")
            ),
            (messages) => setAttribute(span, semconv.GEN_AI_OUTPUT_MESSAGES, messages)
          )
        return problem === undefined ? record : Effect.andThen(problem, record)
      }
    })
  })

/** Asks the caller's function for the response. If that throws, says so once and leaves the rest as it is. */
const readResponse = <A, E>(
  call: LlmCall,
  response: ((value: A) => LlmResponse) | undefined,
  exit: Exit.Exit<A, E>
): Effect.Effect<void> | undefined => {
  if (response === undefined || exit._tag === "Failure") return undefined
  try {
    call.add(response(exit.value))
    return undefined
  } catch (error) {
    return reportOnce(
      response,
      "withLlmSpan: the `response` function has thrown; the span goes without a response",
      error
    )
  }
}

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
 * or on any span around it, since a provider's error can quote the prompt.
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
} = dual(2, withLlmSpanOptions)

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
      const call = Context.getOrUndefined(span.annotations, CurrentLlmCall)
      if (call !== undefined) {
        call.add(response)
        break
      }
      span = span._tag === "Span" ? Option.getOrUndefined(span.parent) : undefined
    }
    return Effect.void
  })

// =============================================================================
// Tools
// =============================================================================

/** The convention wants an object; a bare value is wrapped. */
const asObject = (key: string) => (value: unknown): unknown =>
  value === undefined || Predicate.isObject(value) ? value : { [key]: value }

const withToolSpanOptions = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  options: ToolSpanOptions<A>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    if (isTracingOff(fiber)) return self
    const settings = Context.get(fiber.context, GenAiSettings)
    const captures = capturesOnSpan(settings)
    const budget = new ContentBudget(captures ? settings.maxContentBytes : 0)
    const start: Attributes = {
      [semconv.GEN_AI_OPERATION_NAME]: "execute_tool",
      [semconv.GEN_AI_TOOL_NAME]: options.name
    }
    if (options.type !== undefined) start[semconv.GEN_AI_TOOL_TYPE] = options.type

    const capture = (span: Tracer.Span, kind: "tool_arguments" | "tool_result", key: string, value: Lazy<unknown>) =>
      Effect.map(
        captureContent(settings, budget, kind, value, asObject(kind === "tool_arguments" ? "input" : "output")),
        (content) => setAttribute(span, key, content)
      )

    return traced(self, {
      name: `execute_tool ${options.name}`,
      kind: "internal",
      start,
      begin: (span) => {
        setAttribute(span, semconv.GEN_AI_TOOL_CALL_ID, options.callId)
        setAttribute(span, semconv.GEN_AI_TOOL_DESCRIPTION, options.description)
        setAttributes(span, options.attributes)
        return captures && options.arguments !== undefined
          ? capture(span, "tool_arguments", semconv.GEN_AI_TOOL_CALL_ARGUMENTS, options.arguments)
          : undefined
      },
      finish: (span, exit) => {
        if (exit._tag === "Failure") {
          if (!captures) markSensitive(exit.cause, span)
          return undefined
        }
        if (!captures || options.result === undefined) return undefined
        const result = options.result
        return capture(span, "tool_result", semconv.GEN_AI_TOOL_CALL_RESULT, () => result(exit.value))
      }
    })
  })

/**
 * Runs an effect inside a span for a tool that a model has asked for.
 *
 * **Details**
 *
 * Follows "Execute tool" of the GenAI convention: `execute_tool {name}`, kind
 * `INTERNAL`. Arguments and result are recorded only when content is captured.
 *
 * **Example** (Tracing a tool)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withToolSpan } from "loom-tracing"
 *
 * const weather = Effect.succeed({ celsius: 21 }).pipe(
 *   withToolSpan({ name: "weather", callId: "call_1", arguments: { city: "Paris" }, result: (r) => r })
 * )
 *
 * Effect.runSync(weather) // => { celsius: 21 }
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withToolSpan: {
  (options: ToolSpanOptions<never> & { readonly result?: undefined }): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A>(options: ToolSpanOptions<NoInfer<A>>): <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <B>(options: ToolSpanOptions<B>): <A extends B, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: ToolSpanOptions<NoInfer<A>>): Effect.Effect<A, E, R>
} = dual(2, withToolSpanOptions)

// =============================================================================
// Agents
// =============================================================================

/**
 * Runs an effect inside a span for the invocation of an agent.
 *
 * **Details**
 *
 * Follows "Invoke agent" of the GenAI convention: `invoke_agent {name}`, kind
 * `CLIENT` for an agent in another service and `INTERNAL` for one in this
 * program, which has no provider. Usage belongs on the model calls inside; it
 * is not repeated here, so that nothing is counted twice.
 *
 * **Example** (Tracing an agent)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withAgentSpan } from "loom-tracing"
 *
 * const plan = Effect.succeed(["search", "write"]).pipe(withAgentSpan({ name: "planner" }))
 *
 * Effect.runSync(plan) // => ["search", "write"]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withAgentSpan: {
  (options: AgentSpanOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: AgentSpanOptions): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: AgentSpanOptions): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => {
      if (isTracingOff(fiber)) return self
      const settings = Context.get(fiber.context, GenAiSettings)
      const start: Attributes = { [semconv.GEN_AI_OPERATION_NAME]: "invoke_agent" }
      if (options.name !== undefined) start[semconv.GEN_AI_AGENT_NAME] = options.name
      if (options.remote === true && options.provider !== undefined) {
        start[semconv.GEN_AI_PROVIDER_NAME] = options.provider
      }
      if (options.request?.model !== undefined) start[semconv.GEN_AI_REQUEST_MODEL] = options.request.model

      return traced(self, {
        name: options.name === undefined ? "invoke_agent" : `invoke_agent ${options.name}`,
        kind: options.remote === true ? "client" : "internal",
        start,
        begin: (span) => {
          setAttribute(span, semconv.GEN_AI_AGENT_DESCRIPTION, options.description)
          // On an agent of this program, an id or version would name an instance, which the convention advises against.
          if (options.remote === true) {
            setAttribute(span, semconv.GEN_AI_AGENT_ID, options.id)
            setAttribute(span, semconv.GEN_AI_AGENT_VERSION, options.version)
          }
          setAttribute(span, semconv.GEN_AI_CONVERSATION_ID, options.conversationId)
          if (options.request !== undefined) writeRequest(span, options.request)
          setAttributes(span, options.attributes)
          return undefined
        },
        finish: (span, exit) => {
          if (exit._tag === "Failure" && !capturesOnSpan(settings)) markSensitive(exit.cause, span)
          return undefined
        }
      })
    })
)
