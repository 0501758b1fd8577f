import * as Effect from "effect/Effect"

/**
 * Whether a value is an effect. What may be anything, as a message or a request,
 * can throw where it is asked that, as a revoked proxy does, and is none then.
 *
 * @internal
 */
export const isEffect = (value: unknown): value is Effect.Effect<unknown, unknown, unknown> => {
  try {
    return Effect.isEffect(value)
  } catch {
    return false
  }
}
