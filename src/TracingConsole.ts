/**
 * Traces in the terminal: the embedded default for development.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import { makeTracingLive } from "./TracingLive.ts"

/**
 * Prints each finished trace as a tree, with the time of every span on one
 * scale, the model and tokens of LLM calls, and errors.
 *
 * **When to use**
 *
 * Use while developing, when no collector is at hand.
 *
 * **Details**
 *
 * Traces go to standard output, or to the `Console` of Effect that the layer is
 * provided with, as a program needs that speaks on its output: a command that
 * prints JSON, or a server of MCP. Colours are used on a terminal that has them;
 * `NO_COLOR` turns them off.
 * Sampling, resource and limits follow the environment as in `TracingLive`.
 *
 * **Example** (Seeing what a program does)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { TracingConsole, withToolSpan } from "loom-tracing"
 *
 * const program = Effect.succeed(42).pipe(withToolSpan({ name: "answer" }))
 *
 * await Effect.runPromise(program.pipe(Effect.provide(TracingConsole))) // => 42
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const TracingConsole: Layer.Layer<never> = Layer.orDie(makeTracingLive({ exporter: "console" }))
