import { afterAll, assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { resolve } from "node:path"
import * as Examples from "./support/examples.ts"

const root = resolve(import.meta.dirname, "..")
// Inside the project, so that the examples resolve the package and its dependencies as a user's file would.
const folder = resolve(root, `.examples-${process.pid}`)
mkdirSync(folder, { recursive: true })
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const write = (examples: ReadonlyArray<Examples.Example>) =>
  examples.map((example) => {
    const file = resolve(folder, `${example.name.replace(/\W/g, "_")}.ts`)
    writeFileSync(file, `${Examples.withAssertions(example.code)}\nexport {}\n`)
    return { ...example, file }
  })

const readme = write(Examples.readme)
const docstrings = write(Examples.docstrings)

describe("the examples of the documentation", () => {
  it("exist", () => {
    assert.isAbove(readme.length, 0)
    assert.isAbove(docstrings.length, 10)
  })

  it("compile", () => {
    const config = resolve(folder, "tsconfig.json")
    writeFileSync(
      config,
      JSON.stringify({
        extends: "../tsconfig.json",
        include: ["*.ts"],
        compilerOptions: { noUnusedLocals: false, noUnusedParameters: false, types: ["node"] }
      })
    )
    try {
      execFileSync(process.execPath, [resolve(root, "node_modules/typescript/bin/tsc"), "--project", config], {
        encoding: "utf8"
      })
    } catch (error) {
      assert.fail((error as { stdout: string }).stdout)
    }
  })

  for (const { code, file, name } of docstrings) {
    if (!code.includes("// =>")) continue
    it(`src/${name} gives what it says`, async () => {
      await import(/* @vite-ignore */ file)
    })
  }
})
