/**
 * What somebody, or another model, thinks of an answer.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import { captureContent, ContentBudget, type Lazy } from "./GenAiContent.ts"
import { GenAiSettings } from "./GenAiSettings.ts"
import { recordEvent } from "./internal/genAi.ts"
import { llmCallOf } from "./internal/llmSpan.ts"
import { isTracingOff } from "./internal/off.ts"
import { reportOnce } from "./internal/reportOnce.ts"
import * as semconv from "./internal/semconv.ts"

/**
 * The result of an evaluation.
 *
 * @category models
 * @since 0.1.0
 */
export interface Evaluation {
  /** What was evaluated, such as `relevance`. */
  readonly name: string
  readonly score?: {
    readonly value?: number | undefined
    /** One of few words, such as `pass`. */
    readonly label?: string | undefined
  } | undefined
  /** Why. It may quote the answer, so it is recorded only when content is captured. */
  readonly explanation?: Lazy<string> | undefined
  /** The response that was evaluated, where the evaluation comes after its span has ended. */
  readonly responseId?: string | undefined
  /** Why the evaluation has failed, if it has. */
  readonly errorType?: string | undefined
}

/** The span of the model call that is running, or else the current one. */
const evaluatedSpan = (current: Tracer.AnySpan | undefined): Tracer.Span | undefined => {
  let span = current
  while (span?._tag === "Span") {
    if (llmCallOf(span) !== undefined && span.status._tag === "Started") return span
    span = Option.getOrUndefined(span.parent)
  }
  return current?._tag === "Span" ? current : undefined
}

const record = (
  context: Context.Context<never>,
  span: Tracer.Span,
  evaluation: Evaluation
): Effect.Effect<void> => {
  const settings = Context.get(context, GenAiSettings)
  const attributes: Record<string, unknown> = { [semconv.GEN_AI_EVALUATION_NAME]: evaluation.name }
  const set = (key: string, value: unknown): void => {
    if (value !== undefined && value !== null) attributes[key] = value
  }
  set(semconv.GEN_AI_EVALUATION_SCORE_VALUE, evaluation.score?.value)
  set(semconv.GEN_AI_EVALUATION_SCORE_LABEL, evaluation.score?.label)
  set(semconv.GEN_AI_RESPONSE_ID, evaluation.responseId)
  set(semconv.ERROR_TYPE, evaluation.errorType)
  const recorded = Effect.sync(() =>
    recordEvent(span, Context.get(context, Clock.Clock), semconv.GEN_AI_EVALUATION_RESULT_EVENT, attributes)
  )
  const { explanation } = evaluation
  if (explanation === undefined || settings.capture === "NO_CONTENT" || !span.sampled) return recorded
  const budget = new ContentBudget(settings.maxContentBytes)
  budget.release()
  const captured = captureContent(
    settings,
    "evaluation_explanation",
    explanation,
    identity,
    (content) => set(semconv.GEN_AI_EVALUATION_EXPLANATION, budget.print(content, 1))
  )
  return captured === undefined ? recorded : Effect.andThen(captured, recorded)
}

/**
 * Records the result of an evaluation, as the event `gen_ai.evaluation.result`.
 *
 * **When to use**
 *
 * Use inside the span of the model call that is evaluated. Where that has ended,
 * use it in the span that evaluates, with `responseId`.
 *
 * **Example** (Scoring an answer)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { recordEvaluation, withLlmSpan } from "loom-tracing"
 *
 * const answer = Effect.succeed("Paris").pipe(
 *   Effect.tap((text) =>
 *     recordEvaluation({ name: "exact_match", score: { value: text === "Paris" ? 1 : 0, label: "pass" } })
 *   ),
 *   withLlmSpan({ provider: "openai", request: { model: "gpt-4o" } })
 * )
 *
 * Effect.runSync(answer) // => "Paris"
 * ```
 *
 * @category events
 * @since 0.1.0
 */
export const recordEvaluation = (evaluation: Evaluation): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const span = isTracingOff(fiber) ? undefined : evaluatedSpan(fiber.cache.span)
    if (span === undefined) return Effect.void
    try {
      return record(fiber.context, span, evaluation)
    } catch (error) {
      return reportOnce(record, "An evaluation could not be read; it is left out", error) ?? Effect.void
    }
  })
