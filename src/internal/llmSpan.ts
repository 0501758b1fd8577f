import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { identity } from "effect/Function"
import * as Predicate from "effect/Predicate"
import type * as Tracer from "effect/Tracer"
import type { LlmCallOptions, LlmResponse } from "../GenAi.ts"
import { type Lazy, textOf } from "../GenAiContent.ts"
import { instrumentsOf, recordTokens } from "../GenAiMetrics.ts"
import { addServer, both, GenAiSpan, readResult } from "./genAi.ts"
import { defined } from "./providers/read.ts"
import { reportOnce } from "./reportOnce.ts"
import * as semconv from "./semconv.ts"
import { type Attributes, SpanSource } from "./startAttributes.ts"

/**
 * The span of one call to a model.
 *
 * @internal
 */
export class LlmSpan<A, E> extends GenAiSpan<A, E> {
  readonly name: string
  protected readonly options: LlmCallOptions
  protected response: LlmResponse | undefined = undefined
  private readonly readResponse: ((value: A) => LlmResponse) | undefined

  constructor(
    fiber: Fiber.Fiber<unknown, unknown>,
    options: LlmCallOptions,
    readResponse?: ((value: A) => LlmResponse) | undefined
  ) {
    super(fiber, options.operation ?? "chat", "client")
    this.options = options
    this.readResponse = readResponse
    this.name = options.name ?? (this.settings.convention === "latest"
      ? `${options.operation ?? "chat"} ${options.request.model}`
      : options.toolRound !== undefined && options.toolRound >= 1
      ? "llm.tool_continuation"
      : "llm.call")
    this.start[semconv.GEN_AI_PROVIDER_NAME] = options.provider
    this.start[semconv.GEN_AI_REQUEST_MODEL] = options.request.model
    addServer(this.start, options.server)
    if (this.session.run !== undefined) this.session.run.inferenceCalls++
  }

  /** Adds to what is known of the answer. What is said twice counts as said last. */
  add(response: LlmResponse): void {
    if (this.response === undefined) {
      this.response = response
      return
    }
    const { response: before } = this
    this.response = {
      ...before,
      ...defined(response),
      usage: { ...before.usage, ...defined(response.usage ?? {}) },
      usageByModality: { ...before.usageByModality, ...defined(response.usageByModality ?? {}) },
      openai: { ...before.openai, ...defined(response.openai ?? {}) }
    }
  }

  /** Whether anything is known of the answer. */
  get isAnswered(): boolean {
    return this.response !== undefined && Object.keys(this.response).length > 0
  }

  protected override get capturesAsLoomDoes(): boolean {
    return this.settings.convention === "loom"
  }

  protected override get detailsEvent(): string {
    return semconv.GEN_AI_OPERATION_DETAILS_EVENT
  }

  protected writeStart(): void {
    const { options } = this
    const { request } = options
    if (this.settings.convention === "loom") {
      this.set(semconv.GEN_AI_SYSTEM, options.provider)
      this.set(semconv.LLM_MODEL, request.model)
      this.set(semconv.LLM_MAX_TOKENS, request.maxTokens)
      this.set(semconv.LLM_HAS_TOOLS, options.hasTools)
      this.set(semconv.LLM_TOOL_ROUND, options.toolRound)
    }
    this.setSession(options.conversationId)
    this.setRequest(request)
    if (options.prompt !== undefined) {
      this.set(semconv.GEN_AI_PROMPT_NAME, options.prompt.name)
      this.set(semconv.GEN_AI_PROMPT_VERSION, options.prompt.version)
    }
    this.setProvider()
    this.setAll(options.attributes)
  }

  private setProvider(): void {
    const { awsBedrock, openai, provider } = this.options
    if (openai !== undefined) {
      this.set(semconv.OPENAI_API_TYPE, openai.apiType)
      // "auto" is what a request without a tier means.
      if (openai.serviceTier !== "auto") this.set(semconv.OPENAI_REQUEST_SERVICE_TIER, openai.serviceTier)
    }
    if (awsBedrock !== undefined) {
      this.set(semconv.AWS_BEDROCK_GUARDRAIL_ID, awsBedrock.guardrailId)
      this.set(semconv.AWS_BEDROCK_KNOWLEDGE_BASE_ID, awsBedrock.knowledgeBaseId)
    }
    if (provider === "azure.ai.inference") {
      this.set(semconv.AZURE_RESOURCE_PROVIDER_NAMESPACE, "Microsoft.CognitiveServices")
    }
  }

  // Content is taken when the call starts, since the caller may go on to change its messages.
  protected override captureStart(): Effect.Effect<void> | undefined {
    const { options } = this
    const input = this.madeOnce(options.input)
    return this.inOrder(
      this.captureInstructions(options.systemInstructions),
      this.captureInput(input),
      this.captureToolDefinitions(options.toolDefinitions),
      this.captureVariables(options.prompt?.variables),
      // Loom records the prompt as it was given.
      this.capturesOnSpan && this.capturesAsLoomDoes
        ? this.captureEvent("input_messages", semconv.LOOM_PROMPT_EVENT, semconv.LOOM_PROMPT, input, identity)
        : undefined
    )
  }

  /**
   * Content that is recorded in Loom's form beside the convention's is made
   * once. It is redacted in each of them, since a redactor sees what is recorded.
   */
  private madeOnce<T extends string | object>(lazy: Lazy<T> | undefined): Lazy<T> | undefined {
    if (!Predicate.isFunction(lazy) || !this.capturesOnSpan || !this.capturesAsLoomDoes || this.details === undefined) {
      return lazy
    }
    try {
      return (lazy as () => T)()
    } catch {
      // Throws again where that is reported.
      return lazy
    }
  }

  protected override writeEnd(exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    const problem = readResult(this.readResponse, exit, "The `response` function", (response) => this.add(response))
    return both(problem, this.writeResponse())
  }

  /** Writes what is known of the answer. It comes from the caller, and may throw where it is looked at. */
  protected writeResponse(): Effect.Effect<void> | undefined {
    try {
      this.setAnswer()
      return undefined
    } catch (error) {
      this.response = undefined
      return reportOnce(this.readResponse ?? LlmSpan, "A response could not be read; the span goes without it", error)
    }
  }

  private setAnswer(): void {
    const { response } = this
    if (response === undefined) return
    this.setResponse(response)
    // Values of providers may hold `null` where a type says that they do not.
    if (Predicate.isNullish(response.usage)) return
    this.setUsage(response.usage, response.usageByModality)
    if (this.settings.convention === "loom") {
      this.setCount(semconv.LLM_PROMPT_TOKENS, response.usage.inputTokens)
      this.setCount(semconv.LLM_COMPLETION_TOKENS, response.usage.outputTokens)
    }
    if (response.usage.inputTokens !== undefined || response.usage.outputTokens !== undefined) {
      this.session.run?.addUsage()
    }
  }

  protected override captureEnd(): Effect.Effect<void> | undefined {
    const output = this.madeOnce(this.response?.output)
    return this.inOrder(
      this.captureOutput(output),
      this.capturesOnSpan && this.capturesAsLoomDoes
        ? this.captureEvent("output_messages", semconv.LOOM_COMPLETION_EVENT, semconv.LOOM_COMPLETION, output, textOf)
        : undefined
    )
  }

  /** What tells the series of a metric apart. */
  protected get metricAttributes(): Attributes {
    const model = this.response?.model
    return Predicate.isString(model) ? { ...this.start, [semconv.GEN_AI_RESPONSE_MODEL]: model } : this.start
  }

  protected override measure(seconds: number, error: string | undefined): void {
    const { convention } = this.settings
    const attributes = this.metricAttributes
    instrumentsOf(convention).inferenceDuration.record(
      seconds,
      error === undefined ? attributes : { ...attributes, [semconv.ERROR_TYPE]: error },
      this.context
    )
    if (Predicate.isNotNullish(this.response?.usage)) {
      const { usage, usageByModality } = this.response
      recordTokens(convention, usage, usageByModality ?? {}, attributes, this.context)
    }
  }
}

/**
 * The model call that a span was made for, under any tracer.
 *
 * @internal
 */
export const llmCallOf = (span: Tracer.AnySpan): LlmSpan<unknown, unknown> | undefined => {
  const source = Context.getOrUndefined(span.annotations, SpanSource)
  return source instanceof LlmSpan ? source : undefined
}
