import { assert, describe, it } from "@effect/vitest"
import { headers as natsHeaders } from "@nats-io/transport-node"
import { Effect, Option } from "effect"
import * as EffectHeaders from "effect/http/Headers"
import {
  amqpCarrier,
  type Carrier,
  extractHeaders,
  type HeaderRecord,
  headersCarrier,
  injectHeaders,
  kafkaCarrier,
  mcpCarrier,
  natsCarrier,
  Propagators,
  recordCarrier,
  withBaggage,
  withRemoteContext
} from "loom-tracing"
import * as Recorder from "./support/Recorder.ts"

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"
const traceparent = `00-${traceId}-${spanId}-03`
const tracestate = "vendor=1,other=2"
const baggage = "tenant=acme,user=%C3%9C;ttl=1"
const context = {
  traceparent: { traceId, spanId, traceFlags: 3 },
  tracestate,
  baggage: [
    { key: "tenant", value: "acme" },
    { key: "user", value: "Ü", properties: [{ key: "ttl", value: "1" }] }
  ]
}

type HeaderList = ReadonlyArray<readonly [name: string, ...values: ReadonlyArray<string>]>

/** Headers of one kind, as tests handle them whatever the kind. */
interface Kind<C> {
  readonly carrier: Carrier<C>
  /** A carrier as it arrives. */
  readonly make: (headers: HeaderList) => C
  /** The headers that a carrier would send. */
  readonly sent: (carrier: C) => Record<string, unknown>
  /** Whether an injection leaves its argument as it was. */
  readonly copies: boolean
}

const record = (headers: HeaderList, toValue: (value: string) => string | Buffer = (value) => value): HeaderRecord =>
  Object.fromEntries(
    headers.map(([name, ...values]) => [name, values.length === 1 ? toValue(values[0]) : values.map(toValue)])
  )
const field = (name: string) => (carrier: object) => ({ ...(carrier as Record<string, object>)[name] })

const kind = <C>(kind: Kind<C>) => ({
  copies: kind.copies,
  extract: (headers: HeaderList) => extractHeaders(kind.make(headers) as never, kind.carrier),
  extractNothing: [
    extractHeaders(undefined, kind.carrier),
    extractHeaders(null, kind.carrier),
    extractHeaders(kind.make([]) as never, kind.carrier)
  ],
  /** What an injection sends, what it has made of its argument, and whether it returned that. */
  inject: (headers: HeaderList) =>
    Effect.gen(function*() {
      const given = kind.make(headers)
      const carrier = yield* injectHeaders(given, kind.carrier)
      return {
        sent: kind.sent(carrier),
        given: kind.sent(given),
        same: carrier === given,
        extracted: yield* extractHeaders(carrier as never, kind.carrier)
      }
    })
})

const kinds: ReadonlyArray<readonly [name: string, kind: ReturnType<typeof kind>]> = [
  ["a record", kind({ carrier: recordCarrier, make: record, sent: (record) => ({ ...record }), copies: true })],
  [
    "Effect's Headers",
    kind({
      carrier: recordCarrier,
      make: (headers) =>
        EffectHeaders.fromInput(Object.fromEntries(headers.map(([name, ...values]) => [name, values.join()]))),
      sent: (headers) => ({ ...(EffectHeaders.isHeaders(headers) ? headers : undefined) }),
      copies: true
    })
  ],
  [
    "web Headers",
    kind({
      carrier: headersCarrier,
      make: (headers) => {
        const web = new Headers()
        for (const [name, ...values] of headers) {
          for (const value of values) web.append(name, value)
        }
        return web
      },
      sent: (headers) => Object.fromEntries(headers as Headers),
      copies: false
    })
  ],
  [
    "NATS MsgHdrs",
    kind({
      carrier: natsCarrier,
      make: (headers) => {
        const nats = natsHeaders()
        for (const [name, ...values] of headers) {
          for (const value of values) nats.append(name, value)
        }
        return nats
      },
      sent: (headers) => Object.fromEntries(headers.keys().map((name) => [name, headers.values(name).join()])),
      copies: false
    })
  ],
  [
    "Kafka headers",
    kind({
      carrier: kafkaCarrier,
      make: (headers) => record(headers, Buffer.from),
      sent: (record) => Object.fromEntries(Object.entries(record).map(([name, value]) => [name, String(value)])),
      copies: true
    })
  ],
  [
    "AMQP properties",
    kind({
      carrier: amqpCarrier,
      make: (headers) => ({ contentType: "application/json", headers: record(headers, Buffer.from) }),
      sent: (properties) =>
        Object.fromEntries(Object.entries(field("headers")(properties)).map(([name, value]) => [name, String(value)])),
      copies: true
    })
  ],
  [
    "MCP params",
    kind({
      carrier: mcpCarrier,
      make: (headers) => ({ name: "search", _meta: record(headers) }),
      sent: field("_meta"),
      copies: true
    })
  ]
]

describe.each(kinds)("injectHeaders and extractHeaders: %s", (_, kind) => {
  it.effect("bring a context over whole, beside what is there", () =>
    Effect.gen(function*() {
      // Names of the same lengths as those of the context's.
      const others = { warning: "1", "user-agent": "2", "retry-after": "3" }
      const { extracted, given, same, sent } = yield* kind.inject(Object.entries(others)).pipe(
        withRemoteContext(context)
      )
      assert.deepStrictEqual(sent, { ...others, traceparent, tracestate, baggage })
      assert.deepStrictEqual(extracted, Option.some(context))
      assert.deepStrictEqual(given, kind.copies ? others : sent)
      assert.strictEqual(same, !kind.copies)
    }))

  it.effect("name the current span", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make()
      const { sent } = yield* recorder.run(kind.inject([]).pipe(Effect.withSpan("outer")))
      const { spanId, traceFlags, traceId } = recorder.span("outer").spanContext()
      assert.deepStrictEqual(sent, { traceparent: `00-${traceId}-${spanId}-0${traceFlags}` })
    }))

  it.effect("add nothing when there is no context", () =>
    Effect.gen(function*() {
      const { same, sent } = yield* kind.inject([["other", "1"], ["tracestate", tracestate]])
      assert.isTrue(same)
      assert.deepStrictEqual(sent, { other: "1", tracestate })
    }))

  it.effect("replace an older context, in whatever case it is", () =>
    Effect.gen(function*() {
      const old: HeaderList = [["Traceparent", `00-${traceId}-00000000000000aa-00`], ["TraceState", "old=1"], [
        "BAGGAGE",
        "old=1"
      ]]
      const whole = yield* kind.inject(old).pipe(withRemoteContext(context))
      assert.deepStrictEqual(whole.sent, { traceparent, tracestate, baggage })
      // The position of another trace in a vendor's system has no business in this one.
      const bare = yield* kind.inject([...old.slice(0, 2), ["tracestate", "older=1"]]).pipe(
        withRemoteContext({ traceparent: context.traceparent })
      )
      assert.deepStrictEqual(bare.sent, { traceparent })
    }))

  it.effect("do not send the baggage of another context", () =>
    Effect.gen(function*() {
      const current = { traceparent: context.traceparent }
      const other: HeaderList = [["traceparent", `00-${"a".repeat(32)}-00000000000000aa-00`], ["baggage", "old=1"]]
      const sameTrace: HeaderList = [["traceparent", `00-${traceId}-00000000000000aa-00`], ["baggage", "old=1"]]
      const send = (headers: HeaderList) =>
        kind.inject(headers).pipe(withRemoteContext(current), Effect.map(({ sent }) => sent))

      assert.deepStrictEqual(yield* send(other), { traceparent })
      assert.deepStrictEqual(yield* send(sameTrace), { traceparent, baggage: "old=1" })
      // The request around them has baggage, which is not the message's: it has none.
      assert.deepStrictEqual(yield* send(sameTrace).pipe(withBaggage({ tenant: "acme" })), { traceparent })
      // By hand, or where baggage is none of the layer's business.
      assert.deepStrictEqual(yield* send([["baggage", "mine=1"]]), { traceparent, baggage: "mine=1" })
      assert.deepStrictEqual(
        yield* send(other).pipe(Effect.provideService(Propagators, { tracecontext: true, baggage: false })),
        { traceparent, baggage: "old=1" }
      )
    }))

  it.effect("send nothing but printable ASCII", () =>
    Effect.gen(function*() {
      const { extracted, sent } = yield* kind.inject([]).pipe(
        withBaggage([{ key: "k", value: "a\r\nb: c\0Ü", properties: [{ key: "p", value: "\r\n" }] }])
      )
      assert.deepStrictEqual(sent, { baggage: "k=a%0D%0Ab:%20c%00%C3%9C;p=%0D%0A" })
      assert.deepStrictEqual(
        extracted,
        Option.some({ baggage: [{ key: "k", value: "a\r\nb: c\0Ü", properties: [{ key: "p", value: "\r\n" }] }] })
      )
    }))

  for (const names of [["Traceparent", "Tracestate", "Baggage"], ["TRACEPARENT", "TraceState", "bAgGaGe"]] as const) {
    it.effect(`find names in any case: ${names.join()}`, () =>
      Effect.gen(function*() {
        const extracted = yield* kind.extract([[names[0], traceparent], [names[1], tracestate], [names[2], baggage]])
        assert.deepStrictEqual(extracted, Option.some(context))
      }))
  }

  it.effect("a repeated traceparent is no context, baggage aside", () =>
    Effect.gen(function*() {
      for (const second of [traceparent, `00-${traceId}-00000000000000aa-01`, "", "nonsense"]) {
        const extracted = yield* kind.extract([["traceparent", traceparent, second], ["tracestate", "a=1"], [
          "baggage",
          "b=2"
        ]])
        assert.deepStrictEqual(extracted, Option.some({ baggage: [{ key: "b", value: "2" }] }))
      }
    }))

  it.effect("repeated tracestate and baggage are one list each", () =>
    Effect.gen(function*() {
      const extracted = yield* kind.extract([
        ["traceparent", traceparent],
        ["tracestate", "vendor=1", "other=2"],
        ["baggage", "tenant=acme", "user=%C3%9C;ttl=1"]
      ])
      assert.deepStrictEqual(extracted, Option.some(context))
    }))

  it.effect("baggage that cannot be read costs nothing else, and is not taken from headers of another name", () =>
    Effect.gen(function*() {
      for (const header of [["baggage", "="], ["warning", "a=1"]] as const) {
        const extracted = yield* kind.extract([["traceparent", traceparent], header])
        assert.deepStrictEqual(extracted, Option.some({ traceparent: context.traceparent }))
      }
    }))

  it.effect("baggage survives without a traceparent", () =>
    Effect.gen(function*() {
      const extracted = yield* kind.extract([["baggage", "a=1"], ["tracestate", tracestate]])
      assert.deepStrictEqual(extracted, Option.some({ baggage: [{ key: "a", value: "1" }] }))
    }))

  it.effect("none, where there is nothing", () =>
    Effect.gen(function*() {
      for (const extracted of kind.extractNothing) assert.deepStrictEqual(yield* extracted, Option.none())
    }))
})

describe("extractHeaders", () => {
  for (
    const [name, headers] of [
      ["spellings that differ", { Traceparent: traceparent, TraceParent: traceparent }],
      ["an empty array", { traceparent: [] }],
      ["a number", { traceparent: 1 }],
      ["bytes that are no text", { traceparent: Uint8Array.of(0xff, 0xfe) }],
      ["a megabyte of bytes", { traceparent: Buffer.alloc(1_000_000, "0") }],
      ["an array of another kind", { traceparent: [{}] }],
      ["inherited headers", Object.create({ traceparent })],
      ["inherited headers in another case", Object.create({ Traceparent: traceparent })]
    ] as ReadonlyArray<readonly [string, object]>
  ) {
    it.effect(`none: ${name}`, () =>
      Effect.gen(function*() {
        for (const kind of [recordCarrier, kafkaCarrier]) {
          assert.deepStrictEqual(yield* extractHeaders(headers as HeaderRecord, kind), Option.none())
        }
        for (const [kind, field] of [[amqpCarrier, "headers"], [mcpCarrier, "_meta"]] as const) {
          assert.deepStrictEqual(yield* extractHeaders({ [field]: headers }, kind), Option.none())
        }
      }))
  }

  it.effect("spellings of a list are one list", () =>
    Effect.gen(function*() {
      const headers = { Baggage: "a=1", BAGGAGE: ["b=2", "c=3"], TraceParent: [traceparent] }
      assert.deepStrictEqual(
        yield* extractHeaders(headers),
        Option.some({
          traceparent: context.traceparent,
          baggage: [{ key: "a", value: "1" }, { key: "b", value: "2" }, { key: "c", value: "3" }]
        })
      )
    }))

  it.effect("reads bytes of any view", () =>
    Effect.gen(function*() {
      for (
        const header of [Buffer.from(traceparent), new TextEncoder().encode(traceparent), [Buffer.from(traceparent)]]
      ) {
        const extracted = yield* extractHeaders({ traceparent: header })
        assert.deepStrictEqual(extracted, Option.some({ traceparent: context.traceparent }))
      }
    }))

  it.effect("what an instance of the user's throws is no context", () =>
    Effect.gen(function*() {
      const broken: Carrier<object> = {
        get: () => {
          throw new Error("broken")
        },
        set: () => {
          throw new Error("broken")
        }
      }
      const headers = {}
      assert.deepStrictEqual(yield* extractHeaders(headers, broken), Option.none())
      assert.strictEqual(yield* injectHeaders(headers, broken).pipe(withRemoteContext(context)), headers)
    }))
})

describe("injectHeaders", () => {
  class Options {
    readonly headers = { other: "1" }
  }
  for (
    const [name, carrier, kind] of [
      ["an instance of a class", new Options(), amqpCarrier],
      ["headers that are a list", { headers: ["a"] }, amqpCarrier],
      ["headers in an instance of a class", { headers: new Map([["a", "1"]]) }, amqpCarrier],
      ["a _meta that is a text", { _meta: "mine" }, mcpCarrier],
      ["a record that is an instance of a class", new Options(), recordCarrier],
      [
        "one with a context of its own",
        Object.assign(new Options(), { traceparent, tracestate: "old=1" }),
        recordCarrier
      ],
      ["a list", ["a"], recordCarrier]
    ] as ReadonlyArray<readonly [string, object, Carrier<object>]>
  ) {
    it.effect(`sends as it is: ${name}`, () =>
      Effect.gen(function*() {
        for (const current of [context, { traceparent: context.traceparent }]) {
          assert.strictEqual(yield* injectHeaders(carrier, kind).pipe(withRemoteContext(current)), carrier)
        }
      }))
  }

  it.effect("makes headers where there are none", () =>
    Effect.gen(function*() {
      const inject = <A>(self: Effect.Effect<A>) => withBaggage(self, { a: "1" })
      assert.deepStrictEqual<object>(yield* inject(injectHeaders({}, amqpCarrier)), { headers: { baggage: "a=1" } })
      assert.deepStrictEqual<object>(yield* inject(injectHeaders({ headers: null }, amqpCarrier)), {
        headers: { baggage: "a=1" }
      })
      assert.deepStrictEqual<object>(yield* inject(injectHeaders({}, mcpCarrier)), { _meta: { baggage: "a=1" } })
      assert.deepStrictEqual<object>(yield* inject(injectHeaders({})), { baggage: "a=1" })
    }))
})

describe("a Carrier of one's own", () => {
  it.effect("may have no way to remove a header: those of an older context stay, and nothing else is lost", () =>
    Effect.gen(function*() {
      const { get, set } = recordCarrier
      const old = { traceparent: `00-${"a".repeat(32)}-00000000000000aa-00`, tracestate: "old=1", baggage: "old=1" }
      const sent = yield* injectHeaders(old, { get, set }).pipe(withRemoteContext({ traceparent: context.traceparent }))
      assert.deepStrictEqual<object>(sent, { ...old, traceparent })
    }))

  // The README shows the two that follow.
  it.effect("SQS message attributes", () =>
    Effect.gen(function*() {
      interface Attribute {
        readonly DataType: string
        readonly StringValue?: string
      }
      const sqsCarrier: Carrier<Readonly<Record<string, Attribute>>> = {
        get: (attributes, name) => attributes[name]?.StringValue,
        set: (attributes, name, value) => ({ ...attributes, [name]: { DataType: "String", StringValue: value } })
      }

      const attributes = yield* injectHeaders({}, sqsCarrier).pipe(withRemoteContext(context))
      assert.deepStrictEqual<object>(attributes, {
        traceparent: { DataType: "String", StringValue: traceparent },
        tracestate: { DataType: "String", StringValue: tracestate },
        baggage: { DataType: "String", StringValue: baggage }
      })
      assert.deepStrictEqual(yield* extractHeaders(attributes, sqsCarrier), Option.some(context))
    }))

  it.effect("CloudEvents extensions, which keep the trace that the event began in", () =>
    Effect.gen(function*() {
      interface CloudEvent {
        readonly type: string
        readonly [attribute: string]: unknown
      }
      const cloudEventCarrier: Carrier<CloudEvent> = {
        get: (event, name) => event[name] as string | undefined,
        set: (event, name, value) => ({ ...event, [name]: value })
      }
      const send = (event: CloudEvent) =>
        "traceparent" in event ? Effect.succeed(event) : injectHeaders(event, cloudEventCarrier)

      const event = yield* send({ type: "task.created", data: { id: 1 } }).pipe(withRemoteContext(context))
      assert.deepStrictEqual(event, { type: "task.created", data: { id: 1 }, traceparent, tracestate, baggage })
      assert.deepStrictEqual(yield* extractHeaders(event, cloudEventCarrier), Option.some(context))
      const hop = { traceparent: { ...context.traceparent, spanId: "00000000000000aa" } }
      assert.strictEqual(yield* send(event).pipe(withRemoteContext(hop)), event)
    }))
})
