/**
 * Spans for the Model Context Protocol, on either side of a request.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai (mcp.md)
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type * as Tracer from "effect/Tracer"
import type { ServerAddress } from "./GenAi.ts"
import type { Lazy } from "./GenAiContent.ts"
import { GenAiMetrics, mcpDuration } from "./GenAiMetrics.ts"
import { errorType } from "./internal/errors.ts"
import {
  addDefined,
  addServer,
  type AgentRun,
  GenAiSpan,
  type OpenString,
  secondsBetween,
  withGenAiSpan
} from "./internal/genAi.ts"
import { isTracingOff } from "./internal/off.ts"
import * as semconv from "./internal/semconv.ts"
import { withoutSpan } from "./internal/span.ts"
import { AmbientSpan, propagatedSpan } from "./internal/spanContext.ts"
import { type Attributes, SpanSource } from "./internal/startAttributes.ts"
import { ToolSpan } from "./internal/toolSpan.ts"

// =============================================================================
// Models
// =============================================================================

/**
 * The methods of the protocol: `mcp.method.name`.
 *
 * @category models
 * @since 0.1.0
 */
export type McpMethod = OpenString<
  | "initialize"
  | "ping"
  | "tools/list"
  | "tools/call"
  | "prompts/list"
  | "prompts/get"
  | "resources/list"
  | "resources/templates/list"
  | "resources/read"
  | "resources/subscribe"
  | "resources/unsubscribe"
  | "logging/setLevel"
  | "sampling/createMessage"
  | "completion/complete"
  | "roots/list"
  | "elicitation/create"
  | "notifications/initialized"
  | "notifications/cancelled"
  | "notifications/progress"
  | "notifications/message"
  | "notifications/tools/list_changed"
  | "notifications/prompts/list_changed"
  | "notifications/resources/list_changed"
  | "notifications/resources/updated"
  | "notifications/roots/list_changed"
>

/**
 * The options of {@link withMcpSpan}.
 *
 * @category options
 * @since 0.1.0
 */
export interface McpSpanOptions<A> {
  readonly method: McpMethod
  /** Who this is: the peer that sends the request, or the one that answers it. Default: `"client"`. */
  readonly side?: "client" | "server" | undefined
  /** The tool that is called. */
  readonly tool?: string | undefined
  /** The prompt that is asked for. */
  readonly prompt?: string | undefined
  /** What the prompt's template is filled with, recorded only when content is captured. */
  readonly promptVariables?: Lazy<Readonly<Record<string, unknown>>> | undefined
  readonly resourceUri?: string | undefined
  /** The id of the JSON-RPC request. A notification has none. */
  readonly requestId?: string | number | undefined
  readonly sessionId?: string | undefined
  readonly protocolVersion?: string | undefined
  /** Recorded unless it is `2.0`. */
  readonly jsonRpcVersion?: string | undefined
  readonly network?: {
    /** `pipe` for standard input and output, `tcp` or `quic` for HTTP. */
    readonly transport?: OpenString<"pipe" | "tcp" | "quic" | "unix"> | undefined
    readonly protocolName?: string | undefined
    readonly protocolVersion?: string | undefined
  } | undefined
  /** The address of the peer: of the server for a client, of the client for a server. */
  readonly peer?: ServerAddress | undefined
  /** What the tool is given: a value or a function that makes it, recorded only when content is captured. */
  readonly arguments?: unknown
  /** The result of the tool, recorded only when content is captured. */
  readonly result?: ((value: A) => unknown) | undefined
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

// =============================================================================
// Failures
// =============================================================================

/** A failure by the name that the protocol has for it. */
class McpFailure extends Error {
  readonly _tag: string
  readonly code: string | undefined
  /** What the peer has answered, which the program may make an error of that quotes it. */
  readonly answer: unknown
  constructor(
    code: string | undefined,
    error: { readonly name?: string; readonly message: string; readonly stack?: string },
    answer?: unknown
  ) {
    super(error.message)
    this.code = code
    this.answer = answer
    this._tag = code ?? "tool_error"
    this.name = error.name ?? this._tag
    // Never ours: it would be of no use to anybody.
    this.stack = error.stack ?? ""
  }
}

/** Errors of the official client whose `code` is that of HTTP. */
const TRANSPORT_ERRORS = /^(StreamableHTTPError|SseError)$/

/** The code of a JSON-RPC error. That of a `DOMException`, such as a timeout, or of a transport is none. */
const codeOf = (error: unknown): string | undefined =>
  Predicate.hasProperty(error, "code") && Number.isInteger(error.code) && !(error instanceof DOMException) &&
    !(Predicate.isError(error) && TRANSPORT_ERRORS.test(error.constructor.name))
    ? String(error.code)
    : undefined

const messageOf = (error: unknown): string =>
  Predicate.hasProperty(error, "message") && Predicate.isString(error.message) ? error.message : ""

/** A tool that fails answers with a result that says so. */
const isToolError = (result: unknown): boolean => Predicate.hasProperty(result, "isError") && result.isError === true

const toolError = (result: unknown) =>
  new McpFailure(
    undefined,
    { message: "The tool has reported an error" },
    Predicate.hasProperty(result, "content") ? result.content : undefined
  )

/** What a result says, or the JSON-RPC response that it came in. */
const readAnswer = (answer: unknown): McpFailure | undefined => {
  if (isToolError(answer)) return toolError(answer)
  if (!Predicate.hasProperty(answer, "jsonrpc")) return undefined
  if (Predicate.hasProperty(answer, "result")) return isToolError(answer.result) ? toolError(answer.result) : undefined
  const error = Predicate.hasProperty(answer, "error") ? answer.error : undefined
  const code = codeOf(error)
  return code === undefined ? undefined : new McpFailure(code, { message: messageOf(error) })
}

const readFailure = (exit: Exit.Exit<unknown, unknown>): McpFailure | undefined => {
  if (exit._tag === "Success") return readAnswer(exit.value)
  const fail = Cause.findFail(exit.cause)
  const die = Cause.findDie(exit.cause)
  const failed = Result.isSuccess(fail)
    ? fail.success.error
    : Result.isSuccess(die)
    ? die.success.defect
    : undefined
  // What `Effect.tryPromise` makes of a rejection says nothing itself.
  const error = Cause.isUnknownError(failed) ? failed.cause : failed
  // Effect's own client keeps what the server has said in the reason of its error.
  const reason = Predicate.hasProperty(error, "reason") ? error.reason : undefined
  if (Predicate.hasProperty(reason, "result") && isToolError(reason.result)) return toolError(reason.result)
  const code = codeOf(error) ?? codeOf(reason)
  if (code === undefined) return undefined
  return new McpFailure(code, Predicate.isError(error) ? error : { message: messageOf(error) })
}

/** What the protocol says of the way an effect has ended; `undefined` where it has nothing to add. */
const failureOf = (exit: Exit.Exit<unknown, unknown>): McpFailure | undefined => {
  // Results and errors are the caller's, and may throw where they are looked at.
  try {
    return readFailure(exit)
  } catch {
    return undefined
  }
}

// =============================================================================
// Metrics
// =============================================================================

/** The `error.type` of a request that has failed, and the code that it was answered with. */
interface McpError {
  readonly type: string | undefined
  readonly code: string | undefined
}

const measured = <A>(options: McpSpanOptions<A>, error: McpError): Attributes => {
  const { jsonRpcVersion, method, network } = options
  const attributes: Attributes = { [semconv.MCP_METHOD_NAME]: method }
  if (method === "tools/call") attributes[semconv.GEN_AI_OPERATION_NAME] = "execute_tool"
  addDefined(attributes, semconv.GEN_AI_TOOL_NAME, options.tool)
  addDefined(attributes, semconv.GEN_AI_PROMPT_NAME, options.prompt)
  addDefined(attributes, semconv.MCP_PROTOCOL_VERSION, options.protocolVersion)
  if (jsonRpcVersion !== "2.0") addDefined(attributes, semconv.JSONRPC_PROTOCOL_VERSION, jsonRpcVersion)
  addDefined(attributes, semconv.NETWORK_TRANSPORT, network?.transport)
  addDefined(attributes, semconv.NETWORK_PROTOCOL_NAME, network?.protocolName)
  addDefined(attributes, semconv.NETWORK_PROTOCOL_VERSION, network?.protocolVersion)
  // A server has too many clients for a series each.
  if (options.side !== "server") addServer(attributes, options.peer)
  addDefined(attributes, semconv.ERROR_TYPE, error.type)
  addDefined(attributes, semconv.RPC_RESPONSE_STATUS_CODE, error.code)
  return attributes
}

const recordDuration = <A>(
  options: McpSpanOptions<A>,
  seconds: number,
  error: McpError,
  context: Context.Context<never>
): void => {
  // Options are the caller's, and may throw where they are looked at.
  try {
    mcpDuration[options.side ?? "client"].record(seconds, measured(options, error), context)
  } catch {
    // Nothing is told of it.
  }
}

// =============================================================================
// Spans
// =============================================================================

class McpSpan<A, E> extends GenAiSpan<A, E> {
  readonly name: string
  readonly links: ReadonlyArray<Tracer.SpanLink> | undefined
  private readonly options: McpSpanOptions<A>
  private failure: McpFailure | undefined = undefined

  constructor(fiber: Fiber.Fiber<unknown, unknown>, options: McpSpanOptions<A>) {
    super(fiber, options.method === "tools/call" ? "execute_tool" : undefined, options.side ?? "client")
    this.options = options
    const target = options.tool ?? options.prompt
    this.name = target === undefined ? options.method : `${options.method} ${target}`
    this.start[semconv.MCP_METHOD_NAME] = options.method
    addDefined(this.start, semconv.GEN_AI_TOOL_NAME, options.tool)
    addDefined(this.start, semconv.GEN_AI_PROMPT_NAME, options.prompt)
    // A server's span hangs under its client's; what was current on the server is linked.
    const parent = options.side === "server" && fiber.cache.span?._tag === "ExternalSpan" ? fiber.cache.span : undefined
    const ambient = parent === undefined
      ? undefined
      : propagatedSpan(Context.getOrUndefined(parent.annotations, AmbientSpan))
    this.links = ambient === undefined ? undefined : [{ span: ambient, attributes: {} }]
    const { run } = this.session
    if (
      options.method === "tools/call" && options.side !== "server" && run !== undefined &&
      !isInsideTool(fiber.cache.span, run)
    ) {
      run.toolCalls++
    }
  }

  protected writeStart(): void {
    if (this.options.method === "tools/call") this.setSession()
    writeMcp((key, value) => this.set(key, value), this.options)
  }

  protected override captureStart(): Effect.Effect<void> | undefined {
    return this.inOrder(
      this.captureToolArguments(this.options.arguments),
      this.captureVariables(this.options.promptVariables)
    )
  }

  protected override captureEnd(exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    return this.captureToolResult(exit, this.options.result)
  }

  override finish(span: Tracer.Span, exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    const failure = failureOf(exit)
    this.failure = failure
    // With another failure than the effect's own, which only the protocol knows how to name.
    if (failure !== undefined) this.failWith({ failure, exit, read: failureOf })
    return super.finish(span, exit)
  }

  protected override measure(seconds: number, error: string | undefined): void {
    recordDuration(this.options, seconds, { type: error, code: this.failure?.code }, this.context)
  }
}

const writeMcp = <A>(set: (key: string, value: unknown) => void, options: McpSpanOptions<A>): void => {
  set(semconv.MCP_RESOURCE_URI, options.resourceUri)
  set(semconv.JSONRPC_REQUEST_ID, options.requestId === undefined ? undefined : String(options.requestId))
  set(semconv.MCP_PROTOCOL_VERSION, options.protocolVersion)
  set(semconv.MCP_SESSION_ID, options.sessionId)
  if (options.jsonRpcVersion !== "2.0") set(semconv.JSONRPC_PROTOCOL_VERSION, options.jsonRpcVersion)
  set(semconv.NETWORK_TRANSPORT, options.network?.transport)
  set(semconv.NETWORK_PROTOCOL_NAME, options.network?.protocolName)
  set(semconv.NETWORK_PROTOCOL_VERSION, options.network?.protocolVersion)
  const server = options.side === "server"
  set(server ? semconv.CLIENT_ADDRESS : semconv.SERVER_ADDRESS, options.peer?.address)
  set(server ? semconv.CLIENT_PORT : semconv.SERVER_PORT, options.peer?.port)
  for (const [key, value] of Object.entries(options.attributes ?? {})) set(key, value)
}

/** Whether a tool of this run has been counted already, which makes the request as part of what it does. */
const isInsideTool = (span: Tracer.AnySpan | undefined, run: AgentRun): boolean => {
  for (let at = span; at?._tag === "Span"; at = Option.getOrUndefined(at.parent)) {
    const source = Context.getOrUndefined(at.annotations, SpanSource)
    if (source instanceof ToolSpan && source.isOf(run)) return true
  }
  return false
}

/** The span of the tool that this request calls, if there is one around it. */
const toolSpanOf = <A>(
  fiber: Fiber.Fiber<unknown, unknown>,
  options: McpSpanOptions<A>
): ToolSpan<unknown, unknown> | undefined => {
  const { span } = fiber.cache
  if (options.method !== "tools/call" || options.side === "server" || span?._tag !== "Span") return undefined
  const source = Context.getOrUndefined(span.annotations, SpanSource)
  return source instanceof ToolSpan && source.start[semconv.GEN_AI_TOOL_NAME] === options.tool ? source : undefined
}

/** Adds what the protocol says to the span of the tool. The request is measured beside it. */
const withinToolSpan = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  options: McpSpanOptions<A>,
  tool: ToolSpan<unknown, unknown>,
  { context }: Fiber.Fiber<unknown, unknown>
): Effect.Effect<A, E, R> => {
  const clock = Context.get(context, Clock.Clock)
  const startTime = clock.currentTimeNanosUnsafe()
  // What an earlier attempt has met is not what the tool ends with.
  tool.failWith(undefined)
  tool.annotate((set) => {
    set(semconv.MCP_METHOD_NAME, options.method)
    writeMcp(set, options)
  })
  return Effect.onExitPrimitive(self, (exit) => {
    const failure = failureOf(exit)
    if (failure !== undefined) tool.failWith({ failure, exit, read: failureOf })
    if (Context.get(context, GenAiMetrics)) {
      const type = failure?._tag ?? (exit._tag === "Failure" ? errorType(exit.cause) : undefined)
      const seconds = secondsBetween(startTime, clock.currentTimeNanosUnsafe())
      recordDuration(options, seconds, { type, code: failure?.code }, context)
    }
    return undefined
  })
}

/**
 * Runs an effect inside a span for a request or notification of the Model
 * Context Protocol.
 *
 * **Details**
 *
 * Follows the GenAI convention for MCP: `{method} {tool or prompt}`, kind
 * `CLIENT` or `SERVER`. Directly inside `withToolSpan` for the same tool, a
 * client makes no second span but adds its attributes to the tool's; content is
 * then what the tool's span is given.
 *
 * An error with a JSON-RPC `code` gives that as `error.type`; a result with
 * `isError: true` gives `tool_error`, although the effect has succeeded. A
 * JSON-RPC response counts as what it holds.
 *
 * The context of a trace travels in `params._meta`: a client puts it there with
 * `injectHeaders(params, mcpCarrier)`, inside this combinator; a server reads it
 * with `extractHeaders(params, mcpCarrier)` and continues it by
 * `withRemoteContext` around this combinator.
 *
 * **Example** (Calling a tool)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withMcpSpan } from "loom-tracing"
 *
 * const weather = Effect.succeed({ content: [{ type: "text", text: "sunny" }] }).pipe(
 *   withMcpSpan({ method: "tools/call", tool: "weather", requestId: 7, network: { transport: "pipe" } })
 * )
 *
 * Effect.runSync(weather).content.length // => 1
 * ```
 *
 * @see `loom-tracing/McpEffectAi` for the client and the server of `effect/ai`
 *
 * @category combinators
 * @since 0.1.0
 */
export const withMcpSpan: {
  (options: McpSpanOptions<never> & { readonly result?: undefined }): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A>(options: McpSpanOptions<NoInfer<A>>): <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <B>(options: McpSpanOptions<B>): <A extends B, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: McpSpanOptions<NoInfer<A>>): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: McpSpanOptions<A>): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => {
      if (isTracingOff(fiber)) return self
      let tool: ToolSpan<unknown, unknown> | undefined
      try {
        tool = toolSpanOf(fiber, options)
      } catch (error) {
        return withoutSpan(self, toolSpanOf, error)
      }
      return tool === undefined
        ? withGenAiSpan(self, (fiber) => new McpSpan<A, E>(fiber, options))
        : withinToolSpan(self, options, tool, fiber)
    })
)
