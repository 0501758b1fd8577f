/**
 * The metrics of the GenAI semantic conventions: how long model calls, tools,
 * agents, workflows and requests of MCP take, and how many tokens they use.
 *
 * They are metrics of Effect's own `Metric` module, so any exporter of those
 * exports them.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { LlmUsage, ModalityUsage, UsageByModality } from "./GenAi.ts"
import type { GenAiSettings } from "./GenAiSettings.ts"
import * as semconv from "./internal/semconv.ts"
import type { Attributes } from "./internal/startAttributes.ts"

/**
 * Whether GenAI spans record the convention's metrics. Off by default.
 *
 * **When to use**
 *
 * Use to turn metrics on under an exporter of Effect metrics that your program
 * has already. `makeTracingLive({ metrics: true })` turns them on by itself.
 *
 * **Details**
 *
 * Metrics are recorded for every call under a tracer, whether or not its span
 * is sampled; where tracing is off, nothing is. The
 * convention of `GenAiSettings` names them. Their attributes are operation,
 * provider, models, server, tool, prompt, agent and workflow name, the method,
 * versions and transport of MCP, and how the operation has failed: never an id,
 * never content.
 *
 * **Example** (Counting tokens)
 *
 * ```ts
 * import { Effect, Layer, Metric } from "effect"
 * import { GenAiMetrics, TracingConsole, withLlmSpan } from "loom-tracing"
 *
 * const answer = Effect.succeed({ tokens: 12 }).pipe(
 *   withLlmSpan({
 *     provider: "openai",
 *     request: { model: "gpt-4o" },
 *     response: (r) => ({ usage: { inputTokens: r.tokens } })
 *   })
 * )
 *
 * const program = Effect.andThen(answer, Metric.snapshot)
 *
 * program.pipe(Effect.provide(Layer.merge(TracingConsole, Layer.succeed(GenAiMetrics, true))))
 * ```
 *
 * @category references
 * @since 0.1.0
 */
export const GenAiMetrics: Context.Reference<boolean> = Context.Reference<boolean>("loom-tracing/GenAiMetrics", {
  defaultValue: () => false
})

// =============================================================================
// Instruments
// =============================================================================

/** The attribute that exporters of Effect metrics read a metric's unit from. */
const UNIT = "unit"

/** A limit for attributes of the caller's, such as model names, as OpenTelemetry's SDKs have it. */
const MAX_SERIES = 2000
const OVERFLOW: Attributes = { "otel.metric.overflow": true }

/** A metric with all its series. A series is made once and found again by its attributes. */
abstract class Instrument<In> {
  readonly name: string
  readonly unit: string
  readonly description: string
  private readonly series = new Map<string, Metric.Metric<In, unknown>>()

  constructor(name: string, unit: string, description: string) {
    this.name = name
    this.unit = unit
    this.description = description
  }

  protected abstract make(attributes: Metric.Metric.AttributeSet): Metric.Metric<In, unknown>

  record(value: In, attributes: Attributes, context: Context.Context<never>): void {
    let key = ""
    for (const name in attributes) key += `${name}\n${String(attributes[name])}\n`
    let metric = this.series.get(key)
    if (metric === undefined) {
      if (this.series.size >= MAX_SERIES && attributes !== OVERFLOW) return this.record(value, OVERFLOW, context)
      const labels: Record<string, string> = { [UNIT]: this.unit }
      for (const name in attributes) labels[name] = String(attributes[name])
      metric = this.make(labels)
      this.series.set(key, metric)
    }
    metric.updateUnsafe(value, context)
  }
}

class Histogram extends Instrument<number> {
  private readonly boundaries: ReadonlyArray<number>
  constructor(name: string, unit: string, boundaries: ReadonlyArray<number>, description: string) {
    super(name, unit, description)
    this.boundaries = boundaries
  }
  protected make(attributes: Metric.Metric.AttributeSet) {
    return Metric.histogram(this.name, { description: this.description, boundaries: this.boundaries, attributes })
  }
}

class Counter extends Instrument<bigint> {
  protected make(attributes: Metric.Metric.AttributeSet) {
    return Metric.counter(this.name, { description: this.description, bigint: true, incremental: true, attributes })
  }
}

const SECONDS = "s"
const TOKENS = "{token}"

const DURATIONS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
const AGENT_DURATIONS = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6]
const WORKFLOW_DURATIONS = [1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200]
const MCP_DURATIONS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]
const TOKEN_COUNTS = Array.from({ length: 14 }, (_, index) => 4 ** index)
const CALL_COUNTS = [1, 2, 4, 8, 16, 32, 64, 128]

const duration = (name: string, description: string, boundaries: ReadonlyArray<number> = DURATIONS) =>
  new Histogram(name, SECONDS, boundaries, description)
const tokens = (name: string, description: string) => new Histogram(name, TOKENS, TOKEN_COUNTS, description)
const tokenCount = (name: string, description: string) => new Counter(name, TOKENS, description)

/** Of any operation of a client. Since 2026-10-07 not of inference. */
const operationDuration = duration("gen_ai.client.operation.duration", "Duration of a GenAI operation")

/** @internal */
export const toolDuration = duration("gen_ai.execute_tool.duration", "Duration of a tool call")

/** @internal */
export const agentDuration = duration("gen_ai.invoke_agent.duration", "Duration of an agent's run", AGENT_DURATIONS)

/** @internal */
export const agentInferenceCalls = new Histogram(
  "gen_ai.invoke_agent.inference_calls",
  "{inference_call}",
  CALL_COUNTS,
  "Model calls of an agent's run"
)

/** @internal */
export const agentToolCalls = new Histogram(
  "gen_ai.invoke_agent.tool_calls",
  "{tool_call}",
  CALL_COUNTS,
  "Tool calls of an agent's run"
)

/**
 * The duration of a request or notification of MCP, on either side.
 *
 * @internal
 */
export const mcpDuration = {
  client: duration("mcp.client.operation.duration", "Duration of an MCP request, as its sender sees it", MCP_DURATIONS),
  server: duration(
    "mcp.server.operation.duration",
    "Duration of an MCP request, as its receiver sees it",
    MCP_DURATIONS
  )
} as const

type Convention = GenAiSettings["convention"]

const instruments = {
  loom: {
    inferenceDuration: operationDuration,
    timeToFirstChunk: duration("gen_ai.client.operation.time_to_first_chunk", "Time to a stream's first chunk"),
    timePerOutputChunk: duration("gen_ai.client.operation.time_per_output_chunk", "Time between a stream's chunks"),
    workflowDuration: duration("gen_ai.workflow.duration", "Duration of a workflow's run", WORKFLOW_DURATIONS)
  },
  latest: {
    inferenceDuration: duration("gen_ai.client.inference.duration", "Duration of a model call"),
    timeToFirstChunk: duration("gen_ai.client.inference.time_to_first_chunk", "Time to a stream's first chunk"),
    timePerOutputChunk: duration("gen_ai.client.inference.time_per_output_chunk", "Time between a stream's chunks"),
    workflowDuration: duration("gen_ai.invoke_workflow.duration", "Duration of a workflow's run", WORKFLOW_DURATIONS)
  }
} as const

/**
 * The instruments whose names the convention decides.
 *
 * @internal
 */
export const instrumentsOf = (convention: Convention) => instruments[convention]

/**
 * The duration of an operation that is no inference.
 *
 * @internal
 */
export const clientOperationDuration: Histogram = operationDuration

const tokenUsage = tokens("gen_ai.client.token.usage", "Tokens of a GenAI operation")

const operationTokens = {
  input: tokens("gen_ai.client.inference.operation.input_tokens", "Input tokens of a model call"),
  output: tokens("gen_ai.client.inference.operation.output_tokens", "Output tokens of a model call")
}

const usage = {
  input: tokenCount("gen_ai.client.inference.usage.input_tokens", "Input tokens"),
  output: tokenCount("gen_ai.client.inference.usage.output_tokens", "Output tokens"),
  cacheRead: tokenCount("gen_ai.client.inference.usage.cache_read.input_tokens", "Input tokens read from a cache"),
  cacheWrite: tokenCount("gen_ai.client.inference.usage.cache_write.input_tokens", "Input tokens written to a cache"),
  reasoning: tokenCount("gen_ai.client.inference.usage.reasoning.output_tokens", "Output tokens spent on reasoning")
}

/**
 * Whether a value is a number of tokens.
 *
 * @internal
 */
export const isCount = (value: number | undefined): value is number =>
  Number.isSafeInteger(value) && value as number >= 0

/** Adds a total to a counter, split by modality as far as that is known. */
const count = (
  counter: Counter,
  total: number | undefined,
  parts: ReadonlyArray<readonly [modality: string, count: number | undefined]>,
  attributes: Attributes,
  context: Context.Context<never>
): void => {
  if (!isCount(total)) return
  let rest = total
  for (const [modality, part] of parts) {
    if (!isCount(part) || part > rest) continue
    counter.record(BigInt(part), { ...attributes, [semconv.GEN_AI_TOKEN_MODALITY]: modality }, context)
    rest -= part
  }
  if (rest > 0) counter.record(BigInt(rest), { ...attributes, [semconv.GEN_AI_TOKEN_MODALITY]: "unknown" }, context)
}

/**
 * Records what a model call has used.
 *
 * @internal
 */
export const recordTokens = (
  convention: Convention,
  used: LlmUsage,
  byModality: UsageByModality,
  attributes: Attributes,
  context: Context.Context<never>
): void => {
  if (convention === "loom") {
    recordTokenUsage(used, attributes, context)
    return
  }
  if (isCount(used.inputTokens)) operationTokens.input.record(used.inputTokens, attributes, context)
  if (isCount(used.outputTokens)) operationTokens.output.record(used.outputTokens, attributes, context)
  const parts = (of: keyof ModalityUsage) =>
    (["text", "image", "audio"] as const).map((modality) => [modality, byModality[modality]?.[of]] as const)
  count(usage.input, used.inputTokens, parts("inputTokens"), attributes, context)
  count(usage.output, used.outputTokens, parts("outputTokens"), attributes, context)
  count(usage.cacheRead, used.cacheReadInputTokens, parts("cacheReadInputTokens"), attributes, context)
  count(usage.cacheWrite, used.cacheWriteInputTokens, [], attributes, context)
  count(usage.reasoning, used.reasoningOutputTokens, [], attributes, context)
}

/**
 * Records tokens in the metric that all operations had in common until
 * 2026-10-07.
 *
 * @internal
 */
export const recordTokenUsage = (used: LlmUsage, attributes: Attributes, context: Context.Context<never>): void => {
  const record = (type: string, value: number | undefined): void => {
    if (isCount(value)) tokenUsage.record(value, { ...attributes, [semconv.GEN_AI_TOKEN_TYPE]: type }, context)
  }
  record("input", used.inputTokens)
  record("output", used.outputTokens)
}
