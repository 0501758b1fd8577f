/**
 * The span processor that prints traces. It holds the spans of a trace until the trace has come to rest, so that what
 * a consumer does after its producer has ended is part of the same tree.
 *
 * @internal
 */
import { diag, TraceFlags } from "@opentelemetry/api"
import type { ReadableSpan, Span, SpanProcessor } from "@opentelemetry/sdk-trace-base"
import { KIND_NAMES, STATUS_NAMES, toMillis } from "./readableSpan.ts"
import { renderTrace, type TraceSpan } from "./traceTree.ts"

/** @internal */
export interface ConsoleProcessorOptions {
  /** Receives whole traces, each ending in an empty line. */
  readonly write: (text: string) => void
  /** The terminal's width; 0 when it is not known. */
  readonly columns: () => number
  readonly colors: boolean
  /** Milliseconds without a span that starts or ends, after which a trace without open spans is printed. */
  readonly quietMillis?: number | undefined
  readonly serviceName?: string | undefined
  /** Traces that are held at most; then the oldest is printed early. */
  readonly maxTraces?: number | undefined
  /** Ended spans that are held at most; then those of the oldest trace are printed early. */
  readonly maxSpans?: number | undefined
}

const DEFAULT_QUIET_MILLIS = 300
const DEFAULT_MAX_TRACES = 1000
const DEFAULT_MAX_SPANS = 20_000
/** Traces whose ids are remembered once they are printed. */
const MAX_PRINTED = 1000

interface PendingTrace {
  readonly traceId: string
  readonly open: Map<string, ReadableSpan>
  ended: Array<ReadableSpan>
  timer: NodeJS.Timeout | undefined
}

const isSampled = (span: ReadableSpan): boolean => (span.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0

/** @internal */
export class ConsoleProcessor implements SpanProcessor {
  private readonly options: ConsoleProcessorOptions
  private readonly maxTraces: number
  private readonly maxSpans: number
  /** By trace id, the oldest first. */
  private readonly traces = new Map<string, PendingTrace>()
  private readonly printed = new Set<string>()
  private held = 0
  private closed = false

  constructor(options: ConsoleProcessorOptions) {
    this.options = options
    this.maxTraces = options.maxTraces ?? DEFAULT_MAX_TRACES
    this.maxSpans = options.maxSpans ?? DEFAULT_MAX_SPANS
  }

  onStart(span: Span): void {
    if (this.closed || !isSampled(span)) return
    const trace = this.traceOf(span)
    trace.open.set(span.spanContext().spanId, span)
    clearTimeout(trace.timer)
  }

  onEnd(span: ReadableSpan): void {
    if (this.closed || !isSampled(span)) return
    const trace = this.traceOf(span)
    trace.open.delete(span.spanContext().spanId)
    trace.ended.push(span)
    this.held++
    clearTimeout(trace.timer)
    if (trace.open.size === 0) {
      trace.timer = setTimeout(() => this.printIfQuiet(trace), this.options.quietMillis ?? DEFAULT_QUIET_MILLIS).unref()
    }
    if (this.held > this.maxSpans) this.printOldest()
  }

  /** Prints the traces that have no open span. */
  async forceFlush(): Promise<void> {
    for (const trace of this.traces.values()) if (trace.open.size === 0) this.print(trace)
  }

  /** Prints everything, the spans that are still open included, and ignores what ends later. */
  async shutdown(): Promise<void> {
    this.closed = true
    for (const trace of this.traces.values()) this.print(trace)
    this.traces.clear()
  }

  /** After a stall, the timer is overdue while a message that continues the trace still waits to be read. */
  private printIfQuiet(trace: PendingTrace): void {
    const ended = trace.ended.length
    setImmediate(() => {
      if (trace.open.size === 0 && trace.ended.length === ended) this.print(trace)
    }).unref()
  }

  private traceOf(span: ReadableSpan): PendingTrace {
    const { traceId } = span.spanContext()
    let trace = this.traces.get(traceId)
    if (trace === undefined) {
      if (this.traces.size >= this.maxTraces) this.forgetOldest()
      trace = { traceId, open: new Map(), ended: [], timer: undefined }
      this.traces.set(traceId, trace)
    }
    return trace
  }

  private printOldest(): void {
    for (const trace of this.traces.values()) {
      if (trace.ended.length === 0) continue
      return this.print(trace, `printed early: no more than ${this.maxSpans} spans are held`)
    }
  }

  private forgetOldest(): void {
    for (const trace of this.traces.values()) {
      this.traces.delete(trace.traceId)
      if (trace.ended.length === 0) return
      return this.print(trace, `printed early: no more than ${this.maxTraces} traces are held`)
    }
  }

  private print(trace: PendingTrace, note?: string): void {
    clearTimeout(trace.timer)
    const spans = [...trace.ended, ...trace.open.values()]
    this.held -= trace.ended.length
    trace.ended = []
    if (trace.open.size === 0) this.traces.delete(trace.traceId)

    const notes = this.printed.has(trace.traceId) ? ["continued"] : []
    if (note !== undefined) notes.push(note)
    this.remember(trace.traceId)
    // This runs inside the program's own work, or in a timer of which nobody knows.
    try {
      const { colors, columns, serviceName, write } = this.options
      write(`${renderTrace(spans.map(toTraceSpan), { columns: columns(), colors, serviceName, notes })}\n\n`)
    } catch (error) {
      diag.error("A trace could not be printed", error)
    }
  }

  private remember(traceId: string): void {
    this.printed.add(traceId)
    if (this.printed.size <= MAX_PRINTED) return
    for (const oldest of this.printed) {
      this.printed.delete(oldest)
      return
    }
  }
}

const toTraceSpan = (span: ReadableSpan): TraceSpan => ({
  traceId: span.spanContext().traceId,
  spanId: span.spanContext().spanId,
  parentSpanId: span.parentSpanContext?.spanId,
  name: span.name,
  kind: KIND_NAMES[span.kind],
  start: toMillis(span.startTime),
  duration: span.ended ? toMillis(span.duration) : undefined,
  attributes: span.attributes,
  events: span.events,
  links: span.links.map(({ context }) => ({ traceId: context.traceId, spanId: context.spanId })),
  status: { code: STATUS_NAMES[span.status.code], message: span.status.message },
  dropped: span.droppedAttributesCount + span.droppedEventsCount + span.droppedLinksCount
})

/**
 * Whether to write colours: `NO_COLOR` forbids them and `FORCE_COLOR` demands them; otherwise they are for terminals
 * that know them.
 *
 * @internal
 */
export const detectColors = (env: Record<string, string | undefined>, isTTY: boolean): boolean => {
  const isSet = (value: string | undefined): value is string => value !== undefined && value !== ""
  if (isSet(env.NO_COLOR)) return false
  if (isSet(env.FORCE_COLOR)) return env.FORCE_COLOR !== "0" && env.FORCE_COLOR !== "false"
  return isTTY && env.TERM !== "dumb"
}
