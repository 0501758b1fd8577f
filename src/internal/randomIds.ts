/**
 * Trace and span ids from a pool of cryptographic randomness: one call to the
 * system for some 700 traces. All 16 bytes of a trace id are random, as the
 * `random` flag of W3C Trace Context Level 2 promises.
 *
 * @internal
 */

/** To ask for twice as much takes hardly longer. */
const POOL_BYTES = 16 * 1024
// A cut out of a text is the cheapest string there is, and it keeps the text in memory as long as it lives: so the pool
// is written out in small parts.
const PART_BYTES = 1024

const pool = Buffer.allocUnsafeSlow(POOL_BYTES)
let used = POOL_BYTES
let digits = ""
let position = 0

const refill = (): void => {
  if (used === POOL_BYTES) {
    crypto.getRandomValues(pool)
    used = 0
  }
  digits = pool.toString("hex", used, used + PART_BYTES)
  used += PART_BYTES
  position = 0
}

const randomHex = (length: number): string => {
  if (position + length > digits.length) refill()
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
