/** The example of each provider as a user runs it, without a key. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Program from "./support/Program.ts"

const haiku = "Spans open, spans close. A tree grows out of the log. Now I see the fault."
const trace = "A trace is the path of one request through a system."

/** Names, models and tokens of the printed trace, without its times. */
const printedTree = (stdout: string): ReadonlyArray<string> =>
  stdout.slice(stdout.search(/^trace /m)).split("\n").slice(1).filter((line) => line !== "").map((line) =>
    line.replace(/(?: · first chunk \S+)? +[\d.]+m?s\b.*$/, "")
  )

describe("the example of", () => {
  it.effect.each([
    {
      example: "openai",
      answers: [trace, haiku],
      tree: ["openai", "├─ llm.call  gpt-4.1-mini · 12 → 11 tokens", "└─ llm.call  gpt-4.1-mini · 14 → 19 tokens"]
    },
    {
      example: "anthropic",
      answers: [trace, haiku],
      tree: [
        "anthropic",
        "├─ llm.call  claude-haiku-4-5 · 12 → 11 tokens",
        "└─ llm.call  claude-haiku-4-5 · 14 → 19 tokens"
      ]
    },
    {
      example: "ollama",
      answers: [trace, haiku],
      tree: ["ollama", "├─ llm.call  llama3.2 · 12 → 11 tokens", "└─ llm.call  llama3.2 · 14 → 19 tokens"]
    },
    {
      example: "effect-ai",
      answers: ["It is 21 degrees in Paris.", haiku],
      tree: [
        "effect-ai",
        "├─ forecaster",
        "│  ├─ Chat.generateText",
        "│  │  ├─ llm.call  gpt-4.1-mini · 40 → 12 tokens",
        "│  │  └─ execute_tool weather",
        "│  └─ Chat.generateText",
        "│     └─ llm.tool_continuation  gpt-4.1-mini · 63 → 9 tokens",
        "└─ llm.call  gpt-4.1-mini · 14 → 19 tokens"
      ]
    }
  ])("$example answers, and prints its trace", ({ answers, example, tree }) =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* Program.run(`examples/${example}.ts`)
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
      assert.deepStrictEqual(stdout.split("\n").slice(0, 2), answers)
      assert.deepStrictEqual(printedTree(stdout), tree)
      assert.match(stdout, /llm\.call .* · first chunk /)
    }))
})
