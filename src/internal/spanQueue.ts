/**
 * The span processor between the SDK and an exporter. It holds what has ended
 * until the exporter has taken it, and counts exactly what became of it.
 *
 * Spans are gathered in batches, and a batch stays together: it is queued, sent
 * and kept for a retry as it is. `kept` holds the batches that have failed an
 * attempt, `due` those that wait for their first one or that a flush wants to
 * be tried again, `open` is being filled.
 *
 * @internal
 */
import { type Attributes, context, ROOT_CONTEXT, TraceFlags } from "@opentelemetry/api"
import { type ExportResult, ExportResultCode, suppressTracing } from "@opentelemetry/core"
import type { ReadableSpan, SpanExporter, SpanProcessor } from "@opentelemetry/sdk-trace-base"
import * as Predicate from "effect/Predicate"
import type { ExportStats } from "../Tracing.ts"
import { describe, explain, isAnswer, judge, oneLine } from "./exportFailure.ts"

/** @internal */
export interface SpanQueueOptions {
  readonly exporter: SpanExporter
  /** Where it exports to, as a message shows it. There may be more than one. */
  readonly destination?: string | undefined
  /** Gives up what the exporter has under way, which would keep the process alive. It goes on with what comes next. */
  readonly cancel?: (() => void) | undefined
  /** Spans that are held at most, those being sent included. */
  readonly maxQueueSize: number
  /** Bytes that these spans may take, as `estimateBytes` sees it. */
  readonly maxQueueBytes: number
  readonly maxExportBatchSize: number
  /** Estimated bytes of one request. */
  readonly maxExportBatchBytes: number
  /** Milliseconds that a span waits for its batch to fill. */
  readonly scheduleDelay: number
  /** Milliseconds after which an attempt counts as failed. */
  readonly exportTimeout: number
  /** Receives what a user should be warned about: a few sentences per incident, however many spans it costs. */
  readonly report: (message: string) => void
  /** Replaces `Math.random`. */
  readonly random?: () => number
}

/** What an exporter may add to a success; those that do not are taken to have delivered everything. @internal */
export interface SpanExportResult extends ExportResult {
  readonly partialSuccess?: PartialSuccess | undefined
}

/** OTLP's `ExportTracePartialSuccess`: zero rejected spans and a message are a mere warning. @internal */
export interface PartialSuccess {
  readonly rejectedSpans?: number | undefined
  readonly errorMessage?: string | undefined
}

/**
 * Requests in flight at most. One alone sends 512 spans per round trip, too few where a collector is distant or slow;
 * beyond eight the process's own serialization is what limits.
 */
const MAX_IN_FLIGHT = 8

const INITIAL_BACKOFF = 1000
const BACKOFF_FACTOR = 1.5
const MAX_BACKOFF = 30_000
/** During shutdown there is no tomorrow. */
const SHUTDOWN_BACKOFF = 200
/** A server that asks for a longer pause than this is taken to be mistaken. */
const MAX_SERVER_DELAY = 300_000

const DEFAULT_SHUTDOWN_TIMEOUT = 5000

/** Loss is over when none was seen for this long; shorter pauses would report the same overload again and again. */
const LOSS_QUIET = 10_000
/** A collector that comes and goes, or warns with every request, is reported this often at most. */
const REPORT_QUIET = 60_000

/** No batch limit that was learned from a refusal goes below this. */
const MIN_BATCH_BYTES = 65_536

/** What `setTimeout` can hold: beyond it, it fires at once. */
const MAX_TIMER = 2 ** 31 - 1

/** Not the context of whoever ended the span that filled the batch: the request is no part of that trace. */
const EXPORT_CONTEXT = suppressTracing(ROOT_CONTEXT)

const NOT_EXPORTED = "not exported before release"
const NO_FAILURE = "there was no answer in time"

const DEADLINE_EXCEEDED = 4

/** @internal */
export class SpanQueue implements SpanProcessor {
  private readonly options: SpanQueueOptions
  private readonly random: () => number
  private readonly destination: string
  private readonly batchSize: number
  private batchBytes: number

  private ended = 0
  private exported = 0
  private dropped = 0
  private queued = 0
  private bytes = 0

  private open: Batch | undefined
  private readonly due = new BatchList()
  private readonly kept = new BatchList()
  private readonly inFlight = new Set<Batch>()

  private openTimer: NodeJS.Timeout | undefined
  private pumpTimer: NodeJS.Immediate | undefined
  private retryTimer: NodeJS.Timeout | undefined
  /** Failed attempts since the collector last answered; those that overlap count once. */
  private failures = 0
  /** When the collector may be asked again. */
  private retryAt = 0
  private lastFailure = NO_FAILURE
  private lastFailed: Batch | undefined
  private outageReported = false

  /** What was lost in the present incident, by reason. */
  private readonly losses = new Map<string, number>()
  private lossTimer: NodeJS.Timeout | undefined
  private lossSeen = false
  private lateReported = false
  private readonly reportedAt = new Map<string, number>()

  private stopping: Promise<void> | undefined
  private finish: (() => void) | undefined
  private closed = false

  constructor(options: SpanQueueOptions) {
    this.options = options
    this.random = options.random ?? Math.random
    this.destination = options.destination === undefined ? "" : ` to ${options.destination}`
    // A queue that is filled by a single batch has no room for what ends while that is sent.
    this.batchSize = Math.min(options.maxExportBatchSize, Math.ceil(options.maxQueueSize / 2))
    this.batchBytes = options.maxExportBatchBytes
  }

  get stats(): ExportStats {
    return { ended: this.ended, exported: this.exported, dropped: this.dropped, queued: this.queued }
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) === 0) return
    this.ended++
    if (this.closed) return this.loseLate()
    const { maxQueueBytes, maxQueueSize } = this.options
    const bytes = estimateBytes(span)
    if (bytes > maxQueueBytes) {
      return this.loseOversized(`about ${bytes} bytes, the whole queue may take ${maxQueueBytes}`)
    }

    if (this.open !== undefined && this.open.bytes + bytes > this.batchBytes) this.seal()
    const batch = this.open ??= this.openBatch()
    batch.spans.push(span)
    batch.sizes.push(bytes)
    batch.bytes += bytes
    this.queued++
    this.bytes += bytes
    if (batch.spans.length >= this.batchSize || batch.bytes >= this.batchBytes) this.seal()

    while (this.queued > maxQueueSize || this.bytes > maxQueueBytes) this.dropOldest()
  }

  /**
   * Resolves when all that was queued at the call is exported or dropped, or has failed an attempt of its own. It
   * ignores backoff, but not a slow exporter: whoever cannot wait puts a timeout on it.
   */
  async forceFlush(): Promise<void> {
    if (this.closed) return
    this.seal()
    this.due.prepend(this.kept)
    await new Promise<void>((resolve) => {
      const flush: Flush = { pending: 1, resolve }
      for (const batch of this.inFlight) joinFlush(batch, flush)
      for (let batch = this.due.head; batch !== undefined; batch = batch.next) joinFlush(batch, flush)
      settleFlush(flush)
      this.wake()
    })
    await quietly(() => this.options.exporter.forceFlush?.())
  }

  /**
   * Exports what is queued for `timeout` milliseconds at most, retrying fast, then counts the rest as dropped and shuts
   * the exporter down. Spans that end meanwhile are still taken.
   */
  shutdown(timeout: number = DEFAULT_SHUTDOWN_TIMEOUT): Promise<void> {
    return this.stopping ??= this.drain(timeout, (deadline) => {
      this.closed = true
      this.discard()
      return withTimeout(quietly(() => this.options.exporter.shutdown()), deadline - performance.now())
    })
  }

  /**
   * As `shutdown`, but what ends afterwards is taken as before: a process that has nothing left to do may be given more.
   */
  abandon(timeout: number): Promise<void> {
    return this.stopping ?? this.drain(timeout, () => {
      this.discard()
      this.options.cancel?.()
      return Promise.resolve()
    })
  }

  private drain(timeout: number, end: (deadline: number) => Promise<unknown>): Promise<void> {
    return new Promise((resolve) => {
      const deadline = performance.now() + timeout
      const finish = () => {
        clearTimeout(timer)
        // A shutdown may have taken over.
        if (this.finish !== finish) return resolve()
        this.finish = undefined
        void end(deadline).then(() => resolve())
      }
      // Not unref'd: whoever awaits the shutdown must not find the process gone.
      const timer = setTimeout(finish, timerDelay(timeout))
      this.finish = finish
      this.seal()
      this.due.prepend(this.kept)
      this.retryAt = 0
      this.next()
    })
  }

  // -- filling -------------------------------------------------------------------------------------------------------

  private openBatch(): Batch {
    const delay = this.finish === undefined ? this.options.scheduleDelay : 0
    this.openTimer = setTimeout(() => this.seal(), timerDelay(delay)).unref()
    return makeBatch([], [], 0)
  }

  /** Closes the batch that is being filled: it is due now. */
  private seal(): void {
    if (this.open === undefined) return
    clearTimeout(this.openTimer)
    this.due.push(this.open)
    this.open = undefined
    this.wake()
  }

  /** A batch that was kept for a retry is older than anything else; what is in flight cannot be taken back. */
  private dropOldest(): void {
    const list = this.kept.head === undefined ? this.due : this.kept
    const batch = list.head ?? this.open
    if (batch === undefined) return
    const bytes = batch.sizes[batch.start]!
    batch.spans[batch.start] = undefined
    batch.start++
    batch.bytes -= bytes
    this.queued--
    this.bytes -= bytes
    if (batch.start === batch.spans.length) {
      if (batch === list.head) list.shift()
      else this.discardOpen()
      leaveFlushes(batch)
    }
    this.lose("dropped from a full queue", 1, () => {
      const { maxQueueBytes, maxQueueSize } = this.options
      const failure = this.failures === 0 ? "" : ` The collector cannot be reached: ${this.lastFailure}.`
      return `The span queue is full (${maxQueueSize} spans or ${maxQueueBytes} bytes), so the oldest spans are dropped.` +
        `${failure} OTEL_BSP_MAX_QUEUE_SIZE and maxQueueBytes make it larger.`
    })
  }

  private discardOpen(): void {
    clearTimeout(this.openTimer)
    this.open = undefined
  }

  // -- sending -------------------------------------------------------------------------------------------------------

  /** Sends what may be sent, a batch per turn of the event loop, and never from inside the caller's own work. */
  private wake(): void {
    if (this.closed || this.pumpTimer !== undefined) return
    const now = performance.now()
    if (this.nextBatch(now) === undefined) return this.wakeLater(now)
    this.pumpTimer = setImmediate(() => {
      this.pumpTimer = undefined
      const batch = this.nextBatch(performance.now())
      if (batch !== undefined) {
        if (batch === this.due.head) this.due.shift()
        else this.kept.remove(batch)
        this.attempt(batch)
      }
      this.wake()
    })
  }

  /** When it is not a request in flight that is waited for, it is the time of a retry. */
  private wakeLater(now: number): void {
    clearTimeout(this.retryTimer)
    const at = Math.max(this.retryAt, this.due.head === undefined ? this.kept.earliestRetry() : 0)
    if (at > now && at < Infinity) this.retryTimer = setTimeout(() => this.wake(), timerDelay(at - now)).unref()
  }

  private nextBatch(now: number): Batch | undefined {
    const due = this.due.head
    // What a flush waits for goes out even if the collector was last seen down.
    const flushing = due?.flushes !== undefined
    const isProbing = this.failures > 0 && !flushing && this.finish === undefined
    if (this.inFlight.size >= (isProbing ? 1 : MAX_IN_FLIGHT)) return undefined
    if (flushing) return due
    if (now < this.retryAt) return undefined
    // Every other probe is a batch that has not failed yet: the batch may be what is wrong, and not the collector.
    if (due !== undefined && isProbing && this.failures % 2 === 0) return due
    return this.kept.firstToRetry(now) ?? due
  }

  private attempt(batch: Batch): void {
    const number = ++batch.attempts
    const failuresBefore = this.failures
    this.inFlight.add(batch)
    const isCurrent = () => number === batch.attempts && this.inFlight.has(batch)
    const end = (result: unknown) => {
      if (this.closed || batch.done) return
      // A success counts even when its attempt is over: what has arrived must neither be sent again nor count as lost.
      if (!isSuccess(result) && !isCurrent()) return
      clearTimeout(batch.timer)
      if (!this.inFlight.delete(batch) && !this.kept.remove(batch)) this.due.remove(batch)
      // What was in flight when others failed says nothing about whether the collector is back.
      const isNews = this.failures === failuresBefore
      if (isSuccess(result)) this.succeed(batch, result.partialSuccess, isNews)
      else this.fail(batch, Predicate.hasProperty(result, "error") ? result.error : undefined, isNews)
      leaveFlushes(batch)
      this.next()
    }
    const { exportTimeout } = this.options
    batch.timer = setTimeout(
      () =>
        end({
          code: ExportResultCode.FAILED,
          error: { code: DEADLINE_EXCEEDED, message: `no answer within ${exportTimeout} ms` }
        }),
      timerDelay(exportTimeout)
    ).unref()
    // A second attempt does not wait: a resource that is never detected must not hold up its spans for ever.
    const detecting = number === 1 ? detectingResources(batch.spans) : undefined
    if (detecting === undefined) this.send(batch, end)
    else detecting.then(() => isCurrent() && this.send(batch, end))
  }

  /** Not a part of what `end` closes over: an exporter may hold on to that long after it has called it. */
  private send(batch: Batch, end: (result: unknown) => void): void {
    const { exporter } = this.options
    // The exporter gets a copy: a batch that is sent twice must not depend on what it did to the first.
    const spans = batch.spans.slice(batch.start) as Array<ReadableSpan>
    const fail = (error: unknown) => end({ code: ExportResultCode.FAILED, error })
    try {
      const returned: unknown = context.with(EXPORT_CONTEXT, () => exporter.export(spans, end))
      // An `async` function rejects where another throws.
      if (Predicate.isPromiseLike(returned)) returned.then(undefined, fail)
    } catch (error) {
      fail(error)
    }
  }

  /** After an attempt: goes on, or ends the shutdown when nothing is left. */
  private next(): void {
    if (this.finish !== undefined && this.queued === 0) this.finish()
    else this.wake()
  }

  private succeed(batch: Batch, partial: PartialSuccess | undefined, isNews: boolean): void {
    const count = this.release(batch)
    const rejected = Math.min(count, toCount(partial?.rejectedSpans))
    const message = oneLine(partial?.errorMessage)
    this.exported += count - rejected
    if (rejected > 0) {
      this.lose(
        "rejected from batches that were accepted in part",
        rejected,
        () =>
          `The collector accepted a batch of ${count} spans but for ${rejected}, which are lost` +
          (message === "" ? "." : `: ${message}`)
      )
    } else if (message !== "") {
      this.reportRarely("warning", `The collector accepted the spans with a warning: ${message}`)
    }
    if (isNews) this.recover()
  }

  private fail(batch: Batch, error: unknown, isNews: boolean): void {
    const verdict = judge(error)
    const count = batch.spans.length - batch.start
    if (verdict._tag === "Retry") {
      this.kept.push(batch)
      return this.backOff(batch, verdict.delay, error)
    }
    if (isNews) this.recover()
    if (verdict._tag === "Reject") {
      this.release(batch)
      const [reason, failure] = isAnswer(error)
        ? ["refused by the collector", "The collector refused"]
        : ["that the exporter failed on", "The exporter failed on"]
      this.lose(
        reason,
        count,
        () => `${failure} a batch of ${count} spans, which are lost: ${explain(error)}.`
      )
    } else if (count === 1) {
      this.release(batch)
      this.loseOversized(`the collector refused it: ${describe(error)}`)
    } else {
      // Estimated bytes are not the collector's: the refusal tells how many of ours it takes.
      this.batchBytes = Math.max(MIN_BATCH_BYTES, Math.min(this.batchBytes, batch.bytes / 2))
      this.split(batch)
    }
  }

  private split(batch: Batch): void {
    const middle = (batch.start + batch.spans.length) >> 1
    for (const half of [sliceBatch(batch, middle), sliceBatch(batch, batch.start, middle)]) {
      for (const flush of batch.flushes ?? []) joinFlush(half, flush)
      this.due.unshift(half)
    }
    retire(batch)
  }

  /** Takes the batch out of the numbers of the queue; returns how many spans it had. */
  private release(batch: Batch): number {
    const count = batch.spans.length - batch.start
    retire(batch)
    this.queued -= count
    this.bytes -= batch.bytes
    return count
  }

  // -- outages -------------------------------------------------------------------------------------------------------

  private backOff(batch: Batch, serverDelay: number | undefined, error: unknown): void {
    const now = performance.now()
    const stopping = this.finish !== undefined
    const backoff = (failures: number) =>
      (stopping ? SHUTDOWN_BACKOFF : Math.min(MAX_BACKOFF, INITIAL_BACKOFF * BACKOFF_FACTOR ** (failures - 1))) *
      (0.8 + 0.4 * this.random())
    batch.retryAt = 0
    const isAlone = this.lastFailed === undefined || this.lastFailed === batch
    this.lastFailed = batch
    if (serverDelay === undefined && this.failures === 0 && batch.attempts > 1 && isAlone) {
      // The collector has taken others since this batch failed before: they need not wait for it.
      batch.retryAt = now + backoff(batch.attempts)
      return
    }
    this.lastFailure = explain(error)
    // Failures that overlap are one.
    if (this.failures === 0 || now >= this.retryAt) this.failures++
    const delay = serverDelay === undefined ? backoff(this.failures) : Math.min(serverDelay, MAX_SERVER_DELAY)
    this.retryAt = Math.max(this.retryAt, now + delay)
    if (stopping || this.outageReported) return
    this.outageReported = this.reportRarely(
      "outage",
      `Spans cannot be exported${this.destination} at present; they are kept and retried: ${this.lastFailure}`
    )
  }

  private recover(): void {
    this.failures = 0
    this.lastFailed = undefined
    this.retryAt = 0
    this.lastFailure = NO_FAILURE
    if (!this.outageReported) return
    this.outageReported = false
    this.report(
      `Spans are exported${this.destination} again.${this.queued === 0 ? "" : ` ${this.queued} are still waiting.`}`
    )
  }

  // -- losses --------------------------------------------------------------------------------------------------------

  /** Counts a loss. The first of its kind in an incident is reported at once, the others together when it is over. */
  private lose(reason: string, count: number, describeLoss: () => string): void {
    const before = this.losses.get(reason)
    this.losses.set(reason, (before ?? 0) + count)
    this.dropped += count
    this.lossSeen = true
    this.lossTimer ??= setInterval(() => {
      if (this.lossSeen) this.lossSeen = false
      else this.reportLosses()
    }, LOSS_QUIET).unref()
    if (before === undefined) this.report(describeLoss())
  }

  private loseOversized(why: string): void {
    this.lose(
      "too large",
      1,
      () => `A span is too large and is lost (${why}). OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT cuts long attributes.`
    )
  }

  private loseLate(): void {
    this.dropped++
    if (this.lateReported) return
    this.lateReported = true
    this.report("A span ended after tracing was released and is lost; so is every other that ends from now on.")
  }

  private reportLosses(): void {
    clearInterval(this.lossTimer)
    this.lossTimer = undefined
    if (this.losses.size === 0) return
    let total = 0
    const parts: Array<string> = []
    for (const [reason, count] of this.losses) {
      total += count
      parts.push(`${count} ${reason}`)
    }
    const failure = this.losses.has(NOT_EXPORTED) ? ` The last failure: ${this.lastFailure}.` : ""
    this.losses.clear()
    this.report(`Spans were lost, ${total} in all: ${parts.join(", ")}.${failure}`)
  }

  /** Counts all that is queued as lost. */
  private discard(): void {
    this.discardOpen()
    clearImmediate(this.pumpTimer)
    this.pumpTimer = undefined
    clearTimeout(this.retryTimer)
    for (const batch of this.inFlight) {
      clearTimeout(batch.timer)
      leaveFlushes(batch)
      retire(batch)
    }
    this.inFlight.clear()
    this.lastFailed = undefined
    this.kept.clear()
    this.due.clear()
    if (this.queued > 0) {
      this.losses.set(NOT_EXPORTED, this.queued)
      this.dropped += this.queued
      this.queued = 0
      this.bytes = 0
    }
    this.reportLosses()
  }

  private reportRarely(kind: string, message: string): boolean {
    const now = performance.now()
    if (now - (this.reportedAt.get(kind) ?? Number.NEGATIVE_INFINITY) < REPORT_QUIET) return false
    this.reportedAt.set(kind, now)
    this.report(message)
    return true
  }

  /** Spans end in the user's code: a logger that throws must not reach it. */
  private report(message: string): void {
    try {
      this.options.report(message)
    } catch {
      // There is nobody left to tell.
    }
  }
}

// -- batches ---------------------------------------------------------------------------------------------------------

interface Batch {
  /** Those before `start` were dropped. None when the batch is done: the request's own callback may live on for long. */
  spans: Array<ReadableSpan | undefined>
  readonly sizes: Array<number>
  start: number
  bytes: number
  attempts: number
  /** When this batch may be sent again, if it failed while others did not. */
  retryAt: number
  timer: NodeJS.Timeout | undefined
  /** Exported, lost or replaced by its halves: whatever the exporter still says about it is too late. */
  done: boolean
  flushes: Array<Flush> | undefined
  next: Batch | undefined
}

const makeBatch = (spans: Batch["spans"], sizes: Batch["sizes"], bytes: number): Batch => ({
  spans,
  sizes,
  start: 0,
  bytes,
  attempts: 0,
  retryAt: 0,
  timer: undefined,
  done: false,
  flushes: undefined,
  next: undefined
})

const retire = (batch: Batch): void => {
  batch.done = true
  batch.spans = []
}

const sliceBatch = (batch: Batch, start: number, end?: number): Batch => {
  const sizes = batch.sizes.slice(start, end)
  return makeBatch(batch.spans.slice(start, end), sizes, sizes.reduce((sum, size) => sum + size, 0))
}

/** A queue of batches: everything that a span or a request pays for is O(1). */
class BatchList {
  head: Batch | undefined
  private tail: Batch | undefined

  push(batch: Batch): void {
    if (this.tail === undefined) this.head = batch
    else this.tail.next = batch
    this.tail = batch
  }

  unshift(batch: Batch): void {
    batch.next = this.head
    this.head = batch
    this.tail ??= batch
  }

  shift(): Batch | undefined {
    const batch = this.head
    if (batch !== undefined) this.head = batch.next
    if (this.head === undefined) this.tail = undefined
    if (batch !== undefined) batch.next = undefined
    return batch
  }

  /** Moves all of another list to the front of this one. */
  prepend(other: BatchList): void {
    if (other.tail === undefined) return
    other.tail.next = this.head
    this.head = other.head
    this.tail ??= other.tail
    other.head = undefined
    other.tail = undefined
  }

  /** Of those that wait for a time of their own only few can be before it. */
  firstToRetry(now: number): Batch | undefined {
    let batch = this.head
    while (batch !== undefined && batch.retryAt > now) batch = batch.next
    return batch
  }

  earliestRetry(): number {
    let earliest = Infinity
    for (let batch = this.head; batch !== undefined && earliest > 0; batch = batch.next) {
      earliest = Math.min(earliest, batch.retryAt)
    }
    return earliest
  }

  /** Linear, for a batch that is at the front or in a short list, but for the rare late answer. */
  remove(batch: Batch): boolean {
    let previous: Batch | undefined
    for (let at = this.head; at !== undefined; previous = at, at = at.next) {
      if (at !== batch) continue
      if (previous === undefined) this.shift()
      else {
        previous.next = batch.next
        if (batch.next === undefined) this.tail = previous
        batch.next = undefined
      }
      return true
    }
    return false
  }

  clear(): void {
    for (let batch = this.shift(); batch !== undefined; batch = this.shift()) leaveFlushes(batch)
  }
}

/** A `forceFlush` that waits for so many batches. */
interface Flush {
  pending: number
  readonly resolve: () => void
}

const joinFlush = (batch: Batch, flush: Flush): void => {
  flush.pending++
  ;(batch.flushes ??= []).push(flush)
}

const settleFlush = (flush: Flush): void => {
  if (--flush.pending === 0) flush.resolve()
}

const leaveFlushes = (batch: Batch): void => {
  const flushes = batch.flushes
  batch.flushes = undefined
  flushes?.forEach(settleFlush)
}

// -- sizes -----------------------------------------------------------------------------------------------------------

/** Identifiers, times, status: more than they take on the wire, less than in memory, where the count bounds them. */
const SPAN_BYTES = 256
const EVENT_BYTES = 64
const LINK_BYTES = 96
const VALUE_BYTES = 16
/** Shorter strings are taken by their length: finding out their bytes would cost more than it could correct. */
const SHORT_STRING = 128

const estimateBytes = (span: ReadableSpan): number => {
  let bytes = SPAN_BYTES + nameBytes(span.name) + attributesBytes(span.attributes)
  for (const event of span.events) {
    bytes += EVENT_BYTES + nameBytes(event.name)
    if (event.attributes !== undefined) bytes += attributesBytes(event.attributes)
  }
  for (const link of span.links) {
    bytes += LINK_BYTES
    if (link.attributes !== undefined) bytes += attributesBytes(link.attributes)
  }
  if (span.status.message !== undefined) bytes += stringBytes(span.status.message)
  return bytes
}

const attributesBytes = (attributes: Attributes): number => {
  let bytes = 0
  for (const key in attributes) {
    const value = attributes[key]
    bytes += VALUE_BYTES + key.length
    if (typeof value === "string") bytes += stringBytes(value)
    else if (Array.isArray(value)) {
      for (const item of value) bytes += VALUE_BYTES + (typeof item === "string" ? stringBytes(item) : 0)
    }
  }
  return bytes
}

/** The SDK takes anything for a name. */
const nameBytes = (name: unknown): number => Predicate.isString(name) ? stringBytes(name) : VALUE_BYTES

const stringBytes = (value: string): number => value.length < SHORT_STRING ? value.length : Buffer.byteLength(value)

// -- the exporter ----------------------------------------------------------------------------------------------------

const isSuccess = (result: unknown): result is SpanExportResult =>
  Predicate.hasProperty(result, "code") && result.code === ExportResultCode.SUCCESS

/** A number from elsewhere as a count of spans. */
const toCount = (value: unknown): number => Predicate.isNumber(value) && value > 0 ? Math.floor(value) : 0

/** Waits for the resource attributes that are still being detected, if any. */
const detectingResources = (spans: Batch["spans"]): Promise<unknown> | undefined => {
  const pending = new Set<ReadableSpan["resource"]>()
  for (const span of spans) if (span?.resource.asyncAttributesPending === true) pending.add(span.resource)
  return pending.size === 0
    ? undefined
    : Promise.allSettled(Array.from(pending, (resource) => resource.waitForAsyncAttributes?.()))
}

/** Runs code of the exporter's whose failure concerns nobody. */
const quietly = async (run: () => Promise<void> | undefined): Promise<void> => {
  try {
    await run()
  } catch {
    // What could be exported has been counted already.
  }
}

const withTimeout = (promise: Promise<void>, timeout: number): Promise<void> => {
  const { promise: result, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, timerDelay(timeout))
  void promise.then(() => {
    clearTimeout(timer)
    resolve()
  })
  return result
}

const timerDelay = (millis: number): number => Math.min(Math.max(0, Math.ceil(millis)), MAX_TIMER)
