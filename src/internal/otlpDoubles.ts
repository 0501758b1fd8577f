/**
 * Gives attributes of type `double` their type on the wire. JavaScript has one
 * kind of number, so OpenTelemetry's serializer sends a `temperature` of 1 as an
 * integer, and a collector that has seen 0.7 before has two types for one name.
 *
 * It works on the serialized `ExportTraceServiceRequest`, since the serializer
 * cannot be told: where there is nothing to do, the bytes come back as they are.
 *
 * @internal
 */
import type { Attributes } from "@opentelemetry/api"
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer"
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base"
import { DOUBLE_ATTRIBUTES } from "./semconv.ts"

/** A message of which some fields are worth a look: the messages in them, or attributes. */
interface Message {
  readonly [field: number]: Message | "attribute"
}

// The numbers of the fields in opentelemetry/proto/trace/v1/trace.proto.
const EVENT: Message = { 3: "attribute" }
const SPAN: Message = { 9: "attribute", 11: EVENT }
const SCOPE_SPANS: Message = { 2: SPAN }
const RESOURCE_SPANS: Message = { 2: SCOPE_SPANS }
const REQUEST: Message = { 1: RESOURCE_SPANS }

const VARINT = 0
const FIXED64 = 1
const LENGTH_DELIMITED = 2
const FIXED32 = 5

// An attribute is a key (field 1) and a value (field 2); an integer is field 3 of the value, a double field 4.
const KEY_TAG = 1 << 3 | LENGTH_DELIMITED
const VALUE_TAG = 2 << 3 | LENGTH_DELIMITED
const INT_TAG = 3 << 3 | VARINT
const DOUBLE_TAG = 4 << 3 | FIXED64
/** The bytes of field 2 with a double in it: two tags, a length, and eight bytes. */
const DOUBLE_VALUE_SIZE = 11

const varintSize = (value: number): number => {
  let size = 1
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++
  return size
}

/** Most integers have a key of another length, which then need not be read. */
const DOUBLE_KEY_LENGTHS: ReadonlySet<number> = new Set(Array.from(DOUBLE_ATTRIBUTES, (key) => key.length))

/** What takes the place of some bytes: the new length of a message, or a double. */
interface Edit {
  readonly start: number
  readonly end: number
  readonly length: number | undefined
  readonly double: number | undefined
}

class Rewriter {
  private readonly bytes: Buffer
  private readonly edits: Array<Edit> = []
  private position = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  run(): Buffer | undefined {
    const growth = this.scan(this.bytes.length, REQUEST)
    return this.edits.length === 0 ? undefined : this.write(this.bytes.length + growth)
  }

  /** Finds what is to be changed in a message, and returns by how many bytes it grows. */
  private scan(end: number, message: Message): number {
    let growth = 0
    while (this.position < end) {
      const tag = this.readVarint()
      const inner = message[tag >>> 3]
      if (inner === undefined || (tag & 7) !== LENGTH_DELIMITED) {
        this.skip(tag & 7)
        continue
      }
      const start = this.position
      const oldLength = this.readVarint()
      const innerStart = this.position
      const innerEnd = innerStart + oldLength
      const before = this.edits.length
      const innerGrowth = inner === "attribute" ? this.scanAttribute(innerEnd) : this.scan(innerEnd, inner)
      this.position = innerEnd
      if (this.edits.length === before) continue
      const length = oldLength + innerGrowth
      // Its place is before the edits inside.
      this.edits.splice(before, 0, { start, end: innerStart, length, double: undefined })
      growth += innerGrowth + varintSize(length) - (innerStart - start)
    }
    return growth
  }

  private scanAttribute(end: number): number {
    const { bytes } = this
    const keyStart = this.position + 2
    // Read as one byte: no key that counts and no integer is so long that its length would take two.
    const keyLength = bytes[keyStart - 1]
    const start = keyStart + keyLength
    if (bytes[keyStart - 2] !== KEY_TAG || start + 3 > end) return 0
    if (bytes[start] !== VALUE_TAG || bytes[start + 1] >= 0x80 || bytes[start + 2] !== INT_TAG) return 0
    if (!DOUBLE_KEY_LENGTHS.has(keyLength) || !DOUBLE_ATTRIBUTES.has(bytes.toString("latin1", keyStart, start))) {
      return 0
    }
    this.position = start + 3
    this.edits.push({ start, end, length: undefined, double: this.readInt64() })
    return DOUBLE_VALUE_SIZE - (end - start)
  }

  private write(size: number): Buffer {
    const out = Buffer.allocUnsafe(size)
    let copied = 0
    let at = 0
    for (const { double, end, length, start } of this.edits) {
      at += this.bytes.copy(out, at, copied, start)
      copied = end
      if (length !== undefined) {
        let rest = length
        for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) out[at++] = rest % 0x80 | 0x80
        out[at++] = rest
      } else {
        out[at++] = VALUE_TAG
        out[at++] = DOUBLE_VALUE_SIZE - 2
        out[at++] = DOUBLE_TAG
        at = out.writeDoubleLE(double ?? 0, at)
      }
    }
    this.bytes.copy(out, at, copied)
    return out
  }

  /** A length or a tag, all of which are far below 2^53. */
  private readVarint(): number {
    let byte = this.bytes[this.position++]
    if (byte < 0x80) return byte
    let value = byte & 0x7f
    let scale = 0x80
    do {
      byte = this.bytes[this.position++]
      value += (byte & 0x7f) * scale
      scale *= 0x80
    } while (byte >= 0x80)
    return value
  }

  /** An integer of 64 bits, which a negative one always has. */
  private readInt64(): number {
    let value = 0n
    for (let shift = 0n;; shift += 7n) {
      const byte = this.bytes[this.position++]
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return Number(BigInt.asIntN(64, value))
    }
  }

  private skip(wireType: number): void {
    if (wireType === VARINT) this.readVarint()
    else if (wireType === FIXED64) this.position += 8
    else if (wireType === FIXED32) this.position += 4
    else this.position = this.readVarint() + this.position
  }
}

const hasIntegralDouble = (attributes: Attributes | undefined): boolean => {
  for (const key in attributes) {
    if (Number.isInteger(attributes[key]) && DOUBLE_ATTRIBUTES.has(key)) return true
  }
  return false
}

/** To look at spans costs a tenth of what it costs to look through their bytes. */
const needsDoubles = (spans: ReadonlyArray<ReadableSpan>): boolean => {
  for (const { attributes, events } of spans) {
    if (hasIntegralDouble(attributes)) return true
    for (const event of events) if (hasIntegralDouble(event.attributes)) return true
  }
  return false
}

/** @internal */
export const keepDoubles = (request: Uint8Array): Uint8Array =>
  new Rewriter(Buffer.from(request.buffer, request.byteOffset, request.byteLength)).run() ?? request

/**
 * The request that brings spans to a collector, with a double wherever one is
 * meant. `undefined` for spans that the serializer makes nothing of.
 *
 * @internal
 */
export const serializeSpans = (spans: Array<ReadableSpan>): Uint8Array | undefined => {
  // Asked first: what is looked at here, the serializer then finds in the processor's cache.
  const hasDoubles = needsDoubles(spans)
  const request = ProtobufTraceSerializer.serializeRequest(spans)
  return request !== undefined && hasDoubles ? keepDoubles(request) : request
}
