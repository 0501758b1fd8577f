/** The service of `main.go`, with two ages of its library: built for the purpose, running for as long as the layer does. */
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

/** Debian's packages, because they bring the libraries along without any other registry. */
interface Toolchain {
  readonly go: string
  readonly gopath: string
}

/** Debian 12's, whose opentelemetry-go 1.1 knows Level 1 of W3C Trace Context alone. */
const level1: Toolchain = { go: "/usr/lib/go-1.19/bin/go", gopath: "/usr/share/gocode" }

/** Debian 14's, whose opentelemetry-go 1.46 knows Level 2. */
const unpacked = Path.resolve(import.meta.dirname, "../../../node_modules/.cache/gopeer/usr")
const level2: Toolchain = { go: `${unpacked}/lib/go/bin/go`, gopath: `${unpacked}/share/gocode` }

export const howToGetOne =
  "apt-get install golang-1.19-go golang-opentelemetry-otel-dev golang-github-nats-io-go-nats-dev && " +
  "test/support/gopeer/fetch.sh"

export const isAvailable: boolean = [level1, level2].flatMap(({ go, gopath }) => [
  go,
  `${gopath}/src/go.opentelemetry.io/otel`,
  `${gopath}/src/github.com/nats-io/nats.go`
]).every(FileSystem.existsSync)

/** Where one answers, and where it can be told to begin a trace and ask someone. */
interface Subjects {
  readonly answer: string
  readonly ask: string
}

export class GoPeer extends Context.Service<GoPeer, {
  readonly level1: Subjects
  readonly level2: Subjects
}>()("loom-tracing/test/support/GoPeer") {}

const build = ({ go, gopath }: Toolchain) =>
  Effect.acquireRelease(
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

const start = Effect.fnUntraced(function*(toolchain: Toolchain) {
  const { url } = yield* Nats
  const program = yield* build(toolchain)
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
  return { answer: `${subject}.answer`, ask: `${subject}.ask` } satisfies Subjects
})

export const layer: Layer.Layer<GoPeer, never, Nats> = Layer.effect(
  GoPeer,
  Effect.all({ level1: start(level1), level2: start(level2) }, { concurrency: "unbounded" })
)
