/**
 * What the spans of all GenAI operations have in common: the session that they
 * belong to, the order in which things are written, content and metrics.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as References from "effect/References"
import type * as Tracer from "effect/Tracer"
import { Baggage } from "../Carrier.ts"
import type { LlmRequest, LlmResponse, LlmUsage, ServerAddress, UsageByModality } from "../GenAi.ts"
import {
  captureContent,
  type ChatMessage,
  ContentBudget,
  type Lazy,
  type MessagePart,
  normalizeArguments,
  normalizeInstructions,
  normalizeMessages,
  normalizeResult,
  type ToolDefinition
} from "../GenAiContent.ts"
import { clientOperationDuration, GenAiMetrics, isCount } from "../GenAiMetrics.ts"
import { type Content, GenAiSettings } from "../GenAiSettings.ts"
import { errorType, markSensitive } from "./errors.ts"
import { isLiveSpan } from "./liveSpan.ts"
import { isTracingOff } from "./off.ts"
import { reportOnce } from "./reportOnce.ts"
import * as semconv from "./semconv.ts"
import { type SpanSpec, tracedBy } from "./span.ts"
import type { Attributes } from "./startAttributes.ts"

/** A string with known values that an editor can complete, and room for any other. */
export type OpenString<Known extends string> = Known | (string & {})

// =============================================================================
// Sessions
// =============================================================================

/** What has happened inside an agent's run so far. */
export class AgentRun {
  inferenceCalls = 0
  toolCalls = 0
  /** Whether a model call inside has said what it used. */
  hasUsage = false
  private readonly outer: AgentRun | undefined

  constructor(outer: AgentRun | undefined) {
    this.outer = outer
  }

  addUsage(): void {
    this.hasUsage = true
    this.outer?.addUsage()
  }
}

/**
 * What reaches every GenAI span inside.
 *
 * @internal
 */
export interface Session {
  readonly conversationId: string | undefined
  readonly agentName: string | undefined
  readonly run: AgentRun | undefined
}

/** @internal */
export const CurrentSession: Context.Reference<Session> = Context.Reference<Session>("loom-tracing/GenAiSession", {
  defaultValue: () => ({ conversationId: undefined, agentName: undefined, run: undefined })
})

const fromBaggage = (baggage: Context.Service.Shape<typeof Baggage>, key: string): string | undefined => {
  const value = baggage.find((member) => member.key === key)?.value
  return value === "" ? undefined : value
}

/** The session of a fiber. What it does not say itself may have come with a message, if its sender chose so. */
const sessionOf = (context: Context.Context<never>): Session => {
  const session = Context.get(context, CurrentSession)
  const baggage = Context.get(context, Baggage)
  return baggage.length === 0 ? session : {
    conversationId: session.conversationId ?? fromBaggage(baggage, semconv.GEN_AI_CONVERSATION_ID),
    agentName: session.agentName ?? fromBaggage(baggage, semconv.GEN_AI_AGENT_NAME),
    run: session.run
  }
}

// =============================================================================
// Events
// =============================================================================

/**
 * Records one of the convention's events. For now as an event of the span;
 * log records, which the convention has in mind, would be written here.
 *
 * @internal
 */
export const recordEvent = (
  span: Tracer.Span,
  clock: Clock.Clock,
  name: string,
  attributes: Readonly<Record<string, unknown>>
): void => span.event(name, clock.currentTimeNanosUnsafe(), attributes)

// =============================================================================
// Spans
// =============================================================================

const NANOS_PER_SECOND = 1e9

/** @internal */
export const secondsBetween = (start: bigint, end: bigint): number => Number(end - start) / NANOS_PER_SECOND

/**
 * Runs two effects, if they are there, one after the other.
 *
 * @internal
 */
export const both = (
  first: Effect.Effect<void> | undefined,
  second: Effect.Effect<void> | undefined
): Effect.Effect<void> | undefined =>
  first === undefined ? second : second === undefined ? first : Effect.andThen(first, second)

const userMessages = (messages: string | ReadonlyArray<ChatMessage>): unknown => normalizeMessages(messages, "user")

const assistantMessages = (messages: string | ReadonlyArray<ChatMessage>): unknown =>
  normalizeMessages(messages, "assistant")

/** What a protocol says of a failure. */
type ProtocolFailure = Error & { readonly _tag: string; readonly code: string | undefined }

/** A failure by the name that a protocol has for it, and the exit that it was read from. */
interface NamedFailure {
  readonly failure: ProtocolFailure
  readonly exit: Exit.Exit<unknown, unknown>
  readonly read: (exit: Exit.Exit<unknown, unknown>) => ProtocolFailure | undefined
}

const failureOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  exit._tag === "Failure" ? Option.getOrUndefined(Cause.findErrorOption(exit.cause)) : undefined

/** Whether the program has made nothing else of the way that a part of it has ended, or an error that says the same. */
const endsAlike = ({ exit, failure, read }: NamedFailure, whole: Exit.Exit<unknown, unknown>): boolean =>
  exit._tag === whole._tag && failureOf(exit) === failureOf(whole) || read(whole)?._tag === failure._tag

/** A failure without what it says, for a tracer that records all of it. */
const nameOf = ({ _tag, name }: ProtocolFailure): Error => Object.assign(new Error(), { _tag, name, stack: "" })

/**
 * The span of one GenAI operation, from start to end. An operation says what
 * it writes; when that happens is decided here: what a sampler needs first,
 * usage and identifiers next, content last, so that an attribute limit drops
 * content before anything else.
 *
 * @internal
 */
export abstract class GenAiSpan<A, E> implements SpanSpec<A, E> {
  abstract readonly name: string
  readonly kind: Tracer.SpanKind
  readonly start: Attributes
  inside: Context.Context<never> | undefined = undefined
  /** From when its own attributes are written: what comes then under these names is of `effect/ai`, not redacted. */
  hidesToolkitArguments = false
  protected readonly context: Context.Context<never>
  protected readonly settings: GenAiSettings
  protected readonly session: Session
  protected readonly measures: boolean
  /** Whether content goes on the span itself. */
  protected capturesOnSpan = false
  /** Whether it does so in the convention's attributes. */
  protected capturesAsAttributes = false
  /** The attributes of the event that repeats the span, for those operations that have one. */
  protected details: Record<string, unknown> | undefined = undefined
  protected startTime = 0n
  private current: Tracer.Span | undefined = undefined
  private named: NamedFailure | undefined = undefined
  private budget: ContentBudget | undefined = undefined
  private content: Array<readonly [key: string, value: string]> | undefined = undefined

  constructor(fiber: Fiber.Fiber<unknown, unknown>, operation: string | undefined, kind: Tracer.SpanKind) {
    this.kind = kind
    this.start = operation === undefined ? {} : { [semconv.GEN_AI_OPERATION_NAME]: operation }
    this.context = fiber.context
    this.settings = Context.get(fiber.context, GenAiSettings)
    this.session = sessionOf(fiber.context)
    this.measures = Context.get(fiber.context, GenAiMetrics)
  }

  /** Writes what is known before the operation has begun. */
  protected abstract writeStart(): void
  /** Takes the content that the operation is given. */
  protected captureStart(): Effect.Effect<void> | undefined {
    return undefined
  }
  /** Writes what the operation has brought. An effect only to report what went wrong. */
  protected writeEnd(_exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    return undefined
  }
  /** Takes the content that the operation has brought. */
  protected captureEnd(_exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    return undefined
  }
  /** Records the operation's metrics. */
  protected measure(_seconds: number, _error: string | undefined): void {}
  /** Records the duration of an operation that is no inference. */
  protected recordClientDuration(seconds: number, error: string | undefined, attributes: Attributes): void {
    const measured = { ...attributes }
    addDefined(measured, semconv.ERROR_TYPE, error)
    clientOperationDuration.record(seconds, measured, this.context)
  }
  /** Whether what `effect/ai` writes of a tool's arguments is kept off the span as the operation runs. */
  protected get guardsToolkitArguments(): boolean {
    return true
  }
  /** Whether content that goes on the span has a form of Loom's own. */
  protected get capturesAsLoomDoes(): boolean {
    return false
  }
  /** The name of the event that repeats the span, with content. */
  protected get detailsEvent(): string | undefined {
    return undefined
  }

  protected get clock(): Clock.Clock {
    return Context.get(this.context, Clock.Clock)
  }

  begin(span: Tracer.Span): Effect.Effect<void> | undefined {
    this.current = span
    this.startTime = span.status.startTime > 0n ? span.status.startTime : this.clock.currentTimeNanosUnsafe()
    // Content of a span that nobody will see is not worth its price.
    const capture = span.sampled ? this.settings.capture : "NO_CONTENT"
    this.capturesOnSpan = capture === "SPAN_ONLY" || capture === "SPAN_AND_EVENT"
    this.capturesAsAttributes = this.capturesOnSpan && !this.capturesAsLoomDoes
    if (this.detailsEvent !== undefined && (capture === "EVENT_ONLY" || capture === "SPAN_AND_EVENT")) {
      this.details = { ...this.start }
    }
    try {
      this.writeStart()
    } finally {
      this.hidesToolkitArguments = this.guardsToolkitArguments
    }
    if (!this.captures) return undefined
    this.budget = new ContentBudget(this.settings.maxContentBytes)
    this.content = []
    return this.captureStart()
  }

  finish(span: Tracer.Span, exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    let error: string | undefined
    if (exit._tag === "Failure") {
      // Before anything of the caller's is read, which could throw.
      if (!this.showsErrors) markSensitive(exit.cause, span)
      const given = span.attributes.get(semconv.ERROR_TYPE)
      error = errorType(exit.cause)
      // Metrics say what the span says. An interruption is no error, whatever the span says.
      if (error !== undefined && Predicate.isString(given)) error = given
    }
    const problem = this.guard(this.writeEnd, exit)
    if (this.named !== undefined && !endsAlike(this.named, exit)) this.named = undefined
    if (this.named !== undefined) error = this.named.failure._tag
    if (this.measures) this.measure(secondsBetween(this.startTime, this.clock.currentTimeNanosUnsafe()), error)
    this.budget?.release()
    const pending = this.captures ? both(problem, this.guard(this.captureEnd, exit)) : problem
    if (pending === undefined) {
      this.close(span, error)
      return undefined
    }
    return Effect.andThen(pending, Effect.sync(() => this.close(span, error)))
  }

  /** What is read of the operation is the caller's. Where that throws, the span goes without it, and nothing else. */
  private guard(
    read: (exit: Exit.Exit<A, E>) => Effect.Effect<void> | undefined,
    exit: Exit.Exit<A, E>
  ): Effect.Effect<void> | undefined {
    try {
      return read.call(this, exit)
    } catch (error) {
      return reportOnce(read, "What an operation has brought could not be read; the span goes without it", error)
    }
  }

  /** What is left to do when all that was to be waited for has come. */
  private close(span: Tracer.Span, error: string | undefined): void {
    if (this.captures) this.writeContent(span, error)
    if (this.named === undefined) return
    const { failure } = this.named
    const shown = this.showsErrors || isLiveSpan(span) ? failure : nameOf(failure)
    if (!this.showsErrors) markSensitive(Cause.fail(failure), span)
    span.attribute(semconv.ERROR_TYPE, failure._tag)
    // A result has no code, even where it says that something has failed.
    if (failure.code !== undefined) span.attribute(semconv.RPC_RESPONSE_STATUS_CODE, failure.code)
    const isTimed = Context.get(this.context, References.TracerTimingEnabled)
    span.end(isTimed ? this.clock.currentTimeNanosUnsafe() : 0n, Exit.fail(shown))
  }

  /** Ends the span with a failure that a protocol knows by another name, or where the effect itself has none. */
  failWith(named: NamedFailure | undefined): void {
    this.named = named
  }

  /** Adds to the span while it is open. What is added is the caller's, and may throw where it is looked at. */
  annotate(write: (set: (key: string, value: unknown) => void) => void): void {
    try {
      write((key, value) => this.set(key, value))
    } catch {
      // Nothing is told of it.
    }
  }

  /** Whether content is recorded anywhere. */
  protected get captures(): boolean {
    return this.capturesOnSpan || this.details !== undefined
  }

  /** An error can quote content, so it is shown only where content is shown just as it is. */
  protected get showsErrors(): boolean {
    const { capture, redact } = this.settings
    return (capture === "SPAN_ONLY" || capture === "SPAN_AND_EVENT") && redact === identity
  }

  protected set(key: string, value: unknown): void {
    // So little that V8 makes it part of its callers, most of which have nothing to write.
    if (value !== undefined && value !== null) this.write(key, value)
  }

  /** Writes a number of tokens. What is none, as metrics have it, is left out. */
  protected setCount(key: string, value: number | undefined): void {
    if (isCount(value)) this.write(key, value)
  }

  private write(key: string, value: unknown): void {
    this.current?.attribute(key, value)
    if (this.details !== undefined) this.details[key] = value
  }

  protected setAll(attributes: Readonly<Record<string, unknown>> | undefined): void {
    if (attributes === undefined) return
    for (const key of Object.keys(attributes)) this.set(key, attributes[key])
  }

  /** Writes the conversation and the agent that the span belongs to. */
  protected setSession(conversationId?: string | undefined): void {
    this.set(semconv.GEN_AI_CONVERSATION_ID, conversationId ?? this.session.conversationId)
    this.set(semconv.GEN_AI_AGENT_NAME, this.session.agentName)
  }

  protected setRequest(request: Partial<LlmRequest>): void {
    this.set(semconv.GEN_AI_REQUEST_TEMPERATURE, request.temperature)
    this.set(semconv.GEN_AI_REQUEST_MAX_TOKENS, request.maxTokens)
    this.set(semconv.GEN_AI_REQUEST_TOP_P, request.topP)
    this.set(semconv.GEN_AI_REQUEST_TOP_K, request.topK)
    this.set(semconv.GEN_AI_REQUEST_STOP_SEQUENCES, request.stopSequences)
    this.set(semconv.GEN_AI_REQUEST_SEED, request.seed)
    this.set(semconv.GEN_AI_REQUEST_FREQUENCY_PENALTY, request.frequencyPenalty)
    this.set(semconv.GEN_AI_REQUEST_PRESENCE_PENALTY, request.presencePenalty)
    if (request.choiceCount !== 1) this.set(semconv.GEN_AI_REQUEST_CHOICE_COUNT, request.choiceCount)
    this.set(semconv.GEN_AI_REQUEST_REASONING_LEVEL, request.reasoningLevel)
    this.set(semconv.GEN_AI_REQUEST_PREVIOUS_RESPONSE_ID, request.previousResponseId)
    // The convention leaves the attribute unset for a call that does not stream.
    if (request.stream === true) this.set(semconv.GEN_AI_REQUEST_STREAM, true)
    this.set(semconv.GEN_AI_OUTPUT_TYPE, request.outputType)
  }

  protected setResponse(response: LlmResponse): void {
    this.set(semconv.GEN_AI_RESPONSE_ID, response.id)
    this.set(semconv.GEN_AI_RESPONSE_MODEL, response.model)
    if (Predicate.isNotNullish(response.finishReasons) && response.finishReasons.length > 0) {
      // A choice that ends without a reason has gone wrong, says the convention.
      this.set(semconv.GEN_AI_RESPONSE_FINISH_REASONS, response.finishReasons.map((reason) => reason ?? "error"))
    }
    if (Predicate.isNotNullish(response.openai) && speaksOpenAi(this.start[semconv.GEN_AI_PROVIDER_NAME])) {
      this.set(semconv.OPENAI_RESPONSE_SERVICE_TIER, response.openai.serviceTier)
      this.set(semconv.OPENAI_RESPONSE_SYSTEM_FINGERPRINT, response.openai.systemFingerprint)
    }
    // Only ever true, says the convention.
    if (response.compacted === true) this.set(semconv.GEN_AI_CONVERSATION_COMPACTED, true)
  }

  protected setUsage(usage: LlmUsage, byModality?: UsageByModality | undefined): void {
    this.setCount(semconv.GEN_AI_USAGE_INPUT_TOKENS, usage.inputTokens)
    this.setCount(semconv.GEN_AI_USAGE_OUTPUT_TOKENS, usage.outputTokens)
    this.setCount(semconv.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, usage.cacheReadInputTokens)
    this.setCount(semconv.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, usage.reasoningOutputTokens)
    if (this.settings.convention === "loom") {
      this.setCount(semconv.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS, usage.cacheWriteInputTokens)
      return
    }
    this.setCount(semconv.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS, usage.cacheWriteInputTokens)
    if (Predicate.isNullish(byModality)) return
    const { audio, image, text } = byModality
    this.setCount(semconv.GEN_AI_USAGE_TEXT_INPUT_TOKENS, text?.inputTokens)
    this.setCount(semconv.GEN_AI_USAGE_TEXT_OUTPUT_TOKENS, text?.outputTokens)
    this.setCount(semconv.GEN_AI_USAGE_TEXT_CACHE_READ_INPUT_TOKENS, text?.cacheReadInputTokens)
    this.setCount(semconv.GEN_AI_USAGE_IMAGE_INPUT_TOKENS, image?.inputTokens)
    this.setCount(semconv.GEN_AI_USAGE_IMAGE_OUTPUT_TOKENS, image?.outputTokens)
    this.setCount(semconv.GEN_AI_USAGE_IMAGE_CACHE_READ_INPUT_TOKENS, image?.cacheReadInputTokens)
    this.setCount(semconv.GEN_AI_USAGE_AUDIO_INPUT_TOKENS, audio?.inputTokens)
    this.setCount(semconv.GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS, audio?.outputTokens)
    this.setCount(semconv.GEN_AI_USAGE_AUDIO_CACHE_READ_INPUT_TOKENS, audio?.cacheReadInputTokens)
  }

  /** The places that content is written to. */
  private get copies(): number {
    return (this.capturesAsAttributes ? 1 : 0) + (this.details === undefined ? 0 : 1)
  }

  /** Whether content is recorded on the span in Loom's form, beside the convention's in the event. */
  private hasLoomForm(kind: Content["kind"]): boolean {
    return this.capturesOnSpan && this.capturesAsLoomDoes && (kind === "input_messages" || kind === "output_messages")
  }

  /** Takes what a function of the caller's says that the operation has brought. */
  protected captureResult<T>(
    kind: Content["kind"],
    key: string,
    exit: Exit.Exit<A, E>,
    callback: ((value: A) => T) | undefined,
    convert?: (value: T) => unknown
  ): Effect.Effect<void> | undefined {
    if (callback === undefined || exit._tag === "Failure") return undefined
    return this.capture(kind, key, () => callback(exit.value), convert, callback)
  }

  /** Takes content for an attribute of the span and of its event. */
  protected capture<T>(
    kind: Content["kind"],
    key: string,
    lazy: Lazy<T> | undefined,
    convert: (value: T) => unknown = identity,
    callback?: object | undefined
  ): Effect.Effect<void> | undefined {
    const { copies } = this
    if (lazy === undefined || copies === 0) return undefined
    return captureContent(this.settings, kind, lazy, convert, (content) => {
      const printed = this.budget?.print(content, copies, this.hasLoomForm(kind) ? 1 : 0)
      if (printed !== undefined) this.content?.push([key, printed])
    }, callback)
  }

  protected captureInstructions(
    lazy: Lazy<string | ReadonlyArray<MessagePart>> | undefined
  ): Effect.Effect<void> | undefined {
    return this.capture("system_instructions", semconv.GEN_AI_SYSTEM_INSTRUCTIONS, lazy, normalizeInstructions)
  }

  protected captureInput(
    lazy: Lazy<string | ReadonlyArray<ChatMessage>> | undefined
  ): Effect.Effect<void> | undefined {
    return this.capture("input_messages", semconv.GEN_AI_INPUT_MESSAGES, lazy, userMessages)
  }

  protected captureOutput(
    lazy: Lazy<string | ReadonlyArray<ChatMessage>> | undefined,
    callback?: object | undefined
  ): Effect.Effect<void> | undefined {
    return this.capture("output_messages", semconv.GEN_AI_OUTPUT_MESSAGES, lazy, assistantMessages, callback)
  }

  protected captureToolDefinitions(
    lazy: Lazy<ReadonlyArray<ToolDefinition>> | undefined
  ): Effect.Effect<void> | undefined {
    return this.capture("tool_definitions", semconv.GEN_AI_TOOL_DEFINITIONS, lazy)
  }

  protected captureToolArguments(lazy: Lazy<unknown> | undefined): Effect.Effect<void> | undefined {
    return this.capture("tool_arguments", semconv.GEN_AI_TOOL_CALL_ARGUMENTS, lazy, normalizeArguments)
  }

  protected captureToolResult(
    exit: Exit.Exit<A, E>,
    result: ((value: A) => unknown) | undefined
  ): Effect.Effect<void> | undefined {
    return this.captureResult("tool_result", semconv.GEN_AI_TOOL_CALL_RESULT, exit, result, normalizeResult)
  }

  /** Takes the variables of a prompt, each of which is an attribute of its own. */
  protected captureVariables(
    lazy: Lazy<Readonly<Record<string, unknown>>> | undefined
  ): Effect.Effect<void> | undefined {
    const { copies } = this
    if (lazy === undefined || copies === 0) return undefined
    return captureContent(this.settings, "prompt_variables", lazy, identity, ({ kind, value }) => {
      if (!Predicate.isObject(value)) return
      for (const [name, variable] of Object.entries(value)) {
        const printed = this.budget?.print({ kind, value: variable }, copies)
        if (printed !== undefined) this.content?.push([`${semconv.GEN_AI_PROMPT_VARIABLE}.${name}`, printed])
      }
    })
  }

  /** Takes content for an event of its own, at once. */
  protected captureEvent<T>(
    kind: Content["kind"],
    name: string,
    key: string,
    lazy: Lazy<T> | undefined,
    convert: (value: T) => unknown = identity
  ): Effect.Effect<void> | undefined {
    if (lazy === undefined) return undefined
    return captureContent(this.settings, kind, lazy, convert, (content) => {
      const printed = this.budget?.print(content, 1)
      if (printed !== undefined && this.current !== undefined) {
        recordEvent(this.current, this.clock, name, { [key]: printed })
      }
    })
  }

  /** Writes the content that was taken, and the event that repeats the span. */
  private writeContent(span: Tracer.Span, error: string | undefined): void {
    for (const [key, value] of this.content ?? []) {
      if (this.capturesAsAttributes) span.attribute(key, value)
      if (this.details !== undefined) this.details[key] = value
    }
    if (this.details === undefined || this.detailsEvent === undefined) return
    if (error !== undefined) this.details[semconv.ERROR_TYPE] = error
    recordEvent(span, this.clock, this.detailsEvent, this.details)
  }

  /** Runs the effects that are there, one after the other. */
  protected inOrder(...effects: ReadonlyArray<Effect.Effect<void> | undefined>): Effect.Effect<void> | undefined {
    return effects.reduce(both, undefined)
  }
}

/**
 * Runs an effect inside the span of a GenAI operation, unless tracing is off.
 *
 * @internal
 */
export const withGenAiSpan = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  make: (fiber: Fiber.Fiber<unknown, unknown>) => SpanSpec<A, E>
): Effect.Effect<A, E, R> => Effect.withFiber((fiber) => isTracingOff(fiber) ? self : tracedBy(fiber, self, make))

/**
 * Asks a function of the caller's what the operation has brought. If it
 * throws, that is reported once and the span goes without.
 *
 * @internal
 */
export const readResult = <A, E, B>(
  callback: ((value: A) => B) | undefined,
  exit: Exit.Exit<A, E>,
  message: string,
  use: (result: B) => void
): Effect.Effect<void> | undefined => {
  if (callback === undefined || exit._tag === "Failure") return undefined
  try {
    use(callback(exit.value))
    return undefined
  } catch (error) {
    return reportOnce(callback, `${message} has thrown; the span goes without it`, error)
  }
}

/**
 * Others answer under OpenAI's names; the convention keeps `openai.*` for what
 * OpenAI's models answer.
 *
 * @internal
 */
export const speaksOpenAi = (provider: unknown): boolean => provider === "openai" || provider === "azure.ai.openai"

/** @internal */
export const addServer = (attributes: Attributes, server: ServerAddress | undefined): void => {
  if (server === undefined) return
  attributes[semconv.SERVER_ADDRESS] = server.address
  if (server.port !== undefined) attributes[semconv.SERVER_PORT] = server.port
}

/** @internal */
export const addDefined = (attributes: Attributes, key: string, value: string | undefined): void => {
  if (value !== undefined) attributes[key] = value
}
