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
export { annotateLlmResponse, withAgentSpan, withLlmSpan, withToolSpan } from "./GenAi.ts"
export type {
  AgentSpanOptions,
  GenAiProvider,
  LlmCallOptions,
  LlmOperation,
  LlmRequest,
  LlmResponse,
  LlmSpanOptions,
  LlmUsage,
  ServerAddress,
  ToolSpanOptions
} from "./GenAi.ts"
export type {
  ChatMessage,
  GenericPart,
  Lazy,
  MessagePart,
  OutputMessage,
  ReasoningPart,
  TextPart,
  ToolCallPart,
  ToolCallResponsePart,
  ToolDefinition
} from "./GenAiContent.ts"
export { GenAiSettings } from "./GenAiSettings.ts"
export type { Content, ContentCapture } from "./GenAiSettings.ts"
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
export { InvalidOption, makeTracingLive, TracingConfigError, TracingLive } from "./TracingLive.ts"
export type { TracingOptions } from "./TracingLive.ts"
