/**
 * Spans for what surrounds model calls: agents, their creation, plans and
 * workflows.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import type { GenAiProvider, LlmRequest, LlmResponse, ServerAddress } from "./GenAi.ts"
import type { ChatMessage, Lazy, MessagePart, OutputMessage, ToolDefinition } from "./GenAiContent.ts"
import { agentDuration, agentInferenceCalls, agentToolCalls, instrumentsOf } from "./GenAiMetrics.ts"
import {
  addDefined,
  addServer,
  AgentRun,
  CurrentSession,
  GenAiSpan,
  readResult,
  withGenAiSpan
} from "./internal/genAi.ts"
import * as semconv from "./internal/semconv.ts"
import type { Attributes } from "./internal/startAttributes.ts"

// =============================================================================
// Models
// =============================================================================

/**
 * The options of {@link withAgentSpan}.
 *
 * @category options
 * @since 0.1.0
 */
export interface AgentSpanOptions<A = unknown> {
  /** A name of low cardinality. */
  readonly name?: string | undefined
  /** The stable id of a hosted agent, never that of an instance in memory. */
  readonly id?: string | undefined
  readonly description?: string | undefined
  readonly version?: string | undefined
  readonly conversationId?: string | undefined
  /** What the agent draws its knowledge from. */
  readonly dataSourceId?: string | undefined
  readonly provider?: GenAiProvider | undefined
  readonly request?: Partial<LlmRequest> | undefined
  /** Whether the agent runs in another service. Then the span is a `CLIENT` one, else `INTERNAL`. */
  readonly remote?: boolean | undefined
  /** Of the service that runs a remote agent. */
  readonly server?: ServerAddress | undefined
  readonly input?: Lazy<string | ReadonlyArray<ChatMessage>> | undefined
  readonly systemInstructions?: Lazy<string | ReadonlyArray<MessagePart>> | undefined
  readonly toolDefinitions?: Lazy<ReadonlyArray<ToolDefinition>> | undefined
  /** Reads the answer: finish reasons, output and, if no model call inside has told it, usage. */
  readonly response?: ((value: A) => LlmResponse) | undefined
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

/**
 * The options of {@link withCreateAgentSpan}.
 *
 * @category options
 * @since 0.1.0
 */
export interface CreateAgentSpanOptions<A> {
  readonly provider: GenAiProvider
  readonly name?: string | undefined
  readonly id?: string | undefined
  readonly description?: string | undefined
  readonly version?: string | undefined
  readonly request?: { readonly model?: string | undefined } | undefined
  readonly server?: ServerAddress | undefined
  readonly systemInstructions?: Lazy<string | ReadonlyArray<MessagePart>> | undefined
  /** What the service says of the agent that it has made. */
  readonly result?:
    | ((value: A) => {
      readonly id?: string | undefined
      readonly version?: string | undefined
    })
    | undefined
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

/**
 * The options of {@link withWorkflowSpan}.
 *
 * @category options
 * @since 0.1.0
 */
export interface WorkflowSpanOptions<A> {
  /** A name of low cardinality. */
  readonly name?: string | undefined
  readonly conversationId?: string | undefined
  readonly input?: Lazy<string | ReadonlyArray<ChatMessage>> | undefined
  readonly output?: ((value: A) => string | ReadonlyArray<OutputMessage>) | undefined
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

/**
 * The options of {@link withPlanSpan}.
 *
 * @category options
 * @since 0.1.0
 */
export interface PlanSpanOptions {
  /** Who plans. Default: the agent that is running. */
  readonly agentName?: string | undefined
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

// =============================================================================
// Agents
// =============================================================================

class AgentSpan<A, E> extends GenAiSpan<A, E> {
  readonly name: string
  private readonly options: AgentSpanOptions<A>
  private readonly run: AgentRun
  private response: LlmResponse | undefined = undefined

  constructor(fiber: Fiber.Fiber<unknown, unknown>, options: AgentSpanOptions<A>) {
    super(fiber, "invoke_agent", options.remote === true ? "client" : "internal")
    this.options = options
    this.name = options.name === undefined ? "invoke_agent" : `invoke_agent ${options.name}`
    this.run = new AgentRun(this.session.run)
    this.inside = Context.make(CurrentSession, {
      conversationId: options.conversationId ?? this.session.conversationId,
      agentName: options.name ?? this.session.agentName,
      run: this.run
    })
    addDefined(this.start, semconv.GEN_AI_AGENT_NAME, options.name)
    addDefined(this.start, semconv.GEN_AI_REQUEST_MODEL, options.request?.model)
    // An agent of this program has no provider: its model calls have.
    if (options.remote === true) {
      addDefined(this.start, semconv.GEN_AI_PROVIDER_NAME, options.provider)
      addServer(this.start, options.server)
    }
  }

  protected writeStart(): void {
    const { options } = this
    this.set(semconv.GEN_AI_AGENT_DESCRIPTION, options.description)
    // On an agent of this program, an id or version would name an instance, which the convention advises against.
    if (options.remote === true) {
      this.set(semconv.GEN_AI_AGENT_ID, options.id)
      this.set(semconv.GEN_AI_AGENT_VERSION, options.version)
    }
    this.set(semconv.GEN_AI_CONVERSATION_ID, options.conversationId ?? this.session.conversationId)
    this.set(semconv.GEN_AI_DATA_SOURCE_ID, options.dataSourceId)
    if (options.request !== undefined) this.setRequest(options.request)
    this.setAll(options.attributes)
  }

  protected override captureStart(): Effect.Effect<void> | undefined {
    const { options } = this
    return this.inOrder(
      this.captureInstructions(options.systemInstructions),
      this.captureInput(options.input),
      this.captureToolDefinitions(options.toolDefinitions)
    )
  }

  protected override writeEnd(exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    return readResult(this.options.response, exit, "The `response` function", (response) => {
      this.response = response
      this.setResponse({ finishReasons: response.finishReasons })
      // What the calls inside have told already would be counted twice.
      if (response.usage === undefined || this.run.hasUsage) return
      const { cacheReadInputTokens, cacheWriteInputTokens, inputTokens, outputTokens } = response.usage
      // Since 2026-10-07 an agent of this program tells the totals alone.
      this.setUsage(
        this.options.remote === true || this.settings.convention === "loom"
          ? { inputTokens, outputTokens, cacheReadInputTokens, cacheWriteInputTokens }
          : { inputTokens, outputTokens }
      )
      this.run.addUsage()
    })
  }

  protected override captureEnd(): Effect.Effect<void> | undefined {
    return this.captureOutput(this.response?.output)
  }

  protected override measure(seconds: number, error: string | undefined): void {
    const { options } = this
    if (options.remote === true) {
      const { [semconv.GEN_AI_AGENT_NAME]: _, ...attributes } = this.start
      this.recordClientDuration(seconds, error, attributes)
      return
    }
    const agent: Attributes = {}
    addDefined(agent, semconv.GEN_AI_AGENT_NAME, options.name)
    agentInferenceCalls.record(this.run.inferenceCalls, agent, this.context)
    agentToolCalls.record(this.run.toolCalls, agent, this.context)
    const attributes = { ...agent }
    addDefined(attributes, semconv.GEN_AI_REQUEST_MODEL, options.request?.model)
    addDefined(attributes, semconv.ERROR_TYPE, error)
    agentDuration.record(seconds, attributes, this.context)
  }
}

/**
 * Runs an effect inside a span for the invocation of an agent.
 *
 * **Details**
 *
 * Follows "Invoke agent" of the GenAI convention: `invoke_agent {name}`, kind
 * `CLIENT` for an agent in another service and `INTERNAL` for one in this
 * program, which has no provider.
 *
 * Its name and conversation id reach every GenAI span inside. Usage belongs on
 * the model calls inside; if there are any, it is not repeated here, so that
 * nothing is counted twice.
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
  (options: AgentSpanOptions<never> & { readonly response?: undefined }): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A>(options: AgentSpanOptions<NoInfer<A>>): <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <B>(options: AgentSpanOptions<B>): <A extends B, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: AgentSpanOptions<NoInfer<A>>): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: AgentSpanOptions<A>): Effect.Effect<A, E, R> =>
    withGenAiSpan(self, (fiber) => new AgentSpan<A, E>(fiber, options))
)

class CreateAgentSpan<A, E> extends GenAiSpan<A, E> {
  readonly name: string
  private readonly options: CreateAgentSpanOptions<A>

  constructor(fiber: Fiber.Fiber<unknown, unknown>, options: CreateAgentSpanOptions<A>) {
    super(fiber, "create_agent", "client")
    this.options = options
    this.name = options.name === undefined ? "create_agent" : `create_agent ${options.name}`
    this.start[semconv.GEN_AI_PROVIDER_NAME] = options.provider
    addDefined(this.start, semconv.GEN_AI_AGENT_NAME, options.name)
    addDefined(this.start, semconv.GEN_AI_REQUEST_MODEL, options.request?.model)
    addServer(this.start, options.server)
  }

  protected writeStart(): void {
    const { options } = this
    this.set(semconv.GEN_AI_AGENT_ID, options.id)
    this.set(semconv.GEN_AI_AGENT_DESCRIPTION, options.description)
    this.set(semconv.GEN_AI_AGENT_VERSION, options.version)
    this.set(semconv.GEN_AI_CONVERSATION_ID, this.session.conversationId)
    this.setAll(options.attributes)
  }

  protected override captureStart(): Effect.Effect<void> | undefined {
    return this.captureInstructions(this.options.systemInstructions)
  }

  protected override writeEnd(exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    return readResult(this.options.result, exit, "The `result` function", (agent) => {
      this.set(semconv.GEN_AI_AGENT_ID, agent.id)
      this.set(semconv.GEN_AI_AGENT_VERSION, agent.version)
    })
  }

  protected override measure(seconds: number, error: string | undefined): void {
    const { [semconv.GEN_AI_AGENT_NAME]: _, ...attributes } = this.start
    this.recordClientDuration(seconds, error, attributes)
  }
}

/**
 * Runs an effect inside a span for the creation of an agent in a service that
 * hosts agents.
 *
 * **Details**
 *
 * Follows "Create agent" of the GenAI convention: `create_agent {name}`, kind
 * `CLIENT`.
 *
 * **Example** (Creating an assistant)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withCreateAgentSpan } from "loom-tracing"
 *
 * const assistant = Effect.succeed({ id: "asst_1" }).pipe(
 *   withCreateAgentSpan({
 *     provider: "openai",
 *     name: "tutor",
 *     request: { model: "gpt-4o" },
 *     result: (assistant) => ({ id: assistant.id })
 *   })
 * )
 *
 * Effect.runSync(assistant).id // => "asst_1"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withCreateAgentSpan: {
  (options: CreateAgentSpanOptions<never> & { readonly result?: undefined }): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A>(options: CreateAgentSpanOptions<NoInfer<A>>): <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <B>(options: CreateAgentSpanOptions<B>): <A extends B, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: CreateAgentSpanOptions<NoInfer<A>>): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: CreateAgentSpanOptions<A>): Effect.Effect<A, E, R> =>
    withGenAiSpan(self, (fiber) => new CreateAgentSpan<A, E>(fiber, options))
)

// =============================================================================
// Plans and workflows
// =============================================================================

class PlanSpan<A, E> extends GenAiSpan<A, E> {
  readonly name: string
  private readonly options: PlanSpanOptions
  private readonly agentName: string | undefined

  constructor(fiber: Fiber.Fiber<unknown, unknown>, options: PlanSpanOptions) {
    super(fiber, "plan", "internal")
    this.options = options
    this.agentName = options.agentName ?? this.session.agentName
    this.name = this.agentName === undefined ? "plan" : `plan ${this.agentName}`
    addDefined(this.start, semconv.GEN_AI_AGENT_NAME, this.agentName)
  }

  protected writeStart(): void {
    this.set(semconv.GEN_AI_CONVERSATION_ID, this.session.conversationId)
    this.setAll(this.options.attributes)
  }
}

/**
 * Runs an effect inside a span for an agent's planning.
 *
 * **When to use**
 *
 * Use around the model call that decides what to do next. The tools that it
 * asks for belong beside this span, not inside.
 *
 * **Details**
 *
 * Follows "Plan" of the GenAI convention: `plan {agent}`, kind `INTERNAL`.
 *
 * **Example** (Planning)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withAgentSpan, withPlanSpan } from "loom-tracing"
 *
 * const steps = Effect.succeed(["search"]).pipe(withPlanSpan({}), withAgentSpan({ name: "researcher" }))
 *
 * Effect.runSync(steps) // => ["search"]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withPlanSpan: {
  (options: PlanSpanOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: PlanSpanOptions): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: PlanSpanOptions): Effect.Effect<A, E, R> =>
    withGenAiSpan(self, (fiber) => new PlanSpan<A, E>(fiber, options))
)

class WorkflowSpan<A, E> extends GenAiSpan<A, E> {
  readonly name: string
  private readonly options: WorkflowSpanOptions<A>

  constructor(fiber: Fiber.Fiber<unknown, unknown>, options: WorkflowSpanOptions<A>) {
    super(fiber, "invoke_workflow", "internal")
    this.options = options
    this.name = options.name === undefined ? "invoke_workflow" : `invoke_workflow ${options.name}`
    addDefined(this.start, semconv.GEN_AI_WORKFLOW_NAME, options.name)
    if (options.conversationId !== undefined) {
      this.inside = Context.make(CurrentSession, { ...this.session, conversationId: options.conversationId })
    }
  }

  protected writeStart(): void {
    this.setSession(this.options.conversationId)
    this.setAll(this.options.attributes)
  }

  protected override captureStart(): Effect.Effect<void> | undefined {
    return this.captureInput(this.options.input)
  }

  protected override captureEnd(exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    const { output } = this.options
    if (output === undefined || exit._tag === "Failure") return undefined
    return this.captureOutput(() => output(exit.value), output)
  }

  protected override measure(seconds: number, error: string | undefined): void {
    const attributes: Attributes = {}
    addDefined(attributes, semconv.GEN_AI_WORKFLOW_NAME, this.options.name)
    addDefined(attributes, semconv.ERROR_TYPE, error)
    instrumentsOf(this.settings.convention).workflowDuration.record(seconds, attributes, this.context)
  }
}

/**
 * Runs an effect inside a span for a workflow of several agents or model calls,
 * whose course the program decides.
 *
 * **Details**
 *
 * Follows "Invoke workflow" of the GenAI convention: `invoke_workflow {name}`,
 * kind `INTERNAL`. Usage belongs on the model calls inside.
 *
 * **Example** (Tracing a pipeline)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withAgentSpan, withWorkflowSpan } from "loom-tracing"
 *
 * const draft = Effect.succeed("draft").pipe(withAgentSpan({ name: "writer" }))
 * const report = draft.pipe(withWorkflowSpan({ name: "report" }))
 *
 * Effect.runSync(report) // => "draft"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withWorkflowSpan: {
  (options: WorkflowSpanOptions<never> & { readonly output?: undefined }): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A>(options: WorkflowSpanOptions<NoInfer<A>>): <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <B>(options: WorkflowSpanOptions<B>): <A extends B, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: WorkflowSpanOptions<NoInfer<A>>): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: WorkflowSpanOptions<A>): Effect.Effect<A, E, R> =>
    withGenAiSpan(self, (fiber) => new WorkflowSpan<A, E>(fiber, options))
)
