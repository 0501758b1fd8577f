/**
 * An Effect `Tracer` on an OpenTelemetry `TracerProvider`. Only ever loaded
 * together with the SDK.
 *
 * @internal
 */
import * as Otel from "@opentelemetry/api"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Tracer from "effect/Tracer"
import { Baggage } from "../Carrier.ts"
import { FLAG_RANDOM, FLAG_SAMPLED } from "../TraceContext.ts"
import type { InstrumentationScope } from "../Tracing.ts"
import { errorType, isSensitive, quotes } from "./errors.ts"
import { type LiveSpanLike, LiveSpanTypeId } from "./liveSpan.ts"
import { noopTracer } from "./noopTracer.ts"
import { type LoomContextManager, makeContextHook, withSpan } from "./otelContext.ts"
import { generateSpanId, generateTraceId } from "./randomIds.ts"
import { type ScopedTracer, ScopedTracerTypeId } from "./scopedTracer.ts"
import { OtelSpanTypeId, propagatedSpan, traceFlagsOf, traceStateOf } from "./spanContext.ts"
import type { SpanStart } from "./spanStart.ts"
import { SpanSource } from "./startAttributes.ts"
import { hidesToolkitArguments, TOOLKIT_ARGUMENTS } from "./toolkitArguments.ts"

type SpanOptions = Parameters<Tracer.Tracer["span"]>[0]

const MAX_HIDDEN_TEXTS = 256
/** Characters. */
const MAX_HIDDEN_LENGTH = 1024 * 1024

const NANOS_PER_SECOND = 1e9
const words = new DataView(new ArrayBuffer(8))

/**
 * To divide a big integer costs more than all of this, which takes its 64 bits
 * as numbers of 16, 16 and 32. Sums of their nanoseconds are still exact: 2^32
 * ns are 4 s and 294,967,296 ns, 2^48 ns are 281,474 s and 976,710,656 ns.
 */
const toHrTime = (nanos: bigint): Otel.HrTime => {
  words.setBigUint64(0, nanos)
  const high = words.getUint16(0)
  const middle = words.getUint16(2)
  const rest = high * 976_710_656 + middle * 294_967_296 + words.getUint32(4)
  const seconds = Math.floor(rest / NANOS_PER_SECOND)
  return [high * 281_474 + middle * 4 + seconds, rest - seconds * NANOS_PER_SECOND]
}

const SPAN_KIND = {
  internal: Otel.SpanKind.INTERNAL,
  server: Otel.SpanKind.SERVER,
  client: Otel.SpanKind.CLIENT,
  producer: Otel.SpanKind.PRODUCER,
  consumer: Otel.SpanKind.CONSUMER
} as const

const isPrimitiveArray = (value: ReadonlyArray<unknown>): boolean => {
  const type = typeof value[0]
  if (value.length > 0 && type !== "string" && type !== "number" && type !== "boolean") return false
  return value.every((item) => typeof item === type)
}

/** An object may throw wherever it is touched. Then there is nothing to record of it. */
const toArrayOrText = (value: unknown): Otel.AttributeValue | undefined => {
  try {
    if (Array.isArray(value) && isPrimitiveArray(value)) return value.slice()
    return Inspectable.toStringUnknown(value, 0)
  } catch {
    return undefined
  }
}

/** What OpenTelemetry can hold of a value; `undefined` for one that is absent. */
const toAttributeValue = (value: unknown): Otel.AttributeValue | undefined => {
  switch (typeof value) {
    case "string":
    case "number":
    case "boolean":
      return value
    case "undefined":
      return undefined
    case "bigint":
      return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString()
    default:
      if (value === null) return undefined
      return toArrayOrText(value)
  }
}

const toAttributes = (record: Readonly<Record<string, unknown>> | undefined): Otel.Attributes => {
  const attributes: Otel.Attributes = {}
  if (record === undefined) return attributes
  for (const key of Object.keys(record)) {
    const value = toAttributeValue(record[key])
    if (value !== undefined) attributes[key] = value
  }
  return attributes
}

const toSpanContext = (span: Tracer.AnySpan): Otel.SpanContext => {
  const spanContext: Otel.SpanContext = {
    traceId: span.traceId,
    spanId: span.spanId,
    traceFlags: traceFlagsOf(span),
    isRemote: span._tag === "ExternalSpan"
  }
  const traceState = traceStateOf(span)
  if (traceState !== undefined) spanContext.traceState = traceState as Otel.TraceState
  return spanContext
}

const toLink = (link: Tracer.SpanLink): Otel.Link => ({
  context: toSpanContext(link.span),
  attributes: toAttributes(link.attributes)
})

/** The OpenTelemetry context in which children of a span start. */
const contextOf = (span: Tracer.AnySpan): Otel.Context =>
  span instanceof LiveSpan
    ? span.otelContext
    : withSpan(Otel.context.active(), Otel.trace.wrapSpanContext(toSpanContext(span)))

/** The parent to record a span under. Not one of Effect's default tracer, whose id nobody will ever export. */
const parentOf = (options: SpanOptions): Tracer.AnySpan | undefined => {
  const parent = Option.getOrUndefined(options.parent)
  // A span that is being recorded has valid ids; to see that in the ids themselves takes longer.
  const isRecorded = parent instanceof LiveSpan && parent.span.isRecording() &&
    !Context.get(parent.annotations, Tracer.DisablePropagation)
  return isRecorded ? parent : propagatedSpan(parent)
}

const toSpanOptions = (options: SpanOptions): Otel.SpanOptions => {
  const spanOptions: Otel.SpanOptions = {
    kind: SPAN_KIND[options.kind],
    startTime: toHrTime(options.startTime)
  }
  if (options.links.length > 0) spanOptions.links = options.links.map(toLink)
  return spanOptions
}

/** Starts a span of a provider that is not ours, and takes its attributes from the options. */
const startSpan: SpanStart["start"] = (tracer, name, options, context, attributes) => {
  if (attributes !== undefined) options.attributes = attributes
  return tracer.startSpan(name, options, context)
}

/**
 * Effect says "not sampled" for a child of an unsampled parent too. That is the
 * sampler's to decide, unless the parent was left out by Effect itself.
 */
const isLeftOut = (options: SpanOptions): boolean => {
  if (options.sampled) return false
  const parent = Option.getOrUndefined(options.parent)
  return parent === undefined || parent.sampled || (parent instanceof LiveSpan && parent.leftOut)
}

const markRandom = (spanContext: Otel.SpanContext): void => {
  // Where tracing is suppressed, the API gives out a constant that all the process shares.
  if (spanContext.traceId === Otel.INVALID_TRACEID) return
  try {
    spanContext.traceFlags |= FLAG_RANDOM
  } catch {
    // Another vendor's may be frozen.
  }
}

/** What the spans of a provider share. */
interface TracerState {
  readonly startSpan: SpanStart["start"]
  readonly marksRandomIds: boolean
  /** The keys of baggage members that become attributes; `undefined` when none do. */
  readonly baggageKeys: ReadonlySet<string> | undefined
  readonly thrown: (error: unknown) => void
}

/**
 * Reports the first of what a provider and what belongs to it throw.
 *
 * @internal
 */
export const reportThrown = (report: (message: string) => void) => {
  let reported = false
  return (error: unknown): void => {
    if (reported) return
    reported = true
    report(`A provider, sampler or span processor has thrown; spans that it throws at may be lost (${textOf(error)})`)
  }
}

/** Whatever can be thrown may have no text. */
const textOf = (error: unknown): string => {
  try {
    return String(error)
  } catch {
    return typeof error
  }
}

class LiveSpan implements LiveSpanLike {
  readonly _tag = "Span"
  readonly [OtelSpanTypeId] = OtelSpanTypeId
  readonly name: string
  readonly kind: Tracer.SpanKind
  readonly annotations: Context.Context<never>
  readonly links: Array<Tracer.SpanLink>
  readonly parent: Option.Option<Tracer.AnySpan>
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
  /** The OpenTelemetry span. Named as `@effect/opentelemetry` names it, so that its `currentOtelSpan` finds it. */
  readonly span: Otel.Span
  readonly leftOut: boolean
  status: Tracer.SpanStatus
  private readonly state: TracerState
  private readonly parentContext: Otel.Context
  private childContext: Otel.Context | undefined = undefined
  private hiddenTexts: Set<string> | undefined = undefined
  private hiddenLength = 0

  constructor(tracer: Otel.Tracer, options: SpanOptions, state: TracerState) {
    this.state = state
    const parent = parentOf(options)
    this.name = options.name
    this.kind = options.kind
    this.annotations = options.annotations
    this.links = options.links
    this.status = { _tag: "Started", startTime: options.startTime }
    this.leftOut = isLeftOut(options)
    this.parentContext = parent !== undefined
      ? contextOf(parent)
      : options.root
      ? Otel.trace.deleteSpan(Otel.context.active())
      : Otel.context.active()
    const parentSpanContext = Otel.trace.getSpanContext(this.parentContext)
    this.parent = parentSpanContext === undefined || Option.isSome(options.parent)
      ? options.parent
      : activeParent(parentSpanContext)
    this.span = this.leftOut
      ? leftOutSpan(parent)
      : state.startSpan(
        tracer,
        options.name,
        toSpanOptions(options),
        this.parentContext,
        Context.getOrUndefined(options.annotations, SpanSource)?.start as Otel.Attributes | undefined
      )
    if (state.baggageKeys !== undefined) writeBaggage(this.span, state.baggageKeys)
    const spanContext = this.span.spanContext()
    this.traceId = spanContext.traceId
    this.spanId = spanContext.spanId
    this.sampled = (spanContext.traceFlags & FLAG_SAMPLED) !== 0
    // The SDK knows only the sampled bit; the random bit belongs to the trace id and goes where that goes.
    const parentFlags = parentSpanContext?.traceFlags
    if (parentFlags === undefined ? state.marksRandomIds : (parentFlags & FLAG_RANDOM) !== 0) markRandom(spanContext)
  }

  [LiveSpanTypeId](texts: ReadonlyArray<string>): void {
    this.hiddenTexts ??= new Set()
    for (const text of texts) {
      if (this.hiddenTexts.has(text)) continue
      this.hiddenTexts.add(text)
      this.hiddenLength += text.length
    }
    // A span may stay open as long as its program runs: the oldest go, but for the very last.
    for (const oldest of this.hiddenTexts) {
      const { size } = this.hiddenTexts
      if (size === 1 || (size <= MAX_HIDDEN_TEXTS && this.hiddenLength <= MAX_HIDDEN_LENGTH)) break
      this.hiddenTexts.delete(oldest)
      this.hiddenLength -= oldest.length
    }
  }

  get otelContext(): Otel.Context {
    return this.childContext ??= withSpan(this.parentContext, this.span)
  }

  get attributes(): ReadonlyMap<string, unknown> {
    const recorded = (this.span as { readonly attributes?: Otel.Attributes }).attributes
    return new Map(recorded === undefined ? [] : Object.entries(recorded))
  }

  attribute(key: string, value: unknown): void {
    if (this.status._tag === "Ended") return
    if (key === TOOLKIT_ARGUMENTS && hidesToolkitArguments(this)) return
    // Nearly all are one of these, and a call for each is a twentieth of a span.
    const attribute = typeof value === "string" || typeof value === "number" ? value : toAttributeValue(value)
    if (attribute === undefined) return
    try {
      this.span.setAttribute(key, attribute)
    } catch (error) {
      this.state.thrown(error)
    }
  }

  event(name: string, startTime: bigint, attributes?: Record<string, unknown>): void {
    if (this.status._tag === "Ended") return
    try {
      this.span.addEvent(name, toAttributes(attributes), toHrTime(startTime))
    } catch (error) {
      this.state.thrown(error)
    }
  }

  addLinks(links: ReadonlyArray<Tracer.SpanLink>): void {
    if (this.status._tag === "Ended") return
    for (const link of links) {
      this.links.push(link)
      try {
        this.span.addLink(toLink(link))
      } catch (error) {
        this.state.thrown(error)
      }
    }
  }

  end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    if (this.status._tag === "Ended") return
    this.status = { _tag: "Ended", startTime: this.status.startTime, endTime, exit }
    const time = toHrTime(endTime)
    // What a processor or an error's own getter throws must not become the program's failure.
    try {
      if (exit._tag === "Failure" && this.span.isRecording()) this.recordFailure(exit.cause, time)
    } catch {
      this.setError()
    }
    try {
      this.span.end(time)
    } catch (error) {
      this.state.thrown(error)
    }
  }

  private setError(): void {
    try {
      this.span.setStatus({ code: Otel.SpanStatusCode.ERROR })
    } catch (error) {
      this.state.thrown(error)
    }
  }

  private recordFailure(cause: Cause.Cause<unknown>, time: Otel.HrTime): void {
    const type = errorType(cause)
    if (type === undefined) {
      this.span.setAttribute("effect.fiber.interrupted", true)
      return
    }
    this.writeErrorType(type)
    const errors = isSensitive(cause) ? undefined : Cause.prettyErrors(cause, { includeCauseInStack: true })
    if (errors === undefined || this.hiddenTexts !== undefined && quotes(errors, this.hiddenTexts)) {
      this.span.setStatus({ code: Otel.SpanStatusCode.ERROR })
      this.span.addEvent("exception", { "exception.type": type }, time)
      return
    }
    this.span.setStatus({ code: Otel.SpanStatusCode.ERROR, message: thrownBy(errors[0]).message })
    for (const error of errors) {
      const { message, name } = thrownBy(error)
      this.span.addEvent("exception", {
        "exception.type": name,
        "exception.message": message,
        "exception.stacktrace": error.stack ?? ""
      }, time)
    }
  }

  /** An instrumentation knows better what a failure is called, and of one over HTTP the status tells most. */
  private writeErrorType(type: string): void {
    const { attributes = {} } = this.span as { readonly attributes?: Otel.Attributes }
    if (attributes["error.type"] !== undefined) return
    const status = attributes["http.response.status_code"]
    const isStatus = typeof status === "number" && status >= (this.kind === "client" ? 400 : 500)
    this.span.setAttribute("error.type", isStatus ? String(status) : type)
  }
}

const NO_MESSAGE = /^An error occurred in Effect\.try(?:Promise)?$/

/** What was thrown, where Effect's own error around it says nothing more. */
const thrownBy = (error: Error): Error =>
  Cause.isUnknownError(error) && Predicate.isError(error.cause) && NO_MESSAGE.test(error.message) ? error.cause : error

/** A span is always started by a fiber, which knows the baggage. */
const writeBaggage = (span: Otel.Span, keys: ReadonlySet<string>): void => {
  const fiber = Fiber.getCurrent()
  if (fiber === undefined) return
  for (const { key, value } of Context.get(fiber.context, Baggage)) {
    if (keys.has(key)) span.setAttribute(key, value)
  }
}

/** A span that Effect has left out has a place in the trace, so that its children are left out with it. */
const leftOutSpan = (parent: Tracer.AnySpan | undefined): Otel.Span =>
  Otel.trace.wrapSpanContext({
    ...(parent === undefined ? { traceId: generateTraceId() } : toSpanContext(parent)),
    spanId: generateSpanId(),
    traceFlags: Otel.TraceFlags.NONE,
    isRemote: false
  })

/** The span that code outside Effect has made current. */
const activeParent = (spanContext: Otel.SpanContext): Option.Option<Tracer.AnySpan> => {
  if (!Otel.isSpanContextValid(spanContext)) return Option.none()
  return Option.some(Tracer.externalSpan({
    traceId: spanContext.traceId,
    spanId: spanContext.spanId,
    sampled: (spanContext.traceFlags & FLAG_SAMPLED) !== 0
  }))
}

/** The OpenTelemetry contexts of remote spans, made once for each. */
const remoteContexts = new WeakMap<Tracer.ExternalSpan, Otel.Context>()

const remoteContextOf = (span: Tracer.ExternalSpan): Otel.Context => {
  let context = remoteContexts.get(span)
  if (context === undefined) {
    context = withSpan(Otel.ROOT_CONTEXT, Otel.trace.wrapSpanContext(toSpanContext(span)))
    remoteContexts.set(span, context)
  }
  return context
}

/** Where code of a fiber runs: in the context of its nearest span that OpenTelemetry knows. */
const activeContextOf = (fiber: Fiber.Fiber<unknown, unknown>): Otel.Context | undefined => {
  let span = fiber.cache.span
  while (span !== undefined) {
    if (span instanceof LiveSpan) return span.otelContext
    if (span._tag === "ExternalSpan") return remoteContextOf(span)
    span = Option.getOrUndefined(span.parent)
  }
  return undefined
}

/** @internal */
export interface LiveTracerOptions {
  readonly provider: Otel.TracerProvider
  /** How the provider's spans get their start attributes, if it is one of ours. */
  readonly spanStart?: SpanStart | undefined
  /** Our own context manager, if it is the registered one. */
  readonly contextManager?: LoomContextManager | undefined
  /** The keys of baggage members that become attributes of every span. */
  readonly baggageAttributes?: ReadonlyArray<string> | undefined
  /** Receives what the provider, a sampler or a processor has thrown, once. */
  readonly report: (message: string) => void
  /** Whether the provider makes trace ids whose last seven bytes are random. */
  readonly marksRandomIds: boolean
}

/**
 * Makes the tracers of a provider, one per instrumentation scope.
 *
 * @internal
 */
export const makeLiveTracers = (
  options: LiveTracerOptions
): (scope: InstrumentationScope) => ScopedTracer => {
  const tracers = new Map<string, ScopedTracer>()
  const context = makeContextHook(activeContextOf, options.contextManager)
  const { spanStart } = options
  const state: TracerState = {
    startSpan: spanStart === undefined ? startSpan : spanStart.start.bind(spanStart),
    baggageKeys: options.baggageAttributes === undefined || options.baggageAttributes.length === 0
      ? undefined
      : new Set(options.baggageAttributes),
    marksRandomIds: options.marksRandomIds,
    thrown: reportThrown(options.report)
  }
  const forScope = (scope: InstrumentationScope): ScopedTracer => {
    const key = JSON.stringify([scope.name, scope.version, scope.schemaUrl])
    let tracer = tracers.get(key)
    if (tracer !== undefined) return tracer
    try {
      tracer = makeTracer(scope)
    } catch (error) {
      // That the layer's own scope throws is told where the layer is built.
      if (tracers.size === 0) throw error
      state.thrown(error)
      tracer = { [ScopedTracerTypeId]: forScope, span: noopTracer.span }
    }
    tracers.set(key, tracer)
    return tracer
  }
  const makeTracer = (scope: InstrumentationScope): ScopedTracer => {
    const otelTracer = options.provider.getTracer(
      scope.name,
      scope.version,
      scope.schemaUrl === undefined ? undefined : { schemaUrl: scope.schemaUrl }
    )
    return {
      [ScopedTracerTypeId]: forScope,
      span(spanOptions) {
        try {
          return new LiveSpan(otelTracer, spanOptions, state)
        } catch (error) {
          state.thrown(error)
          return noopTracer.span(spanOptions)
        }
      },
      context
    }
  }
  return forScope
}
