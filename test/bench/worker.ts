/** The process of one candidate: `node worker.ts QUESTION CANDIDATE`, started by `measure.ts`. */
import type { Run } from "./measure.ts"
import { questions } from "./questions.ts"

/** What the parent asks for: to get up to speed, or to run one round. */
export interface Ask {
  readonly case: string
  readonly times?: number | undefined
  readonly warm?: { readonly roundMillis: number; readonly warmMillis: number }
}

export interface Answer {
  /** First of all: the cases that the candidate knows. */
  readonly cases?: ReadonlyArray<string>
  /** After getting up to speed: the operations that fill a round. */
  readonly times?: number
  /** After a round: what one operation has cost, in nanoseconds if the case has no unit of its own. */
  readonly value?: number
}

/** The number of one operation, and the milliseconds that all of them have taken. */
const time = async (run: Run, times: number): Promise<{ readonly value: number; readonly millis: number }> => {
  const start = performance.now()
  const cpu = process.cpuUsage()
  const result = run(times)
  const value = result === undefined ? undefined : await result
  const { system, user } = process.cpuUsage(cpu)
  return { value: value ?? (user + system) * 1000 / times, millis: performance.now() - start }
}

/** Work that mostly waits is warm after so many times the processor time that it should have had. */
const PATIENCE = 4

/** Runs the work until it is fast, and returns how many operations fill a round. */
const warm = async (run: Run, { roundMillis, warmMillis }: NonNullable<Ask["warm"]>): Promise<number> => {
  const deadline = performance.now() + warmMillis * PATIENCE
  const cpu = process.cpuUsage()
  const cpuMillis = () => {
    const { system, user } = process.cpuUsage(cpu)
    return (user + system) / 1000
  }
  let times = 1
  let perOperation = Infinity
  while (cpuMillis() < warmMillis && performance.now() < deadline) {
    const { millis } = await time(run, times)
    perOperation = Math.min(perOperation, millis / times)
    if (millis < roundMillis / 2) times *= 2
  }
  return Math.max(1, Math.round(roundMillis / perOperation))
}

const [question, candidateName] = process.argv.slice(2)
const { candidates } = await questions[question]()
const runs = await candidates.find(({ name }) => name === candidateName)!.load()

const answer = async ({ case: name, times, warm: effort }: Ask): Promise<Answer> => {
  const run = runs[name]
  if (effort === undefined) return { value: (await time(run, times!)).value }
  if (times === undefined) return { times: await warm(run, effort) }
  // Once, since what has a fixed size is large.
  await time(run, times)
  return { times }
}

const send = (message: Answer) => process.send?.(message)

process.on("message", (ask: Ask) => {
  void answer(ask).then(send, (error) => {
    console.error(`${question}, ${candidateName}: ${error instanceof Error ? error.stack : String(error)}`)
    process.exit(1)
  })
})
process.on("disconnect", () => process.exit())
send({ cases: Object.keys(runs) })
