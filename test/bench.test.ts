import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Program from "./support/Program.ts"

const bench = (...args: ReadonlyArray<string>) => Program.run("bench/index.ts", { args })

describe.concurrent("npm run bench", () => {
  it.live("--help prints how it is used, and measures nothing", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* bench("--help")
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.match(stdout, /^usage: npm run bench -- /)
      for (const option of ["question", "short", "check", "json", "readme"]) assert.include(stdout, `  --${option}`)
    }))

  for (
    const [args, expected] of [
      [["--nope"], "Unknown option '--nope'; --help names those that there are\n"],
      [["--question"], "Option '--question <value>' argument missing; --help names those that there are\n"],
      [["--short=1"], "Option '--short' does not take an argument; --help names those that there are\n"],
      [["--question", "--short"], "Option '--question' argument is ambiguous; --help names those that there are\n"]
    ] as const
  ) {
    it.live(`says in one sentence what is wrong with ${args.join(" ")}`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* bench(...args), { code: 2, stdout: "", stderr: expected })
      }))
  }
})
