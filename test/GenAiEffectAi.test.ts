import { OtelTracer } from "@effect/opentelemetry"
import { assert, describe, it } from "@effect/vitest"
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node"
import {
  Cause,
  ConfigProvider,
  Deferred,
  Effect,
  Exit,
  Fiber,
  identity,
  Layer,
  Metric,
  Result,
  Schema,
  Stream,
  type Tracer
} from "effect"
import {
  type AiError,
  Chat,
  Decision,
  DecisionModel,
  EmbeddingModel,
  LanguageModel,
  Model,
  type Prompt,
  type Response,
  Telemetry,
  Tool,
  Toolkit
} from "effect/ai"
import { TestClock } from "effect/testing"
import {
  annotateLlmResponse,
  GenAiMetrics,
  type GenAiSettings,
  makeTracingLive,
  sensitive,
  TracingNoop,
  withAgentSpan,
  withLlmSpan,
  withLlmStreamSpan,
  withMcpSpan,
  withToolSpan
} from "loom-tracing"
import { type EffectAiOptions, withEffectAiSpans, withToolkitSpans } from "loom-tracing/GenAiEffectAi"
import { type FinishedSpan, TracingTest } from "loom-tracing/TracingTest"
import OpenAI from "openai"
import * as ForeignTracer from "./support/ForeignTracer.ts"
import * as LlmServer from "./support/LlmServer.ts"
import * as OpenAiLanguageModel from "./support/OpenAiLanguageModel.ts"
import * as OtlpReceiver from "./support/OtlpReceiver.ts"

const gpt = { provider: "openai", request: { model: "gpt-4o" } } as const

const Weather = Tool.make("weather", {
  description: "The weather in a city",
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.Struct({ celsius: Schema.Number })
})
const WeatherTools = Toolkit.make(Weather)
const weatherLayer = (handler: Effect.Effect<{ readonly celsius: number }> = Effect.succeed({ celsius: 21 })) =>
  WeatherTools.toLayer({ weather: () => handler })

/** Models on a real server, which answers "hello" by "Hi there!", and "weather" by a tool and then by "21 degrees". */
const makeModels = Effect.gen(function*() {
  const server = yield* LlmServer.make
  const client = new OpenAI({ apiKey: "none", baseURL: server.openAiBaseUrl, maxRetries: 0 })
  yield* server.on({ userMessage: "hello" }, { id: "r1", content: "Hi there!", usage: LlmServer.usage(8, 3) })
  yield* server.onToolRound({
    prompt: "weather",
    tool: "weather",
    arguments: { city: "Paris" },
    answer: "21 degrees",
    usage: [[10, 5], [20, 8]]
  })
  yield* server.on({ userMessage: "person" }, { id: "r2", content: `{"name":"Ada"}`, usage: LlmServer.usage(9, 4) })
  const { port } = new URL(server.url)
  return {
    server,
    client,
    at: { "server.address": "127.0.0.1", "server.port": Number(port) },
    layer: OpenAiLanguageModel.layer({ client, model: "gpt-4o", temperature: 0.5 }).pipe(
      withEffectAiSpans({ ...gpt, baseURL: client.baseURL })
    ),
    layerEmbedding: OpenAiLanguageModel.layerEmbedding({ client, model: "embed-3" }).pipe(
      withEffectAiSpans({ provider: "openai", request: { model: "embed-3" }, baseURL: client.baseURL })
    )
  }
})

interface Recorded<A, E> {
  readonly exit: Exit.Exit<A, E>
  readonly spans: ReadonlyArray<FinishedSpan>
  /** The only span of that name. */
  readonly span: (name: string) => FinishedSpan
  /** Name and parent of each span, in the order of their start. */
  readonly tree: string
}

/** Runs a program with its spans recorded. All of them have ended, and none of ours goes against the conventions. */
const recorded = <A, E>(
  program: Effect.Effect<A, E>,
  genAi: Partial<GenAiSettings> = {}
): Effect.Effect<Recorded<A, E>> =>
  Effect.gen(function*() {
    const tracing = yield* TracingTest
    const exit = yield* Effect.exit(program)
    // What the program has left to fibers of its own may take some turns more.
    for (let turns = 0; turns < 100 && (yield* tracing.open).length > 0; turns++) yield* Effect.yieldNow
    assert.deepStrictEqual(yield* tracing.open, [])
    const violations = yield* tracing.conventionViolations
    assert.deepStrictEqual(violations.filter(({ span }) => !span.startsWith("LanguageModel.")), [])
    const spans = yield* tracing.spans
    return {
      exit,
      spans,
      span: (name: string) => {
        const found = spans.filter((span) => span.name === name)
        assert.strictEqual(found.length, 1, `spans named "${name}" among: ${spans.map((span) => span.name).join(", ")}`)
        return found[0]
      },
      tree: yield* tracing.tree
    }
  }).pipe(Effect.provide(TracingTest.layerWith({ genAi })))

const latest = { convention: "latest" } as const

const generate = (prompt: Prompt.RawInput) => LanguageModel.generateText({ prompt })

const noUsage = {
  inputTokens: { total: undefined, uncached: undefined, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: undefined, text: undefined, reasoning: undefined }
}
const finish = (reason: Response.FinishReason = "stop") => ({ type: "finish", reason, usage: noUsage }) as const
const callOf = (city: string) => ({ type: "tool-call", id: "call_1", name: "weather", params: { city } }) as const

/** A model that is part of the test, for what is a matter of time or of failure. */
const modelOf = (
  parts: Effect.Effect<Array<Response.PartEncoded>, AiError.AiError>,
  stream: Stream.Stream<Response.StreamPartEncoded, AiError.AiError> = Stream.die("not asked for")
) => LanguageModel.make({ generateText: () => parts, streamText: () => stream })

const layerOf = (...parts: Parameters<typeof modelOf>) =>
  Layer.effect(LanguageModel.LanguageModel, modelOf(...parts)).pipe(withEffectAiSpans(gpt))

class NoSuchCity extends Schema.TaggedError<NoSuchCity>()("NoSuchCity", { city: Schema.String }) {}

/** The tree of spans that have one child each. Model calls are of the kind client. */
const nested = (names: ReadonlyArray<string>): string =>
  names.map((name, depth) =>
    "  ".repeat(depth) + name + (/^(chat|llm|embeddings|generate_content)/.test(name) ? " [client]" : "")
  ).join(
    "\n"
  )

describe("withEffectAiSpans", () => {
  const Person = Schema.Struct({ name: Schema.String }).annotate({ identifier: "Person" })
  const hello = { "gen_ai.response.id": "r1", "gen_ai.usage.input_tokens": 8, "gen_ai.usage.output_tokens": 3 }
  const text = (parts: Stream.Stream<Response.AnyPart, AiError.AiError, LanguageModel.LanguageModel>) =>
    parts.pipe(Stream.map((part) => part.type === "text-delta" ? part.delta : ""), Stream.mkString)

  for (
    const { attributes, name, program, result, spans } of [
      {
        name: "generateText",
        program: Effect.map(generate("hello"), (response): unknown => response.text),
        result: "Hi there!",
        attributes: { ...hello, "gen_ai.output.type": "text" },
        spans: ["program", "chat gpt-4o"]
      },
      {
        name: "generateObject",
        program: Effect.map(
          LanguageModel.generateObject({ prompt: "person", schema: Person }),
          (response) => response.value
        ),
        result: { name: "Ada" },
        attributes: {
          "gen_ai.output.type": "json",
          "gen_ai.response.id": "r2",
          "gen_ai.usage.input_tokens": 9,
          "gen_ai.usage.output_tokens": 4,
          "effect.ai.object_name": "Person"
        },
        spans: ["program", "chat gpt-4o"]
      },
      {
        name: "streamText",
        program: text(LanguageModel.streamText({ prompt: "hello" })),
        result: "Hi there!",
        attributes: {
          ...hello,
          "gen_ai.output.type": "text",
          "gen_ai.request.stream": true,
          "gen_ai.response.time_to_first_chunk": 0
        },
        spans: ["program", "chat gpt-4o"]
      },
      {
        name: "a Chat",
        program: Effect.flatMap(
          Chat.empty,
          (chat) => Effect.map(chat.generateText({ prompt: "hello" }), (response) => response.text)
        ),
        result: "Hi there!",
        attributes: { ...hello, "gen_ai.output.type": "text" },
        spans: ["program", "Chat.generateText", "chat gpt-4o"]
      }
    ]
  ) {
    it.effect(`${name}: one span for the call, as the convention has it, in the place of Effect's`, () =>
      Effect.gen(function*() {
        const { layer, server } = yield* makeModels
        const { exit, span, tree } = yield* recorded(
          program.pipe(Effect.withSpan("program"), Effect.provide(layer)),
          latest
        )
        assert.deepStrictEqual(exit, Exit.succeed(result))
        assert.strictEqual(tree, nested(spans))
        const { attributes: actual, kind, status } = span("chat gpt-4o")
        assert.deepStrictEqual(actual, {
          "gen_ai.operation.name": "chat",
          "gen_ai.provider.name": "openai",
          "gen_ai.request.model": "gpt-4o",
          "server.address": "127.0.0.1",
          "server.port": Number(new URL(server.url).port),
          "gen_ai.response.model": "gpt-4o",
          "gen_ai.response.finish_reasons": ["stop"],
          ...attributes,
          // What the provider's package and Effect write on a span of theirs.
          "gen_ai.request.temperature": 0.5,
          "effect.ai.tool_choice": "auto",
          "effect.ai.concurrency": "unbounded"
        })
        assert.strictEqual(kind, "client")
        assert.deepStrictEqual(status, { code: "unset" })
      }))
  }

  it.effect("keeps the types of the layer and of the program, piped, stored and data-first", () =>
    Effect.gen(function*() {
      const layer: Layer.Layer<LanguageModel.LanguageModel, "unreachable", Tracer.ParentSpan> = Layer.effect(
        LanguageModel.LanguageModel,
        Effect.andThen(Effect.currentParentSpan, modelOf(Effect.succeed([{ type: "text", text: "Hi" }, finish()])))
      ).pipe(Layer.catchCause(() => Layer.effect(LanguageModel.LanguageModel, Effect.fail("unreachable" as const))))
      const stored = withEffectAiSpans(gpt)
      const layers: ReadonlyArray<typeof layer> = [
        layer.pipe(withEffectAiSpans()),
        stored(layer),
        withEffectAiSpans(layer),
        withEffectAiSpans(layer, gpt)
      ]
      const program: Effect.Effect<string, AiError.AiError, LanguageModel.LanguageModel> = Effect.map(
        generate("hello"),
        (response) => response.text
      )
      for (const layer of layers) {
        const { exit, spans } = yield* recorded(program.pipe(Effect.provide(layer), Effect.withSpan("program")))
        assert.deepStrictEqual(exit, Exit.succeed("Hi"))
        assert.deepStrictEqual(spans.map((span) => span.name), ["llm.call", "program"])
      }
    }))

  it.effect("what the provider's package does belongs to the span of the call", () =>
    Effect.gen(function*() {
      const parts = Effect.gen(function*() {
        const current = yield* Effect.currentSpan
        yield* Effect.annotateCurrentSpan("by.package", current.name)
        yield* Effect.log("asking")
        yield* Effect.void.pipe(Effect.withSpan("http.client POST"))
        yield* annotateLlmResponse({ compacted: true })
        return [{ type: "text", text: "Hi" } as const, finish()]
      }).pipe(Effect.orDie)
      const stream = Stream.fromEffect(Effect.as(parts, finish()))
      for (const program of [generate("hello"), Stream.runDrain(LanguageModel.streamText({ prompt: "hello" }))]) {
        const { span, tree } = yield* recorded(program.pipe(Effect.provide(layerOf(parts, stream))))
        assert.strictEqual(tree, nested(["llm.call", "http.client POST"]))
        const { attributes, events } = span("llm.call")
        assert.strictEqual(attributes["by.package"], "llm.call")
        assert.strictEqual(attributes["gen_ai.conversation.compacted"], true)
        assert.deepStrictEqual(events.map((event) => event.name), ["asking"])
      }
    }))

  it.effect("a CurrentSpanTransformer of the program's gets the span of the call", () =>
    Effect.gen(function*() {
      const { span } = yield* recorded(
        generate("hello").pipe(
          Effect.provide(layerOf(Effect.succeed([{ type: "text", text: "Hi" }, finish()]))),
          Effect.provideService(Telemetry.CurrentSpanTransformer, ({ response, span }) => {
            span.attribute("parts", response.length)
          })
        )
      )
      assert.strictEqual(span("llm.call").attributes["parts"], 2)
    }))

  describe("names provider and model", () => {
    const parts = ({ span }: LanguageModel.ProviderOptions): Effect.Effect<Array<Response.PartEncoded>> =>
      Effect.sync(() => {
        Telemetry.addGenAIAnnotations(span, { provider: { name: "openai" }, request: { model: "gpt-4o-mini" } })
        return [{ type: "text", text: "Hi" }, finish()]
      })
    const silent = () => Effect.succeed([{ type: "text", text: "Hi" } as const, finish()])
    const groq = "https://api.groq.com/openai/v1"
    const unnamed = (generateText: typeof parts, options?: EffectAiOptions) =>
      Layer.effect(
        LanguageModel.LanguageModel,
        LanguageModel.make({ generateText, streamText: () => Stream.die("not asked for") })
      ).pipe(withEffectAiSpans(options))
    const named = (provider: string, model: string, generateText: typeof parts, options?: EffectAiOptions) =>
      Model.make(
        provider,
        model,
        Layer.effect(
          LanguageModel.LanguageModel,
          LanguageModel.make({ generateText, streamText: () => Stream.die("not asked for") })
        )
      ).pipe(withEffectAiSpans(options))

    for (
      const { expected, layer, name } of [
        { name: "as a Model of Effect's does", layer: named("openai", "gpt-5", silent), expected: ["openai", "gpt-5"] },
        {
          name: "in the words of the convention",
          layer: named("amazon-bedrock", "nova", silent),
          expected: ["aws.bedrock", "nova"]
        },
        {
          name: "as the options do, whatever the Model says",
          layer: named("openai", "gpt-5", silent, { provider: "groq", request: { model: "llama" } }),
          expected: ["groq", "llama"]
        },
        {
          name: "by the address of the server",
          layer: named("openai", "llama", silent, { baseURL: groq }),
          expected: ["groq", "llama"]
        },
        {
          name: "by the server that is given, which beats a URL",
          layer: named("openai", "llama", silent, { baseURL: groq, server: { address: "api.mistral.ai", port: 443 } }),
          expected: ["mistral_ai", "llama"]
        },
        {
          name: "as the package does, which has the last word on the model",
          layer: unnamed(parts, { request: { model: "gpt-4o" } }),
          expected: ["openai", "gpt-4o-mini"]
        },
        {
          name: "but not as the package does where the provider is another one",
          layer: unnamed(parts, { baseURL: groq, request: { model: "gpt-4o" } }),
          expected: ["groq", "gpt-4o-mini"]
        },
        { name: "as unknown if nobody does", layer: unnamed(silent), expected: ["unknown", "unknown"] }
      ]
    ) {
      it.effect(name, () =>
        Effect.gen(function*() {
          const registry = new Map()
          const { span } = yield* recorded(
            generate("hello").pipe(
              Effect.provide(layer),
              Effect.provideService(GenAiMetrics, true),
              Effect.provideService(Metric.MetricRegistry, registry)
            )
          )
          const [duration] = yield* Effect.provideService(Metric.snapshot, Metric.MetricRegistry, registry)
          for (const { attributes } of [span("llm.call"), duration]) {
            assert.deepStrictEqual(
              [attributes?.["gen_ai.provider.name"], attributes?.["gen_ai.request.model"]],
              expected
            )
          }
        }))
    }
  })

  for (const convention of ["loom", "latest"] as const) {
    it.effect(`counts cached input and reasoning under ${convention}`, () =>
      Effect.gen(function*() {
        const parts = Effect.succeed([
          { type: "text", text: "Hi" } as const,
          {
            ...finish(),
            usage: {
              inputTokens: { total: undefined, uncached: 10, cacheRead: 80, cacheWrite: 10 },
              outputTokens: { total: 50, text: 20, reasoning: 30 }
            }
          }
        ])
        const { spans } = yield* recorded(generate("hello").pipe(Effect.provide(layerOf(parts))), { convention })
        const usage = Object.entries(spans[0].attributes).filter(([key]) => key.startsWith("gen_ai.usage."))
        assert.deepStrictEqual(Object.fromEntries(usage), {
          "gen_ai.usage.input_tokens": 100,
          "gen_ai.usage.output_tokens": 50,
          "gen_ai.usage.cache_read.input_tokens": 80,
          [`gen_ai.usage.cache_${convention === "loom" ? "creation" : "write"}.input_tokens`]: 10,
          [`gen_ai.usage.reasoning.output_tokens`]: 30
        })
      }))
  }

  it.effect("makes one span where a layer or a toolkit is traced twice", () =>
    Effect.gen(function*() {
      const { layer } = yield* makeModels
      const program = Effect.gen(function*() {
        const toolkit = withToolkitSpans(withToolkitSpans(yield* WeatherTools))
        yield* LanguageModel.generateText({ prompt: "weather", toolkit })
      }).pipe(Effect.withSpan("program"))
      const { tree } = yield* recorded(
        program.pipe(Effect.provide([layer.pipe(withEffectAiSpans({ provider: "other" })), weatherLayer()]))
      )
      assert.strictEqual(tree, ["program", "  llm.call [client]", "  execute_tool weather"].join("\n"))
    }))
})

describe("the tools of a call", () => {
  const methods = {
    generateText: (prompt: string) => LanguageModel.generateText({ prompt, toolkit: WeatherTools }),
    streamText: (prompt: string) => Stream.runDrain(LanguageModel.streamText({ prompt, toolkit: WeatherTools }))
  }

  for (const [method, ask] of Object.entries(methods)) {
    it.effect(`${method}: run in spans of their own beside the call`, () =>
      Effect.gen(function*() {
        const { layer } = yield* makeModels
        const handler = Effect.succeed({ celsius: 21 }).pipe(
          Effect.withSpan("http.client GET"),
          Effect.tap(() => Effect.annotateCurrentSpan({ tool: "of the handler's", parameters: "of the handler's" }))
        )
        const { span, tree } = yield* recorded(
          ask("weather").pipe(
            withAgentSpan({ name: "assistant" }),
            Effect.provide([layer, weatherLayer(handler)])
          ),
          latest
        )
        assert.strictEqual(
          tree,
          ["invoke_agent assistant", "  chat gpt-4o [client]", "  execute_tool weather", "    http.client GET"]
            .join("\n")
        )
        const { attributes, kind } = span("execute_tool weather")
        assert.strictEqual(kind, "internal")
        assert.deepStrictEqual(attributes, {
          "gen_ai.operation.name": "execute_tool",
          "gen_ai.tool.name": "weather",
          "gen_ai.tool.type": "function",
          "gen_ai.tool.call.id": "call_1",
          "gen_ai.tool.description": "The weather in a city",
          "gen_ai.agent.name": "assistant",
          "tool": "of the handler's",
          "parameters": "of the handler's"
        })
        const chat = span("chat gpt-4o").attributes
        assert.deepStrictEqual(chat["gen_ai.response.finish_reasons"], ["tool-calls"])
        assert.strictEqual(chat["gen_ai.usage.input_tokens"], 10)
        assert.notProperty(chat, "parameters")
      }))

    it.effect(`${method}: belong to the trace of the call that nothing is around`, () =>
      Effect.gen(function*() {
        const { layer } = yield* makeModels
        const { tree } = yield* recorded(ask("weather").pipe(Effect.provide([layer, weatherLayer()])))
        assert.strictEqual(tree, ["llm.call [client]", "  execute_tool weather"].join("\n"))
      }))

    it.effect(`${method}: are no part of the call's time`, () =>
      Effect.gen(function*() {
        const layer = layerOf(
          Effect.as(TestClock.adjust("2 seconds"), [callOf("Paris"), finish("tool-calls")]),
          Stream.make({ type: "text-start", id: "1" } as const, callOf("Paris"), finish("tool-calls")).pipe(
            Stream.rechunk(1),
            Stream.tap((part) => part.type === "tool-call" ? TestClock.adjust("2 seconds") : Effect.void)
          )
        )
        const tools = weatherLayer(Effect.as(TestClock.adjust("5 seconds"), { celsius: 21 }))
        const registry = new Map()
        const { span } = yield* recorded(
          ask("weather").pipe(
            Effect.withSpan("program"),
            Effect.provide([layer, tools]),
            Effect.provideService(GenAiMetrics, true),
            Effect.provideService(Metric.MetricRegistry, registry)
          ),
          latest
        )
        assert.deepStrictEqual(
          ["program", "chat gpt-4o", "execute_tool weather"].map(span).map((
            { duration, name, start }
          ) => [name, start, duration]),
          [["program", 0, 7000], ["chat gpt-4o", 0, 2000], ["execute_tool weather", 2000, 5000]]
        )
        const metrics = yield* Effect.provideService(Metric.snapshot, Metric.MetricRegistry, registry)
        assert.deepStrictEqual(
          metrics.flatMap(({ id, state, type }) =>
            type === "Histogram" && id.endsWith(".duration") ? [[id, state.sum]] : []
          ),
          [["gen_ai.execute_tool.duration", 5], ["gen_ai.client.inference.duration", 2]]
        )
      }))

    const failures = [
      { name: "fails", city: "Atlantis", failureMode: "error", error: "NoSuchCity" },
      { name: "gives its failure to the model", city: "Atlantis", failureMode: "return", error: "NoSuchCity" },
      { name: "is asked for what it cannot do", city: 1, failureMode: "error", error: "ToolParameterValidationError" },
      {
        name: "is asked for what it cannot do, and says so to the model",
        city: 1,
        failureMode: "return",
        error: "ToolParameterValidationError"
      }
    ] as const
    for (const { city, error, failureMode, name } of failures) {
      it.effect(`${method}: a tool that ${name} has the error, and the call has not`, () =>
        Effect.gen(function*() {
          const tools = Toolkit.make(
            Tool.make("weather", {
              parameters: Schema.Struct({ city: Schema.String }),
              success: Schema.Struct({ celsius: Schema.Number }),
              failure: NoSuchCity,
              failureMode
            })
          )
          const parts = [
            { type: "response-metadata", id: "r1" } as const,
            { ...callOf(""), params: { city } },
            finish("tool-calls")
          ]
          const program = method === "generateText"
            ? Effect.asVoid(LanguageModel.generateText({ prompt: "hello", toolkit: tools }))
            : Stream.runDrain(LanguageModel.streamText({ prompt: "hello", toolkit: tools }))
          const { exit, span } = yield* recorded(
            program.pipe(
              Effect.provide([
                layerOf(Effect.succeed(parts), Stream.fromIterable(parts)),
                tools.toLayer({ weather: ({ city }) => Effect.fail(new NoSuchCity({ city })) })
              ])
            )
          )
          assert.strictEqual(exit._tag, failureMode === "error" ? "Failure" : "Success")
          const tool = span("execute_tool weather")
          assert.strictEqual(tool.attributes["error.type"], error)
          assert.deepStrictEqual(tool.status, { code: "error" })
          const call = span("llm.call")
          assert.deepStrictEqual(call.status, { code: "unset" })
          assert.notProperty(call.attributes, "error.type")
        }))
    }

    it.effect(`${method}: a tool that is interrupted says so`, () =>
      Effect.gen(function*() {
        const started = yield* Deferred.make<void>()
        const parts = [callOf("Paris"), finish("tool-calls")] as const
        const layer = layerOf(Effect.succeed([...parts]), Stream.fromIterable(parts))
        const { exit, span } = yield* recorded(
          Effect.gen(function*() {
            const fiber = yield* Effect.forkChild(ask("weather"))
            yield* Deferred.await(started)
            yield* Fiber.interrupt(fiber)
          }).pipe(
            Effect.provide([layer, weatherLayer(Effect.andThen(Deferred.succeed(started, undefined), Effect.never))])
          )
        )
        assert.isTrue(Exit.isSuccess(exit))
        assert.strictEqual(span("execute_tool weather").attributes["effect.fiber.interrupted"], true)
        const { attributes, status } = span("llm.call")
        assert.deepStrictEqual(status, { code: "unset" })
        assert.notProperty(attributes, "effect.fiber.interrupted")
      }))
  }

  const slowAndBroken = Toolkit.make(
    Tool.make("slow", { success: Schema.String }),
    Tool.make("broken", { success: Schema.String, failure: NoSuchCity })
  )
  const both = ["slow", "broken"].map((name) => ({ type: "tool-call", id: name, name, params: {} }) as const)
  const parallel = {
    generateText: Effect.asVoid(LanguageModel.generateText({ prompt: "hello", toolkit: slowAndBroken })),
    streamText: Stream.runDrain(LanguageModel.streamText({ prompt: "hello", toolkit: slowAndBroken }))
  }
  for (const [method, ask] of Object.entries(parallel)) {
    it.effect(`${method}: a tool that is interrupted by the failure of another one has not failed`, () =>
      Effect.gen(function*() {
        const started = yield* Deferred.make<void>()
        const parts = [...both, finish("tool-calls")]
        const registry = new Map()
        const { exit, span } = yield* recorded(
          ask.pipe(
            Effect.provide([
              layerOf(Effect.succeed(parts), Stream.fromIterable(parts)),
              slowAndBroken.toLayer({
                slow: () => Effect.andThen(Deferred.succeed(started, undefined), Effect.never),
                broken: () => Effect.andThen(Deferred.await(started), Effect.fail(new NoSuchCity({ city: "Atlantis" })))
              })
            ]),
            Effect.provideService(GenAiMetrics, true),
            Effect.provideService(Metric.MetricRegistry, registry)
          )
        )
        assert.isTrue(Exit.isFailure(exit))
        const { attributes, status } = span("execute_tool slow")
        assert.deepStrictEqual(status, { code: "unset" })
        assert.strictEqual(attributes["effect.fiber.interrupted"], true)
        assert.notProperty(attributes, "error.type")
        assert.strictEqual(span("execute_tool broken").attributes["error.type"], "NoSuchCity")
        assert.deepStrictEqual(span("llm.call").status, { code: "unset" })
        const metrics = yield* Effect.provideService(Metric.snapshot, Metric.MetricRegistry, registry)
        assert.sameDeepMembers(
          metrics.filter(({ id }) => id === "gen_ai.execute_tool.duration").map(({ attributes }) => [
            attributes?.["gen_ai.tool.name"],
            attributes?.["error.type"]
          ]),
          [["broken", "NoSuchCity"], ["slow", undefined]]
        )
      }))
  }

  it.effect("run while the model goes on to stream, whose time that is", () =>
    Effect.gen(function*() {
      const streamed = yield* Deferred.make<void>()
      const delta = { type: "text-delta", id: "1", delta: "Hm" } as const
      const stream = Stream.make({ type: "text-start", id: "1" } as const, callOf("Paris"), delta, delta).pipe(
        Stream.rechunk(1),
        Stream.tap(() => TestClock.adjust("1 second")),
        Stream.concat(Stream.fromEffect(Effect.as(Deferred.succeed(streamed, undefined), finish("tool-calls"))))
      )
      const handler = Deferred.await(streamed).pipe(
        Effect.andThen(TestClock.adjust("5 seconds")),
        Effect.as({ celsius: 21 })
      )
      const { span } = yield* recorded(
        Stream.runDrain(LanguageModel.streamText({ prompt: "weather", toolkit: WeatherTools })).pipe(
          Effect.provide([layerOf(Effect.die("not asked for"), stream), weatherLayer(handler)])
        )
      )
      assert.strictEqual(span("llm.call").duration, 4000)
      assert.strictEqual(span("execute_tool weather").end, 9000)
    }))

  it.effect("a tool that has waited for an approval runs before the model is asked", () =>
    Effect.gen(function*() {
      const tools = Toolkit.make(Weather.setNeedsApproval(true))
      const parts = Effect.as(TestClock.adjust("2 seconds"), [{ type: "text", text: "21 degrees" } as const, finish()])
      const { exit, span } = yield* recorded(
        LanguageModel.generateText({
          toolkit: tools,
          prompt: [
            { role: "user", content: "weather" },
            {
              role: "assistant",
              content: [callOf("Paris"), { type: "tool-approval-request", approvalId: "a1", toolCallId: "call_1" }]
            },
            { role: "tool", content: [{ type: "tool-approval-response", approvalId: "a1", approved: true }] }
          ]
        }).pipe(
          Effect.provide([
            layerOf(parts),
            tools.toLayer({ weather: () => Effect.as(TestClock.adjust("5 seconds"), { celsius: 21 }) })
          ])
        )
      )
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(span("execute_tool weather").duration, 5000)
      assert.strictEqual(span("llm.tool_continuation").duration, 7000)
    }))

  it.effect("a call that goes on with the results of tools is a continuation, in Loom's words", () =>
    Effect.gen(function*() {
      const { layer } = yield* makeModels
      const { exit, span, tree } = yield* recorded(
        Effect.gen(function*() {
          const chat = yield* Chat.empty
          yield* chat.generateText({ prompt: "weather", toolkit: WeatherTools })
          return (yield* chat.generateText({ prompt: [], toolkit: WeatherTools })).text
        }).pipe(Effect.withSpan("program"), Effect.provide([layer, weatherLayer()]))
      )
      assert.deepStrictEqual(exit, Exit.succeed("21 degrees"))
      assert.strictEqual(
        tree,
        [
          "program",
          "  Chat.generateText",
          "    llm.call [client]",
          "    execute_tool weather",
          "  Chat.generateText",
          "    llm.tool_continuation [client]"
        ].join("\n")
      )
      assert.strictEqual(span("llm.tool_continuation").attributes["llm.tool_round"], 1)
    }))

  it.effect("a model that a tool asks in turn is traced as any other", () =>
    Effect.gen(function*() {
      const { client, layer } = yield* makeModels
      const untraced = OpenAiLanguageModel.layer({ client, model: "gpt-4o" })
      const handler = (model: typeof layer) =>
        generate("hello").pipe(Effect.as({ celsius: 21 }), Effect.provide(model), Effect.orDie)
      const ask = (model: typeof layer) =>
        LanguageModel.generateText({ prompt: "weather", toolkit: WeatherTools }).pipe(
          Effect.withSpan("program"),
          Effect.provide([layer, weatherLayer(handler(model))])
        )
      const below = (name: string) =>
        ["program", "  llm.call [client]", "  execute_tool weather", `    ${name} [client]`].join("\n")
      assert.strictEqual((yield* recorded(ask(layer))).tree, below("llm.call"))
      assert.strictEqual((yield* recorded(ask(untraced))).tree, below("LanguageModel.generateText"))
    }))
})

describe("a call that does not come to its end", () => {
  it.effect.each([
    { status: 401, error: "AuthenticationError" },
    { status: 429, error: "RateLimitError" },
    { status: 500, error: "InternalProviderError" }
  ])("$status: $error, whose message is not recorded", ({ error, status }) =>
    Effect.gen(function*() {
      const { layer, server } = yield* makeModels
      yield* server.on({ userMessage: "refused" }, LlmServer.failure(status, "hands off"))
      const stream = Stream.runDrain(LanguageModel.streamText({ prompt: "refused" }))
      for (const program of [Effect.asVoid(generate("refused")), stream]) {
        const { exit, spans } = yield* recorded(program.pipe(Effect.withSpan("program"), Effect.provide(layer)))
        assert.isTrue(Exit.isFailure(exit) && Cause.pretty(exit.cause).includes(error))
        assert.deepStrictEqual(
          spans.map((span) => [span.name, span.attributes["error.type"], span.status]),
          [["llm.call", error, { code: "error" }], ["program", error, { code: "error" }]]
        )
        assert.notInclude(JSON.stringify(spans), "hands off")
      }
    }))

  it.effect("an answer that is not what was asked for", () =>
    Effect.gen(function*() {
      const { layer } = yield* makeModels
      const { span } = yield* recorded(
        LanguageModel.generateObject({ prompt: "hello", schema: Schema.Struct({ name: Schema.String }) }).pipe(
          Effect.provide(layer)
        )
      )
      assert.strictEqual(span("llm.call").attributes["error.type"], "StructuredOutputError")
    }))

  it.effect("an answer that is not what was asked for, beside the call of a tool", () =>
    Effect.gen(function*() {
      const answer = Effect.succeed([{ type: "text", text: "no JSON" } as const, callOf("Paris"), finish()])
      const { exit, spans } = yield* recorded(
        LanguageModel.generateObject({ prompt: "hello", toolkit: WeatherTools, schema: Weather.successSchema }).pipe(
          Effect.withSpan("program"),
          Effect.provide([layerOf(answer), weatherLayer()])
        )
      )
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual(
        spans.map(({ attributes, name, status }) => [name, attributes["error.type"], status]),
        [
          ["execute_tool weather", undefined, { code: "unset" }],
          ["llm.call", "StructuredOutputError", { code: "error" }],
          ["program", "StructuredOutputError", { code: "error" }]
        ]
      )
      assert.notInclude(JSON.stringify(spans), "validation failed")
    }))

  it.effect("a stream that is cut, with what it has told so far", () =>
    Effect.gen(function*() {
      const { layer, server } = yield* makeModels
      yield* server.on(
        { userMessage: "cut" },
        { id: "r9", content: "a long answer indeed" },
        LlmServer.disconnectAfter(2)
      )
      const { exit, span } = yield* recorded(
        Stream.runDrain(LanguageModel.streamText({ prompt: "cut" })).pipe(Effect.provide(layer))
      )
      assert.isTrue(Exit.isFailure(exit))
      const { attributes, status } = span("llm.call")
      assert.strictEqual(status.code, "error")
      assert.strictEqual(attributes["error.type"], "UnknownError")
      assert.strictEqual(attributes["gen_ai.response.id"], "r9")
    }))

  it.effect("a stream that is left early is no error", () =>
    Effect.gen(function*() {
      const { layer } = yield* makeModels
      const { exit, span } = yield* recorded(
        LanguageModel.streamText({ prompt: "hello" }).pipe(Stream.take(1), Stream.runDrain, Effect.provide(layer))
      )
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(span("llm.call").status, { code: "unset" })
    }))

  it.effect("one that is interrupted", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const never = Effect.andThen(Deferred.succeed(started, undefined), Effect.never)
      const { span } = yield* recorded(
        Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(generate("hello"))
          yield* Deferred.await(started)
          yield* Fiber.interrupt(fiber)
        }).pipe(Effect.provide(layerOf(never)))
      )
      const { attributes, status } = span("llm.call")
      assert.deepStrictEqual(status, { code: "unset" })
      assert.strictEqual(attributes["effect.fiber.interrupted"], true)
    }))

  it.effect("a model that is broken", () =>
    Effect.gen(function*() {
      const { exit, span } = yield* recorded(
        generate("hello").pipe(Effect.provide(layerOf(Effect.die(new RangeError("out of it")))))
      )
      assert.isTrue(Exit.hasDies(exit))
      assert.strictEqual(span("llm.call").attributes["error.type"], "RangeError")
    }))
})

describe("content", () => {
  const CANARY = "canary-7a31e9"

  it.effect("is what the model and the tools were given and have answered, when it is captured", () =>
    Effect.gen(function*() {
      const { layer } = yield* makeModels
      const { spans } = yield* recorded(
        Effect.gen(function*() {
          const chat = yield* Chat.fromPrompt([{ role: "system", content: "Be brief." }])
          yield* chat.generateText({ prompt: "weather", toolkit: WeatherTools })
          yield* Stream.runDrain(chat.streamText({ prompt: [], toolkit: WeatherTools }))
        }).pipe(Effect.provide([layer, weatherLayer()])),
        { convention: "latest", capture: "SPAN_ONLY" }
      )
      const content = spans.filter(({ name }) => !name.startsWith("Chat.")).map(({ attributes, name }) => [
        name,
        ...["input.messages", "output.messages", "tool.definitions", "tool.call.arguments", "tool.call.result"]
          .map((key) => attributes[`gen_ai.${key}`]).filter((value) => value !== undefined)
          .map((value) => JSON.parse(String(value)))
      ])
      const system = { role: "system", parts: [{ type: "text", content: "Be brief." }] }
      const user = { role: "user", parts: [{ type: "text", content: "weather" }] }
      const call = { type: "tool_call", id: "call_1", name: "weather", arguments: { city: "Paris" } }
      const result = { type: "tool_call_response", id: "call_1", response: { celsius: 21 } }
      const definitions = [{ type: "function", name: "weather" }]
      assert.deepStrictEqual(content, [
        ["execute_tool weather", { city: "Paris" }, { celsius: 21 }],
        [
          "chat gpt-4o",
          [system, user],
          [{ role: "assistant", parts: [call], finish_reason: "tool_call" }],
          definitions
        ],
        [
          "chat gpt-4o",
          [system, user, { role: "assistant", parts: [call] }, { role: "tool", parts: [result] }],
          [{ role: "assistant", parts: [{ type: "text", content: "21 degrees" }], finish_reason: "stop" }],
          definitions
        ]
      ])
    }))

  it.effect("of a tool is hidden where its schemas say so", () =>
    Effect.gen(function*() {
      const Secret = sensitive(Schema.String)
      const tools = Toolkit.make(
        Tool.make("login", {
          parameters: Schema.Struct({ user: Schema.String, password: Secret }),
          success: Schema.Struct({ user: Schema.String, token: Secret })
        })
      )
      const params = { user: "ada", password: CANARY }
      const { exit, span } = yield* recorded(
        Effect.gen(function*() {
          const toolkit = withToolkitSpans(yield* tools)
          return yield* Effect.flatMap(toolkit.handle("login", params), Stream.runCollect)
        }).pipe(
          Effect.map((results) => results.map(({ result }) => result)),
          Effect.provide(
            tools.toLayer({ login: ({ password, user }) => Effect.succeed({ user, token: password }) })
          )
        ),
        { capture: "SPAN_ONLY" }
      )
      assert.deepStrictEqual(exit, Exit.succeed([{ user: "ada", token: CANARY }]))
      const { attributes } = span("execute_tool login")
      assert.strictEqual(attributes["gen_ai.tool.call.arguments"], `{"user":"ada","password":"<redacted>"}`)
      assert.strictEqual(attributes["gen_ai.tool.call.result"], `{"user":"ada","token":"<redacted>"}`)
    }))

  describe("of a tool is hidden as a whole where what is marked is encoded in another form", () => {
    const Card = Schema.Struct({ amount: Schema.FiniteFromString, card: sensitive(Schema.String) })
    const Renamed = Card.pipe(Schema.encodeKeys({ card: "c" }))
    class Account extends Schema.Class<Account>("Account")({ card: sensitive(Schema.String) }) {}
    interface Chain {
      readonly card: string
      readonly next: Chain | null
    }
    const Chain: Schema.Codec<Chain, unknown> = Schema.Struct({
      card: sensitive(Schema.String),
      next: Schema.NullOr(Schema.suspend((): Schema.Codec<Chain, unknown> => Chain))
    }).pipe(Schema.encodeKeys({ card: "c" }))
    const amountOf = Schema.Struct({ amount: Schema.FiniteFromString })
    const card = { amount: "5", card: CANARY }
    const renamed = { amount: "5", c: CANARY }
    const hidden = "<redacted>"
    for (
      const [name, schema, encoded, expected] of [
        ["by its keys alone where a struct keeps them", Card, card, { amount: "5", card: hidden }],
        ["a struct with other keys", Renamed, renamed, hidden],
        ["a JSON string", Schema.fromJsonString(Card), JSON.stringify(card), hidden],
        ["a JSON string of other keys", Schema.fromJsonString(Renamed), JSON.stringify(renamed), hidden],
        ["a list", Schema.Array(Renamed), [renamed, renamed], [hidden, hidden]],
        ["an element of a tuple", Schema.Tuple([Schema.FiniteFromString, Renamed]), ["1", renamed], ["1", hidden]],
        ["a record", Schema.Record(Schema.String, Renamed), { a: renamed }, { a: hidden }],
        ["a member of a union", Schema.Union([Renamed, amountOf]), renamed, hidden],
        ["a member of a union of scalars", Schema.Union([Schema.FiniteFromString, Card]), card, {
          amount: "5",
          card: hidden
        }],
        ["none of a union where another member is given", Schema.Union([Schema.FiniteFromString, Card]), "7", "7"],
        ["a class", Account, { card: CANARY }, hidden],
        ["what contains itself", Chain, { c: CANARY, next: { c: CANARY, next: null } }, hidden],
        ["an option", Schema.OptionFromNullOr(Card), card, hidden],
        ["an optional key", Schema.Struct({ in: Schema.optionalKey(Renamed) }), { in: renamed }, { in: hidden }],
        [
          "a key with a default",
          Schema.Struct({ in: Card.pipe(Schema.withDecodingDefaultKey(Effect.succeed(card))) }),
          { in: card },
          { in: hidden }
        ],
        [
          "a struct around it",
          Schema.Struct({ in: Renamed }).pipe(Schema.encodeKeys({ in: "i" })),
          { i: renamed },
          hidden
        ],
        [
          "nothing of what is encoded beside it",
          Schema.Struct({ at: Schema.DateFromString, pin: sensitive(Schema.FiniteFromString), in: Card }),
          { at: "1970-01-01T00:00:00.000Z", pin: "4111", in: card },
          { at: "1970-01-01T00:00:00.000Z", pin: hidden, in: { amount: "5", card: hidden } }
        ],
        [
          "what is marked on the encoded side",
          sensitive(Schema.String).pipe(Schema.decodeTo(Schema.FiniteFromString)),
          "4111",
          hidden
        ]
      ] as ReadonlyArray<readonly [string, Schema.Codec<unknown>, unknown, unknown]>
    ) {
      it.effect(name, () =>
        Effect.gen(function*() {
          const value = Schema.Struct({ value: schema })
          const tools = Toolkit.make(Tool.make("echo", { parameters: value, success: value }))
          const { exit, span } = yield* recorded(
            Effect.gen(function*() {
              const toolkit = withToolkitSpans(yield* tools)
              return yield* Effect.flatMap(toolkit.handle("echo", { value: encoded }), Stream.runCollect)
            }).pipe(
              Effect.map((results) => results.map(({ encodedResult }) => encodedResult)),
              Effect.provide(tools.toLayer({ echo: Effect.succeed }))
            ),
            { capture: "SPAN_ONLY" }
          )
          assert.deepStrictEqual<unknown>(exit, Exit.succeed([{ value: encoded }]))
          const { attributes } = span("execute_tool echo")
          for (const name of ["arguments", "result"]) {
            assert.deepStrictEqual(JSON.parse(String(attributes[`gen_ai.tool.call.${name}`])), { value: expected })
          }
        }))
    }

    it.effect("and where the model has not kept to the schema", () =>
      Effect.gen(function*() {
        const tools = Toolkit.make(Tool.make("pay", { parameters: Schema.Struct({ with: Card }) }))
        const { exit, span } = yield* recorded(
          Effect.gen(function*() {
            const toolkit = withToolkitSpans(yield* tools)
            return yield* toolkit.handle("pay", { with: JSON.stringify(card) as never })
          }).pipe(Effect.provide(tools.toLayer({ pay: () => Effect.void }))),
          { capture: "SPAN_ONLY" }
        )
        assert.isTrue(Exit.isFailure(exit))
        assert.strictEqual(span("execute_tool pay").attributes["gen_ai.tool.call.arguments"], `{"with":"<redacted>"}`)
      }))
  })

  const messages = [{ role: "system", content: "Be brief." }, { role: "user", content: "hello" }] as const
  for (const [name, prompt] of [["a Set", new Set(messages)], ["an iterator", messages.values()]] as const) {
    it.effect(`is there of a prompt that is ${name}, and the model gets all of it`, () =>
      Effect.gen(function*() {
        const prompts: Array<unknown> = []
        const model = LanguageModel.make({
          generateText: ({ prompt }) => {
            prompts.push(prompt.content.map(({ role }) => role))
            return Effect.succeed([finish()])
          },
          streamText: () => Stream.die("not asked for")
        })
        const layer = Layer.effect(LanguageModel.LanguageModel, model).pipe(withEffectAiSpans(gpt))
        const { span } = yield* recorded(
          generate(prompt).pipe(Effect.provide(layer)),
          { convention: "latest", capture: "SPAN_ONLY" }
        )
        assert.deepStrictEqual(prompts, [["system", "user"]])
        assert.deepStrictEqual(JSON.parse(String(span("chat gpt-4o").attributes["gen_ai.input.messages"])), [
          { role: "system", parts: [{ type: "text", content: "Be brief." }] },
          { role: "user", parts: [{ type: "text", content: "hello" }] }
        ])
      }))
  }

  for (const convention of ["loom", "latest"] as const) {
    it.live(`never leaves the process under ${convention} when it is not captured`, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        const { client, layer, layerEmbedding, server } = yield* makeModels
        yield* server.on({ userMessage: `refused ${CANARY}` }, LlmServer.failure(400, `You said ${CANARY}`))
        yield* server.on({ userMessage: `text ${CANARY}` }, { content: CANARY })
        yield* server.onToolRound({
          prompt: `tool ${CANARY}`,
          tool: "lookup",
          arguments: { key: CANARY },
          answer: CANARY
        })
        const lookup = (failureMode: "error" | "return") =>
          Toolkit.make(
            Tool.make("lookup", {
              parameters: Schema.Struct({ key: Schema.String }),
              success: Schema.Struct({ value: Schema.String }),
              failure: NoSuchCity,
              failureMode
            })
          )
        const strict = Toolkit.make(Tool.make("lookup", { parameters: Schema.Struct({ key: Schema.Literal("a") }) }))
        const found = ({ key }: { readonly key: string }) => Effect.succeed({ value: key })
        const missed = ({ key }: { readonly key: string }) => Effect.fail(new NoSuchCity({ city: key }))
        const methods = (
          prompt: string,
          toolkit: Effect.Effect<Toolkit.WithHandler<ReturnType<typeof lookup>["tools"]>>
        ) => [
          LanguageModel.generateText({ prompt, toolkit }),
          LanguageModel.generateObject({ prompt, toolkit, schema: Schema.Struct({ a: Schema.String }) }),
          Stream.runDrain(LanguageModel.streamText({ prompt, toolkit }))
        ]
        const programs = ["refused", "text", "tool"].flatMap((prompt) =>
          [
            lookup("error").pipe(Effect.provide(lookup("error").toLayer({ lookup: found }))),
            lookup("error").pipe(Effect.provide(lookup("error").toLayer({ lookup: missed }))),
            lookup("return").pipe(Effect.provide(lookup("return").toLayer({ lookup: missed }))) as never,
            strict.pipe(Effect.provide(strict.toLayer({ lookup: () => Effect.void }))) as never
          ].flatMap((toolkit) => methods(`${prompt} ${CANARY}`, toolkit))
        )
        const unreachable = OpenAiLanguageModel.layerEmbedding({
          client: client.withOptions({ baseURL: `${server.url}/none` }),
          model: "embed-3"
        }).pipe(withEffectAiSpans({ provider: "openai", request: { model: "embed-3" } }))
        const embed = EmbeddingModel.EmbeddingModel.use((model) =>
          Effect.all([model.embed(CANARY), model.embedMany([CANARY])])
        )
        const ran = yield* Effect.forEach(
          [
            ...programs.map((program) => program.pipe(Effect.provide(layer))),
            embed.pipe(Effect.provide(layerEmbedding)),
            embed.pipe(Effect.provide(unreachable))
          ],
          (program) => program.pipe(withAgentSpan({ name: "a" }), Effect.withSpan("program"), Effect.exit)
        ).pipe(Effect.provide(
          makeTracingLive({ endpoint: receiver.url, genAi: { convention } }).pipe(
            Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({})))
          )
        ))
        assert.isTrue(ran.some(Exit.isSuccess) && ran.some(Exit.isFailure))
        const bytes = Buffer.concat(receiver.rawBytes).toString("latin1")
        for (
          const text of ["execute_tool lookup", "embeddings embed-3", "NoSuchCity", "ToolParameterValidationError"]
        ) {
          assert.include(bytes, text)
        }
        assert.notInclude(bytes, CANARY.slice(0, 6))
      }))
  }
})

describe("embeddings", () => {
  const use = <A, E>(f: (model: EmbeddingModel.EmbeddingModel) => Effect.Effect<A, E>) =>
    EmbeddingModel.EmbeddingModel.use(f).pipe(Effect.withSpan("program"))

  it.effect("embedMany: one span for the request, with its tokens", () =>
    Effect.gen(function*() {
      const { layerEmbedding, server } = yield* makeModels
      const { exit, span, tree } = yield* recorded(
        use((model) => Effect.map(model.embedMany(["a", "b"]), ({ embeddings }) => embeddings.length)).pipe(
          Effect.provide(layerEmbedding)
        )
      )
      assert.deepStrictEqual(exit, Exit.succeed(2))
      assert.strictEqual(tree, nested(["program", "embeddings embed-3"]))
      const { "gen_ai.usage.input_tokens": tokens, ...attributes } = span("embeddings embed-3").attributes
      assert.isNumber(tokens)
      assert.deepStrictEqual(attributes, {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "embed-3",
        "server.address": "127.0.0.1",
        "server.port": Number(new URL(server.url).port)
      })
    }))

  it.effect("of a Model have the size of its vectors", () =>
    Effect.gen(function*() {
      const { client } = yield* makeModels
      const model = Model.make(
        "openai",
        "embed-3",
        Layer.merge(
          OpenAiLanguageModel.layerEmbedding({ client, model: "embed-3" }),
          Layer.succeed(EmbeddingModel.Dimensions, 256)
        )
      )
      const { span } = yield* recorded(
        use((model) => model.embed("a")).pipe(Effect.provide(model.pipe(withEffectAiSpans())))
      )
      assert.strictEqual(span("embeddings embed-3").attributes["gen_ai.embeddings.dimension.count"], 256)
    }))

  it.effect("embedMany of nothing asks nobody, and is no call", () =>
    Effect.gen(function*() {
      const { layerEmbedding } = yield* makeModels
      const { spans } = yield* recorded(use((model) => model.embedMany([])).pipe(Effect.provide(layerEmbedding)))
      assert.notInclude(spans.map(({ name }) => name), "embeddings embed-3")
    }))

  it.effect("embed: one span", () =>
    Effect.gen(function*() {
      const { layerEmbedding } = yield* makeModels
      const { span, tree } = yield* recorded(use((model) => model.embed("a")).pipe(Effect.provide(layerEmbedding)))
      assert.strictEqual(tree, nested(["program", "embeddings embed-3"]))
      assert.notProperty(span("embeddings embed-3").attributes, "batchSize")
    }))

  it.effect("embed: a span each, and one that links them, where Effect makes one request of several", () =>
    Effect.gen(function*() {
      const { layerEmbedding, server } = yield* makeModels
      const { span, spans } = yield* recorded(
        use((model) => Effect.forEach(["a", "b", "c"], model.embed, { concurrency: "unbounded" })).pipe(
          Effect.provide(layerEmbedding)
        )
      )
      assert.lengthOf(server.requests, 1)
      const calls = spans.filter(({ name }) => name === "embeddings embed-3").map(({ spanId }) => spanId)
      assert.lengthOf(calls, 3)
      assert.sameMembers(span("EmbeddingModel.resolver").links.map(({ spanId }) => spanId), calls)
      assert.lengthOf(spans, 5)
    }))

  it.effect("a failure", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeModels
      const refusing = yield* server.serve({ status: 429, body: [{}] })
      const layer = OpenAiLanguageModel.layerEmbedding({
        client: client.withOptions({ baseURL: refusing }),
        model: "m"
      })
        .pipe(withEffectAiSpans({ provider: "openai", request: { model: "m" } }))
      for (
        const program of [
          use((model) => Effect.asVoid(model.embed("a"))),
          use((model) => Effect.asVoid(model.embedMany(["a"])))
        ]
      ) {
        const { span } = yield* recorded(program.pipe(Effect.provide(layer)))
        assert.strictEqual(span("embeddings m").attributes["error.type"], "RateLimitError")
      }
    }))
})

describe("decisions", () => {
  const Ticket = Schema.Struct({ text: Schema.String, card: sensitive(Schema.String) })
  const Triage = Decision.make({
    input: Ticket,
    decisions: {
      urgent: Decision.probability({ instructions: "Whether it is urgent", criteria: { true: "now", false: "later" } }),
      team: Decision.classify({ instructions: "Who answers", criteria: { billing: "money", support: null } })
    }
  })
  const input = { text: "My card was charged twice", card: "4111 1111 1111 1111" }
  const urgent = { _tag: "Probability", probability: 0.75 }
  const team = { _tag: "Classify", label: "billing", probabilities: { billing: 1, support: 0 } }
  const answers = {
    urgent: { probability: 0.75 },
    team: { label: "billing", probabilities: { billing: 1, support: 0 } }
  }

  /** A decision model on a real server that gives these answers. */
  const makeDecisions = Effect.fnUntraced(function*(answers: object) {
    const { at, client, server } = yield* makeModels
    yield* server.on({ userMessage: "charged twice" }, {
      id: "d1",
      content: JSON.stringify(answers),
      usage: LlmServer.usage(20, 4)
    })
    const layer = OpenAiLanguageModel.layerDecision({ client, model: "gpt-4o", temperature: 0.5 }).pipe(
      withEffectAiSpans({ ...gpt, baseURL: client.baseURL })
    )
    return { at, client, layer, server }
  })
  const decided = { "gen_ai.response.id": "d1", "gen_ai.usage.input_tokens": 20, "gen_ai.usage.output_tokens": 4 }
  const decide = DecisionModel.decide(Triage, { input }).pipe(Effect.withSpan("program"))
  const decideSettled = DecisionModel.decideSettled(Triage, { input }).pipe(Effect.withSpan("program"))

  for (
    const { name, program } of [
      { name: "decide", program: Effect.map(decide, ({ answers }): unknown => answers) },
      {
        name: "decideSettled",
        program: Effect.map(decideSettled, ({ outcomes: { team, urgent } }): unknown => ({
          urgent: Result.getOrThrow(urgent),
          team: Result.getOrThrow(team)
        }))
      }
    ]
  ) {
    it.effect(`${name}: one span, with the answer's tokens`, () =>
      Effect.gen(function*() {
        const { at, layer } = yield* makeDecisions({ urgent, team })
        const { exit, span, tree } = yield* recorded(program.pipe(Effect.provide(layer)), latest)
        assert.deepStrictEqual(JSON.stringify(exit), JSON.stringify(Exit.succeed(answers)))
        assert.strictEqual(tree, nested(["program", "generate_content gpt-4o"]))
        assert.deepStrictEqual(span("generate_content gpt-4o").attributes, {
          "gen_ai.operation.name": "generate_content",
          "gen_ai.provider.name": "openai",
          "gen_ai.request.model": "gpt-4o",
          "gen_ai.response.model": "gpt-4o",
          "gen_ai.request.temperature": 0.5,
          "gen_ai.output.type": "json",
          ...decided,
          ...at
        })
      }))
  }

  for (
    const { name, output, program, provided } of [
      { name: "the answers of decide", provided: { urgent, team }, program: Effect.asVoid(decide), output: answers },
      {
        name: "what has become of each decision of decideSettled",
        provided: { urgent: { _tag: "Refusal" }, team },
        program: Effect.asVoid(decideSettled),
        output: {
          urgent: {
            _tag: "Unanswered",
            reason: "Refused",
            description: `Provider refused to answer decision "urgent"`
          },
          team: answers.team
        }
      }
    ]
  ) {
    it.effect(`content is the input without what is sensitive in it, the decisions and ${name}`, () =>
      Effect.gen(function*() {
        const { layer } = yield* makeDecisions(provided)
        const { span } = yield* recorded(program.pipe(Effect.provide(layer)), { ...latest, capture: "SPAN_ONLY" })
        const { attributes } = span("generate_content gpt-4o")
        const read = (key: string) => JSON.parse(String(attributes[key]))
        assert.deepStrictEqual(read("gen_ai.input.messages"), [
          { role: "user", parts: [{ type: "state", state: { text: input.text, card: "<redacted>" } }] }
        ])
        assert.deepStrictEqual(read("gen_ai.system_instructions"), [
          {
            type: "probability",
            name: "urgent",
            instructions: "Whether it is urgent",
            criteria: { true: "now", false: "later" }
          },
          {
            type: "classify",
            name: "team",
            instructions: "Who answers",
            criteria: { billing: "money", support: null }
          }
        ])
        const [{ parts: [part] }] = read("gen_ai.output.messages")
        assert.deepStrictEqual(JSON.parse(part.content), output)
      }))
  }

  it.effect("content is the text where the input is one", () =>
    Effect.gen(function*() {
      const { layer } = yield* makeDecisions({ urgent })
      const { decisions: { urgent: decision } } = Triage
      const definition = Decision.make({ input: Schema.String, decisions: { urgent: decision } })
      const { span } = yield* recorded(
        DecisionModel.decide(definition, { input: input.text }).pipe(Effect.provide(layer)),
        { ...latest, capture: "SPAN_ONLY" }
      )
      assert.deepStrictEqual(JSON.parse(String(span("generate_content gpt-4o").attributes["gen_ai.input.messages"])), [
        { role: "user", parts: [{ type: "text", content: input.text }] }
      ])
    }))

  it.effect("without content, neither input nor answer is on the span", () =>
    Effect.gen(function*() {
      const { layer } = yield* makeDecisions({ urgent: { _tag: "Probability", probability: 7 }, team })
      const { exit, spans } = yield* recorded(decide.pipe(Effect.provide(layer)), latest)
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(
        spans.find(({ name }) => name === "generate_content gpt-4o")?.attributes["error.type"],
        "InvalidOutputError"
      )
      for (const word of ["charged", "4111", "Who answers", "billing"]) assert.notInclude(JSON.stringify(spans), word)
    }))

  it.effect("a failure", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeDecisions({})
      const refusing = yield* server.serve({ status: 429, body: [{}] })
      const layer = OpenAiLanguageModel.layerDecision({ client: client.withOptions({ baseURL: refusing }), model: "m" })
        .pipe(withEffectAiSpans({ provider: "openai", request: { model: "m" } }))
      for (const program of [Effect.asVoid(decide), Effect.asVoid(decideSettled)]) {
        const { span } = yield* recorded(program.pipe(Effect.provide(layer)), latest)
        assert.strictEqual(span("generate_content m").attributes["error.type"], "RateLimitError")
      }
    }))

  it.effect("where tracing is off, nothing is different", () =>
    Effect.gen(function*() {
      const { layer } = yield* makeDecisions({ urgent, team })
      const result = yield* DecisionModel.decide(Triage, { input }).pipe(
        Effect.provide(Layer.merge(layer, TracingNoop))
      )
      assert.strictEqual(JSON.stringify(result.answers), JSON.stringify(answers))
    }))
})

describe("a model of one's own that throws where it is called", () => {
  const raise = (): never => {
    throw new RangeError("quotes the prompt")
  }
  const language = Effect.map(modelOf(Effect.succeed([])), (model): LanguageModel.LanguageModel => ({
    ...model,
    generateText: raise,
    generateObject: raise,
    streamText: raise
  }))
  const embedding = Effect.map(
    EmbeddingModel.make({ embedMany: () => Effect.never }),
    (model): EmbeddingModel.EmbeddingModel => ({ ...model, embed: raise, embedMany: raise })
  )
  const decision = Effect.map(
    DecisionModel.make({ decide: () => Effect.never }),
    (model): DecisionModel.DecisionModel => ({ ...model, decide: raise, decideSettled: raise })
  )
  const layer = Layer.mergeAll(
    Layer.effect(LanguageModel.LanguageModel, language),
    Layer.effect(EmbeddingModel.EmbeddingModel, embedding),
    Layer.effect(DecisionModel.DecisionModel, decision)
  ).pipe(withEffectAiSpans(gpt))
  const urgent = Decision.probability({
    instructions: "Whether it is urgent",
    criteria: { true: "now", false: "later" }
  })
  const definition = Decision.make({ input: Schema.String, decisions: { urgent } })
  const { EmbeddingModel: Embedding } = EmbeddingModel

  for (
    const { name, operation, program } of [
      { name: "generateText", operation: "chat", program: Effect.asVoid(generate("hello")) },
      {
        name: "generateObject",
        operation: "chat",
        program: Effect.asVoid(LanguageModel.generateObject({ prompt: "hello", schema: Schema.Struct({}) }))
      },
      {
        name: "streamText",
        operation: "chat",
        program: Stream.runDrain(LanguageModel.streamText({ prompt: "hello" }))
      },
      { name: "embed", operation: "embeddings", program: Effect.asVoid(Embedding.use((model) => model.embed("a"))) },
      {
        name: "embedMany",
        operation: "embeddings",
        program: Effect.asVoid(Embedding.use((model) => model.embedMany(["a"])))
      },
      {
        name: "decide",
        operation: "generate_content",
        program: Effect.asVoid(DecisionModel.decide(definition, { input: "a" }))
      },
      {
        name: "decideSettled",
        operation: "generate_content",
        program: Effect.asVoid(DecisionModel.decideSettled(definition, { input: "a" }))
      }
    ] as ReadonlyArray<{
      readonly name: string
      readonly operation: string
      readonly program: Effect.Effect<void, AiError.AiError, Layer.Success<typeof layer>>
    }>
  ) {
    it.effect(`${name} has its span, without what is thrown`, () =>
      Effect.gen(function*() {
        const { exit, span, spans } = yield* recorded(
          program.pipe(Effect.withSpan("program"), Effect.provide(layer)),
          latest
        )
        assert.include(String(exit), "quotes the prompt")
        assert.strictEqual(span(`${operation} gpt-4o`).attributes["error.type"], "RangeError")
        assert.notInclude(JSON.stringify(spans), "quotes the prompt")
      }))
  }
})

describe("withToolkitSpans", () => {
  const call = (toolkit: Toolkit.WithHandler<typeof WeatherTools["tools"]>) =>
    Effect.flatMap(toolkit.handle("weather", { city: "Paris" }, "call_7"), Stream.runCollect)

  it.effect("traces the tools that a program runs by itself", () =>
    Effect.gen(function*() {
      const { exit, span, tree } = yield* recorded(
        Effect.flatMap(WeatherTools, (toolkit) => call(withToolkitSpans(toolkit))).pipe(
          Effect.map((results) => results.map(({ result }) => result)),
          Effect.withSpan("program"),
          Effect.provide(weatherLayer())
        )
      )
      assert.deepStrictEqual(exit, Exit.succeed([{ celsius: 21 }]))
      assert.strictEqual(tree, nested(["program", "execute_tool weather"]))
      assert.strictEqual(span("execute_tool weather").attributes["gen_ai.tool.call.id"], "call_7")
    }))

  it.effect("ends a tool whose results nobody takes with the fiber that has called it", () =>
    Effect.gen(function*() {
      const { span } = yield* recorded(
        Effect.gen(function*() {
          const toolkit = withToolkitSpans(yield* WeatherTools)
          const fiber = yield* Effect.forkChild(Effect.asVoid(toolkit.handle("weather", { city: "Paris" })))
          yield* Fiber.join(fiber)
        }).pipe(Effect.provide(weatherLayer(Effect.never)))
      )
      assert.strictEqual(span("execute_tool weather").attributes["effect.fiber.interrupted"], true)
    }))

  for (
    const { expected, handler, name } of [
      {
        name: "has answered",
        handler: () => Effect.succeed({ celsius: 21 }),
        expected: { result: `{"celsius":21}`, interrupted: undefined }
      },
      {
        name: "is about to answer",
        handler: (_, { preliminary }) => Effect.andThen(preliminary({ celsius: 20 }), Effect.never),
        expected: { result: undefined, interrupted: true }
      }
    ] as ReadonlyArray<{
      readonly name: string
      readonly handler: Toolkit.HandlersFrom<typeof WeatherTools["tools"]>["weather"]
      readonly expected: { readonly result: string | undefined; readonly interrupted: boolean | undefined }
    }>
  ) {
    it.effect(`a tool that ${name} does not fail with who reads its results`, () =>
      Effect.gen(function*() {
        const { exit, span } = yield* recorded(
          Effect.gen(function*() {
            const results = yield* withToolkitSpans(yield* WeatherTools).handle("weather", { city: "Paris" })
            yield* Stream.runForEach(results, () => Effect.fail(new NoSuchCity({ city: "Paris" })))
          }).pipe(Effect.provide(WeatherTools.toLayer({ weather: handler }))),
          { capture: "SPAN_ONLY" }
        )
        assert.isTrue(Exit.isFailure(exit))
        const { attributes, status } = span("execute_tool weather")
        assert.deepStrictEqual(status, { code: "unset" })
        assert.notProperty(attributes, "error.type")
        assert.deepStrictEqual({
          result: attributes["gen_ai.tool.call.result"],
          interrupted: attributes["effect.fiber.interrupted"]
        }, expected)
      }))
  }

  it.effect("a tool that there is not", () =>
    Effect.gen(function*() {
      const { exit, span } = yield* recorded(
        Effect.flatMap(WeatherTools, (toolkit) => withToolkitSpans(toolkit).handle("whether" as never, {} as never))
          .pipe(
            Effect.provide(weatherLayer())
          )
      )
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(span("execute_tool whether").attributes["error.type"], "ToolNotFoundError")
    }))
})

describe("when tracing is off", () => {
  /** What a model and a tool find around them: the name of the span, and whether the tracer is the program's. */
  const observe = (trace: typeof layerOf): Effect.Effect<ReadonlyArray<unknown>> =>
    Effect.withFiber((outer) => {
      const found: Array<unknown> = []
      const find = Effect.withFiber(({ cache: { span, tracer } }) => {
        found.push([span?._tag === "Span" ? span.name : undefined, tracer === outer.cache.tracer])
        return Effect.void
      })
      const parts = Effect.as(find, [callOf("Paris"), finish("tool-calls")])
      const program = Effect.all([
        LanguageModel.generateText({ prompt: "a", toolkit: WeatherTools }),
        LanguageModel.generateObject({ prompt: "a", toolkit: WeatherTools, schema: Weather.successSchema }),
        Stream.runDrain(LanguageModel.streamText({ prompt: "a", toolkit: WeatherTools }))
      ], { mode: "result" })
      return program.pipe(
        Effect.provide([
          trace(parts, Stream.fromIterableEffect(parts)),
          weatherLayer(Effect.as(find, { celsius: 21 }))
        ]),
        Effect.map(() => found)
      )
    })
  const untraced: typeof layerOf = (...parts) => Layer.effect(LanguageModel.LanguageModel, modelOf(...parts))

  for (
    const [name, turnOff] of [
      ["nothing provided", identity],
      ["TracingNoop", Effect.provide(TracingNoop)],
      ["silenced", (self) => self.pipe(Effect.withTracerEnabled(false), Effect.provide(TracingTest.layer))]
    ] as ReadonlyArray<readonly [string, <A>(self: Effect.Effect<A>) => Effect.Effect<A>]>
  ) {
    it.effect(`${name}: models and tools run as they would without the layer`, () =>
      Effect.gen(function*() {
        const [expected, actual] = yield* turnOff(Effect.all([observe(untraced), observe(layerOf)]))
        assert.lengthOf(expected, 6)
        assert.deepStrictEqual(actual, expected)
      }))
  }
})

it.effect("works under the tracer of @effect/opentelemetry", () =>
  Effect.gen(function*() {
    const exporter = new InMemorySpanExporter()
    const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
    const { layer } = yield* makeModels
    const found: Array<boolean> = []
    const handler = OtelTracer.currentOtelSpan.pipe(
      Effect.map((span) => found.push(span.isRecording())),
      Effect.as({ celsius: 21 }),
      Effect.withSpan("inner"),
      Effect.orDie
    )
    const program = Effect.all([
      LanguageModel.generateText({ prompt: "weather", toolkit: WeatherTools }),
      Stream.runDrain(LanguageModel.streamText({ prompt: "weather", toolkit: WeatherTools }))
    ])
    yield* program.pipe(
      Effect.withSpan("program"),
      Effect.provide([layer, weatherLayer(handler)]),
      Effect.provide(OtelTracer.layer.pipe(Layer.provide(Layer.succeed(OtelTracer.OtelTracerProvider, provider))))
    )
    const spans = exporter.getFinishedSpans()
    const nameOf = new Map(spans.map((span) => [span.spanContext().spanId, span.name]))
    assert.sameDeepMembers(
      spans.map((span) => [nameOf.get(span.parentSpanContext?.spanId ?? ""), span.name]),
      [
        [undefined, "program"],
        ...[0, 1].flatMap(() => [
          ["program", "llm.call"],
          ["program", "execute_tool weather"],
          ["execute_tool weather", "inner"]
        ])
      ]
    )
    assert.deepStrictEqual(found, [true, true])
    assert.notInclude(JSON.stringify(spans.map(({ attributes }) => attributes)), "Paris")
  }))

describe("a toolkit that is not traced", () => {
  const handle = Effect.gen(function*() {
    const tools = yield* WeatherTools
    const results = yield* tools.handle("weather", { city: "Paris" }, "call_1")
    yield* Stream.runDrain(results)
  }).pipe(Effect.provide(weatherLayer()), Effect.orDie)
  const twice = Effect.andThen(handle, handle)

  const combinators: Readonly<Record<string, (self: Effect.Effect<void>) => Effect.Effect<void>>> = {
    withToolSpan: withToolSpan({ name: "weather", arguments: { city: "Paris" } }),
    withAgentSpan: withAgentSpan({ name: "a" }),
    withLlmSpan: withLlmSpan(gpt),
    withLlmStreamSpan: (self) =>
      Stream.fromEffect(self).pipe(
        withLlmStreamSpan({ ...gpt, fold: { initial: () => 0, step: () => 0, response: () => ({}) } }),
        Stream.runDrain
      ),
    withMcpSpan: withMcpSpan({ method: "tools/call", tool: "weather" })
  }
  for (const [name, combinator] of Object.entries(combinators)) {
    for (const capture of ["NO_CONTENT", "SPAN_ONLY"] as const) {
      it.effect(`writes no arguments on the span of ${name}, with ${capture}`, () =>
        Effect.gen(function*() {
          const { spans } = yield* recorded(combinator(twice), { ...latest, capture })
          assert.lengthOf(spans, 1)
          assert.notProperty(spans[0]!.attributes, "parameters")
          assert.strictEqual(
            spans[0]!.attributes["gen_ai.tool.call.arguments"],
            name === "withToolSpan" && capture === "SPAN_ONLY" ? `{"city":"Paris"}` : undefined
          )
        }))
    }

    it.effect(`writes no arguments on the span of ${name}, under a foreign tracer`, () =>
      Effect.gen(function*() {
        const { spans, tracer } = ForeignTracer.make()
        yield* combinator(twice).pipe(Effect.withTracer(tracer))
        assert.lengthOf(spans, 1)
        assert.isFalse(spans[0]!.attributes.has("parameters"))
      }))
  }

  it.effect("leaves a span the program's own parameters, in its options and without a tool", () =>
    Effect.gen(function*() {
      const { spans } = yield* recorded(
        Effect.annotateCurrentSpan("parameters", { depth: 1 }).pipe(
          withAgentSpan({ name: "a" }),
          withToolSpan({ name: "t", attributes: { tool: "mine", parameters: "mine" } })
        )
      )
      assert.deepStrictEqual(spans.map(({ attributes }) => attributes["parameters"]), [`{"depth":1}`, "mine"])
    }))

  it.effect("is found on a span that is not ours, unless content is asked for", () =>
    Effect.gen(function*() {
      for (const capture of ["NO_CONTENT", "SPAN_ONLY"] as const) {
        const violations = yield* Effect.gen(function*() {
          yield* Effect.withSpan(handle, "job")
          return yield* (yield* TracingTest).conventionViolations
        }).pipe(Effect.provide(TracingTest.layerWith({ genAi: { capture } })))
        assert.deepStrictEqual(
          violations.map(({ attribute, rule, span }) => [span, rule, attribute]),
          capture === "NO_CONTENT" ? [["job", "content", "parameters"]] : []
        )
      }
    }))
})
