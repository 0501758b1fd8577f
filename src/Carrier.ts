/**
 * Carries the trace context of the running fiber in messages: into one that is
 * about to be sent, and out of one that has arrived.
 *
 * A "message" is a JSON-like object whose context sits under
 * {@link TRACE_CONTEXT_KEY}, as Loom's Python actors write it. Where a broker
 * has headers, a {@link Carrier} says how its client keeps them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Tracer from "effect/Tracer"
import { isEffect } from "./internal/isEffect.ts"
import { linkNextSpan } from "./internal/linkNextSpan.ts"
import { isTracingOff } from "./internal/off.ts"
import {
  AmbientSpan,
  continueRemote,
  propagatedSpan,
  toExternalSpan,
  toLinkedSpan,
  traceparentOf,
  tracestateOf
} from "./internal/spanContext.ts"
import { addBaggage, formatBaggage, formatTraceparent, parseTraceparent, parseTracestate } from "./TraceContext.ts"
import type { BaggageMember, RemoteContext, TraceHeaders, Traceparent } from "./TraceContext.ts"

// =============================================================================
// Models
// =============================================================================

/**
 * The key of a message under which its trace context sits.
 *
 * **Example** (Looking for a context)
 *
 * ```ts
 * import { TRACE_CONTEXT_KEY } from "loom-tracing"
 *
 * TRACE_CONTEXT_KEY in { task_id: "t-1" } // => false
 * ```
 *
 * @category constants
 * @since 0.1.0
 */
export const TRACE_CONTEXT_KEY = "_trace_context"

/**
 * A message that may hold a trace context.
 *
 * @category models
 * @since 0.1.0
 */
export interface TraceCarrier {
  readonly [TRACE_CONTEXT_KEY]?: TraceHeaders
}

/**
 * A header as clients hold it: text or its bytes, once or several times.
 *
 * @category models
 * @since 0.1.0
 */
export type HeaderValue = string | Uint8Array | ReadonlyArray<string | Uint8Array> | null | undefined

/**
 * Plain string maps, as most clients hold headers.
 *
 * @category models
 * @since 0.1.0
 */
export type HeaderRecord = Readonly<Record<string, HeaderValue>>

/**
 * How headers of one kind are read and written.
 *
 * **When to use**
 *
 * Use to carry a context in headers that none of the instances of this module
 * knows: it takes two functions.
 *
 * **Example** (Message attributes of SQS)
 *
 * ```ts
 * import { Effect, Option } from "effect"
 * import { type Carrier, extractHeaders, injectHeaders, withBaggage } from "loom-tracing"
 *
 * type Attributes = Readonly<Record<string, { readonly DataType: string; readonly StringValue?: string }>>
 *
 * const sqsCarrier: Carrier<Attributes> = {
 *   get: (attributes, name) => attributes[name]?.StringValue,
 *   set: (attributes, name, value) => ({ ...attributes, [name]: { DataType: "String", StringValue: value } })
 * }
 *
 * const attributes = Effect.runSync(injectHeaders({}, sqsCarrier).pipe(withBaggage({ tenant: "acme" })))
 * attributes // => { baggage: { DataType: "String", StringValue: "tenant=acme" } }
 * Option.isSome(Effect.runSync(extractHeaders(attributes, sqsCarrier))) // => true
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Carrier<C> {
  /** Reads a header. All its values, if there are several: a repeated `traceparent` is no context. */
  readonly get: (carrier: C, name: string) => HeaderValue
  /** Writes a header in the place of any that it has, and returns the carrier: a copy, where it is a plain value. */
  readonly set: (carrier: C, name: string, value: string) => C
  /** Removes a header. Without it, a `tracestate` of an older context stays in a carrier that is used again. */
  readonly remove?: (carrier: C, name: string) => C
}

// =============================================================================
// References
// =============================================================================

/**
 * Which of the W3C formats are read and written, by everything that injects or
 * extracts. Both, unless the live layer finds another choice in
 * `OTEL_PROPAGATORS`.
 *
 * **Example** (Keeping baggage inside)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { injectTraceContext, Propagators, withBaggage } from "loom-tracing"
 *
 * const sent = injectTraceContext({ id: 1 }).pipe(
 *   withBaggage({ tenant: "acme" }),
 *   Effect.provideService(Propagators, { tracecontext: true, baggage: false })
 * )
 *
 * Effect.runSync(sent) // => { id: 1 }
 * ```
 *
 * @category references
 * @since 0.1.0
 */
export const Propagators: Context.Reference<Propagators> = Context.Reference<Propagators>("loom-tracing/Propagators", {
  defaultValue: () => DEFAULT_PROPAGATORS
})

const DEFAULT_PROPAGATORS: Propagators = { tracecontext: true, baggage: true }

/**
 * Which of the W3C formats are read and written.
 *
 * @category models
 * @since 0.1.0
 */
export interface Propagators {
  /** `traceparent` and `tracestate`. */
  readonly tracecontext: boolean
  readonly baggage: boolean
}

/**
 * The baggage of the running fiber: name-value pairs that travel with the trace
 * from service to service (W3C Baggage). Empty unless a message or
 * {@link withBaggage} brought some.
 *
 * **Example** (Reading the tenant of a request)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Baggage, withBaggage } from "loom-tracing"
 *
 * const tenant = Effect.map(Baggage, (members) => members.find(({ key }) => key === "tenant")?.value)
 *
 * Effect.runSync(tenant.pipe(withBaggage({ tenant: "acme" }))) // => "acme"
 * Effect.runSync(tenant) // => undefined
 * ```
 *
 * @category references
 * @since 0.1.0
 */
export const Baggage: Context.Reference<ReadonlyArray<BaggageMember>> = Context.Reference<
  ReadonlyArray<BaggageMember>
>("loom-tracing/Baggage", { defaultValue: () => NO_BAGGAGE })

const NO_BAGGAGE: ReadonlyArray<BaggageMember> = []

/**
 * Adds members to the baggage of an effect. One of the same key is replaced.
 *
 * **When to use**
 *
 * Use for what services down the line need to know of a request, such as its
 * tenant. Every service that a message passes can read it.
 *
 * **Gotchas**
 *
 * A key must be an RFC 7230 token, such as `tenant.id`; a member with another
 * key does not travel. Values are free text. Together they should stay within
 * 64 members and 8,192 bytes: peers may drop what goes beyond.
 *
 * **Example** (Sending the tenant along)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { injectTraceContext, withBaggage } from "loom-tracing"
 *
 * const sent = injectTraceContext({ id: 1 }).pipe(withBaggage({ tenant: "Ümit & Co" }))
 *
 * Effect.runSync(sent)._trace_context // => { baggage: "tenant=%C3%9Cmit%20&%20Co" }
 * ```
 *
 * @category propagation
 * @since 0.1.0
 */
export const withBaggage: {
  (
    entries: Readonly<Record<string, string>> | ReadonlyArray<BaggageMember>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    entries: Readonly<Record<string, string>> | ReadonlyArray<BaggageMember>
  ): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(
  self: Effect.Effect<A, E, R>,
  entries: Readonly<Record<string, string>> | ReadonlyArray<BaggageMember>
): Effect.Effect<A, E, R> => {
  const added: ReadonlyArray<BaggageMember> = isMembers(entries)
    ? entries
    : Object.entries(entries).map(([key, value]) => ({ key, value }))
  const keys = new Set(added.map((member) => member.key))
  return Effect.updateService(
    self,
    Baggage,
    (current) => [...current.filter((member) => !keys.has(member.key)), ...added]
  )
})

const isMembers = (
  entries: Readonly<Record<string, string>> | ReadonlyArray<BaggageMember>
): entries is ReadonlyArray<BaggageMember> => Array.isArray(entries)

// =============================================================================
// The context of a fiber
// =============================================================================

type AnyFiber = Fiber.Fiber<unknown, unknown>

/** The span of a fiber that a peer may know. */
const currentSpan = (fiber: AnyFiber, propagators: Propagators): Tracer.AnySpan | undefined =>
  propagators.tracecontext ? propagatedSpan(fiber.cache.span) : undefined

/** The baggage of a fiber that a peer may know. */
const currentBaggage = (fiber: AnyFiber, propagators: Propagators): ReadonlyArray<BaggageMember> | undefined => {
  const baggage = propagators.baggage ? Context.get(fiber.context, Baggage) : []
  return baggage.length > 0 ? baggage : undefined
}

/** The headers of a message that is sent now; `undefined` when it is to have none. */
const currentHeaders = (fiber: AnyFiber): TraceHeaders | undefined => {
  const propagators = Context.get(fiber.context, Propagators)
  const span = currentSpan(fiber, propagators)
  const members = currentBaggage(fiber, propagators)
  const baggage = members === undefined ? undefined : formatBaggage(members)
  if (span === undefined) return baggage === undefined ? undefined : { baggage }
  const headers: { traceparent: string; tracestate?: string; baggage?: string } = {
    traceparent: formatTraceparent(traceparentOf(span))
  }
  const tracestate = tracestateOf(span)
  if (tracestate !== undefined) headers.tracestate = tracestate
  if (baggage !== undefined) headers.baggage = baggage
  return headers
}

/**
 * The trace context that a message sent now would carry.
 *
 * **Details**
 *
 * It names the nearest span that another process can know. Spans of Effect's
 * default tracer, of `TracingNoop` and of disabled tracing are skipped, so a
 * remote context that was received is passed on unchanged when tracing is off.
 *
 * **Example** (Naming the trace in a reply)
 *
 * ```ts
 * import { Effect, Option } from "effect"
 * import { currentTraceContext, withTraceContext } from "loom-tracing"
 *
 * const message = { _trace_context: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" } }
 * const traceId = Effect.map(currentTraceContext, Option.map((context) => context.traceparent?.traceId))
 *
 * Option.getOrNull(Effect.runSync(traceId.pipe(withTraceContext(message)))) // => "0af7651916cd43dd8448eb211c80319c"
 * Option.isNone(Effect.runSync(traceId)) // => true
 * ```
 *
 * @category propagation
 * @since 0.1.0
 */
export const currentTraceContext: Effect.Effect<Option.Option<RemoteContext>> = Effect.withFiber((fiber) => {
  const propagators = Context.get(fiber.context, Propagators)
  const span = currentSpan(fiber, propagators)
  const baggage = currentBaggage(fiber, propagators)
  if (span === undefined && baggage === undefined) return Effect.succeedNone
  const tracestate = span === undefined ? undefined : tracestateOf(span)
  return Effect.succeedSome({
    ...(span === undefined ? undefined : { traceparent: traceparentOf(span) }),
    ...(tracestate === undefined ? undefined : { tracestate }),
    ...(baggage === undefined ? undefined : { baggage })
  })
})

// =============================================================================
// Messages
// =============================================================================

/** As `Object.hasOwn`, which V8 does not compile into the code that calls it. */
const hasOwn = (value: object, key: string): boolean => Object.prototype.hasOwnProperty.call(value, key)

/** @internal */
export const isPlainObject = (value: object): boolean => {
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/**
 * Puts the current trace context into a message, under `_trace_context`.
 *
 * **When to use**
 *
 * Use right before a message is encoded and sent.
 *
 * **Details**
 *
 * Returns a copy; the message itself is never changed. Without a context to
 * add, the same object comes back. Only plain objects can carry a context:
 * anything else (an array, an instance of a class) comes back as it is.
 *
 * **Example** (Relaying a context)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { injectTraceContext, withTraceContext } from "loom-tracing"
 *
 * const received = { _trace_context: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" } }
 * const sent = injectTraceContext({ task: "summarise" }).pipe(withTraceContext(received))
 *
 * Effect.runSync(sent)._trace_context?.traceparent // => "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
 * Effect.runSync(injectTraceContext({ task: "summarise" })) // => { task: "summarise" }
 * ```
 *
 * @see {@link extractTraceContext} for the way back
 *
 * @category propagation
 * @since 0.1.0
 */
export const injectTraceContext = <M extends object>(message: M): Effect.Effect<M & TraceCarrier> =>
  Effect.withFiber((fiber) => Effect.succeed(addToMessage(message, fiber)))

const addToMessage = <M extends object>(message: M, fiber: AnyFiber): M & TraceCarrier => {
  // A hostile object (a proxy, a getter) may throw at any touch; then it is sent without a context.
  try {
    const headers = currentHeaders(fiber)
    return headers === undefined || !isPlainObject(message) ? message : { ...message, [TRACE_CONTEXT_KEY]: headers }
  } catch {
    return message
  }
}

/** Reads the three headers of a record in one pass, as long as none has another spelling. */
const readRecord = (record: Readonly<Record<string, unknown>>): Option.Option<RemoteContext> => {
  let traceparent: unknown
  let tracestate: unknown
  let baggage: unknown
  for (const key of Object.keys(record)) {
    if (key === "traceparent") traceparent = record.traceparent
    else if (key === "tracestate") tracestate = record.tracestate
    else if (key === "baggage") baggage = record.baggage
    else if (isVariant(key, "traceparent") || isVariant(key, "tracestate") || isVariant(key, "baggage")) {
      return readHeaders(lookup(record, "traceparent"), lookup(record, "tracestate"), lookup(record, "baggage"))
    }
  }
  return readHeaders(traceparent, tracestate, baggage)
}

/**
 * Reads the trace context of a message. Total: whatever is wrong with it, the
 * answer is "none".
 *
 * @internal
 */
export const readTraceContext = (message: unknown): Option.Option<RemoteContext> => {
  try {
    if (!Predicate.isObject(message) || !hasOwn(message, TRACE_CONTEXT_KEY)) return Option.none()
    const headers = message[TRACE_CONTEXT_KEY]
    return Predicate.isObject(headers) ? readRecord(headers) : Option.none()
  } catch {
    return Option.none()
  }
}

/**
 * Reads the trace context that a message carries under `_trace_context`.
 *
 * **Details**
 *
 * Total: a context that is missing, of the wrong type or malformed is `None`,
 * and nothing that a message holds can make this fail or throw.
 *
 * **Example** (Reading a message)
 *
 * ```ts
 * import { Effect, Option } from "effect"
 * import { extractTraceContext } from "loom-tracing"
 *
 * const message = { _trace_context: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" } }
 *
 * Option.getOrThrow(Effect.runSync(extractTraceContext(message))).traceparent?.spanId // => "b7ad6b7169203331"
 * Option.isNone(Effect.runSync(extractTraceContext("not even an object"))) // => true
 * ```
 *
 * @see {@link withTraceContext} for running an effect inside the context
 *
 * @category propagation
 * @since 0.1.0
 */
export const extractTraceContext = (message: unknown): Effect.Effect<Option.Option<RemoteContext>> =>
  Effect.sync(() => readTraceContext(message))

// =============================================================================
// Headers
// =============================================================================

/** More bytes than any header that counts can have. */
const MAX_BYTES = 64 * 1024
/** So many values of a list are looked at: no list that counts has more than 180 members. */
const MAX_VALUES = 256
/** So many keys of a carrier are looked at. */
const MAX_KEYS = 1024

const utf8 = new TextDecoder()

const textOf = (value: unknown): string | undefined =>
  Predicate.isString(value)
    ? value
    : value instanceof Uint8Array && value.length <= MAX_BYTES
    ? utf8.decode(value)
    : undefined

// Nearly all headers are texts. What is done for the others stays out of what V8 makes part of its callers.

/** A header that may come once. */
const singleText = (value: unknown): string | undefined =>
  Predicate.isString(value) || value === undefined ? value : singleOther(value)

const singleOther = (value: unknown): string | undefined =>
  Array.isArray(value) ? value.length === 1 ? textOf(value[0]) : undefined : textOf(value)

/** A list, which may be spread over several headers of the same name (RFC 9110, §5.3). */
const joinedText = (value: unknown): string | undefined =>
  Predicate.isString(value) || value === undefined ? value : joinedOther(value)

const joinedOther = (value: unknown): string | undefined => {
  if (!Array.isArray(value)) return textOf(value)
  let joined = textOf(value[0])
  const count = Math.min(value.length, MAX_VALUES)
  for (let i = 1; i < count && (joined === undefined || joined.length <= MAX_BYTES); i++) {
    const text = textOf(value[i])
    if (text !== undefined) joined = joined === undefined ? text : `${joined},${text}`
  }
  return joined
}

/** Reads the three headers. */
const readHeaders = (
  traceparentValue: unknown,
  tracestateValue: unknown,
  baggageValue: unknown
): Option.Option<RemoteContext> => {
  // `TracedMessage` decodes outside of an effect's own code, so the fiber is asked for rather than handed down.
  const fiber = Fiber.getCurrent()
  const propagators = fiber === undefined ? DEFAULT_PROPAGATORS : Context.get(fiber.context, Propagators)
  const context: { traceparent?: Traceparent; tracestate?: string; baggage?: ReadonlyArray<BaggageMember> } = {}
  let found = false
  if (propagators.tracecontext) {
    const header = singleText(traceparentValue)
    const traceparent = header === undefined ? undefined : parseTraceparent(header)
    if (traceparent !== undefined) {
      context.traceparent = traceparent
      found = true
      const tracestate = joinedText(tracestateValue)
      const parsed = tracestate === undefined ? undefined : parseTracestate(tracestate)
      if (parsed !== undefined) context.tracestate = parsed
    }
  }
  if (propagators.baggage) {
    const baggage = joinedText(baggageValue)
    if (baggage !== undefined) found = addBaggage(context, baggage) || found
  }
  return found ? Option.some(context) : Option.none()
}

/** Whether a key is this lower-case name in another case. */
const isVariant = (key: string, name: string): boolean =>
  key !== name && key.length === name.length && key.toLowerCase() === name

/** What a record holds under a name: under exactly this one, or else under all of its other spellings. */
const lookup = (record: object, name: string): unknown => {
  const exact = hasOwn(record, name) ? (record as Record<string, unknown>)[name] : undefined
  if (exact !== undefined && exact !== null) return exact
  let found: Array<unknown> | undefined
  let count = 0
  for (const key in record) {
    if (++count > MAX_KEYS) break
    if (isVariant(key, name) && hasOwn(record, key)) {
      found ??= []
      found.push((record as Record<string, unknown>)[key])
    }
  }
  return found === undefined || found.length > 1 ? found?.flat() : found[0]
}

// Spelled out, since the `http` modules are not to be loaded for it.
const EffectHeadersTypeId = Symbol.for("~effect/http/Headers")

/** Whether a record can be copied: a plain object, or the `Headers` of Effect, which have their own prototype. */
const isCopyable = (record: object): boolean => isPlainObject(record) || EffectHeadersTypeId in record

/** A copy of a record without the other spellings of a name. */
const copyWithout = (record: object, name: string): Record<string, unknown> => {
  const copy: Record<string, unknown> = EffectHeadersTypeId in record
    ? Object.assign(Object.create(Object.getPrototypeOf(record)), record)
    : { ...record }
  for (const key of Object.keys(copy)) {
    if (isVariant(key, name)) delete copy[key]
  }
  return copy
}

const setIn = (record: HeaderRecord, name: string, value: string): HeaderRecord => {
  if (!isCopyable(record)) return record
  const copy = copyWithout(record, name)
  copy[name] = value
  return copy as HeaderRecord
}

const removeFrom = (record: HeaderRecord, name: string): HeaderRecord => {
  if (!isCopyable(record) || lookup(record, name) === undefined) return record
  const copy = copyWithout(record, name)
  delete copy[name]
  return copy as HeaderRecord
}

/**
 * Headers in a plain object, each a text, its bytes, or an array of them. Names
 * are read in any case and written in lower case. Effect's own `Headers` are
 * copied as such.
 *
 * **Example** (Reading a name in another case)
 *
 * ```ts
 * import { Effect, Option } from "effect"
 * import { extractHeaders, recordCarrier } from "loom-tracing"
 *
 * const context = Effect.runSync(extractHeaders({ Baggage: "tenant=acme" }, recordCarrier))
 *
 * Option.getOrThrow(context).baggage // => [{ key: "tenant", value: "acme" }]
 * ```
 *
 * @category carriers
 * @since 0.1.0
 */
export const recordCarrier: Carrier<HeaderRecord> = {
  get: (record, name) => lookup(record, name) as HeaderValue,
  set: setIn,
  remove: removeFrom
}

/**
 * Headers of a Kafka message, as KafkaJS and its successors hold them: what
 * arrives are `Buffer`s, under names in any case.
 *
 * **Example** (Reading the headers of a message)
 *
 * ```ts
 * import { Effect, Option } from "effect"
 * import { extractHeaders, kafkaCarrier } from "loom-tracing"
 *
 * const context = Effect.runSync(extractHeaders({ baggage: Buffer.from("tenant=acme") }, kafkaCarrier))
 *
 * Option.getOrThrow(context).baggage // => [{ key: "tenant", value: "acme" }]
 * ```
 *
 * @category carriers
 * @since 0.1.0
 */
export const kafkaCarrier: Carrier<HeaderRecord> = recordCarrier

/** A record of headers that is one field of the carrier. */
const fieldCarrier = (field: string): Carrier<object> => {
  /** The headers, none where there may be some, or `undefined` where something else stands in their place. */
  const headersOf = (carrier: object): HeaderRecord | undefined => {
    const headers = hasOwn(carrier, field) ? (carrier as Record<string, unknown>)[field] : undefined
    if (headers === undefined || headers === null) return {}
    return Predicate.isObject(headers) ? headers as HeaderRecord : undefined
  }
  const update = (carrier: object, f: (headers: HeaderRecord) => HeaderRecord): object => {
    const headers = headersOf(carrier)
    if (headers === undefined || !isPlainObject(carrier)) return carrier
    const updated = f(headers)
    return updated === headers ? carrier : { ...carrier, [field]: updated }
  }
  return {
    get: (carrier, name) => lookup(headersOf(carrier) ?? {}, name) as HeaderValue,
    set: (carrier, name, value) => update(carrier, (headers) => setIn(headers, name, value)),
    remove: (carrier, name) => update(carrier, (headers) => removeFrom(headers, name))
  }
}

/**
 * The properties of an AMQP message: its context sits in their `headers`. These
 * are the options of a publication, or `message.properties` of a delivery.
 *
 * **Example** (Publishing to RabbitMQ)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { amqpCarrier, injectHeaders, withBaggage } from "loom-tracing"
 *
 * const options = injectHeaders({ persistent: true }, amqpCarrier).pipe(withBaggage({ tenant: "acme" }))
 *
 * Effect.runSync(options) // => { persistent: true, headers: { baggage: "tenant=acme" } }
 * ```
 *
 * @category carriers
 * @since 0.1.0
 */
export const amqpCarrier: Carrier<object> = fieldCarrier("headers")

/**
 * The `params` of a request or notification of the Model Context Protocol: the
 * context sits under `_meta`, in keys without a prefix.
 *
 * **Example** (Calling a tool of a server)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { injectHeaders, mcpCarrier, withBaggage } from "loom-tracing"
 *
 * const params = injectHeaders({ name: "search" }, mcpCarrier).pipe(withBaggage({ tenant: "acme" }))
 *
 * Effect.runSync(params) // => { name: "search", _meta: { baggage: "tenant=acme" } }
 * ```
 *
 * @category carriers
 * @since 0.1.0
 */
export const mcpCarrier: Carrier<object> = fieldCarrier("_meta")

/**
 * What {@link headersCarrier} needs of the `Headers` of the Fetch API.
 *
 * @category models
 * @since 0.1.0
 */
export interface WebHeaders {
  get(name: string): string | null
  set(name: string, value: string): void
  delete(name: string): void
}

/**
 * The `Headers` of the Fetch API. They are written in place.
 *
 * **Example** (Calling a service)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { headersCarrier, injectHeaders, withBaggage } from "loom-tracing"
 *
 * const headers = injectHeaders(new Headers(), headersCarrier).pipe(withBaggage({ tenant: "acme" }))
 *
 * Effect.runSync(headers).get("baggage") // => "tenant=acme"
 * ```
 *
 * @category carriers
 * @since 0.1.0
 */
export const headersCarrier: Carrier<WebHeaders> = {
  get: (headers, name) => headers.get(name),
  set: (headers, name, value) => {
    headers.set(name, value)
    return headers
  },
  remove: (headers, name) => {
    headers.delete(name)
    return headers
  }
}

/**
 * What {@link natsCarrier} needs of the `MsgHdrs` of a NATS client.
 *
 * @category models
 * @since 0.1.0
 */
export interface NatsHeaders {
  keys(): ReadonlyArray<string>
  values(name: string): ReadonlyArray<string>
  set(name: string, value: string): void
  delete(name: string): void
}

const natsVariants = (headers: NatsHeaders, name: string): ReadonlyArray<string> =>
  headers.keys().filter((key) => isVariant(key, name))

/**
 * The `MsgHdrs` of a NATS message. They are written in place. The client tells
 * names apart by case; this does not, as Go's `http.Header` capitalises them.
 *
 * **Example** (Publishing with headers)
 *
 * ```ts
 * import { headers } from "@nats-io/transport-node"
 * import { Effect } from "effect"
 * import { injectHeaders, natsCarrier, withBaggage } from "loom-tracing"
 *
 * // connection.publish("tasks", payload, { headers: ... })
 * const options = injectHeaders(headers(), natsCarrier).pipe(withBaggage({ tenant: "acme" }))
 *
 * Effect.runSync(options).get("baggage") // => "tenant=acme"
 * ```
 *
 * @category carriers
 * @since 0.1.0
 */
export const natsCarrier: Carrier<NatsHeaders> = {
  get: (headers, name) => {
    const exact = headers.values(name)
    return exact.length > 0 ? exact : natsVariants(headers, name).flatMap((key) => headers.values(key))
  },
  set: (headers, name, value) => {
    for (const key of natsVariants(headers, name)) headers.delete(key)
    headers.set(name, value)
    return headers
  },
  remove: (headers, name) => {
    for (const key of natsVariants(headers, name)) headers.delete(key)
    headers.delete(name)
    return headers
  }
}

/**
 * As {@link HeaderRecord}, and an interface fits as well. What has methods, as `Headers` has, does not: it needs its
 * kind.
 */
type Headerlike<C> = { readonly [K in keyof C as Exclude<K, symbol>]: HeaderValue }

/**
 * Puts the current trace context into headers.
 *
 * **When to use**
 *
 * Use right before a message is sent whose broker has headers, so that its
 * payload stays as it is.
 *
 * **Details**
 *
 * Plain objects and Effect's `Headers` are copied; the `Headers` of the Fetch
 * API and `MsgHdrs` are written in place.
 * Without a context to add, the headers come back untouched. Those that came
 * with another trace lose its `tracestate` and `baggage`; a `baggage` set by
 * hand stays where the current context has none. Values are printable ASCII,
 * whatever the baggage holds.
 *
 * **Example** (Headers of a request)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { headersCarrier, injectHeaders, withBaggage } from "loom-tracing"
 *
 * const plain = injectHeaders({ accept: "text/plain" }).pipe(withBaggage({ tenant: "acme" }))
 * const web = injectHeaders(new Headers(), headersCarrier).pipe(withBaggage({ tenant: "acme" }))
 *
 * Effect.runSync(plain) // => { accept: "text/plain", baggage: "tenant=acme" }
 * Effect.runSync(web).get("baggage") // => "tenant=acme"
 * ```
 *
 * @see {@link extractHeaders} for the way back
 *
 * @category propagation
 * @since 0.1.0
 */
export const injectHeaders: {
  <C extends Headerlike<C>>(carrier: C): Effect.Effect<C & TraceHeaders>
  <C extends K, K>(carrier: C, kind: Carrier<K>): Effect.Effect<C>
} = <C>(carrier: C, kind: Carrier<C> = recordCarrier as unknown as Carrier<C>): Effect.Effect<C & TraceHeaders> =>
  Effect.withFiber((fiber) => Effect.succeed(addToHeaders(carrier, kind, fiber) as C & TraceHeaders))

const addToHeaders = <C>(carrier: C, kind: Carrier<C>, fiber: AnyFiber): C => {
  try {
    const headers = currentHeaders(fiber)
    if (headers === undefined) return carrier
    let out = carrier
    if (headers.traceparent !== undefined) {
      if (
        headers.baggage === undefined && kind.remove !== undefined &&
        bringsBaggage(out, kind, fiber, headers.traceparent)
      ) {
        out = kind.remove(out, "baggage")
      }
      out = kind.set(out, "traceparent", headers.traceparent)
      if (headers.tracestate !== undefined) out = kind.set(out, "tracestate", headers.tracestate)
      // One that is left over from another context would name that context's position in the new trace.
      else if (kind.remove !== undefined) out = kind.remove(out, "tracestate")
    }
    return headers.baggage === undefined ? out : kind.set(out, "baggage", headers.baggage)
  } catch {
    return carrier
  }
}

/**
 * Whether headers have their baggage from a context that is not the current
 * one: beside a `traceparent` of another trace, or of one whose baggage the
 * program has emptied. What a program has put there by hand is its own.
 */
const bringsBaggage = <C>(carrier: C, kind: Carrier<C>, fiber: AnyFiber, traceparent: string): boolean => {
  if (!Context.get(fiber.context, Propagators).baggage) return false
  const header = singleText(kind.get(carrier, "traceparent"))
  const before = header === undefined ? undefined : parseTraceparent(header)
  if (before === undefined) return false
  return Context.getOrUndefined(fiber.context, Baggage) !== undefined || !traceparent.includes(before.traceId)
}

/**
 * Reads the trace context that headers carry.
 *
 * **Details**
 *
 * Total, as `extractTraceContext` is. A `traceparent` that comes twice is no
 * context; several `tracestate` or `baggage` headers count as one list. A name
 * in lower case, as it is written, counts before other spellings of it.
 *
 * **Example** (Continuing the trace of a delivery)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { extractHeaders, kafkaCarrier, withRemoteContext } from "loom-tracing"
 *
 * const headers = { Traceparent: Buffer.from("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") }
 *
 * const traceId = Effect.gen(function*() {
 *   const context = yield* extractHeaders(headers, kafkaCarrier)
 *   return yield* Effect.currentParentSpan.pipe(Effect.map((span) => span.traceId), withRemoteContext(context))
 * })
 *
 * Effect.runSync(traceId) // => "0af7651916cd43dd8448eb211c80319c"
 * ```
 *
 * @see {@link withRemoteContext} for running an effect inside the context
 *
 * @category propagation
 * @since 0.1.0
 */
export const extractHeaders: {
  <C extends Headerlike<C>>(carrier: C | null | undefined): Effect.Effect<Option.Option<RemoteContext>>
  <C>(carrier: NoInfer<C> | null | undefined, kind: Carrier<C>): Effect.Effect<Option.Option<RemoteContext>>
} = <C>(
  carrier: C | null | undefined,
  kind: Carrier<C> = recordCarrier as unknown as Carrier<C>
): Effect.Effect<Option.Option<RemoteContext>> =>
  Effect.sync(() => {
    try {
      return carrier === null || carrier === undefined
        ? Option.none()
        : readHeaders(kind.get(carrier, "traceparent"), kind.get(carrier, "tracestate"), kind.get(carrier, "baggage"))
    } catch {
      return Option.none()
    }
  })

// =============================================================================
// Running in a context
// =============================================================================

const isOption = (context: RemoteContext | Option.Option<RemoteContext>): context is Option.Option<RemoteContext> =>
  Option.isOption(context)

/** @internal */
export const contextOf = (context: RemoteContext | Option.Option<RemoteContext>): RemoteContext | undefined =>
  isOption(context) ? Option.getOrUndefined(context) : context

/**
 * Runs an effect as a child of a trace context that has been read already.
 *
 * **When to use**
 *
 * Use with `extractHeaders`, or with the `traceContext` of a `TracedMessage`.
 *
 * **Details**
 *
 * The context beats a span that is current already, unless that is a child of
 * the very span that the context names, as the span of Effect's HTTP server is:
 * then it stays the parent, and gets the `tracestate`. The context's baggage
 * becomes the baggage of the effect. `None` leaves the effect as it is.
 *
 * **Example** (Continuing the trace of a request)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { extractHeaders, withRemoteContext } from "loom-tracing"
 *
 * const handle = (headers: Record<string, string>) =>
 *   Effect.flatMap(extractHeaders(headers), (context) => Effect.succeed("handled").pipe(withRemoteContext(context)))
 *
 * Effect.runSync(handle({})) // => "handled"
 * ```
 *
 * @see {@link withTraceContext} for messages that carry their context inside
 *
 * @category propagation
 * @since 0.1.0
 */
export const withRemoteContext: {
  (
    context: RemoteContext | Option.Option<RemoteContext>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    context: RemoteContext | Option.Option<RemoteContext>
  ): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(
  self: Effect.Effect<A, E, R>,
  context: RemoteContext | Option.Option<RemoteContext>
): Effect.Effect<A, E, R> => {
  const remote = contextOf(context)
  return remote === undefined ? self : Effect.withFiber((fiber) => {
    const continued = !isTracingOff(fiber) && continueRemote(fiber.cache.span, remote)
    return continued
      ? Effect.provideService(self, Baggage, remote.baggage ?? NO_BAGGAGE)
      : inRemoteContext(self, remote)
  })
})

/**
 * As {@link withRemoteContext}, but the context is the parent whatever is
 * current: the consumer span of a message links what was.
 *
 * @internal
 */
export const inRemoteContext = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  context: RemoteContext | Option.Option<RemoteContext>
): Effect.Effect<A, E, R> => {
  const remote = contextOf(context)
  return remote === undefined
    ? self
    : Effect.updateContext(self, (context: Context.Context<R>): Context.Context<R> => {
      const current = Context.getOrUndefined(context, Tracer.ParentSpan)
      // A context in a context: the local span is still the one around both.
      const ambient = current?._tag === "ExternalSpan"
        ? Context.getOrUndefined(current.annotations, AmbientSpan)
        : current
      const parent = toExternalSpan(remote, ambient)
      let next = parent === undefined ? context : Context.add(context, Tracer.ParentSpan, parent)
      // Its own baggage or none: what is current here belongs to somebody else's request.
      const baggage = remote.baggage ?? NO_BAGGAGE
      if (Context.get(context, Baggage) !== baggage) next = Context.add(next, Baggage, baggage)
      return next as Context.Context<R>
    })
}

/**
 * Runs an effect as a child of the trace context that a message carries.
 *
 * **When to use**
 *
 * Use around the handling of a message that is not decoded by `TracedMessage`.
 *
 * **Details**
 *
 * The message's context beats a span that is current already, unless that is a
 * child of the very span that the context names. Its baggage becomes the baggage
 * of the effect. A message without a valid context leaves the effect as it is.
 *
 * **Example** (Continuing a trace)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withTraceContext } from "loom-tracing"
 *
 * const message = { _trace_context: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" } }
 * const traceId = Effect.currentParentSpan.pipe(Effect.map((span) => span.traceId), withTraceContext(message))
 *
 * Effect.runSync(traceId) // => "0af7651916cd43dd8448eb211c80319c"
 * ```
 *
 * @category propagation
 * @since 0.1.0
 */
export const withTraceContext: {
  (message: unknown): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, message: unknown): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, message: unknown): Effect.Effect<A, E, R> =>
    Effect.suspend(() => withRemoteContext(self, readTraceContext(message)))
)

// =============================================================================
// Links
// =============================================================================

/**
 * Links the next span of an effect to a trace context that has been read
 * already: the span stays in its own trace and refers to the other.
 *
 * **Example** (Linking to the request that caused a job)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { extractHeaders, linkRemoteContext } from "loom-tracing"
 *
 * const job = (headers: Record<string, string>) =>
 *   Effect.flatMap(extractHeaders(headers), (context) =>
 *     Effect.succeed("done").pipe(Effect.withSpan("job"), linkRemoteContext(context)))
 *
 * Effect.runSync(job({})) // => "done"
 * ```
 *
 * @see {@link linkTraceContext} for messages that carry their context inside
 *
 * @category propagation
 * @since 0.1.0
 */
export const linkRemoteContext: {
  (
    context: RemoteContext | Option.Option<RemoteContext>,
    attributes?: Readonly<Record<string, unknown>>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    context: RemoteContext | Option.Option<RemoteContext>,
    attributes?: Readonly<Record<string, unknown>>
  ): Effect.Effect<A, E, R>
} = dual((args) => isEffect(args[0]), <A, E, R>(
  self: Effect.Effect<A, E, R>,
  context: RemoteContext | Option.Option<RemoteContext>,
  attributes: Readonly<Record<string, unknown>> = {}
): Effect.Effect<A, E, R> => {
  const remote = contextOf(context)
  return remote === undefined ? self : Effect.withFiber((fiber) => {
    const tracer = fiber.cache.tracer
    const span = tracer === undefined || isTracingOff(fiber) ? undefined : toLinkedSpan(remote)
    return span === undefined ? self : Effect.withTracer(self, linkNextSpan(tracer!, { span, attributes }))
  })
})

/** Tells the two signatures apart: a message can be anything but an effect. */
type NotEffect<M> = M extends Effect.Effect<unknown, unknown, unknown> ? never : M

/**
 * Links the next span of an effect to the trace context that a message carries:
 * the span stays in its own trace and refers to the message's.
 *
 * **When to use**
 *
 * Use where a message causes work but does not own it: a schedule that it has
 * set off, a result that is made of several messages.
 *
 * **Details**
 *
 * Only the first span that the effect starts gets the link, not the spans
 * inside or after it. A message without a valid context changes nothing.
 *
 * **Example** (Linking an aggregate to one of its parts)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { linkTraceContext } from "loom-tracing"
 *
 * const message = { _trace_context: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" } }
 *
 * const program = Effect.succeed(42).pipe(
 *   Effect.withSpan("aggregate"),
 *   linkTraceContext(message, { "app.part": 1 })
 * )
 *
 * Effect.runSync(program) // => 42
 * ```
 *
 * @see {@link withTraceContext} for making the message's context the parent
 *
 * @category propagation
 * @since 0.1.0
 */
export const linkTraceContext: {
  <M>(
    message: NotEffect<M>,
    attributes?: Readonly<Record<string, unknown>>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    message: unknown,
    attributes?: Readonly<Record<string, unknown>>
  ): Effect.Effect<A, E, R>
} = dual((args) => isEffect(args[0]), <A, E, R>(
  self: Effect.Effect<A, E, R>,
  message: unknown,
  attributes?: Readonly<Record<string, unknown>>
): Effect.Effect<A, E, R> => Effect.suspend(() => linkRemoteContext(self, readTraceContext(message), attributes)))
