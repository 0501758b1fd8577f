/**
 * A program whose runtime nobody disposes, unless it is told to:
 *
 *   node forgotten.ts COUNT [late | exit]
 *
 * `late` ends one more span when the program has nothing left to do, `exit` disposes the runtime and exits with code 3.
 * It prints `done` when its work is.
 */
import { Effect, ManagedRuntime } from "effect"
import { makeTracingLive } from "../../../src/index.ts"

const [count, end] = process.argv.slice(2)

const runtime = ManagedRuntime.make(makeTracingLive({ shutdownTimeout: "1 second" }))

if (end === "late") {
  process.once("beforeExit", () => void runtime.runPromise(Effect.withSpan(Effect.sleep("20 millis"), "late")))
}

await runtime.runPromise(Effect.repeat(Effect.withSpan(Effect.void, "forgotten"), { times: Number(count) - 1 }))
console.log("done")

if (end === "exit") {
  await runtime.dispose()
  process.exit(3)
}
