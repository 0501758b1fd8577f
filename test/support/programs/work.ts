/**
 * A program under `NodeRuntime.runMain`, traced as the environment says unless it is told not to:
 *
 *   node work.ts succeed | fail | die | wait [untraced]
 *
 * It prints `working` before it ends so; `wait` works until it is interrupted, and prints it when some spans have been
 * exported and others have not. When all is released it prints as JSON how many spans have ended, and what tracing says
 * has become of them.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, identity, Metric } from "effect"
import { makeTracingLive, Tracing } from "../../../src/index.ts"

const [outcome, untraced] = process.argv.slice(2)

let ended = 0
const span = (name: string) => <A, E>(self: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  self.pipe(Effect.withSpan(name), Effect.ensuring(Effect.sync(() => ended++)))

const step = Metric.update(Metric.counter("steps"), 1).pipe(span("step"))

const working = Console.log("working")

const outcomes: Record<string, Effect.Effect<unknown, string>> = {
  succeed: Effect.as(working, 42),
  fail: Effect.andThen(working, Effect.fail("no")),
  die: Effect.andThen(working, Effect.die(new Error("boom"))),
  wait: Effect.forever(Effect.andThen(
    Effect.delay(Effect.repeat(step, { times: 9 }), "1 millis"),
    // A batch has 512.
    Effect.suspend(() => ended === 701 ? working : Effect.void)
  ))
}

let tracing: Tracing | undefined
const work = Effect.gen(function*() {
  tracing = yield* Tracing
  yield* step
  return yield* outcomes[outcome]
}).pipe(span("work"))

const report = Effect.suspend(() => tracing!.exportStats).pipe(
  Effect.flatMap((stats) => Console.log(JSON.stringify({ spans: ended, ...stats })))
)

NodeRuntime.runMain(
  work.pipe(
    untraced === undefined ? Effect.provide(makeTracingLive({ shutdownTimeout: "1 second" })) : identity,
    Effect.tap((result) => Console.log(`result ${result}`)),
    Effect.ensuring(report)
  )
)
