/**
 * Trace and span ids from a pool of cryptographic randomness: one call to the
 * system per 85 traces. All 16 bytes of a trace id are random, as the `random`
 * flag of W3C Trace Context Level 2 promises.
 *
 * @internal
 */

// A cut out of the pool's digits is the cheapest string there is, and it keeps the pool in memory as long as it lives:
// so the pool is small.
const POOL_BYTES = 2048

const pool = Buffer.allocUnsafeSlow(POOL_BYTES)
let digits = ""
let position = 0

const randomHex = (length: number): string => {
  if (position + length > digits.length) {
    digits = crypto.getRandomValues(pool).toString("hex")
    position = 0
  }
  const start = position
  position += length
  return digits.slice(start, position)
}

const nonZero = (length: number) => {
  const zero = "0".repeat(length)
  return (): string => {
    let id = randomHex(length)
    while (id === zero) id = randomHex(length)
    return id
  }
}

/** @internal */
export const generateTraceId = nonZero(32)

/** @internal */
export const generateSpanId = nonZero(16)
