/**
 * OTLP over HTTP, in protobuf, for the span queue. The stock exporter retries on
 * its own, goes on with it after its shutdown, hides what the collector rejects
 * and looks at `process.env` behind the back of `Config`.
 *
 * @internal
 */
import { ExportResultCode } from "@opentelemetry/core"
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace-base"
import type * as Http from "node:http"
import type * as Https from "node:https"
import { promisify } from "node:util"
import { gzip } from "node:zlib"
import { describe } from "./exportFailure.ts"
import type { Certificates } from "./otlpCertificates.ts"
import { serializeSpans } from "./otlpRequest.ts"
import { readPartialSuccess } from "./otlpResponse.ts"
import type { SpanExportResult } from "./spanQueue.ts"
import { PACKAGE_NAME, PACKAGE_VERSION } from "./version.ts"

// An `import` would read every export, and one of them is a getter that loads all of `fetch`.
const http = process.getBuiltinModule("node:http")
const https = process.getBuiltinModule("node:https")

const DEFAULT_TIMEOUT = 10_000

/** What is read of an answer: a proxy's error page is nothing to keep. */
const MAX_ANSWER_BYTES = 65_536

/** The gRPC status of a server that was not reached. It may be, later. */
const UNAVAILABLE = 14

/** @internal */
export interface OtlpHttpExporterConfig {
  readonly url: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly compression?: "none" | "gzip" | undefined
  readonly timeoutMillis?: number | undefined
  readonly certificates?: Certificates | undefined
}

/** @internal */
export class OtlpHttpExporter implements SpanExporter {
  private readonly config: OtlpHttpExporterConfig
  private readonly transport: typeof Http | typeof Https
  private readonly agent: Http.Agent
  private closed = false

  constructor(config: OtlpHttpExporterConfig) {
    this.config = config
    const isSecure = /^https:/i.test(config.url)
    this.transport = isSecure ? https : http
    this.agent = isSecure
      ? new https.Agent({ keepAlive: true, ...config.certificates })
      : new http.Agent({ keepAlive: true })
  }

  export(spans: Array<ReadableSpan>, callback: (result: SpanExportResult) => void): void {
    this.post(serializeSpans(spans)).then(
      callback,
      (error) =>
        callback({
          code: ExportResultCode.FAILED,
          error: Object.assign(new Error(describe(error)), { code: UNAVAILABLE })
        })
    )
  }

  cancel(): void {
    // With all its connections: nobody waits any longer, and they would keep the process alive until their deadline.
    this.agent.destroy()
  }

  async shutdown(): Promise<void> {
    this.closed = true
    this.cancel()
  }

  /** Rejects when no answer has come. */
  private async post(body: Uint8Array): Promise<SpanExportResult> {
    const { compression, headers, timeoutMillis = DEFAULT_TIMEOUT, url } = this.config
    const isCompressed = compression === "gzip"
    const content = isCompressed ? await promisify(gzip)(body) : body
    if (this.closed) throw new Error("the exporter is closed")
    const request = this.transport.request(url, {
      method: "POST",
      agent: this.agent,
      headers: {
        ...headers,
        "content-type": "application/x-protobuf",
        "content-length": content.byteLength,
        "user-agent": `${PACKAGE_NAME}/${PACKAGE_VERSION}`,
        ...(isCompressed ? { "content-encoding": "gzip" } : undefined)
      }
    })
    const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMillis} ms`)), timeoutMillis)
    try {
      const response = await new Promise<Http.IncomingMessage>((resolve, reject) => {
        request.on("response", resolve).on("error", reject).end(content)
      })
      return resultOf(response, await read(response))
    } catch (error) {
      // Where headers do not go together, `end` throws and leaves the connection open.
      request.destroy()
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
}

/** An answer that breaks off is taken as far as it came: its status says already what has become of the spans. */
const read = async (response: Http.IncomingMessage): Promise<Buffer> => {
  const chunks: Array<Uint8Array> = []
  let size = 0
  try {
    for await (const chunk of response) {
      chunks.push(chunk)
      size += chunk.length
      if (size > MAX_ANSWER_BYTES) break
    }
  } catch {
    // As said.
  }
  return Buffer.concat(chunks)
}

const resultOf = (
  { headers, statusCode = 0, statusMessage }: Http.IncomingMessage,
  body: Buffer
): SpanExportResult =>
  statusCode >= 200 && statusCode < 300
    ? { code: ExportResultCode.SUCCESS, partialSuccess: readPartialSuccess(body) }
    : {
      code: ExportResultCode.FAILED,
      error: Object.assign(new Error(`HTTP status ${statusCode} ${statusMessage}`), {
        code: statusCode,
        retryAfter: parseRetryAfter(headers["retry-after"])
      })
    }

/** Milliseconds: the header holds seconds or a date. */
const parseRetryAfter = (header: string | undefined): number | undefined => {
  if (header === undefined) return undefined
  const millis = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return millis > 0 ? millis : undefined
}
