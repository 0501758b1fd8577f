/**
 * The only module that loads the OpenTelemetry SDK. `TracingLive` imports it
 * dynamically, so that a program without the SDK, or without tracing, never
 * pays for it.
 *
 * @internal
 */
import type * as Otel from "@opentelemetry/api"
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc"
import { createEmptyMetadata } from "@opentelemetry/otlp-grpc-exporter-base"
import { defaultResource, resourceFromAttributes } from "@opentelemetry/resources"
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
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ExportStats, Tracing } from "../Tracing.ts"
import { ConsoleProcessor, detectColors } from "./consoleProcessor.ts"
import { makeLiveTracers } from "./liveTracer.ts"
import type { OtelEnv } from "./otelEnv.ts"
import { generateSpanId, generateTraceId } from "./randomIds.ts"
import { SpanQueue } from "./spanQueue.ts"
import { PACKAGE_NAME, PACKAGE_VERSION } from "./version.ts"

const DEFAULT_ENDPOINT = "http://localhost:4317"
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

const makeResource = (settings: SdkSettings) => {
  const serviceName = settings.serviceName ?? settings.env.serviceName
  return defaultResource().merge(resourceFromAttributes({
    ...settings.env.resourceAttributes,
    ...settings.resourceAttributes,
    ...(serviceName === undefined ? undefined : { "service.name": serviceName }),
    ...(settings.serviceVersion === undefined ? undefined : { "service.version": settings.serviceVersion })
  }))
}

const makeOtlpExporter = (settings: SdkSettings): SpanExporter => {
  const metadata = createEmptyMetadata()
  for (const [name, value] of Object.entries({ ...settings.env.headers, ...settings.headers })) {
    metadata.set(name, value)
  }
  return new OTLPTraceExporter({
    url: settings.endpoint ?? settings.env.endpoint ?? DEFAULT_ENDPOINT,
    metadata,
    timeoutMillis: settings.env.timeout ?? DEFAULT_EXPORT_TIMEOUT,
    ...(settings.env.compression === "gzip" ? { compression: "gzip" as never } : undefined)
  })
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

/**
 * Builds the provider and releases it with the scope. Release is bounded by the
 * shutdown timeout and cannot fail.
 *
 * @internal
 */
export const makeSdk = (settings: SdkSettings): Effect.Effect<Tracing, never, Scope.Scope> =>
  Effect.gen(function*() {
    const queues: Array<SpanQueue> = []
    const processors: Array<SpanProcessor> = []
    for (const exporter of settings.exporters) {
      if (exporter === "none") continue
      if (exporter === "console") {
        processors.push(makeConsole(settings))
        continue
      }
      const queue = makeQueue(settings, exporter === "otlp" ? makeOtlpExporter(settings) : exporter)
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

    const tracer = makeLiveTracers({ provider, marksRandomIds: true })
    // The default scope is made at once, so that a foreign provider that throws does so while the layer is built.
    tracer({ name: PACKAGE_NAME, version: PACKAGE_VERSION })
    return {
      enabled: true,
      tracer,
      flush: within(settings.shutdownTimeout, () => provider.forceFlush()),
      exportStats: Effect.sync(() =>
        queues.map((queue) => queue.stats).reduce(addStats, { ended: 0, exported: 0, dropped: 0, queued: 0 })
      )
    }
  })
