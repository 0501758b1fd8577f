/**
 * Trace and span ids from a pool of cryptographic randomness: one call to the
 * system per 256 trace ids. All 16 bytes of a trace id are random, as the
 * `random` flag of W3C Trace Context Level 2 promises.
 *
 * @internal
 */

const POOL_BYTES = 4096
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

const pool = new Uint8Array(POOL_BYTES)
let position = POOL_BYTES

const randomHex = (bytes: number): string => {
  if (position + bytes > POOL_BYTES) {
    crypto.getRandomValues(pool)
    position = 0
  }
  let hex = ""
  for (const end = position + bytes; position < end; position++) hex += HEX[pool[position]]
  return hex
}

const nonZero = (bytes: number, zero: string) => (): string => {
  let id = randomHex(bytes)
  while (id === zero) id = randomHex(bytes)
  return id
}

/** @internal */
export const generateTraceId = nonZero(16, "0".repeat(32))

/** @internal */
export const generateSpanId = nonZero(8, "0".repeat(16))
