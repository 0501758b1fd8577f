/**
 * W3C Trace Context Level 2 and W3C Baggage as pure values: the three headers
 * that travel with a message, their parsers and their printers.
 *
 * Parsing is total. A header that breaks its grammar is no header, never an
 * error, because a bad trace context must not cost anybody a message.
 *
 * @see https://www.w3.org/TR/trace-context-2/
 * @see https://www.w3.org/TR/baggage/
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"

// =============================================================================
// Models
// =============================================================================

/**
 * The identity of a span on the wire: the content of a `traceparent` header.
 *
 * **Details**
 *
 * `traceFlags` holds only the bits that Level 2 defines: `0x01` sampled and
 * `0x02` random trace id.
 *
 * @category models
 * @since 0.1.0
 */
export interface Traceparent {
  /** 32 lower-case hexadecimal digits, not all zero. */
  readonly traceId: string
  /** 16 lower-case hexadecimal digits, not all zero. */
  readonly spanId: string
  /** A combination of `0x01` (sampled) and `0x02` (random trace id). */
  readonly traceFlags: number
}

/**
 * One property of a baggage member: a key, or a key and a value.
 *
 * @category models
 * @since 0.1.0
 */
export interface BaggageProperty {
  readonly key: string
  readonly value?: string
}

/**
 * One member of a `baggage` header, with its value decoded.
 *
 * @category models
 * @since 0.1.0
 */
export interface BaggageMember {
  readonly key: string
  readonly value: string
  readonly properties?: ReadonlyArray<BaggageProperty>
}

/**
 * What a message says about the trace that it belongs to.
 *
 * **Details**
 *
 * Baggage without a `traceparent` is a context too. `tracestate` is the
 * validated header in its canonical form, and is there only beside a
 * `traceparent`.
 *
 * @category models
 * @since 0.1.0
 */
export interface RemoteContext {
  readonly traceparent?: Traceparent
  readonly tracestate?: string
  readonly baggage?: ReadonlyArray<BaggageMember>
}

/**
 * The three headers as a carrier holds them.
 *
 * @category models
 * @since 0.1.0
 */
export interface TraceHeaders {
  readonly traceparent?: string
  readonly tracestate?: string
  readonly baggage?: string
}

// =============================================================================
// traceparent
// =============================================================================

/**
 * The `sampled` bit of the trace flags (Trace Context Level 2, §3.2.2.5.1).
 *
 * @category constants
 * @since 0.1.0
 */
export const FLAG_SAMPLED = 0x01

/**
 * The `random trace id` bit of the trace flags (Trace Context Level 2, §3.2.2.5.2).
 *
 * @category constants
 * @since 0.1.0
 */
export const FLAG_RANDOM = 0x02

const DEFINED_FLAGS = FLAG_SAMPLED | FLAG_RANDOM

const TRACEPARENT_LENGTH = 55
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/
const INVALID_TRACE_ID = "0".repeat(32)
const INVALID_SPAN_ID = "0".repeat(16)
const TRACE_ID = /^[0-9a-f]{32}$/
const SPAN_ID = /^[0-9a-f]{16}$/

const SPACE = 0x20
const TAB = 0x09
const isOws = (code: number): boolean => code === SPACE || code === TAB

/** `String.trim` would also take line breaks, which no header may hold. */
const trimOws = (input: string): string => {
  let start = 0
  let end = input.length
  while (start < end && isOws(input.charCodeAt(start))) start++
  while (end > start && isOws(input.charCodeAt(end - 1))) end--
  return start === 0 && end === input.length ? input : input.slice(start, end)
}

/**
 * Checks that the identifiers of a span may go on the wire: lower-case
 * hexadecimal digits of the right length, not all zero.
 *
 * @category guards
 * @since 0.1.0
 */
export const isValidSpanIdentity = (span: { readonly traceId: string; readonly spanId: string }): boolean =>
  TRACE_ID.test(span.traceId) && span.traceId !== INVALID_TRACE_ID &&
  SPAN_ID.test(span.spanId) && span.spanId !== INVALID_SPAN_ID

/**
 * Reads a `traceparent` header (Trace Context Level 2, §3.2).
 *
 * **Details**
 *
 * A version above `00` is read by position, as §4.3 asks, so that a trace
 * survives a peer that speaks a later version. Undefined flag bits are dropped.
 * Returns `undefined` for anything that is not a valid header.
 *
 * **Example** (Reading a header)
 *
 * ```ts
 * import { parseTraceparent } from "loom-tracing"
 *
 * parseTraceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")?.traceFlags // => 1
 * parseTraceparent("nonsense") // => undefined
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const parseTraceparent = (header: string): Traceparent | undefined => {
  const input = trimOws(header)
  if (input.length < TRACEPARENT_LENGTH) return undefined
  const match = TRACEPARENT.exec(input.length === TRACEPARENT_LENGTH ? input : input.slice(0, TRACEPARENT_LENGTH))
  if (match === null || match[1] === "ff") return undefined
  if (input.length > TRACEPARENT_LENGTH && (match[1] === "00" || input[TRACEPARENT_LENGTH] !== "-")) return undefined
  const traceId = match[2]
  const spanId = match[3]
  if (traceId === INVALID_TRACE_ID || spanId === INVALID_SPAN_ID) return undefined
  return { traceId, spanId, traceFlags: parseInt(match[4], 16) & DEFINED_FLAGS }
}

/**
 * Prints a `traceparent` header in version `00`.
 *
 * @category encoding
 * @since 0.1.0
 */
export const formatTraceparent = (self: Traceparent): string =>
  `00-${self.traceId}-${self.spanId}-0${self.traceFlags & DEFINED_FLAGS}`

// =============================================================================
// tracestate
// =============================================================================

const TRACESTATE_MAX_MEMBERS = 32
/** The longest header that 32 members of the greatest length can make, with room for optional white space. */
const TRACESTATE_MAX_INPUT = 32 * 1024
/** §3.3.1.5 asks for at least 512 characters; this is what an HTTP server commonly accepts in one header. */
const TRACESTATE_MAX_OUTPUT = 8192
const TRACESTATE_LARGE_MEMBER = 128
const TRACESTATE_KEY = /^[a-z0-9][a-z0-9_\-*/@]{0,255}$/
const TRACESTATE_VALUE = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/

const parseTracestateMembers = (header: string): Array<readonly [key: string, value: string]> | undefined => {
  if (header.length > TRACESTATE_MAX_INPUT) return undefined
  const members: Array<readonly [string, string]> = []
  for (const part of header.split(",")) {
    const member = trimOws(part)
    if (member === "") continue
    const equals = member.indexOf("=")
    if (equals < 1) return undefined
    const key = member.slice(0, equals)
    const value = member.slice(equals + 1)
    if (!TRACESTATE_KEY.test(key) || !TRACESTATE_VALUE.test(value)) return undefined
    // The left-most member is the newest, so a later one of the same key is stale.
    if (members.some((other) => other[0] === key)) continue
    members.push([key, value])
    if (members.length > TRACESTATE_MAX_MEMBERS) return undefined
  }
  return members
}

const formatTracestateMembers = (members: ReadonlyArray<readonly [string, string]>): string =>
  truncateTracestate(members.map(([key, value]) => `${key}=${value}`))

const truncateTracestate = (members: ReadonlyArray<string>): string => {
  const header = members.join(",")
  if (header.length <= TRACESTATE_MAX_OUTPUT) return header
  let excess = header.length - TRACESTATE_MAX_OUTPUT
  const kept = members.slice()
  for (let i = kept.length - 1; i >= 0 && excess > 0; i--) {
    if (kept[i].length > TRACESTATE_LARGE_MEMBER) {
      excess -= kept[i].length + 1
      kept.splice(i, 1)
    }
  }
  while (excess > 0 && kept.length > 0) excess -= kept.pop()!.length + 1
  return kept.join(",")
}

/**
 * Reads a `tracestate` header and returns it in its canonical form, or
 * `undefined` when there is nothing to propagate (Trace Context Level 2, §3.3).
 *
 * **Details**
 *
 * Optional white space and empty members go. One invalid member, or more than
 * 32, discards the whole header. A header above 8,192 characters loses whole
 * members: those above 128 characters first, then from the right.
 *
 * @category decoding
 * @since 0.1.0
 */
export const parseTracestate = (header: string): string | undefined => {
  const members = parseTracestateMembers(header)
  if (members === undefined || members.length === 0) return undefined
  return formatTracestateMembers(members)
}

/**
 * A `tracestate` with the interface that OpenTelemetry's API expects of one:
 * immutable, newest member first.
 *
 * @category models
 * @since 0.1.0
 */
export class TraceState {
  readonly header: string
  private members: ReadonlyArray<readonly [string, string]> | undefined

  constructor(header: string) {
    this.header = header
  }

  private entries(): ReadonlyArray<readonly [string, string]> {
    return this.members ??= parseTracestateMembers(this.header) ?? []
  }

  /** The value of a key, if there is one. */
  get(key: string): string | undefined {
    return this.entries().find((member) => member[0] === key)?.[1]
  }

  /** Adds or moves a member to the front. An invalid key or value changes nothing. */
  set(key: string, value: string): TraceState {
    if (!TRACESTATE_KEY.test(key) || !TRACESTATE_VALUE.test(value)) return this
    const rest = this.entries().filter((member) => member[0] !== key)
    return new TraceState(
      formatTracestateMembers([[key, value] as const, ...rest].slice(0, TRACESTATE_MAX_MEMBERS))
    )
  }

  /** Removes a member. */
  unset(key: string): TraceState {
    const rest = this.entries().filter((member) => member[0] !== key)
    return rest.length === this.entries().length ? this : new TraceState(formatTracestateMembers(rest))
  }

  /** The header. */
  serialize(): string {
    return this.header
  }
}

// =============================================================================
// baggage
// =============================================================================

const BAGGAGE_MAX_INPUT = 64 * 1024
const BAGGAGE_MAX_MEMBERS = 180
const BAGGAGE_MAX_OUTPUT = 8192
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const BAGGAGE_VALUE = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/
/** What must be percent-encoded in a value: all but `baggage-octet`, and `%` itself. */
const BAGGAGE_ESCAPE = /[^\x21\x23\x24\x26-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+/g

const percentDecode = (input: string): string => {
  if (!input.includes("%")) return input
  try {
    return decodeURIComponent(input)
  } catch {
    return percentDecodeLossy(input)
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true })

/** Invalid UTF-8 becomes U+FFFD (Baggage, §3.3.1.3); a `%` without two digits after it stays as it is. */
const percentDecodeLossy = (input: string): string => {
  const bytes = new Uint8Array(input.length)
  let length = 0
  for (let i = 0; i < input.length; i++) {
    const hex = input[i] === "%" ? input.slice(i + 1, i + 3) : ""
    if (/^[0-9A-Fa-f]{2}$/.test(hex)) {
      bytes[length++] = parseInt(hex, 16)
      i += 2
    } else {
      bytes[length++] = input.charCodeAt(i)
    }
  }
  return utf8.decode(bytes.subarray(0, length))
}

const percentEncode = (input: string): string =>
  input.replace(BAGGAGE_ESCAPE, (match) => encodeURIComponent(match.toWellFormed()))

const parseBaggageProperty = (input: string): BaggageProperty | undefined => {
  const property = trimOws(input)
  const equals = property.indexOf("=")
  const key = equals < 0 ? property : trimOws(property.slice(0, equals))
  if (!TOKEN.test(key)) return undefined
  if (equals < 0) return { key }
  const value = trimOws(property.slice(equals + 1))
  return BAGGAGE_VALUE.test(value) ? { key, value: percentDecode(value) } : undefined
}

const parseBaggageMember = (input: string): BaggageMember | undefined => {
  const parts = input.split(";")
  const equals = parts[0].indexOf("=")
  if (equals < 0) return undefined
  const key = trimOws(parts[0].slice(0, equals))
  const value = trimOws(parts[0].slice(equals + 1))
  if (!TOKEN.test(key) || !BAGGAGE_VALUE.test(value)) return undefined
  if (parts.length === 1) return { key, value: percentDecode(value) }
  const properties: Array<BaggageProperty> = []
  for (let i = 1; i < parts.length; i++) {
    const property = parseBaggageProperty(parts[i])
    if (property === undefined) return undefined
    properties.push(property)
  }
  return { key, value: percentDecode(value), properties }
}

/**
 * Reads a `baggage` header (W3C Baggage, §3.3). A member that breaks the
 * grammar costs that member only; order and repeated keys are kept.
 *
 * @category decoding
 * @since 0.1.0
 */
export const parseBaggage = (header: string): ReadonlyArray<BaggageMember> => {
  const input = header.length > BAGGAGE_MAX_INPUT ? header.slice(0, header.lastIndexOf(",", BAGGAGE_MAX_INPUT)) : header
  const members: Array<BaggageMember> = []
  for (const part of input.split(",")) {
    if (part.length > BAGGAGE_MAX_INPUT) continue
    const member = parseBaggageMember(part)
    if (member !== undefined && members.push(member) === BAGGAGE_MAX_MEMBERS) break
  }
  return members
}

const formatBaggageMember = (member: BaggageMember): string | undefined => {
  if (!TOKEN.test(member.key)) return undefined
  let out = `${member.key}=${percentEncode(member.value)}`
  for (const property of member.properties ?? []) {
    if (!TOKEN.test(property.key)) continue
    out += property.value === undefined ? `;${property.key}` : `;${property.key}=${percentEncode(property.value)}`
  }
  return out
}

/**
 * Prints a `baggage` header, or nothing when no member can be sent.
 *
 * **Details**
 *
 * 64 members in 8,192 bytes always fit (W3C Baggage, §3.3.2). What goes beyond
 * 180 members or 8,192 bytes is left out by whole members. A key that is no
 * RFC 7230 token cannot be expressed and is left out; values are percent-encoded,
 * so that no value can end the header.
 *
 * @category encoding
 * @since 0.1.0
 */
export const formatBaggage = (members: ReadonlyArray<BaggageMember>): string | undefined => {
  let out = ""
  let count = 0
  for (const member of members) {
    const formatted = formatBaggageMember(member)
    if (formatted === undefined) continue
    const length = out.length + formatted.length + (count > 0 ? 1 : 0)
    if (length > BAGGAGE_MAX_OUTPUT) continue
    out = count === 0 ? formatted : `${out},${formatted}`
    if (++count === BAGGAGE_MAX_MEMBERS) break
  }
  return count === 0 ? undefined : out
}

// =============================================================================
// Context
// =============================================================================

/**
 * Reads the three headers into a context. Nothing valid in them is `None`.
 *
 * **Details**
 *
 * `tracestate` is read only beside a valid `traceparent` (Trace Context
 * Level 2, §4.3); a bad `tracestate` or `baggage` leaves `traceparent` alone.
 *
 * @category decoding
 * @since 0.1.0
 */
export const parseTraceHeaders = (headers: TraceHeaders): Option.Option<RemoteContext> => {
  const traceparent = headers.traceparent === undefined ? undefined : parseTraceparent(headers.traceparent)
  const tracestate = traceparent === undefined || headers.tracestate === undefined
    ? undefined
    : parseTracestate(headers.tracestate)
  const baggage = headers.baggage === undefined ? [] : parseBaggage(headers.baggage)
  if (traceparent === undefined && baggage.length === 0) return Option.none()
  return Option.some({
    ...(traceparent === undefined ? undefined : { traceparent }),
    ...(tracestate === undefined ? undefined : { tracestate }),
    ...(baggage.length === 0 ? undefined : { baggage })
  })
}

/**
 * Prints a context as headers. An empty header is left out.
 *
 * @category encoding
 * @since 0.1.0
 */
export const formatTraceHeaders = (context: RemoteContext): TraceHeaders => {
  const headers: { traceparent?: string; tracestate?: string; baggage?: string } = {}
  if (context.traceparent !== undefined) {
    headers.traceparent = formatTraceparent(context.traceparent)
    if (context.tracestate !== undefined && context.tracestate !== "") headers.tracestate = context.tracestate
  }
  const baggage = context.baggage === undefined ? undefined : formatBaggage(context.baggage)
  if (baggage !== undefined) headers.baggage = baggage
  return headers
}

// =============================================================================
// Schemas
// =============================================================================

/**
 * Schema of a `traceparent` header: decodes the string into a {@link Traceparent}.
 *
 * **When to use**
 *
 * Use when a `traceparent` is a field of your own data and a bad one should be
 * a decoding error. Carriers and envelopes treat a bad one as no context.
 *
 * **Example** (Decoding a field)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { TraceparentFromString } from "loom-tracing"
 *
 * const Row = Schema.Struct({ trace: TraceparentFromString })
 *
 * Schema.decodeSync(Row)({ trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03" }).trace.traceFlags // => 3
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const TraceparentFromString: Schema.Codec<Traceparent, string> = Schema.String.pipe(
  Schema.decodeTo(
    Schema.Struct({
      traceId: Schema.String.check(Schema.isPattern(TRACE_ID)),
      spanId: Schema.String.check(Schema.isPattern(SPAN_ID)),
      traceFlags: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: DEFINED_FLAGS }))
    }),
    SchemaTransformation.transformEffect<Traceparent, string>({
      decode: (header) => {
        const traceparent = parseTraceparent(header)
        return traceparent === undefined
          ? Effect.fail(new SchemaIssue.InvalidValue({ message: "Expected a W3C traceparent header" }))
          : Effect.succeed(traceparent)
      },
      encode: (traceparent) => Effect.succeed(formatTraceparent(traceparent))
    })
  )
)
