/**
 * Spans for programs that call models through `effect/ai`. The program stays as
 * it is; the layer of its model is what changes.
 *
 * The package's root does not export this module, since it loads `effect/ai`;
 * import `loom-tracing/GenAiEffectAi`.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai
 *
 * @since 0.1.0
 */
import type * as Decision from "effect/ai/Decision"
import * as DecisionModel from "effect/ai/DecisionModel"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Model from "effect/ai/Model"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as References from "effect/References"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { type GenAiProvider, type LlmCallOptions, type LlmResponse, withEmbeddingsSpan } from "./GenAi.ts"
import { type ChatMessage, hideSensitive, hideSensitiveEncoded, type MessagePart } from "./GenAiContent.ts"
import {
  effectAiCall,
  effectAiFold,
  effectAiResponse,
  type ProviderCallOptions,
  type StreamedResponse
} from "./GenAiProviders.ts"
import { secondsBetween, withGenAiSpan } from "./internal/genAi.ts"
import { LlmSpan } from "./internal/llmSpan.ts"
import { LlmStreamSpan, traceStream } from "./internal/llmStreamSpan.ts"
import { isTracingOff } from "./internal/off.ts"
import { isList, read, readList, readString } from "./internal/providers/read.ts"
import { providerAt, serverOf } from "./internal/providers/server.ts"
import * as semconv from "./internal/semconv.ts"
import { startSpan, withinSpan } from "./internal/span.ts"
import { StandInSpan, standInTracer } from "./internal/standInSpan.ts"
import { SpanSource } from "./internal/startAttributes.ts"
import { ToolSpan } from "./internal/toolSpan.ts"

/**
 * The options of {@link withEffectAiSpans}: what `effect/ai` does not say of a
 * model.
 *
 * @category options
 * @since 0.1.0
 */
export type EffectAiOptions = Pick<ProviderCallOptions, "provider" | "request" | "server" | "baseURL" | "attributes">

// =============================================================================
// Models
// =============================================================================

/** The names of Effect's provider packages that are not the convention's. */
const PROVIDERS: Readonly<Record<string, GenAiProvider>> = {
  "amazon-bedrock": "aws.bedrock",
  google: "gcp.gemini",
  xai: "x_ai"
}

/** What is known of a model before it is called. */
class ModelInfo {
  readonly call: Parameters<typeof effectAiCall>[1]
  readonly dimensions: number | undefined
  private readonly providerIsTold: boolean

  constructor(options: EffectAiOptions, services: Context.Context<never>) {
    const server = options.server ?? (options.baseURL === undefined ? undefined : serverOf(options.baseURL))
    const told = options.provider ?? (server === undefined ? undefined : providerAt(server.address))
    const name = Context.getOrUndefined(services, Model.ProviderName) ?? "unknown"
    const model = options.request?.model ?? Context.getOrUndefined(services, Model.ModelName) ?? "unknown"
    this.providerIsTold = told !== undefined
    this.call = {
      server,
      provider: told ?? PROVIDERS[name] ?? name,
      request: { ...options.request, model },
      attributes: options.attributes
    }
    this.dimensions = Context.getOrUndefined(services, EmbeddingModel.Dimensions)
  }

  /**
   * What the inside of a call is given: a tracer, since Effect would make the
   * span again. What the provider's package writes on that one goes to ours: it
   * may know better which model it has asked, but not whose API it is, if the
   * options say that.
   */
  inside(tracer: Tracer.Tracer | undefined, start: Record<string, unknown>): Context.Context<never> {
    const standIn = standInTracer(tracer ?? Tracer.nativeTracer, isDuplicate, (key, value) => {
      if (key === semconv.GEN_AI_PROVIDER_NAME && this.providerIsTold) return false
      // Effect's size of a batch of embeddings, which is one here and no attribute of any convention.
      if (key === "batchSize") return false
      if (key in start) start[key] = value
      return true
    })
    return Context.make(Tracer.Tracer, standIn)
  }
}

/** The spans of Effect's that are calls of these operations. */
const DUPLICATES: Readonly<Record<string, string>> = {
  "LanguageModel.generateText": "chat",
  "LanguageModel.generateObject": "chat",
  "LanguageModel.streamText": "chat",
  "EmbeddingModel.embed": "embeddings",
  "EmbeddingModel.embedMany": "embeddings",
  "EmbeddingModel.resolver": "embeddings",
  "DecisionModel.decide": "generate_content",
  "DecisionModel.decideSettled": "generate_content"
}

const isDuplicate = ({ links, name }: Parameters<Tracer.Tracer["span"]>[0], parent: Tracer.Span): boolean =>
  Object.hasOwn(DUPLICATES, name) &&
  Context.getOrUndefined(parent.annotations, SpanSource)?.start[semconv.GEN_AI_OPERATION_NAME] === DUPLICATES[name] &&
  // A batch of embeddings is linked to the calls that it is made of, and is a span of its own if they are several.
  (name !== "EmbeddingModel.resolver" || links.length <= 1)

// =============================================================================
// Tools
// =============================================================================

/** The result of any tool. */
type ToolResult = Tool.HandlerResult<Tool.Any>

type ToolCall = readonly [name: string, params: unknown, callId?: string, options?: unknown]

/** A toolkit of any tools. */
interface AnyToolkit {
  readonly tools: Readonly<Record<string, Tool.Any>>
  readonly handle: (...call: ToolCall) => Effect.Effect<Stream.Stream<ToolResult, unknown>, unknown>
}

/** Toolkits that are traced, and what they were before. */
const untraced = new WeakMap<AnyToolkit, AnyToolkit>()

const traceToolkit = (toolkit: AnyToolkit, call?: ModelCall): AnyToolkit => {
  const self = untraced.get(toolkit) ?? toolkit
  const traced: AnyToolkit = {
    ...self,
    handle: (...toolCall) =>
      Effect.withFiber((fiber) => {
        if (isTracingOff(fiber)) return self.handle(...toolCall)
        return call === undefined ? runTool(self, toolCall) : call.beside(runTool(self, toolCall, call))
      })
  }
  untraced.set(traced, self)
  return traced
}

/** `Toolkit` writes the arguments of a call on the span that is current, once, before it runs the tool. */
const withoutArguments = (): (key: string) => boolean => {
  const written = new Set(["tool", "parameters"])
  return (key) => !written.delete(key)
}

/** What a tool was given and what the model is given are encoded values. */
const hideIn = (schema: Schema.Constraint | undefined, value: unknown): unknown =>
  schema === undefined ? value : hideSensitiveEncoded(schema, value)

/** The span of a tool from which the arguments are kept as it runs; what its handler writes is the handler's own. */
class ToolkitSpan extends ToolSpan<ToolResult | void, unknown> {
  protected override get guardsToolkitArguments(): boolean {
    return false
  }
}

const runTool = (
  toolkit: AnyToolkit,
  toolCall: ToolCall,
  call?: ModelCall
): Effect.Effect<Stream.Stream<ToolResult, unknown>, unknown> =>
  Effect.withFiber((fiber) => {
    const [name, params, callId] = toolCall
    const tool = Object.hasOwn(toolkit.tools, name) ? toolkit.tools[name] : undefined
    const spec = new ToolkitSpan(fiber, {
      name,
      callId,
      type: "function",
      description: tool?.description,
      arguments: () => hideIn(tool?.parametersSchema, params),
      result: (result) => result === undefined ? undefined : hideIn(tool?.successSchema, result.encodedResult)
    })
    const scope = Scope.makeUnsafe()
    const run = Effect.runForkWith(fiber.context)
    // A tool does not outlive the fiber that has called it, even if nobody looks at what it gives.
    const stopWatching = fiber.addObserver(() => {
      run(Scope.close(scope, Exit.interrupt(fiber.id)))
    })
    const end = (exit: Exit.Exit<ToolResult | void, unknown>) => {
      stopWatching()
      return Scope.close(scope, exit)
    }
    const fail = (cause: Cause.Cause<unknown>) => {
      call?.toolFails()
      return end(Exit.failCause(cause))
    }
    call?.toolBegins(callId)
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(startSpan(spec, scope), (span) =>
        Effect.onExitPrimitive(
          restore(withinSpan(toolkit.handle(...toolCall), new StandInSpan(span, withoutArguments()), spec)),
          (exit) => exit._tag === "Failure" ? fail(exit.cause) : undefined
        ))
    ).pipe(Effect.map((results) => {
      let last: ToolResult | undefined
      let failure: Cause.Cause<unknown> | undefined
      return results.pipe(
        Stream.map((result) => {
          if (!result.preliminary) last = result
          return result
        }),
        Stream.tapCause((cause) =>
          Effect.sync(() => {
            failure = cause
          })
        ),
        Stream.onExit((exit) => {
          if (failure !== undefined) return fail(failure)
          // What else ends the stream is not the tool's failure, and interrupts a tool that has not given its result.
          if (exit._tag === "Failure" && (last === undefined || Exit.hasInterrupts(exit))) {
            return fail(Cause.interrupt(fiber.id))
          }
          // The program goes on with a failure that it has asked to be given as a result.
          return end(last?.isFailure === true ? Exit.fail(last.result) : Exit.succeed(last))
        })
      )
    }))
  })

// =============================================================================
// Language models
// =============================================================================

/** What all methods of a language model are given. */
interface CallOptions {
  readonly prompt: unknown
  readonly toolkit?: AnyToolkit | Effect.Effect<AnyToolkit, unknown, unknown> | undefined
}

type Method = "generateText" | "generateObject" | "streamText"

/** A language model without the types that join a call to its result. */
interface AnyLanguageModel {
  readonly generateText: (options: CallOptions) => Effect.Effect<unknown, unknown, unknown>
  readonly generateObject: (options: CallOptions) => Effect.Effect<unknown, unknown, unknown>
  readonly streamText: (options: CallOptions) => Stream.Stream<object, unknown, unknown>
}

const messagesOf = (prompt: unknown): ReadonlyArray<unknown> =>
  isList(prompt) ? readList(prompt) : readList(prompt, "content")

/** A prompt may be any iterable of messages, which need not give them twice. */
const withListedPrompt = (options: CallOptions): CallOptions => {
  const { prompt } = options
  return Predicate.isString(prompt) || isList(prompt) || !Predicate.isIterable(prompt)
    ? options
    : { ...options, prompt: Array.from(prompt as Iterable<unknown>) }
}

/** How many times the results of tools were sent back since a person has last spoken. */
const toolRoundOf = (messages: ReadonlyArray<unknown>): number => {
  const roles = messages.map((message) => readString(message, "role"))
  return roles.slice(roles.lastIndexOf("user") + 1).filter((role) => role === "tool").length
}

/**
 * A call to a model. For Effect it goes on while the program runs the tools that
 * the model has asked for; its span ends where the model has answered, and the
 * spans of the tools come after it.
 */
class ModelCall {
  readonly options: CallOptions
  readonly span: LlmCallOptions
  private readonly model: ModelInfo
  private readonly streams: boolean
  private readonly isTimed: boolean
  private readonly tracer: Tracer.Tracer
  private readonly outside: Context.Context<never>
  private readonly clock: Clock.Clock
  private answeredAt: bigint | undefined = undefined
  private toolHasFailed = false

  constructor(fiber: Fiber.Fiber<unknown, unknown>, model: ModelInfo, given: CallOptions, method: Method) {
    const options = withListedPrompt(given)
    const { toolkit } = options
    const trace = (toolkit: AnyToolkit) => traceToolkit(toolkit, this)
    this.options = toolkit === undefined
      ? options
      : { ...options, toolkit: Effect.isEffect(toolkit) ? Effect.map(toolkit, trace) : trace(toolkit) }
    const toolRound = toolRoundOf(messagesOf(options.prompt))
    this.span = {
      ...effectAiCall(
        method === "generateObject" ? { ...options, responseFormat: { type: "json" } } : options,
        model.call
      ),
      toolRound: toolRound === 0 ? undefined : toolRound
    }
    this.model = model
    this.streams = method === "streamText"
    this.isTimed = Context.get(fiber.context, References.TracerTimingEnabled)
    this.tracer = fiber.cache.tracer ?? Tracer.nativeTracer
    const outside = Context.make(Tracer.Tracer, this.tracer)
    this.outside = fiber.cache.span === undefined
      ? outside
      : Context.add(outside, Tracer.ParentSpan, fiber.cache.span) as Context.Context<never>
    this.clock = Context.get(fiber.context, Clock.Clock)
  }

  /** What the effects of the call are given. */
  inside(start: Record<string, unknown>): Context.Context<never> {
    return this.model.inside(this.tracer, start)
  }

  /** Runs an effect where the call was made, not as a part of it. */
  beside<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.provideContext(self, this.outside)
  }

  toolBegins(callId: string | undefined): void {
    // A tool of an earlier answer, which has waited for an approval, runs before the model is asked.
    const isEarlier = messagesOf(this.options.prompt).some((message) =>
      readList(message, "content").some((part) =>
        readString(part, "type") === "tool-call" && readString(part, "id") === callId
      )
    )
    if (!isEarlier) this.answeredAt ??= this.clock.currentTimeNanosUnsafe()
  }

  toolFails(): void {
    this.toolHasFailed = true
  }

  /** The parts of a stream that come from the model, and as it sends them: the last one waits for all tools. */
  fromModel(parts: ReadonlyArray<unknown>): ReadonlyArray<unknown> {
    const own = parts.filter((part) => {
      switch (readString(part, "type")) {
        case "tool-result":
          return read(part, "providerExecuted") === true
        case "tool-approval-request":
          return false
        case "finish":
          return this.answeredAt === undefined
        default:
          return true
      }
    })
    // While one tool runs, the model may go on to ask for another.
    if (own.length > 0 && this.answeredAt !== undefined) this.answeredAt = this.clock.currentTimeNanosUnsafe()
    return own
  }

  secondsSince(startTime: bigint): number | undefined {
    return this.answeredAt === undefined ? undefined : secondsBetween(startTime, this.answeredAt)
  }

  /** Ends the span when the model had answered. */
  finish<A, E>(
    span: Tracer.Span,
    exit: Exit.Exit<A, E>,
    write: (exit: Exit.Exit<A, E>) => Effect.Effect<void> | undefined
  ): Effect.Effect<void> | undefined {
    const { answeredAt } = this
    if (answeredAt === undefined) return write(exit)
    // The failure of a tool is on the tool's span, and what is interrupted then is the tool. A failure of the answer,
    // such as that it does not decode, stays here.
    const answered = exit._tag === "Failure" &&
        (this.toolHasFailed || !this.streams && Cause.hasInterruptsOnly(exit.cause))
      ? Exit.void as Exit.Exit<A, never>
      : exit
    const end = Effect.sync(() => span.end(this.isTimed ? answeredAt : 0n, answered))
    const pending = write(answered)
    return pending === undefined ? end : Effect.andThen(pending, end)
  }
}

class GenerateSpan<A, E> extends LlmSpan<A, E> {
  private readonly call: ModelCall

  constructor(fiber: Fiber.Fiber<unknown, unknown>, call: ModelCall) {
    super(fiber, call.span, effectAiResponse)
    this.call = call
    this.inside = call.inside(this.start)
  }

  override finish(span: Tracer.Span, exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    return this.call.finish(span, exit, (exit) => super.finish(span, exit))
  }

  protected override measure(seconds: number, error: string | undefined): void {
    super.measure(this.call.secondsSince(this.startTime) ?? seconds, error)
  }
}

class StreamSpan<E> extends LlmStreamSpan<object, E, StreamedResponse> {
  private readonly call: ModelCall

  constructor(fiber: Fiber.Fiber<unknown, unknown>, call: ModelCall) {
    super(fiber, { ...call.span, fold: effectAiFold })
    this.call = call
    this.inside = call.inside(this.start)
  }

  override take(parts: ReadonlyArray<object>): Effect.Effect<void> | undefined {
    const { length } = this.call.fromModel(parts)
    if (length > 0) this.takeTime(length)
    return this.takeContent(parts)
  }

  override finish(span: Tracer.Span, exit: Exit.Exit<unknown, E>): Effect.Effect<void> | undefined {
    return this.call.finish(span, exit, (exit) => super.finish(span, exit))
  }

  protected override measure(seconds: number, error: string | undefined): void {
    super.measure(this.call.secondsSince(this.startTime) ?? seconds, error)
  }
}

const traceLanguageModel = (service: LanguageModel.LanguageModel, info: ModelInfo): LanguageModel.LanguageModel => {
  const model = service as unknown as AnyLanguageModel
  const generate = (method: "generateText" | "generateObject") => (options: CallOptions) =>
    Effect.withFiber((fiber) => {
      if (isTracingOff(fiber)) return model[method](options)
      const call = new ModelCall(fiber, info, options, method)
      return withGenAiSpan(Effect.suspend(() => model[method](call.options)), (fiber) => new GenerateSpan(fiber, call))
    })
  const tracedModel: AnyLanguageModel = {
    ...model,
    generateText: generate("generateText"),
    generateObject: generate("generateObject"),
    streamText: (options) =>
      Stream.unwrap(Effect.withFiber((fiber) => {
        if (isTracingOff(fiber)) return Effect.succeed(model.streamText(options))
        const call = new ModelCall(fiber, info, options, "streamText")
        const stream = Stream.suspend(() => model.streamText(call.options))
        return Effect.succeed(traceStream(stream, (fiber) => new StreamSpan(fiber, call)))
      }))
  }
  return tracedModel as unknown as LanguageModel.LanguageModel
}

// =============================================================================
// Embedding models
// =============================================================================

const traceEmbeddingModel = (model: EmbeddingModel.EmbeddingModel, info: ModelInfo): EmbeddingModel.EmbeddingModel => {
  const { attributes, provider, request, server } = info.call
  const span = {
    provider,
    request: { model: request.model, dimensions: info.dimensions },
    server,
    attributes
  }
  const inside = <A, E, R>(call: () => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => Effect.provideContext(call(), info.inside(fiber.cache.tracer, {})))
  return {
    ...model,
    embed: (input) =>
      Effect.withFiber((fiber) =>
        isTracingOff(fiber) ? model.embed(input) : withEmbeddingsSpan(inside(() => model.embed(input)), span)
      ),
    embedMany: (inputs) =>
      Effect.withFiber((fiber) =>
        // Without an input nobody is asked.
        isTracingOff(fiber) || inputs.length === 0
          ? model.embedMany(inputs)
          : withEmbeddingsSpan(inside(() => model.embedMany(inputs)), {
            ...span,
            response: ({ usage }) => ({ usage: { inputTokens: usage.inputTokens } })
          })
      )
  }
}

// =============================================================================
// Decision models
// =============================================================================

type AnyDefinition = Decision.Definition<Schema.Top, Record<string, Decision.Any>>

/** What a decision model gives: answers alone, or what has become of each decision. */
type Decided =
  & Omit<DecisionModel.DecideResponse<Record<string, Decision.Any>>, "answers">
  & { readonly answers?: object; readonly outcomes?: Decision.Outcomes<Record<string, Decision.Any>> }

/** A decision model without the types that join a definition to its answers. */
type AnyDecisionModel = Readonly<
  Record<
    "decide" | "decideSettled",
    (definition: AnyDefinition, options: { readonly input: unknown }) => Effect.Effect<Decided, unknown, unknown>
  >
>

const inputOf = (definition: AnyDefinition, input: unknown): string | ReadonlyArray<ChatMessage> => {
  const state = hideSensitive(definition.input)(input)
  return Predicate.isString(state) ? state : [{ role: "user", parts: [{ type: "state", state }] }]
}

const instructionsOf = ({ decisions }: AnyDefinition): ReadonlyArray<MessagePart> =>
  Object.entries(decisions).map(([name, { _tag, ...decision }]) => ({ type: _tag.toLowerCase(), name, ...decision }))

const decisionResponse = ({ answers, id, modelId, outcomes = {}, usage }: Decided): LlmResponse => ({
  id,
  model: modelId,
  usage,
  output: () =>
    JSON.stringify(
      answers ?? Object.fromEntries(Object.entries(outcomes).map(([name, it]) => [name, Result.merge(it)]))
    )
})

class DecisionSpan<E> extends LlmSpan<Decided, E> {
  constructor(fiber: Fiber.Fiber<unknown, unknown>, model: ModelInfo, definition: AnyDefinition, input: unknown) {
    const { call } = model
    super(fiber, {
      ...call,
      operation: "generate_content",
      request: { ...call.request, outputType: "json" },
      input: () => inputOf(definition, input),
      systemInstructions: () => instructionsOf(definition)
    }, decisionResponse)
    this.inside = model.inside(fiber.cache.tracer, this.start)
  }
}

const traceDecisionModel = (service: DecisionModel.DecisionModel, info: ModelInfo): DecisionModel.DecisionModel => {
  const model = service as unknown as AnyDecisionModel
  const trace: (method: keyof AnyDecisionModel) => AnyDecisionModel["decide"] = (method) => (definition, options) =>
    Effect.withFiber((fiber) => {
      if (isTracingOff(fiber)) return model[method](definition, options)
      const decided = Effect.suspend(() => model[method](definition, options))
      return withGenAiSpan(decided, (fiber) => new DecisionSpan(fiber, info, definition, options.input))
    })
  const tracedModel: AnyDecisionModel = { ...model, decide: trace("decide"), decideSettled: trace("decideSettled") }
  return tracedModel as unknown as DecisionModel.DecisionModel
}

// =============================================================================
// Layers
// =============================================================================

/** Models that are traced, so that no layer traces them again. */
const traced = new WeakSet<object>()

/** The services of a layer, those among them traced that are models. */
const traceServices = <Services>(
  services: Context.Context<Services>,
  options: EffectAiOptions
): Context.Context<Services> => {
  const info = new ModelInfo(options, services as Context.Context<never>)
  const trace = <I, A extends object>(
    services: Context.Context<Services>,
    key: Context.Key<I, A>,
    traceModel: (model: A, info: ModelInfo) => A
  ): Context.Context<Services> => {
    const model = Context.getOrUndefined(services, key)
    if (model === undefined || traced.has(model)) return services
    const tracedModel = traceModel(model, info)
    traced.add(tracedModel)
    // It takes the place of a service that is one of them.
    return Context.add(services, key, tracedModel) as Context.Context<Services>
  }
  const withLanguageModel = trace(services, LanguageModel.LanguageModel, traceLanguageModel)
  const withEmbeddingModel = trace(withLanguageModel, EmbeddingModel.EmbeddingModel, traceEmbeddingModel)
  return trace(withEmbeddingModel, DecisionModel.DecisionModel, traceDecisionModel)
}

/**
 * Traces the models of a layer: every call to a language model, an embedding
 * model or a decision model that the layer provides gets its span, and so does
 * every tool that runs for one.
 *
 * **When to use**
 *
 * Use once, where the layer of a model is provided to a program that calls it
 * through `effect/ai`: by `generateText`, `generateObject`, `streamText`, a
 * `Chat`, `embed`, `embedMany`, `decide` or `decideSettled`.
 *
 * **Details**
 *
 * What the layer provides, requires and fails with stays as it was, and so do
 * the types of the program. The spans are those of `withLlmSpan`,
 * `withLlmStreamSpan`, `withToolSpan` and `withEmbeddingsSpan`, with the content
 * policy of all of them; the span that Effect makes for a call is not made a
 * second time. What a provider's package writes on that span, such as the
 * temperature of a request, is written on ours.
 *
 * A `Model` of Effect's names provider and model by itself. Name them here for
 * any other layer, and where another provider is behind the same API: `provider`
 * or `baseURL` beats what the package says.
 *
 * The span of a call ends when the model has answered. The spans of the tools
 * that `effect/ai` runs then come beside it, below the span that was current;
 * without one, they are its children.
 *
 * Calls of `embed` that Effect has put into one request have a span each, and
 * their batch has Effect's, linked to them. The tokens of such a request are
 * nowhere to be had.
 *
 * Decisions are a `generate_content` operation. With content on, the input is
 * without what its schema marks as `sensitive`, the decisions are the
 * instructions, and the answers the output.
 *
 * **Gotchas**
 *
 * The usage of an answer that is lost with an error, as one that does not decode
 * is, is on the span only if the provider's package has written it there.
 *
 * **Example** (Tracing a program that is there already)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { LanguageModel } from "effect/ai"
 * import { TracingNoop } from "loom-tracing"
 * import { withEffectAiSpans } from "loom-tracing/GenAiEffectAi"
 *
 * // Stands for the layer of a provider's package, such as `OpenAiLanguageModel.layer`.
 * const ModelLive = Layer.effect(
 *   LanguageModel.LanguageModel,
 *   LanguageModel.make({
 *     generateText: () => Effect.succeed([{ type: "text", text: "Hello" }]),
 *     streamText: () => Effect.die("not in this example") as never
 *   })
 * )
 *
 * const program = LanguageModel.generateText({ prompt: "Hi" }).pipe(
 *   Effect.map((response) => response.text),
 *   Effect.provide(ModelLive.pipe(withEffectAiSpans({ provider: "openai", request: { model: "gpt-4o" } })))
 * )
 *
 * // `TracingLive` in a program that is to be traced.
 * Effect.runSync(program.pipe(Effect.provide(TracingNoop))) // => "Hello"
 * ```
 *
 * @see {@link withToolkitSpans} for tools that a program runs by itself
 *
 * @category layers
 * @since 0.1.0
 */
export const withEffectAiSpans: {
  (options?: EffectAiOptions): <ROut, E, RIn>(self: Layer.Layer<ROut, E, RIn>) => Layer.Layer<ROut, E, RIn>
  <ROut, E, RIn>(self: Layer.Layer<ROut, E, RIn>, options?: EffectAiOptions): Layer.Layer<ROut, E, RIn>
} = dual(
  (args) => Layer.isLayer(args[0]),
  <ROut, E, RIn>(self: Layer.Layer<ROut, E, RIn>, options: EffectAiOptions = {}): Layer.Layer<ROut, E, RIn> =>
    Layer.flatMap(self, (services) => Layer.succeedContext(traceServices(services, options)))
)

/**
 * Traces the tools of a toolkit that has its handlers.
 *
 * **When to use**
 *
 * Use for tools that a program runs by itself, with `disableToolCallResolution`.
 * A toolkit that is given to a model of {@link withEffectAiSpans} is traced
 * already; both together make one span.
 *
 * **Details**
 *
 * The span is that of `withToolSpan`, from the call of `handle` until its stream
 * has ended. A failure that the tool's `failureMode` returns as a result is the
 * span's error too.
 *
 * **Example** (Running a tool)
 *
 * ```ts
 * import { Effect, Schema, Stream } from "effect"
 * import { Tool, Toolkit } from "effect/ai"
 * import { withToolkitSpans } from "loom-tracing/GenAiEffectAi"
 *
 * const Weather = Tool.make("weather", {
 *   parameters: Schema.Struct({ city: Schema.String }),
 *   success: Schema.Struct({ celsius: Schema.Number })
 * })
 * const Tools = Toolkit.make(Weather)
 *
 * const program = Effect.gen(function*() {
 *   const tools = withToolkitSpans(yield* Tools)
 *   const results = yield* tools.handle("weather", { city: "Paris" }, "call_1")
 *   return (yield* Stream.runCollect(results)).map(({ encodedResult }) => encodedResult)
 * })
 *
 * const ToolsLive = Tools.toLayer({ weather: () => Effect.succeed({ celsius: 21 }) })
 *
 * Effect.runSync(Effect.provide(program, ToolsLive)) // => [{ celsius: 21 }]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withToolkitSpans = <Tools extends Record<string, Tool.Any>>(
  self: Toolkit.WithHandler<Tools>
): Toolkit.WithHandler<Tools> => traceToolkit(self as unknown as AnyToolkit) as unknown as Toolkit.WithHandler<Tools>
