/** A real OTLP/HTTP receiver of traces, in protobuf, on 127.0.0.1. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Https from "node:https"
import type { AddressInfo } from "node:net"
import { buffer } from "node:stream/consumers"
import { gunzipSync } from "node:zlib"
import * as OtlpDecoder from "./OtlpDecoder.ts"

/** How a request is answered; `rejected` spans of one that is accepted are the last ones. Default: status 200. */
export type Reply = "hang up" | "silence" | {
  readonly status?: number
  readonly headers?: Http.OutgoingHttpHeaders
  readonly body?: string
  readonly rejected?: number
}

export interface ReceivedRequest {
  readonly path: string
  readonly headers: Http.IncomingHttpHeaders
  readonly spans: ReadonlyArray<OtlpDecoder.ReceivedSpan>
}

export interface OtlpHttpReceiver {
  readonly url: string
  /** All that came, in the order of arrival. */
  readonly requests: ReadonlyArray<ReceivedRequest>
  /** The spans of the requests that were accepted. */
  readonly spans: ReadonlyArray<OtlpDecoder.ReceivedSpan>
  /** Waits until so many requests have been answered, whatever the answer; a test's own timeout ends it. */
  readonly awaitRequests: (count: number) => Effect.Effect<void>
}

export interface OtlpHttpReceiverOptions {
  /** PEM texts. With `clientCa` only clients that show a certificate of that authority are served. */
  readonly tls?: { readonly key: string; readonly cert: string; readonly clientCa?: string }
  /** Chooses the answer to each request by its number. */
  readonly reply?: (index: number) => Reply
}

/** A receiver that is gone, with its connections, when the scope closes. */
export const make = (options: OtlpHttpReceiverOptions = {}): Effect.Effect<OtlpHttpReceiver, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => listen(options)),
      ({ server }) =>
        Effect.promise(() => {
          server.closeAllConnections()
          return new Promise((resolve) => server.close(resolve))
        })
    ),
    ({ receiver }) => receiver
  )

const listen = async ({ reply = () => ({}), tls }: OtlpHttpReceiverOptions) => {
  const requests: Array<ReceivedRequest> = []
  const spans: Array<OtlpDecoder.ReceivedSpan> = []
  const waiters = new Set<() => void>()
  let answered = 0

  const receive = async (request: Http.IncomingMessage, response: Http.ServerResponse) => {
    const body = await buffer(request)
    const bytes = request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body
    const received = { path: request.url!, headers: request.headers, spans: OtlpDecoder.decodeSpans(bytes) }
    const answer = reply(requests.length)
    requests.push(received)
    if (answer === "silence") return
    if (answer === "hang up") request.socket.destroy()
    else {
      const { body, headers, rejected = 0, status = 200 } = answer
      if (status === 200) spans.push(...received.spans.slice(0, received.spans.length - rejected))
      response.writeHead(status, { "content-type": "application/x-protobuf", ...headers })
      response.end(
        body ?? (status === 200
          ? OtlpDecoder.encodeTraceResponse(rejected === 0 ? undefined : { count: rejected, message: "" })
          : undefined)
      )
    }
    answered++
    waiters.forEach((check) => check())
  }
  const onRequest = (request: Http.IncomingMessage, response: Http.ServerResponse) => {
    receive(request, response).catch(() => response.destroy())
  }
  const server = tls === undefined ? Http.createServer(onRequest) : Https.createServer({
    key: tls.key,
    cert: tls.cert,
    ...(tls.clientCa === undefined ? undefined : { ca: tls.clientCa, requestCert: true })
  }, onRequest)

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  const receiver: OtlpHttpReceiver = {
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    requests,
    spans,
    awaitRequests: (count) =>
      Effect.callback((resume) => {
        const check = () => {
          if (answered < count) return
          waiters.delete(check)
          resume(Effect.void)
        }
        waiters.add(check)
        check()
      })
  }
  return { server, receiver }
}
