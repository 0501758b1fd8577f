/**
 * The options that read the result of what they trace are given its type, and leave it as it is: piped, data-first, and
 * stored for results of many types.
 */
import { expectTypeOf } from "@effect/vitest"
import { Context, Data, Effect, Stream, type Tracer } from "effect"
import {
  traceAsyncIterable,
  withAgentSpan,
  withCreateAgentSpan,
  withEmbeddingsSpan,
  withFetchResponseSpan,
  withLlmSpan,
  withLlmStreamSpan,
  withMcpSpan,
  withMemorySpan,
  withReceiveSpan,
  withRetrievalSpan,
  withToolSpan,
  withWorkflowSpan
} from "loom-tracing"

interface Answer {
  readonly text: string
  readonly tokens: number
}
class Refused extends Data.TaggedError("Refused")<{ readonly why: string }> {}
class Model extends Context.Service<Model, { readonly name: string }>()("test/Model") {}

/** What a program may call: it fails in its own way and needs a service, and a parent span of the caller's. */
type Ask = Effect.Effect<Answer, Refused, Model | Tracer.ParentSpan>
declare const ask: Ask

const provider = "openai"
const request = { model: "m" }
const messaging = { system: "nats", destination: "tasks" }

/** What a stored combinator knows of a result: not all of it. */
interface Counted {
  readonly tokens: number
}

// withLlmSpan
{
  expectTypeOf(ask.pipe(withLlmSpan({
    provider,
    request,
    response: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return { model: answer.text }
    }
  }))).toEqualTypeOf<Ask>()

  expectTypeOf(withLlmSpan(ask, {
    provider,
    request,
    response: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return { model: answer.text }
    }
  })).toEqualTypeOf<Ask>()

  const stored = withLlmSpan({
    provider,
    request,
    response: (answer: Counted) => ({ usage: { outputTokens: answer.tokens } })
  })
  expectTypeOf(stored(ask)).toEqualTypeOf<Ask>()
  // @ts-expect-error: the reader needs tokens
  void stored(Effect.succeed({ text: "Hello" }))
}

// withEmbeddingsSpan
{
  expectTypeOf(ask.pipe(withEmbeddingsSpan({
    provider,
    request,
    response: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return { model: answer.text }
    }
  }))).toEqualTypeOf<Ask>()

  expectTypeOf(withEmbeddingsSpan(ask, {
    provider,
    request,
    response: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return { model: answer.text }
    }
  })).toEqualTypeOf<Ask>()

  const stored = withEmbeddingsSpan({
    provider,
    request,
    response: (answer: Counted) => ({ usage: { inputTokens: answer.tokens } })
  })
  expectTypeOf(stored(ask)).toEqualTypeOf<Ask>()
  // @ts-expect-error: the reader needs tokens
  void stored(Effect.succeed({ text: "Hello" }))
}

// withFetchResponseSpan
{
  expectTypeOf(ask.pipe(withFetchResponseSpan({
    provider,
    responseId: "r",
    response: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return { status: answer.text }
    }
  }))).toEqualTypeOf<Ask>()

  expectTypeOf(withFetchResponseSpan(ask, {
    provider,
    responseId: "r",
    response: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return { status: answer.text }
    }
  })).toEqualTypeOf<Ask>()

  const stored = withFetchResponseSpan({
    provider,
    responseId: "r",
    response: (answer: Counted) => ({ usage: { inputTokens: answer.tokens } })
  })
  expectTypeOf(stored(ask)).toEqualTypeOf<Ask>()
  // @ts-expect-error: the reader needs tokens
  void stored(Effect.succeed({ text: "Hello" }))
}

// withAgentSpan
{
  expectTypeOf(ask.pipe(withAgentSpan({
    name: "planner",
    response: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return { output: answer.text }
    }
  }))).toEqualTypeOf<Ask>()

  expectTypeOf(withAgentSpan(ask, {
    name: "planner",
    response: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return { output: answer.text }
    }
  })).toEqualTypeOf<Ask>()

  const stored = withAgentSpan({
    name: "planner",
    response: (answer: Counted) => ({ usage: { outputTokens: answer.tokens } })
  })
  expectTypeOf(stored(ask)).toEqualTypeOf<Ask>()
  // @ts-expect-error: the reader needs tokens
  void stored(Effect.succeed({ text: "Hello" }))
}

// withCreateAgentSpan
{
  expectTypeOf(ask.pipe(withCreateAgentSpan({
    provider,
    result: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return { id: answer.text }
    }
  }))).toEqualTypeOf<Ask>()

  expectTypeOf(withCreateAgentSpan(ask, {
    provider,
    result: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return { id: answer.text }
    }
  })).toEqualTypeOf<Ask>()

  const stored = withCreateAgentSpan({
    provider,
    result: (answer: Counted) => ({ version: String(answer.tokens) })
  })
  expectTypeOf(stored(ask)).toEqualTypeOf<Ask>()
  // @ts-expect-error: the reader needs tokens
  void stored(Effect.succeed({ text: "Hello" }))
}

// withWorkflowSpan
{
  expectTypeOf(ask.pipe(withWorkflowSpan({
    name: "flow",
    output: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return answer.text
    }
  }))).toEqualTypeOf<Ask>()

  expectTypeOf(withWorkflowSpan(ask, {
    name: "flow",
    output: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return answer.text
    }
  })).toEqualTypeOf<Ask>()

  const stored = withWorkflowSpan({ name: "flow", output: (answer: Counted) => (String(answer.tokens)) })
  expectTypeOf(stored(ask)).toEqualTypeOf<Ask>()
  // @ts-expect-error: the reader needs tokens
  void stored(Effect.succeed({ text: "Hello" }))
}

// withToolSpan
{
  expectTypeOf(ask.pipe(withToolSpan({
    name: "search",
    result: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return answer.text
    }
  }))).toEqualTypeOf<Ask>()

  expectTypeOf(withToolSpan(ask, {
    name: "search",
    result: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return answer.text
    }
  })).toEqualTypeOf<Ask>()

  const stored = withToolSpan({ name: "search", result: (answer: Counted) => (answer.tokens) })
  expectTypeOf(stored(ask)).toEqualTypeOf<Ask>()
  // @ts-expect-error: the reader needs tokens
  void stored(Effect.succeed({ text: "Hello" }))
}

// withMemorySpan
{
  expectTypeOf(ask.pipe(withMemorySpan({
    operation: "search_memory",
    result: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return { storeId: answer.text }
    }
  }))).toEqualTypeOf<Ask>()

  expectTypeOf(withMemorySpan(ask, {
    operation: "search_memory",
    result: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return { storeId: answer.text }
    }
  })).toEqualTypeOf<Ask>()

  const stored = withMemorySpan({
    operation: "search_memory",
    result: (answer: Counted) => ({ recordCount: answer.tokens })
  })
  expectTypeOf(stored(ask)).toEqualTypeOf<Ask>()
  // @ts-expect-error: the reader needs tokens
  void stored(Effect.succeed({ text: "Hello" }))
}

// withRetrievalSpan
{
  expectTypeOf(ask.pipe(withRetrievalSpan({
    query: "q",
    documents: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return [{ id: answer.text }]
    }
  }))).toEqualTypeOf<Ask>()

  expectTypeOf(withRetrievalSpan(ask, {
    query: "q",
    documents: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return [{ id: answer.text }]
    }
  })).toEqualTypeOf<Ask>()

  const stored = withRetrievalSpan({
    query: "q",
    documents: (answer: Counted) => [{ score: answer.tokens }]
  })
  expectTypeOf(stored(ask)).toEqualTypeOf<Ask>()
  // @ts-expect-error: the reader needs tokens
  void stored(Effect.succeed({ text: "Hello" }))
}

// withMcpSpan
{
  expectTypeOf(ask.pipe(withMcpSpan({
    method: "tools/call",
    result: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return answer.text
    }
  }))).toEqualTypeOf<Ask>()

  expectTypeOf(withMcpSpan(ask, {
    method: "tools/call",
    result: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return answer.text
    }
  })).toEqualTypeOf<Ask>()

  const stored = withMcpSpan({ method: "tools/call", result: (answer: Counted) => (answer.tokens) })
  expectTypeOf(stored(ask)).toEqualTypeOf<Ask>()
  // @ts-expect-error: the reader needs tokens
  void stored(Effect.succeed({ text: "Hello" }))
}

// withReceiveSpan
{
  expectTypeOf(ask.pipe(withReceiveSpan({
    ...messaging,
    messages: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return [{ messageId: answer.text }]
    }
  }))).toEqualTypeOf<Ask>()

  expectTypeOf(withReceiveSpan(ask, {
    ...messaging,
    messages: (answer) => {
      expectTypeOf(answer).toEqualTypeOf<Answer>()
      return [{ messageId: answer.text }]
    }
  })).toEqualTypeOf<Ask>()

  const stored = withReceiveSpan({
    ...messaging,
    messages: (answer: Counted) => [{ bodySize: answer.tokens }]
  })
  expectTypeOf(stored(ask)).toEqualTypeOf<Ask>()
  // @ts-expect-error: the reader needs tokens
  void stored(Effect.succeed({ text: "Hello" }))
}

// =============================================================================
// Streams
// =============================================================================

type Chunks = Stream.Stream<Answer, Refused, Model | Tracer.ParentSpan>
declare const chunks: Chunks

type Iterable = Effect.Effect<AsyncIterable<Answer>, Refused, Model | Tracer.ParentSpan>
declare const iterable: Iterable

/** A state of the reader's own. */
const response = (state: { readonly total: number }) => ({ usage: { outputTokens: state.total } })
const count = {
  initial: () => ({ total: 0 }),
  step: (state: { readonly total: number }, chunk: Counted) => ({ total: state.total + chunk.tokens }),
  response
}

// withLlmStreamSpan
{
  expectTypeOf(chunks.pipe(withLlmStreamSpan({
    provider,
    request,
    fold: {
      initial: () => ({ total: 0 }),
      step: (state, chunk) => {
        expectTypeOf(chunk).toEqualTypeOf<Answer>()
        expectTypeOf(state).toEqualTypeOf<{ total: number }>()
        return { total: state.total + chunk.tokens }
      },
      response
    }
  }))).toEqualTypeOf<Chunks>()

  expectTypeOf(withLlmStreamSpan(chunks, {
    provider,
    request,
    fold: {
      initial: () => ({ total: 0 }),
      step: (state, chunk) => {
        expectTypeOf(chunk).toEqualTypeOf<Answer>()
        return { total: state.total + chunk.tokens }
      },
      response
    }
  })).toEqualTypeOf<Chunks>()

  const stored = withLlmStreamSpan({ provider, request, fold: count })
  expectTypeOf(stored(chunks)).toEqualTypeOf<Chunks>()
  // @ts-expect-error: the fold needs tokens
  void stored(Stream.make({ text: "Hello" }))
}

// traceAsyncIterable
{
  expectTypeOf(iterable.pipe(traceAsyncIterable({
    provider,
    request,
    fold: {
      initial: () => ({ total: 0 }),
      step: (state, chunk) => {
        expectTypeOf(chunk).toEqualTypeOf<Answer>()
        return { total: state.total + chunk.tokens }
      },
      response
    }
  }))).toEqualTypeOf<Iterable>()

  const stored = traceAsyncIterable({ provider, request, fold: count })
  expectTypeOf(stored(iterable)).toEqualTypeOf<Iterable>()
}

// =============================================================================
// In the pipeline of a function
// =============================================================================

const asking = Effect.fn("asking")(
  function*(question: string) {
    const answer = yield* ask
    return { ...answer, question }
  },
  withLlmSpan({ provider, request, response: (answer: Counted) => ({ usage: { outputTokens: answer.tokens } }) })
)
expectTypeOf(asking).parameters.toEqualTypeOf<[question: string]>()
expectTypeOf(asking("Why?")).toExtend<
  Effect.Effect<Answer & { question: string }, Refused, Model | Tracer.ParentSpan>
>()
expectTypeOf<Effect.Error<ReturnType<typeof asking>>>().toEqualTypeOf<Refused>()

// What they give may be a program's own objects, of interfaces and with what is absent as `undefined`.
{
  interface Hit {
    readonly id: string | undefined
    readonly score: number
    readonly text: string
  }
  interface Memory {
    readonly content: string
    readonly when: number
  }
  interface Tool {
    readonly name: string
    readonly description?: string | undefined
  }
  const search: Effect.Effect<ReadonlyArray<Hit>> = Effect.succeed([])
  const recall: Effect.Effect<ReadonlyArray<Memory>> = Effect.succeed([])
  const tools: ReadonlyArray<Tool> = []

  expectTypeOf(search.pipe(withRetrievalSpan({ documents: (hits) => hits }))).toEqualTypeOf(search)
  expectTypeOf(withMemorySpan(recall, { operation: "search_memory", result: (records) => ({ records }) }))
    .toEqualTypeOf(recall)
  expectTypeOf(search.pipe(withRetrievalSpan({
    documents: (hits) => hits.map(({ id, score }) => ({ id, score, rank: 1 }))
  }))).toEqualTypeOf(search)
  expectTypeOf(ask.pipe(withLlmSpan({
    provider,
    request,
    toolDefinitions: tools.map(({ description, name }) => ({ type: "function", name, description })),
    response: ({ text }) => ({ output: [{ role: "assistant", content: text, finish_reason: undefined }] })
  }))).toEqualTypeOf<Ask>()
}
