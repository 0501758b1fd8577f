import * as Predicate from "effect/Predicate"
import { readFields } from "./protobufReader.ts"
import type { PartialSuccess } from "./spanQueue.ts"

const INT64_LIMIT = 2 ** 63

const textDecoder = new TextDecoder()

const readResponse = (response: Uint8Array): PartialSuccess | undefined => {
  let partialSuccess: { rejectedSpans?: number; errorMessage?: string } | undefined
  for (const [field, message] of readFields(response)) {
    if (field !== 1 || Predicate.isNumber(message)) continue
    partialSuccess ??= {}
    for (const [inner, value] of readFields(message)) {
      if (inner === 1 && Predicate.isNumber(value)) {
        // Less than nothing is nothing.
        partialSuccess.rejectedSpans = value < INT64_LIMIT ? value : 0
      } else if (inner === 2 && !Predicate.isNumber(value)) {
        partialSuccess.errorMessage = textDecoder.decode(value)
      }
    }
  }
  return partialSuccess
}

/**
 * What a collector says of a request that has succeeded, in OTLP's
 * `ExportTraceServiceResponse`. An answer that makes no sense is worth a
 * warning at most.
 *
 * @see https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/collector/trace/v1/trace_service.proto
 *
 * @internal
 */
export const readPartialSuccess = (response: Uint8Array): PartialSuccess | undefined => {
  try {
    return readResponse(response)
  } catch {
    return { errorMessage: "its answer is not a valid ExportTraceServiceResponse" }
  }
}
