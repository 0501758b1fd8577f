import type { EmbeddingsSpanOptions, GenAiProvider, LlmCallOptions, LlmRequest } from "../../GenAi.ts"
import { defined, readCount, readString, readStrings } from "./read.ts"

/** A call for embeddings, with what only such a request has. The texts are nobody's business. */
export const embeddingsCall = (provider: GenAiProvider, params: unknown): LlmCallOptions => {
  const request: LlmRequest & EmbeddingsSpanOptions<never>["request"] = defined({
    model: readString(params, "model") ?? "unknown",
    encodingFormats: readStrings(params, "encoding_format"),
    dimensions: readCount(params, "dimensions")
  })
  return { provider, operation: "embeddings", request }
}
