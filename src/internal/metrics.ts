/**
 * Exports Effect's metrics through the OpenTelemetry SDK. Only ever loaded
 * together with it.
 *
 * @internal
 */
import * as OtelMetrics from "@effect/opentelemetry/OtelMetrics"
import { Resource } from "@effect/opentelemetry/Resource"
import { type Attributes, diag } from "@opentelemetry/api"
import { ExportResultCode } from "@opentelemetry/core"
import { ProtobufMetricsSerializer } from "@opentelemetry/otlp-transformer"
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
import { identity } from "effect/Function"
import * as Predicate from "effect/Predicate"
import { mcpDuration } from "../GenAiMetrics.ts"
import type { GrpcConnection } from "./grpcConnection.ts"
import { PACKAGE_NAME, PACKAGE_VERSION } from "./version.ts"

/** The attributes that exporters of Effect metrics read a metric's unit from; they tell nothing of a measurement. */
const UNITS = new Set(["unit", "time_unit"])

type ToValue = (value: Attributes[string], name: string) => Attributes[string]

/** Effect's metrics know strings alone. */
const typed: ToValue = (value, name) =>
  name === "server.port" ? Number(value) : name === "otel.metric.overflow" ? value === "true" : value

const toAttributes = (attributes: Attributes, toValue: ToValue): Attributes =>
  Object.fromEntries(
    Object.entries(attributes).filter(([name]) => !UNITS.has(name)).map(([name, value]) => [name, toValue(value, name)])
  )

const toMetric = (toValue: ToValue) => (metric: MetricData): MetricData =>
  ({
    ...metric,
    dataPoints: metric.dataPoints.map((point) => ({ ...point, attributes: toAttributes(point.attributes, toValue) }))
  }) as MetricData

const isOurs = ({ descriptor }: MetricData): boolean =>
  descriptor.name.startsWith("gen_ai.") || descriptor.name === mcpDuration.client.name ||
  descriptor.name === mcpDuration.server.name

/** The metrics of this package under its own name, the program's others as they are. */
const toScopes = ({ metrics, scope }: ScopeMetrics): ReadonlyArray<ScopeMetrics> =>
  [
    { scope: { name: PACKAGE_NAME, version: PACKAGE_VERSION }, metrics: metrics.filter(isOurs).map(toMetric(typed)) },
    { scope, metrics: metrics.filter((metric) => !isOurs(metric)).map(toMetric(identity)) }
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

const METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"

/** Exports in flight at most, where the reader no longer waits for those that a collector leaves unanswered. */
const MAX_IN_FLIGHT = 30

/** The status of what was given up. */
const CANCELLED = 1

const readAnswer = (answer: Buffer): unknown => {
  try {
    return ProtobufMetricsSerializer.deserializeResponse(answer).partialSuccess
  } catch {
    return "its answer is not a valid ExportMetricsServiceResponse"
  }
}

/** @internal */
export interface MetricExporter extends PushMetricExporter {
  /** Gives up what has not been answered yet. */
  readonly cancel?: () => void
}

/**
 * OTLP over gRPC. OpenTelemetry tells of a failure nobody but its own
 * diagnostics; here the first of a row is told.
 *
 * @internal
 */
export const makeGrpcExporter = (
  connection: GrpcConnection,
  onFailure: (error: unknown) => void
): MetricExporter => {
  const inFlight = new Set<Promise<void>>()
  let isClosed = false
  let isFailing = false
  return {
    export: (metrics, done) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      const end = (error: Error | undefined) => {
        inFlight.delete(promise)
        resolve()
        if (error !== undefined && !isFailing) onFailure(error)
        isFailing = error !== undefined
        done(error === undefined ? { code: ExportResultCode.SUCCESS } : { code: ExportResultCode.FAILED, error })
      }
      if (isClosed) return end(new Error("the exporter is shut down"))
      if (inFlight.size >= MAX_IN_FLIGHT) return end(new Error(`${MAX_IN_FLIGHT} exports are not answered yet`))
      const request = Buffer.from(ProtobufMetricsSerializer.serializeRequest(metrics)!)
      connection.send(METHOD, request, readAnswer, (error, warning) => {
        if (Predicate.isNotNullish(warning)) diag.warn("The collector accepted metrics with a warning", warning)
        end(error === null ? undefined : error.code === CANCELLED ? new Error("there was no answer in time") : error)
      })
      inFlight.add(promise)
    },
    forceFlush: async () => {
      await Promise.all(inFlight)
    },
    cancel: () => connection.cancel(),
    shutdown: async () => {
      isClosed = true
      connection.close()
    }
  }
}

/** @internal */
export interface MetricsSettings {
  readonly resource: OtelResource
  readonly exporter: MetricExporter
  /** Milliseconds. */
  readonly exportInterval: number
  /** Milliseconds. */
  readonly exportTimeout: number
}

/** @internal */
export interface Metrics {
  /** Exports what there is. With a timeout, what has not been answered by then does not keep the process alive. */
  readonly flush: (timeout?: number) => Promise<void>
  /** Exports what there is once more, and gives up what has not been answered after so many milliseconds. */
  readonly shutdown: (timeout: number) => Promise<void>
}

/**
 * Leaves out what an interval brings while an export is under way, until
 * `demand` is called. What waits for an answer keeps the process alive: with a
 * next one before the last has ended, it would live as long as its collector is
 * slow. Nothing is lost, since the values are sums since the start.
 */
const oneAtATime = (exporter: MetricExporter) => {
  let inFlight = 0
  let demanded = 0
  const paced: PushMetricExporter = {
    export: (metrics, done) => {
      if (inFlight > 0 && demanded === 0) return done({ code: ExportResultCode.SUCCESS })
      demanded = Math.max(0, demanded - 1)
      inFlight++
      exporter.export(metrics, (result) => {
        inFlight--
        done(result)
      })
    },
    forceFlush: () => exporter.forceFlush(),
    shutdown: () => exporter.shutdown()
  }
  return { paced, demand: () => void demanded++ }
}

/**
 * Exports the program's metrics at intervals, until `shutdown`. The caller
 * bounds the promises in time.
 *
 * @internal
 */
export const makeMetrics = (settings: MetricsSettings): Effect.Effect<Metrics> =>
  Effect.map(
    OtelMetrics.makeProducer().pipe(Effect.provideService(Resource, settings.resource)),
    (producer) => {
      const { exporter } = settings
      const { demand, paced } = oneAtATime(exporter)
      const reader = new PeriodicExportingMetricReader({
        exporter: paced,
        exportIntervalMillis: settings.exportInterval,
        exportTimeoutMillis: Math.min(settings.exportTimeout, settings.exportInterval)
      })
      reader.setMetricProducer(correct(producer))
      const within = (timeout: number | undefined, exported: Promise<void>, giveUp: () => unknown) => {
        if (timeout === undefined) return exported
        const timer = setTimeout(giveUp, timeout)
        return exported.finally(() => clearTimeout(timer))
      }
      return {
        flush: (timeout) => {
          demand()
          return within(timeout, reader.forceFlush(), () => exporter.cancel?.())
        },
        shutdown: (timeout) => {
          demand()
          return within(timeout, reader.shutdown(), () => exporter.shutdown())
        }
      }
    }
  )
