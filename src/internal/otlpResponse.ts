import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer"
import type { PartialSuccess } from "./spanQueue.ts"

/** The request has succeeded: an answer that makes no sense is worth a warning at most. @internal */
export const readPartialSuccess = (response: Uint8Array): PartialSuccess | undefined => {
  try {
    return ProtobufTraceSerializer.deserializeResponse(response).partialSuccess
  } catch {
    return { errorMessage: "its answer is not a valid ExportTraceServiceResponse" }
  }
}
