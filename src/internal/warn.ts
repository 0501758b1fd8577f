import * as Effect from "effect/Effect"

/**
 * Warns the loggers of a program. One that throws must not make a defect of
 * what the program has not logged itself.
 *
 * @internal
 */
export const warn = (message: string): Effect.Effect<void> =>
  Effect.catchDefect(Effect.logWarning(message), () => Effect.void)
