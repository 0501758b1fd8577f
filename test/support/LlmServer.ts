/**
 * A real HTTP server on 127.0.0.1 that speaks the APIs of OpenAI, Anthropic and
 * Ollama (`@copilotkit/aimock`) and answers as its fixtures say.
 */
import {
  createServer,
  type Fixture,
  type FixtureFileResponse,
  type FixtureMatch,
  type FixtureOpts,
  type JournalEntry,
  type Mountable,
  normalizeResponse
} from "@copilotkit/aimock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import { text } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"

/** Token counts, under the names of OpenAI and of Anthropic. Ollama's are always 0. */
export const usage = (inputTokens: number, outputTokens: number) => ({
  prompt_tokens: inputTokens,
  completion_tokens: outputTokens,
  total_tokens: inputTokens + outputTokens,
  input_tokens: inputTokens,
  output_tokens: outputTokens
})

/** The status and error body of a refused request; a 429 says when to retry, in seconds. */
export const failure = (status: number, message: string, retryAfter = 1): FixtureFileResponse => ({
  status,
  error: { message, type: status === 429 ? "rate_limit_error" : "server_error" },
  retryAfter
})

/**
 * The connection is cut when the client has got so many events of the stream,
 * whose text comes in pieces of 4 characters; a whole response is not cut.
 */
export const disconnectAfter = (events: number): FixtureOpts => ({
  // The event that meets the limit is lost with the connection; the latency lets the others get out before.
  truncateAfterChunks: events + 1,
  latency: 5,
  chunkSize: 4
})

/** The response is not JSON, though its status and content type say so. */
export const malformedJson: FixtureOpts = { chaos: { malformedRate: 1 } }

/** The response, or a stream's first chunk, comes late by the real clock. */
export const slow = (delay: Duration.Input): FixtureOpts => ({ chaos: { latencyMs: Duration.toMillis(delay) } })

/** A response in the very bytes of the wire, for shapes that no fixture makes. */
export interface RawReply {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Pieces of the body, each of them flushed; anything but a string is sent as JSON. */
  readonly body: ReadonlyArray<unknown>
  /** Real time before each piece. */
  readonly delay?: Duration.Input
  /** The connection is cut after the last piece instead of the body being ended. */
  readonly disconnect?: boolean
}

export interface RawRequest {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
}

export interface LlmServer {
  readonly url: string
  readonly openAiBaseUrl: string
  readonly anthropicBaseUrl: string
  readonly ollamaBaseUrl: string
  /**
   * Adds a fixture; the first that matches a request answers it, over whichever
   * API it came. Nothing matches: 404. Embeddings need none: they are derived
   * from the input.
   */
  readonly on: (match: FixtureMatch, response: FixtureFileResponse, options?: FixtureOpts) => Effect.Effect<void>
  /**
   * Two fixtures: a request whose last user message contains `prompt` gets a
   * call of the tool, and with the tool's result in it the answer.
   */
  readonly onToolRound: (round: {
    readonly prompt: string
    readonly tool: string
    readonly arguments: Record<string, unknown>
    readonly answer: string
    /** Input and output tokens of the two responses. */
    readonly usage?: readonly [call: readonly [number, number], answer: readonly [number, number]]
  }) => Effect.Effect<void>
  /** A base URL of its own, below which every request gets this reply. */
  readonly serve: (reply: RawReply | ((request: RawRequest) => RawReply)) => Effect.Effect<string>
  /** What has been asked so far, and the status it got. Live. */
  readonly requests: ReadonlyArray<JournalEntry>
}

/** A server without fixtures, gone with its connections when the scope closes. */
export const make: Effect.Effect<LlmServer, never, Scope.Scope> = Effect.gen(function*() {
  const fixtures: Array<Fixture> = []
  const mounts: Array<{ path: string; handler: Mountable }> = []
  const instance = yield* Effect.acquireRelease(
    Effect.promise(() => createServer(fixtures, { host: "127.0.0.1", port: 0, journalMaxEntries: 0 }, mounts)),
    ({ server }) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const add = (match: FixtureMatch, response: FixtureFileResponse, options?: FixtureOpts) => {
    fixtures.push({ match, response: normalizeResponse(response), ...options })
  }
  const { journal, url } = instance
  return {
    url,
    openAiBaseUrl: `${url}/v1`,
    anthropicBaseUrl: url,
    ollamaBaseUrl: url,
    on: (match, response, options) => Effect.sync(() => add(match, response, options)),
    onToolRound: ({ answer, arguments: input, prompt, tool, usage: [call, last] = [[10, 5], [20, 8]] }) =>
      Effect.sync(() => {
        const round = fixtures.length
        add({ userMessage: prompt, hasToolResult: false }, {
          id: `response_${round}_call`,
          toolCalls: [{ id: `call_${round}`, name: tool, arguments: input }],
          usage: usage(...call)
        })
        add({ userMessage: prompt, hasToolResult: true }, {
          id: `response_${round}_answer`,
          content: answer,
          usage: usage(...last)
        })
      }),
    serve: (reply) =>
      Effect.sync(() => {
        const path = `/raw/${mounts.length}`
        mounts.push({
          path,
          handler: {
            handleRequest: async (request, response, subPath) => {
              const body = await text(request)
              const raw: RawRequest = {
                path: subPath,
                headers: request.headers as Record<string, string>,
                body: body === "" ? undefined : JSON.parse(body)
              }
              const answer = typeof reply === "function" ? reply(raw) : reply
              await send(response, answer)
              journal.add({
                method: request.method ?? "",
                path: path + subPath,
                headers: raw.headers,
                body: raw.body as JournalEntry["body"],
                response: { status: answer.status ?? 200, fixture: null }
              })
              return true
            }
          }
        })
        return url + path
      }),
    get requests() {
      return journal.getAll()
    }
  }
})

const send = async (response: Http.ServerResponse, reply: RawReply): Promise<void> => {
  const delay = Duration.toMillis(reply.delay ?? 0)
  await sleep(delay)
  response.writeHead(reply.status ?? 200, { "content-type": "application/json", ...reply.headers })
  for (const [index, piece] of reply.body.entries()) {
    await sleep(index === 0 ? 0 : delay)
    await new Promise((resolve) => response.write(typeof piece === "string" ? piece : JSON.stringify(piece), resolve))
  }
  if (reply.disconnect) {
    response.destroy()
  } else {
    response.end()
  }
}
