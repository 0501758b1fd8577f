import type { FixtureOpts } from "@copilotkit/aimock"
import { assert, describe, it } from "@effect/vitest"
import type { Span } from "@opentelemetry/sdk-trace-base"
import {
  Cause,
  ConfigProvider,
  Data,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  Queue,
  Stream
} from "effect"
import { TestClock } from "effect/testing"
import {
  annotateLlmResponse,
  type GenAiSettings,
  type LlmStreamFold,
  type LlmStreamSpanOptions,
  makeTracingLive,
  traceAsyncIterable,
  TracingNoop,
  withLlmStreamSpan
} from "loom-tracing"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import OpenAI from "openai"
import * as ForeignTracer from "./support/ForeignTracer.ts"
import * as LlmServer from "./support/LlmServer.ts"
import * as Recorder from "./support/Recorder.ts"

const minimal = { provider: "openai", request: { model: "gpt-4o" } } as const

interface Chunk {
  readonly text: string
  readonly tokens: number
}

/** Each chunk reports all tokens so far, as providers do. */
const chunk = (index: number): Chunk => ({ text: `t${index}`, tokens: index + 1 })
const chunks = (count: number): Array<Chunk> => Array.from({ length: count }, (_, index) => chunk(index))

const fold: LlmStreamFold<Chunk, { tokens: number; text: string | undefined }> = {
  initial: ({ content }) => ({ tokens: 0, text: content ? "" : undefined }),
  step: (state, { text, tokens }) => {
    state.tokens = tokens
    if (state.text !== undefined) state.text += text
    return state
  },
  response: ({ text, tokens }) => ({
    finishReasons: ["stop"],
    usage: { outputTokens: tokens },
    ...(text === undefined ? undefined : { output: text })
  })
}

const options = { ...minimal, fold }

class Disconnected extends Data.TaggedError("Disconnected")<{}> {}

describe("withLlmStreamSpan", () => {
  it.effect("is the span of a model call that streams, from the run of the stream to its end", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { convention: "latest" } })
      const stream = Stream.fromIterable(chunks(3)).pipe(
        Stream.rechunk(1),
        Stream.tap(() => TestClock.adjust("2 seconds")),
        withLlmStreamSpan(options)
      )
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* recorder.run(Stream.runCollect(stream)), chunks(3))
      const span = recorder.span("chat gpt-4o")
      assert.deepStrictEqual(span.attributes, {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": true,
        "gen_ai.response.time_to_first_chunk": 2,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.output_tokens": 3
      })
      assert.deepStrictEqual(span.duration, [6, 0])
    }))

  it.effect("is current for the effects of the stream, not for those that come after it", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        Stream.fromEffect(Effect.void.pipe(Effect.withSpan("acquire"))).pipe(
          Stream.concat(Stream.make(undefined)),
          Stream.mapEffect(() => Effect.void.pipe(Effect.withSpan("upstream"))),
          withLlmStreamSpan(minimal),
          Stream.mapEffect(() => Effect.void.pipe(Effect.withSpan("downstream"))),
          Stream.runDrain,
          Effect.withSpan("outer")
        )
      )
      const parents = recorder.spans.map((span) => [
        span.name,
        recorder.spans.find((other) => other.spanContext().spanId === span.parentSpanContext?.spanId)?.name
      ])
      assert.deepStrictEqual(parents, [
        ["acquire", "llm.call"],
        ["upstream", "llm.call"],
        ["downstream", "outer"],
        ["upstream", "llm.call"],
        ["downstream", "outer"],
        ["llm.call", "outer"],
        ["outer", undefined]
      ])
    }))

  it.effect("keeps the type of the stream, piped, stored, data-first and without a fold", () =>
    Effect.gen(function*() {
      const source: Stream.Stream<Chunk, Disconnected> = Stream.fromIterable(chunks(2))
      const stored = withLlmStreamSpan(options)
      const plain = withLlmStreamSpan(minimal)
      const piped: Stream.Stream<Chunk, Disconnected> = source.pipe(
        withLlmStreamSpan({
          ...minimal,
          fold: {
            initial: () => 0,
            step: (sum, { tokens }) => sum + tokens,
            response: (sum) => ({ usage: { outputTokens: sum } })
          }
        })
      )
      const kept: Stream.Stream<Chunk, Disconnected> = stored(source)
      const bare: Stream.Stream<Chunk, Disconnected> = plain(source)
      const first: Stream.Stream<Chunk, Disconnected> = withLlmStreamSpan(source, options)
      const declared: LlmStreamSpanOptions<Chunk> = options
      const told: Stream.Stream<Chunk, Disconnected> = source.pipe(withLlmStreamSpan(declared))
      const recorder = Recorder.make()
      for (const stream of [piped, kept, bare, first, told]) {
        assert.deepStrictEqual(yield* recorder.run(Stream.runCollect(stream)), chunks(2))
      }
      assert.lengthOf(recorder.spans, 5)
    }))

  it.effect("runs the stream as it is when tracing is off", () =>
    Effect.gen(function*() {
      const span = Effect.withFiber((fiber) => Effect.succeed(fiber.cache.span))
      const stream = Stream.fromEffect(span).pipe(
        withLlmStreamSpan({
          ...minimal,
          fold: { initial: () => assert.fail("called"), step: () => undefined, response: () => ({}) }
        })
      )
      assert.deepStrictEqual(yield* Stream.runCollect(stream), [undefined])
      assert.deepStrictEqual(yield* Stream.runCollect(stream).pipe(Effect.provide(TracingNoop)), [undefined])
    }))

  it.effect("has what the stream annotates, and the fold has the last word", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { convention: "latest" } })
      yield* recorder.run(
        Stream.fromIterable(chunks(2)).pipe(
          Stream.tap(() => annotateLlmResponse({ id: "r", usage: { inputTokens: 7, outputTokens: 1000 } })),
          withLlmStreamSpan(options),
          Stream.runDrain
        )
      )
      const { attributes } = recorder.spans[0]
      assert.strictEqual(attributes["gen_ai.response.id"], "r")
      assert.strictEqual(attributes["gen_ai.usage.input_tokens"], 7)
      assert.strictEqual(attributes["gen_ai.usage.output_tokens"], 2)
    }))

  it.effect("a span for each run", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const stream = Stream.fromIterable(chunks(2)).pipe(withLlmStreamSpan(options))
      yield* recorder.run(Effect.andThen(Stream.runDrain(stream), Stream.runDrain(Stream.take(stream, 1))))
      assert.lengthOf(recorder.spans, 2)
    }))

  for (
    const [part, broken] of [
      ["initial", { ...fold, initial: () => raise("initial") }],
      ["step", { ...fold, step: () => raise("step") }],
      ["response", { ...fold, response: () => raise("response") }]
    ] as ReadonlyArray<readonly [string, typeof fold]>
  ) {
    it.effect(`a fold whose ${part} throws changes neither the stream nor the end of its span, and is reported once`, () =>
      Effect.gen(function*() {
        const logs: Array<unknown> = []
        const logger = Logger.layer([Logger.make(({ message }) => logs.push(message))])
        const recorder = Recorder.make()
        const stream = Stream.fromIterable(chunks(3)).pipe(withLlmStreamSpan({ ...minimal, fold: broken }))
        for (let run = 0; run < 3; run++) {
          const received = yield* recorder.run(Stream.runCollect(stream)).pipe(Effect.provide(logger))
          assert.deepStrictEqual(received, chunks(3))
        }
        assert.lengthOf(recorder.spans, 3)
        assert.notProperty(recorder.spans[0].attributes, "gen_ai.usage.output_tokens")
        assert.lengthOf(logs, 1)
        assert.match(String(logs[0]), /`fold` of a stream has thrown.*RangeError/)
      }))
  }

  for (
    const [capture, kept] of [["NO_CONTENT", false], ["SPAN_ONLY", true], ["EVENT_ONLY", true]] as ReadonlyArray<
      readonly [GenAiSettings["capture"], boolean]
    >
  ) {
    it.effect(`${capture}: the fold is told ${kept ? "" : "not "}to keep content`, () =>
      Effect.gen(function*() {
        let told: boolean | undefined
        yield* Recorder.make({ genAi: { capture } }).run(
          Stream.fromIterable(chunks(1)).pipe(
            withLlmStreamSpan({
              ...minimal,
              fold: {
                initial: ({ content }) => {
                  told = content
                },
                step: () => undefined,
                response: () => ({})
              }
            }),
            Stream.runDrain
          )
        )
        assert.strictEqual(told, kept)
      }))
  }
})

const raise = (part: string): never => {
  throw new RangeError(part)
}

// =============================================================================
// Every way in which a stream can end
// =============================================================================

/** A stream of `count` chunks that lets other fibers run before each. */
const source = (count: number): Stream.Stream<Chunk> =>
  Stream.fromIterable(chunks(count)).pipe(Stream.rechunk(1), Stream.tap(() => Effect.yieldNow))

interface Ending {
  /** Runs a stream of at least 3 chunks to its end and returns how many it has let through. */
  readonly run: (
    wrap: <E>(stream: Stream.Stream<Chunk, E>) => Stream.Stream<Chunk, E>,
    count: number
  ) => Effect.Effect<number>
  /** `error.type` of its span. */
  readonly error?: string
  readonly interrupted?: boolean
}

const counted = <E>(stream: Stream.Stream<Chunk, E>): Effect.Effect<number> => {
  let received = 0
  return stream.pipe(
    Stream.runForEach(() => Effect.sync(() => received++)),
    Effect.exit,
    Effect.map(() => received)
  )
}

const endings: Readonly<Record<string, Ending>> = {
  "completion": { run: (wrap, count) => counted(wrap(source(count))) },
  "an error": {
    run: (wrap, count) => counted(wrap(Stream.concat(source(count), Stream.fail(new Disconnected())))),
    error: "Disconnected"
  },
  "a defect": {
    run: (wrap, count) => counted(wrap(Stream.concat(source(count), Stream.die(new TypeError("bug"))))),
    error: "TypeError"
  },
  "an error in the middle of a pull": {
    run: (wrap, count) =>
      counted(wrap(
        source(count).pipe(
          Stream.mapEffect((chunk) => chunk.tokens === count ? Effect.fail(new Disconnected()) : Effect.succeed(chunk))
        )
      )),
    error: "Disconnected"
  },
  "an early take": { run: (wrap, count) => counted(Stream.take(wrap(source(count)), 2)) },
  "a consumer that fails": {
    run: (wrap, count) => {
      let received = 0
      return wrap(source(count)).pipe(
        Stream.runForEach(() => ++received === 2 ? Effect.fail("enough") : Effect.void),
        Effect.exit,
        Effect.map(() => received)
      )
    }
  },
  "a consumer that dies": {
    run: (wrap, count) => {
      let received = 0
      return wrap(source(count)).pipe(
        Stream.runForEach(() => ++received === 3 ? Effect.die(new TypeError("bug")) : Effect.void),
        Effect.exit,
        Effect.map(() => received)
      )
    }
  },
  "an interruption": {
    run: (wrap, count) =>
      Effect.gen(function*() {
        let received = 0
        const third = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(
          wrap(Stream.concat(source(count), Stream.never)).pipe(
            Stream.runForEach(() => ++received === 3 ? Deferred.succeed(third, undefined) : Effect.void)
          )
        )
        yield* Deferred.await(third)
        yield* Fiber.interrupt(fiber)
        return received
      }),
    interrupted: true
  },
  "a timeout": {
    run: (wrap, count) => {
      let received = 0
      return wrap(Stream.concat(source(count), Stream.never)).pipe(
        Stream.runForEach(() => Effect.sync(() => received++)),
        Effect.timeout("1 second"),
        Effect.exit,
        Effect.map(() => received)
      )
    },
    interrupted: true
  },
  "the closing of a scope in which somebody holds it": {
    run: (wrap, count) =>
      Effect.scoped(Effect.gen(function*() {
        const pull = yield* Stream.toPull(wrap(source(count)))
        return Exit.isSuccess(yield* Effect.exit(Effect.andThen(pull, pull))) ? 2 : 0
      }))
  },
  "the closing of a scope before anything was pulled": {
    run: (wrap, count) => Effect.scoped(Effect.as(Stream.toPull(wrap(source(count))), 0))
  },
  "a race that it loses": {
    run: (wrap, count) => {
      let received = 0
      return Effect.race(
        Effect.forever(Effect.suspend(() => received >= 2 ? Effect.fail("over") : Effect.yieldNow)).pipe(Effect.ignore),
        wrap(Stream.concat(source(count), Stream.never)).pipe(
          Stream.runForEach(() => Effect.sync(() => received++))
        )
      ).pipe(Effect.map(() => received))
    },
    interrupted: true
  },
  "no chunk at all": { run: (wrap) => counted(wrap(Stream.empty)) }
}

/** Counts the spans that are open. */
const makeOpenSpans = () => {
  const open = new Set<string>()
  const ended: Array<Recorded> = []
  const layer = Layer.orDie(makeTracingLive({
    exporter: "none",
    genAi: { convention: "latest" },
    spanProcessors: [{
      onStart: (span: Span) => {
        open.add(span.spanContext().spanId)
      },
      onEnd: (span) => {
        open.delete(span.spanContext().spanId)
        ended.push({ attributes: span.attributes })
      },
      forceFlush: () => Promise.resolve(),
      shutdown: () => Promise.resolve()
    }]
  })).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({}))))
  return { open, ended, layer }
}

interface Recorded {
  readonly attributes: Readonly<Record<string, unknown>>
}

describe("a stream's span ends once", () => {
  for (const [name, ending] of Object.entries(endings)) {
    it.effect(`on ${name}`, () =>
      Effect.gen(function*() {
        const { ended, layer, open } = makeOpenSpans()
        const fiber = yield* Effect.forkChild(
          ending.run((stream) => stream.pipe(withLlmStreamSpan(options)), 5).pipe(Effect.provide(layer))
        )
        while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
        const received = yield* Fiber.join(fiber)
        assert.strictEqual(open.size, 0)
        assert.lengthOf(ended, 1)
        const { attributes } = ended[0]
        assert.strictEqual(attributes["error.type"], ending.error)
        assert.strictEqual(attributes["effect.fiber.interrupted"], ending.interrupted)
        assert.strictEqual(attributes["gen_ai.usage.output_tokens"], received === 0 ? undefined : received)
      }))
  }

  it.effect("where a pull is given up and tried again, with all of its usage", () =>
    Effect.gen(function*() {
      const { ended, layer, open } = makeOpenSpans()
      yield* Effect.gen(function*() {
        const queue = yield* Queue.make<Chunk, Cause.Done>()
        const pull = yield* Stream.toPull(Stream.fromQueue(queue).pipe(withLlmStreamSpan(options)))
        for (let index = 0; index < 3; index++) {
          const given = yield* Effect.forkChild(Effect.timeoutOption(pull, "1 second"))
          yield* TestClock.adjust("1 second")
          assert.isTrue(Option.isNone(yield* Fiber.join(given)))
          assert.strictEqual(open.size, 1)
          yield* Queue.offer(queue, chunk(index))
          assert.deepStrictEqual(yield* pull, [chunk(index)])
        }
        yield* Queue.end(queue)
        yield* Effect.exit(pull)
        assert.strictEqual(open.size, 0)
      }).pipe(Effect.scoped, Effect.provide(layer))
      assert.lengthOf(ended, 1)
      const { attributes } = ended[0]
      assert.strictEqual(attributes["gen_ai.usage.output_tokens"], 3)
      assert.notProperty(attributes, "effect.fiber.interrupted")
    }))

  for (
    const { interrupted, name, triesAgain } of [
      { name: "is interrupted where a pull was given up and not tried again", triesAgain: false, interrupted: true },
      { name: "is not where it was tried again, and then left", triesAgain: true, interrupted: undefined }
    ]
  ) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const { ended, layer } = makeOpenSpans()
        yield* Effect.gen(function*() {
          const queue = yield* Queue.make<Chunk, Cause.Done>()
          const pull = yield* Stream.toPull(Stream.fromQueue(queue).pipe(withLlmStreamSpan(options)))
          const given = yield* Effect.forkChild(Effect.timeoutOption(pull, "1 second"))
          yield* TestClock.adjust("1 second")
          assert.isTrue(Option.isNone(yield* Fiber.join(given)))
          if (!triesAgain) return
          yield* Queue.offer(queue, chunk(0))
          yield* pull
        }).pipe(Effect.scoped, Effect.provide(layer))
        assert.deepStrictEqual(ended.map(({ attributes }) => attributes["effect.fiber.interrupted"]), [interrupted])
      }))
  }

  it.live("whatever ends 1,000 of them at once, with the usage of each", () =>
    Effect.gen(function*() {
      const { ended, layer, open } = makeOpenSpans()
      const ways = Object.entries(endings)
      const results = yield* Effect.forEach(
        Array.from({ length: 1000 }, (_, index) => index),
        (index) => {
          const [name, ending] = ways[index % ways.length]
          const wrap = <E>(stream: Stream.Stream<Chunk, E>) =>
            stream.pipe(withLlmStreamSpan({ ...options, attributes: { index } }))
          return Effect.map(ending.run(wrap, 3 + index % 7), (received) => ({ name, ending, received }))
        },
        { concurrency: "unbounded" }
      ).pipe(Effect.provide(layer))
      assert.strictEqual(open.size, 0)
      assert.lengthOf(ended, 1000)
      assert.strictEqual(new Set(ended.map(({ attributes }) => attributes.index)).size, 1000)
      for (const { attributes } of ended) {
        const { ending, name, received } = results[attributes.index as number]
        assert.strictEqual(attributes["error.type"], ending.error, name)
        assert.strictEqual(attributes["effect.fiber.interrupted"], ending.interrupted, name)
        assert.strictEqual(
          attributes["gen_ai.usage.output_tokens"],
          received === 0 ? undefined : received,
          name
        )
      }
    }))

  it.live("and holds nothing of a long stream while content is off", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      setFlagsFromString("--expose-gc")
      const collectGarbage: () => void = runInNewContext("gc")
      /** What the heap holds at the end of a stream of so many chunks of 10 kB, each of them new. */
      const heapAfter = (count: number) => {
        let heap = 0
        return Stream.range(1, count).pipe(
          Stream.rechunk(1),
          Stream.map((index): Chunk => ({ text: Buffer.alloc(10_000, index).toString("latin1"), tokens: index })),
          Stream.concat(Stream.fromEffect(Effect.sync((): Chunk => {
            collectGarbage()
            heap = process.memoryUsage().heapUsed
            return { text: "", tokens: count }
          }))),
          withLlmStreamSpan(options),
          Stream.runDrain,
          Effect.map(() => heap)
        )
      }
      yield* recorder.run(heapAfter(1000))
      const short = yield* recorder.run(heapAfter(1000))
      const long = yield* recorder.run(heapAfter(20_000))
      // 20,000 chunks are 200 MB.
      assert.isBelow(long - short, 5_000_000)
      assert.strictEqual(recorder.spans.at(-1)?.attributes["gen_ai.usage.output_tokens"], 20_000)
    }))
})

// =============================================================================
// Async iterables
// =============================================================================

/** What a client returns: an iterable that notes whether it was closed. */
const clientStream = (count: number, fail?: Error) => {
  const state = { closed: false }
  return {
    state,
    iterable: {
      async *[Symbol.asyncIterator]() {
        try {
          for (const chunk of chunks(count)) yield chunk
          if (fail !== undefined) throw fail
        } finally {
          state.closed = true
        }
      }
    } satisfies AsyncIterable<Chunk>
  }
}

const iterate = async (iterable: AsyncIterable<Chunk>, limit = Infinity): Promise<number> => {
  let received = 0
  for await (const _ of iterable) {
    received++
    if (received === limit) break
  }
  return received
}

describe("traceAsyncIterable", () => {
  for (
    const [name, limit, fail, expected] of [
      ["its end", Infinity, undefined, { received: 4 }],
      ["a break", 2, undefined, { received: 2 }],
      ["the error that it throws", Infinity, new RangeError("cut"), { received: 4, error: "RangeError" }]
    ] as ReadonlyArray<readonly [string, number, Error | undefined, { received: number; error?: string }]>
  ) {
    it.effect(`the span ends with ${name}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { convention: "latest" } })
        const { iterable, state } = clientStream(4, fail)
        yield* Effect.gen(function*() {
          const traced = yield* TestClock.adjust("1 second").pipe(
            Effect.as(iterable),
            traceAsyncIterable(options)
          )
          assert.lengthOf(recorder.spans, 0)
          const exit = yield* Effect.exit(Effect.tryPromise(() => iterate(traced, limit)))
          assert.strictEqual(Exit.isFailure(exit), fail !== undefined)
        }).pipe(Effect.provide(recorder.layer))
        assert.isTrue(state.closed)
        const { attributes } = recorder.span("chat gpt-4o")
        assert.strictEqual(attributes["error.type"], expected.error)
        assert.strictEqual(attributes["gen_ai.usage.output_tokens"], expected.received)
        assert.strictEqual(attributes["gen_ai.response.time_to_first_chunk"], 1)
      }))
  }

  it.effect("the span ends when an iteration that hangs is left", () =>
    Effect.gen(function*() {
      const { ended, layer, open } = makeOpenSpans()
      const hanging = async function*() {
        yield* chunks(1)
        yield await new Promise<Chunk>(() => {})
      }
      yield* Effect.gen(function*() {
        const traced = yield* Effect.sync(hanging).pipe(traceAsyncIterable(options))
        const iterator = traced[Symbol.asyncIterator]()
        yield* Effect.promise(() => iterator.next())
        void iterator.next()
        void iterator.return?.()
        assert.strictEqual(open.size, 0)
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(ended.map(({ attributes }) => attributes["gen_ai.usage.output_tokens"]), [1])
    }))

  it.effect("the request is inside the span, and its failure ends it", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const request = Effect.fail(new Disconnected()).pipe(Effect.withSpan("http"))
      const exit = yield* recorder.run(request.pipe(traceAsyncIterable(options), Effect.exit))
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(recorder.span("llm.call").attributes["error.type"], "Disconnected")
      assert.strictEqual(
        recorder.span("http").parentSpanContext?.spanId,
        recorder.span("llm.call").spanContext().spanId
      )
    }))

  it.effect("what cannot be iterated ends it with the error that it throws", () =>
    Effect.gen(function*() {
      const { ended, layer, open } = makeOpenSpans()
      const error = new RangeError("consumed")
      const exit = yield* Effect.succeed({
        [Symbol.asyncIterator]: (): AsyncIterator<Chunk> => {
          throw error
        }
      }).pipe(
        traceAsyncIterable(options),
        Effect.flatMap((iterable) => Effect.promise(() => iterate(iterable))),
        Effect.exit,
        Effect.provide(layer)
      )
      assert.deepStrictEqual(exit, Exit.die(error))
      assert.strictEqual(open.size, 0)
      assert.deepStrictEqual(ended.map(({ attributes }) => attributes["error.type"]), ["RangeError"])
    }))

  it.effect("an interrupted request ends it too", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(Effect.gen(function*() {
        const started = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(
          Deferred.succeed(started, undefined).pipe(Effect.andThen(Effect.never), traceAsyncIterable(options))
        )
        yield* Deferred.await(started)
        yield* Fiber.interrupt(fiber)
      }))
      assert.strictEqual(recorder.span("llm.call").attributes["effect.fiber.interrupted"], true)
    }))

  it.effect("values, errors and calls go through unchanged, also by hand", () =>
    Effect.gen(function*() {
      const calls: Array<ReadonlyArray<unknown>> = []
      const iterator: AsyncIterator<number, string, number> = {
        next: (...args) => {
          calls.push(["next", ...args])
          return Promise.resolve({ done: false, value: calls.length })
        },
        return: (value) => {
          calls.push(["return", value])
          return Promise.resolve({ done: true, value: "bye" })
        }
      }
      const recorder = Recorder.make()
      const iterable = yield* recorder.run(
        Effect.succeed({ [Symbol.asyncIterator]: () => iterator }).pipe(traceAsyncIterable(minimal))
      )
      const traced = iterable[Symbol.asyncIterator]()
      const results = yield* Effect.promise(async () => [
        await traced.next(),
        await traced.next(5),
        await traced.return?.("stop")
      ])
      assert.deepStrictEqual<unknown>(results, [
        { done: false, value: 1 },
        { done: false, value: 2 },
        { done: true, value: "bye" }
      ])
      assert.deepStrictEqual(calls, [["next", undefined], ["next", 5], ["return", "stop"]])
      assert.lengthOf(recorder.spans, 1)
    }))

  it.effect("an error that is thrown into it reaches the client's iterator, which may go on", () =>
    Effect.gen(function*() {
      const { ended, layer, open } = makeOpenSpans()
      const forgiving = async function*() {
        try {
          yield chunk(0)
        } catch {
          yield chunk(1)
        }
      }
      yield* Effect.gen(function*() {
        const iterator = (yield* Effect.sync(forgiving).pipe(traceAsyncIterable(options)))[Symbol.asyncIterator]()
        yield* Effect.promise(() => iterator.next())
        const next = yield* Effect.promise(async () => iterator.throw?.(new Disconnected()))
        assert.deepStrictEqual(next, { done: false, value: chunk(1) })
        assert.strictEqual(open.size, 1)
        yield* Effect.promise(() => iterator.next())
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(ended.map(({ attributes }) => attributes), [{
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": true,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0
      }])
    }))

  for (
    const { error, leave, name } of [
      {
        name: "returning from",
        leave: (iterator: AsyncIterator<Chunk>): unknown => iterator.return?.("bye"),
        error: undefined
      },
      {
        name: "throwing into",
        leave: (iterator: AsyncIterator<Chunk>): unknown => iterator.throw?.(new Disconnected()),
        error: "Disconnected"
      }
    ]
  ) {
    it.effect(`${name} an iterator that knows only \`next\` does what it does with a generator`, () =>
      Effect.gen(function*() {
        const { ended, layer } = makeOpenSpans()
        const minimalIterable: AsyncIterable<Chunk> = {
          [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: false, value: chunk(0) }) })
        }
        const plain = (async function*() {
          yield* chunks(1)
        })()
        const left = yield* Effect.gen(function*() {
          const traced = yield* Effect.succeed(minimalIterable).pipe(traceAsyncIterable(options))
          const iterator = traced[Symbol.asyncIterator]()
          yield* Effect.promise(() => iterator.next())
          return yield* Effect.exit(Effect.promise(async () => leave(iterator)))
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(
          left,
          yield* Effect.exit(Effect.promise(async () => leave(plain)))
        )
        assert.deepStrictEqual(ended.map(({ attributes }) => attributes["error.type"]), [error])
      }))
  }

  it.effect("a second iteration is the client's own, and not counted", () =>
    Effect.gen(function*() {
      const { ended, layer } = makeOpenSpans()
      const again: AsyncIterable<Chunk> = {
        [Symbol.asyncIterator]: () => clientStream(2).iterable[Symbol.asyncIterator]()
      }
      yield* Effect.gen(function*() {
        const traced = yield* Effect.succeed(again).pipe(traceAsyncIterable(options))
        assert.strictEqual(yield* Effect.promise(() => iterate(traced)), 2)
        assert.strictEqual(yield* Effect.promise(() => iterate(traced)), 2)
        const own = { [Symbol.asyncIterator]: () => generator } as AsyncIterable<Chunk>
        const generator = clientStream(1).iterable[Symbol.asyncIterator]()
        const tracedOwn = yield* Effect.succeed(own).pipe(traceAsyncIterable(options))
        yield* Effect.promise(() => iterate(tracedOwn))
        assert.strictEqual(tracedOwn[Symbol.asyncIterator](), generator)
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(ended.map(({ attributes }) => attributes["gen_ai.usage.output_tokens"]), [2, 1])
    }))

  it.effect("a fold that throws changes nothing, and is reported once", () =>
    Effect.gen(function*() {
      const logs: Array<unknown> = []
      const logger = Logger.layer([Logger.make(({ message }) => logs.push(message))])
      const { ended, layer } = makeOpenSpans()
      const broken = { ...options, fold: { ...fold, step: () => raise("step of an iterable") } }
      for (let run = 0; run < 2; run++) {
        const received = yield* Effect.succeed(clientStream(3).iterable).pipe(
          traceAsyncIterable(broken),
          Effect.flatMap((traced) => Effect.promise(() => iterate(traced))),
          Effect.provide(Layer.merge(layer, logger))
        )
        assert.strictEqual(received, 3)
      }
      assert.lengthOf(ended, 2)
      assert.lengthOf(logs, 1)
      assert.match(String(logs[0]), /`fold` of a stream has thrown/)
    }))

  it.effect("hands out the client's own iterable when tracing is off", () =>
    Effect.gen(function*() {
      const { iterable } = clientStream(1)
      assert.strictEqual(yield* Effect.succeed(iterable).pipe(traceAsyncIterable(options)), iterable)
    }))

  it.live("1,000 of them at once, ended in every way", () =>
    Effect.gen(function*() {
      const { ended, layer, open } = makeOpenSpans()
      yield* Effect.forEach(
        Array.from({ length: 1000 }, (_, index) => index),
        (index) =>
          Effect.succeed(clientStream(5, index % 3 === 0 ? new RangeError("cut") : undefined).iterable).pipe(
            traceAsyncIterable(options),
            Effect.flatMap((iterable) => Effect.tryPromise(() => iterate(iterable, index % 3 === 1 ? 2 : Infinity))),
            Effect.ignore
          ),
        { concurrency: "unbounded" }
      ).pipe(Effect.provide(layer))
      assert.strictEqual(open.size, 0)
      assert.lengthOf(ended, 1000)
      const tokens = ended.map(({ attributes }) => attributes["gen_ai.usage.output_tokens"] as number)
      assert.strictEqual(tokens.reduce((sum, count) => sum + count, 0), 334 * 5 + 333 * 2 + 333 * 5)
    }))
})

// =============================================================================
// A real client
// =============================================================================

interface Completion {
  readonly choices: ReadonlyArray<
    { readonly delta: { readonly content?: string | null }; readonly finish_reason: string | null }
  >
  readonly usage?: { readonly completion_tokens: number } | null | undefined
}

const openAiFold: LlmStreamFold<Completion, { finish: string | null; tokens: number | undefined }> = {
  initial: () => ({ finish: null, tokens: undefined }),
  step: (state, chunk) => ({
    finish: chunk.choices[0]?.finish_reason ?? state.finish,
    tokens: chunk.usage?.completion_tokens ?? state.tokens
  }),
  response: ({ finish, tokens }) => ({ finishReasons: [finish], usage: { outputTokens: tokens } })
}

describe("the stream of OpenAI's client", () => {
  const request = (url: string, signal?: AbortSignal) =>
    Effect.tryPromise((interrupted) =>
      new OpenAI({ baseURL: url, apiKey: "test", maxRetries: 0 }).chat.completions.create({
        model: "gpt-test",
        messages: [{ role: "user", content: "Count" }],
        stream: true,
        stream_options: { include_usage: true }
      }, { signal: signal ?? interrupted })
    )
  const asStream = (url: string) =>
    Stream.unwrap(Effect.map(request(url), (chunks) => Stream.fromAsyncIterable(chunks, (error) => error)))
  const answer = "one two three four five six seven eight nine ten"
  const streamOptions = { provider: "openai", request: { model: "gpt-test" }, fold: openAiFold } as const

  const ways: Readonly<
    Record<string, {
      readonly fixture?: FixtureOpts
      readonly consume: (url: string) => Effect.Effect<unknown, unknown>
      readonly expected: Readonly<Record<string, unknown>>
    }>
  > = {
    "read to its end": {
      consume: (url) => asStream(url).pipe(withLlmStreamSpan(streamOptions), Stream.runDrain),
      expected: { "gen_ai.response.finish_reasons": ["stop"], "gen_ai.usage.output_tokens": 7 }
    },
    "left early": {
      consume: (url) => asStream(url).pipe(withLlmStreamSpan(streamOptions), Stream.take(2), Stream.runDrain),
      expected: { "gen_ai.response.finish_reasons": ["error"] }
    },
    "cut by the server": {
      fixture: LlmServer.disconnectAfter(3),
      consume: (url) => asStream(url).pipe(withLlmStreamSpan(streamOptions), Stream.runDrain),
      expected: { "gen_ai.response.finish_reasons": ["error"], "error.type": "TypeError" }
    },
    "read by for await": {
      consume: (url) =>
        request(url).pipe(
          traceAsyncIterable(streamOptions),
          Effect.flatMap((chunks) =>
            Effect.tryPromise(async () => {
              for await (const _ of chunks) void _
            })
          )
        ),
      expected: { "gen_ai.response.finish_reasons": ["stop"], "gen_ai.usage.output_tokens": 7 }
    },
    "aborted by its signal": {
      fixture: { latency: 20, chunkSize: 4 },
      consume: (url) => {
        const abort = new AbortController()
        return request(url, abort.signal).pipe(
          traceAsyncIterable(streamOptions),
          Effect.flatMap((chunks) =>
            Effect.tryPromise(async () => {
              for await (const _ of chunks) abort.abort()
            })
          )
        )
      },
      // The client ends an aborted stream as if it were complete.
      expected: { "gen_ai.response.finish_reasons": ["error"] }
    },
    "refused": {
      consume: (url) => asStream(`${url}/nowhere`).pipe(withLlmStreamSpan(streamOptions), Stream.runDrain),
      expected: { "error.type": "NotFoundError" }
    }
  }

  for (const [name, { consume, expected, fixture }] of Object.entries(ways)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const server = yield* LlmServer.make
        yield* server.on({ userMessage: "Count" }, { content: answer, usage: LlmServer.usage(3, 7) }, fixture)
        const recorder = Recorder.make({ genAi: { convention: "latest" } })
        yield* recorder.run(consume(server.openAiBaseUrl).pipe(Effect.exit))
        const { attributes } = recorder.span("chat gpt-test")
        for (const key of ["gen_ai.response.finish_reasons", "gen_ai.usage.output_tokens", "error.type"]) {
          assert.deepStrictEqual<unknown>(attributes[key], expected[key], key)
        }
        const first = attributes["gen_ai.response.time_to_first_chunk"]
        assert.strictEqual(first !== undefined, name !== "refused")
        if (first !== undefined) assert.isAbove(Number(first), 0)
      }))
  }
})

describe("under a foreign tracer", () => {
  it.effect("a stream's span gets all attributes, and ends once", () =>
    Effect.gen(function*() {
      const { ended, tracer } = ForeignTracer.make()
      const exit = yield* Stream.concat(source(3), Stream.fail(new Disconnected())).pipe(
        withLlmStreamSpan(options),
        Stream.runDrain,
        Effect.withTracer(tracer),
        Effect.exit
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.hasFails(exit.cause))
      assert.lengthOf(ended, 1)
      assert.strictEqual(ended[0].attributes.get("error.type"), "Disconnected")
      assert.strictEqual(ended[0].attributes.get("gen_ai.provider.name"), "openai")
      assert.strictEqual(ended[0].attributes.get("gen_ai.usage.output_tokens"), 3)
    }))
})
