import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFile } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { dirname, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { baseEnv } from "./support/baseEnv.ts"

const src = resolve(dirname(fileURLToPath(import.meta.url)), "../src")
const root = resolve(src, "index.ts")

/** Runs a program in a Node process of its own. `hooks` is the body of a module that runs first. */
const run = (program: string, hooks: string, env: Record<string, string> = {}) =>
  Effect.callback<{ readonly stdout: string; readonly code: number | string | null | undefined }>((resume) => {
    const preload = `data:text/javascript,${encodeURIComponent(`import { registerHooks } from "node:module";${hooks}`)}`
    execFile(
      process.execPath,
      ["--import", preload, "--input-type=module-typescript", "--eval", program],
      { cwd: dirname(src), env: { ...baseEnv, ...env } },
      (error, stdout, stderr) =>
        resume(Effect.succeed({ stdout: stdout + stderr, code: error === null ? 0 : error.code }))
    )
  })

describe("the package's root", () => {
  it.effect("loads neither the OpenTelemetry SDK nor gRPC", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run(
        `await import(${JSON.stringify(root)}); console.log(JSON.stringify(globalThis.loaded))`,
        `globalThis.loaded = [];
         registerHooks({ load(url, context, next) { globalThis.loaded.push(url); return next(url, context) } })`
      )
      assert.strictEqual(code, 0, stdout)
      const loaded: ReadonlyArray<string> = JSON.parse(stdout)
      assert.isTrue(loaded.some((url) => url.endsWith("/src/GenAi.ts")))
      assert.deepStrictEqual(loaded.filter((url) => /@opentelemetry|@grpc|internal\/sdk/.test(url)), [])
    }))

  // The exporter has packages of its own, which are looked for later than the rest.
  it.effect.each([
    ["the OpenTelemetry packages", "opentelemetry|grpc"],
    ["gRPC", "grpc"]
  ])("works without %s: one line names what is missing, and tracing is off", ([, missing]) =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run(
        `import { Effect } from "effect"
         import { TracingLive, Tracing, withLlmSpan, injectTraceContext } from ${JSON.stringify(root)}
         const program = Effect.gen(function*() {
           console.log("enabled", (yield* Tracing).enabled)
           console.log("sent", JSON.stringify(yield* injectTraceContext({ id: 1 })))
           return 42
         }).pipe(withLlmSpan({ provider: "openai", request: { model: "m" } }), Effect.provide(TracingLive))
         console.log("answer", await Effect.runPromise(program))`,
        `registerHooks({ resolve(name, context, next) {
           if (/^@(${missing})(\\/|$)/.test(name)) {
             throw Object.assign(new Error("Cannot find package '" + name + "'"), { code: "ERR_MODULE_NOT_FOUND" })
           }
           return next(name, context)
         } })`
      )
      assert.strictEqual(code, 0, stdout)
      const lines = stdout.trim().split("\n")
      assert.match(
        lines[0],
        /Tracing is off: the OpenTelemetry SDK could not be loaded.*npm install .*@opentelemetry\/sdk-trace-node/
      )
      assert.deepStrictEqual(lines.slice(1), ["enabled false", `sent {"id":1}`, "answer 42"])
    }))

  it.effect("has nothing to release where an exporter is missing: metrics do not go on without the layer", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run(
        `import { Effect } from "effect"
         import { makeTracingLive } from ${JSON.stringify(root)}
         await Effect.runPromise(Effect.provide(Effect.void, makeTracingLive({ metrics: true })))`,
        `registerHooks({ resolve(name, context, next) {
           if (name === "@grpc/grpc-js" && context.parentURL.includes("/src/internal/")) throw new Error(name)
           return next(name, context)
         } })
         const { setInterval } = globalThis
         globalThis.setInterval = (task, millis, ...rest) => {
           console.log("a timer of", millis)
           return setInterval(task, millis, ...rest)
         }`,
        { OTEL_METRIC_EXPORT_INTERVAL: "54321" }
      )
      assert.strictEqual(code, 0, stdout)
      assert.match(stdout, /Tracing is off: the OpenTelemetry SDK could not be loaded/)
      assert.notInclude(stdout, "a timer of 54321")
    }))

  it.effect("says what is missing for metrics alone, and traces", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run(
        `import { Effect } from "effect"
         import { makeTracingLive, Tracing } from ${JSON.stringify(root)}
         const enabled = Effect.map(Tracing, (tracing) => console.log("enabled", tracing.enabled))
         await Effect.runPromise(Effect.provide(enabled, makeTracingLive({ metrics: true })))`,
        `registerHooks({ resolve(name, context, next) {
           if (name.startsWith("@grpc/")) throw new Error("Cannot find package '" + name + "'")
           return next(name, context)
         } })`,
        { OTEL_TRACES_EXPORTER: "none" }
      )
      assert.strictEqual(code, 0, stdout)
      assert.match(stdout, /Metrics are off: .*Cannot find package '@grpc\/grpc-js'.* They need @grpc\/grpc-js@1/)
      assert.include(stdout, "enabled true")
    }))

  it.effect.each(
    [
      ["OTLP over gRPC", { OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" }, ["@grpc/grpc-js"]],
      ["OTLP over HTTP", { OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf" }, []],
      ["the console", { OTEL_TRACES_EXPORTER: "console" }, []],
      ["nowhere", { OTEL_TRACES_EXPORTER: "none" }, []]
    ] as const
  )(
    "with TracingLive, where spans go to %s, loads what that takes and no more",
    ([, env, expected]) =>
      Effect.gen(function*() {
        const { code, stdout } = yield* run(
          `import { Effect } from "effect"
         import { makeTracingLive, withLlmSpan } from ${JSON.stringify(root)}
         const call = withLlmSpan(Effect.void, { provider: "openai", request: { model: "m" } })
         await Effect.runPromise(Effect.provide(call, makeTracingLive({ shutdownTimeout: 100 })))
         console.log(JSON.stringify([...globalThis.loaded, ...process.moduleLoadList]))`,
          `globalThis.loaded = [];
         registerHooks({ load(url, context, next) { globalThis.loaded.push(url); return next(url, context) } })`,
          { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1", ...env }
        )
        assert.strictEqual(code, 0, stdout)
        const loaded: ReadonlyArray<string> = JSON.parse(stdout.trim().split("\n").at(-1)!)
        assert.isTrue(loaded.some((url) => url.includes("@opentelemetry/sdk-trace-node/")), stdout)
        const exporters = ["@grpc/grpc-js", "otlp-transformer"]
        assert.deepStrictEqual(exporters.filter((name) => loaded.some((url) => url.includes(`${name}/`))), [
          ...expected
        ])
        // Node's `fetch`, which nothing here needs.
        assert.isFalse(loaded.some((name) => name.endsWith("undici/undici")))
      })
  )
})

const modules = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"))

const code = (file: string): string => readFileSync(resolve(src, file), "utf8").replace(/\/\*[\s\S]*?\*\//g, "")

/** What a module imports when it is loaded: types are gone by then, and a dynamic import waits until it is called. */
const importsOf = (file: string): ReadonlyArray<string> =>
  [...code(file).matchAll(/^(?:import|export)\s+(?!type\b)(?:[^"=]*?from\s+)?"([^"]+)"/gm)]
    .map(([, name]) => name.startsWith(".") ? relative(src, resolve(src, dirname(file), name)) : name)

describe("imports", () => {
  /** The modules that only the live layer loads, when it is built. */
  const sdkModules = new Set<string>()
  const visit = (file: string) => {
    if (sdkModules.has(file)) return
    sdkModules.add(file)
    importsOf(file).filter((name) => name.startsWith("internal/")).forEach(visit)
  }
  visit("internal/sdk.ts")
  const shared = new Set<string>()
  const visitShared = (file: string) => {
    if (shared.has(file) || !modules.includes(file)) return
    shared.add(file)
    importsOf(file).forEach(visitShared)
  }
  visitShared("index.ts")

  it("no module that the root loads imports OpenTelemetry, or the module that does", () => {
    for (const file of shared) {
      const foreign = importsOf(file).filter((name) => /^@opentelemetry|^@grpc|^@effect|internal\/sdk/.test(name))
      assert.deepStrictEqual(foreign, [], file)
    }
    assert.isFalse(shared.has("internal/liveTracer.ts"))
  })

  it("the modules of the SDK side are loaded by nothing but the live layer", () => {
    const importers = modules.filter((file) => /import\("\.\/internal\/sdk\.ts"\)/.test(code(file)))
    assert.deepStrictEqual(importers, ["TracingLive.ts"])
    assert.isTrue([...sdkModules].some((file) => importsOf(file).includes("@opentelemetry/sdk-trace-node")))
  })

  it("point one way", () => {
    const order = [
      ["TraceContext.ts"],
      ["Carrier.ts"],
      ["TracedMessage.ts"],
      ["Messaging.ts"]
    ].flat()
    for (const [index, file] of order.entries()) {
      const back = importsOf(file).filter((name) => order.includes(name) && order.indexOf(name) > index)
      assert.deepStrictEqual(back, [], file)
    }
    for (const file of modules.filter((file) => /^(TraceContext|Carrier|TracedMessage|Messaging|GenAi)/.test(file))) {
      assert.deepStrictEqual(importsOf(file).filter((name) => name.startsWith("Tracing")), [], file)
    }
  })

  it("never go through a barrel of effect", () => {
    for (const file of modules) assert.notInclude(importsOf(file), "effect", file)
  })
})

describe("beside a copy of OpenTelemetry's API of a later version", () => {
  const recorded = (registers: string, options: string) =>
    run(
      `import * as Next from "otel-api-next"
       import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
       import { Effect } from "effect"
       import { makeTracingLive, withToolSpan } from ${JSON.stringify(root)}
       const started = []
       const startSpan = (name) => {
         started.push(name)
         return Next.trace.wrapSpanContext(Next.INVALID_SPAN_CONTEXT)
       }
       const nothing = () => {}
       ${registers}
       const memory = new InMemorySpanExporter()
       const live = makeTracingLive({
         ${options}
       })
       const program = Effect.sync(() => {
         console.log("ours", JSON.stringify(memory.getFinishedSpans().map(({ name }) => name)))
       })
       await Effect.runPromise(
         Effect.void.pipe(withToolSpan({ name: "t" }), Effect.andThen(program), Effect.provide(live))
       )
       console.log("theirs", JSON.stringify(started))`,
      ""
    )

  const provider = "Next.trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan, startActiveSpan: nothing }) })"
  const global = `exporter: "none", global: true, spanProcessors: [new SimpleSpanProcessor(memory)]`

  it.effect.each([
    [
      "a logger",
      "Next.diag.setLogger({ error: nothing, warn: nothing, info: nothing, debug: nothing, verbose: nothing })"
    ],
    ["propagators", "Next.propagation.setGlobalPropagator({ inject: nothing, extract: nothing, fields: () => [] })"]
  ])(
    "which has registered %s, global: true records its spans, and one line says what is not recorded",
    ([, registers]) =>
      Effect.gen(function*() {
        const { code, stdout } = yield* recorded(registers, global)
        assert.strictEqual(code, 0, stdout)
        const lines = stdout.trim().split("\n")
        assert.match(
          lines[0],
          /WARN.*global: nothing could be registered, since @opentelemetry\/api 1\.10\.0 was first/
        )
        assert.deepStrictEqual(lines.slice(1), [`ours ["execute_tool t"]`, "theirs []"])
      })
  )

  it.effect.each(
    [
      ["global: true", global, [/WARN.*global: another OpenTelemetry SDK has registered its tracer provider already/]],
      ["provider: \"global\"", `provider: "global"`, [/WARN.*context manager/]]
    ] as const
  )(
    "which has registered a tracer provider, %s records spans on that one",
    ([, options, warnings]) =>
      Effect.gen(function*() {
        const { code, stdout } = yield* recorded(provider, options)
        assert.strictEqual(code, 0, stdout)
        const lines = stdout.trim().split("\n")
        assert.deepStrictEqual(lines.slice(-2), ["ours []", `theirs ["execute_tool t"]`])
        assert.lengthOf(lines, warnings.length + 2)
        for (const [index, warning] of warnings.entries()) assert.match(lines[index], warning)
      })
  )
})
