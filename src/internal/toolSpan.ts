import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { toolDuration } from "../GenAiMetrics.ts"
import type { ToolSpanOptions } from "../GenAiTools.ts"
import { addDefined, type AgentRun, GenAiSpan } from "./genAi.ts"
import * as semconv from "./semconv.ts"
import type { Attributes } from "./startAttributes.ts"

/**
 * The span of one execution of a tool.
 *
 * @internal
 */
export class ToolSpan<A, E> extends GenAiSpan<A, E> {
  readonly name: string
  private readonly options: ToolSpanOptions<A>

  constructor(fiber: Fiber.Fiber<unknown, unknown>, options: ToolSpanOptions<A>) {
    super(fiber, "execute_tool", "internal")
    this.options = options
    this.name = `execute_tool ${options.name}`
    this.start[semconv.GEN_AI_TOOL_NAME] = options.name
    addDefined(this.start, semconv.GEN_AI_TOOL_TYPE, options.type)
    if (this.session.run !== undefined) this.session.run.toolCalls++
  }

  /** Whether it is a tool of this run of an agent, and not of another one around or inside it. */
  isOf(run: AgentRun): boolean {
    return this.session.run === run
  }

  protected writeStart(): void {
    this.set(semconv.GEN_AI_TOOL_CALL_ID, this.options.callId)
    this.set(semconv.GEN_AI_TOOL_DESCRIPTION, this.options.description)
    this.setSession()
    this.setAll(this.options.attributes)
  }

  protected override captureStart(): Effect.Effect<void> | undefined {
    return this.captureToolArguments(this.options.arguments)
  }

  protected override captureEnd(exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    return this.captureToolResult(exit, this.options.result)
  }

  protected override measure(seconds: number, error: string | undefined): void {
    const attributes: Attributes = { [semconv.GEN_AI_TOOL_NAME]: this.options.name }
    addDefined(attributes, semconv.GEN_AI_TOOL_TYPE, this.options.type)
    addDefined(attributes, semconv.GEN_AI_AGENT_NAME, this.session.agentName)
    addDefined(attributes, semconv.ERROR_TYPE, error)
    toolDuration.record(seconds, attributes, this.context)
  }
}
