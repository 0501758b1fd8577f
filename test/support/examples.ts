/** The examples of the documentation, as modules that can be compiled and run. */
import { readdirSync, readFileSync } from "node:fs"
import { resolve } from "node:path"

const root = resolve(import.meta.dirname, "../..")

export interface Example {
  /** Where it stands, such as `GenAi.ts:412`. */
  readonly name: string
  readonly code: string
}

const fencesOf = (file: string, text: string): ReadonlyArray<Example> => {
  const examples: Array<Example> = []
  for (const match of text.matchAll(/^([ \t]*(?:\* )?)```ts\n([\s\S]*?)^[ \t]*(?:\* )?```/gm)) {
    const line = text.slice(0, match.index).split("\n").length
    const prefix = match[1].trimEnd()
    const code = match[2].split("\n").map((row) =>
      row.startsWith(prefix) ? row.slice(prefix.length).replace(/^ /, "") : row
    )
    examples.push({ name: `${file}:${line}`, code: (prefix === "" ? match[2] : code.join("\n")).trimEnd() + "\n" })
  }
  return examples
}

export const readme: ReadonlyArray<Example> = fencesOf("README.md", readFileSync(resolve(root, "README.md"), "utf8"))

export const docstrings: ReadonlyArray<Example> = readdirSync(resolve(root, "src"), { encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .flatMap((file) => fencesOf(file, readFileSync(resolve(root, "src", file), "utf8")))

/** A line that ends in `// => value` becomes an assertion that its expression has that value. */
export const withAssertions = (code: string): string =>
  `import { deepStrictEqual as __equal } from "node:assert/strict"\n` +
  `import { isDeepStrictEqual as __same } from "node:util"\n` +
  `const __plain = (value: unknown): unknown => value !== null && typeof value === "object" && !Array.isArray(value) ? { ...value } : value\n` +
  `const __is = (actual: unknown, expected: unknown) => { if (!__same(actual, expected)) __equal(__plain(actual), __plain(expected)) }\n` +
  code.replace(
    /^(.*\S)\s+\/\/ => (.*)$/gm,
    (_, expression: string, expected: string) => `__is(${expression}, (${expected}))`
  )

export const source = (file: string): string => readFileSync(resolve(root, "src", file), "utf8")

/** The public modules but for the root, which only passes their names on. */
export const modules: ReadonlyArray<string> = readdirSync(resolve(root, "src"), { encoding: "utf8" })
  .filter((file) => file.endsWith(".ts") && file !== "index.ts")
  .map((file) => file.slice(0, -".ts".length))

const declaration = (name: string): RegExp =>
  new RegExp(`^export (?:declare )?(?:const|class|interface|type|function) ${name}\\b`, "m")

/** The names that a module declares and exports, but for internal ones. */
export const exportsOf = (file: string): ReadonlyArray<string> =>
  [...source(file).matchAll(/^export (?:declare )?(?:const|class|interface|type|function) (\w+)/gm)]
    .map(([, name]) => name)
    .filter((name) => !docstringOf(file, name)?.includes("@internal"))

/** The comment right above the first declaration of a name; `undefined` when there is none. */
export const docstringOf = (file: string, name: string): string | undefined => {
  const text = source(file)
  const at = text.search(declaration(name))
  if (at < 0) return undefined
  const before = text.slice(0, at).replace(/(?:\n\/\/[^\n]*)+\n$/, "").trimEnd()
  return before.endsWith("*/") ? before.slice(before.lastIndexOf("/**")) : undefined
}
