/**
 * What loads the OpenTelemetry SDK for the live layer. `TracingLive` imports it
 * dynamically, so that a program without the SDK, or without tracing, never
 * pays for it.
 *
 * @internal
 */
import * as Otel from "@opentelemetry/api"
import { ExportResultCode } from "@opentelemetry/core"
import {
  defaultResource,
  detectResources,
  hostDetector,
  osDetector,
  processDetector,
  type Resource,
  resourceFromAttributes,
  serviceInstanceIdDetector
} from "@opentelemetry/resources"
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  type SpanExporter,
  type SpanLimits,
  type SpanProcessor,
  TraceIdRatioBasedSampler
} from "@opentelemetry/sdk-trace-base"
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import { basename } from "node:path"
import type { Propagators } from "../Carrier.ts"
import type { ExportStats, Tracing } from "../Tracing.ts"
import { onBeforeExit } from "./beforeExit.ts"
import { ConsoleProcessor, detectColors } from "./consoleProcessor.ts"
import { describe, explain, isRefusal } from "./exportFailure.ts"
import { isGrpcTarget } from "./grpcTarget.ts"
import { makeLiveTracers, reportThrown } from "./liveTracer.ts"
import { setNoopHook } from "./noopTracer.ts"
import { hasContextManager } from "./otelContext.ts"
import { addDiagnostics } from "./otelDiagnostics.ts"
import type { OtelEnv, OtlpEnv } from "./otelEnv.ts"
import { registerGlobal } from "./otelGlobal.ts"
import { sendableHeaders } from "./otlpHeaders.ts"
import { generateSpanId, generateTraceId } from "./randomIds.ts"
import { SpanQueue } from "./spanQueue.ts"
import { SpanStart } from "./spanStart.ts"
import { UserProcessor } from "./userProcessor.ts"
import { PACKAGE_NAME, PACKAGE_VERSION } from "./version.ts"
import { withoutUser } from "./withoutUser.ts"

const DEFAULT_GRPC_ENDPOINT = "http://localhost:4317"
const DEFAULT_HTTP_ENDPOINT = "http://localhost:4318"
const MAX_QUEUE_BYTES = 128 * 1024 * 1024
/** Below the 4 MiB that a collector accepts in one message, as the estimate is not exact. */
const MAX_BATCH_BYTES = 3 * 1024 * 1024

/** What the live layer has made of its options and the environment. Durations are in milliseconds. */
export interface SdkSettings {
  readonly env: OtelEnv
  readonly serviceName: string | undefined
  readonly serviceVersion: string | undefined
  readonly resourceAttributes: Readonly<Record<string, Otel.AttributeValue>>
  readonly exporters: ReadonlyArray<"otlp" | "console" | "none" | SpanExporter>
  readonly endpoint: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly spanProcessors: ReadonlyArray<SpanProcessor>
  readonly sampler: Sampler | undefined
  readonly baggageAttributes: ReadonlyArray<string>
  readonly metrics: boolean
  /** Somebody else's provider to record on; it stays theirs. */
  readonly provider: Otel.TracerProvider | "global" | undefined
  readonly global: boolean
  readonly propagators: Propagators
  readonly maxQueueSize: number | undefined
  readonly maxQueueBytes: number | undefined
  readonly exportInterval: number | undefined
  readonly shutdownTimeout: number
  readonly report: (message: string) => void
}

const makeSampler = (env: OtelEnv): Sampler => {
  switch (env.sampler) {
    case "always_on":
      return new AlwaysOnSampler()
    case "always_off":
      return new AlwaysOffSampler()
    case "traceidratio":
      return new TraceIdRatioBasedSampler(env.samplerRatio)
    case "parentbased_always_on":
      return new ParentBasedSampler({ root: new AlwaysOnSampler() })
    case "parentbased_always_off":
      return new ParentBasedSampler({ root: new AlwaysOffSampler() })
    case "parentbased_traceidratio":
      return new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(env.samplerRatio) })
  }
}

// Every limit is given, so that the SDK does not look at `process.env` behind the back of `Config`.
const makeLimits = ({ limits }: OtelEnv): SpanLimits => ({
  attributeCountLimit: limits.attributeCount ?? 128,
  attributeValueLengthLimit: limits.attributeLength ?? Infinity,
  eventCountLimit: limits.eventCount ?? 128,
  linkCountLimit: limits.linkCount ?? 128,
  attributePerEventCountLimit: limits.attributesPerEvent ?? 128,
  attributePerLinkCountLimit: limits.attributesPerLink ?? 128
})

const DETECTORS = {
  host: hostDetector,
  os: osDetector,
  process: processDetector,
  serviceinstance: serviceInstanceIdDetector
} as const

/** None by default: what the process was started with may hold a secret. */
const detect = (env: OtelEnv): Resource => {
  const wanted = env.resourceDetectors ?? []
  const names = wanted.includes("all")
    ? Object.keys(DETECTORS) as Array<keyof typeof DETECTORS>
    : wanted.filter((name): name is keyof typeof DETECTORS => name in DETECTORS)
  return detectResources({ detectors: wanted.includes("none") ? [] : names.map((name) => DETECTORS[name]) })
}

/** An attribute that is an option beats the environment too. An empty one counts as unset, as a variable does. */
const serviceNameOf = ({ env, resourceAttributes, serviceName }: SdkSettings): Otel.AttributeValue | undefined =>
  [serviceName, resourceAttributes["service.name"], env.serviceName, env.resourceAttributes["service.name"]]
    .filter(Predicate.isNotNullish)
    .find((name) => !Predicate.isString(name) || name.trim() !== "")

/** OpenTelemetry's own is the whole path where the program was started by one. */
const defaultServiceName = (): string => `unknown_service:${basename(process.execPath)}`

const makeResource = (settings: SdkSettings): Resource =>
  defaultResource().merge(detect(settings.env)).merge(resourceFromAttributes({
    ...settings.env.resourceAttributes,
    ...settings.resourceAttributes,
    "service.name": serviceNameOf(settings) ?? defaultServiceName(),
    ...(settings.serviceVersion === undefined ? undefined : { "service.version": settings.serviceVersion })
  }))

const grpcEndpoint = (settings: SdkSettings): string =>
  settings.endpoint ?? settings.env.traces.ownEndpoint ?? settings.env.traces.endpoint ?? DEFAULT_GRPC_ENDPOINT

/** By the specification, the path belongs to the endpoint of traces alone and is added to that of all signals. */
const httpEndpoint = ({ endpoint, env: { traces } }: SdkSettings): string => {
  if (traces.ownEndpoint !== undefined && endpoint === undefined) return traces.ownEndpoint
  const given = endpoint ?? traces.endpoint ?? DEFAULT_HTTP_ENDPOINT
  if (isGrpcTarget(given)) return given
  const [, base, query] = /^(.*?)\/?(\?.*)?$/s.exec(given)!
  return `${base}/v1/traces${query ?? ""}`
}

/** Tells of what will not work before the first export fails of it. */
const diagnoseEndpoint = (
  endpoint: string,
  protocol: "gRPC" | "HTTP",
  { insecure }: OtlpEnv,
  report: SdkSettings["report"]
): void => {
  if (isGrpcTarget(endpoint)) {
    if (protocol === "gRPC") return
    report(`The endpoint ${endpoint} is one for gRPC, but HTTP is spoken. Set OTEL_EXPORTER_OTLP_PROTOCOL=grpc.`)
    return
  }
  const [ours, theirs] = protocol === "gRPC" ? ["4317", "4318"] : ["4318", "4317"]
  const [, scheme, port] = /^(\w+:\/\/)?[^/]*?(?::(\d+))?(?:\/.*)?$/.exec(endpoint) ?? []
  const shown = withoutUser(endpoint)
  const remedy = `A collector takes ${protocol} on port ${ours}, as a rule.`
  if (port === theirs) {
    report(
      `The endpoint ${shown} has the port of OTLP over ${protocol === "gRPC" ? "HTTP" : "gRPC"}, ` +
        `but ${protocol} is spoken. ${remedy}`
    )
  } else if (port === undefined && scheme?.toLowerCase() === "http://") {
    report(`The endpoint ${shown} has no port, so 80 is used. ${remedy}`)
  }
  if (scheme === undefined && (insecure === undefined || protocol === "HTTP")) {
    report(`The endpoint ${shown} has no scheme, so TLS is used. Write http:// in front of it for none.`)
  }
}

/** The last of several that differ in case counts. */
const headersOf = (settings: SdkSettings, env: OtlpEnv): Record<string, string> => ({
  ...env.headers,
  ...settings.headers
})

/** Those that can be sent. */
const headersFor = (
  settings: SdkSettings,
  env: OtlpEnv,
  protocol: "gRPC" | "HTTP",
  endpoint: string
): Record<string, string> => sendableHeaders(headersOf(settings, env), protocol, endpoint, settings.report)

/** Collectors and proxies may quote a credential that they refuse, whole or in part: no message of ours repeats it. */
const hideHeaders = (settings: SdkSettings): (message: string) => string => {
  const { metrics, traces } = settings.env
  const secrets = [traces, metrics].flatMap((env) => Object.values(headersOf(settings, env)))
    .flatMap((value) => value.split(" "))
    .filter((secret) => secret !== "")
  const isPart = (word: string, secret: string) => {
    for (let at = 0; at + SECRET_LENGTH <= word.length; at++) {
      if (secret.includes(word.slice(at, at + SECRET_LENGTH))) return true
    }
    // A short one is hidden where it stands alone, but for quotes and full stops. One that is shorter than any
    // credential would hide our own words and numbers.
    return secret.length >= MIN_SECRET_LENGTH && secret.length < SECRET_LENGTH &&
      word.replaceAll(/^\W+|\W+$/g, "") === secret
  }
  const isSecret = (word: string) => secrets.some((secret) => isPart(word, secret))
  return (message) => message.split(" ").map((word) => isSecret(word) ? "<redacted>" : word).join(" ")
}

/** So many characters of a credential are no accident. */
const SECRET_LENGTH = 8
const MIN_SECRET_LENGTH = 4

/** Where spans go, and how it is called in a message. */
interface Target {
  readonly endpoint: string
  readonly exporter: SpanExporter & { readonly cancel: () => void }
}

/** A package that the settings ask for could not be loaded. @internal */
export class NotLoaded extends Data.TaggedError("NotLoaded")<{ readonly cause: unknown }> {}

/** Loads modules where the settings ask for them: an exporter with what it needs is a fifth of the start. */
const load = <A>(modules: () => Promise<A>): Effect.Effect<A, NotLoaded> =>
  Effect.tryPromise({ try: modules, catch: (cause) => new NotLoaded({ cause }) })

const loadGrpcTarget = (settings: SdkSettings): Effect.Effect<() => Target, NotLoaded> =>
  Effect.map(
    load(() => Promise.all([import("./otlpGrpcExporter.ts"), import("./grpcConnection.ts")])),
    ([{ OtlpGrpcExporter }, { makeGrpcConnection }]) => () => {
      const endpoint = grpcEndpoint(settings)
      const { report, env: { traces } } = settings
      diagnoseEndpoint(endpoint, "gRPC", traces, report)
      const connection = makeGrpcConnection(endpoint, headersFor(settings, traces, "gRPC", endpoint), traces, report)
      return { endpoint, exporter: new OtlpGrpcExporter(connection) }
    }
  )

const loadHttpTarget = (settings: SdkSettings): Effect.Effect<() => Target, NotLoaded> =>
  Effect.map(
    load(() => Promise.all([import("./otlpHttpExporter.ts"), import("./otlpCertificates.ts")])),
    ([{ OtlpHttpExporter }, { readCertificates }]) => () => {
      const endpoint = httpEndpoint(settings)
      const { report, env: { traces } } = settings
      diagnoseEndpoint(endpoint, "HTTP", traces, report)
      const exporter = new OtlpHttpExporter({
        url: endpoint.includes("://") ? endpoint : `https://${endpoint}`,
        headers: headersFor(settings, traces, "HTTP", endpoint),
        certificates: readCertificates(traces, report),
        timeoutMillis: traces.timeout,
        compression: traces.compression
      })
      return { endpoint, exporter }
    }
  )

/** How to make the target. Apart from the making: what is loaded need not be released. */
const loadTarget = (settings: SdkSettings): Effect.Effect<() => Target, NotLoaded> =>
  settings.env.traces.protocol === "http/protobuf" ? loadHttpTarget(settings) : loadGrpcTarget(settings)

const makeQueue = (settings: SdkSettings, exporter: SpanExporter, target?: Target): SpanQueue =>
  new SpanQueue({
    exporter,
    destination: target === undefined ? undefined : withoutUser(target.endpoint),
    cancel: target === undefined ? undefined : () => target.exporter.cancel(),
    maxQueueSize: settings.maxQueueSize ?? settings.env.batch.maxQueueSize ?? 131_072,
    maxQueueBytes: settings.maxQueueBytes ?? MAX_QUEUE_BYTES,
    maxExportBatchSize: settings.env.batch.maxExportBatchSize ?? 512,
    maxExportBatchBytes: MAX_BATCH_BYTES,
    scheduleDelay: settings.exportInterval ?? settings.env.batch.scheduleDelay ?? 5000,
    exportTimeout: settings.env.batch.exportTimeout ?? 30_000,
    report: settings.report
  })

/** An error, such as that of a pipe that nobody reads any more, does not end the program: no more is printed. */
const makePrint = (): (text: string) => void => {
  let hasFailed = false
  return (text) => {
    const { stdout } = process
    if (hasFailed) return
    stdout.write(text, (error) => {
      if (Predicate.isNullish(error)) return
      hasFailed = true
      // Standard output is not closed by it, but forgets the error, with which Node lets the next `console.log` throw.
      stdout.once("error", () => stdout.destroy())
    })
  }
}

/** Prints to the terminal, or to what the program has for a `Console` in its place. */
const makeConsole = (settings: SdkSettings, console: Console.Console): ConsoleProcessor => {
  const isTerminal = console === globalThis.console
  return new ConsoleProcessor({
    write: isTerminal ? makePrint() : (text) => console.log(text.trimEnd()),
    columns: () => isTerminal ? process.stdout.columns ?? 0 : 0,
    colors: detectColors(process.env, isTerminal && process.stdout.isTTY === true),
    serviceName: serviceNameOf(settings)?.toString()
  })
}

const addStats = (a: ExportStats, b: ExportStats): ExportStats => ({
  ended: a.ended + b.ended,
  exported: a.exported + b.exported,
  dropped: a.dropped + b.dropped,
  queued: a.queued + b.queued
})

/** Runs all, whatever becomes of each: one of the user's may also throw before there is a promise. */
const settle = (all: ReadonlyArray<() => unknown>): Promise<unknown> =>
  Promise.allSettled(all.map((one) => Promise.resolve().then(one)))

/** Waits for a promise as long as it may take, whatever becomes of it. */
const within = (timeout: number, promise: () => Promise<unknown>): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const done = () => {
      clearTimeout(timer)
      resume(Effect.void)
    }
    const timer = setTimeout(done, timeout)
    // A processor of the user's may also throw before there is a promise.
    Promise.resolve().then(promise).then(done, done)
    return Effect.sync(() => clearTimeout(timer))
  })

/** The collector has not taken a trial export. */
export class Unreachable extends Data.TaggedError("Unreachable")<{
  readonly endpoint: string
  readonly problem: string
  readonly refused: boolean
}> {}

/** @internal */
export interface Sdk {
  readonly tracing: Tracing
  /** Exports nothing, to see whether the collector takes it. */
  readonly verify: Effect.Effect<void, Unreachable>
}

const verify = ({ endpoint, exporter }: Target, settings: SdkSettings): Effect.Effect<void, Unreachable> =>
  Effect.callback<void, Unreachable>((resume) => {
    exporter.export([], (result) =>
      resume(
        result.code === ExportResultCode.SUCCESS ? Effect.void : Effect.fail(
          new Unreachable({
            endpoint: withoutUser(endpoint),
            problem: hideHeaders(settings)(explain(result.error)),
            refused: isRefusal(result.error)
          })
        )
      ))
  })

/**
 * A program without anything left to do exports what it still has. Where that
 * fails it is given up, with a report of what is lost; what ends afterwards, if
 * the program is given more to do, is exported as before.
 * What others hold, metrics and the processors of the user, is flushed once.
 */
const flushBeforeExit = (
  queues: ReadonlyArray<SpanQueue>,
  others: ReadonlyArray<() => Promise<unknown>>,
  timeout: number
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.suspend(() => {
    let othersAreFlushed = others.length === 0
    const flushOthers = Effect.suspend(() => {
      othersAreFlushed = true
      return within(timeout, () => settle(others))
    })
    // Of all attempts together: each keeps the process alive, and ends here again.
    let deadline: number | undefined
    const remaining = () => Math.max(0, (deadline ??= performance.now() + timeout) - performance.now())
    const flush = Effect.gen(function*() {
      const before = statsOf(queues).exported
      yield* within(remaining(), () => Promise.all(queues.map((queue) => queue.forceFlush())))
      const { exported, queued } = statsOf(queues)
      if (queued === 0) deadline = undefined
      else if (exported === before || remaining() === 0) {
        yield* Effect.promise(() => Promise.all(queues.map((queue) => queue.abandon(remaining()))))
        deadline = undefined
      }
    })
    return onBeforeExit(() => {
      if (statsOf(queues).queued > 0) Effect.runFork(flush)
      if (!othersAreFlushed) Effect.runFork(flushOthers)
    })
  })

const statsOf = (queues: ReadonlyArray<SpanQueue>): ExportStats =>
  queues.map((queue) => queue.stats).reduce(addStats, { ended: 0, exported: 0, dropped: 0, queued: 0 })

/** OpenTelemetry's own diagnostics, on the program's loggers, where the environment asks for them. */
const setLogLevel = (settings: SdkSettings): Effect.Effect<void, never, Scope.Scope> => {
  const level = settings.env.logLevel
  if (level === undefined) return Effect.void
  const log = (message: string) => settings.report(`OpenTelemetry: ${message}`)
  return Effect.acquireRelease(
    Effect.sync(() =>
      addDiagnostics({
        logger: { error: log, warn: log, info: log, debug: log, verbose: log },
        logLevel: Otel.DiagLogLevel[level.toUpperCase() as keyof typeof Otel.DiagLogLevel]
      })
    ),
    (remove) => Effect.sync(remove)
  )
}

/** The pieces behind a provider of our own. */
const makeProvider = Effect.fnUntraced(function*(settings: SdkSettings, makeTarget: (() => Target) | undefined) {
  const queues: Array<SpanQueue> = []
  const processors: Array<SpanProcessor> = []
  let trial: Effect.Effect<void, Unreachable> = Effect.void
  for (const exporter of settings.exporters) {
    if (exporter === "none") continue
    if (exporter === "console") {
      const printer = makeConsole(settings, yield* Console.Console)
      processors.push(printer)
      // The trace that has not come to rest yet, where nobody disposes the runtime.
      yield* onBeforeExit(() => {
        printer.forceFlush()
      })
      continue
    }
    let spanExporter = exporter
    let target: Target | undefined
    if (spanExporter === "otlp") {
      target = makeTarget!()
      trial = verify(target, settings)
      spanExporter = target.exporter
    }
    const queue = makeQueue(settings, spanExporter, target)
    queues.push(queue)
    processors.push(queue)
  }
  const rejected = reportThrown(settings.report)
  processors.push(...settings.spanProcessors.map((processor) => new UserProcessor(processor, rejected)))
  const spanStart = new SpanStart(settings.sampler ?? makeSampler(settings.env))

  const provider = new NodeTracerProvider({
    resource: makeResource(settings),
    sampler: spanStart.sampler,
    spanLimits: makeLimits(settings.env),
    idGenerator: { generateTraceId, generateSpanId },
    // Its own timers must not outlast ours: they keep the process alive.
    forceFlushTimeoutMillis: settings.shutdownTimeout,
    spanProcessors: [spanStart.processor, ...processors]
  })
  const failed = new Set<SpanProcessor>()
  // Each for itself: the provider's own shutdown is over with the first of the user's that fails, and so is its flush.
  const settleProcessors = (run: (processor: SpanProcessor) => Promise<void>) =>
    settle(processors.map((processor) => async () => {
      try {
        await run(processor)
      } catch (error) {
        // It may fail at every flush.
        if (!failed.has(processor)) settings.report(`A span processor has failed: ${describe(error)}`)
        failed.add(processor)
      }
    }))
  const flush = () => settleProcessors((processor) => processor.forceFlush())
  // A queue is done a little earlier, so that it still says what it had to leave.
  const shutdown = () =>
    settleProcessors((processor) =>
      processor instanceof SpanQueue ? processor.shutdown(settings.shutdownTimeout * 0.9) : processor.shutdown()
    )
  return { provider, queues, spanStart, trial, flush, shutdown }
})

const DEFAULT_METRIC_INTERVAL = 60_000
const DEFAULT_METRIC_TIMEOUT = 30_000

/** Spans and metrics are set up alike: what is wrong with what they share is told once. */
const withoutRepeats = (report: SdkSettings["report"]): SdkSettings["report"] => {
  const told = new Set<string>()
  return (message) => {
    if (told.has(message)) return
    told.add(message)
    report(message)
  }
}

/** What a package says that could not be loaded is more than that it could not be loaded. */
const problemOf = (cause: Cause.Cause<NotLoaded>): unknown => {
  const error = Cause.squash(cause)
  return error instanceof NotLoaded ? error.cause : error
}

/** Exports the metrics of the program, released with the scope. Their packages are loaded only for that. */
const makeOtlpMetrics = Effect.fnUntraced(function*(settings: SdkSettings, setUp: SdkSettings) {
  if (!settings.metrics) return undefined
  const { report, env: { metrics: env } } = setUp
  const endpoint = settings.endpoint ?? env.ownEndpoint ?? env.endpoint ?? DEFAULT_GRPC_ENDPOINT
  if (env.protocol === "http/protobuf" && env.ownEndpoint === undefined) {
    report(
      `Metrics are exported over gRPC alone, although the protocol is http/protobuf. The collector at ` +
        `${withoutUser(endpoint)} must take it, or OTEL_EXPORTER_OTLP_METRICS_ENDPOINT name one that does.`
    )
  } else {
    diagnoseEndpoint(endpoint, "gRPC", env, report)
  }
  const metrics = yield* load(() => Promise.all([import("./metrics.ts"), import("./grpcConnection.ts")])).pipe(
    Effect.flatMap(([module, { makeGrpcConnection }]) =>
      module.makeMetrics({
        resource: makeResource(settings),
        exporter: module.makeGrpcExporter(
          makeGrpcConnection(endpoint, headersFor(setUp, env, "gRPC", endpoint), env, report),
          (error) => settings.report(`Metrics could not be exported to ${withoutUser(endpoint)}: ${describe(error)}`)
        ),
        exportInterval: env.exportInterval ?? DEFAULT_METRIC_INTERVAL,
        exportTimeout: env.exportTimeout ?? DEFAULT_METRIC_TIMEOUT
      })
    ),
    Effect.catchCause((cause) =>
      Effect.sync(() =>
        settings.report(
          `Metrics are off: they could not be set up (${describe(problemOf(cause))}). They need @grpc/grpc-js@1, ` +
            "@opentelemetry/sdk-metrics@2.12.1 and @opentelemetry/otlp-transformer@0.223.1"
        )
      )
    )
  )
  return metrics
})

const SDK_VERSION = /^2\./

/** Whether the global provider is but the place of one that is still to come. */
const isUnregistered = (provider: Otel.TracerProvider): boolean =>
  provider instanceof Otel.ProxyTracerProvider &&
  provider.getDelegate() === new Otel.ProxyTracerProvider().getDelegate()

/** Tells of what the program has not registered, where it is to be used. */
const diagnoseGlobal = (provider: Otel.TracerProvider, settings: SdkSettings): void => {
  if (isUnregistered(provider)) {
    settings.report(
      "provider: no tracer provider is registered in @opentelemetry/api yet, and nothing is recorded until one is. " +
        "Start the other SDK first, or leave out `provider: \"global\"`."
    )
  } else if (!settings.global && !hasContextManager()) {
    settings.report(
      "provider: no context manager is registered in @opentelemetry/api, so libraries instrumented for OpenTelemetry " +
        "do not nest under the spans of Effect. `global: true` registers one."
    )
  }
}

/** A provider of another SDK may know how to flush; nothing else of it is ours to touch. */
const flushOf = (provider: Otel.TracerProvider): Promise<unknown> => {
  const target = provider instanceof Otel.ProxyTracerProvider ? provider.getDelegate() : provider
  return "forceFlush" in target && typeof target.forceFlush === "function" ? target.forceFlush() : Promise.resolve()
}

/**
 * Builds the tracing setup and releases it with the scope. Release is bounded by
 * the shutdown timeout and cannot fail.
 *
 * @internal
 */
export const makeSdk = (options: SdkSettings): Effect.Effect<Sdk, NotLoaded, Scope.Scope> =>
  Effect.gen(function*() {
    const hide = hideHeaders(options)
    const settings: SdkSettings = { ...options, report: (message) => options.report(hide(message)) }
    yield* setLogLevel(settings)
    const version = String(defaultResource().attributes["telemetry.sdk.version"])
    if (!SDK_VERSION.test(version)) {
      settings.report(`The OpenTelemetry SDK installed is ${version}; this package is made for 2.x`)
    }

    const isExporting = settings.provider === undefined && settings.exporters.includes("otlp")
    const setUp = { ...settings, report: withoutRepeats(settings.report) }
    const makeTarget = isExporting ? yield* loadTarget(setUp) : undefined
    const metrics = yield* makeOtlpMetrics(settings, setUp)
    const own = settings.provider === undefined ? yield* makeProvider(settings, makeTarget) : undefined
    const { shutdownTimeout } = settings
    yield* Effect.addFinalizer(() =>
      within(shutdownTimeout, () => settle([() => own?.shutdown(), () => metrics?.shutdown(shutdownTimeout * 0.9)]))
    )
    const processors = own === undefined ? [] : settings.spanProcessors
    const exitTimeout = shutdownTimeout * 0.9
    yield* flushBeforeExit(
      own?.queues ?? [],
      [
        ...processors.map((processor) => () => processor.forceFlush()),
        ...metrics === undefined ? [] : [() => metrics.flush(exitTimeout)]
      ],
      exitTimeout
    )
    const foreign = settings.provider === "global" ? Otel.trace.getTracerProvider() : settings.provider
    if (settings.provider === "global") diagnoseGlobal(foreign!, settings)
    const base = own?.provider ?? foreign!
    const registered = settings.global
      ? yield* registerGlobal({
        provider: base,
        propagators: settings.propagators,
        report: settings.report
      })
      : { provider: base, contextManager: undefined }

    const isOwn = registered.provider === own?.provider
    const tracer = makeLiveTracers({
      provider: registered.provider,
      spanStart: isOwn ? own?.spanStart : undefined,
      contextManager: registered.contextManager,
      report: settings.report,
      baggageAttributes: settings.baggageAttributes,
      marksRandomIds: isOwn
    })
    // The default scope is made at once, so that a foreign provider that throws does so while the layer is built.
    const { context } = tracer({ name: PACKAGE_NAME, version: PACKAGE_VERSION })
    if (registered.contextManager !== undefined) {
      yield* Effect.acquireRelease(
        Effect.sync(() => setNoopHook(context)),
        (before) => Effect.sync(() => setNoopHook(before))
      )
    }
    return {
      tracing: {
        enabled: true,
        tracer,
        flush: within(
          settings.shutdownTimeout,
          () => settle([() => isOwn ? own?.flush() : flushOf(registered.provider), () => metrics?.flush()])
        ),
        exportStats: Effect.sync(() => statsOf(own?.queues ?? []))
      },
      verify: own?.trial ?? Effect.void
    }
  })
