import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type * as Tracer from "effect/Tracer"
import { isLiveSpan, LiveSpanTypeId } from "./liveSpan.ts"
import { isList, parseJson, read } from "./providers/read.ts"
import { AmbientSpan } from "./spanContext.ts"

const OTHER = "_OTHER"

const tagOf = (value: unknown): string | undefined =>
  Predicate.hasProperty(value, "_tag") && typeof value._tag === "string" && value._tag !== "" ? value._tag : undefined

const classOf = (error: Error): string => {
  const name = error.name
  if (typeof name === "string" && name !== "" && name !== "Error") return name
  const constructor = error.constructor?.name
  return typeof constructor === "string" && constructor !== "" ? constructor : OTHER
}

const nameOf = (error: unknown): string => {
  const tag = tagOf(error)
  if (tag === undefined) return Predicate.isError(error) ? classOf(error) : OTHER
  // A tagged error that only says that something failed is less use than what it wraps.
  if (Predicate.hasProperty(error, "reason")) return tagOf(error.reason) ?? tag
  if (Cause.isUnknownError(error) && Predicate.isError(error.cause)) return nameOf(error.cause)
  return tag
}

/** The type of an error that may throw where it is looked at. */
const typeOf = (error: unknown): string => {
  try {
    return nameOf(error)
  } catch {
    return OTHER
  }
}

/** What a cause failed with: its first typed error, or else its first defect. */
const primaryError = (cause: Cause.Cause<unknown>): Option.Option<unknown> => {
  const fail = Cause.findFail(cause)
  if (Result.isSuccess(fail)) return Option.some(fail.success.error)
  const die = Cause.findDie(cause)
  return Result.isSuccess(die) ? Option.some(die.success.defect) : Option.none()
}

/**
 * The `error.type` of a cause: the tag of a typed error (of its reason, where
 * it has one), the class of anything else that was thrown, `_OTHER` failing
 * that. `undefined` when the cause is no error, as an interruption.
 *
 * @internal
 */
export const errorType = (cause: Cause.Cause<unknown>): string | undefined => {
  const error = primaryError(cause)
  return Option.isNone(error) ? undefined : typeOf(error.value)
}

// A provider's error can quote the prompt, so one that has left a GenAI span
// while content is off is remembered for as long as it lives, and no longer.
const sensitive = new WeakSet<object>()

// An error may hold a client with its sockets, or a whole conversation.
const MAX_READS = 4096
const MAX_TEXTS = 128

/** The objects and texts that can be reached from a value, nearest first. */
const reach = (from: unknown, step: (value: unknown) => Iterable<unknown>): ReadonlySet<unknown> => {
  const reached = new Set([from])
  let reads = 0
  // Goes on with what is added on the way.
  for (const value of reached) {
    for (const next of step(value)) {
      if (++reads > MAX_READS) return reached
      if (Predicate.isString(next) || Predicate.isObjectOrArray(next)) reached.add(next)
    }
  }
  return reached
}

const keysOf = (value: object): ReadonlyArray<string> => {
  try {
    return ArrayBuffer.isView(value) ? [] : Object.keys(isList(value) ? value.slice(0, MAX_READS) : value)
  } catch {
    return []
  }
}

// Of these, some errors have a getter, or hide them from `Object.keys`.
const WRAPPING = ["cause", "reason", "error", "errors"]

/** What an error wraps, or an array of errors holds. */
function* wrappedBy(error: unknown): Iterable<unknown> {
  if (!Predicate.isObjectOrArray(error)) return
  for (const key of isList(error) ? keysOf(error) : WRAPPING) yield read(error, key)
}

// A single word under these names tells an error from others: it is no content, and an error around the call that
// repeats it, as "rate_limit_exceeded" or the name of a model, is to keep its message. Nothing else is let through for
// what it looks like, since under any other name a single word may be what the call was given.
const LABELS = new RegExp(
  "^(~.*|[_$@]*(tag|type|kind|code|status|statusText|param|model|modelId|provider|service|module|method|" +
    "tool|toolName|syscall|host|hostname|role|finish_?reason|stop_?reason|request_?id))$",
  "i"
)
const WORD = /^[!-~]+$/

/** What an error says and wraps, and what else it holds that may be content, also in JSON that it came as. */
function* heldBy(value: unknown): Iterable<unknown> {
  if (Predicate.isString(value) && value.includes("{")) {
    const json = parseJson(value.slice(value.indexOf("{")))
    if (!Predicate.isString(json)) yield json
  }
  if (!Predicate.isObjectOrArray(value)) return
  const type = typeOf(value)
  for (const key of ["message", ...WRAPPING, ...keysOf(value)]) {
    if (key === "headers") continue
    const held = read(value, key)
    // The type is recorded anyway.
    if (!Predicate.isString(held) || held !== type && !(LABELS.test(key) && WORD.test(held))) yield held
  }
}

const thrownBy = (reason: Cause.Fail<unknown> | Cause.Die): unknown =>
  reason._tag === "Fail" ? reason.error : reason.defect

const isText = (value: unknown): value is string => Predicate.isString(value) && value !== ""

/**
 * Remembers that nothing but the type of these errors may be recorded, on the
 * span that they leave and on every span around it. The errors are known again
 * by identity, wrapped or not; around the span also by their text, since a
 * program may copy that into an error of its own.
 *
 * @internal
 */
export const markSensitive = (cause: Cause.Cause<unknown>, span: Tracer.Span): void => {
  const texts: Array<string> = []
  for (const reason of cause.reasons) {
    if (reason._tag === "Interrupt") continue
    // The reason itself stands for an error that is no object.
    sensitive.add(reason)
    const error = thrownBy(reason)
    if (Predicate.isObjectOrArray(error)) sensitive.add(error)
    texts.push(...[...reach(error, heldBy)].filter(isText).slice(0, MAX_TEXTS))
  }
  if (texts.length === 0) return
  // A span lets go of the oldest first, so what the errors themselves say comes last.
  texts.reverse()
  for (let around = spanAround(span); around !== undefined; around = spanAround(around)) {
    if (isLiveSpan(around)) around[LiveSpanTypeId](texts)
  }
}

/** The span of this process that an error comes to next: where a message's context took over, the one before that. */
const spanAround = (span: Tracer.AnySpan): Tracer.AnySpan | undefined =>
  span._tag === "Span"
    ? Option.getOrUndefined(span.parent)
    : Context.getOrUndefined(span.annotations, AmbientSpan)

const isSensitiveError = (error: unknown): boolean => {
  for (const wrapped of reach(error, wrappedBy)) {
    if (Predicate.isObjectOrArray(wrapped) && sensitive.has(wrapped)) return true
  }
  return false
}

/**
 * Whether only the type of a cause's errors may be recorded, since one of them
 * is remembered or wraps a remembered one.
 *
 * @internal
 */
export const isSensitive = (cause: Cause.Cause<unknown>): boolean =>
  cause.reasons.some((reason) =>
    reason._tag !== "Interrupt" && (sensitive.has(reason) || isSensitiveError(thrownBy(reason)))
  )

/** A text too short to tell anything by counts only when it is the whole message. */
const MIN_QUOTE = 8

// An error that was printed as JSON may be printed so once more.
const MAX_ESCAPES = 3

/** A text, and what it was before it became a string in JSON. */
const unescaped = (text: string): ReadonlyArray<string> => {
  const forms = [text]
  for (let form = text; form.includes("\\") && forms.length <= MAX_ESCAPES; forms.push(form)) {
    form = form.replaceAll(/\\(?:["\\/bfnrt]|u[\da-f]{4})/gi, (escape) => String(parseJson(`"${escape}"`)))
  }
  return forms
}

/** What a stack says below the error's own message and beside its frames, as one that was taken from another error. */
const strayLines = ({ message, name, stack = "" }: Error): ReadonlyArray<string> => {
  const header = `${name}: ${message}`
  return (stack.startsWith(header) ? stack.slice(header.length) : stack).split("\n").filter((line) =>
    line.length >= MIN_QUOTE && !/^\s+at /.test(line)
  )
}

/**
 * Whether what would be recorded of errors quotes one of the hidden texts.
 *
 * @internal
 */
export const quotes = (errors: ReadonlyArray<Error>, hidden: ReadonlySet<string>): boolean => {
  for (const error of errors) {
    for (const line of strayLines(error)) {
      // The first line of the text may be gone.
      for (const text of hidden) {
        if (text.includes(line) || text.length >= MIN_QUOTE && line.includes(text)) return true
      }
    }
    for (let shown: unknown = error; Predicate.isError(shown); shown = shown.cause) {
      for (const text of unescaped(shown.message)) {
        if (hidden.has(text)) return true
        for (const quote of hidden) if (quote.length >= MIN_QUOTE && text.includes(quote)) return true
      }
    }
  }
  return false
}
