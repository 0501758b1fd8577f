/**
 * Tracing for tests: spans stay in memory, where a test can look at them,
 * expect some of them, and check all of them against the conventions.
 *
 * The package's root does not export it; import `loom-tracing/TracingTest`.
 *
 * @since 0.1.0
 */
import type { AttributeValue } from "@opentelemetry/api"
import type { Sampler } from "@opentelemetry/sdk-trace-base"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Tracer from "effect/Tracer"
import { GenAiSettings, mergeSettings } from "./GenAiSettings.ts"
import { violationsOf } from "./internal/conventionLint.ts"
import { closest, matchAll, show, showTree } from "./internal/spanMatch.ts"
import { PACKAGE_NAME, PACKAGE_VERSION } from "./internal/version.ts"
import { warn } from "./internal/warn.ts"
import { type InstrumentationScope, Tracing } from "./Tracing.ts"

// =============================================================================
// Models
// =============================================================================

/**
 * A span as plain values, whether it has ended or not.
 *
 * @category models
 * @since 0.1.0
 */
export interface RecordedSpan {
  readonly name: string
  readonly kind: Tracer.SpanKind
  readonly traceId: string
  readonly spanId: string
  /** `undefined` for the root of a trace. */
  readonly parent: { readonly traceId: string; readonly spanId: string; readonly isRemote: boolean } | undefined
  readonly attributes: Readonly<Record<string, AttributeValue | undefined>>
  readonly status: { readonly code: "unset" | "ok" | "error"; readonly message?: string }
  readonly events: ReadonlyArray<{
    readonly name: string
    readonly attributes: Readonly<Record<string, AttributeValue | undefined>>
    /** Milliseconds, as those of the span. */
    readonly time: number
  }>
  readonly links: ReadonlyArray<{
    readonly traceId: string
    readonly spanId: string
    readonly attributes: Readonly<Record<string, AttributeValue | undefined>>
  }>
  readonly scope: InstrumentationScope
  /** Milliseconds since the epoch by Effect's `Clock`: under `TestClock`, since the test began. */
  readonly start: number
  /** `undefined` while the span has not ended. */
  readonly end: number | undefined
  /** Milliseconds. `undefined` while the span has not ended. */
  readonly duration: number | undefined
}

/**
 * A span that has ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface FinishedSpan extends RecordedSpan {
  readonly end: number
  readonly duration: number
}

/**
 * Attributes that are expected among others. `undefined` expects that there is
 * no such attribute; a pattern expects a string that it is found in.
 *
 * @category models
 * @since 0.1.0
 */
export type AttributesExpectation = Readonly<Record<string, AttributeValue | RegExp | undefined>>

/**
 * What is expected of an event.
 *
 * @category models
 * @since 0.1.0
 */
export interface EventExpectation {
  readonly name?: string | RegExp | undefined
  readonly attributes?: AttributesExpectation | undefined
}

/**
 * What is expected of a link: where it points, and its attributes.
 *
 * @category models
 * @since 0.1.0
 */
export interface LinkExpectation {
  /** The recorded span that it points to, by its name or by more. */
  readonly span?: string | SpanExpectation | undefined
  readonly traceId?: string | undefined
  readonly spanId?: string | undefined
  readonly attributes?: AttributesExpectation | undefined
}

/**
 * What is expected of a span. What is not mentioned may be anything.
 *
 * @category models
 * @since 0.1.0
 */
export interface SpanExpectation {
  readonly name?: string | RegExp | undefined
  readonly kind?: Tracer.SpanKind | undefined
  readonly attributes?: AttributesExpectation | undefined
  readonly status?:
    | RecordedSpan["status"]["code"]
    | {
      readonly code?: RecordedSpan["status"]["code"] | undefined
      readonly message?: string | RegExp | undefined
    }
    | undefined
  /** The name of the parent, more about it, or `null` for the root of a trace. A remote parent has only its ids. */
  readonly parent?: string | SpanExpectation | null | undefined
  /** Each is expected to be an event of the span, in any order, no two the same one: by its name, or by more. */
  readonly events?: ReadonlyArray<string | EventExpectation> | undefined
  /** Each is expected to be a link of the span, no two the same one: by the name of the span linked to, or by more. */
  readonly links?: ReadonlyArray<string | LinkExpectation> | undefined
  /** The name of the instrumentation scope. */
  readonly scope?: string | RegExp | undefined
  readonly traceId?: string | undefined
  readonly spanId?: string | undefined
}

/**
 * One thing about a span that is not as expected.
 *
 * @category models
 * @since 0.1.0
 */
export interface SpanDifference {
  /** Such as `kind` or `attributes["gen_ai.request.model"]`. */
  readonly path: string
  readonly expected: unknown
  /** `undefined` if there is nothing. */
  readonly actual: unknown
}

/**
 * Something about a span that goes against the semantic conventions.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConventionViolation {
  readonly rule:
    | "missing-attribute"
    | "wrong-type"
    | "deprecated-name"
    | "deprecated-value"
    | "content"
    | "span-name"
    | "span-kind"
    | "not-ended"
  /** The name of the span. */
  readonly span: string
  readonly spanId: string
  /** The attribute or event that it is about, if it is about one. */
  readonly attribute?: string
  /** What is wrong, and what would be right. */
  readonly message: string
}

/**
 * The options of a layer for tests.
 *
 * @category options
 * @since 0.1.0
 */
export interface TracingTestOptions {
  /** How GenAI spans are written. Default: Loom's convention, without content. */
  readonly genAi?: Partial<GenAiSettings> | undefined
  /** Which spans are recorded. Default: all whose parent is. */
  readonly sampler?: Sampler | undefined
}

// =============================================================================
// Errors
// =============================================================================

/** More would bury what the message is about. */
const MAX_LINES = 50

const recordedBelow = (spans: ReadonlyArray<RecordedSpan>): string => {
  if (spans.length === 0) {
    return "Nothing was recorded. Is the code under test given the same layer as the test? " +
      "Each `Effect.provide(TracingTest.layer)` has spans of its own."
  }
  const lines = showTree(spans).split("\n")
  const more = lines.length > MAX_LINES ? [`… and ${lines.length - MAX_LINES} more`] : []
  return ["Recorded:", ...[...lines.slice(0, MAX_LINES), ...more].map((line) => `  ${line}`)].join("\n")
}

/**
 * No finished span is as expected. The message shows the closest one, what is
 * different about it, and what was recorded.
 *
 * **Example** (Reading what is different)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { TracingTest } from "loom-tracing/TracingTest"
 *
 * const differences = Effect.gen(function*() {
 *   const tracing = yield* TracingTest
 *   yield* Effect.void.pipe(Effect.withSpan("job"))
 *   const error = yield* Effect.flip(tracing.expectSpan({ name: "job", kind: "client" }))
 *   return error.differences
 * })
 *
 * const [difference] = await Effect.runPromise(Effect.provide(differences, TracingTest.layer))
 * difference // => { path: "kind", expected: "client", actual: "internal" }
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class SpanNotFound extends Data.TaggedError("SpanNotFound")<{
  readonly expected: SpanExpectation
  /** The span with the fewest differences, if there was any. It may not have ended. */
  readonly closest: RecordedSpan | undefined
  readonly differences: ReadonlyArray<SpanDifference>
  /** All spans, in the order of their start. */
  readonly recorded: ReadonlyArray<RecordedSpan>
}> {
  override get message(): string {
    const lines = [`No finished span is like ${show(this.expected)}`]
    if (this.closest !== undefined) {
      lines.push(`The closest is ${show(this.closest.name)}:`)
      for (const { actual, expected, path } of this.differences) {
        lines.push(`  ${path}: expected ${show(expected)}, got ${show(actual)}`)
      }
    }
    return [...lines, recordedBelow(this.recorded)].join("\n")
  }
}

/**
 * There is a span like the one that is expected not to be.
 *
 * **Example** (Finding what should not be there)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { TracingTest } from "loom-tracing/TracingTest"
 *
 * const found = Effect.gen(function*() {
 *   const tracing = yield* TracingTest
 *   yield* Effect.void.pipe(Effect.withSpan("job"))
 *   return yield* tracing.expectNoSpan({ name: "job" }).pipe(
 *     Effect.as(0),
 *     Effect.catchTag("UnexpectedSpan", (error) => Effect.succeed(error.found.length))
 *   )
 * })
 *
 * await Effect.runPromise(Effect.provide(found, TracingTest.layer)) // => 1
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class UnexpectedSpan extends Data.TaggedError("UnexpectedSpan")<{
  readonly unexpected: SpanExpectation
  /** The spans that are like it. They may not have ended. */
  readonly found: ReadonlyArray<RecordedSpan>
  /** All spans, in the order of their start. */
  readonly recorded: ReadonlyArray<RecordedSpan>
}> {
  override get message(): string {
    const names = this.found.map((span) => show(span.name)).join(", ")
    return `Expected no span like ${show(this.unexpected)}, got ${names}\n${recordedBelow(this.recorded)}`
  }
}

// =============================================================================
// Service
// =============================================================================

const loadTracers = Effect.tryPromise(() => import("./internal/memoryTracers.ts")).pipe(
  Effect.catch(({ cause }) =>
    Effect.die(
      new Error(
        "TracingTest records on the OpenTelemetry SDK, which could not be loaded. Its packages are optional " +
          "dependencies of loom-tracing: install them, that is, without --omit=optional",
        { cause }
      )
    )
  )
)

const findSpan = (
  recorded: ReadonlyArray<RecordedSpan>,
  expected: SpanExpectation
): Effect.Effect<FinishedSpan, SpanNotFound> => {
  const matches = matchAll(recorded, expected).map(({ differences, span }) => ({
    span,
    differences: span.end === undefined
      ? [...differences, { path: "end", expected: "a span that has ended", actual: undefined }]
      : differences
  }))
  const found = matches.find(({ differences }) => differences.length === 0)
  if (found !== undefined) return Effect.succeed(found.span as FinishedSpan)
  const near = closest(matches)
  return Effect.fail(
    new SpanNotFound({ expected, closest: near?.span, differences: near?.differences ?? [], recorded })
  )
}

const findNoSpan = (
  recorded: ReadonlyArray<RecordedSpan>,
  unexpected: SpanExpectation
): Effect.Effect<void, UnexpectedSpan> => {
  const found = matchAll(recorded, unexpected).filter(({ differences }) => differences.length === 0)
  return found.length === 0
    ? Effect.void
    : Effect.fail(new UnexpectedSpan({ unexpected, found: found.map(({ span }) => span), recorded }))
}

const build = Effect.fnUntraced(function*(options: TracingTestOptions): Effect.fn.Return<Context.Context<TracingTest>> {
  const { makeMemoryTracers } = yield* loadTracers
  const log = Effect.runForkWith(Context.omit(Tracer.ParentSpan)(yield* Effect.context<never>()))
  const memory = makeMemoryTracers({
    sampler: options.sampler,
    report: (message) => {
      log(warn(message))
    }
  })
  const genAi = mergeSettings(yield* GenAiSettings, options.genAi)
  const numbers = () => {
    const ended = memory.finished().length
    return { ended, exported: ended, dropped: 0, queued: 0 }
  }
  const recorder = TracingTest.of({
    spans: Effect.sync(memory.finished),
    open: Effect.sync(() => memory.all().filter((span) => span.end === undefined)),
    tree: Effect.sync(() => showTree(memory.all())),
    expectSpan: (expected) => Effect.suspend(() => findSpan(memory.all(), expected)),
    expectNoSpan: (unexpected) => Effect.suspend(() => findNoSpan(memory.all(), unexpected)),
    conventionViolations: Effect.sync(() => memory.all().flatMap((span) => violationsOf(span, genAi))),
    reset: Effect.sync(memory.reset)
  })
  return Context.make(TracingTest, recorder).pipe(
    Context.add(Tracing, {
      enabled: true,
      tracer: memory.tracer,
      flush: Effect.void,
      exportStats: Effect.sync(numbers)
    }),
    Context.add(Tracer.Tracer, memory.tracer({ name: PACKAGE_NAME, version: PACKAGE_VERSION })),
    Context.add(GenAiSettings, genAi)
  )
})

// Fresh, since Effect builds a layer once for all that is provided with it, also for tests that run side by side.
const makeLayer = (options: TracingTestOptions): Layer.Layer<TracingTest> =>
  Layer.fresh(Layer.effectContext(Effect.suspend(() => build(options))))

/**
 * What a test sees of the spans that were recorded.
 *
 * **When to use**
 *
 * Use to test that your program, or your own instrumentation, makes the spans
 * that it should.
 *
 * **Details**
 *
 * `TracingTest.layer` turns tracing on for whatever it is provided to: the real
 * OpenTelemetry SDK records, and the spans stay in memory. Nothing is global and
 * the environment is not read, so tests can run side by side. Times are those
 * of Effect's `Clock`, so a test with `TestClock` can tell durations exactly.
 *
 * `expectSpan` succeeds with a finished span that is as expected, the first to
 * have started, and fails with the differences of the closest one. `expectNoSpan`
 * fails if any span is, finished or not. `conventionViolations` checks every
 * span against OpenTelemetry's conventions for GenAI, MCP and messaging:
 * required attributes, types, names that are deprecated (unless the convention is
 * Loom's own, which writes some of them), the name and the kind of the span,
 * content where `GenAiSettings.capture` does not ask for it, and spans that have
 * not ended.
 *
 * **Gotchas**
 *
 * Each time that the layer is provided, it has spans of its own. Where layers of
 * your services are to be recorded too, provide it once around them and the
 * test: `Layer.provideMerge(MyService.layer, TracingTest.layer)`.
 *
 * **Example** (Testing in a test runner of any kind)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withLlmSpan } from "loom-tracing"
 * import { TracingTest } from "loom-tracing/TracingTest"
 *
 * const ask = (question: string) =>
 *   Effect.succeed({ text: "42", tokens: question.length }).pipe(
 *     withLlmSpan({
 *       provider: "openai",
 *       request: { model: "gpt-4o" },
 *       response: (answer) => ({ usage: { outputTokens: answer.tokens } })
 *     }),
 *     Effect.withSpan("ask")
 *   )
 *
 * const test = Effect.gen(function*() {
 *   const tracing = yield* TracingTest
 *   yield* ask("Why?")
 *   const span = yield* tracing.expectSpan({
 *     name: "llm.call",
 *     kind: "client",
 *     attributes: { "gen_ai.request.model": "gpt-4o", "error.type": undefined },
 *     parent: "ask"
 *   })
 *   yield* tracing.expectNoSpan({ status: "error" })
 *   return {
 *     tokens: span.attributes["gen_ai.usage.output_tokens"],
 *     tree: yield* tracing.tree,
 *     violations: yield* tracing.conventionViolations
 *   }
 * })
 *
 * const result = await Effect.runPromise(Effect.provide(test, TracingTest.layer))
 * result.tokens // => 4
 * result.tree // => "ask\n  llm.call [client]"
 * result.violations // => []
 * ```
 *
 * **Example** (Reading a difference)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { TracingTest } from "loom-tracing/TracingTest"
 *
 * const test = Effect.gen(function*() {
 *   const tracing = yield* TracingTest
 *   yield* Effect.void.pipe(Effect.withSpan("load", { attributes: { rows: 3 } }))
 *   return yield* Effect.flip(tracing.expectSpan({ name: "load", attributes: { rows: 4 } }))
 * })
 *
 * const error = await Effect.runPromise(Effect.provide(test, TracingTest.layer))
 * error.message.split("\n")[2] // => "  attributes[\"rows\"]: expected 4, got 3"
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class TracingTest extends Context.Service<TracingTest, {
  /** The spans that have ended, in that order. */
  readonly spans: Effect.Effect<ReadonlyArray<FinishedSpan>>
  /** The spans that have started and not ended, in the order of their start. */
  readonly open: Effect.Effect<ReadonlyArray<RecordedSpan>>
  /** All spans as a tree in text, a line each: by start, children below their parent, with kind and error. */
  readonly tree: Effect.Effect<string>
  /** A finished span that is as expected. */
  readonly expectSpan: (expected: SpanExpectation) => Effect.Effect<FinishedSpan, SpanNotFound>
  /** Fails if a span is like this, finished or not. */
  readonly expectNoSpan: (unexpected: SpanExpectation) => Effect.Effect<void, UnexpectedSpan>
  /** What goes against the semantic conventions. */
  readonly conventionViolations: Effect.Effect<ReadonlyArray<ConventionViolation>>
  /** Forgets all spans, also those that have not ended. */
  readonly reset: Effect.Effect<void>
}>()("loom-tracing/TracingTest") {
  /** Records spans in memory, with the defaults of `TracingTestOptions`. */
  static readonly layer: Layer.Layer<TracingTest> = makeLayer({})

  /** Records spans in memory, with options of your own. */
  static readonly layerWith: (options: TracingTestOptions) => Layer.Layer<TracingTest> = makeLayer
}
