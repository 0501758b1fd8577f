/** What the numbers must show. CI fails when one of them is out of its bound by more than a third. */
import { type Measurement, median, ratio } from "./measure.ts"

export interface Bound {
  readonly question: string
  /** The sentence that is bounded. */
  readonly title: string
  readonly candidate: string
  readonly against: string
  /** Of several cases, the geometric mean of their ratios counts. */
  readonly cases: ReadonlyArray<string>
  /** Where the bound is: at most so many times as much as the other, or at least. */
  readonly ratio: number
  readonly aim: number
  readonly isLeast?: boolean
  /**
   * A bound in absolute numbers is of a quiet machine, and for the reader. What
   * CI looks at is `ratio`, the same relative to what the other took there.
   */
  readonly over?: {
    readonly bound: number
    readonly aim: number
    readonly unit: "ns" | "ms"
    /** A case in which the candidate has measured the difference itself. */
    readonly case?: string
  }
}

const BY_HAND = "OpenTelemetry SDK, by hand"
const OURS = "loom-tracing"
const PRIMITIVES = ["sync", "flatMap", "fork", "sleep", "stream"]
const COMBINATORS = ["withLlmSpan", "withToolSpan", "injectTraceContext", "extractTraceContext"]

export const bounds: ReadonlyArray<Bound> = [
  {
    question: "span",
    title: "a span, against the SDK by hand",
    candidate: OURS,
    against: BY_HAND,
    cases: ["span"],
    ratio: 1.5,
    aim: 1
  },
  {
    question: "span",
    title: "a span, against `@effect/opentelemetry` with `effect/ai`'s Telemetry",
    candidate: OURS,
    against: "@effect/opentelemetry + effect/ai Telemetry",
    cases: ["span"],
    ratio: 0.5,
    aim: 0.3
  },
  {
    question: "inside",
    title: "code inside of a span, against untraced",
    candidate: OURS,
    against: "untraced",
    cases: PRIMITIVES,
    ratio: 1.1,
    aim: 1
  },
  {
    question: "inside",
    title: "the same with a context manager registered",
    candidate: "loom-tracing, context manager",
    against: "untraced",
    cases: PRIMITIVES,
    ratio: 3,
    aim: 1.5
  },
  {
    question: "off",
    title: "a combinator where tracing is off, over the bare effect",
    candidate: "TracingNoop",
    against: "the bare effect",
    cases: COMBINATORS,
    over: { bound: 150, aim: 30, unit: "ns" },
    ratio: 5,
    aim: 1.8
  },
  {
    question: "carrier",
    title: "`traceparent` injected and extracted, against `@opentelemetry/core`",
    candidate: OURS,
    against: "@opentelemetry/core",
    cases: ["traceparent"],
    ratio: 1,
    aim: 0.5
  },
  {
    question: "carrier",
    title: "the same with `tracestate` and baggage",
    candidate: OURS,
    against: "@opentelemetry/core",
    cases: ["all"],
    ratio: 1,
    aim: 0.5
  },
  {
    question: "envelope",
    title: "`TracedMessage`, against a struct with `_trace_context`",
    candidate: "TracedMessage",
    against: "Schema.Struct",
    cases: ["decode", "encode"],
    ratio: 1.2,
    aim: 0.85
  },
  {
    question: "export",
    title: "throughput of the export, against the stock processor",
    candidate: OURS,
    against: "the stock processor and exporter",
    cases: ["throughput"],
    isLeast: true,
    ratio: 1,
    aim: 1.3
  },
  {
    question: "startup",
    title: "loading the package's root, over loading `effect`",
    candidate: "effect and loom-tracing",
    against: "effect",
    cases: ["load"],
    over: { bound: 15, aim: 5, unit: "ms", case: "root" },
    ratio: 1.1,
    aim: 1.03
  },
  {
    question: "scale",
    title: "a span among 1,000 open ones, against one among 10",
    candidate: "1,000 open at once",
    against: "10 open at once",
    cases: [OURS],
    ratio: 1.5,
    aim: 1
  },
  {
    question: "scale",
    title: "a span after 200,000 others, against one after none",
    candidate: "one by one, after 200,000 others",
    against: "one by one, after 0 others",
    cases: [OURS],
    ratio: 1.1,
    aim: 1
  }
]

export interface Verdict {
  readonly bound: Bound
  readonly ratio: number
  /** By how much the candidate is over the other, where the bound is absolute. */
  readonly over: number | undefined
  /** Out of its bound, or out of it by more than a third, which is what fails. */
  readonly state: "ok" | "out" | "BROKEN"
}

/** How far out of its bound a ratio may be: machines differ, and a busy one is not exact. */
const TOLERANCE = 4 / 3

/** How far out of its bound a ratio is: 1 is on it. */
const excess = ({ isLeast, over, ratio: bound }: Bound, ratio: number): number =>
  isLeast === true
    ? bound / ratio
    : over === undefined
    ? ratio / bound
    // What is bounded is the part above 1.
    : (ratio - 1) / (bound - 1)

const mean = (values: ReadonlyArray<number>): number => values.reduce((sum, value) => sum + value, 0) / values.length

/** The ratio, and by how much the candidate is over the other. */
const compare = (
  bound: Bound,
  measurements: ReadonlyArray<Measurement>
): { readonly ratio: number; readonly over: number } => {
  const of = (candidate: string, name: string) =>
    measurements.find((measurement) => measurement.candidate === candidate && measurement.case === name)!
  const difference = bound.over?.case
  if (difference !== undefined) {
    const over = of(bound.candidate, difference)
    return { ratio: 1 + ratio(over, of(bound.against, bound.cases[0])), over: median(over.rounds) }
  }
  const pairs = bound.cases.map((name) => ({ ours: of(bound.candidate, name), other: of(bound.against, name) }))
  return {
    ratio: Math.exp(mean(pairs.map(({ other, ours }) => Math.log(ratio(ours, other))))),
    over: mean(
      pairs.map(({ other, ours }) => median(ours.rounds.map((value, round) => value - other.rounds[round])))
    )
  }
}

export const judge = (bound: Bound, measurements: ReadonlyArray<Measurement>): Verdict => {
  const { over, ratio } = compare(bound, measurements)
  const out = excess(bound, ratio)
  const isOver = bound.over !== undefined && over > bound.over.bound
  return {
    bound,
    ratio,
    over: bound.over === undefined ? undefined : over,
    state: out > TOLERANCE ? "BROKEN" : out > 1 || isOver ? "out" : "ok"
  }
}
