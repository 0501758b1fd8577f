import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type * as Tracer from "effect/Tracer"
import { isLiveSpan, LiveSpanTypeId } from "./liveSpan.ts"
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
  if (Option.isNone(error)) return undefined
  try {
    return nameOf(error.value)
  } catch {
    return OTHER
  }
}

// A provider's error can quote the prompt, so one that has left a GenAI span
// while content is off is remembered for as long as it lives, and no longer.
const sensitive = new WeakSet<object>()

const MAX_DEPTH = 8
const MAX_TEXTS = 16

/** What an error wraps: its cause, its reason, the errors that it aggregates. */
const innerErrors = (error: object): ReadonlyArray<unknown> => [
  ...(Predicate.hasProperty(error, "cause") ? [error.cause] : []),
  ...(Predicate.hasProperty(error, "reason") ? [error.reason] : []),
  ...(error instanceof AggregateError ? error.errors : [])
]

const thrownBy = (reason: Cause.Fail<unknown> | Cause.Die): unknown =>
  reason._tag === "Fail" ? reason.error : reason.defect

const collectTexts = (error: unknown, depth: number, texts: Array<string>): void => {
  if (depth > MAX_DEPTH || texts.length >= MAX_TEXTS) return
  if (Predicate.isString(error)) texts.push(error)
  if (!Predicate.isObjectOrArray(error)) return
  if (Predicate.hasProperty(error, "message") && Predicate.isString(error.message)) texts.push(error.message)
  for (const inner of innerErrors(error)) collectTexts(inner, depth + 1, texts)
}

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
    try {
      collectTexts(error, 0, texts)
    } catch {
      // An error that cannot be read cannot be quoted either.
    }
  }
  const quotable = texts.filter((text) => text !== "")
  if (quotable.length === 0) return
  for (let around = spanAround(span); around !== undefined; around = spanAround(around)) {
    if (isLiveSpan(around)) around[LiveSpanTypeId](quotable)
  }
}

/** The span of this process that an error comes to next: where a message's context took over, the one before that. */
const spanAround = (span: Tracer.AnySpan): Tracer.AnySpan | undefined =>
  span._tag === "Span"
    ? Option.getOrUndefined(span.parent)
    : Context.getOrUndefined(span.annotations, AmbientSpan)

const isSensitiveError = (error: unknown, depth: number): boolean =>
  Predicate.isObjectOrArray(error) && depth <= MAX_DEPTH &&
  (sensitive.has(error) || innerErrors(error).some((inner) => isSensitiveError(inner, depth + 1)))

/** A text too short to tell anything by counts only when it is the whole message. */
const MIN_QUOTE = 8

const quotes = (error: unknown, hidden: ReadonlySet<string>): boolean => {
  const texts: Array<string> = []
  collectTexts(error, 0, texts)
  for (const text of texts) {
    if (hidden.has(text)) return true
    for (const quote of hidden) if (quote.length >= MIN_QUOTE && text.includes(quote)) return true
  }
  return false
}

/**
 * Whether only the type of a cause's errors may be recorded: one of them is
 * remembered, wraps a remembered one, or quotes one of the hidden texts.
 *
 * @internal
 */
export const isSensitive = (cause: Cause.Cause<unknown>, hidden: ReadonlySet<string> | undefined): boolean =>
  cause.reasons.some((reason) => {
    if (reason._tag === "Interrupt") return false
    const error = thrownBy(reason)
    return sensitive.has(reason) || isSensitiveError(error, 0) || (hidden !== undefined && quotes(error, hidden))
  })
