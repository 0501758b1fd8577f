/** What a program pays before its first span: loading the package, building the layer, and the bytes of a bundle. */
import { execFile, execFileSync } from "node:child_process"
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { promisify } from "node:util"
import { gzipSync } from "node:zlib"
import { load } from "./load.ts"
import type { Candidate, Question, Run } from "./measure.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** The package as it is published, in a place from which its dependencies can be found. Returns its root module. */
const makePackage = (): string => {
  const directory = mkdtempSync(join(root, "node_modules", ".bench-"))
  process.once("exit", () => rmSync(directory, { recursive: true }))
  copyFileSync(join(root, "package.json"), join(directory, "package.json"))
  execFileSync(
    process.execPath,
    [join(root, "test/support/bundle.ts"), "--out", join(directory, "dist")],
    { cwd: root, stdio: "inherit" }
  )
  return join(directory, "dist", "index.js")
}

/**
 * Milliseconds of processor time from when a program says that Node is up, or that it is ready, until it is done, in a
 * process of its own. The heap has room for all of it: what loading Effect leaves behind would else be collected while
 * something else is measured.
 */
const program = (code: string): Run => async () => {
  const timed = `let start = process.cpuUsage()
const ready = async () => {
  // For what is still compiled in the background.
  await new Promise((resolve) => setTimeout(resolve, 50))
  start = process.cpuUsage()
}
const done = () => {
  const { user, system } = process.cpuUsage(start)
  console.log((user + system) / 1000)
  process.exit()
}
${code}`
  const flags = ["--min-semi-space-size=64", "--max-semi-space-size=64", "--input-type=module"]
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, "--eval", timed], { cwd: root })
  return Number(stdout)
}

interface Rolldown {
  readonly rolldown: (options: {
    readonly input: string
    readonly platform: "node"
    readonly logLevel: "silent"
  }) => Promise<{
    readonly generate: (options: { readonly minify: boolean }) => Promise<{
      readonly output: readonly [{ readonly code: string }]
    }>
  }>
}

/** Bytes of a bundle for Node, minified and compressed. */
const bundle = (index: string, code: string): Run => {
  const make = async (): Promise<number> => {
    const { rolldown } = await load<Rolldown>("rolldown")
    const input = join(dirname(index), "program.js")
    writeFileSync(input, code)
    const build = await rolldown({ input, platform: "node", logLevel: "silent" })
    const { output } = await build.generate({ minify: true })
    return gzipSync(output[0].code).length
  }
  let bytes: Promise<number> | undefined
  return () => bytes ??= make()
}

const effect: Candidate["load"] = async () => ({
  load: program(`await import("effect")
done()`),
  bundle: bundle(
    makePackage(),
    `import { Effect } from "effect"
console.log(Effect.runSync(Effect.succeed(1)))`
  )
})

const call = `withLlmSpan({ provider: "openai", request: { model: "gpt-4o" } })(Effect.succeed(1))`

const ours: Candidate["load"] = async () => {
  const index = makePackage()
  const url = pathToFileURL(index)
  return {
    load: program(`await import("effect")
await import("${url}")
done()`),
    root: program(`await import("effect")
await ready()
await import("${url}")
done()`),
    "first span": program(`const { Effect } = await import("effect")
const { TracingLive, withLlmSpan } = await import("${url}")
await Effect.runPromise(Effect.provide(Effect.andThen(${call}, Effect.sync(done)), TracingLive))`),
    bundle: bundle(
      index,
      `import { Effect } from "effect"
import { withLlmSpan } from "./index.js"
console.log(Effect.runSync(${call}))`
    )
  }
}

const oursAlone: Candidate["load"] = async () => ({
  load: program(`await import("${pathToFileURL(makePackage())}")
done()`)
})

const loadSdk = `const { NodeTracerProvider, BatchSpanProcessor } = await import("@opentelemetry/sdk-trace-node")
const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-grpc")`

const raw: Candidate["load"] = async () => ({
  load: program(`${loadSdk}
done()`),
  "first span": program(`${loadSdk}
const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())] })
provider.getTracer("bench").startSpan("llm.call").end()
done()`)
})

export const question: Question = {
  title: "A program before its first span",
  cases: [
    { name: "load", unit: "ms", times: 1 },
    { name: "root", unit: "ms", times: 1 },
    { name: "first span", unit: "ms", times: 1 },
    { name: "bundle", unit: "bytes", times: 1 }
  ],
  candidates: [
    { name: "effect", note: "`import \"effect\"`, a program of one effect", load: effect },
    {
      name: "effect and loom-tracing",
      note: "the same and the package's root, which is also measured by itself; `withLlmSpan`, `TracingLive`",
      load: ours
    },
    {
      name: "loom-tracing alone",
      note: "for a program that imports modules of Effect rather than all of it",
      load: oursAlone
    },
    { name: "OpenTelemetry SDK, by hand", note: "`sdk-trace-node` and `exporter-trace-otlp-grpc`", load: raw }
  ]
}
