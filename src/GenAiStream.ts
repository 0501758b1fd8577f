/**
 * Spans for model calls whose answer is a stream.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { LlmCallOptions, LlmResponse } from "./GenAi.ts"
import { LlmStreamSpan, traceStream } from "./internal/llmStreamSpan.ts"
import { isTracingOff } from "./internal/off.ts"
import { startSpan, withinSpan, withoutSpan } from "./internal/span.ts"

/**
 * How the chunks of a stream become what its span tells of the answer.
 *
 * **Details**
 *
 * The state is made once for each run of the stream; `step` may change it and
 * return it. It should keep text only if `content` says so: then memory does
 * not grow with the stream.
 *
 * @category models
 * @since 0.1.0
 */
export interface LlmStreamFold<in A, S> {
  readonly initial: (options: { readonly content: boolean }) => S
  readonly step: (state: S, chunk: A) => S
  readonly response: (state: S) => LlmResponse
}

/**
 * The options of {@link withLlmStreamSpan} and {@link traceAsyncIterable}.
 *
 * @category options
 * @since 0.1.0
 */
// oxlint-disable-next-line typescript/no-explicit-any -- what a fold keeps is nobody's business but its own
export interface LlmStreamSpanOptions<in A, S = any> extends LlmCallOptions {
  /** Reads the chunks. If it throws, the span goes without. */
  readonly fold?: LlmStreamFold<A, S> | undefined
}

// =============================================================================
// Streams
// =============================================================================

/**
 * Puts a stream inside a span for the model call that it is the answer of.
 *
 * **When to use**
 *
 * Use around a stream that makes the request when it is run, so that the time
 * to the first chunk counts from there.
 *
 * **Details**
 *
 * The span is that of `withLlmSpan`, and covers the whole consumption: it
 * starts when the stream is run and ends once, when the stream completes,
 * fails, is interrupted, is left early, or when its scope closes. What fails
 * after it is no failure of the call's. It is current for the effects of the
 * stream itself, not for those that come after it.
 *
 * `fold` reads usage, finish reasons and the like from the chunks one by one.
 * The stream is not buffered, and nothing is asked of the request: a provider
 * that reports usage only on demand has to be asked by you.
 *
 * **Gotchas**
 *
 * A stream that somebody holds and pulls from no more keeps its span open until
 * its scope closes.
 *
 * **Example** (Tracing a streamed answer)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { withLlmStreamSpan } from "loom-tracing"
 *
 * const chunks = Stream.make({ text: "Hel", tokens: 1 }, { text: "lo", tokens: 2 }).pipe(
 *   withLlmStreamSpan({
 *     provider: "openai",
 *     request: { model: "gpt-4o" },
 *     fold: {
 *       initial: () => 0,
 *       step: (_, chunk) => chunk.tokens,
 *       response: (tokens) => ({ finishReasons: ["stop"], usage: { outputTokens: tokens } })
 *     }
 *   })
 * )
 *
 * Effect.runSync(Stream.runCollect(chunks)).length // => 2
 * ```
 *
 * @see {@link traceAsyncIterable} for the async iterable of a provider's client
 *
 * @category combinators
 * @since 0.1.0
 */
export const withLlmStreamSpan: {
  (options: LlmCallOptions & { readonly fold?: undefined }): <A, E, R>(
    self: Stream.Stream<A, E, R>
  ) => Stream.Stream<A, E, R>
  <A, S>(options: LlmStreamSpanOptions<NoInfer<A>, S>): <E, R>(
    self: Stream.Stream<A, E, R>
  ) => Stream.Stream<A, E, R>
  <B, S>(options: LlmStreamSpanOptions<B, S>): <A extends B, E, R>(
    self: Stream.Stream<A, E, R>
  ) => Stream.Stream<A, E, R>
  <A, E, R, S>(self: Stream.Stream<A, E, R>, options: LlmStreamSpanOptions<NoInfer<A>, S>): Stream.Stream<A, E, R>
} = dual(
  2,
  <A, E, R, S>(self: Stream.Stream<A, E, R>, options: LlmStreamSpanOptions<A, S>): Stream.Stream<A, E, R> =>
    traceStream(self, (fiber) => new LlmStreamSpan<A, unknown, S>(fiber, options))
)

// =============================================================================
// Async iterables
// =============================================================================

/** What an iteration tells the span of. */
interface Observer<A> {
  readonly onChunk: (chunk: A) => void
  readonly onEnd: (exit: Exit.Exit<void, unknown>) => void
}

class ObservedIterator<A> implements AsyncIterator<A, unknown, unknown> {
  private readonly iterator: AsyncIterator<A, unknown, unknown>
  private readonly observer: Observer<A>

  constructor(iterator: AsyncIterator<A, unknown, unknown>, observer: Observer<A>) {
    this.iterator = iterator
    this.observer = observer
  }

  next(value?: unknown): Promise<IteratorResult<A, unknown>> {
    return this.observe(() => this.iterator.next(value))
  }

  async return(value?: unknown): Promise<IteratorResult<A, unknown>> {
    // At once, since the `return` of an iterator that hangs may never settle.
    this.observer.onEnd(Exit.void)
    return this.iterator.return === undefined ? { done: true, value } : await this.iterator.return(value)
  }

  throw(error?: unknown): Promise<IteratorResult<A, unknown>> {
    return this.observe(() => this.iterator.throw === undefined ? Promise.reject(error) : this.iterator.throw(error))
  }

  private async observe(step: () => Promise<IteratorResult<A, unknown>>): Promise<IteratorResult<A, unknown>> {
    try {
      const result = await step()
      if (result.done === true) this.observer.onEnd(Exit.void)
      else this.observer.onChunk(result.value)
      return result
    } catch (error) {
      this.observer.onEnd(Exit.fail(error))
      throw error
    }
  }
}

/** The first iteration is the call's; another one is not observed. */
class ObservedIterable<A> implements AsyncIterable<A> {
  private readonly iterable: AsyncIterable<A>
  private observer: Observer<A> | undefined

  constructor(iterable: AsyncIterable<A>, observer: Observer<A>) {
    this.iterable = iterable
    this.observer = observer
  }

  [Symbol.asyncIterator](): AsyncIterator<A> {
    const { observer } = this
    this.observer = undefined
    if (observer === undefined) return this.iterable[Symbol.asyncIterator]()
    try {
      return new ObservedIterator(this.iterable[Symbol.asyncIterator](), observer)
    } catch (error) {
      observer.onEnd(Exit.fail(error))
      throw error
    }
  }
}

const tracedIterable = <A, E, R, S>(
  self: Effect.Effect<AsyncIterable<A>, E, R>,
  options: LlmStreamSpanOptions<A, S>
): Effect.Effect<AsyncIterable<A>, E, R> =>
  Effect.withFiber((fiber) => {
    if (isTracingOff(fiber)) return self
    let spec: LlmStreamSpan<A, unknown, S>
    try {
      spec = new LlmStreamSpan<A, unknown, S>(fiber, options)
    } catch (error) {
      return withoutSpan(self, tracedIterable, error)
    }
    const scope = Scope.makeUnsafe()
    // Iteration happens outside of Effect; what is left to do then runs with what this fiber has.
    const run = Effect.runForkWith(fiber.context)
    const observer: Observer<A> = {
      onChunk: (chunk) => {
        const problem = spec.take([chunk])
        if (problem !== undefined) run(problem)
      },
      onEnd: (exit) => {
        run(Scope.close(scope, exit))
      }
    }
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(startSpan(spec, scope), (span) =>
        Effect.onExitPrimitive(
          restore(withinSpan(self, span, spec)),
          (exit) => exit._tag === "Failure" ? Scope.close(scope, exit) : undefined
        ))
    ).pipe(Effect.map((iterable) => new ObservedIterable(iterable, observer)))
  })

/**
 * Puts an effect that makes an async iterable, as the clients of providers do,
 * inside a span for the model call that the iterable is the answer of.
 *
 * **When to use**
 *
 * Use where the chunks are read by `for await`. In Effect code, make a `Stream`
 * of the iterable and use `withLlmStreamSpan`.
 *
 * **Details**
 *
 * The span starts with the effect, so that the time to the first chunk counts
 * from the request. It ends with the first iteration: at its end, when it is
 * left by `break` or `return`, or with the error that it throws. The iterable
 * that comes out is a plain one, without the other methods of a client's stream.
 *
 * **Gotchas**
 *
 * An iterable that nobody iterates keeps its span open.
 *
 * **Example** (Reading a client's stream)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { traceAsyncIterable } from "loom-tracing"
 *
 * async function* request() {
 *   yield { text: "Hel" }
 *   yield { text: "lo" }
 * }
 *
 * const chunks = Effect.promise(async () => request()).pipe(
 *   traceAsyncIterable({ provider: "openai", request: { model: "gpt-4o" } })
 * )
 *
 * let text = ""
 * for await (const chunk of await Effect.runPromise(chunks)) text += chunk.text
 * text // => "Hello"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const traceAsyncIterable: {
  (options: LlmCallOptions & { readonly fold?: undefined }): <A, E, R>(
    self: Effect.Effect<AsyncIterable<A>, E, R>
  ) => Effect.Effect<AsyncIterable<A>, E, R>
  <A, S>(options: LlmStreamSpanOptions<NoInfer<A>, S>): <E, R>(
    self: Effect.Effect<AsyncIterable<A>, E, R>
  ) => Effect.Effect<AsyncIterable<A>, E, R>
  <B, S>(options: LlmStreamSpanOptions<B, S>): <A extends B, E, R>(
    self: Effect.Effect<AsyncIterable<A>, E, R>
  ) => Effect.Effect<AsyncIterable<A>, E, R>
  <A, E, R, S>(
    self: Effect.Effect<AsyncIterable<A>, E, R>,
    options: LlmStreamSpanOptions<NoInfer<A>, S>
  ): Effect.Effect<AsyncIterable<A>, E, R>
} = dual(2, tracedIterable)
