import { assert, describe, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import {
  createTraceState,
  diag,
  DiagLogLevel,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags
} from "@opentelemetry/api"
import { type ExportResult, ExportResultCode } from "@opentelemetry/core"
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc"
import { resourceFromAttributes } from "@opentelemetry/resources"
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics"
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor
} from "@opentelemetry/sdk-trace-base"
import { Effect, Fiber } from "effect"
import { ProtobufMetricsSerializer } from "otlp-ref"
import * as OtlpReceiver from "./support/OtlpReceiver.ts"
import * as OtlpReceiverProcess from "./support/OtlpReceiverProcess.ts"

type ExporterConfig = NonNullable<ConstructorParameters<typeof OTLPTraceExporter>[0]>

const exportSpans = Effect.fnUntraced(function*(
  receiver: { readonly url: string },
  spans: ReadonlyArray<ReadableSpan>,
  config?: ExporterConfig
) {
  const exporter = yield* Effect.acquireRelease(
    Effect.sync(() => new OTLPTraceExporter({ url: receiver.url, ...config })),
    (exporter) => Effect.promise(() => exporter.shutdown())
  )
  return yield* Effect.callback<ExportResult>((resume) => {
    exporter.export([...spans], (result) => resume(Effect.succeed(result)))
  })
})

const recordSpans = (record: (tracer: ReturnType<BasicTracerProvider["getTracer"]>) => void) => {
  const memory = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ "service.name": "recorder", "service.instance": 7 }),
    spanProcessors: [new SimpleSpanProcessor(memory)]
  })
  record(provider.getTracer("the-scope", "1.2.3"))
  return memory.getFinishedSpans()
}

const spansNamed = (...names: ReadonlyArray<string>) =>
  recordSpans((tracer) => names.forEach((name) => tracer.startSpan(name).end()))

/** What the OpenTelemetry packages warn about until the test ends. */
const captureWarnings = Effect.acquireRelease(
  Effect.sync(() => {
    const warnings: Array<string> = []
    const log = (...parts: ReadonlyArray<unknown>) => warnings.push(parts.map(String).join(" "))
    diag.setLogger({ error: log, warn: log, info: log, debug: log, verbose: log }, DiagLogLevel.WARN)
    return warnings
  }),
  () => Effect.sync(() => diag.disable())
)

const remote = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  traceFlags: TraceFlags.SAMPLED,
  traceState: createTraceState("vendor=remote"),
  isRemote: true
}

// google.rpc.Status { code: 8, message: "slow down", details: [RetryInfo { retry_delay: 2.5 s }] }, by protobufjs
const retryInfoStatus = "08081209736c6f7720646f776e1a36" +
  "0a28" + Buffer.from("type.googleapis.com/google.rpc.RetryInfo").toString("hex") +
  "120a0a0808021080cab5ee01"

describe("OtlpReceiver", () => {
  it.effect("decodes everything that the stock exporter sends", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const spans = recordSpans((tracer) => {
        const span = tracer.startSpan(
          "everything",
          {
            kind: SpanKind.CONSUMER,
            startTime: [1_700_000_000, 123_456_789],
            links: [{
              context: {
                traceId: "11111111111111111111111111111111",
                spanId: "2222222222222222",
                traceFlags: TraceFlags.NONE,
                traceState: createTraceState("linked=1,other=2")
              },
              attributes: { reason: "retry" }
            }]
          },
          trace.setSpanContext(ROOT_CONTEXT, remote)
        )
        span.addEvent("exception", { "exception.type": "Oops", attempt: 2 }, [1_700_000_001, 5])
        span.setStatus({ code: SpanStatusCode.ERROR, message: "it broke" })
        span.end([1_700_000_002, 1])
      })
      // The SDK's API lets only some types through, the wire format has more.
      Object.assign(spans[0]!.attributes, {
        text: "é",
        empty: "",
        integer: -42,
        large: Number.MAX_SAFE_INTEGER,
        double: 0.5,
        flag: false,
        strings: ["a", "b"],
        numbers: [1, 2.5],
        none: [],
        bytes: Uint8Array.of(0, 255),
        map: { inner: { deep: true } }
      })

      assert.deepStrictEqual(yield* exportSpans(receiver, spans), { code: ExportResultCode.SUCCESS })

      const [span] = yield* receiver.awaitSpans(1)
      assert.deepStrictEqual(span, {
        name: "everything",
        kind: "consumer",
        kindNumber: 5,
        traceId: remote.traceId,
        spanId: spans[0]!.spanContext().spanId,
        parentSpanId: remote.spanId,
        flags: 0x301,
        traceState: "vendor=remote",
        startTime: 1_700_000_000_123_456_789n,
        endTime: 1_700_000_002_000_000_001n,
        attributes: {
          text: "é",
          empty: "",
          integer: -42,
          large: Number.MAX_SAFE_INTEGER,
          double: 0.5,
          flag: false,
          strings: ["a", "b"],
          numbers: [1, 2.5],
          none: [],
          bytes: Uint8Array.of(0, 255),
          map: { inner: { deep: true } }
        },
        attributeTypes: {
          text: "stringValue",
          empty: "stringValue",
          integer: "intValue",
          large: "intValue",
          double: "doubleValue",
          flag: "boolValue",
          strings: "arrayValue",
          numbers: "arrayValue",
          none: "arrayValue",
          bytes: "bytesValue",
          map: "kvlistValue"
        },
        droppedAttributesCount: 0,
        events: [{
          name: "exception",
          time: 1_700_000_001_000_000_005n,
          attributes: { "exception.type": "Oops", attempt: 2 },
          attributeTypes: { "exception.type": "stringValue", attempt: "intValue" },
          droppedAttributesCount: 0
        }],
        droppedEventsCount: 0,
        links: [{
          traceId: "11111111111111111111111111111111",
          spanId: "2222222222222222",
          traceState: "linked=1,other=2",
          flags: 0x100,
          attributes: { reason: "retry" },
          attributeTypes: { reason: "stringValue" },
          droppedAttributesCount: 0
        }],
        droppedLinksCount: 0,
        status: { code: "error", message: "it broke" },
        scope: { name: "the-scope", version: "1.2.3", schemaUrl: "", attributes: {} },
        resource: { "service.name": "recorder", "service.instance": 7 }
      })
    }))

  it.effect("tells a root span, its kind and its unset status", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* exportSpans(receiver, spansNamed("root"))
      const [span] = receiver.spans
      assert.isUndefined(span?.parentSpanId)
      assert.deepStrictEqual([span?.kind, span?.kindNumber, span?.flags], ["internal", 1, 0x101])
      assert.deepStrictEqual(span?.status, { code: "unset", message: "" })
    }))

  it.effect("keeps the headers and the uncompressed bytes of each request", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const metadata = new Grpc.Metadata()
      metadata.set("authorization", "Bearer token")
      const spans = spansNamed("canary ".repeat(10_000))
      // The enum lives in a package that is not a dependency.
      const compression = "gzip" as NonNullable<ExporterConfig["compression"]>
      yield* exportSpans(receiver, spans, { metadata, compression })
      assert.deepStrictEqual(receiver.metadata.map((headers) => headers.authorization), ["Bearer token"])
      assert.isAbove(receiver.rawBytes[0]!.toString().split("canary ").length, 10_000)
      assert.isBelow(receiver.wireBytes, 10_000)
    }))

  const replies: ReadonlyArray<{
    readonly reply: string
    readonly respond: OtlpReceiver.Reply
    readonly error?: RegExp
    readonly warning?: RegExp
    readonly received: ReadonlyArray<string>
  }> = [
    { reply: "success", respond: OtlpReceiver.success, received: ["a", "b", "c"] },
    { reply: "success, slowly", respond: OtlpReceiver.delayed("50 millis"), received: ["a", "b", "c"] },
    {
      reply: "partial success",
      respond: OtlpReceiver.partialSuccess(1, "one is too long"),
      warning: /Partial Success.*"rejectedSpans":1,"errorMessage":"one is too long"/,
      received: ["a", "b"]
    },
    {
      reply: "garbage",
      respond: OtlpReceiver.garbage,
      warning: /could not deserialize response/,
      received: ["a", "b", "c"]
    },
    {
      reply: "UNAVAILABLE",
      respond: OtlpReceiver.failure("UNAVAILABLE"),
      error: /^14 UNAVAILABLE: the test says UNAVAILABLE$/,
      received: []
    },
    {
      reply: "INVALID_ARGUMENT",
      respond: OtlpReceiver.failure("INVALID_ARGUMENT", { message: "no such field" }),
      error: /^3 INVALID_ARGUMENT: no such field$/,
      received: []
    },
    {
      reply: "a connection reset",
      respond: OtlpReceiver.reset,
      error: /^14 UNAVAILABLE: (?!the test says)/,
      received: []
    },
    {
      reply: "nothing until the client gives up",
      respond: OtlpReceiver.delayed("1 hour"),
      error: /^4 DEADLINE_EXCEEDED/,
      received: []
    }
  ]
  it.effect.each(replies)("answers with $reply", ({ error, received, respond, warning }) =>
    Effect.gen(function*() {
      const warnings = yield* captureWarnings
      const receiver = yield* OtlpReceiver.make()
      yield* receiver.respondWith(() => respond)
      const result = yield* exportSpans(receiver, spansNamed("a", "b", "c"), { timeoutMillis: 500 })
      assert.match(result.error?.message ?? "", error ?? /^$/)
      assert.match(warnings.join("\n"), warning ?? /^$/)
      assert.deepStrictEqual(receiver.spans.map(({ name }) => name), received)
      assert.deepStrictEqual(receiver.requests.map(({ spans }) => spans.length), [3])
    }))

  it.effect("tells the client when to retry", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* receiver.respondWith(() =>
        OtlpReceiver.failure("RESOURCE_EXHAUSTED", { message: "slow down", retryAfter: "2500 millis" })
      )
      const { error } = yield* exportSpans(receiver, spansNamed("a"))
      assert.deepStrictEqual(
        (error as Grpc.ServiceError).metadata.get("grpc-status-details-bin"),
        [Buffer.from(retryInfoStatus, "hex")]
      )
    }))

  it.effect("refuses messages over its limit", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make({ maxReceiveBytes: 10_000 })
      const { error } = yield* exportSpans(receiver, spansNamed("x".repeat(10_000)))
      assert.match(error?.message ?? "", /^8 RESOURCE_EXHAUSTED/)
      assert.lengthOf(receiver.spans, 0)
    }))

  it.effect("answers each request as the handler says", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* receiver.respondWith(({ index }) =>
        index === 0 ? OtlpReceiver.failure("UNAVAILABLE") : OtlpReceiver.success
      )
      const spans = spansNamed("a")
      assert.strictEqual((yield* exportSpans(receiver, spans)).code, ExportResultCode.FAILED)
      assert.strictEqual((yield* exportSpans(receiver, spans)).code, ExportResultCode.SUCCESS)
      assert.lengthOf(receiver.spans, 1)
      assert.lengthOf(yield* receiver.awaitRequests(2), 2)
    }))

  it.effect("wakes who waits for spans when they come", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const waiting = yield* Effect.forkChild(receiver.awaitSpans(2), { startImmediately: true })
      yield* exportSpans(receiver, spansNamed("first"))
      assert.isUndefined(waiting.pollUnsafe())
      yield* exportSpans(receiver, spansNamed("second"))
      assert.deepStrictEqual((yield* Fiber.join(waiting)).map(({ name }) => name), ["first", "second"])
    }))

  it.effect("says what came when it waits in vain", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* exportSpans(receiver, spansNamed("first", "second"))
      const error = yield* Effect.flip(receiver.awaitSpans(3, "10 millis"))
      assert.strictEqual(error.message, "waited for 3 spans, but 1 requests and 2 spans came: first, second")
    }))

  it.effect("can be replaced on its port", () =>
    Effect.gen(function*() {
      const { port } = yield* Effect.scoped(OtlpReceiver.make())
      const second = yield* OtlpReceiver.make({ port })
      yield* exportSpans(second, spansNamed("kept"))
      assert.deepStrictEqual(second.spans.map(({ name }) => name), ["kept"])
    }))

  it.effect("decodes metrics", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const reader = new PeriodicExportingMetricReader({
        exporter: {
          export: (_metrics, callback) => callback({ code: ExportResultCode.SUCCESS }),
          forceFlush: () => Promise.resolve(),
          shutdown: () => Promise.resolve()
        }
      })
      const provider = new MeterProvider({
        resource: resourceFromAttributes({ "service.name": "meter" }),
        readers: [reader]
      })
      yield* Effect.addFinalizer(() => Effect.promise(() => provider.shutdown()))
      const meter = provider.getMeter("the-meter", "3")
      meter.createCounter("calls", { unit: "{call}", description: "How often" }).add(3, { tool: "lookup" })
      meter.createHistogram("tokens", { unit: "{token}", advice: { explicitBucketBoundaries: [1, 4] } }).record(2)
      const { resourceMetrics } = yield* Effect.promise(() => reader.collect())

      const client = yield* Effect.acquireRelease(
        Effect.sync(() => new Grpc.Client(`127.0.0.1:${receiver.port}`, Grpc.credentials.createInsecure())),
        (client) => Effect.sync(() => client.close())
      )
      yield* Effect.callback<void, Grpc.ServiceError>((resume) => {
        client.makeUnaryRequest(
          "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
          (bytes: Uint8Array) => Buffer.from(bytes),
          (bytes) => bytes,
          ProtobufMetricsSerializer.serializeRequest(resourceMetrics)!,
          (error) => resume(error === null ? Effect.void : Effect.fail(error))
        )
      })

      const origin = {
        scope: { name: "the-meter", version: "3", schemaUrl: "", attributes: {} },
        resource: { "service.name": "meter" }
      }
      assert.deepStrictEqual(
        receiver.metrics.map((metric) => ({
          ...metric,
          points: metric.points.map(({ startTime: _start, time: _time, ...point }) => point)
        })),
        [
          {
            name: "calls",
            description: "How often",
            unit: "{call}",
            type: "sum",
            temporality: "cumulative",
            isMonotonic: true,
            points: [{ attributes: { tool: "lookup" }, attributeTypes: { tool: "stringValue" }, value: 3 }],
            ...origin
          },
          {
            name: "tokens",
            description: "",
            unit: "{token}",
            type: "histogram",
            temporality: "cumulative",
            isMonotonic: false,
            points: [{
              attributes: {},
              attributeTypes: {},
              count: 1,
              sum: 2,
              bucketCounts: [0, 1, 0],
              explicitBounds: [1, 4]
            }],
            ...origin
          }
        ]
      )
    }))
})

describe("OtlpReceiverProcess", () => {
  it.effect("counts across being killed and started again on its port", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiverProcess.make
      const [first, second, third] = ["first", "second", "third"].map((name) => spansNamed(name)[0]!)
      yield* exportSpans(receiver, [first!, second!])
      yield* receiver.kill
      yield* receiver.start
      yield* exportSpans(receiver, [second!])
      yield* exportSpans(receiver, [third!])
      const summary = yield* receiver.stop
      assert.deepInclude(summary, { spans: 4, distinctSpans: 3, duplicateSpans: 1, requests: 2, metrics: 0 })
    }))
})
