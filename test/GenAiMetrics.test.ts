import { assert, describe, it } from "@effect/vitest"
import { Client, credentials } from "@grpc/grpc-js"
import { ExportResultCode } from "@opentelemetry/core"
import { ProtobufMetricsSerializer } from "@opentelemetry/otlp-transformer"
import { resourceFromAttributes } from "@opentelemetry/resources"
import type { PushMetricExporter } from "@opentelemetry/sdk-metrics"
import type { Sampler } from "@opentelemetry/sdk-trace-base"
import { ConfigProvider, Data, Effect, Layer, Logger, Metric, References, Stream } from "effect"
import { TestClock } from "effect/testing"
import {
  annotateLlmResponse,
  GenAiMetrics,
  type GenAiSettings,
  type LlmCallOptions,
  type LlmResponse,
  makeTracingLive,
  type McpSpanOptions,
  Tracing,
  withAgent,
  withAgentSpan,
  withCreateAgentSpan,
  withEmbeddingsSpan,
  withFetchResponseSpan,
  withLlmSpan,
  withLlmStreamSpan,
  withMcpSpan,
  withRetrievalSpan,
  withToolSpan,
  withWorkflowSpan
} from "loom-tracing"
import { readFileSync } from "node:fs"
import { makeMetrics } from "../src/internal/metrics.ts"
import * as OtlpReceiver from "./support/OtlpReceiver.ts"
import * as Recorder from "./support/Recorder.ts"

type Convention = GenAiSettings["convention"]

interface MetricDefinition {
  readonly instrument: "histogram" | "counter"
  readonly unit: string
  readonly buckets?: ReadonlyArray<number>
  readonly attributes: ReadonlyArray<string>
  readonly convention: Convention | "both"
}
const { metrics: definitions }: { readonly metrics: Readonly<Record<string, MetricDefinition>> } = JSON.parse(
  readFileSync(new URL("support/semconv-genai.json", import.meta.url), "utf8")
)

/** Sends metrics to a collector, as the live layer does. */
const makeExporter = (port: number): PushMetricExporter => {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure())
  return {
    export: (metrics, callback) => {
      client.makeUnaryRequest(
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes) => bytes,
        ProtobufMetricsSerializer.serializeRequest(metrics) ?? new Uint8Array(),
        (error) => callback({ code: error === null ? ExportResultCode.SUCCESS : ExportResultCode.FAILED })
      )
    },
    forceFlush: () => Promise.resolve(),
    shutdown: () => {
      client.close()
      return Promise.resolve()
    }
  }
}

/** Runs a program with metrics on and returns what a collector receives of them. */
const received = (
  effect: Effect.Effect<unknown, unknown>,
  options: Recorder.RecorderOptions = {}
): Effect.Effect<ReadonlyArray<OtlpReceiver.ReceivedMetric>> =>
  Effect.gen(function*() {
    const receiver = yield* OtlpReceiver.make()
    const { shutdown } = yield* makeMetrics({
      resource: resourceFromAttributes({ "service.name": "test" }),
      exporter: makeExporter(receiver.port),
      exportInterval: 60_000,
      exportTimeout: 5000
    })
    const recorder = Recorder.make(options)
    yield* effect.pipe(Effect.exit, Effect.provide(Layer.merge(recorder.layer, Layer.succeed(GenAiMetrics, true))))
    yield* Effect.promise(() => shutdown(5000))
    return receiver.metrics
  }).pipe(
    Effect.scoped,
    Effect.provideService(Metric.MetricRegistry, new Map())
  )

/** What was measured, by metric: the sum of each series and its attributes. */
const summarize = (
  metrics: ReadonlyArray<OtlpReceiver.ReceivedMetric>
): Readonly<Record<string, ReadonlyArray<Readonly<Record<string, unknown>>>>> =>
  Object.fromEntries(metrics.map((metric) => [
    metric.name,
    metric.points.map((point) => ({
      value: Number(metric.type === "histogram" ? point.sum : point.value),
      ...(metric.type === "histogram" ? { count: Number(point.count) } : undefined),
      ...point.attributes
    }))
  ]))

class Overloaded extends Data.TaggedError("Overloaded")<{}> {}

const call: LlmCallOptions = {
  provider: "openai",
  request: { model: "gpt-4o", temperature: 0.5 },
  server: { address: "api.openai.com", port: 443 },
  conversationId: "conv-1",
  input: "What is the capital of France?",
  attributes: { tenant: "acme" }
}
const response: LlmResponse = {
  id: "resp-1",
  model: "gpt-4o-2026",
  finishReasons: ["stop"],
  usage: {
    inputTokens: 120,
    outputTokens: 80,
    cacheReadInputTokens: 60,
    cacheWriteInputTokens: 20,
    reasoningOutputTokens: 30
  },
  usageByModality: { text: { inputTokens: 70, outputTokens: 80 }, image: { inputTokens: 30 } },
  output: "Paris"
}
const taking = <A, E>(seconds: number, self: Effect.Effect<A, E>) =>
  Effect.andThen(TestClock.adjust(`${seconds} seconds`), self)
const done = taking(0.5, Effect.succeed("Paris"))

const attributes = {
  "gen_ai.operation.name": "chat",
  "gen_ai.provider.name": "openai",
  "gen_ai.request.model": "gpt-4o",
  "server.address": "api.openai.com",
  "server.port": 443
}
const answered = { ...attributes, "gen_ai.response.model": "gpt-4o-2026" }

const prompt: McpSpanOptions<unknown> = {
  method: "prompts/get",
  prompt: "greeting",
  promptVariables: { city: "Paris" },
  requestId: "request-1",
  sessionId: "session-1",
  resourceUri: "file:///etc/hosts",
  protocolVersion: "2026-07-28",
  jsonRpcVersion: "2.0",
  network: { transport: "tcp", protocolName: "http", protocolVersion: "2" },
  peer: { address: "mcp.example.com", port: 443 },
  attributes: { tenant: "acme" }
}
const prompted = {
  "mcp.method.name": "prompts/get",
  "gen_ai.prompt.name": "greeting",
  "mcp.protocol.version": "2026-07-28",
  "network.transport": "tcp",
  "network.protocol.name": "http",
  "network.protocol.version": "2"
}

/** A program that does everything that is measured. */
const everything = Effect.gen(function*() {
  const chat = done.pipe(withLlmSpan({ ...call, response: () => response }))
  const failing = taking(2, Effect.fail(new Overloaded())).pipe(withLlmSpan(call), Effect.ignore)
  const stream = Stream.range(1, 4).pipe(
    Stream.rechunk(1),
    Stream.tap(() => TestClock.adjust("250 millis")),
    withLlmStreamSpan({
      ...call,
      fold: { initial: () => 0, step: (_, n) => n, response: (n) => ({ ...response, usage: { outputTokens: n } }) }
    }),
    Stream.runDrain
  )
  const tool = taking(1, Effect.succeed({ secret: 1 })).pipe(
    withToolSpan({ name: "lookup", type: "function", callId: "call-1", arguments: { city: "Paris" } })
  )
  yield* Effect.all([chat, failing, tool, stream]).pipe(
    withAgentSpan({ name: "tutor", request: { model: "gpt-4o" } }),
    withWorkflowSpan({ name: "report" })
  )
  yield* done.pipe(withAgentSpan({ name: "remote", provider: "openai", request: { model: "gpt-4o" }, remote: true }))
  yield* done.pipe(withEmbeddingsSpan({
    provider: "openai",
    request: { model: "embed" },
    response: () => ({ usage: { inputTokens: 5 } })
  }))
  yield* done.pipe(withRetrievalSpan({ dataSourceId: "handbook", query: "holidays" }))
  yield* done.pipe(withFetchResponseSpan({ provider: "openai", responseId: "resp-1", response: () => response }))
  yield* done.pipe(withMcpSpan(prompt))
  yield* taking(2, Effect.fail({ code: -32_602, message: "What is the capital of France?" })).pipe(
    withMcpSpan({ ...prompt, side: "server", jsonRpcVersion: "1.0" }),
    Effect.ignore
  )
})

const operations = [
  {
    value: 0.5,
    count: 1,
    "gen_ai.operation.name": "invoke_agent",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o"
  },
  {
    value: 0.5,
    count: 1,
    "gen_ai.operation.name": "embeddings",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "embed"
  },
  { value: 0.5, count: 1, "gen_ai.operation.name": "retrieval" },
  {
    value: 0.5,
    count: 1,
    "gen_ai.operation.name": "fetch_response",
    "gen_ai.provider.name": "openai",
    "gen_ai.response.model": "gpt-4o-2026"
  }
]
/** The successful call and the stream share a series. */
const durations = [
  { value: 1.5, count: 2, ...answered },
  { value: 2, count: 1, ...attributes, "error.type": "Overloaded" }
]
const shared = {
  "gen_ai.execute_tool.duration": [
    { value: 1, count: 1, "gen_ai.tool.name": "lookup", "gen_ai.tool.type": "function", "gen_ai.agent.name": "tutor" }
  ],
  "gen_ai.invoke_agent.inference_calls": [{ value: 3, count: 1, "gen_ai.agent.name": "tutor" }],
  "gen_ai.invoke_agent.tool_calls": [{ value: 1, count: 1, "gen_ai.agent.name": "tutor" }],
  "gen_ai.invoke_agent.duration": [
    { value: 4.5, count: 1, "gen_ai.agent.name": "tutor", "gen_ai.request.model": "gpt-4o" }
  ],
  "mcp.client.operation.duration": [
    { value: 0.5, count: 1, ...prompted, "server.address": "mcp.example.com", "server.port": 443 }
  ],
  "mcp.server.operation.duration": [
    {
      value: 2,
      count: 1,
      ...prompted,
      "jsonrpc.protocol.version": "1.0",
      "error.type": "-32602",
      "rpc.response.status_code": "-32602"
    }
  ]
}

const expected: Readonly<Record<Convention, Readonly<Record<string, ReadonlyArray<Record<string, unknown>>>>>> = {
  loom: {
    ...shared,
    "gen_ai.client.operation.duration": [...durations, ...operations],
    "gen_ai.client.token.usage": [
      { value: 120, count: 1, ...answered, "gen_ai.token.type": "input" },
      { value: 84, count: 2, ...answered, "gen_ai.token.type": "output" },
      {
        value: 5,
        count: 1,
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "embed",
        "gen_ai.token.type": "input"
      }
    ],
    "gen_ai.client.operation.time_to_first_chunk": [{ value: 0.25, count: 1, ...answered }],
    "gen_ai.client.operation.time_per_output_chunk": [{ value: 0.75, count: 3, ...attributes }],
    "gen_ai.workflow.duration": [{ value: 4.5, count: 1, "gen_ai.workflow.name": "report" }]
  },
  latest: {
    ...shared,
    "gen_ai.client.operation.duration": operations,
    "gen_ai.client.inference.duration": durations,
    "gen_ai.client.inference.time_to_first_chunk": [{ value: 0.25, count: 1, ...answered }],
    "gen_ai.client.inference.time_per_output_chunk": [{ value: 0.75, count: 3, ...attributes }],
    "gen_ai.client.inference.operation.input_tokens": [{ value: 120, count: 1, ...answered }],
    "gen_ai.client.inference.operation.output_tokens": [{ value: 84, count: 2, ...answered }],
    "gen_ai.client.inference.usage.input_tokens": [
      { value: 70, ...answered, "gen_ai.token.modality": "text" },
      { value: 30, ...answered, "gen_ai.token.modality": "image" },
      { value: 20, ...answered, "gen_ai.token.modality": "unknown" }
    ],
    "gen_ai.client.inference.usage.output_tokens": [
      { value: 80, ...answered, "gen_ai.token.modality": "text" },
      { value: 4, ...answered, "gen_ai.token.modality": "unknown" }
    ],
    "gen_ai.client.inference.usage.cache_read.input_tokens": [
      { value: 60, ...answered, "gen_ai.token.modality": "unknown" }
    ],
    "gen_ai.client.inference.usage.cache_write.input_tokens": [
      { value: 20, ...answered, "gen_ai.token.modality": "unknown" }
    ],
    "gen_ai.client.inference.usage.reasoning.output_tokens": [
      { value: 30, ...answered, "gen_ai.token.modality": "unknown" }
    ],
    "gen_ai.invoke_workflow.duration": [{ value: 4.5, count: 1, "gen_ai.workflow.name": "report" }]
  }
}

describe("GenAiMetrics", () => {
  it.effect("tokens are split by all that is told of an answer, and nothing is left of a total that is told in full", () =>
    Effect.gen(function*() {
      const metrics = yield* received(
        annotateLlmResponse({ usage: { inputTokens: 10 }, usageByModality: { text: { inputTokens: 7 } } }).pipe(
          Effect.andThen(annotateLlmResponse({ usageByModality: { image: { inputTokens: 3 } } })),
          withLlmSpan(call)
        ),
        { genAi: { convention: "latest" } }
      )
      assert.deepStrictEqual(summarize(metrics)["gen_ai.client.inference.usage.input_tokens"], [
        { value: 7, ...attributes, "gen_ai.token.modality": "text" },
        { value: 3, ...attributes, "gen_ai.token.modality": "image" }
      ])
    }))

  it.live("are exported as often as is asked for", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const jobs = Metric.counter("jobs")
      yield* Effect.gen(function*() {
        const { flush } = yield* Tracing
        for (let count = 0; count < 40; count++) {
          yield* Metric.update(jobs, 1)
          yield* flush
        }
        const values = receiver.metrics.filter(({ name }) => name === "jobs").map(({ points }) =>
          Number(points[0].value)
        )
        assert.deepStrictEqual(values, Array.from({ length: 40 }, (_, index) => index + 1))
      }).pipe(Effect.provide(
        makeTracingLive({ endpoint: receiver.url, metrics: true }).pipe(
          Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({})))
        )
      ))
    }).pipe(Effect.scoped, Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("a call is measured with what is told of its answer, also where its span could not be made", () =>
    Effect.gen(function*() {
      const sampler: Sampler = {
        shouldSample: () => {
          throw new Error("no decision")
        }
      }
      const metrics = yield* received(
        annotateLlmResponse(response).pipe(withLlmSpan(call), Effect.provide(Logger.layer([]))),
        { sampler, genAi: { convention: "latest" } }
      )
      assert.deepStrictEqual(summarize(metrics)["gen_ai.client.inference.operation.input_tokens"], [
        { value: 120, count: 1, ...answered }
      ])
    }))

  it.effect("an operation that is no inference is measured with the error that it has failed with", () =>
    Effect.gen(function*() {
      const metrics = yield* received(
        taking(0.5, Effect.fail(new Overloaded())).pipe(withRetrievalSpan({ dataSourceId: "docs" }), Effect.exit),
        {}
      )
      const [duration] = summarize(metrics)["gen_ai.client.operation.duration"]
      assert.deepInclude(duration, { "gen_ai.operation.name": "retrieval", "error.type": "Overloaded" })
    }))

  for (
    const { metric, name, wrap } of [
      { name: "an agent", wrap: withAgentSpan({ name: "a" }), metric: "gen_ai.invoke_agent.duration" },
      { name: "a workflow", wrap: withWorkflowSpan({ name: "w" }), metric: "gen_ai.workflow.duration" },
      {
        name: "the creation of an agent",
        wrap: withCreateAgentSpan({ provider: "openai" }),
        metric: "gen_ai.client.operation.duration"
      }
    ]
  ) {
    it.effect(`${name} is measured with the error that it has failed with`, () =>
      Effect.gen(function*() {
        const metrics = yield* received(taking(0.5, Effect.fail(new Overloaded())).pipe(wrap, Effect.exit))
        const [duration] = summarize(metrics)[metric]
        assert.deepInclude(duration, { value: 0.5, "error.type": "Overloaded" })
      }))
  }

  it.effect("an operation that is interrupted is measured without an error, whatever its span says", () =>
    Effect.gen(function*() {
      const metrics = yield* received(
        Effect.andThen(Effect.annotateCurrentSpan("error.type", "gone"), Effect.interrupt).pipe(
          withRetrievalSpan({ dataSourceId: "docs" }),
          Effect.exit
        ),
        {}
      )
      assert.notProperty(summarize(metrics)["gen_ai.client.operation.duration"][0], "error.type")
    }))

  it.effect("an operation is measured where spans have no times", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 hour")
      const metrics = yield* received(
        taking(0.5, Effect.void).pipe(
          withRetrievalSpan({ dataSourceId: "docs" }),
          Effect.provideService(References.TracerTimingEnabled, false)
        ),
        {}
      )
      assert.deepInclude(summarize(metrics)["gen_ai.client.operation.duration"][0], { value: 0.5, count: 1 })
    }))

  for (const convention of ["loom", "latest"] as const) {
    it.effect(`${convention}: a collector receives the convention's metrics, and nothing else of a call`, () =>
      Effect.gen(function*() {
        const metrics = yield* received(everything, { genAi: { convention } })
        const sorted = (summary: Readonly<Record<string, ReadonlyArray<Record<string, unknown>>>>) =>
          Object.fromEntries(
            Object.entries(summary).map(([name, series]) => [
              name,
              series.map((point) => JSON.stringify(Object.entries(point).sort())).sort()
            ])
          )
        assert.deepStrictEqual(sorted(summarize(metrics)), sorted(expected[convention]))
      }))

    it.effect(`${convention}: with the convention's instruments, units, buckets and attributes, all of them`, () =>
      Effect.gen(function*() {
        const metrics = yield* received(everything, { genAi: { convention } })
        const defined = Object.entries(definitions).filter(([, definition]) =>
          definition.convention === "both" || definition.convention === convention
        )
        assert.deepStrictEqual(metrics.map(({ name }) => name).sort(), defined.map(([name]) => name).sort())
        for (const metric of metrics) {
          const definition = definitions[metric.name]
          assert.strictEqual(metric.type, definition.instrument === "counter" ? "sum" : "histogram", metric.name)
          assert.strictEqual(metric.unit, definition.unit, metric.name)
          assert.notStrictEqual(metric.description, "", metric.name)
          assert.strictEqual(metric.scope.name, "loom-tracing", metric.name)
          if (metric.type === "sum") assert.isTrue(metric.isMonotonic, metric.name)
          for (const point of metric.points) {
            assert.deepStrictEqual(point.explicitBounds ?? [], definition.buckets ?? [], metric.name)
            for (const name of Object.keys(point.attributes)) assert.include(definition.attributes, name, metric.name)
            const port = point.attributeTypes["server.port"]
            assert.isTrue(port === undefined || port === "intValue")
          }
        }
      }))
  }

  it.effect("are recorded when the span is not sampled", () =>
    Effect.gen(function*() {
      const metrics = yield* received(everything, { env: { OTEL_TRACES_SAMPLER: "always_off" } })
      assert.deepStrictEqual(
        Object.keys(summarize(metrics)).sort(),
        Object.keys(expected.loom).sort()
      )
    }))

  it.effect("are off by default, and with tracing", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(everything)
      yield* everything.pipe(Effect.provideService(GenAiMetrics, true))
      assert.deepStrictEqual(yield* Metric.snapshot, [])
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("a value lands in the bucket whose upper bound it does not exceed", () =>
    Effect.gen(function*() {
      const metrics = yield* received(
        Effect.forEach(
          [1, 2, 4, 5, 8, 9],
          (inputTokens) => Effect.void.pipe(withLlmSpan({ ...call, response: () => ({ usage: { inputTokens } }) }))
        )
      )
      const point = metrics.find(({ name }) => name === "gen_ai.client.token.usage")?.points[0]
      assert.deepStrictEqual(point?.bucketCounts?.slice(0, 4).map(Number), [1, 2, 3, 0])
    }))

  it.effect("counts that are none are left out", () =>
    Effect.gen(function*() {
      const metrics = yield* received(
        Effect.forEach(
          [NaN, -1, 1.5, Infinity],
          (inputTokens) => Effect.void.pipe(withLlmSpan({ ...call, response: () => ({ usage: { inputTokens } }) }))
        ),
        { genAi: { convention: "latest" } }
      )
      assert.deepStrictEqual(metrics.map(({ name }) => name), ["gen_ai.client.inference.duration"])
    }))

  it.effect("an agent's calls are its own, not its sub-agents'", () =>
    Effect.gen(function*() {
      const chat = Effect.void.pipe(withLlmSpan(call))
      const sub = Effect.all([chat, chat, chat]).pipe(withAgentSpan({ name: "sub" }))
      const metrics = yield* received(Effect.all([chat, sub]).pipe(withAgentSpan({ name: "main" })))
      const calls = summarize(metrics)["gen_ai.invoke_agent.inference_calls"]
      assert.deepStrictEqual(calls.toSorted((a, b) => Number(a.value) - Number(b.value)), [
        { value: 1, count: 1, "gen_ai.agent.name": "main" },
        { value: 3, count: 1, "gen_ai.agent.name": "sub" }
      ])
    }))

  const mcpCall = Effect.void.pipe(withMcpSpan({ method: "tools/call", tool: "search" }))
  for (
    const [name, program, value] of [
      ["by MCP alone", mcpCall, 1],
      ["inside the span of the tool", mcpCall.pipe(withToolSpan({ name: "search" })), 1],
      ["inside another span in it", mcpCall.pipe(Effect.withSpan("between"), withToolSpan({ name: "search" })), 1],
      ["inside a tool of another name", mcpCall.pipe(withToolSpan({ name: "web__search" })), 1],
      ["twice", Effect.andThen(mcpCall, mcpCall), 2],
      ["a request for anything else is none", Effect.void.pipe(withMcpSpan({ method: "tools/list" })), 0],
      [
        "nor is one that is answered",
        Effect.void.pipe(withMcpSpan({ method: "tools/call", tool: "search", side: "server" })),
        0
      ],
      [
        "by an agent that is a tool of another one",
        Effect.andThen(mcpCall, mcpCall).pipe(withAgentSpan({ name: "main" }), withToolSpan({ name: "delegate" })),
        2
      ]
    ] as const
  ) {
    it.effect(`a tool call counts once: ${name}`, () =>
      Effect.gen(function*() {
        const metrics = yield* received(program.pipe(withAgentSpan({ name: "outer" })))
        const calls = summarize(metrics)["gen_ai.invoke_agent.tool_calls"]
        assert.deepStrictEqual(calls.map((point) => point.value).toSorted().at(-1), value)
      }))
  }

  const search = { method: "tools/call", tool: "search" } as const
  const searched = { "mcp.method.name": "tools/call", "gen_ai.operation.name": "execute_tool" }
  for (
    const [name, effect, error] of [
      ["that succeeds", done, {}],
      ["whose tool reports an error", taking(0.5, Effect.succeed({ isError: true })), { "error.type": "tool_error" }],
      ["that fails with a code", taking(0.5, Effect.fail({ code: -32_603 })), {
        "error.type": "-32603",
        "rpc.response.status_code": "-32603"
      }],
      ["that fails otherwise", taking(0.5, Effect.fail(new Overloaded())), { "error.type": "Overloaded" }]
    ] as ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>, object]>
  ) {
    it.effect(`an MCP request ${name} is measured, also inside the span of its tool`, () =>
      Effect.gen(function*() {
        const request = effect.pipe(withMcpSpan(search))
        const tool = request.pipe(withToolSpan({ name: "search" }))
        const metrics = yield* received(Effect.all([request, tool], { mode: "result" }))
        assert.deepStrictEqual(summarize(metrics)["mcp.client.operation.duration"], [
          { value: 1, count: 2, ...searched, "gen_ai.tool.name": "search", ...error }
        ])
      }))
  }

  it.effect("options that throw cost an MCP request its measurement, and nothing else", () =>
    Effect.gen(function*() {
      const options = {
        ...search,
        get network(): never {
          throw new Error("no")
        }
      }
      const results: Array<string> = []
      const metrics = yield* received(
        done.pipe(
          withMcpSpan(options),
          withToolSpan({ name: "search" }),
          Effect.map((result) => results.push(result))
        )
      )
      assert.deepStrictEqual(results, ["Paris"])
      assert.deepStrictEqual(metrics.map(({ name }) => name), ["gen_ai.execute_tool.duration"])
    }))

  it.effect("an agent that is named without a span is told apart too", () =>
    Effect.gen(function*() {
      const metrics = yield* received(Effect.void.pipe(withToolSpan({ name: "t" }), withAgent("researcher")))
      assert.strictEqual(
        summarize(metrics)["gen_ai.execute_tool.duration"][0]["gen_ai.agent.name"],
        "researcher"
      )
    }))

  it.effect("leave the program's own metrics as they are, but for their units", () =>
    Effect.gen(function*() {
      const metrics = yield* received(
        Effect.andThen(
          Metric.update(
            Metric.counter("jobs", { attributes: { queue: "a", "server.port": "http", unit: "{job}" } }),
            2
          ),
          Effect.void.pipe(withToolSpan({ name: "t" }))
        )
      )
      const jobs = metrics.find(({ name }) => name === "jobs")
      assert.strictEqual(jobs?.scope.name, "@effect/opentelemetry/Metrics")
      assert.strictEqual(jobs?.unit, "{job}")
      assert.deepStrictEqual(jobs?.points.map(({ attributes, value }) => ({ attributes, value })), [
        { attributes: { queue: "a", "server.port": "http" }, value: 2 }
      ])
      assert.deepStrictEqual(metrics.find(({ name }) => name !== "jobs")?.resource, { "service.name": "test" })
    }))
})
