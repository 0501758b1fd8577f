/** What Effect code costs inside of a span, for each of its primitives. */
import { OtelTracer } from "@effect/opentelemetry"
import { Context, Effect, Fiber, Layer, Stream } from "effect"
import { makeTracingLive } from "../../src/index.ts"
import { build, repeat, runPromise, runSync } from "./effects.ts"
import type { Candidate, Question } from "./measure.ts"
import { CountingProcessor } from "./processor.ts"
import { Otel, OtelContext, OtelSdk } from "./sdk.ts"

const STREAM = 100
const SLEEPERS = 200

let calls = 0
const sync = Effect.sync(() => calls++)
const next = (n: number) => Effect.sync(() => n + 1)
const chain = sync.pipe(Effect.flatMap(next), Effect.flatMap(next), Effect.flatMap(next))
const fork = Effect.flatMap(Effect.forkChild(sync), Fiber.join)
const stream = Stream.range(1, STREAM).pipe(Stream.mapEffect((n) => Effect.succeed(n)), Stream.runDrain)
const sleep = (times: number) =>
  Effect.forEach(
    Array.from({ length: Math.min(times, SLEEPERS) }),
    () => repeat(Effect.sleep(1), Math.ceil(times / SLEEPERS)),
    { concurrency: "unbounded", discard: true }
  )

const runs = (context: Context.Context<never>) => {
  const around = <A, E>(self: Effect.Effect<A, E>) => Effect.withSpan(self, "around", { captureStackTrace: false })
  return {
    sync: runSync(sync, context, around),
    flatMap: runSync(chain, context, around),
    fork: runPromise((times) => repeat(fork, times), context, around),
    sleep: runPromise(sleep, context, around),
    stream: runSync(stream, context, around)
  }
}

const registerManager = () => {
  Otel.context.setGlobalContextManager(new OtelContext.AsyncLocalStorageContextManager().enable())
}

const live = (options: { readonly global: boolean }) =>
  build(Layer.orDie(makeTracingLive({
    exporter: "none",
    spanProcessors: [new CountingProcessor()],
    global: options.global
  })))

const ours = async (options: { readonly global: boolean }) => runs(await live(options))

/** In a process that has built the layer as well: one that has run less code runs the rest faster. */
const untraced = async () => {
  await live({ global: false })
  return runs(Context.empty())
}

const effectOtel = async () => {
  const provider = new OtelSdk.NodeTracerProvider({ spanProcessors: [new CountingProcessor()] })
  return runs(
    await build(OtelTracer.layer.pipe(Layer.provide(Layer.succeed(OtelTracer.OtelTracerProvider, provider))))
  )
}

const withForeignManager = (load: Candidate["load"]): Candidate["load"] => () => {
  registerManager()
  return load()
}

export const question: Question = {
  title: "Effect code inside of a span",
  cases: [
    { name: "sync", unit: "ns" },
    { name: "flatMap", unit: "ns" },
    { name: "fork", unit: "ns" },
    { name: "sleep", unit: "ns" },
    { name: "stream", unit: "ns" }
  ],
  candidates: [
    { name: "untraced", load: untraced },
    { name: "loom-tracing", load: () => ours({ global: false }) },
    { name: "@effect/opentelemetry", load: effectOtel },
    {
      name: "loom-tracing, context manager",
      note: "`global: true`: OpenTelemetry's active context is right in every line",
      load: () => ours({ global: true })
    },
    {
      name: "loom-tracing, foreign context manager",
      note: "somebody else's, which can only be entered anew for each primitive",
      load: withForeignManager(() => ours({ global: false }))
    },
    { name: "@effect/opentelemetry, context manager", load: withForeignManager(effectOtel) }
  ]
}
