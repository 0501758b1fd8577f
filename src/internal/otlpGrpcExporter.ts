/**
 * OTLP over gRPC for the span queue, on a client of our own, because the stock
 * exporter hides two things: how many spans the collector rejected from a
 * request that it accepted, and the channel, which after an outage of a minute
 * would wait another before it connects again. And it looks at `process.env`
 * behind the back of `Config`.
 *
 * @internal
 */
import * as Grpc from "@grpc/grpc-js"
import { ExportResultCode } from "@opentelemetry/core"
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace-base"
import { identity } from "effect/Function"
import { serializeSpans } from "./otlpRequest.ts"
import { readPartialSuccess } from "./otlpResponse.ts"
import type { SpanExportResult } from "./spanQueue.ts"
import { PACKAGE_NAME, PACKAGE_VERSION } from "./version.ts"

const METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

/** When to retry is the queue's decision; the channel only must not be late for it. */
const MAX_RECONNECT_BACKOFF = 2000

/** A connection on which so many requests in a row went unanswered is taken to be dead, whatever TCP says. */
const MAX_DEADLINES = 3

const DEFAULT_TIMEOUT = 10_000

/** @internal */
export interface OtlpGrpcExporterConfig {
  readonly url: string
  /** Default: none, a connection without TLS. */
  readonly credentials?: Grpc.ChannelCredentials | undefined
  readonly metadata?: Grpc.Metadata | undefined
  readonly compression?: "none" | "gzip" | undefined
  readonly timeoutMillis?: number | undefined
}

/** What gRPC connects to. Without a port it is the scheme's own: gRPC would take 443 for any. */
const addressOf = (url: string): string => {
  if (url.startsWith("unix:")) return url
  const { hostname, port, protocol } = new URL(url.includes("://") ? url : `https://${url}`)
  return `${hostname}:${port === "" ? protocol === "http:" ? 80 : 443 : port}`
}

/** @internal */
export class OtlpGrpcExporter implements SpanExporter {
  private readonly config: OtlpGrpcExporterConfig
  private readonly calls = new Set<Grpc.ClientUnaryCall>()
  private client: Grpc.Client | undefined
  private deadlines = 0

  constructor(config: OtlpGrpcExporterConfig) {
    this.config = config
  }

  export(spans: Array<ReadableSpan>, callback: (result: SpanExportResult) => void): void {
    const client = this.client ??= this.connect()
    const call = client.makeUnaryRequest(
      METHOD,
      identity<Buffer>,
      readPartialSuccess,
      serializeSpans(spans),
      this.config.metadata?.clone() ?? new Grpc.Metadata(),
      { deadline: Date.now() + (this.config.timeoutMillis ?? DEFAULT_TIMEOUT) },
      (error, partialSuccess) => {
        this.calls.delete(call)
        if (error?.code !== Grpc.status.DEADLINE_EXCEEDED) this.deadlines = 0
        else if (++this.deadlines >= MAX_DEADLINES && this.client === client) this.disconnect()
        callback(
          error === null
            ? { code: ExportResultCode.SUCCESS, partialSuccess }
            : { code: ExportResultCode.FAILED, error }
        )
      }
    )
    this.calls.add(call)
  }

  async shutdown(): Promise<void> {
    // Nobody waits for them any longer, and they would keep the process alive until their deadline.
    for (const call of this.calls) call.cancel()
    this.disconnect()
  }

  private connect(): Grpc.Client {
    const { credentials = Grpc.credentials.createInsecure(), url } = this.config
    return new Grpc.Client(addressOf(url), credentials, {
      "grpc.primary_user_agent": `${PACKAGE_NAME}/${PACKAGE_VERSION}`,
      "grpc.default_compression_algorithm": this.config.compression === "gzip"
        ? Grpc.compressionAlgorithms.gzip
        : Grpc.compressionAlgorithms.identity,
      "grpc.max_reconnect_backoff_ms": MAX_RECONNECT_BACKOFF,
      // Else a new client would be given the old connection.
      "grpc.use_local_subchannel_pool": 1
    })
  }

  private disconnect(): void {
    this.client?.close()
    this.client = undefined
    this.deadlines = 0
  }
}
