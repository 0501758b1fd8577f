/**
 * Times functions against one another in one process: the candidates take turns
 * round by round, so that a machine whose speed drifts slows all of them alike,
 * and the median round counts.
 */
import { Effect, Exit } from "effect"

export interface Candidate {
  readonly name: string
  /** Does the work `times` times. */
  readonly run: (times: number) => void
}

export interface Measurement {
  readonly name: string
  /** Nanoseconds of one operation, in the median round. */
  readonly nanos: number
  /** To the first candidate. */
  readonly ratio: number
}

const time = (candidate: Candidate, times: number): number => {
  const start = process.hrtime.bigint()
  candidate.run(times)
  return Number(process.hrtime.bigint() - start) / times
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]

export const measure = (
  candidates: ReadonlyArray<Candidate>,
  options: { readonly rounds: number; readonly times: number }
): ReadonlyArray<Measurement> => {
  const rounds = candidates.map((): Array<number> => [])
  for (const candidate of candidates) time(candidate, options.times)
  for (let round = 0; round < options.rounds; round++) {
    for (const [index, candidate] of candidates.entries()) rounds[index].push(time(candidate, options.times))
  }
  const nanos = rounds.map(median)
  return candidates.map(({ name }, index) => ({ name, nanos: nanos[index], ratio: nanos[index] / nanos[0] }))
}

/** A candidate that runs an effect so many times in one fiber, inside whatever `provide` adds. */
export const effect = <A, E>(
  name: string,
  self: Effect.Effect<A, E>,
  provide: <B, E2>(self: Effect.Effect<B, E2>) => Effect.Effect<B, E2> = (self) => self
): Candidate => ({
  name,
  run: (times) => {
    const exit = Effect.runSyncExit(
      provide(Effect.whileLoop({
        while: () => times-- > 0,
        body: () => self,
        step: () => {}
      }))
    )
    if (Exit.isFailure(exit)) throw new Error(`${name} has failed: ${exit.cause}`)
  }
})

export const print = (title: string, measurements: ReadonlyArray<Measurement>): void => {
  console.log(`\n${title}`)
  const width = Math.max(...measurements.map(({ name }) => name.length))
  for (const { name, nanos, ratio } of measurements) {
    console.log(`  ${name.padEnd(width)}  ${nanos.toFixed(0).padStart(8)} ns  ×${ratio.toFixed(2)}`)
  }
}
