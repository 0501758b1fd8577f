/**
 * Spans for Effect's own client and server of the Model Context Protocol.
 *
 * The package's root does not export this module, since its types are those of
 * `effect/ai`; import `loom-tracing/McpEffectAi`.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai (mcp.md)
 *
 * @since 0.1.0
 */
import type * as McpClient from "effect/ai/McpClient"
import type * as McpServer from "effect/ai/McpServer"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Predicate from "effect/Predicate"
import { extractHeaders, injectHeaders, mcpCarrier, withRemoteContext } from "./Carrier.ts"
import { readString } from "./internal/providers/read.ts"
import { type McpSpanOptions, withMcpSpan } from "./Mcp.ts"

/** What a request is about. Its arguments are left out: which parts of them are sensitive is not known here. */
const aboutTarget = (
  method: string,
  target: string | undefined
): Pick<McpSpanOptions<never>, "tool" | "prompt" | "resourceUri"> => {
  switch (method) {
    case "tools/call":
      return { tool: target }
    case "prompts/get":
      return { prompt: target }
    case "resources/read":
      return { resourceUri: target }
    default:
      return {}
  }
}

// =============================================================================
// Client
// =============================================================================

/**
 * The options of {@link withMcpClientSpans}: what a transport does not say of
 * itself.
 *
 * @category options
 * @since 0.1.0
 */
export type McpClientOptions = Pick<McpSpanOptions<never>, "network" | "peer" | "sessionId" | "attributes">

/** Where there are no parameters to put a context into. */
const NO_PARAMS: Readonly<Record<string, unknown>> = {}

/** A request, or a notification, which has no id. */
interface Message {
  readonly id?: string | number
  readonly method: string
  readonly params?: Readonly<Record<string, unknown>> | undefined
}

const trace = <M extends Message, A, E, R>(
  message: M,
  { protocol }: McpClient.Transport,
  options: McpClientOptions,
  send: (message: M) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const given = message.params ?? NO_PARAMS
  return injectHeaders(given, mcpCarrier).pipe(
    Effect.flatMap((params) => send(params === given ? message : { ...message, params })),
    withMcpSpan({
      ...options,
      ...aboutTarget(message.method, readString(message.params, message.method === "resources/read" ? "uri" : "name")),
      method: message.method,
      requestId: message.id,
      protocolVersion: protocol.protocolVersion
    })
  )
}

/**
 * Traces what an MCP client of `effect/ai` sends: every request and every
 * notification of its transport gets its span, whose context travels in
 * `params._meta`.
 *
 * **When to use**
 *
 * Use where the transport is made. The client, and the toolkit that
 * `McpClient.toolkit` makes of it, stay as they are.
 *
 * **Details**
 *
 * The spans are those of `withMcpSpan`. Directly inside the span of a tool of
 * the same name, as `withEffectAiSpans` makes for the tools of
 * `McpClient.toolkit`, there is that one alone; with a prefix, the request's is
 * below it.
 *
 * Content is not recorded, since a transport does not know what of it a schema
 * marks as sensitive. The spans of tools do.
 *
 * **Gotchas**
 *
 * The client gives up a request that takes too long, or that it is closed
 * around, by interrupting it. The request's span is interrupted then; the
 * failure is on the spans around it.
 *
 * **Example** (Connecting to a server)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { McpClient, McpProtocol } from "effect/ai"
 * import { withMcpClientSpans } from "loom-tracing/McpEffectAi"
 *
 * const TransportLive = Layer.effect(
 *   McpClient.Transport,
 *   McpClient.http({ url: "http://127.0.0.1:3000/mcp", protocol: McpProtocol.v2025_11_25 }).pipe(
 *     Effect.map(withMcpClientSpans({ network: { transport: "tcp", protocolName: "http" } }))
 *   )
 * )
 * const McpLive = Layer.effect(McpClient.McpClient, McpClient.make({ name: "planner", version: "1.0.0" })).pipe(
 *   Layer.provide(TransportLive)
 * )
 * ```
 *
 * @see {@link withMcpServerSpan} for the other side
 *
 * @category combinators
 * @since 0.1.0
 */
export const withMcpClientSpans: {
  (options?: McpClientOptions): (self: McpClient.Transport) => McpClient.Transport
  (self: McpClient.Transport, options?: McpClientOptions): McpClient.Transport
} = dual(
  (args) => Predicate.hasProperty(args[0], "request"),
  (self: McpClient.Transport, options: McpClientOptions = {}): McpClient.Transport => ({
    ...self,
    request: (message, tool) => trace(message, self, options, (message) => self.request(message, tool)),
    notify: (message) => trace(message, self, options, (message) => self.notify(message)),
    isCallable: (tool) => self.isCallable(tool)
  })
)

// =============================================================================
// Server
// =============================================================================

const isCompletionOfPrompt = (method: string, payload: unknown): boolean =>
  method === "completion/complete" && readString(payload, "reference", "type") === "prompt"

/**
 * Runs what an MCP server of `effect/ai` does for a request inside a span, in
 * the trace of the client that has sent it.
 *
 * **When to use**
 *
 * Use as the server's middleware, `McpServer.middleware(withMcpServerSpan, {
 * global: true })`, among its registrations.
 *
 * **Details**
 *
 * The span is that of `withMcpSpan` with the side `server`, for `tools/call`,
 * `resources/read`, `prompts/get` and `completion/complete`, of which Effect
 * tells a middleware. The context is that of `params._meta`; what was current,
 * such as the span of an HTTP request, is the parent without one, and linked
 * otherwise. Failures, and results with `isError`, are the span's errors. The
 * request's id is not among what Effect tells.
 *
 * The arguments of a tool, which Effect writes on the span that is current, are
 * not on this one. No content is recorded; for that, use `withToolSpan` in a
 * tool's handler.
 *
 * **Example** (Serving a tool)
 *
 * ```ts
 * import { Effect, Layer, Schema } from "effect"
 * import { McpProtocol, McpServer, McpTest, Tool, Toolkit } from "effect/ai"
 * import { withMcpServerSpan } from "loom-tracing/McpEffectAi"
 *
 * const Tools = Toolkit.make(Tool.make("ping", { success: Schema.String }))
 * const TracedRequests = McpServer.middleware(withMcpServerSpan, { global: true })
 * const registrations = Layer.merge(McpServer.toolkit(Tools), TracedRequests).pipe(
 *   Layer.provide(Tools.toLayer({ ping: () => Effect.succeed("pong") }))
 * )
 *
 * const program = Effect.gen(function*() {
 *   const client = yield* McpTest.makeClient(registrations, { protocols: [McpProtocol.v2025_11_25] })
 *   return (yield* client.callTool({ name: "ping" })).isError
 * }).pipe(Effect.scoped)
 *
 * await Effect.runPromise(program) // => false
 * ```
 *
 * @see {@link withMcpClientSpans} for the other side
 *
 * @category combinators
 * @since 0.1.0
 */
export const withMcpServerSpan = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  { headers, method, payload, requestContext, sessionId, target }: McpServer.MiddlewareOptions
): Effect.Effect<A, E, R> =>
  // Of a list, a middleware is told once for each item, if at all.
  method.endsWith("/list")
    ? self
    : Effect.flatMap(extractHeaders({ _meta: requestContext.requestMetadata }, mcpCarrier), (context) =>
      self.pipe(
        withMcpSpan({
          ...aboutTarget(isCompletionOfPrompt(method, payload) ? "prompts/get" : method, target),
          method,
          side: "server",
          sessionId,
          protocolVersion: requestContext.protocolVersion,
          // What comes any other way has no headers.
          network: Object.keys(headers).length > 0 ? { transport: "tcp", protocolName: "http" } : undefined
        }),
        (self) => withRemoteContext(self, context)
      ))
