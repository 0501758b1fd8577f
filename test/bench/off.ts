/** What a combinator costs where tracing is off, over the bare effect. */
import { Effect } from "effect"
import { injectTraceContext, TracingNoop, withLlmSpan, withToolSpan } from "../../src/index.ts"
import { effect, measure, type Measurement } from "./measure.ts"

const bare = Effect.succeed(1)
const llm = bare.pipe(withLlmSpan({
  provider: "openai",
  request: { model: "gpt-4o", temperature: 0.2, maxTokens: 100 },
  response: () => ({ usage: { inputTokens: 1, outputTokens: 1 } })
}))
const tool = bare.pipe(withToolSpan({ name: "lookup", arguments: () => ({}) }))
const message = { id: 1 }
const noop = Effect.provide(TracingNoop)
const disabled = Effect.withTracerEnabled(false)

export const title = "off: over the bare effect"

export const question = (rounds: number): ReadonlyArray<Measurement> =>
  measure([
    effect("bare effect", bare),
    effect("withLlmSpan, nothing provided", llm),
    effect("withLlmSpan, TracingNoop", llm, noop),
    effect("withLlmSpan, withTracerEnabled(false)", llm, disabled),
    effect("withToolSpan, TracingNoop", tool, noop),
    effect("injectTraceContext, TracingNoop", injectTraceContext(message), noop)
  ], { rounds, times: 200_000 })
