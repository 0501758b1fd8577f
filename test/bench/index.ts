/**
 * `npm run bench`: answers the questions of `questions.ts`, with absolute times
 * beside ratios.
 *
 * The sources are measured as they are: Node takes the types out when it loads
 * them. Only `startup` builds the package first.
 */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { type Bound, bounds, judge } from "./bounds.ts"
import { type Effort, FULL, measure, SHORT } from "./measure.ts"
import { questions } from "./questions.ts"
import { intoReadme, type Result, toJson, toText } from "./report.ts"

const USAGE = `usage: npm run bench -- [options]

  --question NAME  only this one; may be given several times
  --short          only what has a bound, with less effort: for CI
  --check          fails when a ratio is out of its bound by more than a third
  --json           prints JSON, every round included
  --readme [FILE]  writes the numbers into a document; README.md by default

Questions: ${Object.keys(questions).join(", ")}`

const readArguments = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        help: { type: "boolean", default: false },
        question: { type: "string", multiple: true },
        short: { type: "boolean", default: false },
        check: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        readme: { type: "boolean", default: false }
      }
    })
  } catch (error) {
    // The first sentence: what follows is advice for the rare file that begins with a dash.
    console.error(`${(error as Error).message.split(/\.\s/)[0]}; --help names those that there are`)
    process.exit(2)
  }
}

const { positionals, values } = readArguments()
if (values.help) {
  console.log(USAGE)
  process.exit()
}

const names = values.question ?? Object.keys(questions)
const unknown = names.filter((name) => !Object.hasOwn(questions, name))
if (unknown.length > 0) {
  console.error(`No question: ${unknown.join(", ")}. There are: ${Object.keys(questions).join(", ")}`)
  process.exit(2)
}
if (values.readme && values.question !== undefined) {
  console.error("--readme writes the answers to all questions")
  process.exit(2)
}

const effort: Effort = values.short ? SHORT : FULL

/** The peers, which nothing but this needs, are installed when they are first asked for. */
const installPeers = (): boolean => {
  if (existsSync(join(import.meta.dirname, "node_modules"))) return true
  try {
    console.error("Installing the libraries to compare with")
    execFileSync("npm", ["ci", "--prefix", import.meta.dirname, "--ignore-scripts", "--no-audit", "--no-fund"], {
      stdio: ["ignore", "ignore", "inherit"]
    })
    return true
  } catch {
    console.error("They cannot be installed and are left out")
    return false
  }
}

const answer = async (name: string): Promise<Result> => {
  const question = await questions[name]()
  const ofQuestion = bounds.filter((bound) => bound.question === name)
  const isAsked = (candidate: string) =>
    ofQuestion.some((bound) => bound.candidate === candidate || bound.against === candidate)
  const hasPeers = !values.short && question.candidates.some(({ isPeer }) => isPeer) && installPeers()
  const measurements = await measure(
    name,
    question.candidates.filter((candidate) =>
      values.short ? isAsked(candidate.name) : hasPeers || candidate.isPeer !== true
    ),
    question.cases.filter(({ name }) =>
      !values.short || ofQuestion.some(({ cases, over }) => cases.includes(name) || over?.case === name)
    ),
    effort
  )
  return { name, question, measurements, verdicts: ofQuestion.map((bound) => judge(bound, measurements)) }
}

/** A busy machine can spoil an answer: where it breaks a bound, the question is asked again. */
const ATTEMPTS = 3

const results: Array<Result> = []
const broken: Array<Bound> = []
for (const name of names) {
  let stillBroken = bounds.filter((bound) => bound.question === name)
  for (let attempt = 0; attempt === 0 || (values.check && attempt < ATTEMPTS && stillBroken.length > 0); attempt++) {
    const result = await answer(name)
    if (!values.json) console.log(toText(result))
    if (attempt === 0) results.push(result)
    stillBroken = stillBroken.filter((bound) =>
      result.verdicts.some((verdict) => verdict.bound === bound && verdict.state === "BROKEN")
    )
  }
  broken.push(...stillBroken)
}

if (values.json) console.log(toJson(results, effort))
if (values.readme) {
  const file = positionals[0] ?? join(import.meta.dirname, "../../README.md")
  writeFileSync(file, intoReadme(readFileSync(file, "utf8"), results, effort))
}
if (values.check && broken.length > 0) {
  console.error(`\nOut of bounds by more than a third:\n${broken.map(({ title }) => `  ${title}`).join("\n")}`)
  process.exitCode = 1
}
