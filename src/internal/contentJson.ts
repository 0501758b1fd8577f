/**
 * Prints content as JSON within a number of bytes. What is too long loses the
 * ends of its longest strings, then whole elements; what comes out is always
 * valid JSON, and says where it was cut.
 *
 * @internal
 */
import * as Predicate from "effect/Predicate"
import * as Redactable from "effect/Redactable"
import * as Redacted from "effect/Redacted"

const CUT = "…[cut]"
const CUT_BYTES = Buffer.byteLength(CUT)

/** Strings up to this many bytes are left whole: names, ids and types, without which the rest means little. */
const MIN_STRING = 64

/** What is left of a longer string takes no less than this: the last character did not fit, and takes six bytes at most. */
const MIN_CUT_STRING = MIN_STRING - 6

/**
 * How an array that does not fit loses elements: which end stays, and what
 * stands for those that are gone.
 *
 * @internal
 */
export interface ElementCut {
  readonly keep: "first" | "last"
  readonly marker: (count: number) => unknown
}

/** A string of the tree, where it sits and how many bytes of JSON it takes. */
interface Text {
  readonly holder: Record<string, unknown> | Array<unknown>
  readonly key: string | number
  readonly text: string
  readonly bytes: number
}

// =============================================================================
// Values to trees
// =============================================================================

/** Media that is written into a text, as browsers and providers take it. */
const DATA_URL = /^data:([^;,]*)(?:;[^;,]*)*;base64,/

const base64Bytes = (encoded: string, from = 0): number => {
  const length = encoded.length - from
  const padding = encoded.endsWith("==") ? 2 : encoded.endsWith("=") ? 1 : 0
  return Math.max(0, Math.floor(length * 3 / 4) - padding)
}

const bytesOf = (count: number, type?: string): string => `<${type === undefined ? "" : `${type}, `}${count} bytes>`

const plainText = (text: string): string => {
  if (!text.startsWith("data:")) return text
  const match = DATA_URL.exec(text)
  if (match === null) return text
  return bytesOf(base64Bytes(text, match[0].length), match[1] === "" ? undefined : match[1])
}

const MEDIA_TYPE = /^(?:image|audio|video)\//

/**
 * The fields that hold media as base64: in the convention's `blob` parts, in
 * what Anthropic takes, in the content and resources of MCP, and in the files
 * and images of `effect/ai`.
 */
const encodedField = (value: Record<string, unknown>): string | undefined => {
  switch (value.type) {
    case "blob":
      return "content"
    case "base64":
      return "data"
    case "image":
    case "audio":
      return Predicate.isString(value.mimeType) ? "data" : undefined
  }
  if (Predicate.isString(value.mediaType) && MEDIA_TYPE.test(value.mediaType)) {
    return Predicate.isString(value.data) && !value.data.includes(":") ? "data" : undefined
  }
  return Predicate.isString(value.uri) ? "blob" : undefined
}

/**
 * A copy of a value that holds only what JSON has a word for. Of a value that
 * is too long, no more is copied than it takes to print what fits.
 *
 * @internal
 */
export interface Plain {
  readonly tree: unknown
  /** What did not fit: the ends of strings, or values of the tree. */
  readonly lost: "nothing" | "ends" | "values"
  /** How many elements of a list were lost with the values. */
  readonly omitted: number
}

/** What of a value may be copied still. */
interface Room {
  /** Of a string, at most this many code units and one more: each takes a byte or more. */
  readonly maxBytes: number
  readonly keep: ElementCut["keep"]
  /** How many values and characters, each of which takes a byte or more; below zero once there was one too many. */
  values: number
  /** Lists and objects around what is copied now. */
  depth: number
  omitted: number
  hasEnds: boolean
}

/**
 * Copies as much of a value as may fit into so many bytes. A secret never gets
 * into the copy, and neither does binary data.
 *
 * @internal
 */
export const toPlain = (value: unknown, maxBytes = Infinity, keep: ElementCut["keep"] = "first"): Plain => {
  const room: Room = { maxBytes, keep, values: maxBytes, depth: 0, omitted: 0, hasEnds: true }
  const tree = plain(value, "", [], room)
  return { tree, lost: room.values < 0 ? "values" : room.hasEnds ? "nothing" : "ends", omitted: room.omitted }
}

const plain = (value: unknown, key: string, ancestors: Array<object>, room: Room): unknown => {
  switch (typeof value) {
    case "string":
      return plainString(value, room)
    case "bigint":
      return value.toString()
    case "object":
      break
    default:
      return value
  }
  if (value === null) return null
  if (Redacted.isRedacted(value)) return "<redacted>"
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return bytesOf(value.byteLength)
  if (value instanceof Blob) return bytesOf(value.size, value.type === "" ? undefined : value.type)
  if (ancestors.includes(value)) return "<circular>"
  ancestors.push(value)
  const copy = plainObject(value, key, ancestors, room)
  ancestors.pop()
  return copy
}

const plainString = (value: string, room: Room): string => {
  const text = plainText(value)
  room.values -= Math.min(text.length, MIN_CUT_STRING)
  if (text.length <= room.maxBytes) return text
  room.hasEnds = false
  return text.slice(0, room.maxBytes + 1)
}

const plainObject = (value: object, key: string, ancestors: Array<object>, room: Room): unknown => {
  if (Redactable.isRedactable(value)) {
    const redacted = Redactable.redact(value)
    if (redacted !== value) return plain(redacted, key, ancestors, room)
  }
  if (Predicate.hasProperty(value, "toJSON") && Predicate.isFunction(value.toJSON)) {
    const json = value.toJSON(key)
    // As an object it stands for itself; to ask it again would go on for ever.
    return json === value ? plainFields(value, ancestors, room) : plain(json, key, ancestors, room)
  }
  return Array.isArray(value) ? plainList(value, ancestors, room) : plainFields(value, ancestors, room)
}

const plainList = (list: ReadonlyArray<unknown>, ancestors: Array<object>, room: Room): Array<unknown> => {
  const copy: Array<unknown> = []
  const isOutermost = room.depth++ === 0
  const fromEnd = isOutermost && room.keep === "last"
  for (let count = 0; count < list.length; count++) {
    const index = fromEnd ? list.length - 1 - count : count
    const item = plain(list[index], String(index), ancestors, room)
    if (--room.values < 0) {
      // What was copied before this one may fit.
      if (isOutermost) room.omitted = list.length - count
      break
    }
    copy.push(item)
  }
  room.depth--
  return fromEnd ? copy.reverse() : copy
}

const plainFields = (value: object, ancestors: Array<object>, room: Room): Record<string, unknown> => {
  const fields = value as Record<string, unknown>
  const encoded = encodedField(fields)
  const copy: Record<string, unknown> = {}
  room.depth++
  for (const key of Object.keys(fields)) {
    const field = fields[key]
    const content = key === encoded && Predicate.isString(field)
      ? bytesOf(base64Bytes(field))
      : plain(field, key, ancestors, room)
    // It is left out where it is printed.
    if (content === undefined || Predicate.isFunction(content) || Predicate.isSymbol(content)) continue
    if (--room.values < 0) break
    // Assignment would change the prototype.
    if (key === "__proto__") {
      Object.defineProperty(copy, key, { value: content, enumerable: true, configurable: true, writable: true })
    } else {
      copy[key] = content
    }
  }
  room.depth--
  return copy
}

// =============================================================================
// Cutting
// =============================================================================

/** How many bytes a string takes within JSON, its quotes left out. */
const jsonBytes = (text: string): number => Buffer.byteLength(JSON.stringify(text)) - 2

/** The bytes of a UTF-16 code unit, or of the pair that it begins. */
const unitBytes = (text: string, index: number): number => {
  const code = text.charCodeAt(index)
  if (code < 0x20) return code === 8 || code === 9 || code === 10 || code === 12 || code === 13 ? 2 : 6
  if (code < 0x80) return code === 0x22 || code === 0x5c ? 2 : 1
  if (code < 0x800) return 2
  if (code < 0xd800 || code > 0xdfff) return 3
  const next = text.charCodeAt(index + 1)
  return code < 0xdc00 && next >= 0xdc00 && next <= 0xdfff ? 4 : 6
}

const cutText = (text: string, maxBytes: number): string => {
  let bytes = CUT_BYTES
  let end = 0
  while (end < text.length) {
    const unit = unitBytes(text, end)
    if (bytes + unit > maxBytes) break
    bytes += unit
    end += unit === 4 ? 2 : 1
  }
  return text.slice(0, end) + CUT
}

const collectTexts = (holder: Record<string, unknown> | Array<unknown>, texts: Array<Text> = []): Array<Text> => {
  for (const [key, value] of Object.entries(holder)) {
    if (Predicate.isString(value)) {
      const bytes = jsonBytes(value)
      if (bytes > MIN_STRING) texts.push({ holder, key, text: value, bytes })
    } else if (Predicate.isObjectOrArray(value)) {
      collectTexts(value, texts)
    }
  }
  return texts
}

/** The length to which the longest of some strings have to be cut for all of them to fit into some room. */
const fittingLength = (texts: ReadonlyArray<Text>, room: number): number => {
  const lengths = texts.map((text) => text.bytes).sort((a, b) => a - b)
  let rest = room
  for (const [index, length] of lengths.entries()) {
    const share = Math.floor(rest / (lengths.length - index))
    if (length > share) return share
    rest -= length
  }
  return Infinity
}

const cutTexts = (texts: ReadonlyArray<Text>, length: number): void => {
  for (const { bytes, holder, key, text } of texts) {
    ;(holder as Record<string | number, unknown>)[key] = bytes > length ? cutText(text, length) : text
  }
}

const printFitting = (
  tree: unknown,
  texts: ReadonlyArray<Text>,
  bytes: number,
  maxBytes: number
): string | undefined => {
  const room = maxBytes - (bytes - texts.reduce((sum, text) => sum + text.bytes, 0))
  const length = fittingLength(texts, room)
  if (room < 0 || length < MIN_STRING) return undefined
  cutTexts(texts, length)
  return JSON.stringify(tree)
}

const sizeOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value) ?? "null")

/** Leaves out as many elements as it takes for the others to fit when their strings are cut to the least. */
const printFewer = (
  elements: ReadonlyArray<unknown>,
  omitted: number,
  texts: ReadonlyArray<Text>,
  maxBytes: number,
  cut: ElementCut
): string | undefined => {
  cutTexts(texts, MIN_STRING)
  const last = cut.keep === "last"
  const count = elements.length + omitted
  // The brackets, and the marker with its comma; fewer left out never need a longer one.
  let bytes = 2 + sizeOf(cut.marker(count)) + 1
  if (bytes > maxBytes) return undefined
  let kept = 0
  while (kept < elements.length) {
    bytes += sizeOf(elements[last ? elements.length - 1 - kept : kept]) + 1
    if (bytes > maxBytes) break
    kept++
  }
  cutTexts(texts, Infinity)
  const marker = cut.marker(count - kept)
  const tree = last
    ? [marker, ...elements.slice(elements.length - kept)]
    : [...elements.slice(0, kept), marker]
  // A text that is an element itself has to be cut in this list, not in the one that it was found in.
  const keptTexts = collectTexts(tree)
  const fitting = printFitting(tree, keptTexts, sizeOf(tree), maxBytes)
  if (fitting !== undefined) return fitting
  cutTexts(keptTexts, MIN_STRING)
  return JSON.stringify(tree)
}

/**
 * Prints what {@link toPlain} has copied for as many bytes; the tree may be
 * changed. `undefined` when nothing of it fits.
 *
 * @internal
 */
export const printJson = (
  { lost, omitted, tree }: Plain,
  maxBytes: number,
  cut?: ElementCut
): string | undefined => {
  const copied = JSON.stringify(tree) as string | undefined
  if (copied === undefined) return undefined
  const bytes = Buffer.byteLength(copied)
  if (lost === "nothing" && bytes <= maxBytes) return copied
  if (!Predicate.isObjectOrArray(tree)) return undefined
  const texts = collectTexts(tree)
  const fitting = lost === "values" ? undefined : printFitting(tree, texts, bytes, maxBytes)
  if (fitting !== undefined) return fitting
  if (Array.isArray(tree)) {
    if (cut === undefined || lost === "values" && omitted === 0) return undefined
    return printFewer(tree, omitted, texts, maxBytes, cut)
  }
  const gone = JSON.stringify({ cut: lost === "nothing" ? bytesOf(bytes) : `<more than ${maxBytes} bytes>` })
  return Buffer.byteLength(gone) > maxBytes ? undefined : gone
}

/**
 * Cuts a text to a number of bytes of UTF-8, with a mark where it was cut.
 *
 * @internal
 */
export const printText = (text: string, maxBytes: number): string | undefined => {
  if (Buffer.byteLength(text) <= maxBytes) return text
  if (maxBytes < CUT_BYTES) return undefined
  const bytes = Buffer.from(text.slice(0, maxBytes)).subarray(0, maxBytes - CUT_BYTES)
  return new TextDecoder().decode(bytes).replace(/\uFFFD+$/, "") + CUT
}
