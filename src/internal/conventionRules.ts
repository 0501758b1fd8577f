/**
 * What OpenTelemetry's semantic conventions ask of a span, as data, at the
 * revisions that `semconv.ts` names.
 *
 * @internal
 */
import type { SpanKind } from "effect/Tracer"
import * as Semconv from "./semconv.ts"

// =============================================================================
// Operations
// =============================================================================

/** What is asked of the spans of an operation. */
export interface OperationRule {
  readonly kinds: ReadonlyArray<SpanKind>
  /** The name of the span, with attributes in braces: the first whose attributes are all there. */
  readonly names: ReadonlyArray<string>
  /** Names that are as good. */
  readonly otherNames?: ReadonlyArray<string>
  readonly required: ReadonlyArray<string>
  /** Required beside those when the operation is remote. */
  readonly requiredOfClient?: ReadonlyArray<string>
}

const OPERATION = `{${Semconv.GEN_AI_OPERATION_NAME}}`

/** Loom's names for a call to a model, under its own convention. */
export const LOOM_LLM_NAMES: ReadonlyArray<string> = ["llm.call", "llm.tool_continuation"]

const inference: OperationRule = {
  // Internal where the model runs in the same process.
  kinds: ["client", "internal"],
  names: [`${OPERATION} {${Semconv.GEN_AI_REQUEST_MODEL}}`, OPERATION],
  required: [Semconv.GEN_AI_PROVIDER_NAME]
}

const memory: OperationRule = {
  kinds: ["client", "internal"],
  names: [OPERATION],
  required: []
}

/** The operations of models: their spans have Loom's names under its convention. */
export const INFERENCE_OPERATIONS: ReadonlySet<string> = new Set(["chat", "text_completion", "generate_content"])

/** The well-known values of `gen_ai.operation.name`. */
export const GEN_AI_OPERATIONS: Readonly<Record<string, OperationRule>> = {
  chat: inference,
  text_completion: inference,
  generate_content: inference,
  embeddings: { ...inference, kinds: ["client"] },
  retrieval: {
    kinds: ["client"],
    names: [`${OPERATION} {${Semconv.GEN_AI_DATA_SOURCE_ID}}`, OPERATION],
    required: []
  },
  fetch_response: {
    kinds: ["client"],
    names: [OPERATION],
    required: [Semconv.GEN_AI_PROVIDER_NAME, Semconv.GEN_AI_RESPONSE_ID]
  },
  create_agent: {
    kinds: ["client"],
    names: [`${OPERATION} {${Semconv.GEN_AI_AGENT_NAME}}`, OPERATION],
    required: [Semconv.GEN_AI_PROVIDER_NAME]
  },
  invoke_agent: {
    kinds: ["client", "internal"],
    names: [`${OPERATION} {${Semconv.GEN_AI_AGENT_NAME}}`, OPERATION],
    required: [],
    requiredOfClient: [Semconv.GEN_AI_PROVIDER_NAME]
  },
  execute_tool: {
    kinds: ["internal"],
    names: [`${OPERATION} {${Semconv.GEN_AI_TOOL_NAME}}`],
    required: [Semconv.GEN_AI_TOOL_NAME]
  },
  invoke_workflow: {
    kinds: ["internal"],
    names: [`${OPERATION} {${Semconv.GEN_AI_WORKFLOW_NAME}}`, OPERATION],
    required: []
  },
  plan: {
    kinds: ["internal"],
    names: [`${OPERATION} {${Semconv.GEN_AI_AGENT_NAME}}`, OPERATION],
    required: []
  },
  create_memory_store: memory,
  delete_memory_store: memory,
  create_memory: memory,
  update_memory: memory,
  upsert_memory: memory,
  search_memory: memory,
  delete_memory: memory
}

/** What a GenAI span needs to have beside another attribute. */
export const GEN_AI_REQUIRED_BESIDE: Readonly<Record<string, string>> = {
  [Semconv.SERVER_ADDRESS]: Semconv.SERVER_PORT
}

/** An attribute that begins so makes a span one of the GenAI convention, which then needs an operation. */
export const GEN_AI_CALL_PREFIXES: ReadonlyArray<string> = [
  Semconv.GEN_AI_PROVIDER_NAME,
  Semconv.GEN_AI_SYSTEM,
  "gen_ai.request.",
  "gen_ai.response.",
  "gen_ai.usage."
]

export const MCP: OperationRule = {
  kinds: ["client", "server"],
  names: [
    `{${Semconv.MCP_METHOD_NAME}} {${Semconv.GEN_AI_TOOL_NAME}}`,
    `{${Semconv.MCP_METHOD_NAME}} {${Semconv.GEN_AI_PROMPT_NAME}}`,
    `{${Semconv.MCP_METHOD_NAME}}`
  ],
  // The URI of a resource may be part of the name, by choice.
  otherNames: [`{${Semconv.MCP_METHOD_NAME}} {${Semconv.MCP_RESOURCE_URI}}`],
  required: []
}

const messaging = (kinds: ReadonlyArray<SpanKind>): OperationRule => ({
  kinds,
  names: [
    `{${Semconv.MESSAGING_OPERATION_NAME}} {${Semconv.MESSAGING_DESTINATION_TEMPLATE}}`,
    `{${Semconv.MESSAGING_OPERATION_NAME}} {${Semconv.MESSAGING_DESTINATION_NAME}}`,
    `{${Semconv.MESSAGING_OPERATION_NAME}} {${Semconv.SERVER_ADDRESS}}:{${Semconv.SERVER_PORT}}`,
    `{${Semconv.MESSAGING_OPERATION_NAME}}`
  ],
  // The name of a destination is left out where it has many values.
  otherNames: [`{${Semconv.MESSAGING_OPERATION_NAME}}`],
  required: [Semconv.MESSAGING_SYSTEM_NAME, Semconv.MESSAGING_OPERATION_NAME]
})

/** How spans are named whose destination is temporary or anonymous: its name, and the server's, would tell nothing. */
export const TRANSIENT_DESTINATION_NAMES: ReadonlyArray<string> = [
  `{${Semconv.MESSAGING_OPERATION_NAME}} {${Semconv.MESSAGING_DESTINATION_TEMPLATE}}`,
  `{${Semconv.MESSAGING_OPERATION_NAME}}`
]

/** The values of `messaging.operation.type`. */
export const MESSAGING_OPERATIONS: Readonly<Record<string, OperationRule>> = {
  create: messaging(["producer"]),
  // A client where the message keeps a context that was created before.
  send: messaging(["producer", "client"]),
  receive: messaging(["client"]),
  process: messaging(["consumer"]),
  settle: messaging(["client"])
}

/** A messaging span that does not say of what type its operation is. */
export const MESSAGING: OperationRule = messaging(["producer", "consumer", "client"])

// =============================================================================
// Types
// =============================================================================

export type AttributeType = "string" | "int" | "double" | "boolean" | "string[]" | "json"

const attributesOf = (
  types: Readonly<Record<AttributeType, ReadonlyArray<string>>>
): ReadonlyMap<string, AttributeType> =>
  new Map(Object.entries(types).flatMap(([type, names]) => names.map((name) => [name, type as AttributeType])))

/** The types of attributes. `json` is a structured value, which a span in JavaScript can only hold as a string. */
export const ATTRIBUTE_TYPES: ReadonlyMap<string, AttributeType> = attributesOf({
  string: [
    Semconv.ERROR_TYPE,
    Semconv.SERVER_ADDRESS,
    Semconv.CLIENT_ADDRESS,
    Semconv.NETWORK_TRANSPORT,
    Semconv.NETWORK_PROTOCOL_NAME,
    Semconv.NETWORK_PROTOCOL_VERSION,
    Semconv.RPC_RESPONSE_STATUS_CODE,
    Semconv.GEN_AI_OPERATION_NAME,
    Semconv.GEN_AI_PROVIDER_NAME,
    Semconv.GEN_AI_CONVERSATION_ID,
    Semconv.GEN_AI_OUTPUT_TYPE,
    Semconv.GEN_AI_PROMPT_NAME,
    Semconv.GEN_AI_PROMPT_VERSION,
    Semconv.GEN_AI_REQUEST_MODEL,
    Semconv.GEN_AI_REQUEST_REASONING_LEVEL,
    Semconv.GEN_AI_REQUEST_PREVIOUS_RESPONSE_ID,
    Semconv.GEN_AI_REQUEST_STREAM_CURSOR,
    Semconv.GEN_AI_RESPONSE_ID,
    Semconv.GEN_AI_RESPONSE_MODEL,
    Semconv.GEN_AI_RESPONSE_STATUS,
    Semconv.GEN_AI_DATA_SOURCE_ID,
    Semconv.GEN_AI_RETRIEVAL_QUERY_TEXT,
    Semconv.GEN_AI_MEMORY_STORE_ID,
    Semconv.GEN_AI_MEMORY_RECORD_ID,
    Semconv.GEN_AI_MEMORY_QUERY_TEXT,
    Semconv.GEN_AI_TOOL_NAME,
    Semconv.GEN_AI_TOOL_TYPE,
    Semconv.GEN_AI_TOOL_DESCRIPTION,
    Semconv.GEN_AI_TOOL_CALL_ID,
    Semconv.GEN_AI_AGENT_ID,
    Semconv.GEN_AI_AGENT_NAME,
    Semconv.GEN_AI_AGENT_DESCRIPTION,
    Semconv.GEN_AI_AGENT_VERSION,
    Semconv.GEN_AI_WORKFLOW_NAME,
    Semconv.GEN_AI_TOKEN_TYPE,
    Semconv.GEN_AI_TOKEN_MODALITY,
    Semconv.GEN_AI_EVALUATION_NAME,
    Semconv.GEN_AI_EVALUATION_SCORE_LABEL,
    Semconv.GEN_AI_EVALUATION_EXPLANATION,
    Semconv.OPENAI_API_TYPE,
    Semconv.OPENAI_REQUEST_SERVICE_TIER,
    Semconv.OPENAI_RESPONSE_SERVICE_TIER,
    Semconv.OPENAI_RESPONSE_SYSTEM_FINGERPRINT,
    Semconv.AWS_BEDROCK_GUARDRAIL_ID,
    Semconv.AWS_BEDROCK_KNOWLEDGE_BASE_ID,
    Semconv.AZURE_RESOURCE_PROVIDER_NAMESPACE,
    Semconv.MCP_METHOD_NAME,
    Semconv.MCP_RESOURCE_URI,
    Semconv.MCP_PROTOCOL_VERSION,
    Semconv.MCP_SESSION_ID,
    Semconv.JSONRPC_REQUEST_ID,
    Semconv.JSONRPC_PROTOCOL_VERSION,
    Semconv.MESSAGING_SYSTEM_NAME,
    Semconv.MESSAGING_OPERATION_NAME,
    Semconv.MESSAGING_OPERATION_TYPE,
    Semconv.MESSAGING_DESTINATION_NAME,
    Semconv.MESSAGING_DESTINATION_TEMPLATE,
    Semconv.MESSAGING_MESSAGE_ID,
    Semconv.MESSAGING_MESSAGE_CONVERSATION_ID,
    Semconv.MESSAGING_CONSUMER_GROUP_NAME,
    Semconv.MESSAGING_CLIENT_ID,
    Semconv.MESSAGING_DESTINATION_PARTITION_ID,
    Semconv.MESSAGING_DESTINATION_SUBSCRIPTION_NAME
  ],
  int: [
    Semconv.SERVER_PORT,
    Semconv.CLIENT_PORT,
    Semconv.GEN_AI_REQUEST_MAX_TOKENS,
    Semconv.GEN_AI_REQUEST_TOP_K,
    Semconv.GEN_AI_REQUEST_SEED,
    Semconv.GEN_AI_REQUEST_CHOICE_COUNT,
    Semconv.GEN_AI_USAGE_INPUT_TOKENS,
    Semconv.GEN_AI_USAGE_OUTPUT_TOKENS,
    Semconv.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    Semconv.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS,
    Semconv.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
    Semconv.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
    Semconv.GEN_AI_USAGE_TEXT_INPUT_TOKENS,
    Semconv.GEN_AI_USAGE_TEXT_OUTPUT_TOKENS,
    Semconv.GEN_AI_USAGE_TEXT_CACHE_READ_INPUT_TOKENS,
    Semconv.GEN_AI_USAGE_IMAGE_INPUT_TOKENS,
    Semconv.GEN_AI_USAGE_IMAGE_OUTPUT_TOKENS,
    Semconv.GEN_AI_USAGE_IMAGE_CACHE_READ_INPUT_TOKENS,
    Semconv.GEN_AI_USAGE_AUDIO_INPUT_TOKENS,
    Semconv.GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS,
    Semconv.GEN_AI_USAGE_AUDIO_CACHE_READ_INPUT_TOKENS,
    Semconv.GEN_AI_EMBEDDINGS_DIMENSION_COUNT,
    Semconv.GEN_AI_RETRIEVAL_TOP_K,
    Semconv.GEN_AI_MEMORY_RECORD_COUNT,
    Semconv.MESSAGING_BATCH_MESSAGE_COUNT,
    Semconv.MESSAGING_MESSAGE_BODY_SIZE
  ],
  double: [...Semconv.DOUBLE_ATTRIBUTES],
  boolean: [
    Semconv.GEN_AI_REQUEST_STREAM,
    Semconv.GEN_AI_CONVERSATION_COMPACTED,
    Semconv.MESSAGING_DESTINATION_ANONYMOUS,
    Semconv.MESSAGING_DESTINATION_TEMPORARY
  ],
  "string[]": [
    Semconv.GEN_AI_REQUEST_STOP_SEQUENCES,
    Semconv.GEN_AI_REQUEST_ENCODING_FORMATS,
    Semconv.GEN_AI_RESPONSE_FINISH_REASONS
  ],
  json: [
    Semconv.GEN_AI_SYSTEM_INSTRUCTIONS,
    Semconv.GEN_AI_INPUT_MESSAGES,
    Semconv.GEN_AI_OUTPUT_MESSAGES,
    Semconv.GEN_AI_TOOL_DEFINITIONS,
    Semconv.GEN_AI_TOOL_CALL_ARGUMENTS,
    Semconv.GEN_AI_TOOL_CALL_RESULT,
    Semconv.GEN_AI_RETRIEVAL_DOCUMENTS,
    Semconv.GEN_AI_MEMORY_RECORDS
  ]
})

// =============================================================================
// Names of the past
// =============================================================================

/** A name or value that the conventions have given up. */
export interface Deprecated {
  /** What to write instead; `undefined` where nothing has taken its place. */
  readonly replacement: string | undefined
  /** Loom's convention still writes it. */
  readonly loom: boolean
}

const renamed = (replacement: string): Deprecated => ({ replacement, loom: false })
const removed: Deprecated = { replacement: undefined, loom: false }
const loom = (replacement?: string): Deprecated => ({ replacement, loom: true })

export const DEPRECATED_ATTRIBUTES: Readonly<Record<string, Deprecated>> = {
  [Semconv.GEN_AI_SYSTEM]: loom(Semconv.GEN_AI_PROVIDER_NAME),
  [Semconv.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS]: loom(Semconv.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS),
  [Semconv.LLM_MODEL]: loom(Semconv.GEN_AI_REQUEST_MODEL),
  [Semconv.LLM_MAX_TOKENS]: loom(Semconv.GEN_AI_REQUEST_MAX_TOKENS),
  [Semconv.LLM_PROMPT_TOKENS]: loom(Semconv.GEN_AI_USAGE_INPUT_TOKENS),
  [Semconv.LLM_COMPLETION_TOKENS]: loom(Semconv.GEN_AI_USAGE_OUTPUT_TOKENS),
  [Semconv.LLM_HAS_TOOLS]: loom(),
  [Semconv.LLM_TOOL_ROUND]: loom(),
  [Semconv.MESSAGING_SYSTEM]: loom(Semconv.MESSAGING_SYSTEM_NAME),
  "messaging.operation": renamed(Semconv.MESSAGING_OPERATION_TYPE),
  "messaging.client_id": renamed(Semconv.MESSAGING_CLIENT_ID),
  "messaging.kafka.destination.partition": renamed(Semconv.MESSAGING_DESTINATION_PARTITION_ID),
  "messaging.kafka.message.offset": renamed("kafka.offset"),
  "messaging.kafka.consumer.group": renamed(Semconv.MESSAGING_CONSUMER_GROUP_NAME),
  "messaging.eventhubs.consumer.group": renamed(Semconv.MESSAGING_CONSUMER_GROUP_NAME),
  "messaging.rocketmq.client_group": renamed(Semconv.MESSAGING_CONSUMER_GROUP_NAME),
  "messaging.servicebus.destination.subscription_name": renamed(Semconv.MESSAGING_DESTINATION_SUBSCRIPTION_NAME),
  [Semconv.LOOM_PROMPT]: removed,
  [Semconv.LOOM_COMPLETION]: removed,
  "gen_ai.usage.prompt_tokens": renamed(Semconv.GEN_AI_USAGE_INPUT_TOKENS),
  "gen_ai.usage.completion_tokens": renamed(Semconv.GEN_AI_USAGE_OUTPUT_TOKENS),
  "gen_ai.openai.request.seed": renamed(Semconv.GEN_AI_REQUEST_SEED),
  "gen_ai.openai.request.response_format": renamed(Semconv.GEN_AI_OUTPUT_TYPE),
  "gen_ai.openai.request.service_tier": renamed(Semconv.OPENAI_REQUEST_SERVICE_TIER),
  "gen_ai.openai.response.service_tier": renamed(Semconv.OPENAI_RESPONSE_SERVICE_TIER),
  "gen_ai.openai.response.system_fingerprint": renamed(Semconv.OPENAI_RESPONSE_SYSTEM_FINGERPRINT)
}

/** Attributes of single messaging systems, but for those above: by what they begin with, and what that has become. */
export const DEPRECATED_PREFIXES: Readonly<Record<string, string>> = {
  "messaging.kafka.": "kafka.",
  "messaging.rabbitmq.": "rabbitmq.",
  "messaging.rocketmq.": "rocketmq.",
  "messaging.servicebus.": "azure.servicebus.",
  "messaging.eventhubs.": "azure.eventhubs.",
  "messaging.gcp_pubsub.": "gcp.pubsub."
}

export const DEPRECATED_EVENTS: Readonly<Record<string, Deprecated>> = {
  [Semconv.LOOM_PROMPT_EVENT]: loom(Semconv.GEN_AI_INPUT_MESSAGES),
  [Semconv.LOOM_COMPLETION_EVENT]: loom(Semconv.GEN_AI_OUTPUT_MESSAGES),
  "gen_ai.system.message": renamed(Semconv.GEN_AI_SYSTEM_INSTRUCTIONS),
  "gen_ai.user.message": renamed(Semconv.GEN_AI_INPUT_MESSAGES),
  "gen_ai.assistant.message": renamed(Semconv.GEN_AI_INPUT_MESSAGES),
  "gen_ai.tool.message": renamed(Semconv.GEN_AI_INPUT_MESSAGES),
  "gen_ai.choice": renamed(Semconv.GEN_AI_OUTPUT_MESSAGES)
}

/** Values of attributes that have other names by now. */
export const DEPRECATED_VALUES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  [Semconv.GEN_AI_PROVIDER_NAME]: {
    vertex_ai: "gcp.vertex_ai",
    gemini: "gcp.gemini",
    "az.ai.inference": "azure.ai.inference",
    "az.ai.openai": "azure.ai.openai",
    xai: "x_ai"
  },
  [Semconv.MESSAGING_SYSTEM_NAME]: {
    aws_sqs: "aws.sqs",
    eventgrid: "azure.eventgrid",
    eventhubs: "azure.eventhubs",
    servicebus: "azure.servicebus",
    gcp_pubsub: "gcp.pubsub"
  },
  [Semconv.MESSAGING_OPERATION_TYPE]: {
    publish: "send",
    deliver: "process"
  }
}

// =============================================================================
// Content
// =============================================================================

/** Attributes that hold what was said, or parts of it. */
export const CONTENT_ATTRIBUTES: ReadonlySet<string> = new Set([
  Semconv.GEN_AI_SYSTEM_INSTRUCTIONS,
  Semconv.GEN_AI_INPUT_MESSAGES,
  Semconv.GEN_AI_OUTPUT_MESSAGES,
  Semconv.GEN_AI_TOOL_DEFINITIONS,
  Semconv.GEN_AI_TOOL_CALL_ARGUMENTS,
  Semconv.GEN_AI_TOOL_CALL_RESULT,
  Semconv.GEN_AI_RETRIEVAL_QUERY_TEXT,
  Semconv.GEN_AI_RETRIEVAL_DOCUMENTS,
  Semconv.GEN_AI_MEMORY_QUERY_TEXT,
  Semconv.GEN_AI_MEMORY_RECORDS,
  Semconv.GEN_AI_EVALUATION_EXPLANATION,
  Semconv.LOOM_PROMPT,
  Semconv.LOOM_COMPLETION
])

/** The same by pattern: numbered messages, as they were once flattened, and the variables of a prompt. */
export const CONTENT_PATTERNS: ReadonlyArray<RegExp> = [
  /^gen_ai\.(?:prompt|completion)\.\d/,
  /^gen_ai\.prompt\.variable\./
]
