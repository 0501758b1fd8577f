/** What a combinator costs where tracing is off, over the bare effect. */
import { Context, Effect } from "effect"
import { extractTraceContext, injectTraceContext, TracingNoop, withLlmSpan, withToolSpan } from "../../src/index.ts"
import { build, runSync } from "./effects.ts"
import type { Question } from "./measure.ts"

const bare = Effect.succeed(1)
const message = { id: 1 }

const combinators = {
  withLlmSpan: bare.pipe(withLlmSpan({
    provider: "openai",
    request: { model: "gpt-4o", temperature: 0.2, maxTokens: 100 },
    response: () => ({ usage: { inputTokens: 1, outputTokens: 1 } })
  })),
  withToolSpan: bare.pipe(withToolSpan({ name: "lookup", arguments: () => ({}) })),
  injectTraceContext: injectTraceContext(message),
  extractTraceContext: extractTraceContext(message)
}

const runs = (
  context: Context.Context<never>,
  around?: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
) => ({
  withLlmSpan: runSync(combinators.withLlmSpan, context, around),
  withToolSpan: runSync(combinators.withToolSpan, context, around),
  injectTraceContext: runSync(combinators.injectTraceContext, context, around),
  extractTraceContext: runSync(combinators.extractTraceContext, context, around)
})

/** In a process that has run the combinators as well: one that has run less code runs the rest faster. */
const bareRuns = async () => {
  for (const run of Object.values(runs(await build(TracingNoop)))) await run(20_000)
  const run = runSync(bare)
  return { withLlmSpan: run, withToolSpan: run, injectTraceContext: run, extractTraceContext: run }
}

export const question: Question = {
  title: "A combinator where tracing is off",
  cases: [
    { name: "withLlmSpan", unit: "ns" },
    { name: "withToolSpan", unit: "ns" },
    { name: "injectTraceContext", unit: "ns" },
    { name: "extractTraceContext", unit: "ns" }
  ],
  candidates: [
    { name: "the bare effect", load: bareRuns },
    { name: "nothing provided", load: async () => runs(Context.empty()) },
    { name: "TracingNoop", load: async () => runs(await build(TracingNoop)) },
    { name: "withTracerEnabled(false)", load: async () => runs(Context.empty(), Effect.withTracerEnabled(false)) }
  ]
}
