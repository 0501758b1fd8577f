/**
 * Spans for the search for documents that a model is to be given.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import type { GenAiProvider, ServerAddress } from "./GenAi.ts"
import type { Lazy, RetrievalDocument } from "./GenAiContent.ts"
import { addDefined, addServer, GenAiSpan, withGenAiSpan } from "./internal/genAi.ts"
import * as semconv from "./internal/semconv.ts"

/**
 * The options of {@link withRetrievalSpan}.
 *
 * @category options
 * @since 0.1.0
 */
export interface RetrievalSpanOptions<A> {
  /** The index, collection or knowledge base. It names the span. */
  readonly dataSourceId?: string | undefined
  readonly provider?: GenAiProvider | undefined
  /** The model that the search uses. */
  readonly request?: { readonly model?: string | undefined } | undefined
  /** How many documents are asked for. */
  readonly topK?: number | undefined
  /** What is searched for, recorded only when content is captured. */
  readonly query?: Lazy<string> | undefined
  /** What was found, recorded only when content is captured. */
  readonly documents?: ((value: A) => ReadonlyArray<RetrievalDocument>) | undefined
  readonly server?: ServerAddress | undefined
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

class RetrievalSpan<A, E> extends GenAiSpan<A, E> {
  readonly name: string
  private readonly options: RetrievalSpanOptions<A>

  constructor(fiber: Fiber.Fiber<unknown, unknown>, options: RetrievalSpanOptions<A>) {
    super(fiber, "retrieval", "client")
    this.options = options
    this.name = options.dataSourceId === undefined ? "retrieval" : `retrieval ${options.dataSourceId}`
    addDefined(this.start, semconv.GEN_AI_PROVIDER_NAME, options.provider)
    addDefined(this.start, semconv.GEN_AI_REQUEST_MODEL, options.request?.model)
    addServer(this.start, options.server)
  }

  protected writeStart(): void {
    this.set(semconv.GEN_AI_DATA_SOURCE_ID, this.options.dataSourceId)
    this.set(semconv.GEN_AI_RETRIEVAL_TOP_K, this.options.topK)
    this.setSession()
    this.setAll(this.options.attributes)
  }

  protected override captureStart(): Effect.Effect<void> | undefined {
    return this.capture("retrieval_query", semconv.GEN_AI_RETRIEVAL_QUERY_TEXT, this.options.query)
  }

  protected override captureEnd(exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    return this.captureResult(
      "retrieval_documents",
      semconv.GEN_AI_RETRIEVAL_DOCUMENTS,
      exit,
      this.options.documents
    )
  }

  protected override measure(seconds: number, error: string | undefined): void {
    this.recordClientDuration(seconds, error, this.start)
  }
}

/**
 * Runs an effect inside a span for a search in a vector store, a knowledge base
 * or the like.
 *
 * **Details**
 *
 * Follows "Retrieval" of the GenAI convention: `retrieval {data source}`, kind
 * `CLIENT`. Query and documents are recorded only when content is captured.
 *
 * **Example** (Searching a knowledge base)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withRetrievalSpan } from "loom-tracing"
 *
 * const found = Effect.succeed([{ id: "doc-1", score: 0.9 }]).pipe(
 *   withRetrievalSpan({ dataSourceId: "handbook", topK: 3, query: "holidays", documents: (found) => found })
 * )
 *
 * Effect.runSync(found).length // => 1
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withRetrievalSpan: {
  (options: RetrievalSpanOptions<never> & { readonly documents?: undefined }): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A>(options: RetrievalSpanOptions<NoInfer<A>>): <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <B>(options: RetrievalSpanOptions<B>): <A extends B, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: RetrievalSpanOptions<NoInfer<A>>): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: RetrievalSpanOptions<A>): Effect.Effect<A, E, R> =>
    withGenAiSpan(self, (fiber) => new RetrievalSpan<A, E>(fiber, options))
)
