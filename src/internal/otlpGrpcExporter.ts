/**
 * OTLP over gRPC for the span queue. The stock exporter hides how many spans
 * the collector rejected from a request that it accepted.
 *
 * @internal
 */
import { ExportResultCode } from "@opentelemetry/core"
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace-base"
import type { GrpcConnection } from "./grpcConnection.ts"
import { serializeSpans } from "./otlpRequest.ts"
import { readPartialSuccess } from "./otlpResponse.ts"
import type { SpanExportResult } from "./spanQueue.ts"

const METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

/** @internal */
export class OtlpGrpcExporter implements SpanExporter {
  private readonly connection: GrpcConnection

  constructor(connection: GrpcConnection) {
    this.connection = connection
  }

  export(spans: Array<ReadableSpan>, callback: (result: SpanExportResult) => void): void {
    this.connection.send(METHOD, serializeSpans(spans), readPartialSuccess, (error, partialSuccess) =>
      callback(
        error === null
          ? { code: ExportResultCode.SUCCESS, partialSuccess }
          : { code: ExportResultCode.FAILED, error }
      ))
  }

  cancel(): void {
    this.connection.close()
  }

  async shutdown(): Promise<void> {
    this.connection.close()
  }
}
