import type { PartialSuccess } from "./spanQueue.ts"

const TWO_TO_63 = 2 ** 63

/** Reads the wire format of protobuf. Throws where a message is cut off, or makes no sense. */
class Reader {
  private readonly bytes: Buffer
  private position = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  /** The fields of a message, in order, but for those whose type nobody here asks for. */
  *fields(): Generator<readonly [field: number, value: number | Buffer]> {
    while (this.position < this.bytes.length) {
      const tag = this.varint()
      const field = Math.floor(tag / 8)
      switch (tag % 8) {
        case 0:
          yield [field, this.varint()]
          break
        case 1:
          this.take(8)
          break
        case 2:
          yield [field, this.take(this.varint())]
          break
        case 5:
          this.take(4)
          break
        default:
          throw new Error(`unknown wire type of field ${field}`)
      }
    }
  }

  private varint(): number {
    let value = 0
    for (let scale = 1; scale <= TWO_TO_63; scale *= 0x80) {
      const byte = this.take(1)[0]
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
    throw new Error("a number has no end")
  }

  private take(length: number): Buffer {
    const start = this.position
    this.position += length
    if (this.position > this.bytes.length) throw new Error("it is cut off")
    return this.bytes.subarray(start, this.position)
  }
}

const readFields = (response: Buffer): PartialSuccess | undefined => {
  let partialSuccess: { rejectedSpans?: number; errorMessage?: string } | undefined
  for (const [field, value] of new Reader(response).fields()) {
    if (field !== 1 || typeof value === "number") continue
    partialSuccess ??= {}
    for (const [inner, content] of new Reader(value).fields()) {
      if (inner === 1 && typeof content === "number") {
        // Less than nothing is nothing.
        partialSuccess.rejectedSpans = content < TWO_TO_63 ? content : 0
      } else if (inner === 2 && typeof content !== "number") {
        partialSuccess.errorMessage = content.toString()
      }
    }
  }
  return partialSuccess
}

/**
 * What a collector says of a request that has succeeded, in OTLP's
 * `ExportTraceServiceResponse`. An answer that makes no sense is worth a
 * warning at most.
 *
 * @see https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/collector/trace/v1/trace_service.proto
 *
 * @internal
 */
export const readPartialSuccess = (response: Buffer): PartialSuccess | undefined => {
  try {
    return readFields(response)
  } catch {
    return { errorMessage: "its answer is not a valid ExportTraceServiceResponse" }
  }
}
