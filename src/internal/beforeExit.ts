import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

const callbacks = new Set<() => void>()

const runAll = () => {
  for (const callback of callbacks) callback()
}

/**
 * Runs a callback whenever the process has nothing left to do, until the scope
 * closes. All share one listener: Node warns of more than ten.
 *
 * @internal
 */
export const onBeforeExit = (callback: () => void): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      if (callbacks.size === 0) process.on("beforeExit", runAll)
      callbacks.add(callback)
    }),
    () =>
      Effect.sync(() => {
        callbacks.delete(callback)
        if (callbacks.size === 0) process.off("beforeExit", runAll)
      })
  )
