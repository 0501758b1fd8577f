/** Effects as the work of a candidate. */
import { Context, Effect, Exit, Layer, Scope } from "effect"
import type { Run } from "./measure.ts"

/** Builds a layer that is kept until the process ends. */
export const build = <A>(layer: Layer.Layer<A>): Promise<Context.Context<A>> =>
  Effect.runPromise(Layer.buildWithScope(layer, Scope.makeUnsafe()))

/** Runs an effect so many times, one after the other in one fiber. */
export const repeat = <A, E, R>(self: Effect.Effect<A, E, R>, times: number): Effect.Effect<void, E, R> =>
  Effect.whileLoop({
    while: () => times-- > 0,
    body: () => self,
    step: () => {}
  })

/** Work that is an effect, inside of whatever `around` puts around all of it. */
export const runSync = (
  self: Effect.Effect<unknown, unknown>,
  context: Context.Context<never> = Context.empty(),
  around: (self: Effect.Effect<void, unknown>) => Effect.Effect<void, unknown> = (self) => self
): Run =>
(times) => {
  const exit = Effect.runSyncExitWith(context)(around(repeat(self, times)))
  if (Exit.isFailure(exit)) throw new Error("the work has failed", { cause: exit.cause })
}

/** The same, for work that waits. */
export const runPromise = (
  self: (times: number) => Effect.Effect<unknown, unknown>,
  context: Context.Context<never> = Context.empty(),
  around: (self: Effect.Effect<unknown, unknown>) => Effect.Effect<unknown, unknown> = (self) => self
): Run =>
async (times) => {
  await Effect.runPromiseWith(context)(around(self(times)))
}
