/**
 * Spans for what an agent remembers from one run to the next.
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
import type { Lazy, MemoryRecord } from "./GenAiContent.ts"
import { addDefined, addServer, GenAiSpan, readResult, withGenAiSpan } from "./internal/genAi.ts"
import * as semconv from "./internal/semconv.ts"

/**
 * What is done with a memory: `gen_ai.operation.name`.
 *
 * @category models
 * @since 0.1.0
 */
export type MemoryOperation =
  | "create_memory_store"
  | "delete_memory_store"
  | "create_memory"
  | "update_memory"
  | "upsert_memory"
  | "search_memory"
  | "delete_memory"

/**
 * What an operation on a memory has brought.
 *
 * @category models
 * @since 0.1.0
 */
export interface MemoryResult {
  readonly storeId?: string | undefined
  readonly recordId?: string | undefined
  /** How many records were found or changed. */
  readonly recordCount?: number | undefined
  /** The records that were found, recorded only when content is captured. */
  readonly records?: Lazy<ReadonlyArray<MemoryRecord>> | undefined
}

/**
 * The options of {@link withMemorySpan}.
 *
 * @category options
 * @since 0.1.0
 */
export interface MemorySpanOptions<A> {
  readonly operation: MemoryOperation
  /** The service that keeps the memory, if it is one. */
  readonly provider?: GenAiProvider | undefined
  readonly storeId?: string | undefined
  /** The one record that is meant. A deletion without one may mean all. */
  readonly recordId?: string | undefined
  readonly recordCount?: number | undefined
  /** What is searched for, recorded only when content is captured. */
  readonly query?: Lazy<string> | undefined
  /** The records that are written, recorded only when content is captured. */
  readonly records?: Lazy<ReadonlyArray<MemoryRecord>> | undefined
  /** What the operation has brought. If it throws, the span goes without. */
  readonly result?: ((value: A) => MemoryResult) | undefined
  readonly server?: ServerAddress | undefined
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

class MemorySpan<A, E> extends GenAiSpan<A, E> {
  readonly name: string
  private readonly options: MemorySpanOptions<A>
  private result: MemoryResult | undefined = undefined

  constructor(fiber: Fiber.Fiber<unknown, unknown>, options: MemorySpanOptions<A>) {
    super(fiber, options.operation, "client")
    this.options = options
    this.name = options.operation
    addDefined(this.start, semconv.GEN_AI_PROVIDER_NAME, options.provider)
    addServer(this.start, options.server)
  }

  protected writeStart(): void {
    this.setResult(this.options)
    this.setSession()
    this.setAll(this.options.attributes)
  }

  private setResult(result: MemoryResult): void {
    this.set(semconv.GEN_AI_MEMORY_STORE_ID, result.storeId)
    this.set(semconv.GEN_AI_MEMORY_RECORD_ID, result.recordId)
    this.set(semconv.GEN_AI_MEMORY_RECORD_COUNT, result.recordCount)
  }

  protected override captureStart(): Effect.Effect<void> | undefined {
    return this.inOrder(
      this.capture("memory_query", semconv.GEN_AI_MEMORY_QUERY_TEXT, this.options.query),
      this.capture("memory_records", semconv.GEN_AI_MEMORY_RECORDS, this.options.records)
    )
  }

  protected override writeEnd(exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined {
    return readResult(this.options.result, exit, "The `result` function", (result) => {
      this.result = result
      this.setResult(result)
    })
  }

  protected override captureEnd(): Effect.Effect<void> | undefined {
    return this.capture("memory_records", semconv.GEN_AI_MEMORY_RECORDS, this.result?.records)
  }

  protected override measure(seconds: number, error: string | undefined): void {
    this.recordClientDuration(seconds, error, this.start)
  }
}

/**
 * Runs an effect inside a span for an operation on an agent's memory.
 *
 * **Details**
 *
 * Follows "Memory" of the GenAI convention: the span has the name of the
 * operation and kind `CLIENT`. Query and records are recorded only when content
 * is captured.
 *
 * **Example** (Searching a memory)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withMemorySpan } from "loom-tracing"
 *
 * const found = Effect.succeed([{ content: "likes tea" }]).pipe(
 *   withMemorySpan({
 *     operation: "search_memory",
 *     storeId: "ada",
 *     query: "drinks",
 *     result: (records) => ({ recordCount: records.length, records })
 *   })
 * )
 *
 * Effect.runSync(found).length // => 1
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withMemorySpan: {
  (options: MemorySpanOptions<never> & { readonly result?: undefined }): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  <A>(options: MemorySpanOptions<NoInfer<A>>): <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <B>(options: MemorySpanOptions<B>): <A extends B, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: MemorySpanOptions<NoInfer<A>>): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: MemorySpanOptions<A>): Effect.Effect<A, E, R> =>
    withGenAiSpan(self, (fiber) => new MemorySpan<A, E>(fiber, options))
)
