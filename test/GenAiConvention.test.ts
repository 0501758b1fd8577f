/**
 * The convention as data: `semconv-genai.json` is what it says, at the revision that it names; `golden-genai.json` is
 * what a collector is to receive for each operation.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Attributes } from "@opentelemetry/api"
import { SamplingDecision } from "@opentelemetry/sdk-trace-base"
import { ConfigProvider, Effect, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import {
  type GenAiSettings,
  type LlmCallOptions,
  makeTracingLive,
  withAgent,
  withAgentSpan,
  withConversation,
  withCreateAgentSpan,
  withEmbeddingsSpan,
  withFetchResponseSpan,
  withLlmSpan,
  withLlmStreamSpan,
  withMcpSpan,
  withMemorySpan,
  withPlanSpan,
  withRetrievalSpan,
  withToolSpan,
  withWorkflowSpan
} from "loom-tracing"
import { readFileSync } from "node:fs"
import * as names from "../src/internal/semconv.ts"
import * as OtlpReceiver from "./support/OtlpReceiver.ts"
import * as Recorder from "./support/Recorder.ts"

interface Convention {
  readonly revision: { readonly commit: string }
  readonly latest: { readonly commit: string }
  readonly attributes: Readonly<
    Record<string, { readonly type: string; readonly renamed?: string; readonly latest?: boolean }>
  >
  readonly spans: Readonly<
    Record<string, {
      readonly operations: ReadonlyArray<string>
      /** Attributes in braces. */
      readonly name: string
      readonly kind: string
      /** What a sampler is to see. */
      readonly sampling: ReadonlyArray<string>
      readonly attributes: Readonly<Record<string, string>>
    }>
  >
  readonly events: Readonly<Record<string, unknown>>
  readonly metrics: Readonly<Record<string, unknown>>
}

interface Golden {
  readonly span: string
  readonly convention: GenAiSettings["convention"]
  readonly name: string
  readonly kind: string
  readonly attributes: Readonly<Record<string, readonly [type: string, value: unknown]>>
  readonly events?: ReadonlyArray<{ readonly name: string; readonly attributes: Readonly<Record<string, unknown>> }>
}

const readJson = (file: string): unknown =>
  JSON.parse(readFileSync(new URL(`support/${file}`, import.meta.url), "utf8"))
const convention = readJson("semconv-genai.json") as Convention
const golden = readJson("golden-genai.json") as Readonly<Record<string, Golden>>

/** Loom's own names, and the ones of messaging, are not the GenAI convention's. */
const isOfConvention = ([constant]: readonly [string, unknown]): boolean => !/^(LOOM_|LLM_|MESSAGING_)/.test(constant)
const LOOMS = ["gen_ai.system"]

describe("the names", () => {
  const ours = Object.entries<unknown>(names).filter(isOfConvention).flatMap(([constant, name]) =>
    typeof name === "string" ? [[constant, name] as const] : []
  )

  it("are the convention's: no other, and none is missing", () => {
    const theirs = [...Object.keys(convention.attributes), ...Object.keys(convention.events), ...LOOMS]
    assert.deepStrictEqual(ours.map(([, name]) => name).sort(), theirs.sort())
  })

  it("are named after what they stand for", () => {
    for (const [constant, name] of ours) {
      const expected = name.replace("gen_ai.client.inference.", "gen_ai.").toUpperCase().replace(/\W/g, "_")
      assert.strictEqual(constant.replace(/_EVENT$/, ""), expected)
    }
  })

  it("are pinned to a revision that the source names", () => {
    const source = readFileSync(new URL("../src/internal/semconv.ts", import.meta.url), "utf8")
    assert.include(source, convention.revision.commit)
    assert.include(source, convention.latest.commit)
  })

  it("know which attributes are doubles", () => {
    const doubles = Object.entries(convention.attributes).filter(([, { type }]) => type === "double")
    assert.deepStrictEqual([...names.DOUBLE_ATTRIBUTES].sort(), doubles.map(([name]) => name).sort())
  })
})

const server = { address: "api.example.com", port: 443 }
const message = { role: "user", parts: [{ type: "text", content: "Hi" }] } as const
const toolDefinitions = [
  { type: "function", name: "lookup", description: "Looks things up", parameters: { type: "object" } }
] as const
const usage = {
  inputTokens: 120,
  outputTokens: 80,
  cacheReadInputTokens: 60,
  cacheWriteInputTokens: 20,
  reasoningOutputTokens: 30
}
const usageByModality = {
  text: { inputTokens: 70, outputTokens: 60, cacheReadInputTokens: 40 },
  image: { inputTokens: 30, outputTokens: 15, cacheReadInputTokens: 20 },
  audio: { inputTokens: 20, outputTokens: 5, cacheReadInputTokens: 0 }
}
const agentRequest = {
  model: "model-1",
  temperature: 1,
  maxTokens: 100,
  topP: 0.9,
  stopSequences: ["END", "STOP"],
  seed: 7,
  frequencyPenalty: 0.1,
  presencePenalty: -0.2,
  choiceCount: 2,
  outputType: "json"
} as const
const chat: LlmCallOptions = {
  provider: "openai",
  request: { ...agentRequest, topK: 40, reasoningLevel: "high", previousResponseId: "resp_0" },
  server,
  conversationId: "conv-1",
  input: "Hi",
  systemInstructions: "Be brief",
  toolDefinitions,
  prompt: { name: "greeting", version: "3", variables: { name: "Ada", limit: 3 } },
  openai: { apiType: "responses", serviceTier: "flex" },
  hasTools: true,
  toolRound: 2
}
const response = {
  id: "resp_1",
  model: "model-1-2026",
  finishReasons: ["stop", "length"],
  usage,
  usageByModality,
  compacted: true,
  openai: { serviceTier: "default", systemFingerprint: "fp_1" },
  output: "Hello"
}
const chatSpan = withLlmSpan({ ...chat, response: () => response })
const agent = {
  name: "tutor",
  id: "asst_1",
  version: "2",
  description: "Teaches",
  conversationId: "conv-1",
  dataSourceId: "handbook",
  provider: "openai",
  server,
  input: [message],
  systemInstructions: [{ type: "text", content: "Be brief" }],
  toolDefinitions,
  response: () => ({ finishReasons: ["stop"], usage, usageByModality, output: "Hello" })
} as const
const mcp = {
  resourceUri: "file:///a",
  requestId: 7,
  sessionId: "sess-1",
  protocolVersion: "2025-06-18",
  jsonRpcVersion: "1.0",
  network: { transport: "tcp", protocolName: "http", protocolVersion: "2" }
} as const
const weather = { tool: "weather", arguments: `{"city":"Paris"}`, result: () => ({ celsius: 21 }) }
const greeting = { prompt: "greeting", promptVariables: () => ({ name: "Ada" }) }

const operations: Readonly<Record<string, Effect.Effect<unknown, unknown>>> = {
  "chat": Effect.void.pipe(chatSpan),
  "chat, Loom's convention": Effect.void.pipe(chatSpan),
  "text_completion on Bedrock": Effect.void.pipe(withLlmSpan({
    provider: "aws.bedrock",
    operation: "text_completion",
    request: { model: "titan" },
    awsBedrock: { guardrailId: "gr-1", knowledgeBaseId: "kb-1" }
  })),
  "generate_content on Azure": Effect.void.pipe(
    withLlmSpan({ provider: "azure.ai.inference", operation: "generate_content", request: { model: "model-1" } })
  ),
  "chat, streamed": Stream.make("Hel", "lo").pipe(
    Stream.tap(() => TestClock.adjust("250 millis")),
    withLlmStreamSpan({
      provider: "openai",
      request: { model: "model-1" },
      fold: {
        initial: () => "",
        step: (text, chunk) => text + chunk,
        response: (text) => ({ finishReasons: ["stop"], usage: { outputTokens: 3 }, output: text })
      }
    }),
    Stream.runDrain
  ),
  "embeddings": Effect.succeed([0.1]).pipe(withEmbeddingsSpan({
    provider: "openai",
    request: { model: "model-1", encodingFormats: ["base64"], dimensions: 512 },
    server,
    response: () => ({ model: "model-1-2026", usage: { inputTokens: 5 } })
  })),
  "retrieval": Effect.succeed([{ id: "doc-1", score: 0.9, title: "Leave" }]).pipe(withRetrievalSpan({
    dataSourceId: "handbook",
    provider: "openai",
    request: { model: "model-1" },
    topK: 3,
    query: "holidays",
    documents: (found) => found,
    server
  })),
  "fetch_response": Effect.void.pipe(withFetchResponseSpan({
    provider: "openai",
    responseId: "resp_1",
    streamCursor: "17",
    server,
    systemInstructions: "Be brief",
    toolDefinitions,
    // A choice without a reason is what the convention calls `error`; usage belongs to the call that made the response.
    response: () => ({ status: "failed", model: "model-1-2026", finishReasons: [null], usage, output: "Hello" })
  })),
  "search_memory": Effect.succeed([{ id: "m-1", content: "likes tea", score: 0.5 }]).pipe(withMemorySpan({
    operation: "search_memory",
    provider: "mem0",
    storeId: "store-1",
    query: () => "drinks",
    result: (records) => ({ recordCount: records.length, records }),
    server
  })),
  "update_memory": Effect.void.pipe(withMemorySpan({
    operation: "update_memory",
    storeId: "store-1",
    recordId: "m-1",
    records: [{ id: "m-1", content: "likes coffee" }]
  })),
  "create_agent": Effect.succeed({ id: "asst_1" }).pipe(withCreateAgentSpan({
    provider: "openai",
    name: "tutor",
    description: "Teaches",
    version: "2",
    request: { model: "model-1" },
    server,
    systemInstructions: "Be brief",
    result: ({ id }) => ({ id })
  })),
  "invoke_agent in another service": Effect.void.pipe(
    withAgentSpan({ ...agent, request: { ...agentRequest, previousResponseId: "resp_0" }, remote: true })
  ),
  "invoke_agent in this program": Effect.void.pipe(withAgentSpan({ ...agent, request: agentRequest })),
  "invoke_agent in this program, Loom's convention": Effect.void.pipe(
    withAgentSpan({ ...agent, request: agentRequest })
  ),
  "execute_tool": Effect.succeed({ celsius: 21 }).pipe(
    withToolSpan({
      name: "lookup",
      type: "function",
      callId: "call_1",
      description: "Looks things up",
      arguments: { city: "Paris" },
      result: (weather) => weather
    }),
    withAgent("tutor"),
    withConversation("conv-1")
  ),
  "invoke_workflow": Effect.succeed("Hello").pipe(
    withWorkflowSpan({ name: "report", conversationId: "conv-1", input: "Hi", output: (text) => text })
  ),
  "plan": Effect.void.pipe(withPlanSpan({ agentName: "tutor" })),
  "tools/call by a client": Effect.void.pipe(withMcpSpan({ ...mcp, ...weather, method: "tools/call", peer: server })),
  "prompts/get by a client": Effect.void.pipe(withMcpSpan({ ...greeting, method: "prompts/get" })),
  "tools/call on a server": Effect.void.pipe(
    withMcpSpan({
      ...mcp,
      ...weather,
      method: "tools/call",
      side: "server",
      peer: { address: "10.0.0.1", port: 5000 }
    })
  ),
  "prompts/get on a server": Effect.void.pipe(withMcpSpan({ ...greeting, method: "prompts/get", side: "server" }))
}

const wireTypes: Readonly<Record<string, string>> = {
  stringValue: "string",
  intValue: "int",
  doubleValue: "double",
  boolValue: "boolean",
  arrayValue: "string[]"
}

/** A span as the golden file writes it down. */
const summarize = (span: OtlpReceiver.ReceivedSpan, expected: Golden) => ({
  name: span.name,
  kind: span.kind,
  attributes: Object.fromEntries(
    Object.entries(span.attributes).map(([name, value]) =>
      expected.attributes[name]?.[0] === "json" && typeof value === "string"
        ? [name, ["json", JSON.parse(value)]]
        : [name, [wireTypes[span.attributeTypes[name]], value]]
    )
  ),
  events: span.events.map(({ attributes, name }) => ({ name, attributes }))
})

const exported = (convention: GenAiSettings["convention"], effect: Effect.Effect<unknown, unknown>) =>
  Effect.gen(function*() {
    const receiver = yield* OtlpReceiver.make()
    const live = makeTracingLive({
      endpoint: receiver.url,
      serviceName: "golden",
      genAi: { convention, capture: "SPAN_ONLY" }
    }).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({}))))
    yield* effect.pipe(Effect.provide(live))
    const spans = yield* receiver.awaitSpans(1)
    assert.lengthOf(spans, 1)
    return spans[0]
  })

describe("the span of an operation, as a collector receives it", () => {
  it("is in the golden file, and nothing else is", () => {
    assert.deepStrictEqual(Object.keys(operations), Object.keys(golden))
  })

  for (const [operation, expected] of Object.entries(golden)) {
    it.effect(operation, () =>
      Effect.gen(function*() {
        const span = yield* exported(expected.convention, operations[operation])
        const { attributes, events = [], kind, name } = expected
        assert.deepStrictEqual<unknown>(summarize(span, expected), { name, kind, attributes, events })
        assert.strictEqual(span.status.code, "unset")
      }))
  }

  for (const [operation, { attributes, convention: used, span }] of Object.entries(golden)) {
    const relevant = convention.spans[span].sampling.filter((name) => name in attributes)
    if (relevant.length === 0) continue
    it.effect(`${operation}: a sampler sees ${relevant.join(", ")}`, () =>
      Effect.gen(function*() {
        let seen: Attributes = {}
        const recorder = Recorder.make({
          genAi: { convention: used },
          sampler: {
            shouldSample: (_context, _traceId, _name, _kind, attributes) => {
              seen = { ...attributes }
              return { decision: SamplingDecision.RECORD_AND_SAMPLED }
            }
          }
        })
        yield* recorder.run(operations[operation])
        for (const name of relevant) assert.deepStrictEqual<unknown>(seen[name], attributes[name][1], name)
      }))
  }

  it("is of the kind and has the name that the convention says", () => {
    for (const [operation, { attributes, kind, name, span }] of Object.entries(golden)) {
      assert.strictEqual(kind, convention.spans[span].kind, operation)
      if (golden[operation].convention === "loom" && span === "inference") continue
      const [, first, second] = /^\{(.*?)\}(?: \{(.*)\})?$/.exec(convention.spans[span].name) ?? []
      const target = second === "gen_ai.tool.name"
        ? attributes[second] ?? attributes["gen_ai.prompt.name"]
        : attributes[second]
      assert.strictEqual(
        name,
        [attributes[first], target].flatMap((part) => part === undefined ? [] : [part[1]]).join(" ")
      )
    }
  })

  it("has the convention's attributes alone, with their types", () => {
    for (const [operation, { attributes, convention: used, span }] of Object.entries(golden)) {
      for (const [name, [type]] of Object.entries(attributes)) {
        if (used === "loom" && (LOOMS.includes(name) || name.startsWith("llm."))) continue
        const key = name.startsWith("gen_ai.prompt.variable.") ? "gen_ai.prompt.variable" : name
        const declared = convention.attributes[key]
        assert.property(convention.spans[span].attributes, key, operation)
        const expected = declared.type === "template[string]"
          ? "string"
          : declared.type === "any"
          ? "json"
          : declared.type
        assert.strictEqual(type, expected, `${operation}: ${name}`)
        if (used === "latest") assert.isUndefined(declared.renamed, `${operation}: ${name}`)
        if (used === "loom") assert.isUndefined(declared.latest, `${operation}: ${name}`)
      }
    }
  })

  it("has every attribute that the convention knows for it", () => {
    for (const [key, span] of Object.entries(convention.spans)) {
      const rows = Object.values(golden).filter((row) => row.span === key)
      assert.isNotEmpty(rows, key)
      const written = new Set(
        rows.flatMap((row) => Object.keys(row.attributes)).map((name) =>
          name.startsWith("gen_ai.prompt.variable.") ? "gen_ai.prompt.variable" : name
        )
      )
      for (const name of Object.keys(span.attributes)) {
        // Of failures, which have a test of their own, and names that only the other convention has.
        if (name === "error.type" || name === "rpc.response.status_code") continue
        if (convention.attributes[name].renamed !== undefined && !rows.some((row) => row.convention === "loom")) {
          continue
        }
        assert.isTrue(written.has(name), `${key}: ${name}`)
      }
    }
  })
})
