/** The service of `main.go`: built for the purpose, and running for as long as the layer does. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { execFile, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import * as FileSystem from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { promisify } from "node:util"
import { Nats } from "../Nats.ts"

// Debian's packages, because they bring the libraries along without any other registry.
const go = "/usr/lib/go-1.19/bin/go"
const gopath = "/usr/share/gocode"

export const howToGetOne =
  "apt-get install golang-1.19-go golang-opentelemetry-otel-dev golang-github-nats-io-go-nats-dev"

export const isAvailable: boolean = [
  go,
  `${gopath}/src/go.opentelemetry.io/otel`,
  `${gopath}/src/github.com/nats-io/nats.go`
].every(
  FileSystem.existsSync
)

export class GoPeer extends Context.Service<GoPeer, {
  /** Where it answers, knowing Level 1 of W3C Trace Context, as its library does, or Level 2. */
  readonly level1: string
  readonly level2: string
  /** Where it can be told to begin a trace and ask someone. */
  readonly ask: string
}>()("loom-tracing/test/support/GoPeer") {}

const build = Effect.acquireRelease(
  Effect.sync(() => FileSystem.mkdtempSync(Path.join(Os.tmpdir(), "gopeer-"))),
  (directory) => Effect.sync(() => FileSystem.rmSync(directory, { recursive: true }))
).pipe(
  Effect.map((directory) => Path.join(directory, "gopeer")),
  Effect.tap((program) =>
    Effect.promise(() =>
      promisify(execFile)(go, ["build", "-o", program, Path.join(import.meta.dirname, "main.go")], {
        env: { ...process.env, GO111MODULE: "off", GOPATH: gopath, CGO_ENABLED: "0" }
      })
    )
  )
)

export const layer: Layer.Layer<GoPeer, never, Nats> = Layer.effect(
  GoPeer,
  Effect.gen(function*() {
    const { url } = yield* Nats
    const program = yield* build
    const subject = `test.${randomUUID()}.gopeer`
    const { child } = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(program, [url, subject], { stdio: ["pipe", "pipe", "inherit"] })
        return { child, exit: once(child, "exit") }
      }),
      ({ child, exit }) =>
        Effect.promise(() => {
          child.stdin.end()
          return exit
        })
    )
    // It prints one line, or ends, and with it its output.
    const [output] = yield* Effect.promise(() => Promise.race([once(child.stdout, "data"), once(child.stdout, "end")]))
    if (output === undefined) return yield* Effect.die("the Go peer does not start")
    return { level1: `${subject}.level1`, level2: `${subject}.level2`, ask: `${subject}.ask` }
  })
)
