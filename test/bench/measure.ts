/**
 * Measures candidates against one another. Each runs in a process of its own,
 * so that nothing that one compiles, registers or allocates is felt by another,
 * and they take turns round by round, so that a machine whose speed drifts slows
 * all of them alike. What V8 makes of the same code differs from one process to
 * the next, so each is started anew after some rounds. The median round counts,
 * and a ratio is the median of the rounds' own ratios.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import type { Answer, Ask } from "./worker.ts"

/**
 * Does the work of a candidate so many times. What it costs is processor time,
 * of which a busy machine takes less away than of the clock's; work that is to
 * be measured in another way returns its own number, of one operation.
 */
export type Run = (times: number) => void | Promise<void> | Promise<number>

/** What a number of a case means. */
export type Unit = "ns" | "ms" | "bytes" | "spans/s"

/** One column of a question's table: work that every candidate does, or does not know. */
export interface Case {
  readonly name: string
  readonly unit: Unit
  /** Operations of one round. Default: as many as fill it. */
  readonly times?: number
}

/** One row: a way to do the work. */
export interface Candidate {
  readonly name: string
  /** What one must know to compare it. */
  readonly note?: string
  /** Whether it needs the packages of `test/bench/package.json`. */
  readonly isPeer?: boolean
  /** Flags of its Node process. */
  readonly execArgv?: ReadonlyArray<string>
  /** Makes it ready, in its own process: the work by the name of the case. */
  readonly load: () => Promise<Readonly<Record<string, Run>>>
}

export interface Question {
  readonly title: string
  readonly cases: ReadonlyArray<Case>
  /** The others are compared with the first. */
  readonly candidates: ReadonlyArray<Candidate>
}

/** The numbers of a candidate in one case, round by round. */
export interface Measurement {
  readonly candidate: string
  readonly case: string
  readonly rounds: ReadonlyArray<number>
}

export interface Effort {
  /** Processes of a candidate, one after the other. */
  readonly starts: number
  /** Rounds of each of them. */
  readonly rounds: number
  /** Milliseconds of one round. */
  readonly roundMillis: number
  /** Milliseconds of processor time in which a candidate gets up to speed. */
  readonly warmMillis: number
}

export const FULL: Effort = { starts: 3, rounds: 9, roundMillis: 80, warmMillis: 1500 }
export const SHORT: Effort = { starts: 1, rounds: 15, roundMillis: 50, warmMillis: 1500 }

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** How many times the one costs what the other does, where both have taken turns. */
export const ratio = (measurement: Measurement, against: Measurement): number =>
  median(measurement.rounds.map((value, round) => value / against.rounds[round]))

/** A candidate's process. */
class Worker {
  private readonly child: ChildProcess

  constructor(question: string, candidate: Candidate) {
    this.child = fork(fileURLToPath(new URL("./worker.ts", import.meta.url)), [question, candidate.name], {
      cwd: fileURLToPath(new URL("../..", import.meta.url)),
      execArgv: ["--disable-warning=ExperimentalWarning", ...candidate.execArgv ?? []],
      // What a peer has to say on its own behalf is no part of the report.
      stdio: ["ignore", "ignore", "inherit", "ipc"]
    })
  }

  /** The cases that the candidate knows. */
  async ready(): Promise<ReadonlyArray<string>> {
    return (await this.receive()).cases ?? []
  }

  async ask(ask: Ask): Promise<Answer> {
    this.child.send(ask)
    return this.receive()
  }

  private async receive(): Promise<Answer> {
    const ended = new AbortController()
    try {
      const [answer] = await Promise.race([
        once(this.child, "message", { signal: ended.signal }),
        once(this.child, "exit", { signal: ended.signal }).then(([code]) => {
          throw new Error(`${this.child.spawnargs.slice(-2).join(": ")} has ended with code ${code}`)
        })
      ])
      return answer as Answer
    } finally {
      ended.abort()
    }
  }

  end(): void {
    if (this.child.connected) this.child.disconnect()
  }
}

/** Runs a task for every item, as many at a time as there are processors. */
const forEach = async <A>(items: ReadonlyArray<A>, task: (item: A) => Promise<void>): Promise<void> => {
  const waiting = items.values()
  await Promise.all(Array.from({ length: availableParallelism() }, async () => {
    for (const item of waiting) await task(item)
  }))
}

const measureOnce = async (
  question: string,
  candidates: ReadonlyArray<Candidate>,
  cases: ReadonlyArray<Case>,
  effort: Effort
): Promise<ReadonlyArray<Measurement>> => {
  const workers = candidates.map((candidate) => ({ candidate, worker: new Worker(question, candidate) }))
  try {
    const known = new Map<Candidate, ReadonlyArray<string>>()
    await forEach(workers, async ({ candidate, worker }) => {
      known.set(candidate, await worker.ready())
    })
    const measurements: Array<Measurement> = []
    for (const { name, times } of cases) {
      const turns = workers
        .filter(({ candidate }) => known.get(candidate)!.includes(name))
        .map(({ candidate, worker }) => ({ worker, name: candidate.name, times: 0, rounds: [] as Array<number> }))
      await forEach(turns, async (turn) => {
        const { roundMillis, warmMillis } = effort
        turn.times = (await turn.worker.ask({ case: name, times, warm: { roundMillis, warmMillis } })).times!
      })
      for (let round = 0; round < effort.rounds; round++) {
        // Not always in the same order: who comes after a costly candidate finds the caches cold.
        for (let i = 0; i < turns.length; i++) {
          const turn = turns[(round + i) % turns.length]
          turn.rounds.push((await turn.worker.ask({ case: name, times: turn.times })).value!)
        }
      }
      for (const { name: candidate, rounds } of turns) measurements.push({ candidate, case: name, rounds })
    }
    return measurements
  } finally {
    for (const { worker } of workers) worker.end()
  }
}

/** Measures some candidates of a question in some of its cases. */
export const measure = async (
  question: string,
  candidates: ReadonlyArray<Candidate>,
  cases: ReadonlyArray<Case>,
  effort: Effort
): Promise<ReadonlyArray<Measurement>> => {
  const starts: Array<ReadonlyArray<Measurement>> = []
  while (starts.length < effort.starts) starts.push(await measureOnce(question, candidates, cases, effort))
  return starts[0].map((measurement, index) => ({
    ...measurement,
    rounds: starts.flatMap((measurements) => measurements[index].rounds)
  }))
}
