/**
 * Exports Effect's metrics through the OpenTelemetry SDK. Only ever loaded
 * together with it.
 *
 * @internal
 */
import * as OtelMetrics from "@effect/opentelemetry/OtelMetrics"
import { Resource } from "@effect/opentelemetry/Resource"
import type { Attributes } from "@opentelemetry/api"
import { ExportResultCode } from "@opentelemetry/core"
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-grpc"
import type { Resource as OtelResource } from "@opentelemetry/resources"
import {
  type CollectionResult,
  type MetricData,
  type MetricProducer,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
  type ScopeMetrics
} from "@opentelemetry/sdk-metrics"
import * as Effect from "effect/Effect"
import type { GrpcConnection } from "./grpcConnection.ts"
import { PACKAGE_NAME, PACKAGE_VERSION } from "./version.ts"

/** The attributes that exporters of Effect metrics read a metric's unit from; they tell nothing of a measurement. */
const UNITS = new Set(["unit", "time_unit"])

/** Effect's metrics know strings alone. */
const typed = (name: string, value: unknown): Attributes[string] =>
  name === "server.port" ? Number(value) : name === "otel.metric.overflow" ? value === "true" : String(value)

const toAttributes = (attributes: Attributes): Attributes =>
  Object.fromEntries(
    Object.entries(attributes).filter(([name]) => !UNITS.has(name)).map(([name, value]) => [name, typed(name, value)])
  )

const toMetric = (metric: MetricData): MetricData =>
  ({
    ...metric,
    dataPoints: metric.dataPoints.map((point) => ({ ...point, attributes: toAttributes(point.attributes) }))
  }) as MetricData

const isOurs = (metric: MetricData): boolean => metric.descriptor.name.startsWith("gen_ai.")

/** The metrics of this package under its own name, the program's others as they are. */
const toScopes = ({ metrics, scope }: ScopeMetrics): ReadonlyArray<ScopeMetrics> =>
  [
    { scope: { name: PACKAGE_NAME, version: PACKAGE_VERSION }, metrics: metrics.filter(isOurs).map(toMetric) },
    { scope, metrics: metrics.filter((metric) => !isOurs(metric)).map(toMetric) }
  ].filter(({ metrics }) => metrics.length > 0)

/** Effect's bridge tells units as attributes, and numbers as strings. */
const correct = (producer: MetricProducer): MetricProducer => ({
  collect: async (options): Promise<CollectionResult> => {
    const { errors, resourceMetrics } = await producer.collect(options)
    return {
      errors,
      resourceMetrics: { ...resourceMetrics, scopeMetrics: resourceMetrics.scopeMetrics.flatMap(toScopes) }
    }
  }
})

/**
 * The stock exporter, with everything that it would otherwise look up in
 * `process.env` behind the back of `Config`. It says nothing of a failure to
 * anybody but OpenTelemetry's own diagnostics; here the first of a row is told.
 *
 * @internal
 */
export const makeGrpcExporter = (
  connection: GrpcConnection,
  onFailure: (error: unknown) => void
): PushMetricExporter => {
  const exporter = new OTLPMetricExporter({
    url: connection.url,
    metadata: connection.metadata,
    credentials: connection.credentials,
    timeoutMillis: connection.timeoutMillis ?? DEFAULT_TIMEOUT,
    // The enum's value: the package that holds the enum is not one of ours.
    compression: (connection.compression ?? "none") as never
  })
  let isFailing = false
  const exportMetrics = exporter.export.bind(exporter)
  exporter.export = (metrics, done) =>
    exportMetrics(metrics, (result) => {
      const hasFailed = result.code === ExportResultCode.FAILED
      if (hasFailed && !isFailing) onFailure(result.error)
      isFailing = hasFailed
      done(result)
    })
  return exporter
}

const DEFAULT_TIMEOUT = 10_000

/** @internal */
export interface MetricsSettings {
  readonly resource: OtelResource
  readonly exporter: PushMetricExporter
  /** Milliseconds. */
  readonly exportInterval: number
  /** Milliseconds. */
  readonly exportTimeout: number
}

/**
 * Exports the program's metrics at intervals, until `shutdown`, which exports
 * what there is once more. The caller bounds the two promises in time.
 *
 * @internal
 */
export const makeMetrics = (
  settings: MetricsSettings
): Effect.Effect<{ readonly flush: () => Promise<void>; readonly shutdown: () => Promise<void> }> =>
  Effect.map(
    OtelMetrics.makeProducer().pipe(Effect.provideService(Resource, settings.resource)),
    (producer) => {
      const reader = new PeriodicExportingMetricReader({
        exporter: settings.exporter,
        exportIntervalMillis: settings.exportInterval,
        exportTimeoutMillis: Math.min(settings.exportTimeout, settings.exportInterval)
      })
      reader.setMetricProducer(correct(producer))
      return { flush: () => reader.forceFlush(), shutdown: () => reader.shutdown() }
    }
  )
