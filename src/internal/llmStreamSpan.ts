import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { instrumentsOf } from "../GenAiMetrics.ts"
import type { LlmStreamFold, LlmStreamSpanOptions } from "../GenAiStream.ts"
import { both, secondsBetween } from "./genAi.ts"
import { LlmSpan } from "./llmSpan.ts"
import { isTracingOff } from "./off.ts"
import { reportOnce } from "./reportOnce.ts"
import * as semconv from "./semconv.ts"
import { startSpan, withinSpan, withoutSpan } from "./span.ts"

/**
 * The span of a call to a model whose answer is a stream.
 *
 * @internal
 */
export class LlmStreamSpan<A, E, S> extends LlmSpan<unknown, E> {
  private readonly fold: LlmStreamFold<A, S> | undefined
  private state: { value: S } | undefined = undefined
  private firstChunkTime: bigint | undefined = undefined
  private lastChunkTime = 0n

  constructor(fiber: Fiber.Fiber<unknown, unknown>, options: LlmStreamSpanOptions<A, S>) {
    super(fiber, options)
    this.fold = options.fold
  }

  protected override writeStart(): void {
    super.writeStart()
    this.set(semconv.GEN_AI_REQUEST_STREAM, true)
  }

  /** Takes chunks that have come together. An effect only to report what went wrong. */
  take(chunks: ReadonlyArray<A>): Effect.Effect<void> | undefined {
    this.takeTime(chunks.length)
    return this.takeContent(chunks)
  }

  protected takeContent(chunks: ReadonlyArray<A>): Effect.Effect<void> | undefined {
    const { fold } = this
    if (fold === undefined) return undefined
    let problem: Effect.Effect<void> | undefined
    for (const chunk of chunks) {
      try {
        const state = this.state ?? { value: fold.initial({ content: this.captures }) }
        state.value = fold.step(state.value, chunk)
        // Not before: of what has not been read, there is nothing to tell.
        this.state = state
      } catch (error) {
        problem ??= reportFold(fold.step, error)
      }
    }
    return problem
  }

  protected takeTime(count: number): void {
    const now = this.clock.currentTimeNanosUnsafe()
    const first = this.firstChunkTime === undefined
    this.firstChunkTime ??= now
    if (this.measures) {
      const { timePerOutputChunk } = instrumentsOf(this.settings.convention)
      // Chunks that come together have shared the wait; the very first has a metric of its own.
      const each = first ? 0 : secondsBetween(this.lastChunkTime, now) / count
      for (let n = first ? 1 : 0; n < count; n++) timePerOutputChunk.record(each, this.start, this.context)
    }
    this.lastChunkTime = now
  }

  private get timeToFirstChunk(): number | undefined {
    return this.firstChunkTime === undefined ? undefined : secondsBetween(this.startTime, this.firstChunkTime)
  }

  // Also of a stream that has failed or was left early: what it has told so far is true.
  protected override writeEnd(): Effect.Effect<void> | undefined {
    let problem: Effect.Effect<void> | undefined
    if (this.fold !== undefined && this.state !== undefined) {
      try {
        this.add(this.fold.response(this.state.value))
      } catch (error) {
        problem = reportFold(this.fold.response, error)
      }
    }
    this.set(semconv.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, this.timeToFirstChunk)
    return both(problem, this.writeResponse())
  }

  protected override measure(seconds: number, error: string | undefined): void {
    super.measure(seconds, error)
    if (this.timeToFirstChunk === undefined) return
    instrumentsOf(this.settings.convention).timeToFirstChunk.record(
      this.timeToFirstChunk,
      this.metricAttributes,
      this.context
    )
  }
}

const reportFold = (callback: object, error: unknown): Effect.Effect<void> | undefined =>
  reportOnce(callback, "The `fold` of a stream has thrown; the span goes without what it would have told", error)

/** A call that its consumer has left is no failure of the call's, whatever became of the consumer. */
const leftEarly = (exit: Exit.Exit<unknown, unknown>): Exit.Exit<unknown, unknown> =>
  Exit.hasInterrupts(exit) ? exit : Exit.void

/**
 * Puts a stream inside a span for each run of it, unless tracing is off.
 *
 * @internal
 */
export const traceStream = <A, E, R, S>(
  self: Stream.Stream<A, E, R>,
  make: (fiber: Fiber.Fiber<unknown, unknown>) => LlmStreamSpan<A, unknown, S>
): Stream.Stream<A, E, R> => {
  const run = Channel.toTransform(Stream.toChannel(self))
  return Stream.fromChannel(Channel.fromTransform((upstream, scope) =>
    Effect.withFiber((fiber) => {
      if (isTracingOff(fiber)) return run(upstream, scope)
      let spec: LlmStreamSpan<A, unknown, S>
      try {
        spec = make(fiber)
      } catch (error) {
        return withoutSpan(run(upstream, scope), make, error)
      }
      // The span has a scope of its own, since it need not end as the consumption does.
      const spanScope = Scope.makeUnsafe()
      const runScope = Scope.forkUnsafe(scope)
      const onCause = <X>(cause: Cause.Cause<X>): Effect.Effect<void> => {
        const exit = Pull.doneExitFromCause(cause)
        return Effect.andThen(Scope.close(spanScope, exit), Scope.close(runScope, exit))
      }
      // A pull that is given up, as by a timeout, may be followed by another. If not, the stream's scope closes.
      let interrupted: Exit.Exit<unknown, unknown> | undefined
      const onPullCause = <X>(cause: Cause.Cause<X>): Effect.Effect<void> => {
        if (!Cause.hasInterruptsOnly(cause)) return onCause(cause)
        interrupted = Exit.failCause(cause)
        return Effect.void
      }
      return Scope.addFinalizerExit(runScope, (exit) => Scope.close(spanScope, interrupted ?? leftEarly(exit))).pipe(
        Effect.andThen(startSpan(spec, spanScope)),
        Effect.flatMap((span) =>
          Effect.map(withinSpan(run(upstream, scope), span, spec), (pull) =>
            Effect.flatMap(withinSpan(pull, span, spec), (chunks) => {
              interrupted = undefined
              const problem = spec.take(chunks)
              return problem === undefined ? Effect.succeed(chunks) : Effect.as(problem, chunks)
            }).pipe(Effect.onError(onPullCause)))
        ),
        Effect.onError(onCause)
      )
    })
  ))
}
