/** Programs of `test/support/programs` and `test/examples`, each in a process of its own, as their users run them. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { resolve } from "node:path"
import { baseEnv } from "./baseEnv.ts"

export interface Options {
  readonly args?: ReadonlyArray<string | number>
  /** All that it has in its environment, but for `PATH`. */
  readonly env?: Readonly<Record<string, string>>
  /** Options of Node itself. */
  readonly node?: ReadonlyArray<string>
}

export interface Outcome {
  /** `null` when a signal has ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Program {
  /** Waits for a text in what it prints. */
  readonly prints: (text: string) => Effect.Effect<void, DidNotPrint>
  readonly kill: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Reads no more of what it prints: whatever it prints from now on fails with EPIPE. */
  readonly closeStdout: Effect.Effect<void>
  readonly outcome: Effect.Effect<Outcome>
}

/** It ended, or half a minute passed, before the text came. */
export class DidNotPrint extends Data.TaggedError("DidNotPrint")<{
  readonly text: string
  readonly stdout: string
  readonly stderr: string
}> {}

const root = resolve(import.meta.dirname, "..")

/** Starts a program, by its path below `test`; it is killed at the latest when the scope closes. */
export const start = (path: string, options: Options = {}): Effect.Effect<Program, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(
          process.execPath,
          [...options.node ?? [], resolve(root, path), ...(options.args ?? []).map(String)],
          { env: { ...baseEnv, ...options.env }, stdio: ["ignore", "pipe", "pipe"] }
        )
        const printed = { stdout: "", stderr: "" }
        child.stdout.setEncoding("utf8").on("data", (text: string) => void (printed.stdout += text))
        child.stderr.setEncoding("utf8").on("data", (text: string) => void (printed.stderr += text))
        const outcome = new Promise<Outcome>((resolve) => child.once("close", (code) => resolve({ code, ...printed })))
        return { child, printed, outcome }
      }),
      ({ child, outcome }) =>
        Effect.promise(() => {
          child.kill("SIGKILL")
          return outcome
        })
    ),
    ({ child, outcome, printed }) => ({
      prints: (text) =>
        Effect.callback((resume) => {
          const settle = (result: Effect.Effect<void, DidNotPrint>) => {
            clearTimeout(timer)
            child.stdout.off("data", check)
            child.off("close", giveUp)
            resume(result)
          }
          const check = () => {
            if (printed.stdout.includes(text)) settle(Effect.void)
          }
          const giveUp = () => settle(Effect.fail(new DidNotPrint({ text, ...printed })))
          const timer = setTimeout(giveUp, 30_000)
          child.stdout.on("data", check)
          child.on("close", giveUp)
          check()
        }),
      kill: (signal) => Effect.sync(() => void child.kill(signal)),
      closeStdout: Effect.callback((resume) => {
        child.stdout.once("close", () => resume(Effect.void)).destroy()
      }),
      outcome: Effect.promise(() => outcome)
    })
  )

/** Runs a program to its end. */
export const run = (path: string, options?: Options): Effect.Effect<Outcome> =>
  Effect.scoped(Effect.flatMap(start(path, options), (program) => program.outcome))

/** Runs a program to its end, and measures how many milliseconds it lives on after it has printed a text. */
export const runAfter = (
  text: string,
  path: string,
  options?: Options
): Effect.Effect<Outcome & { readonly millis: number }, DidNotPrint> =>
  Effect.scoped(Effect.gen(function*() {
    const program = yield* start(path, options)
    yield* program.prints(text)
    const printed = performance.now()
    const outcome = yield* program.outcome
    return { ...outcome, millis: performance.now() - printed }
  }))
