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

describe("every public name", () => {
  /** The names that a module exports to users: those that the root passes on, or all of a module that it does not. */
  const publicNames = (module: string): ReadonlyArray<string> => {
    const blocks = [...Examples.source("index.ts").matchAll(/export (?:type )?\{([^}]*)\} from "\.\/(\w+)\.ts"/g)]
      .filter(([, , from]) => from === module)
    const names = blocks.flatMap(([, list]) => list.split(",").map((name) => name.trim()).filter((name) => name !== ""))
    return blocks.length > 0 ? names : Examples.exportsOf(`${module}.ts`)
  }

  const docstringOfValue = (module: string, name: string): string | undefined =>
    new RegExp(`/\\*\\*(?:(?!\\*/)[^])*\\*/\n(?=export (?:const|class) ${name}\\b)`).exec(
      Examples.source(`${module}.ts`)
    )?.[0]

  for (const module of Examples.modules) {
    it(`of ${module} has a docstring with its category and version, and an example if it is a value`, () => {
      const names = publicNames(module)
      assert.isAbove(names.length, 0)
      for (const name of names) {
        const docstring = Examples.docstringOf(`${module}.ts`, name)
        assert.isDefined(docstring, `${module}.${name} has none`)
        assert.match(docstring!, /@category [a-z ]+/, `${module}.${name}`)
        assert.match(docstring!, /@since \d+\.\d+\.\d+/, `${module}.${name}`)
        // A type may have the same name, and a docstring of its own.
        const value = docstringOfValue(module, name)
        if (value !== undefined) assert.include(value, "**Example**", `${module}.${name}`)
      }
    })
  }
})
