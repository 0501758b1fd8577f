/** How fast spans leave the process, and what they cost on the way: OTLP over gRPC to a receiver in another process. */
import type { Tracer } from "@opentelemetry/api"
import type { SpanExporter } from "@opentelemetry/sdk-trace-base"
import { Context, Effect, Layer, Logger } from "effect"
import { fork } from "node:child_process"
import { once } from "node:events"
import { setImmediate } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { makeTracingLive, Tracing, type TracingOptions } from "../../src/index.ts"
import { build } from "./effects.ts"
import type { Question, Run } from "./measure.ts"
import { ask, replyAttributes, requestAttributes } from "./reply.ts"
import { Otel, OtelExporter, OtelSdk } from "./sdk.ts"
import type { Await } from "./sink.ts"

/** The package's default. The stock processor's own is 2,048, and a burst loses whatever goes beyond. */
const QUEUE = 131_072
/** Spans of one round. */
const SPANS = 10_000
/** Spans that wait, where memory is measured. */
const QUEUED = 20_000
/** Spans that a program makes before it lets the event loop turn. */
const BURST = 100

/** A receiver in a process of its own. */
const startSink = async () => {
  const child = fork(fileURLToPath(new URL("./sink.ts", import.meta.url)))
  const [port] = await once(child, "message")
  let sent = 0
  return {
    endpoint: `http://127.0.0.1:${port}`,
    /** Resolves when so many more spans than before have arrived. */
    received: async (spans: number): Promise<void> => {
      sent += spans
      const message: Await = { spans: sent }
      child.send(message)
      const [arrived] = await once(child, "message")
      if (arrived !== sent) throw new Error(`${arrived} spans have arrived, expected ${sent}`)
    }
  }
}

/** The same spans by the same calls for every candidate. */
const makeSpans = async (tracer: Tracer, count: number): Promise<void> => {
  for (let i = 1; i <= count; i++) {
    const span = tracer.startSpan("chat gpt-4o", { kind: Otel.SpanKind.CLIENT, attributes: requestAttributes() })
    span.setAttributes(replyAttributes(ask()))
    span.end()
    if (i % BURST === 0) await setImmediate()
  }
}

interface Pipeline {
  readonly tracer: Tracer
  readonly flush: () => Promise<void>
}

const runs = async (
  make: (endpoint: string) => Promise<Pipeline>,
  makeStuck: (exporter: SpanExporter) => Promise<Pipeline>
): Promise<Readonly<Record<string, Run>>> => {
  const sink = await startSink()
  const pipeline = await make(sink.endpoint)
  let bytes: Promise<number> | undefined
  const send = async (spans: number): Promise<void> => {
    await makeSpans(pipeline.tracer, spans)
    await Promise.all([pipeline.flush(), sink.received(spans)])
  }
  return {
    throughput: async (spans) => {
      const start = performance.now()
      await send(spans)
      return spans / (performance.now() - start) * 1000
    },
    CPU: send,
    // Once: what is stuck stays.
    memory: (spans) => bytes ??= memoryOf(makeStuck, spans)
  }
}

/** Bytes that a span takes while it waits, and nothing can be exported. */
const memoryOf = async (makeStuck: (exporter: SpanExporter) => Promise<Pipeline>, spans: number): Promise<number> => {
  const { tracer } = await makeStuck({ export: () => {}, shutdown: () => Promise.resolve() })
  await makeSpans(tracer, spans)
  globalThis.gc!()
  const before = process.memoryUsage().heapUsed
  await makeSpans(tracer, spans)
  globalThis.gc!()
  return (process.memoryUsage().heapUsed - before) / spans
}

const stock = (exporter: SpanExporter): Promise<Pipeline> => {
  const processor = new OtelSdk.BatchSpanProcessor(exporter, { maxQueueSize: QUEUE })
  const provider = new OtelSdk.NodeTracerProvider({ spanProcessors: [processor] })
  return Promise.resolve({
    tracer: provider.getTracer("bench"),
    flush: () => provider.forceFlush()
  })
}

/** The layer, and the provider that it makes OpenTelemetry's global one. */
const ours = async (options: TracingOptions): Promise<Pipeline> => {
  // The second layer of a process finds a context manager already, which is no news.
  const layer = Layer.provide(makeTracingLive({ ...options, global: true, maxQueueSize: QUEUE }), Logger.layer([]))
  Otel.trace.disable()
  const context = await build(Layer.orDie(layer))
  return {
    tracer: Otel.trace.getTracerProvider().getTracer("bench"),
    flush: () => Effect.runPromise(Context.get(context, Tracing).flush)
  }
}

export const question: Question = {
  title: "Spans on their way out, over OTLP gRPC to a receiver in another process",
  cases: [
    { name: "throughput", unit: "spans/s", times: SPANS },
    { name: "CPU", unit: "ns", times: SPANS },
    { name: "memory", unit: "bytes", times: QUEUED }
  ],
  candidates: [
    {
      name: "the stock processor and exporter",
      note: "`BatchSpanProcessor` with the same queue of 131,072",
      execArgv: ["--expose-gc"],
      load: () => runs((url) => stock(new OtelExporter.OTLPTraceExporter({ url })), stock)
    },
    {
      name: "loom-tracing",
      note: "the same spans, made by hand, on the provider of `makeTracingLive`",
      execArgv: ["--expose-gc"],
      load: () =>
        runs(
          (endpoint) => ours({ endpoint, shutdownTimeout: 30_000 }),
          (exporter) => ours({ exporter })
        )
    }
  ]
}
