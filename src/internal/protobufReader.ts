/**
 * Reads protobuf's wire format: the fields of a message that hold numbers or
 * bytes, in order. Throws where the bytes stop making sense.
 *
 * @see https://protobuf.dev/programming-guides/encoding/
 *
 * @internal
 */
export function* readFields(message: Uint8Array): Generator<readonly [field: number, value: number | Uint8Array]> {
  let at = 0
  const skip = (length: number): void => {
    at += length
    if (at > message.length) throw new Error("a message is cut off")
  }
  const varint = (): number => {
    let value = 0
    for (let factor = 1; factor <= 2 ** 63; factor *= 0x80) {
      const start = at
      skip(1)
      const byte = message[start]!
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value
    }
    throw new Error("a number has more than 64 bits")
  }
  while (at < message.length) {
    const tag = varint()
    const field = Math.floor(tag / 8)
    switch (tag % 8) {
      case 0:
        yield [field, varint()]
        break
      case 1:
        skip(8)
        break
      case 2: {
        const length = varint()
        const start = at
        skip(length)
        yield [field, message.subarray(start, at)]
        break
      }
      case 5:
        skip(4)
        break
      default:
        throw new Error(`field ${field} has a type that there is not`)
    }
  }
}
