/** The numbers as text, as JSON and as the README's section. */
import { readFileSync } from "node:fs"
import { arch, cpus, platform, totalmem } from "node:os"
import type { Verdict } from "./bounds.ts"
import { type Effort, type Measurement, median, type Question, ratio, type Unit } from "./measure.ts"

export interface Result {
  readonly name: string
  readonly question: Question
  readonly measurements: ReadonlyArray<Measurement>
  readonly verdicts: ReadonlyArray<Verdict>
}

const formatted = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(value < 1 ? 2 : 3)

const quantity = (value: number, unit: Unit): string => {
  switch (unit) {
    case "ns":
      return value < 10_000 ? `${formatted(value)} ns` : `${formatted(value / 1000)} µs`
    case "ms":
      return `${formatted(value)} ms`
    case "bytes":
      return value < 10_000 ? `${formatted(value)} B` : `${formatted(value / 1000)} kB`
    case "spans/s":
      return `${formatted(value)}/s`
  }
}

const times = (value: number): string => `×${value.toFixed(2)}`

/** One row for each candidate that was measured: its numbers, and their ratios to the first that has one. */
const rows = ({ measurements, question }: Result) =>
  question.candidates
    .filter(({ name }) => measurements.some(({ candidate }) => candidate === name))
    .map(({ name, note }) => ({
      name,
      note,
      cells: question.cases.map((column) => {
        const inCase = measurements.filter((measurement) => measurement.case === column.name)
        const measurement = inCase.find(({ candidate }) => candidate === name)
        return measurement === undefined ? undefined : {
          case: column.name,
          unit: column.unit,
          median: median(measurement.rounds),
          ratio: ratio(measurement, inCase[0])
        }
      })
    }))

const limit = ({ bound }: Verdict): string =>
  bound.over === undefined
    ? `at ${bound.isLeast === true ? "least" : "most"} ${times(bound.ratio)}, aim ${times(bound.aim)}`
    : `at most ${quantity(bound.over.bound, bound.over.unit)}, aim ${quantity(bound.over.aim, bound.over.unit)}`

const measured = ({ bound, over, ratio }: Verdict): string =>
  over === undefined ? times(ratio) : `${quantity(over, bound.over!.unit)} (${times(ratio)})`

export const toText = (result: Result): string => {
  const { name, question, verdicts } = result
  const columns = question.cases.filter((column) => result.measurements.some((m) => m.case === column.name))
  const body = rows(result).map((row) => [
    row.name,
    ...columns.map((column) => {
      const cell = row.cells.find((cell) => cell?.case === column.name)
      return cell === undefined ? "" : `${quantity(cell.median, cell.unit)} ${times(cell.ratio).padStart(7)}`
    })
  ])
  const table = [["", ...columns.map((column) => column.name)], ...body]
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)))
  return [
    `\n${name}: ${question.title}`,
    ...table.map((row) =>
      `  ${row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join("  ")}`
    ),
    ...verdicts.map((verdict) => `  ${verdict.state}: ${verdict.bound.title}: ${measured(verdict)}, ${limit(verdict)}`)
  ].join("\n")
}

const versionOf = (name: string): string =>
  JSON.parse(readFileSync(new URL(`../../node_modules/${name}/package.json`, import.meta.url), "utf8")).version

const environment = () => ({
  date: new Date().toISOString().slice(0, 10),
  processor: cpus()[0].model,
  processors: cpus().length,
  memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
  system: `${platform()} ${arch()}`,
  node: process.versions.node,
  effect: versionOf("effect"),
  "@effect/opentelemetry": versionOf("@effect/opentelemetry"),
  "@opentelemetry/sdk-trace-base": versionOf("@opentelemetry/sdk-trace-base")
})

export const toJson = (results: ReadonlyArray<Result>, effort: Effort): string =>
  JSON.stringify(
    {
      environment: environment(),
      effort,
      questions: results.map((result) => ({
        name: result.name,
        title: result.question.title,
        candidates: rows(result),
        measurements: result.measurements
      })),
      bounds: results.flatMap(({ verdicts }) => verdicts.map(({ bound, ...measured }) => ({ ...bound, measured })))
    },
    undefined,
    2
  )

const START = "<!-- bench:start -->"
const END = "<!-- bench:end -->"

const markdownTable = (header: ReadonlyArray<string>, body: ReadonlyArray<ReadonlyArray<string>>): string =>
  [
    `| ${header.join(" | ")} |`,
    `| --- |${" ---: |".repeat(header.length - 1)}`,
    ...body.map((row) => `| ${row.join(" | ")} |`)
  ].join("\n")

/** Puts the numbers between the two marks of a document. */
export const intoReadme = (readme: string, results: ReadonlyArray<Result>, effort: Effort): string => {
  const start = readme.indexOf(START)
  const end = readme.indexOf(END)
  if (start < 0 || end < start) throw new Error(`The document needs the lines ${START} and ${END}`)
  const about = environment()
  const span = results.find(({ name }) => name === "span")!
  const section = [
    markdownTable(
      [span.question.title, "time", "ratio"],
      rows(span).map(({ cells: [cell], name, note }) => [
        note === undefined ? name : `${name}: ${note}`,
        quantity(cell!.median, cell!.unit),
        times(cell!.ratio)
      ])
    ),
    markdownTable(
      ["What must hold", "measured", "bound"],
      results.flatMap(({ verdicts }) =>
        verdicts.map((verdict) => [verdict.bound.title, measured(verdict), limit(verdict)])
      )
    ),
    [
      `Measured on ${about.date} with Node ${about.node}, Effect ${about.effect} and OpenTelemetry SDK ` +
      `${about["@opentelemetry/sdk-trace-base"]} on ${about.processors} × ${about.processor}, ${about.memory}, ` +
      `${about.system}. Each candidate runs in processes of its own, ${effort.starts} one after the other; they take turns ` +
      `for ${effort.starts * effort.rounds} rounds, and the median round counts. Times are processor time. ` +
      "`npm run bench` repeats it and answers the questions in full, " +
      "`npm run bench -- --readme` writes this section."
    ].join("")
  ].join("\n\n")
  return `${readme.slice(0, start)}${START}\n${section}\n${readme.slice(end)}`
}
