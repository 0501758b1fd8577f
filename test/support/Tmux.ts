/** A program of `test` on a terminal of its own: a pane of a tmux server that lives for as long as the scope. */
import { Data, Effect, Schedule, type Scope } from "effect"
import { execFile } from "node:child_process"
import * as FileSystem from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { promisify } from "node:util"
import { baseEnv } from "./baseEnv.ts"

export const howToGetOne = "apt-get install tmux"

export const isAvailable: boolean = (process.env.PATH ?? "").split(Path.delimiter)
  .some((folder) => FileSystem.existsSync(Path.join(folder, "tmux")))

export interface Options {
  readonly columns: number
  readonly env?: Readonly<Record<string, string>>
}

export interface Screen {
  /** The lines of the screen, down to what the program has printed last. */
  readonly lines: ReadonlyArray<string>
  /** The same, where a line that the terminal had to break is one. */
  readonly unwrapped: ReadonlyArray<string>
  /** The same as `lines`, with SGR codes. */
  readonly styled: string
}

/** The program failed, or 20 seconds passed before it ended. */
class DidNotSucceed extends Data.TaggedError("DidNotSucceed")<{ readonly screen: string }> {}

const ROWS = 60
/** What the terminal shows after what the program has printed. */
const ENDED = "exit code "
const SUCCEEDED = `${ENDED}0`

const root = Path.resolve(import.meta.dirname, "..")

/** Runs a program, by its path below `test`, to its end. */
export const run = Effect.fnUntraced(
  function*(path: string, options: Options): Effect.fn.Return<Screen, DidNotSucceed, Scope.Scope> {
    // Nobody else may enter the folder, and in it lies the server's socket.
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => FileSystem.mkdtempSync(Path.join(Os.tmpdir(), "terminal-"))),
      (folder) => Effect.sync(() => FileSystem.rmSync(folder, { recursive: true, force: true }))
    )
    const env = { ...baseEnv, LC_ALL: "C.UTF-8", ...options.env }
    const tmux = (...args: ReadonlyArray<string>) =>
      Effect.promise(() =>
        promisify(execFile)("tmux", ["-u", "-S", Path.join(folder, "socket"), "-f", "/dev/null", ...args], { env })
      ).pipe(Effect.map(({ stdout }) => stdout))
    const capture = (...args: ReadonlyArray<string>) => tmux("capture-pane", "-p", ...args)

    // The shell that waits in the end keeps the pane, and what it shows.
    const script = `"$@"; printf '${ENDED}%d' $?; exec cat`
    const command = ["sh", "-c", script, "sh", process.execPath, Path.join(root, path)]
    yield* Effect.acquireRelease(
      tmux("new-session", "-d", "-x", String(options.columns), "-y", String(ROWS), ...command),
      () => tmux("kill-server")
    )
    yield* capture().pipe(
      Effect.flatMap((screen) => screen.includes(SUCCEEDED) ? Effect.void : Effect.fail(new DidNotSucceed({ screen }))),
      Effect.retry({
        while: ({ screen }) => !screen.includes(ENDED),
        schedule: Schedule.spaced("20 millis").pipe(Schedule.upTo({ duration: "20 seconds" }))
      })
    )
    const printed = (screen: string) => screen.slice(0, screen.indexOf(ENDED)).trimEnd()
    const linesOf = (screen: string) => printed(screen).split("\n").map((line) => line.trimEnd())
    return {
      lines: linesOf(yield* capture()),
      unwrapped: linesOf(yield* capture("-J")),
      styled: printed(yield* capture("-e"))
    }
  }
)
