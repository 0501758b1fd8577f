import { assert, describe, it } from "@effect/vitest"
import { diag, trace } from "@opentelemetry/api"
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base"
import { Cause, ConfigProvider, Effect, Exit, Layer, Logger, Metric, Redacted, References, Scope } from "effect"
import {
  injectTraceContext,
  makeTracingLive,
  Tracing,
  type TracingOptions,
  withBaggage,
  withLlmSpan,
  withTraceContext
} from "loom-tracing"
import { readFileSync } from "node:fs"
import { basename, resolve } from "node:path"
import { inspect } from "node:util"
import * as OtlpHttpReceiver from "./support/OtlpHttpReceiver.ts"
import * as OtlpReceiver from "./support/OtlpReceiver.ts"
import * as Program from "./support/Program.ts"

type Env = Record<string, string>

/** Nothing listens on the port of tcpmux. */
const dead = "http://127.0.0.1:1"

/** A live layer on an environment of its own, and what it logs. */
const make = (env: Env, options: TracingOptions = {}) => {
  const logs: Array<string> = []
  const layer = makeTracingLive({ shutdownTimeout: "5 seconds", ...options }).pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(env))),
    Layer.provideMerge(Logger.layer([Logger.make(({ message }) => void logs.push(String(message)))]))
  )
  return { layer, logs }
}

/** Runs an effect under the live layer until that has been released; returns what was logged. */
const run = <A, E>(effect: Effect.Effect<A, E>, env: Env, options?: TracingOptions) => {
  const { layer, logs } = make(env, options)
  return Effect.as(Effect.provide(effect, layer), logs)
}

const span = Effect.withSpan(Effect.void, "span")
const spans = (count: number) => Effect.repeat(span, { times: count - 1 })

describe("the process environment", () => {
  it.live("configures a program that has no options", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const outcome = yield* Program.run("support/programs/environment.ts", {
        env: {
          OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
          OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: receiver.url,
          OTEL_EXPORTER_OTLP_HEADERS: "x-all=a%20b,x-both=all",
          OTEL_EXPORTER_OTLP_TRACES_HEADERS: "X-Both=traces",
          OTEL_EXPORTER_OTLP_COMPRESSION: "gzip",
          OTEL_EXPORTER_OTLP_TIMEOUT: "20000",
          OTEL_SERVICE_NAME: "planner",
          OTEL_RESOURCE_ATTRIBUTES: "service.name=other,team=bl%C3%BCe%2C%3D,key%201=1",
          OTEL_NODE_RESOURCE_DETECTORS: "host,os",
          OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
          OTEL_TRACES_SAMPLER_ARG: "1",
          OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: "5",
          OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: "4",
          OTEL_ATTRIBUTE_COUNT_LIMIT: "1",
          OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: "2",
          OTEL_SPAN_EVENT_COUNT_LIMIT: "1",
          OTEL_SPAN_LINK_COUNT_LIMIT: "1",
          OTEL_LINK_ATTRIBUTE_COUNT_LIMIT: "2",
          OTEL_LOG_LEVEL: "error"
        }
      })
      assert.deepStrictEqual([outcome.code, outcome.stdout, outcome.stderr], [0, "", ""])
      const [work] = receiver.spans
      assert.strictEqual(receiver.spans.length, 1)
      assert.deepStrictEqual(work.attributes, { a: "1234", b: 2 })
      assert.deepStrictEqual(work.events.map((event) => Object.keys(event.attributes)), [["a"]])
      assert.deepStrictEqual(work.links.map((link) => Object.keys(link.attributes)), [["a", "b"]])
      const { "host.name": host, "os.type": os, "key 1": key, "service.name": service, team } = work.resource
      assert.deepStrictEqual([service, team, key, os], ["planner", "blüe,=", "1", process.platform])
      assert.isString(host)
      assert.isUndefined(work.resource["process.pid"])
      assert.deepStrictEqual([receiver.metadata[0]["x-all"], receiver.metadata[0]["x-both"]], ["a b", "traces"])
    }))

  it.live("that names no service: it has the name of the executable, however that was started", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* Program.run("support/programs/environment.ts", { env: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url } })
      assert.strictEqual(receiver.spans[0].resource["service.name"], `unknown_service:${basename(process.execPath)}`)
    }))

  it.live("that is wrong throughout costs one warning for each variable, and the defaults count", () =>
    Effect.gen(function*() {
      const env: Env = {
        OTEL_SDK_DISABLED: "1",
        OTEL_RESOURCE_ATTRIBUTES: "good=1,bad,=worse,percent=%",
        OTEL_NODE_RESOURCE_DETECTORS: "moon",
        OTEL_PROPAGATORS: "pigeon",
        OTEL_LOG_LEVEL: "loud",
        OTEL_TRACES_EXPORTER: "zipkin",
        OTEL_TRACES_SAMPLER: "jaeger_remote",
        OTEL_TRACES_SAMPLER_ARG: "-1",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "ftp://collector",
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_EXPORTER_OTLP_HEADERS: "good=1,bad",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS: "bad name=1,bad-bin=2",
        OTEL_EXPORTER_OTLP_TIMEOUT: "-1",
        OTEL_EXPORTER_OTLP_COMPRESSION: "zstd",
        OTEL_EXPORTER_OTLP_INSECURE: "yes",
        OTEL_BSP_SCHEDULE_DELAY: "-1",
        OTEL_BSP_EXPORT_TIMEOUT: "10s",
        OTEL_BSP_MAX_QUEUE_SIZE: "0",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "-512",
        OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: "0",
        OTEL_ATTRIBUTE_COUNT_LIMIT: "1.5",
        OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: "0",
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: "many",
        OTEL_SPAN_EVENT_COUNT_LIMIT: "-1",
        OTEL_SPAN_LINK_COUNT_LIMIT: "-1",
        OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT: "-1",
        OTEL_LINK_ATTRIBUTE_COUNT_LIMIT: "-1"
      }
      const receiver = yield* OtlpReceiver.make()
      const outcome = yield* Program.run("support/programs/environment.ts", {
        env: { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }
      })
      assert.strictEqual(outcome.code, 0, outcome.stderr)
      const [work] = receiver.spans
      assert.deepStrictEqual(work.attributes, { a: "123456", b: 2, c: 3 })
      assert.deepStrictEqual([work.events.length, work.links.length], [2, 2])
      assert.strictEqual(work.resource.good, "1")
      assert.strictEqual(receiver.metadata[0].good, "1")
      const warnings = outcome.stdout.trim().split("\n")
      for (const name of Object.keys(env)) {
        const found = warnings.filter((line) => new RegExp(`WARN.*: ${name} `).test(line))
        assert.strictEqual(found.length, 1, `${name} in ${outcome.stdout}`)
      }
      assert.strictEqual(warnings.length, Object.keys(env).length, outcome.stdout)
    }))

  it.live("OTEL_TRACES_EXPORTER takes several: the terminal and the collector", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const outcome = yield* Program.run("support/programs/environment.ts", {
        env: { OTEL_TRACES_EXPORTER: "console,otlp,OTLP", OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }
      })
      assert.strictEqual(receiver.spans.length, 1)
      assert.match(outcome.stdout, /\bwork\b/)
    }))

  it.live("OTEL_RESOURCE_ATTRIBUTES names the service in the terminal too", () =>
    Effect.gen(function*() {
      const outcome = yield* Program.run("support/programs/environment.ts", {
        env: { OTEL_TRACES_EXPORTER: "console", OTEL_RESOURCE_ATTRIBUTES: "service.name=planner" }
      })
      assert.match(outcome.stdout, /\bplanner\b/)
    }))

  it.live("is not looked at where a ConfigProvider says otherwise, not even by OpenTelemetry", () =>
    Effect.gen(function*() {
      const theirs: Env = {
        OTEL_EXPORTER_OTLP_HEADERS: "authorization=theirs,b\u00e4d=1",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS: "x-traces=theirs",
        OTEL_EXPORTER_OTLP_COMPRESSION: "gzip",
        OTEL_EXPORTER_OTLP_TIMEOUT: "0",
        OTEL_EXPORTER_OTLP_CERTIFICATE: "/nowhere",
        OTEL_TRACES_SAMPLER: "always_off",
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: "0",
        OTEL_SERVICE_NAME: "theirs",
        OTEL_RESOURCE_ATTRIBUTES: "team=theirs"
      }
      yield* Effect.acquireRelease(
        Effect.sync(() => void Object.assign(process.env, theirs)),
        () => Effect.sync(() => Object.keys(theirs).forEach((name) => delete process.env[name]))
      )
      const grpc = yield* OtlpReceiver.make()
      const http = yield* OtlpHttpReceiver.make()
      const work = Effect.withSpan(Effect.void, "span", { attributes: { a: 1 } })
      const logs = yield* run(work, { OTEL_EXPORTER_OTLP_ENDPOINT: grpc.url })
      const httpLogs = yield* run(work, {
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
        OTEL_EXPORTER_OTLP_ENDPOINT: http.url
      })
      assert.deepStrictEqual([logs, httpLogs], [[], []])
      for (
        const [received, headers] of [[grpc.spans, grpc.metadata[0]], [http.spans, http.requests[0].headers]] as const
      ) {
        assert.deepStrictEqual(received.map((span) => span.attributes), [{ a: 1 }])
        assert.match(String(received[0].resource["service.name"]), /^unknown_service/)
        assert.isUndefined(received[0].resource.team)
        assert.isUndefined(headers.authorization)
        assert.isUndefined(headers["x-traces"])
        assert.isUndefined(headers["content-encoding"])
      }
    }))
})

describe.concurrent("batches", () => {
  it.live("OTEL_BSP_MAX_EXPORT_BATCH_SIZE is how many spans a request has at most", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const logs = yield* run(spans(25), {
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "10"
      })
      assert.deepStrictEqual(receiver.requests.map((request) => request.spans.length).sort((a, b) => b - a), [
        10,
        10,
        5
      ])
      assert.deepStrictEqual(logs, [])
    }))

  for (
    const [name, env, options] of [
      ["OTEL_BSP_SCHEDULE_DELAY", { OTEL_BSP_SCHEDULE_DELAY: "50" }, {}],
      ["OTEL_BSP_SCHEDULE_DELAY=0", { OTEL_BSP_SCHEDULE_DELAY: "0" }, {}],
      ["the option that beats it", { OTEL_BSP_SCHEDULE_DELAY: "3600000" }, { exportInterval: "50 millis" }]
    ] as ReadonlyArray<readonly [string, Env, TracingOptions]>
  ) {
    it.live(`${name} is how long a span waits for others`, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        yield* run(
          Effect.andThen(span, Effect.orDie(receiver.awaitSpans(1))),
          { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, ...env },
          options
        )
        assert.strictEqual(receiver.requests.length, 1)
      }))
  }

  for (
    const [name, env, options, kept] of [
      ["OTEL_BSP_MAX_QUEUE_SIZE", { OTEL_BSP_MAX_QUEUE_SIZE: "100" }, {}, 100],
      ["the option that beats it", { OTEL_BSP_MAX_QUEUE_SIZE: "100" }, { maxQueueSize: 50 }, 50],
      ["maxQueueBytes", {}, { maxQueueBytes: 260 * 20 }, 20],
      ["the default, more than the specification's", {}, {}, 3000]
    ] as ReadonlyArray<readonly [string, Env, TracingOptions, number]>
  ) {
    it.live(`${name} is how many spans wait at most`, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        yield* run(
          Effect.gen(function*() {
            for (let index = 0; index < 3000; index++) yield* span
            const dropped = 3000 - kept
            assert.deepStrictEqual(yield* (yield* Tracing).exportStats, {
              ended: 3000,
              exported: 0,
              dropped,
              queued: kept
            })
            // Nothing is sent before it is over.
          }).pipe(Effect.provideService(References.PreventSchedulerYield, true)),
          { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, ...env },
          options
        )
        assert.strictEqual(receiver.spans.length, kept)
      }))
  }

  for (
    const [name, env, attempts] of [
      ["OTEL_EXPORTER_OTLP_TIMEOUT is how long an answer may take", { OTEL_EXPORTER_OTLP_TIMEOUT: "100" }, 2],
      ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT beats it", {
        OTEL_EXPORTER_OTLP_TIMEOUT: "20000",
        OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: "100"
      }, 2],
      ["OTEL_BSP_EXPORT_TIMEOUT is how long an export may take", { OTEL_BSP_EXPORT_TIMEOUT: "100" }, 2],
      ["a timeout of 0 is none", { OTEL_EXPORTER_OTLP_TIMEOUT: "0", OTEL_BSP_EXPORT_TIMEOUT: "0" }, 1]
    ] as ReadonlyArray<readonly [string, Env, number]>
  ) {
    it.live(name, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        yield* receiver.respondWith(({ index }) => OtlpReceiver.delayed(index === 0 ? "1500 millis" : 0))
        yield* run(
          Effect.gen(function*() {
            yield* span
            const tracing = yield* Tracing
            yield* tracing.flush
            yield* receiver.awaitRequests(attempts)
            yield* tracing.flush
            assert.deepStrictEqual(yield* tracing.exportStats, { ended: 1, exported: 1, dropped: 0, queued: 0 })
          }),
          { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, ...env }
        )
        assert.strictEqual(receiver.requests.length, attempts)
      }))
  }
})

describe("compression", () => {
  const send = Effect.fnUntraced(function*(env: Env) {
    const receiver = yield* OtlpReceiver.make()
    const http = yield* OtlpHttpReceiver.make()
    const work = Effect.withSpan(Effect.void, "span", { attributes: { content: "abc ".repeat(50_000) } })
    yield* run(work, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, ...env })
    yield* run(work, {
      OTEL_EXPORTER_OTLP_ENDPOINT: http.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
      ...env
    })
    assert.strictEqual(receiver.spans[0].attributes.content, "abc ".repeat(50_000))
    assert.strictEqual(http.spans[0].attributes.content, "abc ".repeat(50_000))
    return { grpc: receiver.wireBytes, http: Number(http.requests[0].headers["content-length"]) }
  })

  it.live("gzip really compresses, and only where it is asked for", () =>
    Effect.gen(function*() {
      const compressed = yield* send({ OTEL_EXPORTER_OTLP_COMPRESSION: "GZIP" })
      const forTraces = yield* send({
        OTEL_EXPORTER_OTLP_COMPRESSION: "none",
        OTEL_EXPORTER_OTLP_TRACES_COMPRESSION: "gzip"
      })
      const plain = yield* send({ OTEL_EXPORTER_OTLP_COMPRESSION: "none" })
      for (const bytes of [compressed.grpc, compressed.http, forTraces.grpc, forTraces.http]) {
        assert.isBelow(bytes, 10_000)
      }
      assert.isAbove(plain.grpc, 200_000)
      assert.isAbove(plain.http, 200_000)
    }))
})

describe.concurrent("OTLP over HTTP", () => {
  const protocol = { OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/protobuf", OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" }

  for (
    const [name, makeEnv, path] of [
      [
        "the path of traces is added to the endpoint of all signals",
        (url) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: url }),
        "/v1/traces"
      ],
      [
        "with one slash between",
        (url) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: `${url}/collector/` }),
        "/collector/v1/traces"
      ],
      [
        "and in front of a query",
        (url) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: `${url}/collector/?dataset=a/b` }),
        "/collector/v1/traces?dataset=a/b"
      ],
      ["the endpoint of traces is taken as it is", (url) => ({
        OTEL_EXPORTER_OTLP_ENDPOINT: dead,
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${url}/custom`
      }), "/custom"]
    ] as ReadonlyArray<readonly [string, (url: string) => Env, string]>
  ) {
    it.live(name, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpHttpReceiver.make()
        const logs = yield* run(spans(3), {
          ...protocol,
          OTEL_EXPORTER_OTLP_HEADERS: "x-token=a%20b",
          OTEL_SERVICE_NAME: "planner",
          ...makeEnv(receiver.url)
        }, { verify: true })
        assert.deepStrictEqual(receiver.requests.map((request) => request.path), [path, path])
        assert.strictEqual(receiver.spans.length, 3)
        assert.strictEqual(receiver.spans[0].resource["service.name"], "planner")
        const { "content-type": type, "user-agent": agent, "x-token": token } = receiver.requests[1].headers
        assert.deepStrictEqual([type, token], ["application/x-protobuf", "a b"])
        assert.match(agent!, /^loom-tracing\/\d/)
        assert.deepStrictEqual(logs, [])
      }))
  }

  for (
    const [name, reply, exported, requests, pause = 0] of [
      ["503 gets the spans again after the backoff", { status: 503 }, 10, 2, 800],
      ["429 gets them again when it said", { status: 429, headers: { "retry-after": "2" } }, 10, 2, 2000],
      ["400 does not get them again", { status: 400 }, 0, 1],
      ["500 does not get them again", { status: 500 }, 0, 1],
      ["413 gets them in two parts", { status: 413 }, 10, 3],
      ["with partial success has what it took", { rejected: 3 }, 7, 1],
      ["with garbage has them all the same", { body: "<html>" }, 10, 1],
      ["by hanging up gets them again", "hang up", 10, 2, 800]
    ] as ReadonlyArray<readonly [string, OtlpHttpReceiver.Reply, number, number, number?]>
  ) {
    it.live(`a collector that answers ${name}, and the numbers are exact`, () =>
      Effect.gen(function*() {
        const arrivals: Array<number> = []
        const receiver = yield* OtlpHttpReceiver.make({
          reply: (index) => {
            arrivals.push(performance.now())
            return index === 0 ? reply : {}
          }
        })
        yield* run(
          Effect.gen(function*() {
            const tracing = yield* Tracing
            yield* spans(10)
            yield* tracing.flush
            yield* receiver.awaitRequests(requests)
            yield* tracing.flush
            assert.deepStrictEqual(
              yield* tracing.exportStats,
              { ended: 10, exported, dropped: 10 - exported, queued: 0 }
            )
          }),
          { ...protocol, OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }
        )
        assert.strictEqual(receiver.requests.length, requests)
        assert.strictEqual(receiver.spans.length, exported)
        if (requests > 1) assert.isAtLeast(arrivals[1] - arrivals[0], pause)
      }))
  }

  it.live("a request that Node refuses to send is a failure, and its connection no trouble later", () =>
    Effect.gen(function*() {
      const outcome = yield* Program.run("support/programs/trailer.ts")
      assert.deepStrictEqual([outcome.code, outcome.stderr], [0, ""])
      assert.match(outcome.stdout, /trailers/i)
    }))

  it.live("does not hold up the program's end: neither a dead collector does nor a silent one", () =>
    Effect.gen(function*() {
      const silent = yield* OtlpHttpReceiver.make({ reply: () => "silence" })
      const outcomes = yield* Effect.forEach(
        [dead, silent.url],
        (endpoint) =>
          Program.runAfter("working", "support/programs/work.ts", {
            args: ["succeed"],
            env: { ...protocol, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }
          }),
        { concurrency: 2 }
      )
      for (const outcome of outcomes) {
        assert.strictEqual(outcome.code, 0, outcome.stderr)
        assert.include(outcome.stdout, "\"exported\":0,\"dropped\":2")
        // Release takes a second; a process that waits for the request lives for 10.
        assert.isBelow(outcome.millis, 6000)
      }
    }))
})

describe.concurrent("headers that cannot be sent", () => {
  const unfit = {
    Connection: "keep-alive",
    "keep-alive": "timeout=5",
    "proxy-connection": "keep-alive",
    "transfer-encoding": "chunked",
    upgrade: "h2c",
    "http2-settings": "AAMAAABk",
    te: "trailers",
    trailer: "x-checksum",
    "content-length": "99",
    "content-type": "text/plain",
    host: "elsewhere",
    "grpc-timeout": "1m"
  }
  const inEnv = (headers: Record<string, string>): Env => ({
    OTEL_EXPORTER_OTLP_HEADERS: Object.entries(headers).map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
      .join()
  })
  const warning = (names: ReadonlyArray<string>, protocol: string) =>
    ` has ${names.length} header(s) that cannot be sent over ${protocol}, which are left out: `

  for (
    const [name, env, options] of [
      ["the environment", inEnv({ ...unfit, "x-good": "yes" }), {}],
      ["the options", {}, { headers: { ...unfit, "x-good": "yes" } }]
    ] as ReadonlyArray<readonly [string, Env, TracingOptions]>
  ) {
    it.live(`over gRPC are left out, and told: ${name}`, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        const logs = yield* run(span, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, ...env }, options)
        assert.strictEqual(receiver.spans.length, 1)
        const { host, trailer, "x-good": good } = receiver.metadata[0]
        assert.deepStrictEqual([host, trailer, good], [undefined, undefined, "yes"])
        assert.strictEqual(logs.length, 1, logs.join("\n"))
        assert.include(logs[0], receiver.url + warning(Object.keys(unfit), "gRPC"))
      }))
  }

  for (const [name, value] of Object.entries(unfit)) {
    it.live(`over gRPC: ${name}`, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        const logs = yield* run(span, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }, { headers: { [name]: value } })
        assert.strictEqual(receiver.spans.length, 1)
        assert.strictEqual(logs.length, 1, logs.join("\n"))
        assert.include(logs[0], warning([name], "gRPC"))
      }))
  }

  it.live("over HTTP are those alone that a request of known length cannot have", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpHttpReceiver.make()
      const { "transfer-encoding": encoding, trailer, ...fit } = {
        ...unfit,
        Connection: "close",
        "grpc-metadata-tenant": "a"
      }
      const logs = yield* run(span, {
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        ...inEnv(fit)
      }, { headers: { "transfer-encoding": encoding, trailer } })
      assert.strictEqual(receiver.spans.length, 1)
      const { connection, "content-type": type, "grpc-metadata-tenant": tenant, host } = receiver.requests[0].headers
      assert.deepStrictEqual([connection, type, tenant, host], ["close", "application/x-protobuf", "a", "elsewhere"])
      assert.strictEqual(logs.length, 1, logs.join("\n"))
      assert.include(logs[0], warning(["transfer-encoding", "trailer"], "HTTP"))
    }))
})

describe.concurrent("OTLP of metrics", () => {
  const call = Effect.void.pipe(withLlmSpan({ provider: "openai", request: { model: "m" } }))
  const runMetrics = (effect: Effect.Effect<unknown>, env: Env, options?: TracingOptions) =>
    run(effect, { OTEL_METRICS_EXPORTER: "otlp", ...env }, options).pipe(
      Effect.provideService(Metric.MetricRegistry, new Map())
    )
  const metricsOf = ({ requests }: OtlpReceiver.OtlpReceiver) => requests.filter(({ signal }) => signal === "metrics")

  it.live("has the headers of all signals and its own, not those of traces", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const logs = yield* runMetrics(call, {
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_EXPORTER_OTLP_HEADERS: "x-all=1,x-both=all",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS: "x-traces=1",
        OTEL_EXPORTER_OTLP_METRICS_HEADERS: "x-metrics=1,x-both=metrics"
      })
      const sent = receiver.requests.map(({ metadata, signal }) => [
        signal,
        ...["x-all", "x-both", "x-traces", "x-metrics"].map((name) => metadata[name])
      ])
      assert.sameDeepMembers(sent, [
        ["traces", "1", "all", "1", undefined],
        ["metrics", "1", "metrics", undefined, "1"]
      ])
      assert.deepStrictEqual(logs, [])
    }))

  it.live("is gRPC also where the protocol is http/protobuf, which is told", () =>
    Effect.gen(function*() {
      const http = yield* OtlpHttpReceiver.make()
      const grpc = yield* OtlpReceiver.make()
      const env = {
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: http.url,
        OTEL_EXPORTER_OTLP_ENDPOINT: grpc.url
      }
      const logs = yield* runMetrics(call, env)
      assert.strictEqual(logs.length, 1, logs.join("\n"))
      assert.match(logs[0], /^Metrics are exported over gRPC alone, although the protocol is http\/protobuf\. /)
      assert.include(logs[0], `${grpc.url} must take it`)
      assert.deepStrictEqual(yield* runMetrics(call, { ...env, OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: "grpc" }), [])
      assert.deepStrictEqual([http.spans.length, metricsOf(grpc).length], [2, 2])
    }))

  it.live("says once what is wrong with the headers and certificates that it shares with the spans", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const shared = {
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_EXPORTER_OTLP_HEADERS: "x-good=yes,broken,te=trailers"
      }
      const logs = yield* runMetrics(call, shared)
      assert.deepStrictEqual(logs, [
        "OTEL_EXPORTER_OTLP_HEADERS has 1 malformed pair(s), which are left out",
        `The endpoint ${receiver.url} has 1 header(s) that cannot be sent over gRPC, which are left out: te`
      ])
      assert.deepStrictEqual(receiver.requests.map(({ metadata }) => metadata["x-good"]), ["yes", "yes"])
      const own = yield* runMetrics(call, { ...shared, OTEL_EXPORTER_OTLP_METRICS_HEADERS: "trailer=x" })
      assert.strictEqual(own.length, 3, own.join("\n"))
      const secured = yield* runMetrics(Effect.void, {
        OTEL_EXPORTER_OTLP_ENDPOINT: "https://127.0.0.1:1",
        OTEL_EXPORTER_OTLP_CERTIFICATE: "/nowhere/ca.pem"
      })
      assert.strictEqual(secured.filter((log) => log.includes("/nowhere/ca.pem")).length, 1, secured.join("\n"))
    }))

  it.live("says what is wrong with its endpoint also where no spans are exported", () =>
    Effect.gen(function*() {
      const logs = yield* run(
        Effect.void,
        { OTEL_TRACES_EXPORTER: "none", OTEL_METRICS_EXPORTER: "otlp" },
        { endpoint: "http://127.0.0.1:4318", shutdownTimeout: "100 millis" }
      )
      const found = logs.filter((log) => log.includes("has the port of OTLP over HTTP, but gRPC is spoken"))
      assert.strictEqual(found.length, 1, logs.join("\n"))
    }))

  it.live("is sent on release alone where OTEL_METRIC_EXPORT_INTERVAL is more than a timer can hold", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* runMetrics(
        Effect.forEach(
          Array.from({ length: 20 }, (_, index) => index + 1),
          (count) => Effect.andThen(call, Effect.orDie(receiver.awaitSpans(count)))
        ),
        {
          OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
          OTEL_BSP_SCHEDULE_DELAY: "0",
          OTEL_METRIC_EXPORT_INTERVAL: "3000000000"
        }
      )
      assert.strictEqual(metricsOf(receiver).length, 1)
    }))
})

describe("resource detectors", () => {
  const resourceOf = Effect.fnUntraced(function*(value: string) {
    const receiver = yield* OtlpReceiver.make()
    yield* run(span, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_NODE_RESOURCE_DETECTORS: value })
    return Object.keys(receiver.spans[0].resource)
  })
  for (
    const [value, expected, unexpected] of [
      ["", [], ["host.name", "process.pid", "os.type", "service.instance.id"]],
      ["none", [], ["host.name", "process.pid", "os.type", "service.instance.id"]],
      ["all", ["host.name", "process.pid", "os.type", "service.instance.id"], []],
      ["all,none", [], ["host.name"]],
      ["Host , serviceinstance,moon", ["host.name", "service.instance.id"], ["process.pid", "os.type"]],
      ["env", ["service.name"], ["host.name"]]
    ] as ReadonlyArray<readonly [string, ReadonlyArray<string>, ReadonlyArray<string>]>
  ) {
    it.live(`OTEL_NODE_RESOURCE_DETECTORS=${value} adds ${expected.join(", ") || "nothing"}`, () =>
      Effect.gen(function*() {
        const keys = yield* resourceOf(value)
        assert.includeMembers(keys, [...expected])
        for (const key of unexpected) assert.notInclude(keys, key)
      }))
  }
})

describe("samplers", () => {
  const remote = (flags: string) => ({
    _trace_context: { traceparent: `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-${flags}` }
  })
  for (
    const [sampler, ratio, root, ofSampled, ofUnsampled] of [
      [undefined, undefined, 1, 1, 0],
      // Without a sampler the ratio is nobody's.
      [undefined, "0", 1, 1, 0],
      ["always_on", "0", 1, 1, 1],
      ["always_off", "1", 0, 0, 0],
      ["traceidratio", "0", 0, 0, 0],
      ["traceidratio", "1", 1, 1, 1],
      ["traceidratio", undefined, 1, 1, 1],
      ["parentbased_always_on", undefined, 1, 1, 0],
      ["parentbased_always_off", undefined, 0, 1, 0],
      ["ParentBased_TraceIdRatio", "0", 0, 1, 0],
      ["parentbased_traceidratio", "0.999999999", 1, 1, 0]
    ] as const
  ) {
    it.live(`OTEL_TRACES_SAMPLER=${sampler} with ${ratio} takes what the specification says`, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        yield* run(
          Effect.all([
            Effect.withSpan(Effect.void, "root"),
            Effect.withSpan(Effect.void, "of sampled").pipe(withTraceContext(remote("01"))),
            Effect.withSpan(Effect.void, "of unsampled").pipe(withTraceContext(remote("00")))
          ]),
          {
            OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
            ...(sampler === undefined ? undefined : { OTEL_TRACES_SAMPLER: sampler }),
            ...(ratio === undefined ? undefined : { OTEL_TRACES_SAMPLER_ARG: ratio })
          }
        )
        const taken = ["root", "of sampled", "of unsampled"].map((name) =>
          receiver.spans.filter((span) => span.name === name).length
        )
        assert.deepStrictEqual(taken, [root, ofSampled, ofUnsampled])
      }))
  }
})

describe("OTEL_LOG_LEVEL", () => {
  for (
    const [level, expected] of [
      [undefined, []],
      ["none", []],
      ["ERROR", ["OpenTelemetry: e"]],
      ["warn", ["OpenTelemetry: e", "OpenTelemetry: w"]],
      ["info", ["OpenTelemetry: e", "OpenTelemetry: w", "OpenTelemetry: i"]]
    ] as const
  ) {
    it.live(`${level} decides what of OpenTelemetry's own diagnostics is logged, until release`, () =>
      Effect.gen(function*() {
        const say = Effect.sync(() => {
          diag.error("e")
          diag.warn("w")
          diag.info("i")
        })
        const logs = yield* run(say, level === undefined ? {} : { OTEL_LOG_LEVEL: level }, { exporter: "none" })
        yield* say
        assert.deepStrictEqual(logs, [...expected])
      }))
  }

  const level: Env = { OTEL_LOG_LEVEL: "error" }
  /** A logger of the program's own. */
  const setOwn = Effect.acquireRelease(
    Effect.sync(() => {
      const heard: Array<string> = []
      const silent = () => {}
      const logger = { error: (message: string) => void heard.push(message), info: silent, debug: silent }
      diag.setLogger({ ...logger, warn: silent, verbose: silent }, { suppressOverrideMessage: true })
      return heard
    }),
    () => Effect.sync(() => diag.disable())
  )
  const say = (message: string) => Effect.sync(() => diag.error(message))

  it.live("leaves the program its own logger when it is released, as often as that is", () =>
    Effect.gen(function*() {
      const heard = yield* setOwn
      for (const time of ["first", "second"]) {
        const logs = yield* run(say(`${time} inside`), level, { exporter: "none" })
        assert.deepStrictEqual(logs, [`OpenTelemetry: ${time} inside`])
        yield* say(time)
      }
      assert.deepStrictEqual(heard, ["first", "second"])
    }))

  it.live("leaves the program the logger that it has set inside", () =>
    Effect.scoped(Effect.gen(function*() {
      const scope = yield* Effect.scope
      const heard = yield* Effect.gen(function*() {
        const { layer } = make(level, { exporter: "none" })
        return yield* Scope.provide(setOwn, scope).pipe(Effect.provide(layer))
      })
      yield* say("after")
      assert.deepStrictEqual(heard, ["after"])
    })))

  for (const [first, order] of [[0, "the first"], [1, "the second"]] as const) {
    it.live(`of two layers one hears on when ${order} has been released, and nobody when both have`, () =>
      Effect.gen(function*() {
        const layers = [make(level, { exporter: "none" }), make(level, { exporter: "none" })]
        const scopes = [yield* Scope.make(), yield* Scope.make()]
        for (const index of [0, 1]) yield* Layer.buildWithScope(layers[index].layer, scopes[index])
        yield* say("both")
        yield* Scope.close(scopes[first], Exit.void)
        yield* say("one")
        yield* Scope.close(scopes[1 - first], Exit.void)
        yield* say("none")
        assert.deepStrictEqual(
          layers.map(({ logs }) => logs),
          first === 0
            ? [[], ["OpenTelemetry: both", "OpenTelemetry: one"]]
            : [["OpenTelemetry: one"], ["OpenTelemetry: both"]]
        )
      }))
  }
})

describe("OTEL_SDK_DISABLED", () => {
  it.live("passes on the context that came, and invents none", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const { layer } = make({ OTEL_SDK_DISABLED: "True", OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url })
      const message = {
        _trace_context: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", tracestate: "a=1" }
      }
      const send = injectTraceContext({}).pipe(Effect.withSpan("span"))
      const sent = yield* Effect.all([send, send.pipe(withTraceContext(message))]).pipe(Effect.provide(layer))
      assert.deepStrictEqual(sent, [{}, message])
      assert.strictEqual(receiver.requests.length, 0)
    }))
})

describe("diagnosis", () => {
  const quick: TracingOptions = { shutdownTimeout: "50 millis" }

  for (
    const [endpoint, env, expected] of [
      [
        "http://127.0.0.1:4318",
        {},
        /^The endpoint http:\/\/127\.0\.0\.1:4318 has the port of OTLP over HTTP, but gRPC is spoken\. A collector takes gRPC on port 4317/
      ],
      ["https://collector:4318/v1/traces", {}, /has the port of OTLP over HTTP/],
      [
        "http://127.0.0.1:4317",
        { OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf" },
        /^The endpoint http:\/\/127\.0\.0\.1:4317\S* has the port of OTLP over gRPC, but HTTP is spoken\. A collector takes HTTP on port 4318/
      ],
      ["127.0.0.1:1", {}, /^The endpoint 127\.0\.0\.1:1 has no scheme, so TLS is used\. Write http:\/\/ in front/],
      [
        "http://127.0.0.1",
        {},
        /^The endpoint http:\/\/127\.0\.0\.1 has no port, so 80 is used\. A collector takes gRPC on port 4317/
      ],
      [
        "unix:/tmp/x",
        { OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf" },
        /^The endpoint unix:\/tmp\/x is one for gRPC, but HTTP is spoken\. Set OTEL_EXPORTER_OTLP_PROTOCOL=grpc\.$/
      ]
    ] as ReadonlyArray<readonly [string, Env, RegExp]>
  ) {
    it.live(`tells at once, and once, what is wrong with ${endpoint} over ${Object.values(env)[0] ?? "gRPC"}`, () =>
      Effect.gen(function*() {
        const logs = yield* run(Effect.void, env, { endpoint, ...quick })
        assert.strictEqual(logs.length, 1, logs.join("\n"))
        assert.match(logs[0], expected)
      }))
  }

  it.live("has nothing to say about endpoints that are as they should be", () =>
    Effect.gen(function*() {
      for (
        const endpoint of [
          "http://[::1]:4317",
          "https://api.example.com",
          "https://u:p@collector:4317/x",
          "unix:///tmp/x",
          "unix:/tmp/x",
          "dns:///collector:4317",
          "ipv4:127.0.0.1:1"
        ]
      ) {
        assert.deepStrictEqual(yield* run(Effect.void, {}, { endpoint, ...quick }), [], endpoint)
      }
    }))

  it.live("tells that provider: \"global\" has nothing to join, or no context to nest in", () =>
    Effect.gen(function*() {
      const nothing = yield* run(span, {}, { provider: "global" })
      assert.strictEqual(nothing.length, 1)
      assert.match(nothing[0], /^provider: no tracer provider is registered in @opentelemetry\/api yet/)
      yield* Effect.acquireRelease(
        Effect.sync(() => trace.setGlobalTracerProvider(new BasicTracerProvider())),
        () => Effect.sync(() => trace.disable())
      )
      const noContext = yield* run(span, {}, { provider: "global" })
      assert.strictEqual(noContext.length, 1)
      assert.match(noContext[0], /^provider: no context manager is registered .*`global: true` registers one\.$/)
    }))

  it.live("tells of an OpenTelemetry SDK of another major version", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const hooks = `import { registerHooks } from "node:module"
        registerHooks({ load(url, context, next) {
          const loaded = next(url, context)
          if (!/@opentelemetry\\/(core|resources)\\/.*\\/version\\.js$/.test(url)) return loaded
          return { ...loaded, source: String(loaded.source).replace(/'2\\.[^']*'/, "'3.1.4'") }
        } })`
      const outcome = yield* Program.run("support/programs/environment.ts", {
        node: ["--import", `data:text/javascript,${encodeURIComponent(hooks)}`],
        env: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }
      })
      assert.strictEqual(outcome.code, 0, outcome.stderr)
      assert.strictEqual(outcome.stdout.match(/WARN/g)?.length, 1, outcome.stdout)
      assert.include(outcome.stdout, "The OpenTelemetry SDK installed is 3.1.4; this package is made for 2.x")
    }))

  it("names the missing packages in the versions that this package takes", () => {
    const { optionalDependencies } = JSON.parse(readFileSync(resolve(import.meta.dirname, "../package.json"), "utf8"))
    const source = readFileSync(resolve(import.meta.dirname, "../src/TracingLive.ts"), "utf8")
    const named = [...source.matchAll(/^ {2}"(@[\w-]+\/[\w-]+)@([\d.]+)",?$/gm)]
    assert.isAbove(named.length, 5)
    for (const [, name, version] of named) {
      assert.isTrue(optionalDependencies[name].replace(/^[~^]/, "").startsWith(version), `${name}@${version}`)
    }
  })
})

describe("verify", () => {
  for (const env of [{}, { OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf" }] as ReadonlyArray<Env>) {
    it.live(`fails when nobody takes spans over ${env.OTEL_EXPORTER_OTLP_PROTOCOL ?? "gRPC"}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(run(span, env, { endpoint: dead, verify: true }))
        const problem = yield* Effect.fail(error).pipe(
          Effect.catchReason("TracingConfigError", "CollectorUnreachable", (reason) => Effect.succeed(reason.problem))
        )
        // Without the resolution note in which grpc-js has nothing to say.
        assert.match(problem, /ECONNREFUSED 127\.0\.0\.1:1$/)
        assert.match(
          error.message,
          /^The collector at http:\/\/127\.0\.0\.1:1\S* cannot be reached: .*leave out `verify`\.$/
        )
      }))
  }

  it.live("succeeds when somebody does, and sends no span for it", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* run(
        Effect.sync(() => assert.deepStrictEqual([receiver.requests.length, receiver.spans.length], [1, 0])),
        {},
        { endpoint: receiver.url, verify: true }
      )
    }))

  const credentials = ". Check the credentials in OTEL_EXPORTER_OTLP_HEADERS"
  const receiver = ". Check that the endpoint is an OTLP receiver of traces, and for this protocol"

  for (
    const [code, problem] of [
      ["UNAUTHENTICATED", `16 UNAUTHENTICATED: who are you${credentials}`],
      ["UNIMPLEMENTED", `12 UNIMPLEMENTED: who are you${receiver}`],
      ["INVALID_ARGUMENT", "3 INVALID_ARGUMENT: who are you"]
    ] as const
  ) {
    it.live(`fails when the collector refuses over gRPC, with what its export says: ${code}`, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        yield* receiver.respondWith(() => OtlpReceiver.failure(code, { message: "who are you" }))
        const { message } = yield* Effect.flip(run(span, {}, { endpoint: receiver.url, verify: true }))
        const refused = `The collector at ${receiver.url} refused the trial export: ${problem}. `
        assert.strictEqual(message, `${refused}Without \`verify\` the layer is built all the same.`)
        const [log] = yield* run(span, {}, { endpoint: receiver.url })
        assert.include(log, `${problem}.`)
      }))
  }

  for (
    const [status, problem] of [
      [401, `HTTP status 401 Unauthorized${credentials}`],
      [404, `HTTP status 404 Not Found${receiver}`],
      [503, "HTTP status 503 Service Unavailable"]
    ] as const
  ) {
    it.live(`fails when the collector refuses over HTTP: ${status}`, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpHttpReceiver.make({ reply: () => ({ status }) })
        const { message } = yield* Effect.flip(
          run(span, { OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf" }, { endpoint: receiver.url, verify: true })
        )
        assert.include(message, `/v1/traces refused the trial export: ${problem}. `)
      }))
  }
})

describe("secrets", () => {
  const canary = "canary-hunter2-0123456789"
  /** Everything that a person may get to see of an outcome. */
  const shown = (logs: ReadonlyArray<string>, exit: Exit.Exit<unknown, unknown>): string => {
    const errors = Exit.isFailure(exit)
      ? [Cause.pretty(exit.cause), inspect(exit.cause, { depth: 10 }), JSON.stringify(exit.cause), String(exit.cause)]
      : []
    return [...logs, ...errors].join("\n")
  }

  const cases: ReadonlyArray<readonly [string, Env, TracingOptions]> = [
    ["a header of the environment", { OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${canary}` }, {}],
    ["a header that is an option", {}, { headers: { authorization: `Bearer ${canary}` } }],
    ["a header that is Redacted", {}, { headers: { "x-api-key": Redacted.make(canary) } }],
    ["a header that cannot be sent", {}, { headers: { authorization: `${canary}\r\nx-evil: 1` } }],
    ["a header of the environment with a colon for its equals sign", {
      OTEL_EXPORTER_OTLP_HEADERS: `authorization: Bearer ${canary}==`
    }, {}],
    [
      "a header of the environment that cannot be sent",
      { OTEL_EXPORTER_OTLP_HEADERS: `x=${canary}%0d%0ax-evil: 1` },
      {}
    ],
    ["a password in an endpoint", { OTEL_EXPORTER_OTLP_ENDPOINT: `user:p/@${canary}@127.0.0.1:1` }, {}],
    ["a long password in an endpoint", {
      OTEL_EXPORTER_OTLP_ENDPOINT: `user:${canary.repeat(10)}@127.0.0.1:1`
    }, {}],
    ["a password in an endpoint that is an option", {}, { endpoint: `ftp://user:${canary}@127.0.0.1:1` }],
    ["a password in an endpoint that is diagnosed", {}, { endpoint: `http://user:${canary}@127.0.0.1:4318` }],
    ["a key in place of its file", {
      OTEL_EXPORTER_OTLP_CLIENT_KEY: `-----BEGIN PRIVATE KEY-----\n${canary}\n-----END PRIVATE KEY-----`,
      OTEL_EXPORTER_OTLP_ENDPOINT: "https://127.0.0.1:1"
    }, {}]
  ]
  for (const [name, env, options] of cases) {
    for (const verify of [false, true]) {
      it.live(`${name} shows in no log and in no error${verify ? " of verify" : ""}`, () =>
        Effect.gen(function*() {
          const receiver = yield* OtlpReceiver.make()
          // Some collectors quote what they refuse, in whole or in part.
          yield* receiver.respondWith(({ metadata }) =>
            OtlpReceiver.failure("UNAUTHENTICATED", {
              message: `${"x".repeat(250)} ${metadata.authorization ?? metadata["x-api-key"]} is not known`
            })
          )
          const { layer, logs } = make(
            { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_LOG_LEVEL: "all", ...env },
            { shutdownTimeout: "200 millis", verify, ...options }
          )
          const exit = yield* Effect.exit(Effect.provide(span, layer))
          const text = shown(logs, exit)
          assert.isAbove(text.length, 0)
          assert.notInclude(text, "canary")
        }))
    }
  }

  it.live("a header too short for a secret hides none of our own words", () =>
    Effect.gen(function*() {
      const logs = yield* run(span, { OTEL_EXPORTER_OTLP_HEADERS: "tenant=1,region=in" }, {
        endpoint: "http://127.0.0.1:1",
        shutdownTimeout: "200 millis"
      })
      assert.strictEqual(logs.length, 1)
      assert.match(logs[0], /^Spans were lost, 1 in all: 1 not exported before release/)
    }))

  it.live("no attribute, event, name or baggage can add a header to a request", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const http = yield* OtlpHttpReceiver.make()
      const evil = "x\r\nx-evil: 1\r\n\r\n"
      const work = Effect.log(evil).pipe(
        Effect.annotateLogs(evil, evil),
        Effect.withSpan(evil, { attributes: { [evil]: evil } }),
        withBaggage({ key: evil, "x-evil": "1" })
      )
      yield* run(span, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url })
      yield* run(work, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url })
      yield* run(work, { OTEL_EXPORTER_OTLP_ENDPOINT: http.url, OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf" })
      const [plain, hostile] = receiver.metadata.map((metadata) => Object.keys(metadata).sort())
      assert.deepStrictEqual(hostile, plain)
      assert.strictEqual(receiver.spans[1].name, evil)
      assert.notInclude(JSON.stringify(http.requests[0].headers), "evil")
    }))
})

describe("sizes", () => {
  it.live("a variable of a megabyte is ignored, told in a short line, and costs nothing else", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const megabyte = "x".repeat(1_000_000)
      const logs = yield* run(span, {
        OTEL_RESOURCE_ATTRIBUTES: `a=${megabyte}`,
        OTEL_EXPORTER_OTLP_HEADERS: `a=${megabyte}`,
        OTEL_TRACES_SAMPLER: megabyte,
        OTEL_SERVICE_NAME: megabyte,
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url
      })
      assert.strictEqual(logs.length, 4, logs.join("\n").slice(0, 1000))
      for (const log of logs) assert.match(log, /^OTEL_\w+ has more than 32768 characters and is ignored$/)
      assert.strictEqual(receiver.spans.length, 1)
      assert.isBelow(receiver.wireBytes, 5000)
    }))

  it.live("a wrong value that is long is shown in part", () =>
    Effect.gen(function*() {
      const logs = yield* run(span, { OTEL_TRACES_SAMPLER: "x".repeat(30_000) }, { exporter: "none" })
      assert.strictEqual(logs.length, 1)
      assert.isBelow(logs[0].length, 400)
    }))
})
