/**
 * Other libraries that make spans of model calls, each in its own idiom and with
 * as many of the 16 attributes as that takes. Their packages are those of the
 * `package.json` beside this file.
 */
import type { Attributes, Span, TracerProvider } from "@opentelemetry/api"
import type { SpanExporter, SpanProcessor } from "@opentelemetry/sdk-trace-base"
import { load } from "./load.ts"
import type { Candidate, Run } from "./measure.ts"
import { CountingProcessor } from "./processor.ts"
import { ask, type Reply, replyAttributes, requestAttributes } from "./reply.ts"
import { Otel, OtelSdk } from "./sdk.ts"

/** The same SDK for all that take one, each alone in its process. */
const provide = (): { readonly processor: CountingProcessor; readonly provider: TracerProvider } => {
  const processor = new CountingProcessor()
  const provider = new OtelSdk.NodeTracerProvider({ spanProcessors: [processor] })
  Otel.trace.setGlobalTracerProvider(provider)
  return { processor, provider }
}

/** The work of a peer, once it has been seen to make spans with so many attributes. */
const checked = async (
  processor: CountingProcessor,
  attributes: number,
  once: () => unknown
): Promise<{ span: Run }> => {
  await once()
  const recorded = Object.keys(processor.last!.attributes).length
  if (recorded !== attributes) throw new Error(`recorded ${recorded} attributes, expected ${attributes}`)
  return {
    span: (times) => {
      while (times-- > 0) once()
    }
  }
}

const parameters = () => ({
  temperature: 0.2,
  max_tokens: 1000,
  top_p: 0.9,
  frequency_penalty: 0.1,
  presence_penalty: 0.1
})

interface OpenInference {
  readonly traceLLM: (
    f: () => Reply,
    options: {
      readonly name: string
      readonly openTelemetrySpanKind: number
      readonly processInput: () => Attributes
      readonly processOutput: (reply: Reply) => Attributes
    }
  ) => () => Reply
  readonly getLLMAttributes: (options: Readonly<Record<string, unknown>>) => Attributes
}

const openInference = async () => {
  const { processor } = provide()
  const { getLLMAttributes, traceLLM } = await load<OpenInference>("@arizeai/openinference-core")
  const call = traceLLM(ask, {
    name: "chat gpt-4o",
    openTelemetrySpanKind: Otel.SpanKind.CLIENT,
    processInput: () => ({
      ...getLLMAttributes({ provider: "openai", requestModelName: "gpt-4o", invocationParameters: parameters() }),
      "server.address": "api.openai.com",
      "server.port": 8443,
      "session.id": "conv_5j66UpCpwteGg4YSxUnt7lPY"
    }),
    processOutput: (reply) => ({
      ...getLLMAttributes({
        responseModelName: reply.model,
        tokenCount: { prompt: reply.input, completion: reply.output }
      }),
      "llm.response.id": reply.id,
      "llm.finish_reason": reply.finish
    })
  })
  return checked(processor, 13, call)
}

interface LangfuseGeneration {
  readonly update: (attributes: Readonly<Record<string, unknown>>) => LangfuseGeneration
  readonly end: () => void
}

interface Langfuse {
  readonly setLangfuseTracerProvider: (provider: TracerProvider) => void
  readonly startObservation: (
    name: string,
    attributes: Readonly<Record<string, unknown>>,
    options: { readonly asType: "generation" }
  ) => LangfuseGeneration
}

const langfuse = async () => {
  const { processor, provider } = provide()
  const { setLangfuseTracerProvider, startObservation } = await load<Langfuse>("@langfuse/tracing")
  setLangfuseTracerProvider(provider)
  return checked(processor, 10, () => {
    const generation = startObservation("chat gpt-4o", {
      model: "gpt-4o",
      modelParameters: parameters(),
      metadata: {
        provider: "openai",
        address: "api.openai.com",
        port: 8443,
        conversation: "conv_5j66UpCpwteGg4YSxUnt7lPY"
      }
    }, { asType: "generation" })
    const reply = ask()
    generation.update({
      usageDetails: { input: reply.input, output: reply.output },
      metadata: { id: reply.id, finish: reply.finish }
    }).end()
  })
}

interface LlmSpan {
  readonly reportRequest: (request: { readonly model: string; readonly messages: ReadonlyArray<never> }) => void
  readonly reportResponse: (response: {
    readonly model: string
    readonly usage: {
      readonly prompt_tokens: number
      readonly completion_tokens: number
      readonly total_tokens: number
    }
    readonly completions: ReadonlyArray<{
      readonly finish_reason: string
      readonly message: { readonly role: "assistant"; readonly content: null }
    }>
  }) => void
}

interface Traceloop {
  readonly initialize: (options: {
    readonly processor: SpanProcessor
    readonly exporter: SpanExporter
    readonly logLevel: "error"
    readonly silenceInitializationMessage: boolean
    readonly telemetryEnabled: boolean
    readonly traceloopSyncEnabled: boolean
    /** No instrumentation of other modules. */
    readonly instrumentModules: {}
  }) => void
  readonly withLLMCall: (
    options: { readonly vendor: string; readonly type: "chat" },
    f: (context: { readonly span: LlmSpan }) => void
  ) => void
}

const traceloop = async () => {
  const processor = new CountingProcessor()
  const { initialize, withLLMCall } = await load<Traceloop>("@traceloop/node-server-sdk")
  initialize({
    processor,
    exporter: { export: (_, done) => done({ code: 0 }), shutdown: () => Promise.resolve() },
    logLevel: "error",
    silenceInitializationMessage: true,
    telemetryEnabled: false,
    traceloopSyncEnabled: false,
    instrumentModules: {}
  })
  return checked(processor, 9, () =>
    withLLMCall({ vendor: "openai", type: "chat" }, ({ span }) => {
      span.reportRequest({ model: "gpt-4o", messages: [] })
      const reply = ask()
      span.reportResponse({
        model: reply.model,
        usage: {
          prompt_tokens: reply.input,
          completion_tokens: reply.output,
          total_tokens: reply.input + reply.output
        },
        completions: [{ finish_reason: reply.finish, message: { role: "assistant", content: null } }]
      })
    }))
}

interface Logfire {
  readonly startSpan: (name: string, attributes: Attributes) => Span
}

const logfire = async () => {
  const { processor } = provide()
  const { startSpan } = await load<Logfire>("logfire")
  return checked(processor, 21, () => {
    const span = startSpan("chat gpt-4o", requestAttributes())
    span.setAttributes(replyAttributes(ask()))
    span.end()
  })
}

export const peers: ReadonlyArray<Candidate> = [
  {
    name: "Langfuse",
    note: "`@langfuse/tracing`; its own 10 attributes, five parameters in one, no operation and no response model",
    isPeer: true,
    load: langfuse
  },
  {
    name: "OpenInference",
    note: "`traceLLM`; its own 13 attributes, five parameters in one",
    isPeer: true,
    load: openInference
  },
  {
    name: "Logfire",
    note: "the `logfire` API on the same SDK: the same 16 and 5 of its own; its Node package adds processors",
    isPeer: true,
    load: logfire
  },
  {
    name: "Traceloop",
    note:
      "`withLLMCall`; the 9 attributes that it can report, on its own SDK and batch processor, with a stub exporter",
    isPeer: true,
    load: traceloop
  }
]
