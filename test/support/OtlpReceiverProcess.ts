/**
 * The OTLP receiver in a process of its own, that can be killed and started
 * again on the same port, and does not share this process's event loop.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import * as FileSystem from "node:fs/promises"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Readline from "node:readline"
import { fileURLToPath } from "node:url"
import type { Summary } from "./otlpReceiverMain.ts"

export type { Summary } from "./otlpReceiverMain.ts"

export interface OtlpReceiverProcess {
  readonly port: number
  readonly url: string
  /** SIGKILL: no farewell, connections are cut. */
  readonly kill: Effect.Effect<void>
  /** Starts it again, on the same port, after `kill` or `stop`. */
  readonly start: Effect.Effect<void>
  /** SIGTERM, and what it has received in all its lives. */
  readonly stop: Effect.Effect<Summary>
}

/** A receiver process that is ready, and is killed at the latest when the scope closes. */
export const make: Effect.Effect<OtlpReceiverProcess, never, Scope.Scope> = Effect.gen(function*() {
  const directory = yield* Effect.acquireRelease(
    Effect.promise(() => FileSystem.mkdtemp(Path.join(Os.tmpdir(), "otlp-receiver-"))),
    (directory) => Effect.promise(() => FileSystem.rm(directory, { recursive: true }))
  )
  const port = yield* Effect.promise(freePort)
  let current: Running | undefined

  const start = Effect.promise(async () => {
    if (current !== undefined) {
      throw new Error("the receiver is running already")
    }
    current = await run(port, Path.join(directory, "journal"))
  })
  const end = (signal: NodeJS.Signals) =>
    Effect.promise(async () => {
      const running = current
      current = undefined
      if (running === undefined) {
        throw new Error("the receiver is not running")
      }
      running.child.kill(signal)
      return JSON.parse(await running.lastLine)
    })

  yield* Effect.acquireRelease(start, () => current === undefined ? Effect.void : end("SIGKILL"))

  return {
    port,
    url: `http://127.0.0.1:${port}`,
    kill: Effect.asVoid(end("SIGKILL")),
    start,
    stop: end("SIGTERM")
  }
})

interface Running {
  readonly child: ChildProcess
  /** What it printed last, when it has ended. */
  readonly lastLine: Promise<string>
}

const run = async (port: number, journal: string): Promise<Running> => {
  const main = fileURLToPath(new URL("./otlpReceiverMain.ts", import.meta.url))
  const child = spawn(process.execPath, [main, "--port", String(port), "--journal", journal], {
    // With the channel the child notices when this process is gone.
    stdio: ["ignore", "pipe", "inherit", "ipc"]
  })
  const lines = Readline.createInterface({ input: child.stdout! })
  let last = ""
  lines.on("line", (line) => {
    last = line
  })
  const lastLine = Promise.all([once(child, "exit"), once(lines, "close")]).then(() => last)
  await Promise.race([
    once(lines, "line"),
    lastLine.then(() => Promise.reject(new Error(`the receiver process ended with code ${child.exitCode}`)))
  ])
  return { child, lastLine }
}

/**
 * A port outside the range from which the kernel takes the client's side of
 * connections: while the receiver is down nobody else can get it, nor can a
 * client that tries to reconnect meet itself there.
 */
const freePort = async (): Promise<number> => {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    const server = Net.createServer()
    const free = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false))
      server.listen(port, "127.0.0.1", () => resolve(true))
    })
    if (free) {
      await new Promise((resolve) => server.close(resolve))
      return port
    }
  }
}
