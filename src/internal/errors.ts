import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"

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

/** Remembers that nothing but the type of these errors may be recorded. */
export const markSensitive = (cause: Cause.Cause<unknown>): void => {
  for (const reason of cause.reasons) {
    if (reason._tag === "Interrupt") continue
    // The reason itself stands for an error that is no object.
    sensitive.add(reason)
    const error = reason._tag === "Fail" ? reason.error : reason.defect
    if (Predicate.isObjectOrArray(error)) sensitive.add(error)
  }
}

const MAX_DEPTH = 8

const isSensitiveError = (error: unknown, depth: number): boolean => {
  if (!Predicate.isObjectOrArray(error) || depth > MAX_DEPTH) return false
  if (sensitive.has(error)) return true
  if (Predicate.hasProperty(error, "cause") && isSensitiveError(error.cause, depth + 1)) return true
  if (Predicate.hasProperty(error, "reason") && isSensitiveError(error.reason, depth + 1)) return true
  return error instanceof AggregateError && error.errors.some((inner) => isSensitiveError(inner, depth + 1))
}

/** Whether a cause holds, or wraps, an error of which only the type may be recorded. */
export const isSensitive = (cause: Cause.Cause<unknown>): boolean =>
  cause.reasons.some((reason) =>
    reason._tag !== "Interrupt" &&
    (sensitive.has(reason) || isSensitiveError(reason._tag === "Fail" ? reason.error : reason.defect, 0))
  )
