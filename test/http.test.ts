import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { SpanKind } from "@opentelemetry/api"
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base"
import { Effect, Layer } from "effect"
import {
  FetchHttpClient,
  HttpClient,
  HttpClientRequest,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "effect/http"
import {
  extractHeaders,
  formatTraceparent,
  injectHeaders,
  injectTraceContext,
  withBaggage,
  withRemoteContext
} from "loom-tracing"
import { createServer } from "node:http"
import * as Recorder from "./support/Recorder.ts"

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"
const received = {
  traceparent: `00-${traceId}-${spanId}-03`,
  tracestate: "vendor=1,other=2",
  baggage: "tenant=acme"
}

// As in the README.
const TraceOfRequests = HttpRouter.middleware(
  (app) =>
    Effect.flatMap(
      HttpServerRequest.HttpServerRequest,
      (request) => Effect.flatMap(extractHeaders(request.headers), (context) => withRemoteContext(app, context))
    ),
  { global: true }
)
const withTraceHeaders = HttpClient.mapRequestEffect((request) =>
  Effect.map(injectHeaders({}), (headers) => HttpClientRequest.setHeaders(request, headers))
)

/** What a route answers with: what it would send on, and the headers that the service behind it has seen. */
interface Answer {
  readonly message: object
  readonly next: Readonly<Record<string, string>>
}

const Routes = Layer.mergeAll(
  HttpRouter.add(
    "POST",
    "/next",
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => HttpServerResponse.json(request.headers))
  ),
  HttpRouter.add(
    "GET",
    "/relay",
    Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      const message = yield* injectTraceContext({ id: 1 }).pipe(Effect.withSpan("work"))
      const client = withTraceHeaders(yield* HttpClient.HttpClient)
      const next = yield* Effect.flatMap(
        client.post(`http://${request.headers.host}/next`),
        (response) => response.json
      )
      return yield* HttpServerResponse.json({ message, next })
    })
  )
)

const get = Effect.fnUntraced(function*(headers: Readonly<Record<string, string>>) {
  const { address } = yield* HttpServer.HttpServer
  assert(address._tag === "InetAddressV4")
  const response = yield* Effect.promise(() => fetch(`http://127.0.0.1:${address.port}/relay`, { headers }))
  return yield* Effect.promise(() => response.json() as Promise<Answer>)
})

const serve = <A, E>(recorder: ReturnType<typeof Recorder.make>, use: Effect.Effect<A, E, HttpServer.HttpServer>) =>
  use.pipe(
    Effect.provide(
      HttpRouter.serve(Layer.mergeAll(Routes, TraceOfRequests), { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provide(FetchHttpClient.layer),
        Layer.provideMerge(NodeHttpServer.layer(() => createServer(), { port: 0, host: "127.0.0.1" })),
        Layer.provideMerge(recorder.layer)
      )
    )
  )

/** The span of the request, what its handler does, its own request, and the next service's span of that. */
const spansOf = ({ spans }: ReturnType<typeof Recorder.make>) =>
  ["server GET", "internal work", "client POST", "server POST"].map((expected) => {
    const found = spans.filter((span) => `${SpanKind[span.kind].toLowerCase()} ${span.name}` === expected)
    assert.strictEqual(found.length, 1, expected)
    return found[0]
  })

const identity = (span: ReadableSpan) => formatTraceparent(span.spanContext())

describe("between Effect's HTTP server and client", () => {
  it.effect("a request's spans hang under that of the server, and its tracestate and baggage go on", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const { message, next } = yield* serve(recorder, get(received))
      const [server, work, client, nextServer] = spansOf(recorder)
      assert.deepStrictEqual(
        [server, work, client, nextServer].map((span) => span.parentSpanContext?.spanId),
        [spanId, server.spanContext().spanId, server.spanContext().spanId, client.spanContext().spanId]
      )
      assert.deepStrictEqual(
        recorder.spans.map((span) => [span.spanContext().traceState?.serialize(), span.links.length]),
        recorder.spans.map(() => [received.tracestate, 0])
      )
      assert.deepStrictEqual<object>(message, {
        id: 1,
        _trace_context: { ...received, traceparent: identity(work) }
      })
      // Effect's client writes the header of its own span, and knows one flag alone.
      const { baggage, traceparent, tracestate } = next
      assert.deepStrictEqual({ baggage, traceparent, tracestate }, {
        ...received,
        traceparent: identity(client).replace(/03$/, "01")
      })
    }))

  it.effect("a request without a context begins a trace, and has no other's baggage", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const { message, next } = yield* serve(recorder, get({}).pipe(withBaggage({ tenant: "other" })))
      const [server, work] = spansOf(recorder)
      assert.isUndefined(server.parentSpanContext)
      assert.strictEqual(work.parentSpanContext?.spanId, server.spanContext().spanId)
      assert.deepStrictEqual<object>(message, {
        id: 1,
        _trace_context: { traceparent: identity(work) }
      })
      assert.deepStrictEqual([next.tracestate, next.baggage], [undefined, undefined])
    }))

  it.effect("what is passed on with tracing off is what came", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ env: { OTEL_SDK_DISABLED: "true" } })
      const { message, next } = yield* serve(recorder, get(received))
      assert.deepStrictEqual<object>(message, { id: 1, _trace_context: received })
      assert.deepStrictEqual([next.tracestate, next.baggage], [received.tracestate, received.baggage])
    }))
})
