/**
 * Spans for the tools that a model asks a program to run.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { type OpenString, withGenAiSpan } from "./internal/genAi.ts"
import { ToolSpan } from "./internal/toolSpan.ts"

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

/**
 * Runs an effect inside a span for a tool that a model has asked for.
 *
 * **Details**
 *
 * Follows "Execute tool" of the GenAI convention: `execute_tool {name}`, kind
 * `INTERNAL`. Arguments and result are recorded only when content is captured.
 *
 * What `Toolkit.handle` of `effect/ai` writes of a tool's arguments on the span
 * that is current stays off this one, as off every GenAI span. It is known by its
 * names: while the effect runs, `parameters` is not written beside a `tool`.
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
