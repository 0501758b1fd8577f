const VARINT = 0
const FIXED64 = 1
const LENGTH_DELIMITED = 2
const FIXED32 = 5

const TWO_TO_32 = 2 ** 32

/** The most bytes that a tag and a number after it take. */
const MAX_NUMBER_SIZE = 15

/** What is there beyond what is needed at once, so that what follows a long text finds room. */
const SPARE_SIZE = 1024

/** From about here on, a call into Node's own code takes less time than a loop. */
const LONG_TEXT = 40

const varintSize = (value: number): number =>
  value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5

/** The value of a hexadecimal digit, of either case. */
const digit = (code: number): number => (code & 15) + (code >> 6) * 9

/**
 * Writes protobuf's wire format in a single pass. The length of a message is
 * not known before the message is, so there is room for it in front, which is
 * corrected where it was guessed wrong.
 *
 * @see https://protobuf.dev/programming-guides/encoding/
 *
 * @internal
 */
export class ProtobufWriter {
  private bytes: Buffer
  private view: DataView
  private size = 0
  private readonly names = new Map<string, Uint8Array>()

  /** Grows when more is written than was foreseen. */
  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacity)
    this.view = new DataView(this.bytes.buffer)
  }

  finish(): Buffer {
    return this.bytes.subarray(0, this.size)
  }

  /** An `uint32`, an enumeration or a `bool`; of any other number, the lowest 32 bits. */
  uint32(field: number, value: number): void {
    this.reserve(MAX_NUMBER_SIZE)
    this.tag(field, VARINT)
    this.varint(value >>> 0)
  }

  /** An integer of 64 bits. */
  int64(field: number, value: number): void {
    this.reserve(MAX_NUMBER_SIZE)
    this.tag(field, VARINT)
    // Two's complement, by halves.
    let low = value >>> 0
    let high = Math.floor(value / TWO_TO_32) >>> 0
    while (high > 0) {
      this.byte(low & 0x7f | 0x80)
      low = (low >>> 7 | high << 25) >>> 0
      high >>>= 7
    }
    this.varint(low)
  }

  fixed32(field: number, value: number): void {
    this.reserve(MAX_NUMBER_SIZE)
    this.tag(field, FIXED32)
    this.view.setUint32(this.size, value, true)
    this.size += 4
  }

  fixed64(field: number, high: number, low: number): void {
    this.reserve(MAX_NUMBER_SIZE)
    this.tag(field, FIXED64)
    this.view.setUint32(this.size, low, true)
    this.view.setUint32(this.size + 4, high, true)
    this.size += 8
  }

  double(field: number, value: number): void {
    this.reserve(MAX_NUMBER_SIZE)
    this.tag(field, FIXED64)
    this.view.setFloat64(this.size, value, true)
    this.size += 8
  }

  string(field: number, text: string): void {
    if (text.length < LONG_TEXT && this.ascii(field, text)) return
    const length = Buffer.byteLength(text)
    this.reserve(length + MAX_NUMBER_SIZE)
    this.tag(field, LENGTH_DELIMITED)
    this.varint(length)
    this.size += this.bytes.write(text, this.size)
  }

  /** Writes a text that is likely to come again: it is encoded once. */
  name(field: number, text: string): void {
    const encoded = this.names.get(text)
    if (encoded === undefined) {
      const start = this.size + varintSize(field << 3)
      this.string(field, text)
      this.names.set(text, Buffer.from(this.bytes.subarray(start, this.size)))
      return
    }
    this.reserve(encoded.length + MAX_NUMBER_SIZE)
    this.tag(field, LENGTH_DELIMITED)
    this.bytes.set(encoded, this.size)
    this.size += encoded.length
  }

  byteString(field: number, bytes: Uint8Array): void {
    this.reserve(bytes.length + MAX_NUMBER_SIZE)
    this.tag(field, LENGTH_DELIMITED)
    this.varint(bytes.length)
    this.bytes.set(bytes, this.size)
    this.size += bytes.length
  }

  /** Bytes that are given as a text of hexadecimal digits. */
  hex(field: number, text: string): void {
    const length = text.length >> 1
    this.reserve(length + MAX_NUMBER_SIZE)
    this.tag(field, LENGTH_DELIMITED)
    this.varint(length)
    const { bytes, size } = this
    for (let i = 0; i < length; i++) {
      bytes[size + i] = digit(text.charCodeAt(2 * i)) << 4 | digit(text.charCodeAt(2 * i + 1))
    }
    this.size = size + length
  }

  /**
   * Begins a message inside, whose length is taken to need so many bytes.
   * Returns where it starts, for `end`.
   */
  begin(field: number, lengthSize = 1): number {
    this.reserve(MAX_NUMBER_SIZE)
    this.tag(field, LENGTH_DELIMITED)
    this.size += lengthSize
    return this.size
  }

  end(start: number, lengthSize = 1): void {
    const length = this.size - start
    const needed = varintSize(length)
    if (needed !== lengthSize) {
      this.reserve(MAX_NUMBER_SIZE)
      this.bytes.copyWithin(start - lengthSize + needed, start, this.size)
    }
    this.size = start - lengthSize
    this.varint(length)
    this.size += length
  }

  /** Most texts are short and plain. Returns whether this one is; if not, nothing is written. */
  private ascii(field: number, text: string): boolean {
    const { length } = text
    this.reserve(length + MAX_NUMBER_SIZE)
    const { bytes } = this
    const start = this.size + varintSize(field << 3) + 1
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i)
      if (code >= 0x80) return false
      bytes[start + i] = code
    }
    this.tag(field, LENGTH_DELIMITED)
    this.varint(length)
    this.size += length
    return true
  }

  private tag(field: number, wireType: number): void {
    this.varint(field << 3 | wireType)
  }

  private varint(value: number): void {
    let rest = value
    for (; rest >= 0x80; rest >>>= 7) this.byte(rest & 0x7f | 0x80)
    this.byte(rest)
  }

  private byte(value: number): void {
    this.bytes[this.size++] = value
  }

  private reserve(size: number): void {
    if (this.size + size > this.bytes.length) this.grow(size)
  }

  private grow(size: number): void {
    const bytes = Buffer.allocUnsafeSlow(Math.max(this.size + size + SPARE_SIZE, this.bytes.length * 2))
    this.bytes.copy(bytes, 0, 0, this.size)
    this.bytes = bytes
    this.view = new DataView(bytes.buffer)
  }
}
