/**
 * Distributed tracing for LLM applications and message pipelines, as an Effect
 * Layer. Nothing here loads the OpenTelemetry SDK; `TracingLive` does when it
 * is built.
 *
 * @since 0.1.0
 */
export {
  amqpCarrier,
  Baggage,
  currentTraceContext,
  extractHeaders,
  extractTraceContext,
  headersCarrier,
  injectHeaders,
  injectTraceContext,
  kafkaCarrier,
  linkRemoteContext,
  linkTraceContext,
  mcpCarrier,
  natsCarrier,
  Propagators,
  recordCarrier,
  TRACE_CONTEXT_KEY,
  withBaggage,
  withRemoteContext,
  withTraceContext
} from "./Carrier.ts"
export type { Carrier, HeaderRecord, HeaderValue, NatsHeaders, TraceCarrier, WebHeaders } from "./Carrier.ts"
export { annotateLlmResponse, withEmbeddingsSpan, withFetchResponseSpan, withLlmSpan } from "./GenAi.ts"
export type {
  AwsBedrockRequest,
  EmbeddingsSpanOptions,
  FetchedResponse,
  FetchResponseSpanOptions,
  GenAiProvider,
  LlmCallOptions,
  LlmOperation,
  LlmRequest,
  LlmResponse,
  LlmSpanOptions,
  LlmUsage,
  ModalityUsage,
  NamedPrompt,
  OpenAiRequest,
  ServerAddress,
  UsageByModality
} from "./GenAi.ts"
export { withAgentSpan, withCreateAgentSpan, withPlanSpan, withWorkflowSpan } from "./GenAiAgents.ts"
export type { AgentSpanOptions, CreateAgentSpanOptions, PlanSpanOptions, WorkflowSpanOptions } from "./GenAiAgents.ts"
export { hideSensitive, sensitive } from "./GenAiContent.ts"
export type {
  BlobPart,
  ChatMessage,
  CompactionPart,
  FilePart,
  GenericPart,
  Lazy,
  MemoryRecord,
  MessagePart,
  OutputMessage,
  ReasoningPart,
  RetrievalDocument,
  ServerToolCallPart,
  ServerToolCallResponsePart,
  TextPart,
  ToolCallPart,
  ToolCallResponsePart,
  ToolDefinition,
  UriPart
} from "./GenAiContent.ts"
export { withAgent, withConversation } from "./GenAiConversation.ts"
export type { ConversationOptions } from "./GenAiConversation.ts"
export { recordEvaluation } from "./GenAiEvaluation.ts"
export type { Evaluation } from "./GenAiEvaluation.ts"
export { withMemorySpan } from "./GenAiMemory.ts"
export type { MemoryOperation, MemoryResult, MemorySpanOptions } from "./GenAiMemory.ts"
export { GenAiMetrics } from "./GenAiMetrics.ts"
export {
  anthropicCall,
  anthropicFold,
  anthropicResponse,
  bedrockCall,
  bedrockFold,
  bedrockResponse,
  effectAiCall,
  effectAiFold,
  effectAiResponse,
  googleCall,
  googleFold,
  googleResponse,
  normalizeUsage,
  ollamaCall,
  ollamaFold,
  ollamaResponse,
  openAiCall,
  openAiFold,
  openAiResponse,
  withAnthropicSpan,
  withBedrockSpan,
  withGoogleSpan,
  withOllamaSpan,
  withOpenAiSpan
} from "./GenAiProviders.ts"
export type {
  AnthropicParams,
  BedrockParams,
  EffectAiParams,
  GoogleParams,
  OllamaParams,
  OpenAiParams,
  ProviderCallOptions,
  ProviderSpan,
  StreamedResponse
} from "./GenAiProviders.ts"
export { withRetrievalSpan } from "./GenAiRetrieval.ts"
export type { RetrievalSpanOptions } from "./GenAiRetrieval.ts"
export { GenAiSettings } from "./GenAiSettings.ts"
export type { Content, ContentCapture } from "./GenAiSettings.ts"
export { traceAsyncIterable, withLlmStreamSpan } from "./GenAiStream.ts"
export type { LlmStreamFold, LlmStreamSpanOptions } from "./GenAiStream.ts"
export { withToolSpan } from "./GenAiTools.ts"
export type { ToolSpanOptions } from "./GenAiTools.ts"
export { withMcpSpan } from "./Mcp.ts"
export type { McpMethod, McpSpanOptions } from "./Mcp.ts"
export {
  handleTracedMessage,
  handleTracedStream,
  UndecodableMessage,
  withBatchSpan,
  withConsumerSpan,
  withCreateSpan,
  withProducerSpan,
  withReceiveSpan,
  withSettleSpan
} from "./Messaging.ts"
export type {
  BatchMessage,
  BatchOptions,
  HandlerOptions,
  MessagingOptions,
  ProducerOptions,
  ReceiveOptions,
  StreamHandlerOptions
} from "./Messaging.ts"
export {
  FLAG_RANDOM,
  FLAG_SAMPLED,
  formatBaggage,
  formatTraceHeaders,
  formatTraceparent,
  isValidSpanIdentity,
  parseBaggage,
  parseTraceHeaders,
  parseTraceparent,
  parseTracestate,
  TraceparentFromString,
  TraceState
} from "./TraceContext.ts"
export type { BaggageMember, BaggageProperty, RemoteContext, TraceHeaders, Traceparent } from "./TraceContext.ts"
export { makeTracedMessage, TracedMessage } from "./TracedMessage.ts"
export type { TracedMessageSchema } from "./TracedMessage.ts"
export { Tracing, TracingNoop, withScope } from "./Tracing.ts"
export type { ExportStats, InstrumentationScope } from "./Tracing.ts"
export { TracingConsole } from "./TracingConsole.ts"
export { CollectorUnreachable, InvalidOption, makeTracingLive, TracingConfigError, TracingLive } from "./TracingLive.ts"
export type { TracingOptions } from "./TracingLive.ts"
