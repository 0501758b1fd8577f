/** What one span of a model call costs, from its start to its processor. */
import { OtelTracer } from "@effect/opentelemetry"
import type { Attributes } from "@opentelemetry/api"
import { Effect, Layer } from "effect"
import { Telemetry } from "effect/ai"
import { deepStrictEqual } from "node:assert/strict"
import { makeTracingLive, withLlmSpan } from "../../src/index.ts"
import { build, runSync } from "./effects.ts"
import type { Candidate, Question, Run } from "./measure.ts"
import { peers } from "./peers.ts"
import { CountingProcessor } from "./processor.ts"
import { ask, type Reply, replyAt, replyAttributes, requestAttributes } from "./reply.ts"
import { Otel, OtelSdk } from "./sdk.ts"

/** Runs once and sees whether the span that comes of it is the one that was meant. */
const checked = async (processor: CountingProcessor, run: Run, extra: Attributes = {}): Promise<Run> => {
  await run(1)
  const span = processor.last!
  deepStrictEqual(
    { kind: span.kind, attributes: { ...span.attributes } },
    { kind: Otel.SpanKind.CLIENT, attributes: { ...requestAttributes(), ...replyAttributes(replyAt(0)), ...extra } }
  )
  return run
}

/** A call of a model as a program makes it: every option is made anew. */
const call = (): Effect.Effect<Reply> =>
  Effect.sync(ask).pipe(withLlmSpan({
    provider: "openai",
    request: {
      model: "gpt-4o",
      temperature: 0.2,
      maxTokens: 1000,
      topP: 0.9,
      frequencyPenalty: 0.1,
      presencePenalty: 0.1
    },
    server: { address: "api.openai.com", port: 8443 },
    conversationId: "conv_5j66UpCpwteGg4YSxUnt7lPY",
    response: (reply) => ({
      id: reply.id,
      model: reply.model,
      finishReasons: [reply.finish],
      usage: { inputTokens: reply.input, outputTokens: reply.output }
    })
  }))

const ours = async (convention: "loom" | "latest", extra: Attributes = {}) => {
  const processor = new CountingProcessor()
  const context = await build(Layer.orDie(makeTracingLive({
    exporter: "none",
    spanProcessors: [processor],
    genAi: { convention }
  })))
  return { span: await checked(processor, runSync(Effect.suspend(call), context), extra) }
}

/** A span by hand, with the SDK alone. */
const raw: Candidate["load"] = async () => {
  const processor = new CountingProcessor()
  const tracer = new OtelSdk.NodeTracerProvider({ spanProcessors: [processor] }).getTracer("bench")
  const once = () => {
    const span = tracer.startSpan("chat gpt-4o", { kind: Otel.SpanKind.CLIENT, attributes: requestAttributes() })
    span.setAttributes(replyAttributes(ask()))
    span.end()
  }
  return {
    span: await checked(processor, (times) => {
      while (times-- > 0) once()
    })
  }
}

/** The same as the SDK's documentation has it: the span is current while the model is asked, and ends whatever happens. */
const rawActive: Candidate["load"] = async () => {
  const processor = new CountingProcessor()
  const provider = new OtelSdk.NodeTracerProvider({ spanProcessors: [processor] })
  provider.register()
  const tracer = provider.getTracer("bench")
  const once = () =>
    tracer.startActiveSpan("chat gpt-4o", { kind: Otel.SpanKind.CLIENT, attributes: requestAttributes() }, (span) => {
      try {
        const reply = ask()
        span.setAttributes(replyAttributes(reply))
        return reply
      } catch (error) {
        span.recordException(error as Error)
        span.setStatus({ code: Otel.SpanStatusCode.ERROR })
        throw error
      } finally {
        span.end()
      }
    })
  return {
    span: await checked(processor, (times) => {
      while (times-- > 0) once()
    })
  }
}

const effectAi: Candidate["load"] = async () => {
  const processor = new CountingProcessor()
  const provider = new OtelSdk.NodeTracerProvider({ spanProcessors: [processor] })
  const context = await build(
    OtelTracer.layer.pipe(Layer.provide(Layer.succeed(OtelTracer.OtelTracerProvider, provider)))
  )
  const once = Effect.useSpan("chat gpt-4o", { kind: "client" }, (span) => {
    Telemetry.addGenAIAnnotations(span, {
      operation: { name: "chat" },
      provider: { name: "openai" },
      request: {
        model: "gpt-4o",
        temperature: 0.2,
        maxTokens: 1000,
        topP: 0.9,
        frequencyPenalty: 0.1,
        presencePenalty: 0.1
      }
    })
    span.attribute("server.address", "api.openai.com")
    span.attribute("server.port", 8443)
    span.attribute("gen_ai.conversation.id", "conv_5j66UpCpwteGg4YSxUnt7lPY")
    return Effect.map(Effect.withParentSpan(Effect.sync(ask), span, { captureStackTrace: false }), (reply) => {
      Telemetry.addGenAIAnnotations(span, {
        response: { id: reply.id, model: reply.model, finishReasons: [reply.finish] },
        usage: { inputTokens: reply.input, outputTokens: reply.output }
      })
      return reply
    })
  })
  return { span: await checked(processor, runSync(once, context)) }
}

export const question: Question = {
  title: "One span of a model call with 16 attributes, from its start to its processor",
  cases: [{ name: "span", unit: "ns" }],
  candidates: [
    {
      name: "OpenTelemetry SDK, by hand",
      note: "`startSpan` with the eleven attributes of the request, `setAttributes` with five of the reply, `end`",
      load: raw
    },
    {
      name: "the same, current",
      note:
        "`startActiveSpan` with the context manager that `register` brings: what is asked inside nests under the span",
      load: rawActive
    },
    {
      name: "loom-tracing",
      note: "`withLlmSpan`, convention `latest`: the same 16; current as well",
      load: () => ours("latest")
    },
    {
      name: "loom-tracing, default convention",
      note: "21 attributes: Loom's five beside the 16",
      load: () =>
        ours("loom", {
          "gen_ai.system": "openai",
          "llm.model": "gpt-4o",
          "llm.max_tokens": 1000,
          "llm.prompt_tokens": 1000,
          "llm.completion_tokens": 0
        })
    },
    {
      name: "@effect/opentelemetry + effect/ai Telemetry",
      note: "the same 16, none of which a sampler sees",
      load: effectAi
    },
    ...peers
  ]
}
