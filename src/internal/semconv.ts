/**
 * The names of the semantic conventions that this package writes. OpenTelemetry's
 * own JavaScript constants for GenAI are deprecated and incomplete.
 *
 * GenAI: github.com/open-telemetry/semantic-conventions-genai
 * @ fe5608e249d64bc5961329a82f8915fe95ced51a (2026-08-03), with the renames of
 * 06ec68e722c45a7218e23ea1bc1339fe4e21ecae (2026-10-07) where a name says so.
 * Messaging: semantic-conventions 1.45.
 *
 * @internal
 */

export const ERROR_TYPE = "error.type"
export const SERVER_ADDRESS = "server.address"
export const SERVER_PORT = "server.port"
export const CLIENT_ADDRESS = "client.address"
export const CLIENT_PORT = "client.port"
export const NETWORK_TRANSPORT = "network.transport"
export const NETWORK_PROTOCOL_NAME = "network.protocol.name"
export const NETWORK_PROTOCOL_VERSION = "network.protocol.version"
export const RPC_RESPONSE_STATUS_CODE = "rpc.response.status_code"

export const GEN_AI_OPERATION_NAME = "gen_ai.operation.name"
export const GEN_AI_PROVIDER_NAME = "gen_ai.provider.name"
export const GEN_AI_CONVERSATION_ID = "gen_ai.conversation.id"
export const GEN_AI_CONVERSATION_COMPACTED = "gen_ai.conversation.compacted"
export const GEN_AI_OUTPUT_TYPE = "gen_ai.output.type"
export const GEN_AI_PROMPT_NAME = "gen_ai.prompt.name"
export const GEN_AI_PROMPT_VERSION = "gen_ai.prompt.version"
/** Followed by a dot and the name of the variable. */
export const GEN_AI_PROMPT_VARIABLE = "gen_ai.prompt.variable"

export const GEN_AI_REQUEST_MODEL = "gen_ai.request.model"
export const GEN_AI_REQUEST_TEMPERATURE = "gen_ai.request.temperature"
export const GEN_AI_REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
export const GEN_AI_REQUEST_TOP_P = "gen_ai.request.top_p"
export const GEN_AI_REQUEST_TOP_K = "gen_ai.request.top_k"
export const GEN_AI_REQUEST_STOP_SEQUENCES = "gen_ai.request.stop_sequences"
export const GEN_AI_REQUEST_SEED = "gen_ai.request.seed"
export const GEN_AI_REQUEST_FREQUENCY_PENALTY = "gen_ai.request.frequency_penalty"
export const GEN_AI_REQUEST_PRESENCE_PENALTY = "gen_ai.request.presence_penalty"
export const GEN_AI_REQUEST_CHOICE_COUNT = "gen_ai.request.choice.count"
export const GEN_AI_REQUEST_REASONING_LEVEL = "gen_ai.request.reasoning.level"
export const GEN_AI_REQUEST_PREVIOUS_RESPONSE_ID = "gen_ai.request.previous_response.id"
export const GEN_AI_REQUEST_STREAM = "gen_ai.request.stream"
export const GEN_AI_REQUEST_STREAM_CURSOR = "gen_ai.request.stream_cursor"
export const GEN_AI_REQUEST_ENCODING_FORMATS = "gen_ai.request.encoding_formats"

export const GEN_AI_RESPONSE_ID = "gen_ai.response.id"
export const GEN_AI_RESPONSE_MODEL = "gen_ai.response.model"
export const GEN_AI_RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
export const GEN_AI_RESPONSE_STATUS = "gen_ai.response.status"
export const GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"

export const GEN_AI_USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens"
export const GEN_AI_USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
export const GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.cache_read.input_tokens"
export const GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
/** The name of {@link GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS} since 2026-10-07. */
export const GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS = "gen_ai.usage.cache_write.input_tokens"
export const GEN_AI_USAGE_REASONING_OUTPUT_TOKENS = "gen_ai.usage.reasoning.output_tokens"
// Since 2026-10-07: parts of the totals above, by modality.
export const GEN_AI_USAGE_TEXT_INPUT_TOKENS = "gen_ai.usage.text.input_tokens"
export const GEN_AI_USAGE_TEXT_OUTPUT_TOKENS = "gen_ai.usage.text.output_tokens"
export const GEN_AI_USAGE_TEXT_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.text.cache_read.input_tokens"
export const GEN_AI_USAGE_IMAGE_INPUT_TOKENS = "gen_ai.usage.image.input_tokens"
export const GEN_AI_USAGE_IMAGE_OUTPUT_TOKENS = "gen_ai.usage.image.output_tokens"
export const GEN_AI_USAGE_IMAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.image.cache_read.input_tokens"
export const GEN_AI_USAGE_AUDIO_INPUT_TOKENS = "gen_ai.usage.audio.input_tokens"
export const GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS = "gen_ai.usage.audio.output_tokens"
export const GEN_AI_USAGE_AUDIO_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.audio.cache_read.input_tokens"

export const GEN_AI_SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
export const GEN_AI_INPUT_MESSAGES = "gen_ai.input.messages"
export const GEN_AI_OUTPUT_MESSAGES = "gen_ai.output.messages"
export const GEN_AI_TOOL_DEFINITIONS = "gen_ai.tool.definitions"

export const GEN_AI_EMBEDDINGS_DIMENSION_COUNT = "gen_ai.embeddings.dimension.count"

export const GEN_AI_DATA_SOURCE_ID = "gen_ai.data_source.id"
export const GEN_AI_RETRIEVAL_TOP_K = "gen_ai.retrieval.top_k"
export const GEN_AI_RETRIEVAL_QUERY_TEXT = "gen_ai.retrieval.query.text"
export const GEN_AI_RETRIEVAL_DOCUMENTS = "gen_ai.retrieval.documents"

export const GEN_AI_MEMORY_STORE_ID = "gen_ai.memory.store.id"
export const GEN_AI_MEMORY_RECORD_ID = "gen_ai.memory.record.id"
export const GEN_AI_MEMORY_RECORD_COUNT = "gen_ai.memory.record.count"
export const GEN_AI_MEMORY_QUERY_TEXT = "gen_ai.memory.query.text"
export const GEN_AI_MEMORY_RECORDS = "gen_ai.memory.records"

export const GEN_AI_TOOL_NAME = "gen_ai.tool.name"
export const GEN_AI_TOOL_TYPE = "gen_ai.tool.type"
export const GEN_AI_TOOL_DESCRIPTION = "gen_ai.tool.description"
export const GEN_AI_TOOL_CALL_ID = "gen_ai.tool.call.id"
export const GEN_AI_TOOL_CALL_ARGUMENTS = "gen_ai.tool.call.arguments"
export const GEN_AI_TOOL_CALL_RESULT = "gen_ai.tool.call.result"

export const GEN_AI_AGENT_ID = "gen_ai.agent.id"
export const GEN_AI_AGENT_NAME = "gen_ai.agent.name"
export const GEN_AI_AGENT_DESCRIPTION = "gen_ai.agent.description"
export const GEN_AI_AGENT_VERSION = "gen_ai.agent.version"
export const GEN_AI_WORKFLOW_NAME = "gen_ai.workflow.name"

export const GEN_AI_EVALUATION_NAME = "gen_ai.evaluation.name"
export const GEN_AI_EVALUATION_SCORE_VALUE = "gen_ai.evaluation.score.value"
export const GEN_AI_EVALUATION_SCORE_LABEL = "gen_ai.evaluation.score.label"
export const GEN_AI_EVALUATION_EXPLANATION = "gen_ai.evaluation.explanation"

export const GEN_AI_OPERATION_DETAILS_EVENT = "gen_ai.client.inference.operation.details"
export const GEN_AI_EVALUATION_RESULT_EVENT = "gen_ai.evaluation.result"

// Of metrics only.
export const GEN_AI_TOKEN_TYPE = "gen_ai.token.type"
/** Beside the counters that have taken the place of {@link GEN_AI_TOKEN_TYPE} since 2026-10-07. */
export const GEN_AI_TOKEN_MODALITY = "gen_ai.token.modality"

// What single providers add.
export const OPENAI_API_TYPE = "openai.api.type"
export const OPENAI_REQUEST_SERVICE_TIER = "openai.request.service_tier"
export const OPENAI_RESPONSE_SERVICE_TIER = "openai.response.service_tier"
export const OPENAI_RESPONSE_SYSTEM_FINGERPRINT = "openai.response.system_fingerprint"
export const AWS_BEDROCK_GUARDRAIL_ID = "aws.bedrock.guardrail.id"
export const AWS_BEDROCK_KNOWLEDGE_BASE_ID = "aws.bedrock.knowledge_base.id"
export const AZURE_RESOURCE_PROVIDER_NAMESPACE = "azure.resource_provider.namespace"

export const MCP_METHOD_NAME = "mcp.method.name"
export const MCP_RESOURCE_URI = "mcp.resource.uri"
export const MCP_PROTOCOL_VERSION = "mcp.protocol.version"
export const MCP_SESSION_ID = "mcp.session.id"
export const JSONRPC_REQUEST_ID = "jsonrpc.request.id"
export const JSONRPC_PROTOCOL_VERSION = "jsonrpc.protocol.version"

/**
 * The attributes whose type is `double`. JavaScript does not tell 1 from 1.0, so an exporter that is to keep the type
 * has to know them.
 */
export const DOUBLE_ATTRIBUTES: ReadonlySet<string> = new Set([
  GEN_AI_REQUEST_TEMPERATURE,
  GEN_AI_REQUEST_TOP_P,
  GEN_AI_REQUEST_FREQUENCY_PENALTY,
  GEN_AI_REQUEST_PRESENCE_PENALTY,
  GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
  GEN_AI_EVALUATION_SCORE_VALUE
])

// What Loom's Python actors write. `gen_ai.system` is the name of the provider before v1.37.
export const GEN_AI_SYSTEM = "gen_ai.system"
export const LLM_MODEL = "llm.model"
export const LLM_MAX_TOKENS = "llm.max_tokens"
export const LLM_PROMPT_TOKENS = "llm.prompt_tokens"
export const LLM_COMPLETION_TOKENS = "llm.completion_tokens"
export const LLM_HAS_TOOLS = "llm.has_tools"
export const LLM_TOOL_ROUND = "llm.tool_round"
export const LOOM_PROMPT_EVENT = "gen_ai.content.prompt"
export const LOOM_PROMPT = "gen_ai.prompt"
export const LOOM_COMPLETION_EVENT = "gen_ai.content.completion"
export const LOOM_COMPLETION = "gen_ai.completion"

export const MESSAGING_SYSTEM_NAME = "messaging.system.name"
/** The name of {@link MESSAGING_SYSTEM_NAME} before 1.45. */
export const MESSAGING_SYSTEM = "messaging.system"
export const MESSAGING_OPERATION_NAME = "messaging.operation.name"
export const MESSAGING_OPERATION_TYPE = "messaging.operation.type"
export const MESSAGING_DESTINATION_NAME = "messaging.destination.name"
export const MESSAGING_CLIENT_ID = "messaging.client.id"
export const MESSAGING_DESTINATION_ANONYMOUS = "messaging.destination.anonymous"
export const MESSAGING_DESTINATION_PARTITION_ID = "messaging.destination.partition.id"
export const MESSAGING_DESTINATION_SUBSCRIPTION_NAME = "messaging.destination.subscription.name"
export const MESSAGING_DESTINATION_TEMPORARY = "messaging.destination.temporary"
export const MESSAGING_DESTINATION_TEMPLATE = "messaging.destination.template"
export const MESSAGING_MESSAGE_ID = "messaging.message.id"
export const MESSAGING_MESSAGE_CONVERSATION_ID = "messaging.message.conversation_id"
export const MESSAGING_MESSAGE_BODY_SIZE = "messaging.message.body.size"
export const MESSAGING_CONSUMER_GROUP_NAME = "messaging.consumer.group.name"
export const MESSAGING_BATCH_MESSAGE_COUNT = "messaging.batch.message_count"
