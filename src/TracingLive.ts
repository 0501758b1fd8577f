/**
 * The live layer: spans are recorded by the OpenTelemetry SDK and exported over
 * OTLP gRPC.
 *
 * @since 0.1.0
 */
import type { AttributeValue, TracerProvider } from "@opentelemetry/api"
import type { Sampler, SpanExporter, SpanProcessor } from "@opentelemetry/sdk-trace-base"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Formatter from "effect/Formatter"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { GenAiSettings } from "./GenAiSettings.ts"
import { noopContext } from "./Tracing.ts"

// =============================================================================
// Errors
// =============================================================================

/**
 * An option of the live layer that cannot be used: which one, what it was, and
 * what it should be.
 *
 * **Example** (Naming the option)
 *
 * ```ts
 * import { InvalidOption } from "loom-tracing"
 *
 * const { message } = new InvalidOption({ option: "endpoint", value: "here", expected: "a URL" })
 *
 * message // => "makeTracingLive: option \"endpoint\" is \"here\", expected a URL"
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidOption extends Schema.TaggedError<InvalidOption>()("InvalidOption", {
  option: Schema.String,
  value: Schema.Unknown,
  expected: Schema.String
}) {
  override get message(): string {
    return `makeTracingLive: option "${this.option}" is ${describe(this.value)}, expected ${this.expected}`
  }
}

/**
 * The collector has not answered the trial export that `verify` asks for.
 *
 * **Example** (Going on without a collector)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { makeTracingLive } from "loom-tracing"
 *
 * const TracingLive = makeTracingLive({ endpoint: "http://127.0.0.1:1", verify: true })
 * const outcome = Effect.void.pipe(
 *   Effect.provide(TracingLive),
 *   Effect.catchTag("TracingConfigError", ({ reason }) => Effect.succeed(reason._tag))
 * )
 *
 * await Effect.runPromise(outcome) // => "CollectorUnreachable"
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class CollectorUnreachable extends Schema.TaggedError<CollectorUnreachable>()("CollectorUnreachable", {
  endpoint: Schema.String,
  /** What went wrong, in one line. */
  problem: Schema.String
}) {
  override get message(): string {
    return `The collector at ${this.endpoint} cannot be reached: ${this.problem}. ` +
      "Check that it is running and takes OTLP there, or leave out `verify`."
  }
}

/**
 * Why the live layer could not be built. Only options can cause it: a wrong
 * environment variable is a warning.
 *
 * **Example** (Telling what is wrong)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { makeTracingLive } from "loom-tracing"
 *
 * const outcome = Effect.void.pipe(
 *   Effect.provide(makeTracingLive({ endpoint: "not a URL" })),
 *   Effect.catchTag("TracingConfigError", ({ reason }) => Effect.succeed(reason._tag))
 * )
 *
 * await Effect.runPromise(outcome) // => "InvalidOption"
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class TracingConfigError extends Schema.TaggedError<TracingConfigError>()("TracingConfigError", {
  reason: Schema.Union([InvalidOption, CollectorUnreachable])
}) {
  override get message(): string {
    return this.reason.message
  }
}

const describe = (value: unknown): string => Predicate.isFunction(value) ? "a function" : Formatter.format(value)

// =============================================================================
// Options
// =============================================================================

/**
 * The options of the live layer. An option beats the environment, and the
 * environment beats the default.
 *
 * @category options
 * @since 0.1.0
 */
export interface TracingOptions {
  /** `service.name` of the resource. Default: `OTEL_SERVICE_NAME`. */
  readonly serviceName?: string | undefined
  /** `service.version` of the resource. */
  readonly serviceVersion?: string | undefined
  /** Further attributes of the resource, above those of `OTEL_RESOURCE_ATTRIBUTES`. */
  readonly resourceAttributes?: Readonly<Record<string, AttributeValue>> | undefined
  /**
   * Where spans go: a collector, the terminal, nowhere, or an exporter of your own. Default: `OTEL_TRACES_EXPORTER`,
   * else `"otlp"`.
   */
  readonly exporter?: "otlp" | "console" | "none" | SpanExporter | undefined
  /**
   * The collector's address. Default: `OTEL_EXPORTER_OTLP_ENDPOINT`, else `http://localhost:4317`. Over HTTP
   * `/v1/traces` is added to its path, and the default is port 4318.
   */
  readonly endpoint?: string | undefined
  /** Headers of every request to the collector, above those of `OTEL_EXPORTER_OTLP_HEADERS`. */
  readonly headers?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
  /** Span processors beside the exporter's own. They are shut down with the layer. */
  readonly spanProcessors?: ReadonlyArray<SpanProcessor> | undefined
  /** Which spans are recorded. Default: `OTEL_TRACES_SAMPLER`, else all whose parent is. */
  readonly sampler?: Sampler | undefined
  /** The keys of baggage members that become attributes of every span, under the same name. Default: none. */
  readonly baggageAttributes?: ReadonlyArray<string> | undefined
  /**
   * Somebody else's provider (Sentry's, a `NodeSDK`'s), or whichever is registered globally: spans are recorded there.
   * It is never shut down by this layer, and has its own exporter, sampler and resource.
   */
  readonly provider?: TracerProvider | "global" | undefined
  /**
   * Also makes the provider, the propagators and a context manager those of `@opentelemetry/api`, so that libraries
   * instrumented for OpenTelemetry nest under the right span. Undone on release; what is registered already stays.
   * Default: false.
   */
  readonly global?: boolean | undefined
  /**
   * Sends the collector an empty export while the layer is built, and fails if it is not taken. An exporter of your own
   * is not tried. Default: false.
   */
  readonly verify?: boolean | undefined
  /**
   * Also exports the program's Effect metrics over OTLP gRPC, and has GenAI spans record the convention's. Default:
   * whether `OTEL_METRICS_EXPORTER` has `otlp`.
   */
  readonly metrics?: boolean | undefined
  /** How GenAI spans are written. */
  readonly genAi?: Partial<GenAiSettings> | undefined
  /** The most spans that wait to be exported. Default: `OTEL_BSP_MAX_QUEUE_SIZE`, else 131,072. */
  readonly maxQueueSize?: number | undefined
  /** The most bytes, by estimate, that waiting spans may take. Default: 128 MiB. */
  readonly maxQueueBytes?: number | undefined
  /** How long a span waits at most for its batch to fill. Default: `OTEL_BSP_SCHEDULE_DELAY`, else 5 seconds. */
  readonly exportInterval?: Duration.Input | undefined
  /** How long release and `flush` may take. Default: 5 seconds. */
  readonly shutdownTimeout?: Duration.Input | undefined
}

// =============================================================================
// Layers
// =============================================================================

const loadLayer = Effect.tryPromise(() => import("./internal/liveLayer.ts"))

/**
 * Makes a live layer with options of your own.
 *
 * **When to use**
 *
 * Use at the edge of a program, when the environment alone does not say enough.
 *
 * **Details**
 *
 * The layer owns its tracer provider and sets nothing global unless `global`
 * or `OTEL_LOG_LEVEL` asks for it. Releasing it
 * exports what has ended, within `shutdownTimeout`, and never turns a program
 * that has succeeded into one that has failed. What could not be exported is
 * told in one warning, with its number.
 *
 * Without the OpenTelemetry packages it logs one warning that names them and
 * behaves as `TracingNoop`; so it does, silently, under `OTEL_SDK_DISABLED=true`.
 *
 * **Example** (Naming the service)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { makeTracingLive } from "loom-tracing"
 *
 * const TracingLive = makeTracingLive({ serviceName: "planner", exporter: "none" })
 * const program = Effect.succeed(42).pipe(Effect.withSpan("answer"), Effect.provide(TracingLive))
 *
 * await Effect.runPromise(program) // => 42
 * ```
 *
 * @see {@link TracingLive} for the layer that only the environment configures
 *
 * @category layers
 * @since 0.1.0
 */
export const makeTracingLive = (options: TracingOptions = {}): Layer.Layer<never, TracingConfigError> =>
  Layer.effectContext(
    Effect.matchEffect(loadLayer, {
      onSuccess: ({ build }) => build(options),
      // A bundle that has left the file behind costs the traces, not the program.
      onFailure: ({ cause }) =>
        Effect.as(Effect.logWarning(`Tracing is off: the live layer could not be loaded (${cause})`), noopContext)
    })
  )

/**
 * The live layer, configured by the environment alone. It cannot fail.
 *
 * **When to use**
 *
 * Use at the edge of a program: `Effect.provide(TracingLive)`.
 *
 * **Details**
 *
 * What has ended is exported when the layer is released: at the end of the
 * effect that it is provided to, on SIGINT and SIGTERM under
 * `NodeRuntime.runMain`, and when a `ManagedRuntime` is disposed. A program that
 * just runs out of work, with a runtime that nobody disposes, exports before it
 * ends. Between the invocations of a serverless function nothing ends, so
 * `Tracing.flush` is for there.
 *
 * **Gotchas**
 *
 * `process.exit` ends the process at once, and so does a signal that nobody
 * handles: what has not been exported is lost, without a word. Set
 * `process.exitCode` and return instead, let `NodeRuntime.runMain` exit, or await
 * the `dispose` of the `ManagedRuntime` first.
 *
 * **Example** (Leaving with an exit code)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { TracingLive } from "loom-tracing"
 *
 * const job = Effect.succeed({ failed: 0 }).pipe(Effect.withSpan("job"))
 *
 * export const main = async () => {
 *   const { failed } = await Effect.runPromise(job.pipe(Effect.provide(TracingLive)))
 *   process.exitCode = failed === 0 ? 0 : 1
 * }
 * ```
 *
 * @see {@link makeTracingLive} for a layer with options
 *
 * @category layers
 * @since 0.1.0
 */
export const TracingLive: Layer.Layer<never> = Layer.orDie(makeTracingLive())
