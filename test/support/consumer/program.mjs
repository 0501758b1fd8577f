// A first program in plain JavaScript. Its collector is down, which must change nothing but what is recorded.
import * as Effect from "effect/Effect"
import { Tracing, TracingLive, withLlmSpan } from "loom-tracing"

const program = Effect.gen(function*() {
  const { enabled } = yield* Tracing
  const answer = yield* Effect.succeed("42").pipe(
    withLlmSpan({ provider: "openai", request: { model: "gpt-5" } })
  )
  console.log(`answer ${answer}, tracing ${enabled ? "on" : "off"}`)
})

await Effect.runPromise(program.pipe(Effect.provide(TracingLive)))
