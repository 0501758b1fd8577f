import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"

const reported = new WeakSet<object>()

/**
 * Warns of a callback that has thrown, once for each callback: a broken one is
 * called for every span.
 *
 * @internal
 */
export const reportOnce = (callback: object, message: string, error: unknown): Effect.Effect<void> | undefined => {
  if (reported.has(callback)) return undefined
  reported.add(callback)
  // Only the class of the error: its message may quote what the callback was given.
  return Effect.logWarning(`${message} (${Predicate.isError(error) ? error.name : typeof error})`)
}
