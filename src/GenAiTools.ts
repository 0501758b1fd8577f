/**
 * Spans for the tools that a model asks a program to run.
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
import { normalizeObject } from "./GenAiContent.ts"
import { toolDuration } from "./GenAiMetrics.ts"
import { addStart, CurrentTool, GenAiSpan, type OpenString, withGenAiSpan } from "./internal/genAi.ts"
import * as semconv from "./internal/semconv.ts"
import type { Attributes } from "./internal/startAttributes.ts"

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
  /** What the tool is given: a value or a function that makes it, recorded only when content is captured. */
  readonly arguments?: unknown
  /** The result of the tool, recorded only when content is captured. */
  readonly result?: ((value: A) => unknown) | undefined
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

class ToolSpan<A, E> extends GenAiSpan<A, E> {
  readonly name: string
  private readonly options: ToolSpanOptions<A>

  constructor(fiber: Fiber.Fiber<unknown, unknown>, options: ToolSpanOptions<A>) {
    super(fiber, "execute_tool", "internal")
    this.options = options
    this.name = `execute_tool ${options.name}`
    this.start[semconv.GEN_AI_TOOL_NAME] = options.name
    addStart(this.start, semconv.GEN_AI_TOOL_TYPE, options.type)
    this.annotations = Context.make(CurrentTool, options.name)
    if (this.session.run !== undefined) this.session.run.toolCalls++
  }

  protected writeStart(): void {
    this.set(semconv.GEN_AI_TOOL_CALL_ID, this.options.callId)
    this.set(semconv.GEN_AI_TOOL_DESCRIPTION, this.options.description)
    this.setSession()
    this.setAll(this.options.attributes)
  }

  protected override captureStart(): Effect.Effect<void> | undefined {
    return this.capture(
      "tool_arguments",
      semconv.GEN_AI_TOOL_CALL_ARGUMENTS,
      this.options.arguments,
      normalizeObject("input")
    )
  }

  protected override captureEnd(exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    const { result } = this.options
    if (result === undefined || exit._tag === "Failure") return undefined
    return this.capture(
      "tool_result",
      semconv.GEN_AI_TOOL_CALL_RESULT,
      () => result(exit.value),
      normalizeObject("output"),
      result
    )
  }

  protected override measure(seconds: number, error: string | undefined): void {
    const attributes: Attributes = { [semconv.GEN_AI_TOOL_NAME]: this.options.name }
    addStart(attributes, semconv.GEN_AI_TOOL_TYPE, this.options.type)
    addStart(attributes, semconv.GEN_AI_AGENT_NAME, this.session.agentName)
    addStart(attributes, semconv.ERROR_TYPE, error)
    toolDuration.record(seconds, attributes, this.context)
  }
}

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
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: ToolSpanOptions<A>): Effect.Effect<A, E, R> =>
    withGenAiSpan(self, (fiber) => new ToolSpan<A, E>(fiber, options))
)
