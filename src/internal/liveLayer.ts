/**
 * What the live layer is built from. A file of its own, which is loaded when a
 * layer is built: a program that only imports the package does without it.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { Propagators } from "../Carrier.ts"
import { GenAiMetrics } from "../GenAiMetrics.ts"
import { GenAiSettings, mergeSettings } from "../GenAiSettings.ts"
import { noopContext, Tracing } from "../Tracing.ts"
import { CollectorUnreachable, InvalidOption, TracingConfigError, type TracingOptions } from "../TracingLive.ts"
import { captureModes, isHeader, type OtelEnv, parseEndpoint, readOtelEnv } from "./otelEnv.ts"
import type { SdkSettings } from "./sdk.ts"
import { PACKAGE_NAME, PACKAGE_VERSION } from "./version.ts"
import { withoutUser } from "./withoutUser.ts"

// =============================================================================
// Options
// =============================================================================

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
    (value) => Predicate.isString(value) && Option.isSome(parseEndpoint(value)),
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
  "@opentelemetry/core@2.12.0",
  "@opentelemetry/otlp-transformer@0.223.0",
  "@opentelemetry/resources@2.12.0",
  "@opentelemetry/sdk-trace-base@2.12.0",
  "@opentelemetry/sdk-trace-node@2.12.0"
]

const reportNotLoaded = (cause: unknown): Effect.Effect<undefined> =>
  Effect.as(
    Effect.logWarning(
      `Tracing is off: the OpenTelemetry SDK could not be loaded (${messageOf(cause)}). ` +
        `Install it with: npm install ${SDK_PACKAGES.join(" ")}`
    ),
    undefined
  )

const loadSdk = Effect.tryPromise(() => import("./sdk.ts")).pipe(
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

/** @internal */
export const build = Effect.fnUntraced(function*(
  options: TracingOptions
): Effect.fn.Return<Context.Context<never>, TracingConfigError, Scope.Scope> {
  yield* checkOptions(options)
  const env = yield* readOtelEnv
  for (const warning of env.warnings) yield* Effect.logWarning(warning)

  const exportsMetrics = options.metrics ?? env.metrics.exporters?.includes("otlp") ?? false
  const references = yield* makeReferences(options, env, exportsMetrics)
  const off = Context.merge(noopContext, references)
  if (env.disabled) return off
  const sdk = yield* loadSdk
  if (sdk === undefined) return off
  const useless = uselessOptions(options, exportsMetrics)
  if (useless.length > 0) {
    yield* Effect.logWarning(
      `provider: it decides for itself what ${useless.map((option) => `\`${option}\``).join(", ")} would say. ` +
        "Set it there, or leave out `provider`."
    )
  }

  // Reports come from timers and callbacks of the SDK; they go to the loggers of the program.
  const context = yield* Effect.context<never>()
  const log = Effect.runForkWith(Context.omit(Tracer.ParentSpan)(context))
  const report = (message: string) => {
    log(Effect.logWarning(message))
  }
  const live = yield* sdk.makeSdk(toSdkSettings(options, env, references, exportsMetrics, report)).pipe(
    Effect.catchTag("NotLoaded", (error) => reportNotLoaded(error.cause)),
    // A sampler, processor or exporter that throws while it is set up costs the traces, not the program.
    Effect.catchDefect((defect) =>
      Effect.as(Effect.logWarning(`Tracing is off: it could not be set up (${messageOf(defect)})`), undefined)
    )
  )
  if (live === undefined) return off
  if (options.verify === true) {
    yield* Effect.mapError(
      live.verify,
      ({ endpoint, problem }) => new TracingConfigError({ reason: new CollectorUnreachable({ endpoint, problem }) })
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
