/** What it costs to put a trace context into a message and to read it back. */
import { Context, Effect, Layer } from "effect"
import { Headers, HttpTraceContext } from "effect/http"
import { deepStrictEqual } from "node:assert/strict"
import {
  extractHeaders,
  extractTraceContext,
  injectHeaders,
  injectTraceContext,
  makeTracingLive,
  parseTraceHeaders,
  type TraceCarrier,
  type TraceHeaders,
  withRemoteContext
} from "../../src/index.ts"
import { build, runSync } from "./effects.ts"
import type { Candidate, Question, Run } from "./measure.ts"
import { CountingProcessor } from "./processor.ts"
import { Otel, OtelCore, OtelSdk } from "./sdk.ts"

const received = {
  traceparent: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
  all: {
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    tracestate: "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
    baggage: "tenant=acme,user.tier=gold"
  }
}
type Received = keyof typeof received

const task = { id: 1, prompt: "Summarise the report", tags: ["a", "b"] }

/** What was sent must be what was received, but for the span. */
const check = (headers: TraceHeaders | undefined, name: Received): void =>
  deepStrictEqual({ ...headers, traceparent: headers?.traceparent?.slice(0, 35) }, {
    ...received[name],
    traceparent: received[name].traceparent.slice(0, 35)
  })

const inBoth = async (make: (name: Received) => Promise<Run>): Promise<Readonly<Record<Received, Run>>> => ({
  traceparent: await make("traceparent"),
  all: await make("all")
})

/** Inside of a span that has a remote parent, as in a handler that sends on. */
const ours = (
  once: Effect.Effect<unknown>,
  send: Effect.Effect<TraceHeaders | undefined>
): Candidate["load"] =>
async () => {
  const context = await build(
    Layer.orDie(makeTracingLive({ exporter: "none", spanProcessors: [new CountingProcessor()] }))
  )
  return inBoth(async (name) => {
    const around = <A, E>(self: Effect.Effect<A, E>) =>
      withRemoteContext(
        Effect.withSpan(self, "send", { captureStackTrace: false }),
        parseTraceHeaders(received[name])
      )
    check(await Effect.runPromiseWith(context)(around(send)), name)
    return runSync(once, context, around)
  })
}

const otelCore: Candidate["load"] = async () => {
  const tracer = new OtelSdk.NodeTracerProvider().getTracer("bench")
  const propagator = new OtelCore.CompositePropagator({
    propagators: [new OtelCore.W3CTraceContextPropagator(), new OtelCore.W3CBaggagePropagator()]
  })
  return inBoth(async (name) => {
    const parent = propagator.extract(Otel.ROOT_CONTEXT, received[name], Otel.defaultTextMapGetter)
    const context = Otel.trace.setSpan(parent, tracer.startSpan("send", {}, parent))
    const once = () => {
      const carrier: Record<string, string> = {}
      propagator.inject(context, carrier, Otel.defaultTextMapSetter)
      const message = { ...task, _trace_context: carrier }
      return propagator.extract(Otel.ROOT_CONTEXT, message._trace_context, Otel.defaultTextMapGetter)
    }
    const carrier: Record<string, string> = {}
    propagator.inject(once(), carrier, Otel.defaultTextMapSetter)
    check(carrier, name)
    return (times) => {
      while (times-- > 0) once()
    }
  })
}

const effectHttp: Candidate["load"] = async () => ({
  traceparent: runSync(
    Effect.map(Effect.currentSpan, (span) => {
      const message = { ...task, _trace_context: HttpTraceContext.toHeaders(span) }
      return HttpTraceContext.fromHeaders(Headers.fromInput(message._trace_context))
    }),
    Context.empty(),
    (self) => Effect.withSpan(self, "send", { captureStackTrace: false })
  )
})

export const question: Question = {
  title: "A trace context put into a message and read back",
  cases: [
    { name: "traceparent", unit: "ns" },
    { name: "all", unit: "ns" }
  ],
  candidates: [
    { name: "@opentelemetry/core", note: "its two W3C propagators, as plain calls outside of Effect", load: otelCore },
    {
      name: "loom-tracing",
      note: "`injectTraceContext` and `extractTraceContext`",
      load: ours(
        Effect.flatMap(injectTraceContext(task), extractTraceContext),
        Effect.map(injectTraceContext<object>(task), (message: TraceCarrier) => message._trace_context)
      )
    },
    {
      name: "loom-tracing, headers",
      note: "`injectHeaders` and `extractHeaders`",
      load: ours(
        Effect.flatMap(injectHeaders({ "content-type": "application/json" }), extractHeaders),
        Effect.map(injectHeaders({}), (headers: TraceHeaders) => headers)
      )
    },
    {
      name: "Effect's HttpTraceContext",
      note: "`traceparent` and B3; it knows neither `tracestate` nor baggage",
      load: effectHttp
    }
  ]
}
