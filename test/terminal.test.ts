/** `TracingConsole` on a real terminal, which has its own idea of how wide a character is and where a line ends. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import * as Tmux from "./support/Tmux.ts"

const skip = process.env.CI !== "true" && !Tmux.isAvailable

if (skip) {
  console.log(`terminal tests are skipped; to run them: ${Tmux.howToGetOne}`)
}

const show = (columns: number, env: Record<string, string> = {}) =>
  Tmux.run("support/programs/terminal.ts", {
    columns,
    env: { OTEL_SERVICE_NAME: "loom", LOOM_TRACE_CONTENT: "1", ...env }
  })

const snapshot = (columns: number): ReadonlyArray<string> =>
  readFileSync(resolve(import.meta.dirname, `support/fixtures/terminal/${columns}.txt`), "utf8").trimEnd().split("\n")

/** The milliseconds that the trace takes, from the start of its first span. */
const total = 810

/** When the others start and end; a span by what its line begins with. */
const times: ReadonlyArray<readonly [line: string, start: number, end: number]> = [
  ["├─ send tasks", 0, 10],
  ["└─ ✗ process tasks", 10, 810],
  ["   └─ ✗ invoke_agent researcher", 10, 810],
  ["      ├─ llm.call", 10, 410],
  ["      ├─ execute_tool search", 410, 530],
  ["      ├─ … 9 more rank", 534, 606],
  ["      ├─ compare", 610, 640],
  ["      └─ ✗ llm.call", 640, 810]
]

/** Where the bar of a line starts and ends, in half columns. */
const barOf = (line: string): readonly [start: number, end: number] => {
  const [{ 0: bar, index }] = line.matchAll(/[╺╶]?[━─]*[╸╴]?$/g)
  const start = 2 * index + (/^[╺╶]/.test(bar) ? 1 : 0)
  return [start, 2 * line.length - (/[╸╴]$/.test(bar) ? 1 : 0)]
}

const DEFAULT_COLOR = "39"
const RED = "31"
const MAGENTA = "35"
const BRIGHT_BLUE = "94"

/** The texts of a screen in a colour, which is the parameter of an SGR code. */
const textsIn = (color: string, styled: string): ReadonlyArray<string> => {
  let current = DEFAULT_COLOR
  const texts: Array<string> = []
  for (const part of `m${styled}`.split("\x1b[")) {
    const end = part.indexOf("m")
    for (const code of part.slice(0, end).split(";")) {
      if (code === "0") current = DEFAULT_COLOR
      else if (/^[39]\d$/.test(code)) current = code
    }
    const text = part.slice(end + 1).trim()
    if (current === color && text !== "") texts.push(text)
  }
  return texts
}

describe.skipIf(skip)("TracingConsole on a terminal", () => {
  for (const columns of [80, 140]) {
    describe(`of ${columns} columns`, () => {
      it.live("prints a trace without a line that the terminal has to break", () =>
        Effect.gen(function*() {
          const { lines, unwrapped } = yield* show(columns)
          assert.deepStrictEqual(unwrapped, lines)
          assert.deepStrictEqual(lines, snapshot(columns))
        }))

      it.live("draws all bars on one scale", () =>
        Effect.gen(function*() {
          const { lines } = yield* show(columns)
          const [left, right] = barOf(lines.find((line) => line.startsWith("handle request"))!)
          assert.isAtLeast(right - left, 32)
          const at = (millis: number) => left + (right - left) * millis / total
          for (const [beginning, start, end] of times) {
            const line = lines.find((line) => line.startsWith(beginning))
            assert.isDefined(line, beginning)
            const bar = barOf(line)
            assert.approximately(bar[0], at(start), 1, line)
            assert.approximately(bar[1], at(end), 1, line)
          }
        }))
    })
  }

  it.live("prints errors in red, and what is none in other colours", () =>
    Effect.gen(function*() {
      const { styled } = yield* show(80)
      const red = textsIn(RED, styled)
      assert.deepStrictEqual(red.filter((text) => !/^[╺╸━]+$/.test(text)), [
        "3 errors",
        "✗ process tasks",
        "RateLimitError",
        "✗ invoke_agent researcher",
        "RateLimitError",
        "✗ llm.call",
        "RateLimitError: 429 Rate limit reached:",
        "レート制限に達しました。しばらく待ってから、もう一度お試しください。",
        "リクエストの上限は一分あたり二百回です。"
      ])
      // The bars of the three.
      assert.lengthOf(red, 9 + 3)
      assert.deepStrictEqual(textsIn(MAGENTA, styled), ["llm.call", "━━━━━━━━━━━╸"])
      assert.deepStrictEqual(textsIn(BRIGHT_BLUE, styled), ["execute_tool search", "╺━━━"])
    }))

  it.live("prints the same without colours when NO_COLOR is set", () =>
    Effect.gen(function*() {
      const { lines, styled } = yield* show(80, { NO_COLOR: "1" })
      assert.notInclude(styled, "\x1b")
      assert.deepStrictEqual(lines, snapshot(80))
    }))

  it.live("prints what a tool was given only when content is recorded", () =>
    Effect.gen(function*() {
      const { lines } = yield* show(80, { LOOM_TRACE_CONTENT: "0" })
      const tool = lines.find((line) => line.includes("execute_tool search"))
      assert.match(tool ?? "", /─ execute_tool search +120ms /)
      assert.notInclude(lines.join("\n"), "effect layers")
    }))
})
