import { assert, describe, it } from "@effect/vitest"
import {
  type Attributes,
  type AttributeValue,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  type SpanStatusCode,
  trace,
  TraceFlags
} from "@opentelemetry/api"
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer"
import { resourceFromAttributes } from "@opentelemetry/resources"
import { BasicTracerProvider, type ReadableSpan } from "@opentelemetry/sdk-trace-base"
import { Arbitrary, Effect, Schema } from "effect"
import { recordEvaluation, withAgentSpan, withLlmSpan } from "loom-tracing"
import { TraceState } from "loom-tracing/TraceContext"
import { serializeSpans } from "../../src/internal/otlpRequest.ts"
import * as OtlpDecoder from "../support/OtlpDecoder.ts"
import * as Recorder from "../support/Recorder.ts"

/** The stock serializer takes the same spans to the same bytes, where no number is to be a double. */
const assertAsStock = (spans: ReadonlyArray<ReadableSpan>): void => {
  const stock = Buffer.from(ProtobufTraceSerializer.serializeRequest([...spans])!)
  assert.strictEqual(serializeSpans(spans).toString("hex"), stock.toString("hex"))
}

/** Spans of two providers, of which the second has limits, under three scopes each. */
const makeTracers = (attributes?: Attributes) => {
  const ended: Array<ReadableSpan> = []
  const spanProcessors = [{
    onStart() {},
    onEnd: (span: ReadableSpan) => void ended.push(span),
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve()
  }]
  const providers = [
    new BasicTracerProvider({ spanProcessors }),
    new BasicTracerProvider({
      spanProcessors,
      resource: resourceFromAttributes({ "service.name": "é".repeat(100), n: 1, ...attributes }, {
        schemaUrl: "https://schema/r"
      }),
      spanLimits: {
        attributeCountLimit: 2,
        eventCountLimit: 1,
        linkCountLimit: 1,
        attributePerEventCountLimit: 1,
        attributePerLinkCountLimit: 1
      }
    })
  ]
  const tracers = providers.flatMap((provider) => [
    provider.getTracer("plain"),
    provider.getTracer("of a version", "1.2.3"),
    provider.getTracer("of a schema", undefined, { schemaUrl: "https://schema/s" })
  ])
  return { ended, tracers }
}

const oneOf = <A extends string | number | boolean>(values: ReadonlyArray<A>): Arbitrary.Arbitrary<A> =>
  Arbitrary.schema(Schema.Literals(values))

const anyOf = <A>(...members: ReadonlyArray<Arbitrary.Arbitrary<A>>): Arbitrary.Arbitrary<A> =>
  oneOf(Array.from(members.keys())).pipe(Arbitrary.flatMap((index) => members[index]))

// Of every length in bytes, of every width, and no well-formed text at all.
const pieces = [
  "",
  "a",
  "\u0080",
  "é",
  "€",
  "🦊",
  "\ud800",
  "\udc00",
  "x".repeat(37),
  "y".repeat(120),
  "ü".repeat(9000)
]
const text = Arbitrary.array(oneOf(pieces), { maxLength: 3 }).pipe(Arbitrary.map((parts) => parts.join("")))

const numbers = [
  0,
  -0,
  1,
  -1,
  127,
  128,
  0.5,
  -1e-300,
  2 ** 31,
  2 ** 32,
  -(2 ** 32),
  2 ** 53,
  2 ** 63,
  -(2 ** 63),
  1e300
]
const number = oneOf(numbers)

const value = anyOf<AttributeValue>(
  text,
  number,
  Arbitrary.schema(Schema.Number),
  Arbitrary.schema(Schema.Int),
  Arbitrary.schema(Schema.Boolean),
  Arbitrary.array(text, { maxLength: 3 }),
  Arbitrary.array(number, { maxLength: 30 })
)

// Few, so that they come again.
const attributes = Arbitrary.array(Arbitrary.all([oneOf(["", "a", "gen_ai.x", "é", "k".repeat(200)]), value]), {
  maxLength: 4
}).pipe(Arbitrary.map((entries) => Object.fromEntries(entries)))

const time = Arbitrary.all([
  oneOf([0, 1, 65_535, 65_536, 1_764_201_600, 2 ** 31, 2 ** 32, 18_446_744_073]),
  oneOf([0, 1, 709_551_615])
])

const details = Arbitrary.array(Arbitrary.all([text, attributes, time]), { maxLength: 3 })

const span = Arbitrary.all([
  oneOf([0, 1, 2, 3, 4, 5]),
  text,
  oneOf([SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER]),
  oneOf(["none", "local", "remote", "remote with a state"]),
  Arbitrary.all([time, time]),
  attributes,
  details,
  details,
  Arbitrary.all([oneOf<SpanStatusCode>([0, 1, 2]), text])
])

type Plan = typeof span extends Arbitrary.Arbitrary<infer A> ? A : never

const contextOf = (index: number, kind: Plan[3]) => ({
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: `b7ad6b716920333${index}`,
  traceFlags: TraceFlags.SAMPLED,
  ...(kind === "local" ? undefined : { isRemote: kind !== "none" }),
  ...(kind === "remote with a state" ? { traceState: new TraceState("rojo=1,congo=2") } : undefined)
})

const record = (
  tracers: ReturnType<typeof makeTracers>["tracers"],
  [tracer, name, kind, parent, [startTime, endTime], attributes, events, links, [code, message]]: Plan
): void => {
  const context = parent === "none" ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, contextOf(0, parent))
  const span = tracers[tracer].startSpan(name, { kind, startTime, attributes }, context)
  for (const [name, attributes, time] of events) span.addEvent(name, attributes, time)
  for (const [index, [, attributes]] of links.entries()) {
    span.addLink({ context: contextOf(index, parent), ...(index === 1 ? undefined : { attributes }) })
  }
  span.setStatus({ code, message }).end(endTime)
}

describe("serializeSpans", () => {
  it.prop(
    "makes of any spans what the stock serializer makes",
    [Arbitrary.array(span, { maxLength: 12 })],
    ([plans]) => {
      const { ended, tracers } = makeTracers()
      for (const plan of plans) record(tracers, plan)
      assertAsStock(ended)
    },
    { arbitrary: { runs: 500 } }
  )

  // Where the length of a text, or of a message around it, needs one byte more.
  for (
    const length of [0, 1, 38, 39, 40, 41, 112, 125, 126, 127, 128, 129, 16_370, 16_383, 16_384, 2_097_140, 2_097_152]
  ) {
    for (const letter of ["x", "é", "🦊"]) {
      it(`keeps a text of ${length} times ${letter}, and what comes after it`, () => {
        const { ended, tracers } = makeTracers()
        const long = letter.repeat(length)
        for (const name of ["before", long, "after"]) {
          tracers[0].startSpan(name, { attributes: { [name]: 1, long: name, list: [name, ""] } }).end()
        }
        assertAsStock(ended)
      })
    }
  }

  it("takes values that the SDK has no types for, as an instrumentation may write them", () => {
    const { ended, tracers } = makeTracers()
    tracers[0].startSpan("s").end()
    const bytes = Uint8Array.of(0, 255, 128)
    const value = {
      bytes,
      map: { a: 1, "gen_ai.request.temperature": 1, b: { c: [true, null, undefined, { d: bytes }] } },
      long: "x".repeat(200),
      empty: {},
      nothing: null,
      missing: undefined,
      big: 1n
    }
    const own = Object.create(ended[0], {
      attributes: { value: Object.assign(Object.create({ inherited: 1 }), { value, ...value }) }
    }) as ReadableSpan
    assertAsStock([own, own])
  })

  it("keeps a batch in which something has a name that is no text", () => {
    const { ended, tracers } = makeTracers()
    const odd = [404, new URL("http://a/b"), new Error("no"), null, Object.create(null)] as unknown as ReadonlyArray<
      string
    >
    for (const name of odd) tracers[0].startSpan(name).addEvent(name).updateName(name).end()
    const scope = { name: 1, version: 2, schemaUrl: new URL("http://a") }
    const status = { code: 2, message: 3 }
    const context = { ...contextOf(0, "none"), traceState: { serialize: () => 5 } }
    const foreign = Object.create(ended[0], {
      instrumentationScope: { value: scope },
      status: { value: status },
      spanContext: { value: () => context }
    }) as ReadableSpan
    const spans = OtlpDecoder.decodeSpans(serializeSpans([...ended, foreign]))
    const names = ["404", "http://a/b", "Error: no", "null", ""]
    assert.deepStrictEqual(spans.map((span) => [span.name, ...span.events.map((event) => event.name)]), [
      ...names.map((name) => [name, name]),
      ["404", "404"]
    ])
    const { scope: origin, status: told, traceState } = spans[odd.length]
    assert.deepInclude(origin, { name: "1", version: "2", schemaUrl: "http://a/" })
    assert.deepStrictEqual([told.message, traceState], ["3", "5"])
  })

  it("keeps a batch in which a link leads nowhere", () => {
    const { ended, tracers } = makeTracers()
    const attributes = { a: 1 }
    const contexts = [{}, { traceId: "abcd1234", spanId: "ff00", traceFlags: 1 }, {
      traceId: 1,
      spanId: "0".repeat(17)
    }]
    tracers[0].startSpan("s", { links: contexts.map((context) => ({ context: context as SpanContext, attributes })) })
      .end()
    const [span] = OtlpDecoder.decodeSpans(serializeSpans(ended))
    // A collector refuses all of a request in which an identifier has another length, unless it is empty.
    assert.deepStrictEqual(
      span.links.map(({ attributes, spanId, traceId }) => ({ attributes, spanId, traceId })),
      contexts.map(() => ({ attributes, spanId: "", traceId: "" }))
    )
  })

  it("keeps a batch in which a kind, a status or a count is none", () => {
    const { ended, tracers } = makeTracers()
    tracers[0].startSpan("kind", { kind: -2 as SpanKind }).setStatus({ code: -1 as SpanStatusCode }).end()
    tracers[0].startSpan("after").end()
    const foreign = Object.create(ended[0], { droppedEventsCount: { value: Number.NaN } }) as ReadableSpan
    const spans = OtlpDecoder.decodeSpans(serializeSpans([...ended, foreign, ended[1]]))
    assert.deepStrictEqual(spans.map(({ name }) => name), ["kind", "after", "kind", "after"])
  })

  it("takes what another SDK leaves out, and what is empty", () => {
    const { ended, tracers } = makeTracers()
    tracers[0].startSpan("s").end()
    const event = { name: "e", time: [1, 2] }
    const link = { context: contextOf(1, "none") }
    assertAsStock([Object.create(ended[0], { events: { value: [event] }, links: { value: [link] } }) as ReadableSpan])
    const context = { ...contextOf(1, "none"), traceFlags: 0x3ff, spanId: "" }
    assertAsStock([
      Object.create(ended[0], {
        instrumentationScope: { value: { name: "", version: "", schemaUrl: "" } },
        links: { value: [{ context }] },
        parentSpanContext: { value: context },
        spanContext: { value: () => context }
      }) as ReadableSpan
    ])
  })

  it("makes nothing of no spans", () => {
    assert.lengthOf(serializeSpans([]), 0)
  })
})

describe("an attribute that is a double", () => {
  const call = (temperature: number) =>
    recordEvaluation({ name: "e", score: { value: 1 } }).pipe(
      withLlmSpan({
        provider: "openai",
        request: {
          model: "gpt-4o",
          temperature,
          topP: 0,
          frequencyPenalty: -2,
          presencePenalty: 0.5,
          maxTokens: 1,
          topK: 1
        }
      })
    )

  for (const temperature of [0, 1, 2, -1, 0.7, 300, 2 ** 40, -(2 ** 40), Number.MAX_SAFE_INTEGER]) {
    it.effect(`has its type on the wire where it is ${temperature}, and so have those that are integers`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        yield* recorder.run(call(temperature).pipe(withAgentSpan({ name: "a", request: { temperature } })))
        const [llm, agent] = OtlpDecoder.decodeSpans(serializeSpans(recorder.spans))
        assert.strictEqual(agent.attributes["gen_ai.request.temperature"], temperature)
        assert.strictEqual(agent.attributeTypes["gen_ai.request.temperature"], "doubleValue")
        for (const [key, value] of [["temperature", temperature], ["top_p", 0], ["frequency_penalty", -2]] as const) {
          assert.strictEqual(llm.attributes[`gen_ai.request.${key}`], value)
        }
        for (const name of ["temperature", "top_p", "frequency_penalty", "presence_penalty"]) {
          assert.strictEqual(llm.attributeTypes[`gen_ai.request.${name}`], "doubleValue", name)
        }
        for (const name of ["max_tokens", "top_k"]) {
          assert.strictEqual(llm.attributeTypes[`gen_ai.request.${name}`], "intValue", name)
        }
        assert.strictEqual(llm.events[0].attributeTypes["gen_ai.evaluation.score.value"], "doubleValue")
      }))
  }

  it("is so on a span or an event; elsewhere its name means nothing", () => {
    const attributes = { "gen_ai.request.temperature": 1 }
    const { ended, tracers } = makeTracers(attributes)
    const list = { "gen_ai.request.temperature": "warm", "gen_ai.request.top_p": [1, 2] }
    for (const tracer of tracers) {
      tracer.startSpan("s", { attributes: list, links: [{ context: contextOf(0, "none"), attributes }] }).end()
    }
    assertAsStock(ended)
  })
})
