import { assert, describe, it } from "@effect/vitest"
import { ExportResultCode } from "@opentelemetry/core"
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc"
import type { Sampler, SpanExporter, SpanProcessor } from "@opentelemetry/sdk-trace-base"
import { AlwaysOnSampler, BasicTracerProvider, SamplingDecision } from "@opentelemetry/sdk-trace-base"
import { ConfigProvider, Console, Effect, Exit, Layer, Logger, Metric, References, Scope, Tracer } from "effect"
import {
  GenAiSettings,
  injectTraceContext,
  makeTracingLive,
  Tracing,
  TracingConfigError,
  TracingConsole,
  TracingLive,
  type TracingOptions,
  withBaggage,
  withLlmSpan,
  withTraceContext
} from "loom-tracing"
import { basename } from "node:path"
import * as OtlpReceiver from "./support/OtlpReceiver.ts"
import * as Recorder from "./support/Recorder.ts"

const withEnv = (env: Record<string, string>) => Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(env)))

/** Runs an effect under a live layer, until the layer has been released. */
const live = <A, E>(effect: Effect.Effect<A, E>, options: TracingOptions = {}, env: Record<string, string> = {}) =>
  Effect.provide(effect, Layer.orDie(makeTracingLive(options)).pipe(withEnv(env)))

const collectLogs = () => {
  const logs: Array<string> = []
  const logger = Logger.make(({ message }) => logs.push(Array.isArray(message) ? message.join(" ") : String(message)))
  return { logs, layer: Logger.layer([logger]) }
}

const dead = "http://127.0.0.1:1"

describe("TracingLive", () => {
  it.effect("exports to the collector of the environment when it is released", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const result = yield* Effect.succeed(42).pipe(
        Effect.withSpan("inner", { kind: "server", attributes: { n: 1, s: "x", b: true, nothing: undefined } }),
        Effect.withSpan("outer"),
        Effect.provide(TracingLive.pipe(withEnv({
          OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
          OTEL_EXPORTER_OTLP_HEADERS: "x-token=a%20b,broken",
          OTEL_SERVICE_NAME: "planner",
          OTEL_RESOURCE_ATTRIBUTES: "service.name=other,deployment.environment.name=test,=broken"
        })))
      )
      assert.strictEqual(result, 42)
      const spans = yield* receiver.awaitSpans(2)
      const [inner, outer] = ["inner", "outer"].map((name) => spans.find((span) => span.name === name)!)
      assert.strictEqual(inner.parentSpanId, outer.spanId)
      assert.strictEqual(inner.traceId, outer.traceId)
      assert.strictEqual(inner.kind, "server")
      assert.deepStrictEqual(inner.attributes, { n: 1, s: "x", b: true })
      assert.deepStrictEqual(inner.status, { code: "unset", message: "" })
      assert.strictEqual(inner.scope.name, "loom-tracing")
      assert.strictEqual(inner.resource["service.name"], "planner")
      assert.strictEqual(inner.resource["deployment.environment.name"], "test")
      assert.strictEqual(inner.resource["telemetry.sdk.language"], "nodejs")
      assert.strictEqual(receiver.metadata[0]["x-token"], "a b")
    }))

  it.effect("an option beats the environment", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* live(Effect.void.pipe(Effect.withSpan("a")), {
        serviceName: "mine",
        serviceVersion: "1.2.3",
        resourceAttributes: { team: "x", shared: "option" },
        endpoint: receiver.url,
        headers: { "x-token": "option" }
      }, {
        OTEL_SERVICE_NAME: "theirs",
        OTEL_RESOURCE_ATTRIBUTES: "shared=environment,kept=yes",
        OTEL_EXPORTER_OTLP_ENDPOINT: dead,
        OTEL_EXPORTER_OTLP_HEADERS: "x-token=environment,x-kept=yes"
      })
      const [span] = yield* receiver.awaitSpans(1)
      const { kept, shared, team } = span.resource
      assert.deepStrictEqual(
        [span.resource["service.name"], span.resource["service.version"], team, shared, kept],
        ["mine", "1.2.3", "x", "option", "yes"]
      )
      assert.strictEqual(receiver.metadata[0]["x-token"], "option")
      assert.strictEqual(receiver.metadata[0]["x-kept"], "yes")
    }))

  it.effect("a service name among the resource attributes is an option as well, and beaten by its own alone", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const resourceAttributes = { "service.name": "mine" }
      const env = { OTEL_SERVICE_NAME: "theirs", OTEL_RESOURCE_ATTRIBUTES: "service.name=other" }
      for (const options of [{}, { resourceAttributes }, { resourceAttributes, serviceName: "own" }]) {
        yield* live(Effect.void.pipe(Effect.withSpan("a")), { endpoint: receiver.url, ...options }, env)
      }
      assert.deepStrictEqual(receiver.spans.map((span) => span.resource["service.name"]), ["theirs", "mine", "own"])
    }))

  it.effect("a service name that is empty is none: the next one counts, and at last the default", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const resourceAttributes = { "service.name": "" }
      for (
        const [options, env] of [
          [{}, { OTEL_RESOURCE_ATTRIBUTES: "service.name=,team=x" }],
          [{}, { OTEL_RESOURCE_ATTRIBUTES: "service.name=%20,team=x" }],
          [{ resourceAttributes }, { OTEL_RESOURCE_ATTRIBUTES: "service.name=,team=x" }],
          [{ resourceAttributes }, { OTEL_RESOURCE_ATTRIBUTES: "service.name=other,team=x" }],
          [{ resourceAttributes }, { OTEL_SERVICE_NAME: "theirs", OTEL_RESOURCE_ATTRIBUTES: "service.name=,team=x" }]
        ] as const
      ) {
        yield* live(Effect.void.pipe(Effect.withSpan("a")), { endpoint: receiver.url, ...options }, env)
      }
      const fallback = `unknown_service:${basename(process.execPath)}`
      assert.deepStrictEqual(
        receiver.spans.map(({ resource }) => [resource["service.name"], resource.team]),
        [fallback, fallback, fallback, "other", "theirs"].map((name) => [name, "x"])
      )
    }))

  it.effect("keeps tracestate, flags and links on the wire", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const message = {
        _trace_context: {
          traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03",
          tracestate: "vendor=1"
        }
      }
      yield* live(
        Effect.gen(function*() {
          const remote = yield* Effect.currentParentSpan.pipe(withTraceContext(message), Effect.orDie)
          yield* Effect.void.pipe(
            Effect.withSpan("linked", { links: [{ span: remote, attributes: { why: "batch" } }] })
          )
          yield* Effect.void.pipe(Effect.withSpan("child"), withTraceContext(message))
        }),
        { endpoint: receiver.url }
      )
      const spans = yield* receiver.awaitSpans(2)
      const child = spans.find((span) => span.name === "child")!
      const linked = spans.find((span) => span.name === "linked")!
      assert.strictEqual(child.traceState, "vendor=1")
      assert.strictEqual(child.flags & 0xff, 3)
      assert.strictEqual(linked.links[0].traceState, "vendor=1")
      assert.strictEqual(linked.links[0].flags & 0xff, 3)
      assert.strictEqual(linked.links[0].spanId, "b7ad6b7169203331")
      assert.deepStrictEqual(linked.links[0].attributes, { why: "batch" })
    }))

  it.effect("flush exports what has ended, and the numbers say so", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* live(
        Effect.gen(function*() {
          const tracing = yield* Tracing
          assert.isTrue(tracing.enabled)
          yield* Effect.void.pipe(Effect.withSpan("a"), Effect.repeat({ times: 2 }))
          assert.deepStrictEqual(yield* tracing.exportStats, { ended: 3, exported: 0, dropped: 0, queued: 3 })
          yield* tracing.flush
          assert.strictEqual(receiver.spans.length, 3)
          assert.deepStrictEqual(yield* tracing.exportStats, { ended: 3, exported: 3, dropped: 0, queued: 0 })
        }),
        { endpoint: receiver.url }
      )
    }))

  it.effect("exports through any exporter, such as OpenTelemetry's own", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* live(
        Effect.gen(function*() {
          yield* Effect.void.pipe(Effect.withSpan("a"))
          const tracing = yield* Tracing
          yield* tracing.flush
          assert.deepStrictEqual(yield* tracing.exportStats, { ended: 1, exported: 1, dropped: 0, queued: 0 })
        }),
        { exporter: new OTLPTraceExporter({ url: receiver.url }) }
      )
      assert.deepStrictEqual(receiver.spans.map((span) => span.name), ["a"])
    }))

  it.effect("two layers in one program keep their spans apart", () =>
    Effect.gen(function*() {
      const [a, b] = [yield* OtlpReceiver.make(), yield* OtlpReceiver.make()]
      yield* Effect.all([
        live(Effect.void.pipe(Effect.withSpan("a")), { endpoint: a.url }),
        live(Effect.void.pipe(Effect.withSpan("b")), { endpoint: b.url })
      ], { concurrency: 2 })
      assert.deepStrictEqual((yield* a.awaitSpans(1)).map((span) => span.name), ["a"])
      assert.deepStrictEqual((yield* b.awaitSpans(1)).map((span) => span.name), ["b"])
    }))

  it.effect("OTEL_SDK_DISABLED=true is off, and says nothing", () =>
    Effect.gen(function*() {
      const { layer, logs } = collectLogs()
      const receiver = yield* OtlpReceiver.make()
      const sent = yield* live(
        injectTraceContext({}).pipe(Effect.withSpan("a")),
        { endpoint: receiver.url },
        { OTEL_SDK_DISABLED: "TRUE" }
      ).pipe(Effect.provide(layer))
      assert.deepStrictEqual(sent, {})
      assert.deepStrictEqual([receiver.requests.length, logs.length], [0, 0])
    }))

  for (const env of [{ OTEL_TRACES_EXPORTER: "none" }, { OTEL_TRACES_EXPORTER: " None " }]) {
    it.effect(`${JSON.stringify(env)} records and exports nothing`, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        const sent = yield* live(
          injectTraceContext({}).pipe(Effect.withSpan("a")),
          { endpoint: receiver.url },
          env
        )
        assert.isDefined(sent._trace_context)
        assert.strictEqual(receiver.requests.length, 0)
      }))
  }
})

describe("a program does not notice", () => {
  const outcomes: ReadonlyArray<readonly [string, Effect.Effect<number, string>]> = [
    ["success", Effect.succeed(42)],
    ["failure", Effect.fail("no")],
    ["defect", Effect.die("boom")],
    ["interruption", Effect.interrupt]
  ]
  for (const [name, effect] of outcomes) {
    it.effect(`that the collector is down: ${name}`, () =>
      Effect.gen(function*() {
        const { layer, logs } = collectLogs()
        const started = performance.now()
        const exit = yield* live(
          effect.pipe(withLlmSpan({ provider: "openai", request: { model: "m" } }), Effect.withSpan("outer")),
          { endpoint: dead, shutdownTimeout: "500 millis" }
        ).pipe(Effect.provide(layer), Effect.exit)
        const bare = yield* Effect.exit(effect)
        assert.strictEqual(exit._tag, bare._tag)
        if (Exit.isFailure(exit) && Exit.isFailure(bare)) {
          assert.deepStrictEqual(exit.cause.reasons.map((r) => r._tag), bare.cause.reasons.map((r) => r._tag))
        }
        assert.isBelow(performance.now() - started, 2000)
        // What was lost is said, with its number.
        assert.strictEqual(logs.length, 1, logs.join("\n"))
        assert.match(logs[0], /2 not exported before release/)
      }))
  }

  const broken = (): never => {
    throw new Error("broken")
  }
  const processor = (overrides: Partial<SpanProcessor>): SpanProcessor => ({
    onStart() {},
    onEnd() {},
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
    ...overrides
  })
  for (
    const [name, options] of [
      ["a processor that throws when a span starts", { spanProcessors: [processor({ onStart: broken })] }],
      ["a processor that throws when a span ends", { spanProcessors: [processor({ onEnd: broken })] }],
      ["a processor that throws on shutdown", {
        spanProcessors: [processor({ shutdown: broken, forceFlush: broken })]
      }],
      ["a processor that rejects on shutdown", {
        spanProcessors: [processor({ shutdown: () => Promise.reject(new Error("no")) })]
      }],
      ["a processor that never shuts down", {
        shutdownTimeout: "50 millis",
        spanProcessors: [processor({ shutdown: () => new Promise(() => {}), forceFlush: () => new Promise(() => {}) })]
      }],
      ["a sampler that throws", { sampler: { shouldSample: broken } }],
      ["an exporter that throws", { exporter: { export: broken, shutdown: broken }, shutdownTimeout: "50 millis" }],
      ["an exporter that never answers", {
        exporter: { export: () => {}, shutdown: () => new Promise<void>(() => {}) },
        shutdownTimeout: "50 millis"
      }]
    ] as ReadonlyArray<readonly [string, TracingOptions]>
  ) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const { layer } = collectLogs()
        const result = yield* live(
          Effect.gen(function*() {
            const value = yield* Effect.succeed(1).pipe(Effect.withSpan("a"))
            yield* (yield* Tracing).flush
            return value
          }),
          { exporter: "none", ...options }
        ).pipe(Effect.provide(layer))
        assert.strictEqual(result, 1)
      }))
  }

  for (const method of ["onStart", "onEnding", "onEnd"] as const) {
    it.effect(`a processor with an async ${method} that rejects, which is told once`, () =>
      Effect.gen(function*() {
        const { layer, logs } = collectLogs()
        const rejects = processor({ [method]: () => Promise.reject(new Error("broken")) })
        const spans = Effect.succeed(1).pipe(Effect.withSpan("a"), Effect.withSpan("b"))
        const result = yield* live(spans, { exporter: "none", spanProcessors: [rejects] }).pipe(Effect.provide(layer))
        assert.strictEqual(result, 1)
        assert.strictEqual(logs.length, 1, logs.join("\n"))
        assert.match(logs[0], /span processor has thrown.*broken/)
      }))
  }

  it.effect("a wrong environment: each variable is reported once and its default is used", () =>
    Effect.gen(function*() {
      const { layer, logs } = collectLogs()
      const receiver = yield* OtlpReceiver.make()
      const env = {
        OTEL_SDK_DISABLED: "maybe",
        OTEL_TRACES_EXPORTER: "carrier-pigeon",
        OTEL_TRACES_SAMPLER: "sometimes",
        OTEL_TRACES_SAMPLER_ARG: "2",
        OTEL_BSP_SCHEDULE_DELAY: "soon",
        OTEL_BSP_MAX_QUEUE_SIZE: "-1",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "1.5",
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: "many",
        OTEL_EXPORTER_OTLP_COMPRESSION: "zip",
        OTEL_EXPORTER_OTLP_TIMEOUT: "10s",
        OTEL_RESOURCE_ATTRIBUTES: "a=1,broken",
        OTEL_EXPORTER_OTLP_HEADERS: "x=1,secret\u0007name=hunter2",
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: "true"
      }
      yield* live(Effect.void.pipe(Effect.withSpan("a")), { endpoint: receiver.url }, env).pipe(Effect.provide(layer))
      const [span] = yield* receiver.awaitSpans(1)
      assert.strictEqual(span.resource.a, "1")
      for (const name of Object.keys(env)) {
        assert.strictEqual(
          logs.filter((log) => new RegExp(`^${name}\\b(?!_)`).test(log)).length,
          1,
          `${name} in ${logs.join("\n")}`
        )
      }
      assert.notInclude(logs.join("\n"), "hunter2")
    }))

  it.effect("the console exporter prints to the Console that it is given", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const console: Console.Console = Object.assign(Object.create(globalThis.console), {
        log: (text: string) => lines.push(text)
      })
      yield* Effect.void.pipe(
        Effect.withSpan("printed"),
        Effect.provide(TracingConsole.pipe(Layer.provide(Layer.succeed(Console.Console, console))))
      )
      assert.lengthOf(lines, 1)
      assert.match(lines[0], /^trace [0-9a-f]{32} · 1 span · .*\nprinted .*$/)
    }))

  it.effect("a wrong variable of one signal is ignored, and that of all signals counts", () =>
    Effect.gen(function*() {
      const { layer, logs } = collectLogs()
      const receiver = yield* OtlpReceiver.make()
      yield* live(Effect.void.pipe(Effect.withSpan("a")), { endpoint: receiver.url }, {
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "carrier-pigeon",
        OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: "many",
        OTEL_ATTRIBUTE_COUNT_LIMIT: "5"
      }).pipe(Effect.provide(layer))
      assert.strictEqual((yield* receiver.awaitSpans(1)).length, 1)
      assert.deepStrictEqual(logs.map((log) => log.replace(/ is .*; /, ": ")), [
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: it is ignored",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: it is ignored"
      ])
    }))

  it.effect("an endpoint in the environment that is no URL: a warning, and the default", () =>
    Effect.gen(function*() {
      const { layer, logs } = collectLogs()
      yield* live(Effect.void, { shutdownTimeout: "100 millis" }, {
        OTEL_EXPORTER_OTLP_ENDPOINT: "not a url"
      }).pipe(Effect.provide(layer))
      assert.strictEqual(logs.length, 1)
      assert.match(logs[0], /OTEL_EXPORTER_OTLP_ENDPOINT is "not a url", expected a URL.*default/)
    }))

  it.effect("empty variables count as unset", () =>
    Effect.gen(function*() {
      const { layer, logs } = collectLogs()
      yield* live(Effect.void, { exporter: "none" }, {
        OTEL_SDK_DISABLED: "",
        OTEL_SERVICE_NAME: " ",
        OTEL_EXPORTER_OTLP_ENDPOINT: "",
        OTEL_TRACES_SAMPLER: "",
        OTEL_RESOURCE_ATTRIBUTES: ""
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(logs, [])
    }))
})

describe("makeTracingLive", () => {
  for (
    const [option, value, expected] of [
      ["serviceName", "", "a string that is not empty"],
      ["serviceName", 1, "a string that is not empty"],
      ["serviceVersion", " ", "a string that is not empty"],
      ["resourceAttributes", "a=b", "a record"],
      ["exporter", "pigeon", "\"otlp\", \"console\", \"none\" or a SpanExporter"],
      ["endpoint", "not a url", "a URL such as http://localhost:4317"],
      ["endpoint", "ftp://localhost", "a URL such as http://localhost:4317"],
      ["endpoint", "", "a URL such as http://localhost:4317"],
      ["endpoint", "http://", "a URL such as http://localhost:4317"],
      ["spanProcessors", [{}], "an array of span processors"],
      ["sampler", {}, "a Sampler"],
      ["genAi", "loom", "an object"],
      ["maxQueueSize", 0, "a whole number of spans"],
      ["maxQueueSize", 1.5, "a whole number of spans"],
      ["maxQueueBytes", -1, "a whole number of bytes"],
      ["exportInterval", "soon", "a finite duration"],
      ["shutdownTimeout", Infinity, "a finite duration"],
      ["shutdownTimeout", -1, "a finite duration"]
    ] as ReadonlyArray<readonly [string, unknown, string]>
  ) {
    it.effect(`refuses ${option}: ${JSON.stringify(value)}, and says what it expects`, () =>
      Effect.gen(function*() {
        const layer = makeTracingLive({ [option]: value })
        const error = yield* Effect.flip(Effect.void.pipe(Effect.provide(layer)))
        assert.instanceOf(error, TracingConfigError)
        assert.deepInclude(error.reason, { _tag: "InvalidOption", option })
        assert.include(error.message, `option "${option}"`)
        assert.include(error.message, expected)
      }))
  }

  for (
    const [key, value, expected] of [
      ["convention", "v1", `"loom" or "latest"`],
      ["capture", true, `"NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"`],
      ["capture", "span_only", `"NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"`],
      ["redact", "all", "a function from content to content"],
      ["maxContentBytes", 0, "a whole number of bytes, 1 or more"],
      ["maxContentBytes", "1 MB", "a whole number of bytes, 1 or more"]
    ] as ReadonlyArray<readonly [string, unknown, string]>
  ) {
    it.effect(`refuses genAi.${key}: ${JSON.stringify(value)}, and says what it expects`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.void.pipe(Effect.provide(makeTracingLive({ genAi: { [key]: value } }))))
        assert.instanceOf(error, TracingConfigError)
        assert.strictEqual(
          error.message,
          `makeTracingLive: option "genAi.${key}" is ${JSON.stringify(value)}, expected ${expected}`
        )
      }))
  }

  for (
    const [option, value, shown] of [
      ["sampler", Object.create(null), "{}"],
      ["baggageAttributes", [""], `[""]`],
      ["spanProcessors", [{}], "[{}]"]
    ] as ReadonlyArray<readonly [string, unknown, string]>
  ) {
    it.effect(`shows what it refuses: ${option} is ${shown}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.void.pipe(Effect.provide(makeTracingLive({ [option]: value }))))
        assert.include(error.message, `option "${option}" is ${shown}, expected `)
      }))
  }

  it.effect("refuses headers that cannot be sent, without showing them", () =>
    Effect.gen(function*() {
      const layer = makeTracingLive({ headers: { authorization: "Bearer hunter2\r\n" } })
      const error = yield* Effect.flip(Effect.void.pipe(Effect.provide(layer)))
      assert.include(error.message, "option \"headers\"")
      assert.notInclude(JSON.stringify(error) + error.message, "hunter2")
    }))

  it.effect("its error can be caught by reason", () =>
    Effect.gen(function*() {
      const option = yield* Layer.build(makeTracingLive({ serviceName: "" })).pipe(
        Effect.as("built"),
        Effect.catchReason("TracingConfigError", "InvalidOption", (reason) => Effect.succeed(reason.option)),
        Effect.scoped
      )
      assert.strictEqual(option, "serviceName")
    }))

  for (
    const [name, options] of [
      ["no options", {}],
      ["undefined options", { serviceName: undefined, sampler: undefined }],
      ["a bare host and port", { endpoint: "collector:4317" }],
      ["an IPv6 address", { endpoint: "http://[::1]:4317" }],
      ["durations of every form", { exportInterval: 100, shutdownTimeout: "1 second" }]
    ] as ReadonlyArray<readonly [string, TracingOptions]>
  ) {
    it.effect(`takes ${name}`, () =>
      live(Effect.void, { ...options, shutdownTimeout: options.shutdownTimeout ?? "50 millis" }))
  }
})

describe("genAi", () => {
  const settings = (options: TracingOptions, env?: Record<string, string>) =>
    live(GenAiSettings, { exporter: "none", ...options }, env)

  it.effect("undefined settings leave the defaults in force", () =>
    Effect.gen(function*() {
      const genAi = { convention: undefined, capture: undefined, redact: undefined, maxContentBytes: undefined }
      assert.deepStrictEqual(yield* settings({ genAi: genAi as never }), yield* GenAiSettings)
    }))

  it.effect("settings that are provided stay, where neither the environment nor an option says anything", () =>
    Effect.gen(function*() {
      const provided: GenAiSettings = {
        convention: "latest",
        capture: "SPAN_AND_EVENT",
        redact: (content) => content,
        maxContentBytes: 10
      }
      const inside = Effect.all([
        settings({}),
        settings({ genAi: { capture: "EVENT_ONLY" } }, {
          OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: "SPAN_ONLY"
        }),
        settings({}, { OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: "NO_CONTENT" })
      ])
      assert.deepStrictEqual(yield* inside.pipe(Effect.provideService(GenAiSettings, provided)), [
        provided,
        { ...provided, capture: "EVENT_ONLY" },
        { ...provided, capture: "NO_CONTENT" }
      ])
    }))
})

describe("options beside `provider`", () => {
  const warnings = Effect.fnUntraced(function*(options: TracingOptions) {
    const { layer, logs } = collectLogs()
    yield* live(Effect.void, { provider: new BasicTracerProvider(), ...options }).pipe(Effect.provide(layer))
    return logs
  })

  it.effect("that it makes useless are named, in one warning", () =>
    Effect.gen(function*() {
      const logs = yield* warnings({
        exporter: "none",
        sampler: new AlwaysOnSampler(),
        maxQueueSize: 10,
        endpoint: dead,
        serviceName: "mine"
      })
      assert.deepStrictEqual(logs, [
        "provider: it decides for itself what `exporter`, `sampler`, `maxQueueSize`, `endpoint`, `serviceName` would say. " +
        "Set it there, or leave out `provider`."
      ])
    }))

  it.effect("that are of use there are not", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const own = {
        genAi: { capture: "NO_CONTENT" },
        baggageAttributes: ["tenant"],
        shutdownTimeout: "1 second"
      } as const
      assert.deepStrictEqual(yield* warnings({ ...own, sampler: undefined }), [])
      assert.deepStrictEqual(yield* warnings({ metrics: true, endpoint: receiver.url, serviceName: "mine" }), [])
    }))
})

describe("sampling", () => {
  const run = (effect: Effect.Effect<unknown, unknown>, options: { sampler?: Sampler; env?: Record<string, string> }) =>
    Effect.gen(function*() {
      const recorder = Recorder.make(options)
      yield* recorder.run(effect)
      return recorder.spans.map((span) => span.name).toSorted()
    })
  const remote = (flags: string) =>
    withTraceContext({
      _trace_context: { traceparent: `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-${flags}` }
    })
  const nested = Effect.void.pipe(Effect.withSpan("child"), Effect.withSpan("parent"))

  for (
    const [name, effect, options, expected] of [
      ["everything by default", nested, {}, ["child", "parent"]],
      ["nothing of an unsampled trace", nested.pipe(remote("00")), {}, []],
      ["all of a sampled trace", nested.pipe(remote("01")), {}, ["child", "parent"]],
      ["all of an unsampled trace, if the sampler says so", nested.pipe(remote("00")), {
        sampler: new AlwaysOnSampler()
      }, ["child", "parent"]],
      ["what the sampler wants below one that it does not want", nested, {
        sampler: {
          shouldSample: (_, __, name) => ({
            decision: name === "parent" ? SamplingDecision.NOT_RECORD : SamplingDecision.RECORD_AND_SAMPLED
          }),
          toString: () => "children"
        }
      }, ["child"]],
      ["nothing with always_off", nested, { env: { OTEL_TRACES_SAMPLER: "always_off" } }, []],
      ["nothing with a ratio of 0", nested, {
        env: { OTEL_TRACES_SAMPLER: "parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG: "0" }
      }, []],
      ["all with an upper-case sampler name", nested, { env: { OTEL_TRACES_SAMPLER: "ALWAYS_ON" } }, [
        "child",
        "parent"
      ]],
      [
        "nothing under a span that Effect has left out",
        Effect.void.pipe(
          Effect.withSpan("child"),
          Effect.withSpan("left out", { sampled: false }),
          Effect.withSpan("parent")
        ),
        { sampler: new AlwaysOnSampler() },
        ["parent"]
      ],
      [
        "nothing below the minimum trace level",
        Effect.void.pipe(
          Effect.withSpan("detail", { level: "Debug" }),
          Effect.withSpan("parent"),
          Effect.provideService(Tracer.MinimumTraceLevel, "Info")
        ),
        {},
        ["parent"]
      ],
      [
        "nothing where tracing is disabled",
        Effect.void.pipe(
          Effect.withSpan("silent"),
          Effect.withTracerEnabled(false),
          Effect.withSpan("parent")
        ),
        {},
        ["parent"]
      ]
    ] as ReadonlyArray<
      readonly [string, Effect.Effect<void>, { sampler?: Sampler; env?: Record<string, string> }, ReadonlyArray<string>]
    >
  ) {
    it.effect(`records ${name}`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* run(effect, options), expected)
      }))
  }

  it.effect("a span that is recorded but not sampled is not exported, and passes its decision on", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const sampler: Sampler = { shouldSample: () => ({ decision: SamplingDecision.RECORD }) }
      const sent = yield* live(injectTraceContext({}).pipe(Effect.withSpan("a")), { endpoint: receiver.url, sampler })
      assert.match(sent._trace_context!.traceparent!, /-02$/)
      assert.strictEqual(receiver.requests.length, 0)
    }))
})

describe("limits", () => {
  it.effect("are the specification's, under the specification's names", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({
        env: {
          OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: "4",
          OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: "2",
          OTEL_SPAN_EVENT_COUNT_LIMIT: "1",
          OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT: "1",
          OTEL_SPAN_LINK_COUNT_LIMIT: "1",
          OTEL_LINK_ATTRIBUTE_COUNT_LIMIT: "1"
        }
      })
      const other = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
      const link = { span: other, attributes: { a: "123456", b: 2 } }
      yield* recorder.run(
        Effect.gen(function*() {
          const span = yield* Effect.orDie(Effect.currentSpan)
          span.event("one", 1n, { a: "123456", b: 2 })
          span.event("two", 2n, { a: "123456", b: 2 })
        }).pipe(Effect.withSpan("a", { attributes: { a: "123456", b: 2, c: 3 }, links: [link, link] }))
      )
      const span = recorder.span("a")
      assert.deepStrictEqual(span.attributes, { a: "1234", b: 2 })
      assert.strictEqual(span.droppedAttributesCount, 1)
      assert.deepStrictEqual(span.events.map((event) => event.attributes), [{ a: "1234" }])
      assert.deepStrictEqual(span.links.map((link) => link.attributes), [{ a: "1234" }])
    }))
  it.effect("the general number of attributes holds for events and links too, one of their own comes first", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ env: { OTEL_ATTRIBUTE_COUNT_LIMIT: "1", OTEL_LINK_ATTRIBUTE_COUNT_LIMIT: "2" } })
      const other = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
      const attributes = { a: 1, b: 2, c: 3 }
      yield* recorder.run(
        Effect.gen(function*() {
          const span = yield* Effect.orDie(Effect.currentSpan)
          span.event("one", 1n, attributes)
        }).pipe(Effect.withSpan("a", { attributes, links: [{ span: other, attributes }] }))
      )
      const span = recorder.span("a")
      assert.deepStrictEqual(
        [span.attributes, span.events[0].attributes, span.links[0].attributes],
        [{ a: 1 }, { a: 1 }, { a: 1, b: 2 }]
      )
    }))
})

describe("logs", () => {
  it.effect("become events of the span that is current", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        Effect.log("hello").pipe(Effect.annotateLogs("key", "value"), Effect.withSpan("a"))
      ).pipe(Effect.provideService(References.MinimumLogLevel, "All"))
      const [event] = recorder.span("a").events
      assert.strictEqual(event.name, "hello")
      assert.strictEqual(event.attributes?.key, "value")
    }).pipe(Effect.provide(Logger.layer([Logger.tracerLogger]))))
})

describe("baggage", () => {
  it.effect("becomes attributes of every span, as far as it is allowed to", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* live(
        Effect.void.pipe(
          Effect.withSpan("inner"),
          Effect.withSpan("outer"),
          withBaggage({ tenant: "acme", secret: "hunter2" })
        ),
        { endpoint: receiver.url, baggageAttributes: ["tenant", "region"] }
      )
      const spans = yield* receiver.awaitSpans(2)
      assert.deepStrictEqual(spans.map((span) => span.attributes), [{ tenant: "acme" }, { tenant: "acme" }])
    }))

  it.effect("stays off spans by default", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(Effect.void.pipe(Effect.withSpan("a"), withBaggage({ tenant: "acme" })))
      assert.deepStrictEqual(recorder.span("a").attributes, {})
    }))

  for (
    const [value, expected] of [
      [undefined, ["traceparent", "baggage"]],
      ["baggage", ["baggage"]],
      ["tracecontext", ["traceparent"]],
      ["tracecontext,baggage,tracecontext", ["traceparent", "baggage"]],
      ["none", []]
    ] as const
  ) {
    it.effect(`OTEL_PROPAGATORS=${value} sends ${expected.join(" and ") || "nothing"}, and reads nothing else`, () =>
      Effect.gen(function*() {
        const message = {
          _trace_context: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", baggage: "a=1" }
        }
        const env: Record<string, string> = value === undefined ? {} : { OTEL_PROPAGATORS: value }
        const relay = injectTraceContext({}).pipe(Effect.withSpan("a"), withTraceContext(message))
        for (const disabled of ["true", "false"]) {
          const sent = yield* Recorder.make({ env: { ...env, OTEL_SDK_DISABLED: disabled } }).run(relay)
          assert.deepStrictEqual(Object.keys(sent._trace_context ?? {}), [...expected])
        }
      }))
  }

  it.effect("OTEL_PROPAGATORS with others in it is reported, and those that are known count", () =>
    Effect.gen(function*() {
      const { layer, logs } = collectLogs()
      const sent = yield* live(injectTraceContext({}).pipe(Effect.withSpan("a")), { exporter: "none" }, {
        OTEL_PROPAGATORS: "b3,tracecontext"
      }).pipe(withBaggage({ a: "1" }), Effect.provide(layer))
      assert.deepStrictEqual(Object.keys(sent._trace_context ?? {}), ["traceparent"])
      assert.strictEqual(logs.length, 1)
      assert.match(logs[0], /OTEL_PROPAGATORS has "b3", expected a list of .*; the others count/)
    }))
})

describe("metrics", () => {
  const call = Effect.void.pipe(withLlmSpan({
    provider: "openai",
    request: { model: "gpt-4o" },
    response: () => ({ usage: { inputTokens: 3, outputTokens: 1 } })
  }))
  const isolated = <A, E>(self: Effect.Effect<A, E>) => Effect.provideService(self, Metric.MetricRegistry, new Map())

  for (
    const [name, options, env] of [
      ["the option", { metrics: true }, {}],
      ["OTEL_METRICS_EXPORTER", {}, { OTEL_METRICS_EXPORTER: "otlp" }]
    ] as const
  ) {
    it.effect(`go to the collector when the layer is released: ${name}`, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        yield* live(call, { ...options, endpoint: receiver.url, serviceName: "planner" }, env).pipe(isolated)
        const usage = receiver.metrics.find((metric) => metric.name === "gen_ai.client.token.usage")
        assert.deepInclude(usage, { type: "histogram", unit: "{token}" })
        assert.strictEqual(usage?.resource["service.name"], "planner")
        assert.strictEqual(receiver.spans.length, 1)
      }))
  }

  it.effect("go there on flush", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* live(
        Effect.gen(function*() {
          yield* call
          yield* (yield* Tracing).flush
          assert.isAbove(receiver.metrics.length, 0)
        }),
        { metrics: true, endpoint: receiver.url }
      ).pipe(isolated)
    }))

  it.effect("are neither recorded nor sent by default", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const snapshot = yield* live(Effect.andThen(call, Metric.snapshot), { endpoint: receiver.url }).pipe(isolated)
      assert.deepStrictEqual(snapshot.filter((metric) => metric.id.startsWith("gen_ai")), [])
      assert.strictEqual(receiver.metrics.length, 0)
    }))

  it.live("an export that is under way is given up with the layer, and reported", () =>
    Effect.gen(function*() {
      const { layer, logs } = collectLogs()
      const receiver = yield* OtlpReceiver.make()
      yield* receiver.respondWith(() => OtlpReceiver.delayed("1 minute"))
      yield* live(
        Effect.gen(function*() {
          yield* call
          while (receiver.requests.length === 0) yield* Effect.yieldNow
        }),
        { metrics: true, exporter: "none", endpoint: receiver.url, shutdownTimeout: "300 millis" },
        // The reader's own patience would end with its interval.
        { OTEL_METRIC_EXPORT_INTERVAL: "1000" }
      ).pipe(isolated, Effect.provide(layer))
      const released = performance.now()
      while (receiver.connections > 0) yield* Effect.yieldNow
      assert.isBelow(performance.now() - released, 3000)
      assert.strictEqual(receiver.requests.length, 1)
      assert.strictEqual(logs.length, 1, logs.join("\n"))
      assert.match(logs[0], /^Metrics could not be exported to \S+: there was no answer in time$/)
    }))

  it.effect("a dead collector changes nothing", () =>
    Effect.gen(function*() {
      const { layer } = collectLogs()
      const result = yield* live(Effect.as(call, 42), { metrics: true, endpoint: dead, shutdownTimeout: "300 millis" })
        .pipe(isolated, Effect.provide(layer))
      assert.strictEqual(result, 42)
    }))
})

describe("span processors of the user's", () => {
  const make = (overrides: Partial<Record<keyof SpanProcessor, unknown>>) =>
    ({
      onStart() {},
      onEnd() {},
      forceFlush: () => Promise.resolve(),
      shutdown: () => Promise.resolve(),
      ...overrides
    }) as SpanProcessor

  for (
    const [name, method, problem] of [
      ["rejects", () => Promise.reject(new Error("no")), "no"],
      ["throws", () => {
        throw new Error("no")
      }, "no"],
      ["is missing", undefined, "is not a function"],
      ["returns nothing", () => {}, undefined]
    ] as const
  ) {
    const assertReported = (logs: ReadonlyArray<string>) => {
      assert.strictEqual(logs.length, problem === undefined ? 0 : 1, logs.join("\n"))
      if (problem !== undefined) assert.match(logs[0], new RegExp(`^A span processor has failed: .*${problem}$`))
    }

    it.effect(`do not end release before the export, nor without the others: shutdown ${name}`, () =>
      Effect.gen(function*() {
        const { layer, logs } = collectLogs()
        const receiver = yield* OtlpReceiver.make()
        yield* receiver.respondWith(() => OtlpReceiver.delayed("200 millis"))
        let isShutDown = false
        const other = make({
          shutdown: async () => {
            isShutDown = true
          }
        })
        yield* live(Effect.void.pipe(Effect.withSpan("a")), {
          endpoint: receiver.url,
          spanProcessors: [make({ shutdown: method }), other]
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(receiver.spans.map((span) => span.name), ["a"])
        assert.isTrue(isShutDown)
        assertReported(logs)
      }))

    it.effect(`do not end flush before the export, nor without the others: forceFlush ${name}`, () =>
      Effect.gen(function*() {
        const { layer, logs } = collectLogs()
        const receiver = yield* OtlpReceiver.make()
        yield* receiver.respondWith(() => OtlpReceiver.delayed("200 millis"))
        let flushes = 0
        const other = make({
          forceFlush: async () => {
            flushes++
          }
        })
        yield* live(
          Effect.gen(function*() {
            const { flush } = yield* Tracing
            for (const name of ["a", "b"]) {
              yield* Effect.void.pipe(Effect.withSpan(name))
              yield* flush
              assert.strictEqual(receiver.spans.at(-1)?.name, name)
            }
          }),
          { endpoint: receiver.url, spanProcessors: [make({ forceFlush: method }), other] }
        ).pipe(Effect.provide(layer))
        assert.strictEqual(flushes, 2)
        assertReported(logs)
      }))
  }
})

describe("a flush that is interrupted", () => {
  it.live("leaves no timer behind that keeps the process alive", () =>
    Effect.gen(function*() {
      const timers = () => process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length
      const exporter: SpanExporter = {
        export: (_, done) => done({ code: ExportResultCode.SUCCESS }),
        forceFlush: () => new Promise(() => {}),
        shutdown: () => Promise.resolve()
      }
      yield* live(
        Effect.gen(function*() {
          const { flush } = yield* Tracing
          const before = timers()
          for (let count = 0; count < 50; count++) yield* Effect.timeoutOption(flush, "1 millis")
          // Others may come and go meanwhile.
          assert.isBelow(timers(), before + 25)
        }),
        { exporter }
      )
    }))
})

describe("the layer's lifetime", () => {
  it.effect("ends with an export, however long that may take", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* live(Effect.void.pipe(Effect.withSpan("a")), { endpoint: receiver.url, shutdownTimeout: "30 days" })
      assert.strictEqual(receiver.spans.length, 1)
    }))

  it.effect("is that of its scope", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        Layer.orDie(makeTracingLive({ endpoint: receiver.url })),
        scope
      )
      yield* Effect.void.pipe(Effect.withSpan("a"), Effect.provide(context))
      assert.strictEqual(receiver.requests.length, 0)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(receiver.spans.length, 1)
      // A span that ends after release is counted, not exported.
      yield* Effect.void.pipe(Effect.withSpan("late"), Effect.provide(context))
      assert.deepStrictEqual(
        yield* Tracing.pipe(Effect.flatMap((tracing) => tracing.exportStats), Effect.provide(context)),
        { ended: 2, exported: 1, dropped: 1, queued: 0 }
      )
    }))
})
