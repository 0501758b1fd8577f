/**
 * How GenAI spans are written: which convention they follow, and how much of a
 * conversation they may show.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import { identity } from "effect/Function"

/**
 * Where the content of a conversation is recorded, as in
 * `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`.
 *
 * @category models
 * @since 0.1.0
 */
export type ContentCapture = "NO_CONTENT" | "SPAN_ONLY" | "EVENT_ONLY" | "SPAN_AND_EVENT"

/**
 * A piece of content on its way to a span: what it is and its value.
 *
 * **Details**
 *
 * Messages, instructions, tools, documents and records are arrays in the
 * convention's own shape; arguments and results of tools are objects; a query
 * and an explanation are strings; variables are a record.
 *
 * @category models
 * @since 0.1.0
 */
export interface Content {
  readonly kind:
    | "system_instructions"
    | "input_messages"
    | "output_messages"
    | "tool_definitions"
    | "tool_arguments"
    | "tool_result"
    | "prompt_variables"
    | "retrieval_query"
    | "retrieval_documents"
    | "memory_query"
    | "memory_records"
    | "evaluation_explanation"
  readonly value: unknown
}

/**
 * The settings of GenAI spans.
 *
 * @category models
 * @since 0.1.0
 */
export interface GenAiSettings {
  /** `loom`: Loom's span names and attributes beside the current ones. `latest`: the current convention alone. */
  readonly convention: "loom" | "latest"
  /** Whether and where prompts, completions, tool arguments and tool results are recorded. */
  readonly capture: ContentCapture
  /**
   * Changes content before it is recorded. Content whose redaction throws or
   * fails is dropped. An effect is waited for, five seconds at most. Where it
   * is set, messages of errors are not recorded, since they could quote what
   * it would have changed.
   */
  readonly redact: (content: Content) => Content | Effect.Effect<Content, unknown>
  /** The most content that one span records, in bytes of UTF-8. An evaluation has as much again for its explanation. */
  readonly maxContentBytes: number
}

/**
 * The settings of GenAI spans, by default Loom's convention without content.
 *
 * **Details**
 *
 * `TracingLive` sets it from its `genAi` option and the environment. Under
 * another tracer, provide it yourself.
 *
 * **Example** (Following the current convention under a tracer of your own)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { GenAiSettings } from "loom-tracing"
 *
 * const program = Effect.updateService(
 *   Effect.map(GenAiSettings, (settings) => settings.convention),
 *   GenAiSettings,
 *   (settings) => ({ ...settings, convention: "latest" as const })
 * )
 *
 * Effect.runSync(program) // => "latest"
 * ```
 *
 * @category references
 * @since 0.1.0
 */
export const GenAiSettings: Context.Reference<GenAiSettings> = Context.Reference<GenAiSettings>(
  "loom-tracing/GenAiSettings",
  {
    defaultValue: (): GenAiSettings => ({
      convention: "loom",
      capture: "NO_CONTENT",
      redact: identity,
      maxContentBytes: 64 * 1024
    })
  }
)

/**
 * Settings with those of others in their place, where they say something.
 *
 * @internal
 */
export const mergeSettings = (
  settings: GenAiSettings,
  ...others: ReadonlyArray<{ readonly [K in keyof GenAiSettings]?: GenAiSettings[K] | undefined } | undefined>
): GenAiSettings =>
  others.reduce<GenAiSettings>((merged, other) => ({
    convention: other?.convention ?? merged.convention,
    capture: other?.capture ?? merged.capture,
    redact: other?.redact ?? merged.redact,
    maxContentBytes: other?.maxContentBytes ?? merged.maxContentBytes
  }), settings)
