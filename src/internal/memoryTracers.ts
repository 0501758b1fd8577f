/**
 * Tracers on the OpenTelemetry SDK whose spans stay in memory. `TracingTest`
 * imports it dynamically; it needs neither an exporter nor gRPC.
 *
 * @internal
 */
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  ParentBasedSampler,
  type ReadableSpan,
  type Sampler,
  type SpanProcessor
} from "@opentelemetry/sdk-trace-base"
import type * as Tracer from "effect/Tracer"
import type { InstrumentationScope } from "../Tracing.ts"
import type { FinishedSpan, RecordedSpan } from "../TracingTest.ts"
import { makeLiveTracers } from "./liveTracer.ts"
import { generateSpanId, generateTraceId } from "./randomIds.ts"
import { KIND_NAMES, STATUS_NAMES, toMillis } from "./readableSpan.ts"
import { SpanStart } from "./spanStart.ts"

class MemoryProcessor implements SpanProcessor {
  /** In the order of their start; a set keeps it. */
  readonly started = new Set<ReadableSpan>()
  readonly ended: Array<ReadableSpan> = []

  onStart(span: ReadableSpan): void {
    this.started.add(span)
  }
  onEnd(span: ReadableSpan): void {
    // A span that was started before a reset is forgotten.
    if (this.started.has(span)) this.ended.push(span)
  }
  forceFlush(): Promise<void> {
    return Promise.resolve()
  }
  shutdown(): Promise<void> {
    return Promise.resolve()
  }
}

const toRecordedSpan = (span: ReadableSpan): RecordedSpan => {
  const { spanId, traceId } = span.spanContext()
  const { name, schemaUrl, version } = span.instrumentationScope
  const parent = span.parentSpanContext
  return {
    name: span.name,
    kind: KIND_NAMES[span.kind],
    traceId,
    spanId,
    parent: parent === undefined
      ? undefined
      : { traceId: parent.traceId, spanId: parent.spanId, isRemote: parent.isRemote === true },
    attributes: { ...span.attributes },
    status: {
      code: STATUS_NAMES[span.status.code],
      ...(span.status.message === undefined ? undefined : { message: span.status.message })
    },
    events: span.events.map((event) => ({
      name: event.name,
      attributes: { ...event.attributes },
      time: toMillis(event.time)
    })),
    links: span.links.map((link) => ({
      traceId: link.context.traceId,
      spanId: link.context.spanId,
      attributes: { ...link.attributes }
    })),
    scope: {
      name,
      ...(version === undefined ? undefined : { version }),
      ...(schemaUrl === undefined ? undefined : { schemaUrl })
    },
    start: toMillis(span.startTime),
    end: span.ended ? toMillis(span.endTime) : undefined,
    duration: span.ended ? toMillis(span.duration) : undefined
  }
}

/** @internal */
export interface MemoryTracers {
  readonly tracer: (scope: InstrumentationScope) => Tracer.Tracer
  /** The spans that have ended, in that order. */
  readonly finished: () => ReadonlyArray<FinishedSpan>
  /** All spans, in the order of their start. */
  readonly all: () => ReadonlyArray<RecordedSpan>
  readonly reset: () => void
}

/**
 * Makes tracers that share one memory. Nothing about them depends on the
 * environment of the process.
 *
 * @internal
 */
export const makeMemoryTracers = (options: {
  readonly sampler: Sampler | undefined
  readonly report: (message: string) => void
}): MemoryTracers => {
  const memory = new MemoryProcessor()
  const spanStart = new SpanStart(options.sampler ?? new ParentBasedSampler({ root: new AlwaysOnSampler() }))
  const provider = new BasicTracerProvider({
    sampler: spanStart.sampler,
    // The specification's own limits, spelled out so that the SDK does not look for others in `process.env`.
    spanLimits: {
      attributeCountLimit: 128,
      attributeValueLengthLimit: Infinity,
      eventCountLimit: 128,
      linkCountLimit: 128,
      attributePerEventCountLimit: 128,
      attributePerLinkCountLimit: 128
    },
    idGenerator: { generateTraceId, generateSpanId },
    spanProcessors: [spanStart.processor, memory]
  })
  return {
    tracer: makeLiveTracers({ provider, spanStart, report: options.report, marksRandomIds: true }),
    finished: () => memory.ended.map((span) => toRecordedSpan(span) as FinishedSpan),
    all: () => Array.from(memory.started, toRecordedSpan),
    reset: () => {
      memory.started.clear()
      memory.ended.length = 0
    }
  }
}
