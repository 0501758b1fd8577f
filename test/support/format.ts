/**
 * Formats the code (`--write`) or fails when some of it is not formatted (`--check`), by the rules in `.dprint.json`.
 *
 * The dprint command line would do, but its binary comes from an install script; the same formatter as WebAssembly
 * runs wherever Node does.
 */
import { createContext } from "@dprint/formatter"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { parseArgs } from "node:util"

const { values } = parseArgs({
  options: {
    check: { type: "boolean", default: false },
    write: { type: "boolean", default: false }
  }
})
if (values.check === values.write) {
  console.error("usage: format.ts --check | --write")
  process.exit(2)
}

const root = Path.resolve(import.meta.dirname, "../..")
const { $schema: _, includes, plugins, typescript, ...settings } = JSON.parse(
  Fs.readFileSync(Path.join(root, ".dprint.json"), "utf8")
)

const context = createContext(settings)
for (const plugin of plugins) {
  context.addPlugin(Fs.readFileSync(Path.join(root, plugin)), typescript)
}
// A misspelt setting would otherwise be ignored.
const problems = context.getConfigDiagnostics()
if (problems.length > 0) {
  console.error(problems.map((problem) => `.dprint.json: ${problem.propertyName}: ${problem.message}`).join("\n"))
  process.exit(2)
}

const changed: Array<string> = []
const files = Fs.globSync(includes, { cwd: root, exclude: ["**/node_modules/**"] }).sort()
for (const file of files) {
  const path = Path.join(root, file)
  const text = Fs.readFileSync(path, "utf8")
  const formatted = context.formatText({ filePath: path, fileText: text })
  if (formatted === text) continue
  changed.push(file)
  if (values.write) Fs.writeFileSync(path, formatted)
}

if (values.write) {
  console.log(`${changed.length} of ${files.length} files changed`)
} else if (changed.length > 0) {
  console.error(changed.map((file) => `not formatted: ${file}`).join("\n"))
  console.error(`${changed.length} of ${files.length} files: run \`npm run format\``)
  process.exit(1)
} else {
  console.log(`${files.length} files are formatted`)
}
