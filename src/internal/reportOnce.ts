import type * as Effect from "effect/Effect"
import * as Hash from "effect/Hash"
import * as Predicate from "effect/Predicate"
import { warn } from "./warn.ts"

const callbacks = new WeakSet<object>()
const sources = new Set<number>()

/**
 * Warns of a callback that has thrown, once for each text that a callback has in
 * the program: a broken one is called for every span, and as a rule made anew
 * for every one.
 *
 * @internal
 */
export const reportOnce = (callback: object, message: string, error: unknown): Effect.Effect<void> | undefined => {
  if (callbacks.has(callback)) return undefined
  callbacks.add(callback)
  if (Predicate.isFunction(callback)) {
    const source = Hash.string(message + Function.prototype.toString.call(callback))
    if (sources.has(source)) return undefined
    sources.add(source)
  }
  // Only the class of the error: its message may quote what the callback was given.
  return warn(`${message} (${Predicate.isError(error) ? error.name : typeof error})`)
}
