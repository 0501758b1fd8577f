/**
 * Builds the JavaScript of the package in the current directory, from `src` into `dist` or the folder of `--out`.
 *
 * Node takes longer to find and open fifty files than to run what is in them, so what the root needs comes in two:
 * one with what a carrier and a model's call need, and one with the rest, which a bundler can leave out as a whole.
 * In both it can leave out any value that nobody uses, because the calls that make them are marked as pure.
 */
import { readdirSync, readFileSync, rmSync } from "node:fs"
import { isAbsolute, parse, resolve } from "node:path"
import { parseArgs } from "node:util"
import { type Plugin, rolldown, RolldownMagicString } from "rolldown"
import { type ESTree, parseSync, Visitor } from "rolldown/utils"

const { values } = parseArgs({ options: { out: { type: "string", default: "dist" } } })

/** Where the calls are that a module makes while it is loaded, for a value or a class of its own. */
const callsOnLoad = (program: ESTree.Program): ReadonlyArray<number> => {
  const positions: Array<number> = []
  let values = 0
  let functions = 0
  const enterValue = () => void values++
  const leaveValue = () => void values--
  const enterFunction = () => void functions++
  const leaveFunction = () => void functions--
  const onCall = ({ start }: { readonly start: number }) => {
    if (values > 0 && functions === 0) positions.push(start)
  }
  new Visitor({
    VariableDeclaration: enterValue,
    "VariableDeclaration:exit": leaveValue,
    ClassDeclaration: enterValue,
    "ClassDeclaration:exit": leaveValue,
    FunctionDeclaration: enterFunction,
    "FunctionDeclaration:exit": leaveFunction,
    FunctionExpression: enterFunction,
    "FunctionExpression:exit": leaveFunction,
    ArrowFunctionExpression: enterFunction,
    "ArrowFunctionExpression:exit": leaveFunction,
    // What a class does for its objects is no part of loading it, and what it does in a static block has no value.
    PropertyDefinition: enterFunction,
    "PropertyDefinition:exit": leaveFunction,
    StaticBlock: enterFunction,
    "StaticBlock:exit": leaveFunction,
    CallExpression: onCall,
    NewExpression: onCall
  }).visit(program)
  return positions
}

const markPure: Plugin = {
  name: "mark-pure",
  transform: {
    filter: { id: /\.ts$/ },
    handler: (code, id) => {
      const marked = new RolldownMagicString(code)
      for (const position of callsOnLoad(parseSync(id, code).program)) {
        marked.appendLeft(position, "/* @__PURE__ */ ")
      }
      const map = marked.generateMap({ hires: "boundary", source: id })
      return { code: marked.toString(), map: map.toString() }
    }
  }
}

rmSync(values.out, { recursive: true, force: true })
const { dependencies, optionalDependencies, peerDependencies } = JSON.parse(readFileSync("package.json", "utf8"))
const packages = Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })

/** Whether a module is another package's, which its users install. */
const isExternal = (id: string): boolean => {
  if (isAbsolute(id) || id.startsWith(".") || id.startsWith("node:")) return false
  if (packages.some((name) => id === name || id.startsWith(`${name}/`))) return true
  throw new Error(`src imports ${id}, which is none of the packages that package.json says users have`)
}

const modules = readdirSync("src").filter((file) => file.endsWith(".ts"))
const bundle = await rolldown({
  input: Object.fromEntries(modules.map((file) => [parse(file).name, resolve("src", file)])),
  platform: "node",
  external: isExternal,
  plugins: [markPure]
})
await bundle.write({
  dir: values.out,
  sourcemap: true,
  // The package holds them.
  sourcemapExcludeSources: true,
  chunkFileNames: "internal/[name].js",
  minifyInternalExports: false,
  codeSplitting: {
    // Each with all that it imports. A file that is loaded later must not need the one that loads it: a bundler would
    // take them for used because of one another, and both are left out where nobody asks for them.
    groups: [
      {
        name: "core",
        test: /[\\/]src[\\/](?:Carrier|GenAi|internal[\\/](?:version|withoutUser|grpcTarget))\.ts$/,
        priority: 2
      },
      { name: "root", test: /[\\/]src[\\/]index\.ts$/, priority: 1 },
      { name: "exportFailure", test: /[\\/]internal[\\/]exportFailure\.ts$/ }
    ]
  }
})
