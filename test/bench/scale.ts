/** What becomes of the cost of a span where there are many: fibers, spans, attributes, links. */
import type { Link, Tracer } from "@opentelemetry/api"
import { type Context, Effect, Layer, Tracer as EffectTracer } from "effect"
import { makeTracingLive, withLlmSpan } from "../../src/index.ts"
import { build, runSync } from "./effects.ts"
import type { Candidate, Question, Run } from "./measure.ts"
import { CountingProcessor } from "./processor.ts"
import { Otel, OtelSdk } from "./sdk.ts"

const OURS = "loom-tracing"
const UNTRACED = "untraced"
const RAW = "OpenTelemetry, by hand"

/** One situation, for each implementation. */
interface Runs {
  readonly [OURS]: Run
  /** The fibers alone, where there are any. */
  readonly [UNTRACED]?: Run
  readonly [RAW]: Run
}

const make = async (runs: (context: Context.Context<never>, tracer: Tracer) => Runs | Promise<Runs>) => {
  const spanProcessors = [new CountingProcessor()]
  const context = await build(Layer.orDie(makeTracingLive({ exporter: "none", spanProcessors })))
  return { ...await runs(context, new OtelSdk.NodeTracerProvider({ spanProcessors }).getTracer("bench")) }
}

const traced = withLlmSpan({ provider: "openai", request: { model: "gpt-4o" } })
const attributes = {
  "gen_ai.operation.name": "chat",
  "gen_ai.provider.name": "openai",
  "gen_ai.request.model": "gpt-4o"
}
const call = { kind: Otel.SpanKind.CLIENT, attributes }

/** Processor time of a span, where they come in groups of a size. */
const inGroups = (size: number, group: () => unknown): Run => async (times) => {
  const groups = Math.ceil(times / size)
  const cpu = process.cpuUsage()
  for (let i = 0; i < groups; i++) await group()
  const { system, user } = process.cpuUsage(cpu)
  return (user + system) * 1000 / (groups * size)
}

/** So many spans open at once, each in a fiber of its own where there are fibers. */
const open = (count: number): Candidate => ({
  name: `${count.toLocaleString("en")} open at once`,
  load: () =>
    make((context, tracer) => {
      const all = Array.from({ length: count }, (_, index) => index)
      // A fiber that yields waits for all the others to have begun.
      const fibers = (self: Effect.Effect<void>) =>
        Effect.forEach(all, () => self, { concurrency: "unbounded", discard: true })
      return {
        [OURS]: inGroups(count, () => Effect.runPromiseWith(context)(fibers(traced(Effect.yieldNow)))),
        [UNTRACED]: inGroups(count, () => Effect.runPromiseWith(context)(fibers(Effect.yieldNow))),
        [RAW]: inGroups(count, () => {
          const spans = all.map(() => tracer.startSpan("llm.call", call))
          for (const span of spans) span.end()
        })
      }
    })
})

const after = (count: number): Candidate => ({
  name: `one by one, after ${count.toLocaleString("en")} others`,
  load: () =>
    make((context, tracer) => {
      const runs = {
        [OURS]: runSync(traced(Effect.void), context),
        [RAW]: (times: number) => {
          while (times-- > 0) tracer.startSpan("llm.call", call).end()
        }
      }
      runs[OURS](count)
      runs[RAW](count)
      return runs
    })
})

const withAttributes = (count: number): Candidate => ({
  name: `${count} attributes`,
  load: () =>
    make((context, tracer) => {
      const keys = Array.from({ length: count - 3 }, (_, index) => `app.attribute.${index}`)
      const record = Object.fromEntries(keys.map((key, index) => [key, index]))
      return {
        [OURS]: runSync(
          Effect.suspend(() =>
            withLlmSpan(Effect.void, { provider: "openai", request: { model: "gpt-4o" }, attributes: record })
          ),
          context
        ),
        [RAW]: (times) => {
          while (times-- > 0) tracer.startSpan("llm.call", call).setAttributes(record).end()
        }
      }
    })
})

const withLinks = (count: number): Candidate => ({
  name: `${count.toLocaleString("en")} link${count === 1 ? "" : "s"}`,
  load: () =>
    make((context, tracer) => {
      const ids = Array.from({ length: count }, (_, index) => ({
        traceId: "0af7651916cd43dd8448eb211c80319c",
        spanId: (index + 1).toString(16).padStart(16, "0")
      }))
      const links = ids.map((id) => ({ span: EffectTracer.externalSpan(id), attributes: { "app.part": 1 } }))
      const otelLinks = ids.map((id): Link => ({
        context: { ...id, traceFlags: Otel.TraceFlags.SAMPLED, isRemote: true },
        attributes: { "app.part": 1 }
      }))
      const span = Effect.withSpan(Effect.void, "batch", { links, captureStackTrace: false })
      return {
        [OURS]: runSync(span, context),
        [RAW]: (times) => {
          while (times-- > 0) tracer.startSpan("batch", { links: otelLinks }).end()
        }
      }
    })
})

export const question: Question = {
  title: "A span among many",
  cases: [
    { name: OURS, unit: "ns" },
    { name: UNTRACED, unit: "ns" },
    { name: RAW, unit: "ns" }
  ],
  candidates: [
    open(10),
    open(1000),
    open(100_000),
    after(0),
    after(200_000),
    withAttributes(8),
    withAttributes(64),
    withAttributes(128),
    withLinks(1),
    withLinks(10),
    withLinks(100),
    withLinks(1000)
  ]
}
