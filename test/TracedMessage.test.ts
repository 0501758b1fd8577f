import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Option, Predicate, Schema, SchemaGetter, SchemaRepresentation } from "effect"
import { PersistedQueue } from "effect/persistence"
import { makeTracedMessage, TracedMessage, withTraceContext } from "loom-tracing"

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
const context = {
  traceparent: { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 },
  tracestate: "a=b"
}
const _trace_context = { traceparent, tracestate: "a=b" }

const Task = Schema.Struct({
  id: Schema.Int,
  due: Schema.optionalKey(Schema.DateFromString),
  nested: Schema.Struct({ prompt: Schema.String })
})
const task = { id: 1, nested: { prompt: "Hi" } }

describe("TracedMessage", () => {
  const schema = TracedMessage(Task)

  it.effect("decodes the payload and the context beside it", () =>
    Effect.gen(function*() {
      const message = yield* Schema.decodeUnknownEffect(schema)({
        ...task,
        due: "2026-01-01T00:00:00.000Z",
        _trace_context
      })
      assert.deepStrictEqual(message, {
        payload: { ...task, due: new Date("2026-01-01T00:00:00.000Z") },
        traceContext: Option.some(context)
      })
    }))

  it.effect("encodes to the payload's own object with the context beside it", () =>
    Effect.gen(function*() {
      const encode = Schema.encodeEffect(schema)
      assert.deepStrictEqual(yield* encode({ payload: task, traceContext: Option.some(context) }), {
        ...task,
        _trace_context
      })
      assert.deepStrictEqual(yield* encode({ payload: task, traceContext: Option.none() }), task)
    }))

  it.effect("a context that cannot be sent adds nothing", () =>
    Effect.gen(function*() {
      const wire = yield* Schema.encodeEffect(schema)({ payload: task, traceContext: Option.some({ baggage: [] }) })
      assert.deepStrictEqual(wire, task)
    }))

  it.effect("baggage goes without a trace as well", () =>
    Effect.gen(function*() {
      const traceContext = Option.some({ baggage: [{ key: "tenant", value: "acme" }] })
      const wire = yield* Schema.encodeEffect(schema)({ payload: task, traceContext })
      assert.deepStrictEqual<unknown>(wire, { ...task, _trace_context: { baggage: "tenant=acme" } })
      assert.deepStrictEqual(yield* Schema.decodeEffect(schema)(wire), { payload: task, traceContext })
    }))

  it.effect("composes with JSON", () =>
    Effect.gen(function*() {
      const json = Schema.fromJsonString(schema)
      const wire = yield* Schema.encodeEffect(json)({ payload: task, traceContext: Option.some(context) })
      assert.deepStrictEqual(JSON.parse(wire), { ...task, _trace_context })
      assert.deepStrictEqual(yield* Schema.decodeEffect(json)(wire), {
        payload: task,
        traceContext: Option.some(context)
      })
    }))

  class Person extends Schema.Class<Person>("Person")({ name: Schema.String }) {}
  for (
    const [name, payload, encoded, decoded] of [
      ["a struct", Schema.Struct({ a: Schema.Number }), { a: 1 }, { a: 1 }],
      ["a class", Person, { name: "Ada" }, new Person({ name: "Ada" })],
      ["a record", Schema.Record(Schema.String, Schema.Number), { a: 1, b: 2 }, { a: 1, b: 2 }],
      [
        "a struct with further keys",
        Schema.StructWithRest(Schema.Struct({ a: Schema.Number }), [Schema.Record(Schema.String, Schema.Number)]),
        { a: 1, b: 2 },
        { a: 1, b: 2 }
      ],
      ["a struct without fields", Schema.Struct({}), {}, {}],
      ["a union", Schema.Union([Schema.TaggedStruct("A", { a: Schema.Number }), Schema.TaggedStruct("B", {})]), {
        _tag: "B"
      }, { _tag: "B" }],
      ["a traced message of its own key", Schema.Struct({ _trace_context: Schema.Unknown }), { _trace_context }, {
        _trace_context
      }],
      [
        "a union of messages that declare the key",
        Schema.Union([
          Schema.TaggedStruct("A", { _trace_context: Schema.Unknown }),
          Schema.TaggedStruct("B", { _trace_context: Schema.Unknown })
        ]),
        { _tag: "B", _trace_context },
        { _tag: "B", _trace_context }
      ],
      [
        "renamed keys",
        Schema.Struct({ taskId: Schema.String }).pipe(Schema.encodeKeys({ taskId: "task_id" })),
        { task_id: "x" },
        { taskId: "x" }
      ]
    ] as ReadonlyArray<readonly [string, Schema.Codec<unknown, object>, object, unknown]>
  ) {
    it.effect(`takes ${name} as its payload`, () =>
      Effect.gen(function*() {
        const traced = TracedMessage(payload)
        for (const onExcessProperty of ["ignore", "error"] as const) {
          const wire = { ...encoded, _trace_context }
          const message = yield* Schema.decodeUnknownEffect(traced, { onExcessProperty })(wire)
          assert.deepStrictEqual(message, { payload: decoded, traceContext: Option.some(context) })
          assert.deepStrictEqual(yield* Schema.encodeEffect(traced, { onExcessProperty })(message), wire)
        }
      }))
  }

  for (
    const bad of [null, 1, "x", [], {}, { traceparent: 1 }, { traceparent: "x" }, { tracestate: "a=b" }]
  ) {
    it.effect(`a bad context is no context: ${JSON.stringify(bad)}`, () =>
      Effect.gen(function*() {
        const message = yield* Schema.decodeUnknownEffect(schema)({ ...task, _trace_context: bad })
        assert.deepStrictEqual(message, { payload: task, traceContext: Option.none() })
      }))
  }

  for (
    const [name, wire, expected] of [
      ["a wrong type, at its path on the wire", { ...task, nested: { prompt: 1 }, _trace_context }, [
        "Expected string",
        `at ["nested"]["prompt"]`
      ]],
      ["a missing key", { nested: task.nested }, [`at ["id"]`]],
      ["null", null, ["Expected object"]],
      ["an array", [task], ["Expected object"]],
      ["a string", "task", ["Expected object"]],
      ["a function", Object.assign(() => {}, task), ["Expected object"]]
    ] as ReadonlyArray<readonly [string, unknown, ReadonlyArray<string>]>
  ) {
    it.effect(`a bad payload is a SchemaError: ${name}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Schema.decodeUnknownEffect(schema)(wire))
        assert.isTrue(Schema.isSchemaError(error))
        for (const part of expected) assert.include(error.message, part)
      }))
  }

  for (const wire of [null, "task", 1, [task], () => {}]) {
    it.effect(`what is no object is refused whatever the payload's schema takes: ${JSON.stringify(wire)}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Schema.decodeUnknownEffect(TracedMessage(Schema.Unknown))(wire))
        assert.strictEqual(error.message, "Expected object")
      }))
  }

  for (
    const [name, value] of [
      ["nothing", undefined],
      ["null", null],
      ["a text", "task"],
      ["the wire's side", { ...task, _trace_context }],
      ["no payload", { traceContext: Option.none() }],
      ["no context", { payload: task }],
      ["a context that is not there", { payload: task, traceContext: undefined }],
      ["a context that is null", { payload: task, traceContext: null }],
      ["a context without its option", { payload: task, traceContext: context }],
      ["what an option looks like", { payload: task, traceContext: { _tag: "Some", value: context } }]
    ] as ReadonlyArray<readonly [string, unknown]>
  ) {
    it.effect(`what is no traced message is not encoded: ${name}`, () =>
      Effect.gen(function*() {
        assert.isFalse(Schema.is(schema)(value))
        const error = yield* Effect.flip(Schema.encodeUnknownEffect(schema)(value))
        assert.include(error.message, "Expected TracedMessage")
      }))
  }

  for (
    const [kind, toCodec] of [["JSON", Schema.toCodecJson], ["trees of strings", Schema.toCodecStringTree]] as const
  ) {
    for (const wire of [undefined, null, "task", 1]) {
      it.effect(`as a codec of ${kind}, it refuses what is no object: ${wire}`, () =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(Schema.decodeUnknownEffect(toCodec(schema))(wire))
          assert.strictEqual(error._tag, "SchemaError")
        }))
    }
  }

  it.effect("as a JSON codec, it refuses what JSON cannot hold", () =>
    Effect.gen(function*() {
      const encode = Schema.encodeEffect(Schema.toCodecJson(TracedMessage(Schema.Unknown)))
      const error = yield* Effect.flip(encode({ payload: new Map([["id", 1]]), traceContext: Option.none() }))
      assert.include(error.message, "Expected JSON value")
      assert.deepStrictEqual(yield* encode({ payload: task, traceContext: Option.some(context) }), {
        ...task,
        _trace_context
      })
    }))

  const Rich = Schema.Struct({
    at: Schema.Date,
    count: Schema.BigInt,
    ratio: Schema.Number,
    bytes: Schema.Uint8Array,
    by: Schema.Option(Schema.String),
    seen: Schema.ReadonlyMap(Schema.String, Schema.Number),
    note: Schema.optional(Schema.String)
  })
  const rich = {
    at: new Date(0),
    count: 10n,
    ratio: Number.NaN,
    bytes: Uint8Array.of(1),
    by: Option.some("x"),
    seen: new Map([["a", 1]]),
    note: undefined
  }
  const codecs: ReadonlyArray<
    readonly [string, (schema: Schema.Codec<unknown, unknown>) => Schema.Codec<unknown, unknown>]
  > = [
    ["JSON", Schema.toCodecJson],
    ["trees of strings", Schema.toCodecStringTree]
  ]
  class Job extends Schema.Class<Job>("Job")({ at: Schema.Date }) {}
  const Forwarded = Schema.Struct({ at: Schema.Date, _trace_context: Schema.Any })
  const payloads: ReadonlyArray<readonly [string, Schema.Codec<unknown, object>, object]> = [
    ["a struct", Rich, rich],
    ["a class", Job, new Job({ at: new Date(0) })],
    ["a union", Schema.Union([Schema.Struct({ kind: Schema.Literal("a"), at: Schema.Date }), Rich]), rich],
    ["a record", Schema.Record(Schema.String, Schema.Date), { a: new Date(0) }],
    ["one that keeps the context itself", Forwarded, { at: new Date(0), _trace_context }]
  ]
  for (const [kind, toCodec] of codecs) {
    for (const [name, schema, payload] of payloads) {
      it.effect(`as a codec of ${kind}, it is that of its payload: ${name}`, () =>
        Effect.gen(function*() {
          const own = yield* Schema.encodeEffect(toCodec(schema))(payload)
          const codec = toCodec(TracedMessage(schema))
          const message = { payload, traceContext: Option.some(context) }
          const wire = yield* Schema.encodeEffect(codec)(message)
          assert.deepStrictEqual(wire, { ...own as object, _trace_context })
          assert.deepStrictEqual(yield* Schema.decodeEffect(codec)(wire), message)
          assert.deepStrictEqual(yield* Schema.encodeEffect(codec)({ payload, traceContext: Option.none() }), own)
          assert.deepStrictEqual(yield* Schema.decodeEffect(codec)(own), {
            payload,
            traceContext: "_trace_context" in payload ? Option.some(context) : Option.none()
          })
        }))
    }
  }

  class Later extends Job.extend<Later>("Later")({ by: Schema.String }) {}
  /** Recursive, so that its document is a reference. */
  interface Tree {
    readonly name: string
    readonly children: ReadonlyArray<Tree>
  }
  const Tree = Schema.Struct({
    name: Schema.String,
    children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
  })
  const documented: typeof payloads = [
    // Effect reads no document of a record with other keys.
    ...payloads.filter(([name]) => name !== "a record"),
    ["a tree", Tree, { name: "root", children: [] }],
    ["a struct with a name", Task.annotate({ identifier: "Task" }), task],
    ["a union with a name in it", Schema.Union([Task.annotate({ identifier: "Task" }), Job]), task],
    ["a class that extends another", Later, new Later({ at: new Date(0), by: "x" })]
  ]
  for (const [name, schema, payload] of documented) {
    it.effect(`is documented as its payload, with the context beside it: ${name}`, () =>
      Effect.gen(function*() {
        const traced = TracedMessage(schema)
        const message = { payload, traceContext: Option.some(context) }
        const wire = yield* Schema.encodeEffect(Schema.toCodecJson(traced))(message)
        for (const onExcessProperty of ["ignore", "error"] as const) {
          for (const side of [traced, Schema.toEncoded(traced)]) {
            const document = Schema.toJsonSchemaDocument(side, { onExcessProperty })
            const { ast } = SchemaRepresentation.fromJsonSchemaDocument(document, { patterns: "apply" })
            const read = Schema.make<Schema.Codec<unknown>>(ast)
            const isValid = (value: unknown) =>
              Exit.isSuccess(Schema.decodeUnknownExit(read, { onExcessProperty: "error" })(value))
            assert.isTrue(isValid(wire))
            assert.isTrue(isValid({ ...wire as object, _trace_context: 42 }), "a bad context is no context")
            assert.isFalse(isValid({ _trace_context }), "a payload is asked for")
            assert.isFalse(isValid("no object"))
          }
        }
      }))
  }

  for (
    const [name, schema, own] of [
      ["a struct", Schema.Struct({ id: Schema.String }), { required: ["id"], additionalProperties: true }],
      ["a record", Schema.Record(Schema.String, Schema.String), { additionalProperties: { type: "string" } }],
      [
        "a record of few keys",
        Schema.Record(Schema.String, Schema.String).check(Schema.isMaxProperties(2)),
        { additionalProperties: { type: "string" }, maxProperties: 3 }
      ],
      [
        "a record of short keys",
        Schema.Record(Schema.String, Schema.String).check(
          Schema.isPropertyNames(Schema.String.check(Schema.isMaxLength(3)))
        ),
        {
          additionalProperties: { type: "string" },
          propertyNames: { anyOf: [{ type: "string", maxLength: 3 }, { const: "_trace_context" }] }
        }
      ]
    ] as ReadonlyArray<readonly [string, Schema.Codec<unknown, object>, object]>
  ) {
    it(`says in its document what the context is: ${name}`, () => {
      const [document] = Object.values(Schema.toJsonSchemaDocument(TracedMessage(schema)).definitions)
      assert.deepStrictEqual(document, {
        type: "object",
        properties: {
          ...("required" in own ? { id: { type: "string" } } : undefined),
          _trace_context: {
            description: "The W3C trace context of the message: traceparent, tracestate and baggage, as strings",
            examples: [{ traceparent }]
          }
        },
        ...own
      })
    })
  }

  for (
    const [name, schema, keys] of [
      ["in each of its members", Schema.Union([Task, Schema.Struct({ id: Schema.Number })]), ["anyOf"]],
      [
        "beside it where not all of them say which keys they have",
        Schema.Union([Task, Schema.Struct({})]),
        ["allOf"]
      ]
    ] as ReadonlyArray<readonly [string, Schema.Codec<unknown, object>, ReadonlyArray<string>]>
  ) {
    it(`says in the document of a union what the context is: ${name}`, () => {
      const [document] = Object.values(Schema.toJsonSchemaDocument(TracedMessage(schema)).definitions)
      assert.deepStrictEqual(Object.keys(document!), keys)
    })
  }

  it.prop("messages are made up for property tests, with and without a context", [schema], ([message]) => {
    assert.deepStrictEqual(Schema.decodeSync(schema)(Schema.encodeSync(schema)(message)), message)
  })

  it.effect("survives a persisted queue, which stores JSON", () =>
    Effect.gen(function*() {
      const queue = yield* PersistedQueue.make({ name: "tasks", schema: TracedMessage(Rich) })
      const message = { payload: rich, traceContext: Option.some(context) }
      yield* queue.offer(message)
      assert.deepStrictEqual(yield* queue.take(Effect.succeed), message)
    }).pipe(
      Effect.scoped,
      Effect.provide(PersistedQueue.layer.pipe(Layer.provide(PersistedQueue.layerStoreMemory)))
    ))

  it.effect("all issues are reported when asked for", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        Schema.decodeUnknownEffect(schema, { errors: "all" })({ id: "x", nested: { prompt: 1 } })
      )
      assert.include(error.message, `at ["id"]`)
      assert.include(error.message, `at ["nested"]["prompt"]`)
    }))

  it.effect("unknown keys follow the parse options, and the context is never one of them", () =>
    Effect.gen(function*() {
      const strict = Schema.decodeUnknownEffect(schema, { onExcessProperty: "error" })
      const message = yield* strict({ ...task, _trace_context })
      assert.deepStrictEqual(message.payload, task)
      const error = yield* Effect.flip(strict({ ...task, extra: 1, _trace_context }))
      assert.include(error.message, `at ["extra"]`)
      const annotated = TracedMessage(Task.annotate({ parseOptions: { onExcessProperty: "error" } }))
      const kept = yield* Schema.decodeUnknownEffect(annotated)({ ...task, _trace_context })
      assert.deepStrictEqual(kept.payload, task)
      assert.deepStrictEqual((yield* Schema.decodeUnknownEffect(schema)({ ...task, extra: 1 })).payload, task)
      const member = Schema.Struct({ n: Schema.Number, _trace_context: Schema.optionalKey(Schema.Unknown) })
      const either = TracedMessage(Schema.Union([Task, member]))
      const plain = yield* Schema.decodeUnknownEffect(either, { onExcessProperty: "error" })({
        ...task,
        _trace_context
      })
      assert.deepStrictEqual(plain.payload, task)
    }))

  it.effect("a payload that encodes to no object cannot carry a context", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        Schema.encodeEffect(TracedMessage(Schema.String))({ payload: "x", traceContext: Option.none() })
      )
      assert.include(error.message, "encode to an object")
    }))

  it.effect("the services of the payload's schema are asked for", () =>
    Effect.gen(function*() {
      class Prefix extends Context.Service<Prefix, string>()("Prefix") {}
      const Prefixed = Schema.Struct({
        id: Schema.String.pipe(Schema.decode({
          decode: SchemaGetter.transformEffect((id: string) => Effect.map(Prefix, (prefix) => prefix + id)),
          encode: SchemaGetter.passthrough()
        }))
      })
      const decode: Effect.Effect<TracedMessage<{ readonly id: string }>, Schema.SchemaError, Prefix> = Schema
        .decodeUnknownEffect(TracedMessage(Prefixed))({ id: "1" })
      const message = yield* decode.pipe(Effect.provide(Layer.succeed(Prefix, "p-")))
      assert.deepStrictEqual(message.payload, { id: "p-1" })
    }))

  it.effect("does not touch the message that it decodes", () =>
    Effect.gen(function*() {
      const wire = Object.freeze({ ...task, _trace_context: Object.freeze(_trace_context) })
      yield* Schema.decodeUnknownEffect(TracedMessage(Schema.Record(Schema.String, Schema.Unknown)))(wire)
      assert.deepStrictEqual(wire, { ...task, _trace_context })
    }))

  const kept = Object.freeze({ id: 1 })
  const encodings: ReadonlyArray<readonly [name: string, payload: Schema.Codec<unknown>]> = [
    ["a struct", Schema.Struct({ id: Schema.Finite })],
    ["a struct that is checked", Schema.Struct({ id: Schema.Finite }).check(Schema.makeFilter(() => true))],
    ["a record", Schema.Record(Schema.String, Schema.Unknown)],
    ["a struct without fields", Schema.Struct({})],
    ["a union", Schema.Union([Schema.String, Schema.Struct({ id: Schema.Finite })])],
    ["any object", Schema.ObjectKeyword],
    ["anything", Schema.Unknown],
    ["a declaration", Schema.declare(Predicate.isObject)],
    ["a suspended struct", Schema.suspend(() => Schema.Struct({ id: Schema.Finite }))],
    [
      "a transformation that keeps what it has made",
      Schema.Struct({ id: Schema.Finite }).pipe(
        Schema.decodeTo(Schema.Unknown, {
          decode: SchemaGetter.passthrough(),
          encode: SchemaGetter.transform(() => kept)
        })
      )
    ],
    [
      "a declaration that keeps what it has made",
      Schema.declareConstructor<unknown>()([], () => () => Effect.succeed(kept))
    ],
    [
      "a union with a member that keeps what it has made",
      Schema.Union([
        Schema.String,
        Schema.Unknown.pipe(
          Schema.decodeTo(Schema.Struct({ id: Schema.Finite }), {
            decode: SchemaGetter.transform(() => kept),
            encode: SchemaGetter.transform(() => kept)
          })
        )
      ])
    ],
    [
      "a transformation of a struct that keeps what it has made",
      Schema.Unknown.pipe(
        Schema.decodeTo(Schema.Struct({ id: Schema.Finite }), {
          decode: SchemaGetter.transform(() => kept),
          encode: SchemaGetter.transform(() => kept)
        })
      )
    ]
  ]
  for (const [name, payload] of encodings) {
    it.effect(`does not touch the payload that it encodes, nor what is the schema's own: ${name}`, () =>
      Effect.gen(function*() {
        const given = Object.freeze({ id: 1 })
        const message = { payload: given, traceContext: Option.some(context) }
        const wire = yield* Schema.encodeEffect(TracedMessage(payload))(message)
        assert.deepStrictEqual<unknown>(wire, { id: 1, _trace_context })
        assert.deepStrictEqual([given, kept], [{ id: 1 }, { id: 1 }])
      }))
  }

  class Money {
    readonly #cents: number
    constructor(cents: number) {
      this.#cents = cents
    }
    toJSON() {
      return { cents: this.#cents }
    }
  }
  for (
    const [name, payload, value] of [
      ["an object of a class", Schema.instanceOf(Money), new Money(5)],
      ["anything, which is an object of a class", Schema.Unknown, new Money(5)],
      ["a date", Schema.Date, new Date(0)],
      ["bytes", Schema.Uint8Array, Uint8Array.of(1)]
    ] as ReadonlyArray<readonly [string, Schema.Codec<unknown>, unknown]>
  ) {
    it.effect(`what cannot be copied is sent as it is, without a context: ${name}`, () =>
      Effect.gen(function*() {
        const message = { payload: value, traceContext: Option.some(context) }
        assert.strictEqual(yield* Schema.encodeEffect(TracedMessage(payload))(message), value)
      }))
  }

  const Request = Schema.Struct({ kind: Schema.Literal("request"), retries: Schema.Number })
  for (
    const [name, payload, options] of [
      ["a struct", Request, {}],
      ["a struct, strictly", Request, { onExcessProperty: "error" }],
      ["a union", Schema.Union([Schema.Struct({ kind: Schema.Literal("reply") }), Request]), {}]
    ] as const
  ) {
    it.effect(`a context hides nothing that a message has on its prototype: ${name}`, () =>
      Effect.gen(function*() {
        // As protobuf's generated classes keep defaults.
        const wire = Object.assign(Object.create({ retries: 3 }), { kind: "request", _trace_context })
        const message = yield* Schema.decodeUnknownEffect(TracedMessage(payload), options)(wire)
        assert.deepStrictEqual(message, {
          payload: { kind: "request", retries: 3 },
          traceContext: Option.some(context)
        })
      }))
  }

  it.effect("shows a check of the wire's side what the payload encodes to, and no context", () =>
    Effect.gen(function*() {
      let seen: unknown
      const payload = Schema.flip(
        Schema.Struct({ id: Schema.Finite }).check(Schema.makeFilter((value) => {
          seen = value
          return true
        }))
      )
      const message = { payload: { id: 1 }, traceContext: Option.some(context) }
      const wire = yield* Schema.encodeEffect(TracedMessage(payload))(message)
      assert.deepStrictEqual<unknown>([seen, wire], [{ id: 1 }, { id: 1, _trace_context }])
    }))

  it.effect("reads the payload that it encodes once", () =>
    Effect.gen(function*() {
      let reads = 0
      const message = {
        get payload() {
          reads++
          return Object.freeze({})
        },
        traceContext: Option.some(context)
      }
      assert.deepStrictEqual(yield* Schema.encodeEffect(TracedMessage(Schema.Struct({})))(message), { _trace_context })
      assert.strictEqual(reads, 1)
    }))

  const Document = Schema.Struct({
    title: Schema.String,
    tags: Schema.Array(Schema.String),
    meta: Schema.Record(Schema.String, Schema.NullOr(Schema.Boolean))
  })
  it.effect.prop(
    "decoding what was encoded gives the message back",
    [Document, Schema.Boolean],
    ([payload, traced]) =>
      Effect.gen(function*() {
        const message = { payload, traceContext: traced ? Option.some(context) : Option.none() }
        // Not as JSON text: V8's JSON.parse takes some escaped keys for others (nodejs/node#63785).
        const wire = yield* Schema.encodeEffect(TracedMessage(Document))(message)
        assert.deepStrictEqual(yield* Schema.decodeEffect(TracedMessage(Document))(wire), message)
      })
  )
})

describe("makeTracedMessage", () => {
  it.effect("pairs a payload with the current context", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* makeTracedMessage(1), { payload: 1, traceContext: Option.none() })
      assert.deepStrictEqual(yield* makeTracedMessage(1).pipe(withTraceContext({ _trace_context })), {
        payload: 1,
        traceContext: Option.some(context)
      })
    }))
})
