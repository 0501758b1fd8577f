/**
 * A real OTLP/gRPC receiver for traces and metrics on 127.0.0.1. It records
 * everything that reaches it and answers as the test tells it to.
 */
import * as grpc from "@grpc/grpc-js"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as OtlpDecoder from "./OtlpDecoder.ts"

export type { ReceivedMetric, ReceivedSpan } from "./OtlpDecoder.ts"

/** How the receiver answers one request. */
export type Reply = Data.TaggedEnum<{
  Success: {}
  PartialSuccess: { readonly rejected: number; readonly message: string }
  Failure: { readonly code: keyof typeof grpc.status; readonly message: string; readonly retryAfter?: Duration.Input }
  Delayed: { readonly delay: Duration.Input; readonly reply: Reply }
  Garbage: { readonly bytes: Uint8Array }
  Reset: {}
}>
const Reply = Data.taggedEnum<Reply>()

/** The request is accepted whole: what every request gets until a test says otherwise. */
export const success: Reply = Reply.Success()

/** The request is accepted but for its last `rejected` spans or metrics; `rejected: 0` is a mere warning. */
export const partialSuccess = (rejected: number, message: string): Reply => Reply.PartialSuccess({ rejected, message })

/** The request is refused with a gRPC status; `retryAfter` adds a `RetryInfo`. */
export const failure = (
  code: keyof typeof grpc.status,
  options?: { readonly message?: string; readonly retryAfter?: Duration.Input }
): Reply => Reply.Failure({ message: `the test says ${code}`, ...options, code })

/** `reply`, but later, by the real clock. A client that has hung up by then gets nothing and its request is refused. */
export const delayed = (delay: Duration.Input, reply: Reply = success): Reply => Reply.Delayed({ delay, reply })

/** The request is accepted, and answered with bytes that are no protobuf. */
export const garbage: Reply = Reply.Garbage({ bytes: Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff) })

/** The request is refused by a TCP reset of its connection. */
export const reset: Reply = Reply.Reset()

/** One request as it arrived, whatever became of it. */
export interface ReceivedRequest {
  readonly signal: "traces" | "metrics"
  /** 0 for the first request that this receiver got, and so on. */
  readonly index: number
  readonly spans: ReadonlyArray<OtlpDecoder.ReceivedSpan>
  readonly metrics: ReadonlyArray<OtlpDecoder.ReceivedMetric>
  /** The message before any compression. */
  readonly bytes: Buffer
  /** The request's headers by lower-case name; a repeated one is joined with commas. */
  readonly metadata: Readonly<Record<string, string>>
}

/** What did not arrive in time, and what did. */
export class NotReceived extends Schema.TaggedError<NotReceived>()("NotReceived", {
  wanted: Schema.String,
  spans: Schema.Array(Schema.String),
  requests: Schema.Int
}) {
  override get message() {
    const shown = this.spans.slice(0, 50).join(", ")
    const more = this.spans.length > 50 ? ` and ${this.spans.length - 50} more` : ""
    const came = `${this.requests} requests and ${this.spans.length} spans came`
    return `waited for ${this.wanted}, but ${came}: ${shown}${more}`
  }
}

/**
 * The arrays are live: they are read when a test looks at them.
 *
 * A span or metric counts as received when its request was answered with
 * success, so that a client's "exported" can be compared with it; `requests`,
 * `rawBytes` and `metadata` hold the refused requests too.
 */
export interface OtlpReceiver {
  readonly port: number
  readonly url: string
  readonly spans: ReadonlyArray<OtlpDecoder.ReceivedSpan>
  readonly metrics: ReadonlyArray<OtlpDecoder.ReceivedMetric>
  readonly requests: ReadonlyArray<ReceivedRequest>
  readonly rawBytes: ReadonlyArray<Buffer>
  readonly metadata: ReadonlyArray<Readonly<Record<string, string>>>
  /** All bytes that came in by the wire, compressed or not, HTTP/2 framing included. */
  readonly wireBytes: number
  /** Connections that are open at present. */
  readonly connections: number
  /** From now on every request is answered as the handler says. */
  readonly respondWith: (handler: (request: ReceivedRequest) => Reply) => Effect.Effect<void>
  /** Waits until so many spans have been received, 10 seconds at most, by the real clock. */
  readonly awaitSpans: (
    count: number,
    timeout?: Duration.Input
  ) => Effect.Effect<ReadonlyArray<OtlpDecoder.ReceivedSpan>, NotReceived>
  /** Waits until so many requests have been answered, accepted or not. */
  readonly awaitRequests: (
    count: number,
    timeout?: Duration.Input
  ) => Effect.Effect<ReadonlyArray<ReceivedRequest>, NotReceived>
  /** Waits until the predicate holds; it is asked again after each answer. `wanted` is for the error's message. */
  readonly awaitUntil: (
    wanted: string,
    predicate: () => boolean,
    timeout?: Duration.Input
  ) => Effect.Effect<void, NotReceived>
}

export interface OtlpReceiverOptions {
  /** Default: a free port. */
  readonly port?: number
  /** PEM texts. With `clientCa` only clients that show a certificate of that authority are served. */
  readonly tls?: { readonly key: string; readonly cert: string; readonly clientCa?: string }
  /** Larger messages are refused with RESOURCE_EXHAUSTED. Default: 4 MiB, as the Collector has it. */
  readonly maxReceiveBytes?: number
  /** `false` keeps nothing, for load that would not fit in memory: see `onAccepted`. */
  readonly retain?: boolean
  /** Called with each accepted request before it is answered. */
  readonly onAccepted?: (request: ReceivedRequest) => void
}

/** A receiver that is gone, with its connections, when the scope closes. */
export const make = (options: OtlpReceiverOptions = {}): Effect.Effect<OtlpReceiver, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(Effect.promise(() => listen(options)), ({ close }) => Effect.promise(close)),
    ({ receiver }) => receiver
  )

type Decoded = Pick<ReceivedRequest, "signal" | "spans" | "metrics" | "bytes">
type Call = grpc.ServerUnaryCall<Decoded, Uint8Array>
type Callback = grpc.sendUnaryData<Uint8Array>

const decodeTraces = (bytes: Buffer): Decoded => ({
  signal: "traces",
  spans: OtlpDecoder.decodeSpans(bytes),
  metrics: [],
  bytes
})

const decodeMetrics = (bytes: Buffer): Decoded => ({
  signal: "metrics",
  spans: [],
  metrics: OtlpDecoder.decodeMetrics(bytes),
  bytes
})

// gRPC answers INTERNAL to bytes that `decode` throws at.
const exportMethod = (service: string, decode: (bytes: Buffer) => Decoded): grpc.ServiceDefinition => ({
  Export: {
    path: `/opentelemetry.proto.collector.${service}/Export`,
    requestStream: false,
    responseStream: false,
    requestSerialize: ({ bytes }: Decoded) => bytes,
    requestDeserialize: decode,
    responseSerialize: (bytes: Uint8Array) => Buffer.from(bytes),
    responseDeserialize: (bytes: Buffer) => bytes
  }
})

const credentials = (tls: OtlpReceiverOptions["tls"]): grpc.ServerCredentials =>
  tls === undefined
    ? grpc.ServerCredentials.createInsecure()
    : grpc.ServerCredentials.createSsl(
      tls.clientCa === undefined ? null : Buffer.from(tls.clientCa),
      [{ private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) }],
      tls.clientCa !== undefined
    )

// setTimeout takes no more.
const millis = (duration: Duration.Input): number => Math.min(Duration.toMillis(duration), 2 ** 31 - 1)

const listen = async (options: OtlpReceiverOptions) => {
  const spans: Array<OtlpDecoder.ReceivedSpan> = []
  const metrics: Array<OtlpDecoder.ReceivedMetric> = []
  const requests: Array<ReceivedRequest> = []
  const sockets = new Map<string, Net.Socket>()
  const waiters = new Set<() => void>()
  const delays = new Set<NodeJS.Timeout>()
  let arrived = 0
  let answered = 0
  let closedBytes = 0
  let handler: (request: ReceivedRequest) => Reply = () => success

  const accept = (request: ReceivedRequest, rejected: number) => {
    if (options.retain !== false) {
      spans.push(...request.spans.slice(0, Math.max(0, request.spans.length - rejected)))
      metrics.push(...request.metrics.slice(0, Math.max(0, request.metrics.length - rejected)))
    }
    options.onAccepted?.(request)
  }

  const answer = (call: Call, request: ReceivedRequest, reply: Reply, callback: Callback): void => {
    if (reply._tag === "Delayed") {
      const timer = setTimeout(() => {
        delays.delete(timer)
        answer(call, request, reply.reply, callback)
      }, millis(reply.delay))
      delays.add(timer)
      return
    }
    const encode = request.signal === "traces" ? OtlpDecoder.encodeTraceResponse : OtlpDecoder.encodeMetricsResponse
    if (!call.cancelled) {
      switch (reply._tag) {
        case "Success":
          accept(request, 0)
          callback(null, encode())
          break
        case "PartialSuccess":
          accept(request, reply.rejected)
          callback(null, encode({ count: reply.rejected, message: reply.message }))
          break
        case "Garbage":
          accept(request, 0)
          callback(null, reply.bytes)
          break
        case "Failure":
          callback({
            code: grpc.status[reply.code],
            details: reply.message,
            metadata: reply.retryAfter === undefined
              ? new grpc.Metadata()
              : statusDetails(grpc.status[reply.code], reply.message, reply.retryAfter)
          })
          break
        case "Reset":
          sockets.get(call.getPeer())?.resetAndDestroy()
          break
      }
    }
    answered++
    for (const check of waiters) {
      check()
    }
  }

  const receive: grpc.handleUnaryCall<Decoded, Uint8Array> = (call, callback) => {
    const request: ReceivedRequest = {
      ...call.request,
      index: arrived++,
      metadata: Object.fromEntries(
        Object.keys(call.metadata.getMap()).map((key) => [key, call.metadata.get(key).map(String).join(",")])
      )
    }
    if (options.retain !== false) {
      requests.push(request)
    }
    answer(call, request, handler(request), callback)
  }

  const server = new grpc.Server({ "grpc.max_receive_message_length": options.maxReceiveBytes ?? 4 * 1024 * 1024 })
  server.addService(exportMethod("trace.v1.TraceService", decodeTraces), { Export: receive })
  server.addService(exportMethod("metrics.v1.MetricsService", decodeMetrics), { Export: receive })

  // The sockets are our own, so that they can be counted and reset: gRPC's server shows none of its own.
  const injector = server.createConnectionInjector(credentials(options.tls))
  const listener = Net.createServer((socket) => {
    const peer = `${socket.remoteAddress}:${socket.remotePort}`
    sockets.set(peer, socket)
    socket.on("error", () => {})
    socket.on("close", () => {
      sockets.delete(peer)
      closedBytes += socket.bytesRead
    })
    injector.injectConnection(socket)
  })
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject)
    listener.listen(options.port ?? 0, "127.0.0.1", resolve)
  })
  const { port } = listener.address() as Net.AddressInfo

  const awaitUntil: OtlpReceiver["awaitUntil"] = (wanted, predicate, timeout = "10 seconds") =>
    Effect.callback<void, NotReceived>((resume) => {
      const settle = (result: Effect.Effect<void, NotReceived>) => {
        clearTimeout(timer)
        waiters.delete(check)
        resume(result)
      }
      const check = () => {
        if (predicate()) {
          settle(Effect.void)
        }
      }
      const timer = setTimeout(
        () => settle(Effect.fail(new NotReceived({ wanted, spans: spans.map(({ name }) => name), requests: arrived }))),
        millis(timeout)
      )
      waiters.add(check)
      check()
      return Effect.sync(() => settle(Effect.void))
    })

  const receiver: OtlpReceiver = {
    port,
    url: `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    spans,
    metrics,
    requests,
    get rawBytes() {
      return requests.map(({ bytes }) => bytes)
    },
    get metadata() {
      return requests.map(({ metadata }) => metadata)
    },
    get wireBytes() {
      return Array.from(sockets.values()).reduce((sum, socket) => sum + socket.bytesRead, closedBytes)
    },
    get connections() {
      return sockets.size
    },
    respondWith: (next) =>
      Effect.sync(() => {
        handler = next
      }),
    awaitSpans: (count, timeout) =>
      Effect.as(awaitUntil(`${count} spans`, () => spans.length >= count, timeout), spans),
    awaitRequests: (count, timeout) =>
      Effect.as(awaitUntil(`${count} requests`, () => answered >= count, timeout), requests),
    awaitUntil
  }

  const close = () =>
    new Promise<void>((resolve) => {
      delays.forEach(clearTimeout)
      server.forceShutdown()
      listener.close(() => resolve())
      sockets.forEach((socket) => socket.destroy())
    })

  return { receiver, close }
}

// Protobuf by hand, for the one message that the OTLP definitions lack.
const varint = (value: number): Array<number> =>
  value < 0x80 ? [value] : [value % 0x80 | 0x80, ...varint(Math.floor(value / 0x80))]
const int = (field: number, value: number): Array<number> => value === 0 ? [] : [field << 3, ...varint(value)]
const bytes = (field: number, value: ArrayLike<number>): Array<number> => [
  field << 3 | 2,
  ...varint(value.length),
  ...Array.from(value)
]

/** A `google.rpc.Status` with a `google.rpc.RetryInfo`, where gRPC carries it. */
const statusDetails = (code: number, message: string, retryAfter: Duration.Input): grpc.Metadata => {
  const [seconds, nanos] = Duration.toHrTime(retryAfter)
  const retryInfo = bytes(1, [...int(1, seconds), ...int(2, nanos)])
  const any = [...bytes(1, Buffer.from("type.googleapis.com/google.rpc.RetryInfo")), ...bytes(2, retryInfo)]
  const metadata = new grpc.Metadata()
  metadata.set(
    "grpc-status-details-bin",
    Buffer.from([...int(1, code), ...bytes(2, Buffer.from(message)), ...bytes(3, any)])
  )
  return metadata
}
