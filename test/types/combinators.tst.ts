/**
 * No combinator changes the type of what it wraps: each is checked as a function of any result, error and requirement,
 * in both of its forms. A combinator that is missing here does not compile.
 */
import { expectTypeOf } from "@effect/vitest"
import type { Effect, Stream } from "effect"
import * as Loom from "loom-tracing"
import * as Providers from "loom-tracing/GenAiProviders"

type Keeps = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
type KeepsStream = <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
type KeepsIterable = <A, E, R>(
  self: Effect.Effect<AsyncIterable<A>, E, R>
) => Effect.Effect<AsyncIterable<A>, E, R>

type OverStreams = "withLlmStreamSpan"
type Combinators = Exclude<
  Extract<keyof typeof Loom | keyof typeof Providers, `with${string}` | `link${string}`>,
  OverStreams
>

const call = { provider: "openai", request: { model: "m" } }
const messaging = { system: "nats", destination: "tasks" }
const remote: Loom.RemoteContext = {}
const google = { model: "m" }
const chat = { model: "m", messages: [] }

const dataLast = {
  linkRemoteContext: Loom.linkRemoteContext(remote),
  linkTraceContext: Loom.linkTraceContext({ id: 1 }, { reason: "batch" }),
  withAgent: Loom.withAgent("planner"),
  withAgentSpan: Loom.withAgentSpan({ name: "planner" }),
  withAnthropicSpan: Providers.withAnthropicSpan(chat),
  withBaggage: Loom.withBaggage({ tenant: "a" }),
  withBatchSpan: Loom.withBatchSpan({ ...messaging, messages: [] }),
  withBedrockSpan: Providers.withBedrockSpan({ modelId: "m" }),
  withConsumerSpan: Loom.withConsumerSpan(messaging),
  withConversation: Loom.withConversation("c"),
  withCreateAgentSpan: Loom.withCreateAgentSpan({ provider: "openai" }),
  withCreateSpan: Loom.withCreateSpan(messaging),
  withEmbeddingsSpan: Loom.withEmbeddingsSpan(call),
  withFetchResponseSpan: Loom.withFetchResponseSpan({ provider: "openai", responseId: "r" }),
  withGoogleSpan: Providers.withGoogleSpan(google),
  withLlmSpan: Loom.withLlmSpan(call),
  withMcpSpan: Loom.withMcpSpan({ method: "ping" }),
  withMemorySpan: Loom.withMemorySpan({ operation: "search_memory" }),
  withOllamaSpan: Providers.withOllamaSpan(chat),
  withOpenAiSpan: Providers.withOpenAiSpan(chat),
  withPlanSpan: Loom.withPlanSpan({}),
  withProducerSpan: Loom.withProducerSpan(messaging),
  withReceiveSpan: Loom.withReceiveSpan(messaging),
  withRemoteContext: Loom.withRemoteContext(remote),
  withRetrievalSpan: Loom.withRetrievalSpan({ query: "q" }),
  withScope: Loom.withScope("library"),
  withSettleSpan: Loom.withSettleSpan(messaging),
  withToolSpan: Loom.withToolSpan({ name: "search" }),
  withTraceContext: Loom.withTraceContext({ id: 1 }),
  withWorkflowSpan: Loom.withWorkflowSpan({ name: "flow" })
} satisfies Record<Combinators, Keeps>
// Not less either: a requirement that it took away would have to be someone else's.
expectTypeOf(dataLast).toEqualTypeOf<Record<Combinators, Keeps>>()

const dataFirst = {
  linkRemoteContext: (self) => Loom.linkRemoteContext(self, remote, { reason: "batch" }),
  linkTraceContext: (self) => Loom.linkTraceContext(self, { id: 1 }),
  withAgent: (self) => Loom.withAgent(self, "planner", { baggage: true }),
  withAgentSpan: (self) => Loom.withAgentSpan(self, { name: "planner" }),
  withAnthropicSpan: (self) => Providers.withAnthropicSpan(self, chat),
  withBaggage: (self) => Loom.withBaggage(self, [{ key: "tenant", value: "a" }]),
  withBatchSpan: (self) => Loom.withBatchSpan(self, { ...messaging, messages: [] }),
  withBedrockSpan: (self) => Providers.withBedrockSpan(self, { modelId: "m" }),
  withConsumerSpan: (self) => Loom.withConsumerSpan(self, messaging),
  withConversation: (self) => Loom.withConversation(self, "c"),
  withCreateAgentSpan: (self) => Loom.withCreateAgentSpan(self, { provider: "openai" }),
  withCreateSpan: (self) => Loom.withCreateSpan(self, messaging),
  withEmbeddingsSpan: (self) => Loom.withEmbeddingsSpan(self, call),
  withFetchResponseSpan: (self) => Loom.withFetchResponseSpan(self, { provider: "openai", responseId: "r" }),
  withGoogleSpan: (self) => Providers.withGoogleSpan(self, google),
  withLlmSpan: (self) => Loom.withLlmSpan(self, call),
  withMcpSpan: (self) => Loom.withMcpSpan(self, { method: "ping" }),
  withMemorySpan: (self) => Loom.withMemorySpan(self, { operation: "search_memory" }),
  withOllamaSpan: (self) => Providers.withOllamaSpan(self, chat, { baseURL: "http://127.0.0.1" }),
  withOpenAiSpan: (self) => Providers.withOpenAiSpan(self, chat),
  withPlanSpan: (self) => Loom.withPlanSpan(self, {}),
  withProducerSpan: (self) => Loom.withProducerSpan(self, messaging),
  withReceiveSpan: (self) => Loom.withReceiveSpan(self, messaging),
  withRemoteContext: (self) => Loom.withRemoteContext(self, remote),
  withRetrievalSpan: (self) => Loom.withRetrievalSpan(self, { query: "q" }),
  withScope: (self) => Loom.withScope(self, { name: "library", version: "1.0.0" }),
  withSettleSpan: (self) => Loom.withSettleSpan(self, messaging),
  withToolSpan: (self) => Loom.withToolSpan(self, { name: "search" }),
  withTraceContext: (self) => Loom.withTraceContext(self, { id: 1 }),
  withWorkflowSpan: (self) => Loom.withWorkflowSpan(self, { name: "flow" })
} satisfies Record<Combinators, Keeps>
expectTypeOf(dataFirst).toEqualTypeOf<Record<Combinators, Keeps>>()

const streams = {
  dataLast: Loom.withLlmStreamSpan(call),
  dataFirst: (self) => Loom.withLlmStreamSpan(self, call)
} satisfies Record<string, KeepsStream>
expectTypeOf(streams).toEqualTypeOf<Record<"dataLast" | "dataFirst", KeepsStream>>()

type Chunks = Stream.Stream<{ readonly delta: string }, Error>
type Folds = Extract<keyof typeof Loom | keyof typeof Providers, `${string}Fold`>
declare const chunks: Chunks

// In constants, where nothing is known yet of the stream.
const folds = {
  anthropicFold: Loom.withLlmStreamSpan({ ...call, fold: Providers.anthropicFold }),
  bedrockFold: Loom.withLlmStreamSpan({ ...call, fold: Providers.bedrockFold }),
  effectAiFold: Loom.withLlmStreamSpan({ ...call, fold: Providers.effectAiFold }),
  googleFold: Loom.withLlmStreamSpan({ ...call, fold: Providers.googleFold }),
  ollamaFold: Loom.withLlmStreamSpan({ ...call, fold: Providers.ollamaFold }),
  openAiFold: Loom.withLlmStreamSpan({ ...call, fold: Providers.openAiFold })
}
const folded = {
  anthropicFold: chunks.pipe(folds.anthropicFold),
  bedrockFold: chunks.pipe(folds.bedrockFold),
  effectAiFold: chunks.pipe(folds.effectAiFold),
  googleFold: chunks.pipe(folds.googleFold),
  ollamaFold: chunks.pipe(folds.ollamaFold),
  openAiFold: chunks.pipe(folds.openAiFold)
}
expectTypeOf(folded).toEqualTypeOf<Record<Folds, Chunks>>()

const iterables = {
  dataLast: Loom.traceAsyncIterable(call),
  dataFirst: (self) => Loom.traceAsyncIterable(self, call)
} satisfies Record<string, KeepsIterable>
expectTypeOf(iterables).toEqualTypeOf<Record<"dataLast" | "dataFirst", KeepsIterable>>()
