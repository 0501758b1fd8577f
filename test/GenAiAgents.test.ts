import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Metric, References, Stream, Tracer } from "effect"
import {
  annotateLlmResponse,
  Baggage,
  GenAiMetrics,
  type GenAiSettings,
  injectTraceContext,
  type LlmResponse,
  type LlmUsage,
  recordEvaluation,
  TracingNoop,
  withAgent,
  withAgentSpan,
  withConversation,
  withCreateAgentSpan,
  withEmbeddingsSpan,
  withFetchResponseSpan,
  withLlmSpan,
  withLlmStreamSpan,
  withMcpSpan,
  withMemorySpan,
  withPlanSpan,
  withRetrievalSpan,
  withToolSpan,
  withTraceContext,
  withWorkflowSpan
} from "loom-tracing"
import * as ForeignTracer from "./support/ForeignTracer.ts"
import * as Recorder from "./support/Recorder.ts"

const minimal = { provider: "openai", request: { model: "gpt-4o" } } as const

type Combinator = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Every GenAI combinator, with as little as it takes. */
const combinators: Readonly<Record<string, Combinator>> = {
  withLlmSpan: withLlmSpan(minimal),
  withEmbeddingsSpan: withEmbeddingsSpan({ provider: "openai", request: { model: "e" } }),
  withFetchResponseSpan: withFetchResponseSpan({ provider: "openai", responseId: "r" }),
  withToolSpan: withToolSpan({ name: "t" }),
  withAgentSpan: withAgentSpan({}),
  withCreateAgentSpan: withCreateAgentSpan({ provider: "openai" }),
  withPlanSpan: withPlanSpan({}),
  withWorkflowSpan: withWorkflowSpan({}),
  withRetrievalSpan: withRetrievalSpan({}),
  withMemorySpan: withMemorySpan({ operation: "search_memory" })
}

class Overloaded extends Data.TaggedError("Overloaded")<{}> {}

describe("every GenAI combinator", () => {
  for (const [name, combinator] of Object.entries({ ...combinators, withMcpSpan: withMcpSpan({ method: "ping" }) })) {
    it.effect(`${name} leaves success, failure and interruption as they are, and says how the effect has ended`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        assert.strictEqual(yield* recorder.run(combinator(Effect.succeed(1))), 1)
        const error: Overloaded = yield* recorder.run(Effect.flip(combinator(Effect.fail(new Overloaded()))))
        assert.strictEqual(error._tag, "Overloaded")
        yield* recorder.run(Effect.exit(combinator(Effect.interrupt)))
        const [succeeded, failed, interrupted] = recorder.spans
        assert.lengthOf(recorder.spans, 3)
        assert.isUndefined(succeeded.attributes["error.type"])
        assert.strictEqual(failed.attributes["error.type"], "Overloaded")
        assert.strictEqual(interrupted.attributes["effect.fiber.interrupted"], true)
      }))

    for (
      const [state, off] of [
        ["nothing provided", (self) => self],
        ["TracingNoop", Effect.provide(TracingNoop)],
        [
          "withTracerEnabled(false)",
          (self) =>
            Effect.provideService(self, References.TracerEnabled, false).pipe(Effect.provide(Recorder.make().layer))
        ]
      ] as ReadonlyArray<readonly [string, <A, E>(self: Effect.Effect<A, E>) => Effect.Effect<A, E>]>
    ) {
      it.effect(`${name} runs the effect and nothing else: ${state}`, () =>
        Effect.gen(function*() {
          const span = yield* off(combinator(Effect.withFiber((fiber) => Effect.succeed(fiber.cache.span))))
          assert.isUndefined(span)
        }))
    }

    it.effect(`${name} writes everything under a foreign tracer too`, () =>
      Effect.gen(function*() {
        const { spans, tracer } = ForeignTracer.make()
        yield* Effect.fail(new Overloaded()).pipe(combinator, Effect.exit, Effect.withTracer(tracer))
        assert.lengthOf(spans, 1)
        assert.strictEqual(spans[0].status._tag, "Ended")
        assert.strictEqual(spans[0].attributes.get("error.type"), "Overloaded")
        assert.isTrue(spans[0].attributes.has("gen_ai.operation.name") || spans[0].attributes.has("mcp.method.name"))
      }))
  }

  it.effect("keeps the types of an effect with a structurally typed callback", () =>
    Effect.gen(function*() {
      interface Answer {
        readonly id: string
        readonly tokens: number
      }
      const call: Effect.Effect<Answer, Overloaded> = Effect.succeed({ id: "a", tokens: 3 })
      const read = (answer: { readonly id: string }): LlmResponse => ({ id: answer.id })
      const kept: ReadonlyArray<Effect.Effect<Answer, Overloaded>> = [
        call.pipe(withAgentSpan({ name: "a", response: (answer) => ({ usage: { inputTokens: answer.tokens } }) })),
        withAgentSpan({ name: "a", response: read })(call),
        call.pipe(withEmbeddingsSpan({ provider: "p", request: { model: "m" }, response: read })),
        call.pipe(withFetchResponseSpan({ provider: "p", responseId: "r", response: (a) => ({ id: a.id }) })),
        call.pipe(withRetrievalSpan({ documents: (a) => [{ id: a.id }] })),
        call.pipe(withMemorySpan({ operation: "search_memory", result: (a) => ({ recordCount: a.tokens }) })),
        call.pipe(withCreateAgentSpan({ provider: "p", result: (a) => ({ id: a.id }) })),
        call.pipe(withWorkflowSpan({ output: (a) => a.id })),
        call.pipe(withMcpSpan({ method: "ping", result: (a) => ({ id: a.id }) })),
        withWorkflowSpan(call, { output: (a) => a.id }),
        call.pipe(withConversation("c"), withAgent("a"))
      ]
      const recorder = Recorder.make()
      for (const effect of kept) assert.strictEqual((yield* recorder.run(effect)).id, "a")
    }))

  for (
    const { name, self } of [
      { name: "invoke_agent", self: Effect.void.pipe(withAgentSpan({ attributes: { region: "eu" } })) },
      {
        name: "create_agent",
        self: Effect.void.pipe(withCreateAgentSpan({ provider: "p", attributes: { region: "eu" } }))
      },
      { name: "plan", self: Effect.void.pipe(withPlanSpan({ attributes: { region: "eu" } })) },
      { name: "invoke_workflow", self: Effect.void.pipe(withWorkflowSpan({ attributes: { region: "eu" } })) }
    ]
  ) {
    it.effect(`${name} has attributes of one's own, and without a name it is no more than its operation`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(self)
        assert.strictEqual(recorder.span(name).attributes.region, "eu")
      }))
  }

  it.effect("an agent that is created has the id and the version that it is given, or the service's", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const create = withCreateAgentSpan({ provider: "p", name: "a", id: "mine", version: "1" })
      const created = withCreateAgentSpan({ provider: "p", name: "b", result: () => ({ id: "theirs", version: "2" }) })
      yield* recorder.run(Effect.andThen(Effect.void.pipe(create), Effect.void.pipe(created)))
      assert.deepStrictEqual(
        recorder.spans.map(({ attributes }) => [attributes["gen_ai.agent.id"], attributes["gen_ai.agent.version"]]),
        [["mine", "1"], ["theirs", "2"]]
      )
    }))

  it.effect("what runs in an agent without a name is the outer agent's", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        Effect.void.pipe(withToolSpan({ name: "t" }), withAgentSpan({}), withAgentSpan({ name: "outer" }))
      )
      assert.strictEqual(recorder.span("execute_tool t").attributes["gen_ai.agent.name"], "outer")
    }))

  it.effect("a callback that throws costs what it would have told", () =>
    Effect.gen(function*() {
      const raise = (): never => {
        throw new RangeError("no")
      }
      const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY", convention: "latest" } })
      const results = yield* recorder.run(Effect.all([
        Effect.succeed(1).pipe(withAgentSpan({ name: "a", response: raise })),
        Effect.succeed(2).pipe(withEmbeddingsSpan({ ...minimal, response: raise })),
        Effect.succeed(3).pipe(withFetchResponseSpan({ provider: "p", responseId: "r", response: raise })),
        Effect.succeed(4).pipe(withRetrievalSpan({ query: raise, documents: raise })),
        Effect.succeed(5).pipe(withMemorySpan({ operation: "search_memory", result: raise })),
        Effect.succeed(6).pipe(withCreateAgentSpan({ provider: "p", result: raise })),
        Effect.succeed(7).pipe(withWorkflowSpan({ output: raise })),
        Effect.succeed(8).pipe(withToolSpan({ name: "t", arguments: raise, result: raise })),
        Effect.succeed(9).pipe(withMcpSpan({ method: "ping", result: raise, promptVariables: raise }))
      ]))
      assert.deepStrictEqual(results, [1, 2, 3, 4, 5, 6, 7, 8, 9])
      assert.lengthOf(recorder.spans, 9)
    }))

  it.effect("a response that cannot be read costs attributes, not the program", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const unreadable = new Proxy({}, {
        get: () => {
          throw new Error("no")
        }
      })
      const result = yield* recorder.run(
        Effect.forEach([1, 2, 3], () => annotateLlmResponse(unreadable)).pipe(
          Effect.as("done"),
          withLlmSpan({ ...minimal, response: () => unreadable })
        )
      )
      assert.strictEqual(result, "done")
      assert.lengthOf(recorder.spans, 1)
    }))

  const throwing = (key: string, rest: object = {}) =>
    Object.defineProperty({ ...rest }, key, {
      enumerable: true,
      get: () => {
        throw new Error("no")
      }
    })
  const output = () => throwing("output", { finishReasons: ["stop"] })

  for (
    const [name, combinator, key] of [
      ["a call's answer", withLlmSpan({ ...minimal, input: "Hi", response: output }), "gen_ai.input.messages"],
      ["an agent's answer", withAgentSpan({ input: "Hi", response: output }), "gen_ai.input.messages"],
      [
        "a fetched answer",
        withFetchResponseSpan({ provider: "p", responseId: "r", systemInstructions: "Hi", response: output }),
        "gen_ai.system_instructions"
      ],
      [
        "the records of a memory",
        withMemorySpan({ operation: "search_memory", query: "Hi", result: () => throwing("records") }),
        "gen_ai.memory.query.text"
      ],
      [
        "the option for a tool's result",
        withToolSpan(throwing("result", { name: "t", arguments: "Hi" }) as never),
        "gen_ai.tool.call.arguments"
      ],
      [
        "the option for documents",
        withRetrievalSpan(throwing("documents", { query: "Hi" })),
        "gen_ai.retrieval.query.text"
      ],
      [
        "the option for a workflow's output",
        withWorkflowSpan(throwing("output", { input: "Hi" })),
        "gen_ai.input.messages"
      ],
      [
        "the option for a response",
        withAgentSpan(throwing("response", { input: "Hi" })),
        "gen_ai.input.messages"
      ]
    ] as ReadonlyArray<readonly [string, Combinator, string]>
  ) {
    it.effect(`where reading ${name} throws, what the operation was given is recorded`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { capture: "SPAN_AND_EVENT", convention: "latest" } })
        assert.strictEqual(yield* recorder.run(Effect.succeed(1).pipe(combinator)), 1)
        assert.lengthOf(recorder.spans, 1)
        const { attributes, events } = recorder.spans[0]
        assert.include(String(attributes[key]), "Hi")
        for (const event of events) assert.strictEqual(event.attributes?.[key], attributes[key])
        assert.lengthOf(events, name === "a call's answer" ? 1 : 0)
      }))
  }

  for (
    const [name, combinator] of [
      ["withEmbeddingsSpan", withEmbeddingsSpan({ ...minimal, response: () => throwing("model") })],
      [
        "withFetchResponseSpan",
        withFetchResponseSpan({ provider: "p", responseId: "r", response: () => throwing("model") })
      ]
    ] as ReadonlyArray<readonly [string, Combinator]>
  ) {
    it.effect(`${name}: a model that cannot be read costs no metric`, () =>
      Effect.gen(function*() {
        yield* Recorder.make().run(Effect.void.pipe(combinator)).pipe(Effect.provideService(GenAiMetrics, true))
        const metrics = yield* Metric.snapshot
        assert.deepStrictEqual(metrics.map(({ id }) => id), ["gen_ai.client.operation.duration"])
      }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
  }

  it.effect("options whose getters throw cost attributes, not the program", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const attributes = Object.defineProperty({}, "broken", {
        enumerable: true,
        get: () => {
          throw new Error("no")
        }
      })
      const result = yield* recorder.run(Effect.succeed(1).pipe(withToolSpan({ name: "t", attributes })))
      assert.strictEqual(result, 1)
      assert.lengthOf(recorder.spans, 1)
    }))
})

describe("a session", () => {
  const inside = Effect.forEach(Object.values(combinators), (combinator) => combinator(Effect.void))

  for (const convention of ["loom", "latest"] as ReadonlyArray<GenAiSettings["convention"]>) {
    it.effect(`${convention}: conversation and agent reach every GenAI span inside`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { convention } })
        yield* recorder.run(
          inside.pipe(Effect.withSpan("mine"), withAgentSpan({ name: "tutor" }), withConversation("conv-1"))
        )
        const spans = recorder.spans.filter(({ name }) => name !== "mine")
        assert.lengthOf(spans, Object.keys(combinators).length + 1)
        for (const span of spans) {
          assert.strictEqual(span.attributes["gen_ai.conversation.id"], "conv-1", span.name)
          // An agent without a name of its own, and one that is being made, is not the one that is running.
          const nameless = span.name === "invoke_agent" || span.name === "create_agent"
          assert.strictEqual(span.attributes["gen_ai.agent.name"], nameless ? undefined : "tutor", span.name)
        }
        assert.deepStrictEqual(recorder.span("mine").attributes, {})
      }))
  }

  it.effect("none is ever made up", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(inside)
      for (const { attributes, name } of recorder.spans) {
        assert.notProperty(attributes, "gen_ai.conversation.id", name)
        assert.notProperty(attributes, "gen_ai.agent.name", name)
      }
    }))

  it.effect("what is said nearer counts", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        Effect.all([
          Effect.void.pipe(withLlmSpan({ ...minimal, conversationId: "own", name: "own" })),
          Effect.void.pipe(
            withLlmSpan({ ...minimal, name: "sub" }),
            withAgentSpan({ name: "sub-agent", conversationId: "sub" })
          ),
          Effect.void.pipe(withLlmSpan({ ...minimal, name: "flow" }), withWorkflowSpan({ conversationId: "flow" })),
          Effect.void.pipe(withLlmSpan({ ...minimal, name: "outer" }))
        ]).pipe(withAgent("outer-agent"), withConversation("outer"))
      )
      for (
        const [name, conversation, agent] of [
          ["own", "own", "outer-agent"],
          ["sub", "sub", "sub-agent"],
          ["flow", "flow", "outer-agent"],
          ["outer", "outer", "outer-agent"]
        ]
      ) {
        const { attributes } = recorder.span(name)
        assert.strictEqual(attributes["gen_ai.conversation.id"], conversation, name)
        assert.strictEqual(attributes["gen_ai.agent.name"], agent, name)
      }
    }))

  it.effect("reaches the spans of forked fibers and streams", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        Effect.gen(function*() {
          yield* Effect.all([Effect.void.pipe(withLlmSpan(minimal)), Effect.void.pipe(withLlmSpan(minimal))], {
            concurrency: 2
          })
          yield* Stream.make(1).pipe(withLlmStreamSpan(minimal), Stream.runDrain)
        }).pipe(withConversation("conv-1"))
      )
      assert.deepStrictEqual(
        recorder.spans.map(({ attributes }) => attributes["gen_ai.conversation.id"]),
        ["conv-1", "conv-1", "conv-1"]
      )
    }))

  /** Sends a message out of an effect and does the work in another trace that continues it. */
  const across = (wrap: Combinator) =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const sent = yield* recorder.run(wrap(injectTraceContext({ id: 1 })).pipe(Effect.withSpan("sender")))
      // The wire holds text, and whoever receives it knows nothing else.
      const received: unknown = JSON.parse(JSON.stringify(sent))
      yield* recorder.run(Effect.void.pipe(withLlmSpan(minimal), withTraceContext(received)))
      return { sent, attributes: recorder.span("llm.call").attributes }
    })

  it.effect("stays in the program", () =>
    Effect.gen(function*() {
      const { attributes, sent } = yield* across((self) => self.pipe(withConversation("conv-1"), withAgent("tutor")))
      assert.notInclude(JSON.stringify(sent), "conv-1")
      assert.notProperty(attributes, "gen_ai.conversation.id")
    }))

  it.effect("travels with messages as baggage where that was chosen", () =>
    Effect.gen(function*() {
      const { attributes } = yield* across((self) =>
        self.pipe(withConversation("conv 1, ü", { baggage: true }), withAgent("tutor", { baggage: true }))
      )
      assert.strictEqual(attributes["gen_ai.conversation.id"], "conv 1, ü")
      assert.strictEqual(attributes["gen_ai.agent.name"], "tutor")
    }))

  it.effect("does not send on what it takes the place of", () =>
    Effect.gen(function*() {
      const outer = <A, E, R>(self: Effect.Effect<A, E, R>) =>
        self.pipe(
          withConversation("outer", { baggage: true }),
          withAgent("outer", { baggage: true }),
          Effect.provideService(Baggage, [{ key: "tenant", value: "acme" }])
        )
      const keys = Effect.map(Baggage, (members) => members.map(({ key, value }) => `${key}=${value}`))
      assert.deepStrictEqual(yield* keys.pipe(withConversation("inner"), outer), [
        "tenant=acme",
        "gen_ai.agent.name=outer"
      ])
      assert.deepStrictEqual(yield* keys.pipe(withConversation("outer"), withAgent("inner"), outer), [
        "tenant=acme",
        "gen_ai.conversation.id=outer"
      ])
    }))

  it.effect("takes its own place in the baggage and leaves the rest", () =>
    Effect.gen(function*() {
      const baggage = yield* Baggage.pipe(
        withConversation("second", { baggage: true }),
        withConversation("first", { baggage: true }),
        Effect.provideService(Baggage, [{ key: "tenant", value: "acme" }])
      )
      assert.deepStrictEqual(baggage, [
        { key: "tenant", value: "acme" },
        { key: "gen_ai.conversation.id", value: "second" }
      ])
    }))
})

describe("usage", () => {
  const usage = { inputTokens: 10, outputTokens: 5 }
  const chat = Effect.void.pipe(withLlmSpan({ ...minimal, response: () => ({ usage }) }))
  const totals = { response: () => ({ usage: { inputTokens: 30, outputTokens: 15 } }) }

  const recorded = (effect: Effect.Effect<unknown>) =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { convention: "latest" } })
      yield* recorder.run(effect)
      return Object.fromEntries(
        recorder.spans.map(({ attributes, name }) => [name, attributes["gen_ai.usage.input_tokens"]])
      )
    })

  for (
    const [name, effect, expected] of [
      [
        "is not repeated by an agent whose model calls have told it",
        Effect.all([chat, chat, chat]).pipe(withAgentSpan({ name: "a", ...totals })),
        { "chat gpt-4o": 10, "invoke_agent a": undefined }
      ],
      ...([{ inputTokens: 10 }, { outputTokens: 4 }] as ReadonlyArray<LlmUsage>).map((usage) =>
        [
          `nor by one whose model calls have told ${Object.keys(usage)} alone`,
          Effect.void.pipe(
            withLlmSpan({ ...minimal, response: () => ({ usage }) }),
            withAgentSpan({ name: "a", ...totals })
          ),
          { "chat gpt-4o": usage.inputTokens, "invoke_agent a": undefined }
        ] as const
      ),
      [
        "nor by the agent of a sub-agent",
        chat.pipe(withAgentSpan({ name: "sub" }), withAgentSpan({ name: "a", ...totals })),
        { "chat gpt-4o": 10, "invoke_agent sub": undefined, "invoke_agent a": undefined }
      ],
      [
        "nor by the agent of a sub-agent that tells it itself",
        Effect.void.pipe(withAgentSpan({ name: "sub", ...totals }), withAgentSpan({ name: "a", ...totals })),
        { "invoke_agent sub": 30, "invoke_agent a": undefined }
      ],
      [
        "nor by a workflow, whatever is inside",
        chat.pipe(withWorkflowSpan({ name: "w" })),
        { "chat gpt-4o": 10, "invoke_workflow w": undefined }
      ],
      [
        "nor by an agent whose streams and embeddings have told it",
        Effect.all([
          Stream.make(1).pipe(
            withLlmStreamSpan({
              ...minimal,
              fold: { initial: () => 0, step: () => 0, response: () => ({ usage }) }
            }),
            Stream.runDrain
          ),
          Effect.void.pipe(withEmbeddingsSpan({ ...minimal, response: () => ({ usage: { inputTokens: 2 } }) }))
        ]).pipe(withAgentSpan({ name: "a", ...totals })),
        { "chat gpt-4o": 10, "embeddings gpt-4o": 2, "invoke_agent a": undefined }
      ],
      [
        "is told by an agent whose model calls nobody traces",
        Effect.void.pipe(withAgentSpan({ name: "a", ...totals })),
        { "invoke_agent a": 30 }
      ],
      [
        "is told by an agent whose model calls know nothing of it",
        Effect.void.pipe(withLlmSpan(minimal), withAgentSpan({ name: "a", remote: true, provider: "p", ...totals })),
        { "chat gpt-4o": undefined, "invoke_agent a": 30 }
      ],
      [
        "belongs to the nearest call that is annotated",
        annotateLlmResponse({ usage }).pipe(
          withLlmSpan({ ...minimal, request: { model: "inner" } }),
          withLlmSpan({ ...minimal, request: { model: "outer" } })
        ),
        { "chat inner": 10, "chat outer": undefined }
      ]
    ] as ReadonlyArray<readonly [string, Effect.Effect<unknown>, Readonly<Record<string, number | undefined>>]>
  ) {
    it.effect(name, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual<unknown>(yield* recorded(effect), expected)
      }))
  }
})

describe("recordEvaluation", () => {
  const evaluation = {
    name: "relevance",
    score: { value: 0.5, label: "pass" },
    explanation: "It answers the question",
    responseId: "r-1"
  }
  const recordedOn = (recorder: ReturnType<typeof Recorder.make>, name: string) =>
    recorder.span(name).events.map((event) => [event.name, event.attributes])
  const attributes = {
    "gen_ai.evaluation.name": "relevance",
    "gen_ai.evaluation.score.value": 0.5,
    "gen_ai.evaluation.score.label": "pass",
    "gen_ai.response.id": "r-1"
  }

  for (
    const [capture, explained] of [["NO_CONTENT", false], ["SPAN_ONLY", true], ["EVENT_ONLY", true]] as const
  ) {
    it.effect(`${capture}: is an event of the model call, ${explained ? "with" : "without"} the explanation`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { capture } })
        yield* recorder.run(recordEvaluation(evaluation).pipe(Effect.withSpan("judge"), withLlmSpan(minimal)))
        assert.deepStrictEqual(recordedOn(recorder, "llm.call")[0], [
          "gen_ai.evaluation.result",
          explained ? { ...attributes, "gen_ai.evaluation.explanation": evaluation.explanation } : attributes
        ])
        assert.lengthOf(recorder.span("judge").events, 0)
      }))
  }

  it.effect("after the call, it is an event of the span that evaluates", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(
        Effect.void.pipe(
          withLlmSpan(minimal),
          Effect.andThen(recordEvaluation({ name: "toxicity", errorType: "timeout" })),
          Effect.withSpan("judge")
        )
      )
      assert.deepStrictEqual(recordedOn(recorder, "judge"), [
        ["gen_ai.evaluation.result", { "gen_ai.evaluation.name": "toxicity", "error.type": "timeout" }]
      ])
      assert.lengthOf(recorder.span("llm.call").events, 0)
    }))

  it.effect("the explanation is redacted, and a broken redactor costs it alone", () =>
    Effect.gen(function*() {
      const explanations: Array<unknown> = []
      for (
        const redact of [
          (content) => ({ ...content, value: String(content.value).toUpperCase() }),
          () => {
            throw new Error("no")
          }
        ] as ReadonlyArray<GenAiSettings["redact"]>
      ) {
        const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY", redact } })
        yield* recorder.run(recordEvaluation(evaluation).pipe(withLlmSpan(minimal)))
        const event = recorder.span("llm.call").events.find(({ name }) => name === "gen_ai.evaluation.result")
        explanations.push(event?.attributes?.["gen_ai.evaluation.explanation"])
      }
      assert.deepStrictEqual(explanations, ["IT ANSWERS THE QUESTION", undefined])
    }))

  it.effect("one that cannot be read is left out with a warning, and changes nothing else", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY" } })
      const unreadable = ["name", "score", "responseId", "errorType", "explanation"].map((key) =>
        Object.defineProperty({ ...evaluation }, key, {
          get: () => {
            throw new Error("no")
          }
        })
      )
      yield* recorder.run(
        Effect.forEach([...unreadable, evaluation], recordEvaluation).pipe(withLlmSpan(minimal))
      )
      const [warning, ...events] = recordedOn(recorder, "llm.call")
      assert.strictEqual(warning?.[0], "An evaluation could not be read; it is left out (Error)")
      assert.deepStrictEqual(events, [
        ["gen_ai.evaluation.result", { ...attributes, "gen_ai.evaluation.explanation": evaluation.explanation }]
      ])
    }))

  it.effect("does nothing without a span, under a remote one, or with tracing off", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      yield* recorder.run(recordEvaluation(evaluation))
      const remote = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
      yield* recorder.run(recordEvaluation(evaluation).pipe(Effect.withParentSpan(remote)))
      yield* recordEvaluation({ ...evaluation, explanation: () => assert.fail("evaluated") })
      assert.lengthOf(recorder.spans, 0)
    }))
})
