/**
 * Tests against a real NATS server, see `Nats.ts`. Where there is none they are
 * skipped, and one line says how to get one; with `CI=true` they fail.
 */
import { describe, layer, type Vitest } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Nats from "./Nats.ts"

const skip = process.env.CI !== "true" && Option.isNone(await Effect.runPromise(Nats.locate))

if (skip) {
  console.log(`NATS tests are skipped; to run them: ${Nats.howToGetOne}`)
}

/** The tests share one connection, the `Nats` service. */
export const describeNats = (name: string, tests: (it: Vitest.MethodsNonLive<Nats.Nats>) => void): void => {
  describe.skipIf(skip)("on a NATS server", () => {
    layer(Nats.layer)(name, tests)
  })
}
