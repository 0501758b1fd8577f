/**
 * A connection to a real NATS server: the one that `NATS_URL` names, else the
 * one that answers on 127.0.0.1:4222, else a `nats-server` from the PATH that
 * is started for the purpose, with JetStream.
 */
import { connect as connectNats, type NatsConnection } from "@nats-io/transport-node"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import * as FileSystem from "node:fs/promises"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

/** A server that runs, or a program that would be one. */
export type Source =
  | { readonly _tag: "Url"; readonly url: string }
  | { readonly _tag: "Executable"; readonly path: string }

/** There is no server, or it cannot be started or reached. */
export class NatsUnavailable extends Schema.TaggedError<NatsUnavailable>()("NatsUnavailable", {
  message: Schema.String
}) {}

export const howToGetOne = "apt-get install nats-server, or set NATS_URL"

/** The connection that tests share, and subjects of their own. */
export class Nats extends Context.Service<Nats, {
  readonly url: string
  readonly connection: NatsConnection
  /** A subject that ends with `.name` and that nobody else uses; another one at each call. */
  readonly subject: (name: string) => string
}>()("loom-tracing/test/support/Nats") {}

/** Where a server can be had; nothing is started yet. */
export const locate: Effect.Effect<Option.Option<Source>> = Effect.gen(function*() {
  const url = Option.filter(yield* Effect.orDie(Config.option(Config.String("NATS_URL"))), (url) => url !== "")
  if (Option.isSome(url)) {
    return Option.some<Source>({ _tag: "Url", url: url.value })
  }
  if (yield* Effect.promise(() => greetsAsNats("127.0.0.1", 4222))) {
    return Option.some<Source>({ _tag: "Url", url: "nats://127.0.0.1:4222" })
  }
  const path = yield* Effect.promise(() => findOnPath("nats-server"))
  return Option.map(path, (path): Source => ({ _tag: "Executable", path }))
})

/** A connection to the server at `url`, drained when the scope closes. */
const connect = (url: string): Effect.Effect<NatsConnection, NatsUnavailable, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () => connectNats({ servers: url, name: "loom-tracing" }),
      catch: (cause) => new NatsUnavailable({ message: `no connection to ${url} (${cause})` })
    }),
    // A test may have closed the connection, or its server.
    (connection) => Effect.ignore(Effect.tryPromise(() => connection.drain()))
  )

/** The address of the source's server, which is started if need be and then stopped when the scope closes. */
const serve = (source: Source): Effect.Effect<string, NatsUnavailable, Scope.Scope> =>
  source._tag === "Url" ? Effect.succeed(source.url) : startServer(source.path)

const make: Effect.Effect<Nats["Service"], NatsUnavailable, Scope.Scope> = Effect.gen(function*() {
  const source = yield* locate
  if (Option.isNone(source)) {
    return yield* new NatsUnavailable({ message: `there is no NATS server: ${howToGetOne}` })
  }
  const url = yield* serve(source.value)
  const connection = yield* connect(url)
  return { url, connection, subject: (name) => `test.${randomUUID()}.${name}` }
})

export const layer: Layer.Layer<Nats, NatsUnavailable> = Layer.effect(Nats, make)

/** Any server may listen there; NATS speaks first. */
const greetsAsNats = async (host: string, port: number): Promise<boolean> => {
  const socket = Net.connect({ host, port, timeout: 2000 })
  socket.once("timeout", () => socket.destroy(new Error("timeout")))
  try {
    const [greeting] = await once(socket, "data")
    return greeting.toString("latin1").startsWith("INFO ")
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

const findOnPath = async (program: string): Promise<Option.Option<string>> => {
  for (const directory of (process.env.PATH ?? "").split(Path.delimiter)) {
    const path = Path.join(directory, program)
    const executable = await FileSystem.access(path, FileSystem.constants.X_OK).then(() => true, () => false)
    if (executable) {
      return Option.some(path)
    }
  }
  return Option.none()
}

const startServer = Effect.fnUntraced(
  function*(executable: string): Effect.fn.Return<string, NatsUnavailable, Scope.Scope> {
    const directory = yield* Effect.acquireRelease(
      Effect.promise(() => FileSystem.mkdtemp(Path.join(Os.tmpdir(), "nats-"))),
      (directory) => Effect.promise(() => FileSystem.rm(directory, { recursive: true }))
    )
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(
          executable,
          ["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", directory, "-js", "-sd", Path.join(directory, "js")],
          { stdio: "ignore" }
        )
        return { pid: child.pid, child, exit: once(child, "exit") }
      }),
      ({ child, exit }) =>
        Effect.promise(() => {
          child.kill()
          return exit
        })
    )
    const ended = child.exit.then(([code]) => Promise.reject(new Error(`it ended with code ${code}`)))
    return yield* Effect.tryPromise({
      try: () => Promise.race([readPorts(directory), ended]),
      catch: (cause) => new NatsUnavailable({ message: `${executable} does not start (${cause})` })
    })
  }
)

/** The server writes its addresses to a file when it has them. */
const readPorts = async (directory: string): Promise<string> => {
  const deadline = Date.now() + 10_000
  while (Date.now() < deadline) {
    const file = (await FileSystem.readdir(directory)).find((name) => name.endsWith(".ports"))
    const text = file === undefined ? "" : await FileSystem.readFile(Path.join(directory, file), "utf8")
    if (text.endsWith("}")) {
      return JSON.parse(text).nats[0]
    }
    await sleep(20)
  }
  throw new Error("it has not told its port in 10 seconds")
}
