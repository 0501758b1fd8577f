import type { LlmResponse, LlmUsage, ModalityUsage, UsageByModality } from "../../GenAi.ts"
import { defined, isRecord, readCount } from "./read.ts"

/** Token counts as a provider reports them. */
export interface ReportedUsage extends LlmUsage {
  /** Input and output together. */
  readonly total?: number | undefined
  readonly byModality?: UsageByModality | undefined
  /** What was used for the call beside all of that. */
  readonly beside?: ReportedUsage | undefined
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
 * What a response tells of its tokens.
 *
 * @internal
 */
export const tokensOf = (
  reported: ReportedUsage,
  apart?: Apart | undefined
): Pick<LlmResponse, "usage" | "usageByModality"> => {
  const { beside, ...own } = reported
  const all = beside === undefined ? own : addUsage(own, beside)
  const usage = inclusiveUsage(all, apart)
  const parts = all.byModality
  const usageByModality = parts && byModality((modality) => ({
    inputTokens: within(parts[modality]?.inputTokens, usage?.inputTokens),
    outputTokens: within(parts[modality]?.outputTokens, usage?.outputTokens),
    cacheReadInputTokens: within(parts[modality]?.cacheReadInputTokens, usage?.cacheReadInputTokens)
  }))
  return { usage, usageByModality }
}

/**
 * Makes totals that include their parts. Where the provider reports input and
 * output together and what is known of it does not add up to that, but the other
 * way of counting does, then that is how it counts: xAI reports reasoning beside
 * the output under OpenAI's names, Vertex AI has reported it either way.
 */
const inclusiveUsage = (reported: ReportedUsage, apart: Apart = {}): LlmUsage | undefined => {
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

type Modality = keyof UsageByModality

/**
 * Tokens by modality. One that was not used is not worth a number: OpenAI counts
 * zero tokens of audio in every chat.
 *
 * @internal
 */
export const byModality = (countsOf: (modality: Modality) => ModalityUsage): UsageByModality | undefined => {
  const usage: { [M in Modality]?: ModalityUsage } = {}
  for (const modality of ["text", "image", "audio"] as const) {
    const counts = Object.entries(countsOf(modality)).filter(([, count]) => count !== undefined && count > 0)
    if (counts.length > 0) usage[modality] = Object.fromEntries(counts)
  }
  return Object.keys(usage).length === 0 ? undefined : usage
}

/** The counts of two events of a stream, each of them of all there was so far. They only grow. */
export const laterUsage = (earlier: ReportedUsage, later: ReportedUsage): ReportedUsage => {
  const { beside = earlier.beside, byModality = earlier.byModality, ...counts } = later
  const merged: Record<string, unknown> = { ...earlier, beside, byModality }
  for (const [key, count] of Object.entries(counts)) {
    if (count !== undefined) merged[key] = Math.max(earlier[key as keyof typeof counts] ?? 0, count)
  }
  return merged
}

/** The counts of two usages together, and of what they hold. */
export const addUsage = <A extends object>(one: A, other: A): A => {
  const sum: Record<string, unknown> = { ...(one as object) }
  for (const [key, count] of Object.entries(other)) {
    const before = sum[key]
    sum[key] = typeof before === "number" && typeof count === "number"
      ? before + count
      : isRecord(before) && isRecord(count)
      ? addUsage(before, count)
      : count ?? before
  }
  return sum as A
}
