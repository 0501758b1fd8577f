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
import * as Predicate from "effect/Predicate"
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
// No interface, which would not fit where a record of headers is wanted.
export type TraceHeaders = {
  readonly traceparent?: string
  readonly tracestate?: string
  readonly baggage?: string
}

// =============================================================================
// Characters
// =============================================================================

// Every header is read in one pass, so that its cost grows with its length alone, whatever a hostile peer puts in it.

/** A set of ASCII characters: a table to look one up, an expression to run over many. */
interface CharSet {
  readonly table: Uint8Array
  readonly run: RegExp
}

const ASCII = String.fromCharCode(...Array(128).keys())

const charSet = (chars: string): CharSet => {
  const table = new Uint8Array(128)
  // Run by run: nearly a thousand looks at a character are felt when the package is loaded.
  for (const { 0: run, index } of ASCII.matchAll(new RegExp(`${chars}+`, "g"))) table.fill(1, index, index + run.length)
  return { table, run: new RegExp(`${chars}*`, "y") }
}

const OWS = charSet("[ \\t]")
const MEMBER_SEPARATOR = charSet("[ \\t,]")
const PROPERTY_SEPARATOR = charSet("[ \\t;]")
const TRACESTATE_KEY = charSet("[a-z0-9_\\-*/@]")
const TRACESTATE_VALUE = charSet("[\\x20-\\x2b\\x2d-\\x3c\\x3e-\\x7e]")
const TOKEN = charSet("[!#$%&'*+\\-.^_`|~0-9A-Za-z]")
const BAGGAGE_OCTET = charSet("[\\x21\\x23-\\x2b\\x2d-\\x3a\\x3c-\\x5b\\x5d-\\x7e]")

const isIn = (set: CharSet, code: number): boolean => code < 128 && set.table[code] === 1

/** An expression is slower to start than the table and faster to go on: it takes over where a run is long. */
const LONG_RUN = 24

/** Where the run of characters of a set that begins at `start` ends. */
const endOf = (set: CharSet, input: string, start: number): number => {
  const short = Math.min(input.length, start + LONG_RUN)
  let end = start
  while (end < short && isIn(set, input.charCodeAt(end))) end++
  if (end < short || end === input.length) return end
  set.run.lastIndex = end
  set.run.test(input)
  return set.run.lastIndex
}

// =============================================================================
// traceparent
// =============================================================================

/**
 * The `sampled` bit of the trace flags (Trace Context Level 2, §3.2.2.5.1).
 *
 * **Example** (Asking whether a trace is recorded)
 *
 * ```ts
 * import { FLAG_SAMPLED, parseTraceparent } from "loom-tracing"
 *
 * const flags = parseTraceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")?.traceFlags ?? 0
 *
 * const isSampled = (flags & FLAG_SAMPLED) !== 0
 * isSampled // => true
 * ```
 *
 * @category constants
 * @since 0.1.0
 */
export const FLAG_SAMPLED = 0x01

/**
 * The `random trace id` bit of the trace flags (Trace Context Level 2, §3.2.2.5.2).
 *
 * **Example** (Asking whether a trace id is random)
 *
 * ```ts
 * import { FLAG_RANDOM, parseTraceparent } from "loom-tracing"
 *
 * const flags = parseTraceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")?.traceFlags ?? 0
 *
 * const isRandom = (flags & FLAG_RANDOM) !== 0
 * isRandom // => false
 * ```
 *
 * @category constants
 * @since 0.1.0
 */
export const FLAG_RANDOM = 0x02

const DEFINED_FLAGS = FLAG_SAMPLED | FLAG_RANDOM

/** Only a prohibitively large header may be refused (§3.2.4). Parts of a larger one would keep all of it in memory. */
const TRACEPARENT_MAX_INPUT = 8192
/**
 * An HTTP library strips the white space around a header, a message broker does
 * not. Line breaks stay forbidden: no header may hold one.
 */
const TRACEPARENT = /^[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-|[ \t]*$)/
/**
 * An expression for a text with lower-case hexadecimal digits. It looks at all of them twice, because a processor can
 * foresee both looks: to ask each whether it is a number or a letter, as `[0-9a-f]` does, takes three times as long
 * where no two texts are alike. Digits are written out, since counting them takes longer still.
 */
const hexadecimal = (text: (digit: string) => string): RegExp => new RegExp(`^(?=${text("[^:-`]")})${text("[0-f]")}$`)
const nonZero = (digit: string, count: number): string => `(?!${"0".repeat(count)})${digit.repeat(count)}`
const IS_TRACE_ID = hexadecimal((digit) => nonZero(digit, 32))
const IS_SPAN_ID = hexadecimal((digit) => nonZero(digit, 16))
/** What nearly all headers are: version `00`, valid, without white space. */
const CANONICAL = hexadecimal((digit) => `00-${nonZero(digit, 32)}-${nonZero(digit, 16)}-${digit}${digit}`)
const CANONICAL_LENGTH = 55
/** The last field, by the flags: a number would first have to become a text. */
const FLAGS = ["-00", "-01", "-02", "-03"]

/**
 * Checks that the identifiers of a span may go on the wire: lower-case
 * hexadecimal digits of the right length, not all zero.
 *
 * **Example** (Checking ids of unknown origin)
 *
 * ```ts
 * import { isValidSpanIdentity } from "loom-tracing"
 *
 * isValidSpanIdentity({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" }) // => true
 * isValidSpanIdentity({ traceId: "0".repeat(32), spanId: "b7ad6b7169203331" }) // => false
 * ```
 *
 * @category guards
 * @since 0.1.0
 */
export const isValidSpanIdentity = (span: { readonly traceId: string; readonly spanId: string }): boolean =>
  Predicate.isString(span.traceId) && IS_TRACE_ID.test(span.traceId) &&
  Predicate.isString(span.spanId) && IS_SPAN_ID.test(span.spanId)

/**
 * Reads a `traceparent` header (Trace Context Level 2, §3.2).
 *
 * **Details**
 *
 * A version above `00` is read by position, as §3.2.4 asks, so that a trace
 * survives a peer that speaks a later version. White space around the header is
 * ignored, undefined flag bits are dropped. Returns `undefined` for anything
 * that is not a valid header.
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
  if (header.length === CANONICAL_LENGTH && CANONICAL.test(header)) {
    return {
      traceId: header.slice(3, 35),
      spanId: header.slice(36, 52),
      traceFlags: HEX_VALUES[header.charCodeAt(54)] & DEFINED_FLAGS
    }
  }
  if (header.length > TRACEPARENT_MAX_INPUT) return undefined
  const match = TRACEPARENT.exec(header)
  if (match === null) return undefined
  const version = match[1]
  if (version === "ff" || (version === "00" && match[5] === "-")) return undefined
  const traceId = match[2]
  const spanId = match[3]
  if (!IS_TRACE_ID.test(traceId) || !IS_SPAN_ID.test(spanId)) return undefined
  // For a later version §3.2.4 names the sampled bit alone. The random bit is kept as well: it says something of the
  // trace id, which stays, and §3.2.2.5.2 forbids to unset it while the id stays.
  return { traceId, spanId, traceFlags: parseInt(match[4], 16) & DEFINED_FLAGS }
}

/**
 * Prints a `traceparent` header in version `00`.
 *
 * **Gotchas**
 *
 * The identifiers are printed as they are: check those of unknown origin with
 * {@link isValidSpanIdentity} first, or use {@link formatTraceHeaders}.
 *
 * **Example** (Printing a header)
 *
 * ```ts
 * import { formatTraceparent } from "loom-tracing"
 *
 * const span = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 }
 *
 * formatTraceparent(span) // => "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const formatTraceparent = (self: Traceparent): string =>
  `00-${self.traceId}-${self.spanId}${FLAGS[self.traceFlags & DEFINED_FLAGS]}`

// =============================================================================
// tracestate
// =============================================================================

const TRACESTATE_MAX_MEMBERS = 32
const TRACESTATE_MAX_TEXT = 256
/** Twice what 32 members of the greatest length take; the rest can only be white space and empty members. */
const TRACESTATE_MAX_INPUT = 32 * 1024
/** §3.3.3.1 asks for at least 512 characters; this is what HTTP servers commonly accept in one header. */
const TRACESTATE_MAX_OUTPUT = 8192
const TRACESTATE_LARGE_MEMBER = 128

/** Where the key that begins at `start` ends, or -1 when it is none (§3.3.2.2.1). */
const tracestateKeyEnd = (input: string, start: number): number => {
  const end = endOf(TRACESTATE_KEY, input, start)
  if (end === start || end - start > TRACESTATE_MAX_TEXT) return -1
  const first = input.charCodeAt(start)
  return first >= 0x61 || (first >= 0x30 && first <= 0x39) ? end : -1
}

/**
 * Where the value that begins at `start` ends, or -1 when it is none. Leading
 * spaces are part of it, trailing ones are not (§3.3.2.2.2). Of one that is too
 * long it is the middle, where no member can end.
 */
const tracestateValueEnd = (input: string, start: number): number => {
  let end = Math.min(endOf(TRACESTATE_VALUE, input, start), start + TRACESTATE_MAX_TEXT)
  while (end > start && isIn(OWS, input.charCodeAt(end - 1))) end--
  return end === start ? -1 : end
}

/** Where the members of the header that is being checked begin and their keys end. */
const keyRanges = new Uint16Array(2 * TRACESTATE_MAX_MEMBERS)

/** Whether a key that has been read before is the text from `start` to `end`. */
const isRepeated = (header: string, count: number, start: number, end: number): boolean => {
  for (let i = 0; i < count; i++) {
    const other = keyRanges[2 * i]
    if (keyRanges[2 * i + 1] - other === end - start && header.startsWith(header.slice(start, end), other)) return true
  }
  return false
}

/** What nearly all headers are: one member, or two of different keys, without a space. */
const ONE_OR_TWO_MEMBERS =
  /^([a-z0-9][a-z0-9_\-*/@]*)=[\x21-\x2b\x2d-\x3c\x3e-\x7e]+(?:,(?!\1=)[a-z0-9][a-z0-9_\-*/@]*=[\x21-\x2b\x2d-\x3c\x3e-\x7e]+)?$/

/** Whether a header can be passed on as it is, which is the common case and needs no copy of anything. */
const isCanonicalTracestate = (header: string): boolean => {
  if (header.length > TRACESTATE_MAX_OUTPUT) return false
  let start = 0
  for (let count = 0; count < TRACESTATE_MAX_MEMBERS; count++) {
    const keyEnd = tracestateKeyEnd(header, start)
    if (keyEnd < 0 || header.charCodeAt(keyEnd) !== EQUALS) return false
    const end = tracestateValueEnd(header, keyEnd + 1)
    if (end < 0 || isRepeated(header, count, start, keyEnd)) return false
    if (end === header.length) return true
    if (header.charCodeAt(end) !== COMMA) return false
    keyRanges[2 * count] = start
    keyRanges[2 * count + 1] = keyEnd
    start = end + 1
  }
  return false
}

/** The members of a header, each as `key=value`. */
const parseTracestateMembers = (header: string): ReadonlyArray<string> | undefined => {
  if (header.length > TRACESTATE_MAX_INPUT) return undefined
  const members: Array<string> = []
  let count = 0
  let start = endOf(MEMBER_SEPARATOR, header, 0)
  while (start < header.length) {
    const keyEnd = tracestateKeyEnd(header, start)
    if (keyEnd < 0 || header[keyEnd] !== "=") return undefined
    const end = tracestateValueEnd(header, keyEnd + 1)
    if (end < 0 || ++count > TRACESTATE_MAX_MEMBERS) return undefined
    const next = endOf(OWS, header, end)
    if (next < header.length && header[next] !== ",") return undefined
    // The left-most member is the newest, so a later one of the same key is stale (§3.3.3).
    const key = header.slice(start, keyEnd + 1)
    if (!members.some((member) => member.startsWith(key))) members.push(header.slice(start, end))
    start = endOf(MEMBER_SEPARATOR, header, next)
  }
  return members
}

/**
 * Joins members. Above the limit whole ones go, the large ones first and from
 * the right (§3.3.3.1): 32 members that are not large always fit.
 */
const formatTracestateMembers = (members: ReadonlyArray<string>): string => {
  const header = members.join(",")
  let excess = header.length - TRACESTATE_MAX_OUTPUT
  if (excess <= 0) return header
  const kept = members.slice()
  for (let i = kept.length - 1; excess > 0; i--) {
    if (kept[i].length <= TRACESTATE_LARGE_MEMBER) continue
    excess -= kept[i].length + 1
    kept.splice(i, 1)
  }
  return kept.join(",")
}

/**
 * Reads a `tracestate` header and returns it in its canonical form, or
 * `undefined` when there is nothing to propagate (Trace Context Level 2, §3.3).
 *
 * **Details**
 *
 * Optional white space and empty members go; of members with the same key the
 * left-most stays. One invalid member, or more than 32, discards the whole
 * header. A header above 8,192 characters loses whole members of more than 128
 * characters, from the right.
 *
 * **Example** (Reading a header)
 *
 * ```ts
 * import { parseTracestate } from "loom-tracing"
 *
 * parseTracestate("rojo=1 , ,congo=2") // => "rojo=1,congo=2"
 * parseTracestate("Rojo=1") // => undefined
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const parseTracestate = (header: string): string | undefined => {
  // In a header of this length, neither a key nor a value can be too long.
  if (header.length <= TRACESTATE_MAX_TEXT && ONE_OR_TWO_MEMBERS.test(header)) return header
  return parseOtherTracestate(header)
}

const parseOtherTracestate = (header: string): string | undefined => {
  if (isCanonicalTracestate(header)) return header
  const members = parseTracestateMembers(header)
  return members === undefined || members.length === 0 ? undefined : formatTracestateMembers(members)
}

/**
 * A `tracestate` with the interface that OpenTelemetry's API expects of one:
 * immutable, newest member first.
 *
 * **Details**
 *
 * A header that is invalid makes an empty one.
 *
 * **Example** (Adding a member)
 *
 * ```ts
 * import { TraceState } from "loom-tracing"
 *
 * const state = new TraceState("rojo=1,congo=2").set("congo", "3")
 *
 * state.serialize() // => "congo=3,rojo=1"
 * state.get("rojo") // => "1"
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export class TraceState {
  /** The header in its canonical form. Empty when there is no member. */
  readonly header: string

  constructor(header: string) {
    this.header = parseTracestate(header) ?? ""
  }

  private members(): ReadonlyArray<string> {
    return this.header === "" ? [] : this.header.split(",")
  }

  private membersWithout(key: string): ReadonlyArray<string> {
    return this.members().filter((member) => !member.startsWith(`${key}=`))
  }

  /** The value of a key, if there is one. */
  get(key: string): string | undefined {
    return this.members().find((member) => member.startsWith(`${key}=`))?.slice(key.length + 1)
  }

  /** Adds or moves a member to the front. A 33rd pushes out the last; an invalid key or value changes nothing. */
  set(key: string, value: string): TraceState {
    if (tracestateKeyEnd(key, 0) !== key.length || tracestateValueEnd(value, 0) !== value.length) return this
    const members = [`${key}=${value}`, ...this.membersWithout(key)]
    return new TraceState(formatTracestateMembers(members.slice(0, TRACESTATE_MAX_MEMBERS)))
  }

  /** Removes a member. */
  unset(key: string): TraceState {
    return new TraceState(this.membersWithout(key).join(","))
  }

  /** The header in its canonical form. */
  serialize(): string {
    return this.header
  }
}

// =============================================================================
// baggage
// =============================================================================

const BAGGAGE_MAX_MEMBERS = 180
const BAGGAGE_MAX_OUTPUT = 8192
/**
 * The 8,192 bytes that always travel on, with every octet of them
 * percent-encoded. Within that, one member may be as long as all.
 */
const BAGGAGE_MAX_INPUT = 3 * BAGGAGE_MAX_OUTPUT

const PERCENT = 0x25
const SEMICOLON = 0x3b
const EQUALS = 0x3d
const COMMA = 0x2c
const HEX_DIGITS = Uint8Array.from("0123456789ABCDEF", (digit) => digit.charCodeAt(0))
/** The value of a hexadecimal digit by its character code, 255 for any other byte. */
const HEX_VALUES = Uint8Array.from({ length: 256 }, (_, code) => {
  const value = Number.parseInt(String.fromCharCode(code), 16)
  return Number.isNaN(value) ? 255 : value
})
// `ignoreBOM` keeps a leading U+FEFF, which is a character of the value like any other.
const utf8Decoder = new TextDecoder("utf-8", { ignoreBOM: true })
const utf8Encoder = new TextEncoder()
// Shared, because a buffer costs more than what a short value needs it for; no call keeps them beyond its return.
const raw = new Uint8Array(BAGGAGE_MAX_INPUT)
const encoded = new Uint8Array(BAGGAGE_MAX_OUTPUT)
/** The header that is read: a byte is looked at several times faster than a character of a string. */
const bytes = new Uint8Array(BAGGAGE_MAX_INPUT + 1)
const window = bytes.subarray(0, BAGGAGE_MAX_INPUT)

/**
 * Fills {@link bytes} and returns them as text, in which every place is the same. They end in a NUL, which is in no
 * set, so that every run ends.
 */
const load = (header: string): string => {
  const { read, written } = utf8Encoder.encodeInto(header, window)
  // A member that the limit would cut is left out whole (§3.3.2).
  const length = read === header.length || header[read] === ","
    ? written
    : Math.max(0, bytes.lastIndexOf(COMMA, written - 1))
  bytes[length] = 0
  if (read === written) return length === header.length ? header : header.slice(0, length)
  for (let i = 0; i < length; i++) {
    if (bytes[i] > 127) bytes[i] = 0
  }
  return utf8Decoder.decode(bytes.subarray(0, length))
}

/** Where the run of bytes of a set that begins at `start` ends. */
const runEnd = ({ table }: CharSet, start: number): number => {
  let end = start
  while (table[bytes[end]] === 1) end++
  return end
}

/** A decoder takes longer to start than so many characters take one by one. */
const SHORT_VALUE = 24

/**
 * The value in some of the {@link bytes} of a text. Bytes that are no UTF-8 become U+FFFD (Baggage, §3.3.1.3). A `%`
 * without two digits after it encodes no byte, so it stays as it is, and leaves as `%25`.
 */
const percentDecode = (input: string, start: number, end: number): string => {
  let length = 0
  let union = 0
  for (let i = start; i < end; i++) {
    let byte = bytes[i]
    if (byte === PERCENT && i + 2 < end) {
      const high = HEX_VALUES[bytes[i + 1]]
      const low = HEX_VALUES[bytes[i + 2]]
      if (high < 16 && low < 16) {
        byte = high << 4 | low
        i += 2
      }
    }
    union |= byte
    raw[length++] = byte
  }
  if (length === end - start) return input.slice(start, end)
  if (length > SHORT_VALUE || union > 127) return utf8Decoder.decode(raw.subarray(0, length))
  let value = ""
  for (let i = 0; i < length; i++) value += String.fromCharCode(raw[i])
  return value
}

/**
 * Encodes what must be encoded and nothing else, so that a header that was
 * received within the limits is sent within them. An unpaired surrogate becomes
 * U+FFFD. `undefined` when the result is too long for any header.
 */
const percentEncode = (input: string): string | undefined => {
  if (input.length > BAGGAGE_MAX_OUTPUT) return undefined
  if (!input.includes("%") && endOf(BAGGAGE_OCTET, input, 0) === input.length) return input
  const { written } = utf8Encoder.encodeInto(input, raw)
  let length = 0
  for (let i = 0; i < written; i++) {
    const byte = raw[i]
    if (byte !== PERCENT && isIn(BAGGAGE_OCTET, byte)) {
      encoded[length++] = byte
    } else {
      encoded[length++] = PERCENT
      encoded[length++] = HEX_DIGITS[byte >> 4]
      encoded[length++] = HEX_DIGITS[byte & 0x0f]
    }
    if (length > BAGGAGE_MAX_OUTPUT) return undefined
  }
  return utf8Decoder.decode(encoded.subarray(0, length))
}

/**
 * Reads a `baggage` header (W3C Baggage, §3.3).
 *
 * **Details**
 *
 * A member that breaks the grammar costs that member only; order and repeated
 * keys are kept. Keys are taken as they are, values are percent-decoded. Whole
 * members beyond the first 180, or beyond 24,576 bytes, are left out.
 *
 * **Example** (Reading a header)
 *
 * ```ts
 * import { parseBaggage } from "loom-tracing"
 *
 * const [member] = parseBaggage("tenant=acme%20inc;ttl=60")
 *
 * member // => { key: "tenant", value: "acme inc", properties: [{ key: "ttl", value: "60" }] }
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const parseBaggage = (header: string): ReadonlyArray<BaggageMember> => {
  const members: Array<BaggageMember> = []
  readMembers(header, members)
  return members
}

/** Adds the members of a header, or, with nowhere to add them, looks for the first. Says whether there is one. */
const readMembers = (header: string, members: Array<BaggageMember> | undefined): boolean => {
  const input = load(header)
  let at = runEnd(MEMBER_SEPARATOR, 0)
  for (let count = 0; at < input.length && count < BAGGAGE_MAX_MEMBERS; count++) {
    const start = at
    const keyEnd = runEnd(TOKEN, start)
    at = runEnd(OWS, keyEnd)
    if (keyEnd > start && bytes[at] === EQUALS) {
      const valueStart = runEnd(OWS, at + 1)
      const valueEnd = runEnd(BAGGAGE_OCTET, valueStart)
      const properties: Array<BaggageProperty> | undefined = members === undefined ? undefined : []
      at = readProperties(input, runEnd(OWS, valueEnd), properties)
      if (at === input.length || bytes[at] === COMMA) {
        if (members === undefined) return true
        const key = input.slice(start, keyEnd)
        const value = percentDecode(input, valueStart, valueEnd)
        members.push(properties === undefined || properties.length === 0 ? { key, value } : { key, value, properties })
      }
    }
    const comma = input.indexOf(",", at)
    at = comma < 0 ? input.length : runEnd(MEMBER_SEPARATOR, comma)
  }
  return members !== undefined && members.length > 0
}

/**
 * Adds the properties that begin at `start`, if there is where to, and returns where they end. An empty one says
 * nothing and is skipped.
 */
const readProperties = (input: string, start: number, properties: Array<BaggageProperty> | undefined): number => {
  let at = start
  while (bytes[at] === SEMICOLON) {
    const keyStart = runEnd(PROPERTY_SEPARATOR, at + 1)
    const keyEnd = runEnd(TOKEN, keyStart)
    at = runEnd(OWS, keyEnd)
    if (keyEnd === keyStart) continue
    if (bytes[at] !== EQUALS) {
      properties?.push({ key: input.slice(keyStart, keyEnd) })
      continue
    }
    const valueStart = runEnd(OWS, at + 1)
    const valueEnd = runEnd(BAGGAGE_OCTET, valueStart)
    at = runEnd(OWS, valueEnd)
    properties?.push({ key: input.slice(keyStart, keyEnd), value: percentDecode(input, valueStart, valueEnd) })
  }
  return at
}

/** A longer header is taken apart when somebody looks at what it says: a hostile one can say thousands of things. */
const BAGGAGE_EAGER_INPUT = 512

/**
 * Gives a context the baggage of a header. Says whether there is any in it.
 *
 * @internal
 */
export const addBaggage = (context: { baggage?: ReadonlyArray<BaggageMember> }, header: string): boolean => {
  if (header.length <= BAGGAGE_EAGER_INPUT) {
    const members = parseBaggage(header)
    if (members.length === 0) return false
    context.baggage = members
    return true
  }
  if (!readMembers(header, undefined)) return false
  let members: ReadonlyArray<BaggageMember> | undefined
  Object.defineProperty(context, "baggage", {
    configurable: true,
    enumerable: true,
    get: () => {
      if (members === undefined) {
        members = parseBaggage(header)
        if (isPrinted(header, members.length)) printed.set(members, header)
      }
      return members
    },
    set: (value: ReadonlyArray<BaggageMember>) => {
      members = value
    }
  })
  return true
}

/** Long headers that can travel on as they came, by their members. */
const printed = new WeakMap<ReadonlyArray<BaggageMember>, string>()

/** What would not be printed as it is: white space, an empty property, a `%` that stands for itself. */
const NOT_PRINTED = /[^\x21-\x7e]|;(?:[;,]|$)|%(?![\da-f]{2})/i

/** Whether a header that has so many good members says nothing else. */
const isPrinted = (header: string, members: number): boolean =>
  header.length <= BAGGAGE_MAX_OUTPUT && header.split(",", members + 1).length === members && !NOT_PRINTED.test(header)

// What is printed may come from a program without types.
const isToken = (input: unknown): boolean =>
  Predicate.isString(input) && input !== "" && endOf(TOKEN, input, 0) === input.length

/** A member cannot travel in part (§3.3.2): what cannot be expressed in it leaves out all of it. */
const formatBaggageMember = (member: BaggageMember): string | undefined => {
  let out = formatBaggagePair(member.key, member.value)
  if (out === undefined || member.properties === undefined) return out
  for (const { key, value } of member.properties) {
    const property = value !== undefined ? formatBaggagePair(key, value) : isToken(key) ? key : undefined
    if (property === undefined) return undefined
    out += `;${property}`
  }
  return out
}

const formatBaggagePair = (key: string, value: string): string | undefined => {
  const encodedValue = isToken(key) && Predicate.isString(value) ? percentEncode(value) : undefined
  return encodedValue === undefined ? undefined : `${key}=${encodedValue}`
}

/**
 * Prints a `baggage` header, or nothing when no member can be sent.
 *
 * **Details**
 *
 * 64 members in 8,192 bytes always fit (W3C Baggage, §3.3.2). What goes beyond
 * 180 members or 8,192 bytes is left out by whole members. A key that is no
 * RFC 7230 token cannot be expressed and is left out; values are percent-encoded,
 * so that no value can end the header. Members of a long header that was read
 * with {@link parseTraceHeaders} or from a carrier are printed as they came,
 * where that is how they would be printed.
 *
 * **Example** (Printing a header)
 *
 * ```ts
 * import { formatBaggage } from "loom-tracing"
 *
 * formatBaggage([{ key: "tenant", value: "acme, inc" }, { key: "no token", value: "1" }]) // => "tenant=acme%2C%20inc"
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const formatBaggage = (members: ReadonlyArray<BaggageMember>): string | undefined => {
  const header = printed.get(members)
  if (header !== undefined) return header
  let out = ""
  let count = 0
  for (const member of members) {
    const formatted = formatBaggageMember(member)
    if (formatted === undefined) continue
    // All of it is ASCII, so characters are bytes.
    if (out.length + formatted.length + (count > 0 ? 1 : 0) > BAGGAGE_MAX_OUTPUT) continue
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
 * Level 2, §3.3); a bad `tracestate` or `baggage` leaves `traceparent` alone.
 *
 * **Example** (Reading headers)
 *
 * ```ts
 * import { Option } from "effect"
 * import { parseTraceHeaders } from "loom-tracing"
 *
 * const headers = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }
 *
 * Option.getOrThrow(parseTraceHeaders(headers)).traceparent?.traceFlags // => 1
 * Option.isNone(parseTraceHeaders({ tracestate: "rojo=1" })) // => true
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const parseTraceHeaders = (headers: TraceHeaders): Option.Option<RemoteContext> => {
  const context: { traceparent?: Traceparent; tracestate?: string; baggage?: ReadonlyArray<BaggageMember> } = {}
  const traceparent = headers.traceparent === undefined ? undefined : parseTraceparent(headers.traceparent)
  if (traceparent !== undefined) {
    context.traceparent = traceparent
    const tracestate = headers.tracestate === undefined ? undefined : parseTracestate(headers.tracestate)
    if (tracestate !== undefined) context.tracestate = tracestate
  }
  const hasBaggage = headers.baggage !== undefined && addBaggage(context, headers.baggage)
  return traceparent !== undefined || hasBaggage ? Option.some(context) : Option.none()
}

/**
 * Prints a context as headers. An empty header is left out.
 *
 * **Details**
 *
 * A context may come from anywhere, so it is checked again: what is not valid
 * is left out, and nothing in it can put a line break into a header.
 *
 * **Example** (Printing baggage alone)
 *
 * ```ts
 * import { formatTraceHeaders } from "loom-tracing"
 *
 * formatTraceHeaders({ baggage: [{ key: "tenant", value: "acme" }] }) // => { baggage: "tenant=acme" }
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const formatTraceHeaders = (context: RemoteContext): TraceHeaders => {
  const headers: { traceparent?: string; tracestate?: string; baggage?: string } = {}
  if (context.traceparent !== undefined && isValidSpanIdentity(context.traceparent)) {
    headers.traceparent = formatTraceparent(context.traceparent)
    const tracestate = context.tracestate === undefined ? undefined : parseTracestate(context.tracestate)
    if (tracestate !== undefined) headers.tracestate = tracestate
  }
  const baggage = context.baggage === undefined ? undefined : formatBaggage(context.baggage)
  if (baggage !== undefined) headers.baggage = baggage
  return headers
}

// =============================================================================
// Schemas
// =============================================================================

const identifier = (length: number): Schema.String =>
  Schema.String.check(
    Schema.isPattern(new RegExp(`^[0-9a-f]{${length}}$`)),
    Schema.makeFilter((id) => !/^0*$/.test(id) || "Expected an identifier that is not all zeros")
  )

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
      traceId: identifier(32),
      spanId: identifier(16),
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
