/**
 * Reads values that others have made: of any shape, incomplete, or throwing
 * when they are looked at. Nothing here throws.
 *
 * @internal
 */

/** What stands at a path, if anything does. */
export const read = (value: unknown, ...path: ReadonlyArray<string | number>): unknown => {
  let current = value
  for (const key of path) {
    if (!isRecord(current)) return undefined
    try {
      current = (current as Record<string | number, unknown>)[key]
    } catch {
      return undefined
    }
  }
  return current
}

/** A string that is not empty: APIs send empty ids and models where they have none yet. */
export const readString = (value: unknown, ...path: ReadonlyArray<string | number>): string | undefined => {
  const found = read(value, ...path)
  return typeof found === "string" && found !== "" ? found : undefined
}

export const readNumber = (value: unknown, ...path: ReadonlyArray<string | number>): number | undefined => {
  const found = read(value, ...path)
  return typeof found === "number" && Number.isFinite(found) ? found : undefined
}

/** A number of things: whole, and not negative. */
export const readCount = (value: unknown, ...path: ReadonlyArray<string | number>): number | undefined => {
  const found = read(value, ...path)
  return typeof found === "number" && Number.isSafeInteger(found) && found >= 0 ? found : undefined
}

// No conversation is this long; a sparse array of JavaScript's largest length would take all memory.
const MAX_LENGTH = 10_000

/** The items of an array; none if it is something else. */
export const readList = (value: unknown, ...path: ReadonlyArray<string | number>): ReadonlyArray<unknown> => {
  const found = read(value, ...path)
  try {
    return isList(found) ? Array.from(found.slice(0, MAX_LENGTH)) : []
  } catch {
    return []
  }
}

/** Whether a value is an array. To ask that of a revoked proxy throws. */
export const isList = (value: unknown): value is ReadonlyArray<unknown> => {
  try {
    return Array.isArray(value)
  } catch {
    return false
  }
}

/** The strings of an array, or a single one; `undefined` when there are none. */
export const readStrings = (
  value: unknown,
  ...path: ReadonlyArray<string | number>
): ReadonlyArray<string> | undefined => {
  const one = readString(value, ...path)
  if (one !== undefined) return [one]
  const strings = readList(value, ...path).filter((item) => typeof item === "string")
  return strings.length === 0 ? undefined : strings
}

/** The first key of a union that is told apart by its only key, as in the APIs of Google and AWS. */
export const readTag = (value: unknown): string | undefined => {
  try {
    return isRecord(value) ? Object.keys(value)[0] : undefined
  } catch {
    return undefined
  }
}

/** The same object without the keys that hold nothing. */
export const defined = <A extends object>(object: A): A =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as A

/** Whether a value has properties. Tools of `effect/ai` are functions. */
export const isRecord = (value: unknown): value is object =>
  typeof value === "object" ? value !== null : typeof value === "function"

/** JSON as it was meant; text that is not JSON stays text. */
export const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
