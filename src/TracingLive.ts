/**
 * The live layer: spans are recorded by the OpenTelemetry SDK and exported over
 * OTLP gRPC.
 *
 * @since 0.1.0
 */
import type { AttributeValue, TracerProvider } from "@opentelemetry/api"
import type { Sampler, SpanExporter, SpanProcessor } from "@opentelemetry/sdk-trace-base"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Formatter from "effect/Formatter"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { Propagators } from "./Carrier.ts"
import { GenAiMetrics } from "./GenAiMetrics.ts"
import { GenAiSettings, mergeSettings } from "./GenAiSettings.ts"
import { captureModes, isEndpoint, isHeader, type OtelEnv, readOtelEnv } from "./internal/otelEnv.ts"
import type { SdkSettings } from "./internal/sdk.ts"
import { PACKAGE_NAME, PACKAGE_VERSION } from "./internal/version.ts"
import { warn } from "./internal/warn.ts"
import { withoutUser } from "./internal/withoutUser.ts"
import { noopContext, Tracing } from "./Tracing.ts"

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
 * The collector has not taken the trial export that `verify` asks for: it
 * cannot be reached, or has refused it.
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
  /** What went wrong, in one line, with what helps where that is known. */
  problem: Schema.String,
  /** Whether the collector has answered. */
  refused: Schema.optional(Schema.Boolean)
}) {
  override get message(): string {
    if (this.refused === true) {
      return `The collector at ${this.endpoint} refused the trial export: ${this.problem}. ` +
        "Without `verify` the layer is built all the same."
    }
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
   * `/v1/traces` is added to its path, and the default is port 4318. Over gRPC it may be a target as gRPC names them,
   * such as `unix:/run/otel.sock`, for which as for a bare `host:port` `OTEL_EXPORTER_OTLP_INSECURE` turns TLS off.
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

type Check = (value: unknown) => boolean

const isNonEmptyString: Check = (value) => Predicate.isString(value) && value.trim() !== ""
const isPositiveInteger: Check = (value) => Number.isSafeInteger(value) && (value as number) > 0
const hasMethod = (name: string): Check => (value) =>
  Predicate.hasProperty(value, name) && Predicate.isFunction(value[name])
const isDuration: Check = (value) =>
  Option.exists(
    Option.flatten(Option.liftThrowable(() => Duration.fromInput(value as Duration.Input))()),
    (duration) => Duration.isFinite(duration) && Duration.toMillis(duration) >= 0
  )
const isHeaders: Check = (value) =>
  Predicate.isObject(value) && Object.entries(value).every(([name, header]) => isHeader(name, reveal(header)))

const reveal = (header: unknown): unknown => Redacted.isRedacted(header) ? Redacted.value(header) : header

const headersOf = (headers: TracingOptions["headers"]): Record<string, string> =>
  Object.fromEntries(Object.entries(headers ?? {}).map(([name, header]) => [name, reveal(header) as string]))

const checks: Record<Exclude<keyof TracingOptions, "headers">, readonly [Check, expected: string]> = {
  serviceName: [isNonEmptyString, "a string that is not empty"],
  serviceVersion: [isNonEmptyString, "a string that is not empty"],
  resourceAttributes: [Predicate.isObject, "a record of attributes"],
  exporter: [
    (value) => value === "otlp" || value === "console" || value === "none" || hasMethod("export")(value),
    "\"otlp\", \"console\", \"none\" or a SpanExporter"
  ],
  endpoint: [
    (value) => Predicate.isString(value) && isEndpoint(value),
    "a URL such as http://localhost:4317"
  ],
  spanProcessors: [(value) => Array.isArray(value) && value.every(hasMethod("onEnd")), "an array of span processors"],
  sampler: [hasMethod("shouldSample"), "a Sampler"],
  baggageAttributes: [
    (value) => Array.isArray(value) && value.every(isNonEmptyString),
    "an array of baggage keys"
  ],
  provider: [
    (value) => value === "global" || hasMethod("getTracer")(value),
    "a TracerProvider, or \"global\""
  ],
  global: [Predicate.isBoolean, "true or false"],
  verify: [Predicate.isBoolean, "true or false"],
  metrics: [Predicate.isBoolean, "true or false"],
  genAi: [Predicate.isObject, "an object with GenAI settings"],
  maxQueueSize: [isPositiveInteger, "a whole number of spans, 1 or more"],
  maxQueueBytes: [isPositiveInteger, "a whole number of bytes, 1 or more"],
  exportInterval: [isDuration, "a finite duration, such as \"5 seconds\""],
  shutdownTimeout: [isDuration, "a finite duration, such as \"5 seconds\""]
}

const genAiChecks: Record<keyof GenAiSettings, readonly [Check, expected: string]> = {
  convention: [(value) => value === "loom" || value === "latest", "\"loom\" or \"latest\""],
  capture: [
    (value) => captureModes.some((mode) => mode === value),
    captureModes.map((mode) => `"${mode}"`).join(", ")
  ],
  redact: [Predicate.isFunction, "a function from content to content"],
  maxContentBytes: [isPositiveInteger, "a whole number of bytes, 1 or more"]
}

/** The first of the values that is not what it has to be. */
const findInvalid = (
  values: object,
  checks: Readonly<Record<string, readonly [Check, expected: string]>>,
  prefix = ""
): InvalidOption | undefined => {
  for (const [key, [check, expected]] of Object.entries(checks)) {
    const value = (values as Readonly<Record<string, unknown>>)[key]
    if (value === undefined || check(value)) continue
    const shown = key === "endpoint" && Predicate.isString(value) ? withoutUser(value) : value
    return new InvalidOption({ option: prefix + key, value: shown, expected })
  }
  return undefined
}

const checkOptions = Effect.fnUntraced(function*(options: TracingOptions) {
  const invalid = findInvalid(options, checks) ?? findInvalid(options.genAi ?? {}, genAiChecks, "genAi.")
  if (invalid !== undefined) return yield* new TracingConfigError({ reason: invalid })
  if (options.headers !== undefined && !isHeaders(options.headers)) {
    return yield* new TracingConfigError({
      reason: new InvalidOption({
        option: "headers",
        // A header may be a credential.
        value: "<redacted>",
        expected: "a record of printable ASCII strings under gRPC metadata names"
      })
    })
  }
})

// =============================================================================
// Layers
// =============================================================================

/** With versions: the registry's latest are of another major, which this package does not go with. */
const SDK_PACKAGES = [
  "@grpc/grpc-js@1",
  "@opentelemetry/api@1.9",
  "@opentelemetry/core@2.12.1",
  "@opentelemetry/resources@2.12.1",
  "@opentelemetry/sdk-trace-base@2.12.1",
  "@opentelemetry/sdk-trace-node@2.12.1"
]

const reportNotLoaded = (cause: unknown): Effect.Effect<undefined> =>
  Effect.as(
    warn(
      `Tracing is off: the OpenTelemetry SDK could not be loaded (${messageOf(cause)}). ` +
        `Install it with: npm install ${SDK_PACKAGES.join(" ")}`
    ),
    undefined
  )

const loadSdk = Effect.tryPromise(() => import("./internal/sdk.ts")).pipe(
  Effect.catch((error) => reportNotLoaded(error.cause))
)

const messageOf = (error: unknown): string => (Predicate.isError(error) ? error.message : String(error)).split("\n")[0]

/** A timer that is given more milliseconds than this fires at once. */
const MAX_TIMEOUT = 2 ** 31 - 1

const millisOf = (input: Duration.Input | undefined): number | undefined =>
  input === undefined ? undefined : Math.min(Duration.toMillis(Duration.fromInputUnsafe(input)), MAX_TIMEOUT)

/** What somebody else's provider decides for itself. */
const OWN_PROVIDER_OPTIONS = [
  "exporter",
  "spanProcessors",
  "sampler",
  "verify",
  "maxQueueSize",
  "maxQueueBytes",
  "exportInterval"
] as const

/** Options that metrics have a use for even where the spans go somewhere else. */
const OWN_EXPORT_OPTIONS = ["endpoint", "headers", "serviceName", "serviceVersion", "resourceAttributes"] as const

/** Options that were given for nothing. */
const uselessOptions = (options: TracingOptions, exportsMetrics: boolean): ReadonlyArray<string> =>
  options.provider === undefined
    ? []
    : [...OWN_PROVIDER_OPTIONS, ...exportsMetrics ? [] : OWN_EXPORT_OPTIONS].filter((option) =>
      options[option] !== undefined
    )

/** What the combinators are told. */
const makeReferences = Effect.fnUntraced(function*(options: TracingOptions, env: OtelEnv, exportsMetrics: boolean) {
  const propagators: Propagators = env.propagators === undefined ? yield* Propagators : {
    tracecontext: env.propagators.includes("tracecontext"),
    baggage: env.propagators.includes("baggage")
  }
  return Context.empty().pipe(
    Context.add(GenAiSettings, mergeSettings(yield* GenAiSettings, env.genAi, options.genAi)),
    Context.add(Propagators, propagators),
    Context.add(GenAiMetrics, exportsMetrics || (yield* GenAiMetrics))
  )
})

const toSdkSettings = (
  options: TracingOptions,
  env: OtelEnv,
  references: Context.Context<never>,
  exportsMetrics: boolean,
  report: (message: string) => void
): SdkSettings => ({
  env,
  serviceName: options.serviceName,
  serviceVersion: options.serviceVersion,
  resourceAttributes: options.resourceAttributes ?? {},
  exporters: options.exporter === undefined ? env.exporters ?? ["otlp"] : [options.exporter],
  endpoint: options.endpoint,
  headers: headersOf(options.headers),
  spanProcessors: options.spanProcessors ?? [],
  sampler: options.sampler,
  baggageAttributes: options.baggageAttributes ?? [],
  provider: options.provider,
  global: options.global ?? false,
  propagators: Context.get(references, Propagators),
  metrics: exportsMetrics,
  maxQueueSize: options.maxQueueSize,
  maxQueueBytes: options.maxQueueBytes,
  exportInterval: millisOf(options.exportInterval),
  shutdownTimeout: millisOf(options.shutdownTimeout) ?? 5000,
  report
})

const build = Effect.fnUntraced(function*(
  options: TracingOptions
): Effect.fn.Return<Context.Context<never>, TracingConfigError, Scope.Scope> {
  yield* checkOptions(options)
  const env = yield* readOtelEnv
  for (const warning of env.warnings) yield* warn(warning)

  const exportsMetrics = options.metrics ?? env.metrics.exporters?.includes("otlp") ?? false
  const references = yield* makeReferences(options, env, exportsMetrics)
  const off = Context.merge(noopContext, references)
  if (env.disabled) return off
  const sdk = yield* loadSdk
  if (sdk === undefined) return off
  const useless = uselessOptions(options, exportsMetrics)
  if (useless.length > 0) {
    yield* warn(
      `provider: it decides for itself what ${useless.map((option) => `\`${option}\``).join(", ")} would say. ` +
        "Set it there, or leave out `provider`."
    )
  }

  // Reports come from timers and callbacks of the SDK; they go to the loggers of the program.
  const context = yield* Effect.context<never>()
  const log = Effect.runForkWith(Context.omit(Tracer.ParentSpan)(context))
  const report = (message: string) => {
    log(warn(message))
  }
  const live = yield* sdk.makeSdk(toSdkSettings(options, env, references, exportsMetrics, report)).pipe(
    Effect.catchTag("NotLoaded", (error) => reportNotLoaded(error.cause)),
    // A sampler, processor or exporter that throws while it is set up costs the traces, not the program.
    Effect.catchDefect((defect) =>
      Effect.as(warn(`Tracing is off: it could not be set up (${messageOf(defect)})`), undefined)
    )
  )
  if (live === undefined) return off
  if (options.verify === true) {
    yield* Effect.mapError(
      live.verify,
      ({ endpoint, problem, refused }) =>
        new TracingConfigError({ reason: new CollectorUnreachable({ endpoint, problem, refused }) })
    )
  }
  const { tracing } = live
  // Every span looks several things up, and a merged context is a map, where one that was added to is a list.
  return Context.merge(
    references,
    Context.add(
      Context.make(Tracing, tracing),
      Tracer.Tracer,
      tracing.tracer({ name: PACKAGE_NAME, version: PACKAGE_VERSION })
    )
  )
})

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
  Layer.effectContext(build(options))

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
