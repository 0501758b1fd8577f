import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { build as esbuild } from "esbuild"
import { execFile } from "node:child_process"
import * as Fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { delimiter, join, relative, resolve } from "node:path"
import { promisify } from "node:util"
import { publint } from "publint"
import { build as vite } from "vite"
import { baseEnv } from "./support/baseEnv.ts"

const root = resolve(import.meta.dirname, "..")
const bin = resolve(root, "node_modules/.bin")

/** Runs a program with what the project has installed first on the PATH. */
const run = async (cwd: string, command: string, ...args: ReadonlyArray<string>): Promise<string> => {
  try {
    const { stdout } = await promisify(execFile)(command, args, {
      cwd,
      env: { ...baseEnv, PATH: `${bin}${delimiter}${baseEnv.PATH}`, OTEL_TRACES_EXPORTER: "none", NO_COLOR: "1" },
      maxBuffer: 64 * 1024 * 1024
    })
    return stdout
  } catch (error) {
    const { message, stdout } = error as { readonly message: string; readonly stdout: string }
    throw new Error(`${message}\n${stdout}`, { cause: error })
  }
}

/** The public modules, by their names. */
const modulesIn = async (folder: string): Promise<ReadonlyArray<string>> =>
  (await Fs.readdir(folder)).filter((file) => file.endsWith(".ts") && file !== "index.ts").map((file) =>
    file.slice(0, -".ts".length)
  )

// Outside of the project, where nothing else is found than what a user of the package would find.
let scratch: string
let tarball: string
/** What the tarball holds. */
let files: ReadonlyArray<string>
/** A project that has installed the package. */
let consumer: string

beforeAll(async () => {
  scratch = await Fs.realpath(await Fs.mkdtemp(join(tmpdir(), "loom-tracing-packaging-")))
  await Fs.symlink(resolve(root, "node_modules"), join(scratch, "node_modules"), "junction")

  const source = join(scratch, "source")
  for (const name of ["src", "package.json", "tsconfig.json", "README.md", "LICENSE", "CHANGELOG.md"]) {
    await Fs.cp(resolve(root, name), join(source, name), { recursive: true })
  }
  await run(source, "node", resolve(root, "test/support/bundle.ts"))
  await run(source, "tsc", "--project", "src")
  const [packed] = JSON.parse(
    await run(source, "npm", "pack", "--json", "--ignore-scripts", "--pack-destination", scratch)
  )
  tarball = join(scratch, packed.filename)
  files = packed.files.map((file: { readonly path: string }) => file.path)

  consumer = join(scratch, "consumer")
  const installed = join(consumer, "node_modules/loom-tracing")
  await Fs.mkdir(installed, { recursive: true })
  await run(scratch, "tar", "-xzf", tarball, "-C", installed, "--strip-components=1")
  await Fs.cp(resolve(root, "test/support/consumer"), consumer, { recursive: true })
  await Fs.writeFile(join(consumer, "package.json"), `{ "private": true, "type": "module" }`)
})

afterAll(() => Fs.rm(scratch, { recursive: true, force: true }))

describe("the tarball", () => {
  it("holds sources, what is built from them, and the documents; nothing else", async () => {
    const sources = (await Fs.readdir(resolve(root, "src"), { recursive: true })).filter((file) => file.endsWith(".ts"))
    const names = sources.map((file) => file.slice(0, -".ts".length))
    const eager = ["core", "root"]
    const lazy = [
      "exportFailure",
      "grpcConnection",
      "memoryTracers",
      "metrics",
      "otlpCertificates",
      "otlpGrpcExporter",
      "otlpHttpExporter",
      "otlpResponse",
      "sdk",
      "spanStart"
    ]
    const chunks = [...eager, ...lazy].map((name) => `dist/internal/${name}.js`)
    const withCode = ["GenAiEffectAi", "McpEffectAi", "TracingTest"].map((name) => `dist/${name}.js`)
    const expected = [
      "CHANGELOG.md",
      "LICENSE",
      "README.md",
      "package.json",
      ...names.flatMap((name) => [`src/${name}.ts`, `dist/${name}.d.ts`, `dist/${name}.d.ts.map`]),
      ...names.filter((name) => !name.includes("/")).map((name) => `dist/${name}.js`),
      ...chunks,
      ...[...chunks, ...withCode].map((file) => `${file}.map`)
    ]
    assert.deepStrictEqual([...files].sort(), expected.sort())
  })

  it("says the versions that it has, and that it needs, as package.json does", async () => {
    const read = (name: string) => Fs.readFile(resolve(root, name), "utf8")
    const { optionalDependencies, version } = JSON.parse(await read("package.json"))
    assert.include(await read("src/internal/version.ts"), `"${version}"`)
    const advice = `${await read("src/TracingLive.ts")}${await read("src/internal/sdk.ts")}`
    const named = [...advice.matchAll(/(@[\w-]+\/[\w-]+)@(\d[\d.]*)/g)]
    assert.isAbove(named.length, 5)
    for (const [, name, needed] of named) {
      assert.isTrue(optionalDependencies[name]?.replace(/^[~^]/, "").startsWith(needed), `${name}@${needed}`)
    }
  })

  it("is in order, says publint", async () => {
    const { messages } = await publint({ pack: { tarball: (await Fs.readFile(tarball)).buffer }, strict: true })
    assert.deepStrictEqual(messages, [])
  })

  it("has types that resolve for every module, says attw", async () => {
    const modules = await modulesIn(resolve(root, "src"))
    assert.include(modules, "TracingTest")
    await run(
      scratch,
      "attw",
      tarball,
      "--profile",
      "esm-only",
      "--entrypoints",
      ".",
      ...modules.map((name) => `./${name}`)
    )
  })

  it("has source maps that lead to its sources", async () => {
    const output = await run(
      consumer,
      "node",
      "--enable-source-maps",
      "--input-type=module",
      "--eval",
      `import { parseTraceparent } from "loom-tracing"
       try { parseTraceparent(undefined) } catch (error) { console.log(error.stack) }`
    )
    const [, file, line, column] = /loom-tracing[\\/]src[\\/](\w+\.ts):(\d+):(\d+)/.exec(output)!
    const source = (await Fs.readFile(resolve(root, "src", file), "utf8")).split("\n")
    assert.match(source[Number(line) - 1].slice(Number(column) - 1), /^(header\.)?length/)
  })

  it("type-checks in a program", () => run(consumer, "tsc", "--project", "."))

  it("keeps its internals to itself", async () => {
    for (const name of ["loom-tracing/internal/span", "loom-tracing/index"]) {
      const error = await run(consumer, "node", "--eval", `await import(${JSON.stringify(name)})`).catch((error) =>
        error
      )
      assert.include(String(error), "ERR_PACKAGE_PATH_NOT_EXPORTED", name)
    }
  })
})

describe("a program runs", () => {
  it.each([
    ["node program.mjs"],
    ["node --conditions=bun program.mjs"],
    ["tsx program.mjs"]
  ])("with %s", async (line) => {
    const [command, ...args] = line.split(" ")
    assert.strictEqual(await run(consumer, command, ...args), "answer 42, tracing on\n")
  })
})

// -- bundles ---------------------------------------------------------------------------------------------------------

interface Bundle {
  /** The file to run. */
  readonly entry: string
  /** It and all that it loads at once. */
  readonly files: ReadonlyArray<string>
  /** The modules in the file to run and in all that it loads at once. */
  readonly eager: ReadonlyArray<string>
  /** The modules that are in other files. */
  readonly lazy: ReadonlyArray<string>
}

/** A file of a bundle: what it is made of, and the files that it loads at once. */
interface Chunk {
  readonly file: string
  readonly isEntry: boolean
  readonly modules: ReadonlyArray<string>
  readonly imports: ReadonlyArray<string>
}

const toBundle = (folder: string, chunks: ReadonlyArray<Chunk>): Bundle => {
  const entry = chunks.find((chunk) => chunk.isEntry)!
  const eager = new Set([entry.file])
  for (const file of eager) {
    for (const name of chunks.find((chunk) => chunk.file === file)?.imports ?? []) eager.add(name)
  }
  const modules = (isEager: boolean) =>
    chunks.filter((chunk) => eager.has(chunk.file) === isEager).flatMap((chunk) => chunk.modules)
  return {
    entry: resolve(folder, entry.file),
    files: [...eager].map((file) => resolve(folder, file)),
    eager: modules(true),
    lazy: modules(false)
  }
}

const bundlers: Readonly<Record<string, (source: string, folder: string) => Promise<Bundle>>> = {
  esbuild: async (source, folder) => {
    const { metafile } = await esbuild({
      absWorkingDir: consumer,
      entryPoints: [source],
      outdir: folder,
      bundle: true,
      splitting: true,
      format: "esm",
      platform: "node",
      metafile: true,
      logLevel: "silent",
      // gRPC is CommonJS, which in an ES module asks for a `require` of its own.
      banner: { js: `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);` }
    })
    const chunks = Object.entries(metafile.outputs).map(([file, output]): Chunk => ({
      file: relative(folder, resolve(consumer, file)),
      isEntry: output.entryPoint === relative(consumer, source),
      modules: Object.keys(output.inputs).filter((module) => output.inputs[module].bytesInOutput > 0),
      imports: output.imports.filter((imported) => imported.kind === "import-statement" && !imported.external)
        .map((imported) => relative(folder, resolve(consumer, imported.path)))
    }))
    return toBundle(folder, chunks)
  },
  Vite: async (source, folder) => {
    const result = await vite({
      root: consumer,
      configFile: false,
      logLevel: "silent",
      ssr: { noExternal: true },
      build: { ssr: source, outDir: folder, minify: false }
    })
    assert.isTrue("output" in result)
    const chunks = (result as Extract<typeof result, { readonly output: unknown }>).output.flatMap((
      chunk
    ): Array<Chunk> =>
      chunk.type !== "chunk" ? [] : [{
        file: chunk.fileName,
        isEntry: chunk.isEntry,
        modules: Object.keys(chunk.modules).filter((module) => chunk.modules[module].renderedLength > 0),
        imports: chunk.imports
      }]
    )
    return toBundle(folder, chunks)
  }
}

const isSdk = (module: string): boolean => /@opentelemetry|@grpc|loom-tracing\/dist\/internal\/sdk/.test(module)

describe.each(Object.keys(bundlers))("in a bundle by %s", (name) => {
  const bundle = (source: string) => bundlers[name](join(consumer, source), join(consumer, `${name}-${source}`))

  it("a program that only makes spans holds no OpenTelemetry SDK, and no function that it does not need", async () => {
    await Fs.writeFile(
      join(consumer, "spans.mjs"),
      `import * as Effect from "effect/Effect"
       import { withLlmSpan } from "loom-tracing"
       const call = Effect.succeed("42").pipe(withLlmSpan({ provider: "openai", request: { model: "m" } }))
       console.log("answer", Effect.runSync(call))`
    )
    const { eager, entry, files, lazy } = await bundle("spans.mjs")
    assert.deepStrictEqual(eager.filter(isSdk), [])
    // esbuild makes a file of all that could be loaded, asked for or not.
    if (name !== "esbuild") assert.deepStrictEqual(lazy.filter(isSdk), [])
    const code = (await Promise.all(files.map((file) => Fs.readFile(file, "utf8")))).join("\n")
    const holds = (name: string) => new RegExp(`(?:const|var|let|class|function) ${name}\\b`).test(code)
    assert.isTrue(holds("withLlmSpan"))
    // The first two are beside what it needs, in the same file of the package.
    for (
      const name of [
        "withEmbeddingsSpan",
        "TraceparentFromString",
        "injectTraceContext",
        "TracedMessage",
        "handleTracedMessage",
        "withMcpSpan",
        "withOpenAiSpan",
        "TracingLive"
      ]
    ) assert.isFalse(holds(name), name)
    assert.strictEqual(await run(consumer, "node", entry), "answer 42\n")
  })

  it("a program that sends a context on loads little more than one without a context", async () => {
    const sizeOf = async (file: string, source: string): Promise<number> => {
      await Fs.writeFile(join(consumer, file), `import * as Effect from "effect/Effect"\n${source}`)
      const { entry, files } = await bundle(file)
      assert.strictEqual(await run(consumer, "node", entry), "message 42\n")
      return (await Promise.all(files.map((file) => Fs.stat(file)))).reduce((sum, { size }) => sum + size, 0)
    }
    const without = await sizeOf("message.mjs", `console.log("message", Effect.runSync(Effect.succeed(42)))`)
    const withContext = await sizeOf(
      "context.mjs",
      `import { injectTraceContext } from "loom-tracing"
       console.log("message", Effect.runSync(injectTraceContext({ id: 42 })).id)`
    )
    // Not minified. Whatever a file that is loaded later shares with this one, esbuild loads at once.
    assert.isBelow(withContext - without, 90_000)
  })

  it("the live layer loads the OpenTelemetry SDK from a file of its own", async () => {
    const { eager, entry, lazy } = await bundle("program.mjs")
    assert.isTrue(eager.some((module) => module.endsWith("loom-tracing/dist/internal/root.js")))
    assert.deepStrictEqual(eager.filter(isSdk), [])
    assert.isTrue(lazy.some((module) => module.endsWith("loom-tracing/dist/internal/sdk.js")))
    assert.isTrue(lazy.some((module) => module.includes("@opentelemetry/sdk-trace-node")))
    assert.strictEqual(await run(consumer, "node", entry), "answer 42, tracing on\n")
  })
})
