/**
 * The only module that loads the OpenTelemetry SDK. `TracingLive` imports it
 * dynamically, so that a program without the SDK, or without tracing, never
 * pays for it.
 *
 * @internal
 */
import * as Otel from "@opentelemetry/api"
import { ExportResultCode } from "@opentelemetry/core"
import { createEmptyMetadata } from "@opentelemetry/otlp-grpc-exporter-base"
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
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Propagators } from "../Carrier.ts"
import type { ExportStats, Tracing } from "../Tracing.ts"
import { ConsoleProcessor, detectColors } from "./consoleProcessor.ts"
import { describe } from "./exportFailure.ts"
import { makeLiveTracers } from "./liveTracer.ts"
import { type OtelEnv, parseEndpoint } from "./otelEnv.ts"
import { registerGlobal } from "./otelGlobal.ts"
import { makeCredentials } from "./otlpCredentials.ts"
import { OtlpGrpcExporter } from "./otlpExporter.ts"
import { generateSpanId, generateTraceId } from "./randomIds.ts"
import { SpanQueue } from "./spanQueue.ts"
import { PACKAGE_NAME, PACKAGE_VERSION } from "./version.ts"

const DEFAULT_GRPC_ENDPOINT = "http://localhost:4317"
const DEFAULT_HTTP_ENDPOINT = "http://localhost:4318"
const DEFAULT_EXPORT_TIMEOUT = 10_000
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

const makeResource = (settings: SdkSettings): Resource => {
  const serviceName = settings.serviceName ?? settings.env.serviceName
  return defaultResource().merge(detect(settings.env)).merge(resourceFromAttributes({
    ...settings.env.resourceAttributes,
    ...settings.resourceAttributes,
    ...(serviceName === undefined ? undefined : { "service.name": serviceName }),
    ...(settings.serviceVersion === undefined ? undefined : { "service.version": settings.serviceVersion })
  }))
}

const grpcEndpoint = (settings: SdkSettings): string =>
  settings.endpoint ?? settings.env.tracesEndpoint ?? settings.env.endpoint ?? DEFAULT_GRPC_ENDPOINT

/** By the specification, the path belongs to the endpoint of traces alone and is added to that of all signals. */
const httpEndpoint = (settings: SdkSettings): string =>
  settings.env.tracesEndpoint !== undefined && settings.endpoint === undefined
    ? settings.env.tracesEndpoint
    : `${(settings.endpoint ?? settings.env.endpoint ?? DEFAULT_HTTP_ENDPOINT).replace(/\/$/, "")}/v1/traces`

/** Tells of what will not work before the first export fails of it. */
const diagnoseEndpoint = (endpoint: string, isGrpc: boolean, settings: SdkSettings): void => {
  const port = Option.getOrUndefined(parseEndpoint(endpoint))?.port
  if (isGrpc && port === "4318") {
    settings.report(
      `The endpoint ${withoutUser(endpoint)} has the port of OTLP over HTTP, but gRPC is spoken. ` +
        "A collector takes gRPC on port 4317, as a rule."
    )
  } else if (!isGrpc && port === "4317") {
    settings.report(
      `The endpoint ${withoutUser(endpoint)} has the port of OTLP over gRPC, but HTTP is spoken. ` +
        "A collector takes HTTP on port 4318, as a rule."
    )
  }
  if (!endpoint.includes("://") && settings.env.insecure === undefined) {
    settings.report(
      `The endpoint ${withoutUser(endpoint)} has no scheme, so TLS is used. ` +
        "Write http:// in front of it for a connection without."
    )
  }
}

/** An address for a log: without the credentials that it may hold. */
const withoutUser = (endpoint: string): string => endpoint.replace(/\/\/[^/@]*@/, "//<redacted>@")

const makeGrpcExporter = (settings: SdkSettings): SpanExporter => {
  const endpoint = grpcEndpoint(settings)
  diagnoseEndpoint(endpoint, true, settings)
  const metadata = createEmptyMetadata()
  for (const [name, value] of Object.entries({ ...settings.env.headers, ...settings.headers })) {
    metadata.set(name, value)
  }
  return new OtlpGrpcExporter({
    url: endpoint,
    metadata,
    credentials: makeCredentials(endpoint, settings.env, settings.report),
    timeoutMillis: settings.env.timeout ?? DEFAULT_EXPORT_TIMEOUT,
    // The enum's value; the package that holds the enum is not one of ours.
    ...(settings.env.compression === undefined ? undefined : { compression: settings.env.compression as never })
  })
}

const HTTP_EXPORTER = "@opentelemetry/exporter-trace-otlp-proto"

const makeOtlpExporter = (settings: SdkSettings): Effect.Effect<SpanExporter> => {
  if (settings.env.protocol !== "http/protobuf") return Effect.sync(() => makeGrpcExporter(settings))
  // A name that a bundler cannot follow: the package is the user's to install.
  return Effect.promise(() => import(/* @vite-ignore */ HTTP_EXPORTER).catch(() => undefined)).pipe(
    Effect.map((module) => {
      if (module === undefined) {
        settings.report(
          `OTEL_EXPORTER_OTLP_PROTOCOL is http/protobuf, which needs another package: npm install ${HTTP_EXPORTER}@0.223.0. ` +
            "Until then gRPC is used."
        )
        return makeGrpcExporter(settings)
      }
      const url = httpEndpoint(settings)
      diagnoseEndpoint(url, false, settings)
      return new module.OTLPTraceExporter({
        url,
        headers: { ...settings.env.headers, ...settings.headers },
        timeoutMillis: settings.env.timeout ?? DEFAULT_EXPORT_TIMEOUT,
        ...(settings.env.compression === undefined ? undefined : { compression: settings.env.compression })
      }) as SpanExporter
    })
  )
}

const makeQueue = (settings: SdkSettings, exporter: SpanExporter): SpanQueue =>
  new SpanQueue({
    exporter,
    maxQueueSize: settings.maxQueueSize ?? settings.env.batch.maxQueueSize ?? 131_072,
    maxQueueBytes: settings.maxQueueBytes ?? MAX_QUEUE_BYTES,
    maxExportBatchSize: settings.env.batch.maxExportBatchSize ?? 512,
    maxExportBatchBytes: MAX_BATCH_BYTES,
    scheduleDelay: settings.exportInterval ?? settings.env.batch.scheduleDelay ?? 5000,
    exportTimeout: settings.env.batch.exportTimeout ?? 30_000,
    report: settings.report
  })

const makeConsole = (settings: SdkSettings): ConsoleProcessor =>
  new ConsoleProcessor({
    write: (text) => {
      process.stdout.write(text)
    },
    columns: () => process.stdout.columns ?? 0,
    colors: detectColors(process.env, process.stdout.isTTY === true),
    serviceName: settings.serviceName ?? settings.env.serviceName
  })

const addStats = (a: ExportStats, b: ExportStats): ExportStats => ({
  ended: a.ended + b.ended,
  exported: a.exported + b.exported,
  dropped: a.dropped + b.dropped,
  queued: a.queued + b.queued
})

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
  })

/** The collector has not answered a trial export. */
export class Unreachable extends Data.TaggedError("Unreachable")<{
  readonly endpoint: string
  readonly problem: string
}> {}

/** @internal */
export interface Sdk {
  readonly tracing: Tracing
  /** Exports nothing, to see whether the collector takes it. */
  readonly verify: Effect.Effect<void, Unreachable>
}

const verify = (exporter: SpanExporter, settings: SdkSettings): Effect.Effect<void, Unreachable> =>
  Effect.callback<void, Unreachable>((resume) => {
    exporter.export([], (result) =>
      resume(
        result.code === ExportResultCode.SUCCESS ? Effect.void : Effect.fail(
          new Unreachable({ endpoint: withoutUser(grpcEndpoint(settings)), problem: describe(result.error) })
        )
      ))
  })

/** A program without anything left to do exports what it still has, once for as long as that makes progress. */
const flushBeforeExit = (queues: ReadonlyArray<SpanQueue>, timeout: number): Effect.Effect<void, never, Scope.Scope> =>
  Effect.suspend(() => {
    let exportedBefore = -1
    const flush = () => {
      const stats = statsOf(queues)
      if (stats.queued === 0 || stats.exported === exportedBefore) return
      exportedBefore = stats.exported
      // Keeps the process alive until it is done, which then may come by here again.
      const timer = setTimeout(() => {}, timeout)
      void Promise.all(queues.map((queue) => queue.forceFlush())).finally(() => clearTimeout(timer))
    }
    process.on("beforeExit", flush)
    return Effect.addFinalizer(() => Effect.sync(() => process.off("beforeExit", flush)))
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
      Otel.diag.setLogger(
        { error: log, warn: log, info: log, debug: log, verbose: log },
        {
          logLevel: Otel.DiagLogLevel[level.toUpperCase() as keyof typeof Otel.DiagLogLevel],
          suppressOverrideMessage: true
        }
      )
    ),
    () => Effect.sync(() => Otel.diag.disable())
  )
}

/** The pieces behind a provider of our own. */
const makeProvider = Effect.fnUntraced(function*(settings: SdkSettings) {
  const queues: Array<SpanQueue> = []
  const processors: Array<SpanProcessor> = []
  let trial: Effect.Effect<void, Unreachable> = Effect.void
  for (const exporter of settings.exporters) {
    if (exporter === "none") continue
    if (exporter === "console") {
      processors.push(makeConsole(settings))
      continue
    }
    const spanExporter = exporter === "otlp" ? yield* makeOtlpExporter(settings) : exporter
    if (exporter === "otlp") trial = verify(spanExporter, settings)
    const queue = makeQueue(settings, spanExporter)
    queues.push(queue)
    processors.push(queue)
  }
  processors.push(...settings.spanProcessors)

  const provider = new NodeTracerProvider({
    resource: makeResource(settings),
    sampler: settings.sampler ?? makeSampler(settings.env),
    spanLimits: makeLimits(settings.env),
    idGenerator: { generateTraceId, generateSpanId },
    spanProcessors: processors
  })
  yield* Effect.addFinalizer(() =>
    within(settings.shutdownTimeout, async () => {
      // A queue is done a little earlier, so that it still says what it had to leave.
      await Promise.all(queues.map((queue) => queue.shutdown(settings.shutdownTimeout * 0.9)))
      await provider.shutdown()
    })
  )
  yield* flushBeforeExit(queues, settings.shutdownTimeout)
  return { provider, queues, trial }
})

const SDK_VERSION = /^2\./

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
export const makeSdk = (settings: SdkSettings): Effect.Effect<Sdk, never, Scope.Scope> =>
  Effect.gen(function*() {
    yield* setLogLevel(settings)
    const version = String(defaultResource().attributes["telemetry.sdk.version"])
    if (!SDK_VERSION.test(version)) {
      settings.report(`The OpenTelemetry SDK installed is ${version}; this package is made for 2.x`)
    }

    const own = settings.provider === undefined ? yield* makeProvider(settings) : undefined
    const foreign = settings.provider === "global" ? Otel.trace.getTracerProvider() : settings.provider
    const base = own?.provider ?? foreign!
    const registered = settings.global
      ? yield* registerGlobal({
        provider: base,
        propagators: settings.propagators,
        report: settings.report
      })
      : { provider: base, contextManager: undefined }

    const tracer = makeLiveTracers({
      provider: registered.provider,
      contextManager: registered.contextManager,
      report: settings.report,
      baggageAttributes: settings.baggageAttributes,
      marksRandomIds: registered.provider === own?.provider
    })
    // The default scope is made at once, so that a foreign provider that throws does so while the layer is built.
    tracer({ name: PACKAGE_NAME, version: PACKAGE_VERSION })
    return {
      tracing: {
        enabled: true,
        tracer,
        flush: within(settings.shutdownTimeout, () => flushOf(registered.provider)),
        exportStats: Effect.sync(() => statsOf(own?.queues ?? []))
      },
      verify: own?.trial ?? Effect.void
    }
  })
