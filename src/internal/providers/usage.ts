import type { LlmUsage } from "../../GenAi.ts"
import { defined, readCount } from "./read.ts"

/** Token counts as a provider reports them. */
export interface ReportedUsage extends LlmUsage {
  /** Input and output together. */
  readonly total?: number | undefined
}

/** @internal */
export const normalizeUsage = (usage: LlmUsage): LlmUsage => {
  const input = readCount(usage, "inputTokens")
  const output = readCount(usage, "outputTokens")
  const cacheRead = within(readCount(usage, "cacheReadInputTokens"), input)
  const cacheWrite = within(
    readCount(usage, "cacheWriteInputTokens"),
    input === undefined ? undefined : input - (cacheRead ?? 0)
  )
  const reasoning = within(readCount(usage, "reasoningOutputTokens"), output)
  return defined({
    inputTokens: input,
    outputTokens: output,
    cacheReadInputTokens: cacheRead,
    cacheWriteInputTokens: cacheWrite,
    reasoningOutputTokens: reasoning
  })
}

const within = (part: number | undefined, whole: number | undefined): number | undefined =>
  part === undefined || whole === undefined || part <= whole ? part : undefined

/** Whether a provider counts these parts beside its totals, instead of in them. */
export interface Apart {
  readonly cache?: boolean
  readonly reasoning?: boolean
}

/**
 * Makes totals that include their parts. Where the provider reports input and
 * output together and what is known of it does not add up to that, but the other
 * way of counting does, then that is how it counts: xAI reports reasoning beside
 * the output under OpenAI's names, Vertex AI has reported it either way.
 *
 * @internal
 */
export const inclusiveUsage = (reported: ReportedUsage, apart: Apart = {}): LlmUsage | undefined => {
  const { inputTokens: input, total } = reported
  // What is counted beside nothing is counted beside zero: some APIs leave zeros out.
  const output = reported.outputTokens ??
    (apart.reasoning === true && reported.reasoningOutputTokens !== undefined ? 0 : undefined)
  const inputs = either(
    input,
    (reported.cacheReadInputTokens ?? 0) + (reported.cacheWriteInputTokens ?? 0),
    apart.cache === true
  )
  const outputs = either(output, reported.reasoningOutputTokens ?? 0, apart.reasoning === true)
  const pairs = inputs.flatMap((input) => outputs.map((output) => ({ input, output })))
  const fits = pairs.find(({ input, output }) => input + output === total) ?? { input: inputs[0], output: outputs[0] }
  const usage = normalizeUsage({ ...reported, inputTokens: fits.input, outputTokens: fits.output })
  return Object.keys(usage).length === 0 ? undefined : usage
}

/** A total both ways of counting its parts, the provider's usual one first. */
const either = (total: number | undefined, parts: number, apart: boolean): ReadonlyArray<number> => {
  if (total === undefined) return []
  return apart ? [total + parts, total] : [total, total + parts]
}

/** The counts of two events of a stream, each of them of all there was so far. They only grow. */
export const laterUsage = (earlier: ReportedUsage, later: ReportedUsage): ReportedUsage => {
  const merged: Record<string, number | undefined> = { ...earlier }
  for (const [key, count] of Object.entries(later) as Array<[string, number | undefined]>) {
    if (count !== undefined) merged[key] = Math.max(merged[key] ?? 0, count)
  }
  return merged
}
