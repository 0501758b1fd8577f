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

export const GEN_AI_OPERATION_NAME = "gen_ai.operation.name"
export const GEN_AI_PROVIDER_NAME = "gen_ai.provider.name"
export const GEN_AI_CONVERSATION_ID = "gen_ai.conversation.id"
export const GEN_AI_OUTPUT_TYPE = "gen_ai.output.type"

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
export const GEN_AI_REQUEST_STREAM = "gen_ai.request.stream"

export const GEN_AI_RESPONSE_ID = "gen_ai.response.id"
export const GEN_AI_RESPONSE_MODEL = "gen_ai.response.model"
export const GEN_AI_RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"

export const GEN_AI_USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens"
export const GEN_AI_USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
export const GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.cache_read.input_tokens"
export const GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
/** The name of {@link GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS} since 2026-10-07. */
export const GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS = "gen_ai.usage.cache_write.input_tokens"
export const GEN_AI_USAGE_REASONING_OUTPUT_TOKENS = "gen_ai.usage.reasoning.output_tokens"

export const GEN_AI_SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
export const GEN_AI_INPUT_MESSAGES = "gen_ai.input.messages"
export const GEN_AI_OUTPUT_MESSAGES = "gen_ai.output.messages"
export const GEN_AI_TOOL_DEFINITIONS = "gen_ai.tool.definitions"

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
export const MESSAGING_DESTINATION_TEMPLATE = "messaging.destination.template"
export const MESSAGING_MESSAGE_ID = "messaging.message.id"
export const MESSAGING_MESSAGE_CONVERSATION_ID = "messaging.message.conversation_id"
export const MESSAGING_MESSAGE_BODY_SIZE = "messaging.message.body.size"
export const MESSAGING_CONSUMER_GROUP_NAME = "messaging.consumer.group.name"
export const MESSAGING_BATCH_MESSAGE_COUNT = "messaging.batch.message_count"
