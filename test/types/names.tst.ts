/**
 * Names that have well-known values: an editor completes those, and any other string will do.
 */
import { expectTypeOf } from "@effect/vitest"
import type {
  GenAiProvider,
  LlmCallOptions,
  LlmOperation,
  LlmRequest,
  McpMethod,
  ToolSpanOptions,
  withLlmSpan
} from "loom-tracing"

/** The literals of a union that has room for any string: what an editor completes. */
type Completed<T> = T extends string ? string extends T ? never : T : never

expectTypeOf<Completed<GenAiProvider>>().toEqualTypeOf<
  | "openai"
  | "anthropic"
  | "gcp.gen_ai"
  | "gcp.vertex_ai"
  | "gcp.gemini"
  | "cohere"
  | "azure.ai.inference"
  | "azure.ai.openai"
  | "ibm.watsonx.ai"
  | "aws.bedrock"
  | "perplexity"
  | "x_ai"
  | "deepseek"
  | "groq"
  | "mistral_ai"
  | "moonshot_ai"
>()
expectTypeOf<Completed<LlmOperation>>().toEqualTypeOf<"chat" | "text_completion" | "generate_content">()
expectTypeOf<Completed<McpMethod>>().extract<"tools/call">().toEqualTypeOf<"tools/call">()
expectTypeOf<Completed<LlmRequest["outputType"]>>().toEqualTypeOf<"text" | "json" | "image" | "speech">()
expectTypeOf<Completed<ToolSpanOptions<unknown>["type"]>>().toEqualTypeOf<"function" | "extension" | "datastore">()

// The options take them as they are, and not as mere strings.
expectTypeOf<LlmCallOptions["provider"]>().toEqualTypeOf<GenAiProvider>()
expectTypeOf<LlmCallOptions["operation"]>().toEqualTypeOf<LlmOperation | undefined>()
expectTypeOf<Parameters<typeof withLlmSpan>[1]["provider"]>().toEqualTypeOf<GenAiProvider>()

expectTypeOf<string>().toExtend<GenAiProvider>()
expectTypeOf<string>().toExtend<LlmOperation>()
expectTypeOf<string>().toExtend<McpMethod>()
