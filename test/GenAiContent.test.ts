import { assert, describe, it } from "@effect/vitest"
import {
  Data,
  Effect,
  Fiber,
  identity,
  Logger,
  Option,
  Redactable,
  Redacted,
  Schema,
  SchemaRepresentation
} from "effect"
import type { JsonSchema } from "effect"
import { TestClock } from "effect/testing"
import {
  type ChatMessage,
  type Content,
  type ContentCapture,
  type GenAiSettings,
  hideSensitive,
  type MemoryRecord,
  type MessagePart,
  type OutputMessage,
  type RetrievalDocument,
  sensitive,
  type ToolDefinition,
  withAgentSpan,
  withLlmSpan,
  withMemorySpan,
  withRetrievalSpan,
  withToolSpan
} from "loom-tracing"
import { readFileSync } from "node:fs"
import { type ElementCut, printJson, printText, toPlain } from "../src/internal/contentJson.ts"
import * as Recorder from "./support/Recorder.ts"

const minimal = { provider: "openai", request: { model: "gpt-4o" } } as const

// =============================================================================
// The convention's JSON schemas
// =============================================================================

interface Schemas {
  readonly attributes: Readonly<Record<string, JsonSchema.JsonSchema>>
  readonly $defs: Readonly<Record<string, JsonSchema.JsonSchema>>
}
const { $defs: definitions, attributes: attributeSchemas }: Schemas = JSON.parse(
  readFileSync(new URL("support/genai-json-schemas.json", import.meta.url), "utf8")
)

const validator = (schema: JsonSchema.JsonSchema) =>
  Schema.is(SchemaRepresentation.fromJsonSchemaDocument({ dialect: "draft-2020-12", schema, definitions }))

const attributeValidators = Object.entries(attributeSchemas).map(([name, schema]) => [name, validator(schema)] as const)

/** The schema of a part or tool by its type. The convention's own takes anything with a type, as a generic one. */
const byType = new Map(
  Object.entries(definitions).flatMap(([name, definition]) => {
    const type = (definition.properties as { readonly type?: { readonly const?: string } } | undefined)?.type?.const
    return type === undefined ? [] : [[type, validator({ $ref: `#/$defs/${name}` })] as const]
  })
)

const assertTyped = (value: unknown): void => {
  if (Array.isArray(value)) return value.forEach(assertTyped)
  if (value === null || typeof value !== "object") return
  const { parts, type } = value as { readonly parts?: unknown; readonly type?: unknown }
  const known = typeof type === "string" ? byType.get(type) : undefined
  if (known !== undefined) assert.isTrue(known(value), JSON.stringify(value))
  if (parts !== undefined) assertTyped(parts)
}

const ARRAYS = new Set([
  "gen_ai.system_instructions",
  "gen_ai.input.messages",
  "gen_ai.output.messages",
  "gen_ai.tool.definitions"
])

/** Checks whatever content there is, and returns it by attribute. */
const validate = (attributes: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> => {
  const content: Record<string, unknown> = {}
  for (const [name, isValid] of attributeValidators) {
    const json = attributes[name]
    if (json === undefined) continue
    assert.isString(json)
    const value: unknown = JSON.parse(String(json))
    assert.isTrue(isValid(value), `${name}: ${String(json)}`)
    if (ARRAYS.has(name)) assertTyped(value)
    content[name] = value
  }
  return content
}

const bytesOf = (attributes: Readonly<Record<string, unknown>>): number =>
  attributeValidators.reduce((sum, [name]) => sum + Buffer.byteLength(String(attributes[name] ?? "")), 0)

// =============================================================================
// Conversations
// =============================================================================

/** A generator of numbers from 0 to 1 that gives the same ones for the same seed. */
const makeRandom = (seed: number) => {
  let state = seed
  return (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const SECRET = "4111-1111-1111-1111"
const MEDIA = Buffer.from("not to be seen, however small").toString("base64")
const PIECES = [
  "Hello ",
  "世界",
  "🧵",
  "\"",
  "\\",
  "\n",
  "\u0007",
  "\ud83d",
  "é",
  "</script>",
  "0123456789",
  SECRET,
  " "
]

const makeConversation = (seed: number) => {
  const random = makeRandom(seed)
  const int = (below: number) => Math.floor(random() * below)
  const pick = <A>(values: ReadonlyArray<A>): A => values[int(values.length)]
  const maybe = <A>(value: A): A | undefined => random() < 0.5 ? value : undefined
  const list = <A>(most: number, make: () => A): Array<A> => Array.from({ length: int(most + 1) }, make)
  const text = (): string => {
    const piece = () => pick(PIECES)
    return Array.from({ length: int(random() < 0.1 ? 400 : 12) }, piece).join("")
  }
  const json = (depth = 0): unknown =>
    pick<() => unknown>([
      text,
      () => int(1000),
      () => random() < 0.5,
      () => null,
      ...(depth > 2 ? [] : [
        () => list(4, () => json(depth + 1)),
        () =>
          Object.fromEntries(list(4, () => [pick(["a", "name", "id", "type", "__proto__", "ключ"]), json(depth + 1)]))
      ])
    ])()
  const id = () => pick([`call_${int(1e9)}`, null, undefined])
  const media = { modality: pick(["image", "audio", "hologram"]), mime_type: pick(["image/png", null]) }
  const part = (): MessagePart =>
    pick<() => MessagePart>([
      () => ({ type: "text", content: text() }),
      () => ({ type: "reasoning", content: text() }),
      () => ({ type: "tool_call", id: id() ?? null, name: pick(["search", "lookup"]), arguments: json() }),
      () => ({ type: "tool_call_response", id: id() ?? null, response: json() ?? null }),
      () => ({ type: "server_tool_call", name: "web", server_tool_call: { type: "web_search", query: text() } }),
      () => ({ type: "server_tool_call_response", server_tool_call_response: { type: "web_search", hits: json() } }),
      () => ({ type: "blob", ...media, content: MEDIA }),
      () => ({ type: "file", ...media, file_id: `file-${int(1e6)}` }),
      () => ({ type: "uri", ...media, uri: pick(["https://example.com/a.png", `data:image/png;base64,${MEDIA}`]) }),
      () => ({ type: "compaction", content: pick([text(), null]) }),
      () => ({ type: "thread", depth: int(10), note: json() })
    ])()
  const message = (): ChatMessage => {
    const role = pick(["system", "user", "assistant", "tool", "critic"])
    return random() < 0.3 ? { role, content: text() } : { role, parts: list(5, part), name: pick(["ada", null]) }
  }
  const output = (): OutputMessage => ({
    role: "assistant",
    parts: list(4, part),
    ...(random() < 0.5 ? { finish_reason: pick(["stop", "tool_call", null]) } : undefined)
  })
  const tool = (): ToolDefinition => ({
    type: pick(["function", "retriever"]),
    name: pick(["search", "lookup"]),
    ...(random() < 0.5 ? { description: text(), parameters: { type: "object", properties: {} } } : undefined)
  })
  return {
    input: random() < 0.2 ? text() : list(8, message),
    systemInstructions: maybe(random() < 0.5 ? text() : list(3, () => ({ type: "text" as const, content: text() }))),
    toolDefinitions: maybe(list(4, tool)),
    output: random() < 0.2 ? text() : list(3, output),
    arguments: json(),
    result: json(),
    documents: list(5, (): RetrievalDocument => ({ id: `doc-${int(99)}`, score: random(), text: text() })),
    records: list(5, (): MemoryRecord => ({ content: json() ?? null, metadata: { tags: json() } }))
  }
}

type Conversation = ReturnType<typeof makeConversation>

/** One of the operations that record content, in turn. */
const record = (conversation: Conversation, index: number): Effect.Effect<unknown> => {
  const { documents, input, output, records, systemInstructions, toolDefinitions } = conversation
  const common = {
    input,
    ...(systemInstructions === undefined ? undefined : { systemInstructions }),
    ...(toolDefinitions === undefined ? undefined : { toolDefinitions })
  }
  switch (index % 5) {
    case 0:
    case 1:
      return Effect.void.pipe(withLlmSpan({ ...minimal, ...common, response: () => ({ output }) }))
    case 2:
      return Effect.void.pipe(
        withToolSpan({ name: "t", arguments: conversation.arguments, result: () => conversation.result })
      )
    case 3:
      return Effect.succeed(documents).pipe(withRetrievalSpan({ query: "q", documents: (found) => found }))
    default:
      return Effect.void.pipe(
        withMemorySpan({ operation: "create_memory", records }),
        withAgentSpan({ name: "a", ...common, response: () => ({ output }) })
      )
  }
}

/** A redactor that keeps the structure, as the settings ask for. */
const hideCards = (value: unknown): unknown => {
  if (typeof value === "string") return value.replaceAll(SECRET, "[card]")
  if (Array.isArray(value)) return value.map(hideCards)
  if (value === null || typeof value !== "object") return value
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, hideCards(field)]))
}

describe("captured content", () => {
  const redact: GenAiSettings["redact"] = (content) => ({ ...content, value: hideCards(content.value) })
  const redactLater: GenAiSettings["redact"] = (content) => Effect.sync(() => redact(content) as Content)
  for (
    const [name, count, settings] of [
      ["whole", 2000, { maxContentBytes: 10_000_000 }],
      ["redacted", 10_000, { maxContentBytes: 10_000_000, redact }],
      ["redacted and cut to 1,500 bytes", 10_000, { maxContentBytes: 1500, redact }],
      ["redacted by an effect and cut to 300 bytes", 2000, { maxContentBytes: 300, redact: redactLater }]
    ] as ReadonlyArray<readonly [string, number, Partial<GenAiSettings>]>
  ) {
    it.effect(`follows the convention's JSON schemas for ${count} conversations: ${name}`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { convention: "latest", capture: "SPAN_ONLY", ...settings } })
        yield* recorder.run(
          Effect.forEach(
            Array.from({ length: count }, (_, index) => index),
            (index) => record(makeConversation(index), index),
            { discard: true }
          )
        )
        // Every fifth has two.
        assert.lengthOf(recorder.spans, count * 6 / 5)
        let captured = 0
        let cut = 0
        for (const { attributes } of recorder.spans) {
          captured += Object.keys(validate(attributes)).length
          const text = JSON.stringify(attributes)
          assert.isAtMost(bytesOf(attributes), settings.maxContentBytes ?? 0)
          assert.notInclude(text, MEDIA)
          if (settings.redact !== undefined) assert.notInclude(text, SECRET.slice(0, 9))
          if (text.includes("…[cut]") || text.includes("\\\"cut\\\"")) cut++
        }
        assert.isAbove(captured, count)
        if (name.includes("cut")) assert.isAbove(cut, count / 10)
        else assert.strictEqual(cut, 0)
      }))
  }

  it.effect("is, uncut, what was given", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({
        genAi: { convention: "latest", capture: "SPAN_ONLY", maxContentBytes: 10_000_000 }
      })
      const input: ReadonlyArray<ChatMessage> = [
        { role: "user", parts: [{ type: "text", content: "\"\\\n\u0007🧵" }, { type: "thread", depth: 1 }] },
        { role: "tool", name: null, parts: [{ type: "tool_call_response", id: "c", response: { a: [1, null, "x"] } }] }
      ]
      yield* recorder.run(Effect.void.pipe(withLlmSpan({ ...minimal, input })))
      assert.deepStrictEqual(JSON.parse(String(recorder.spans[0].attributes["gen_ai.input.messages"])), input)
    }))
})

// =============================================================================
// Where content goes
// =============================================================================

describe("the capture mode", () => {
  const structured = ["gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions"]
  const loomEvents = ["gen_ai.content.prompt", "gen_ai.content.completion"]
  const details = ["gen_ai.client.inference.operation.details"]
  for (
    const [convention, capture, onSpan, events] of [
      ["loom", "NO_CONTENT", false, []],
      ["loom", "SPAN_ONLY", false, loomEvents],
      ["loom", "EVENT_ONLY", false, details],
      ["loom", "SPAN_AND_EVENT", false, [...loomEvents, ...details]],
      ["latest", "NO_CONTENT", false, []],
      ["latest", "SPAN_ONLY", true, []],
      ["latest", "EVENT_ONLY", false, details],
      ["latest", "SPAN_AND_EVENT", true, details]
    ] as ReadonlyArray<
      readonly [GenAiSettings["convention"], ContentCapture, onSpan: boolean, events: ReadonlyArray<string>]
    >
  ) {
    it.effect(`${capture} under ${convention}: ${onSpan ? "attributes" : "no attributes"}, ${events.length} events`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { convention, capture } })
        yield* recorder.run(
          Effect.void.pipe(
            withLlmSpan({
              ...minimal,
              server: { address: "api", port: 1 },
              input: "Hi",
              systemInstructions: "Be brief",
              response: () => ({ id: "r", usage: { inputTokens: 3 }, output: "Hello" })
            })
          )
        )
        const [span] = recorder.spans
        assert.deepStrictEqual(span.events.map((event) => event.name), events)
        const content = validate(span.attributes)
        assert.deepStrictEqual(Object.keys(content).sort(), onSpan ? structured.toSorted() : [])
        const event = span.events.find((event) => event.name === details[0])
        if (event === undefined) return
        // The event repeats the span, and has the content beside.
        assert.deepStrictEqual(Object.keys(validate(event.attributes ?? {})).sort(), structured.toSorted())
        for (const [name, value] of Object.entries(span.attributes)) {
          assert.deepStrictEqual(event.attributes?.[name], value, name)
        }
        const extra = Object.keys(event.attributes ?? {}).filter((name) => !(name in span.attributes))
        assert.deepStrictEqual(extra.sort(), onSpan ? [] : structured.toSorted())
      }))
  }

  for (const convention of ["loom", "latest"] as const) {
    it.effect(`SPAN_AND_EVENT under ${convention}: content is made once`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { convention, capture: "SPAN_AND_EVENT" } })
        const made: Array<string> = []
        const make = (text: string) => () => {
          made.push(text)
          return text
        }
        yield* recorder.run(
          Effect.void.pipe(withLlmSpan({ ...minimal, input: make("Hi"), response: () => ({ output: make("Hello") }) }))
        )
        assert.deepStrictEqual(made, ["Hi", "Hello"])
      }))
  }

  it.effect("content of an operation that has no event is not made where content goes into events alone", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { capture: "EVENT_ONLY" } })
      let made = 0
      const content = () => ++made
      yield* recorder.run(Effect.void.pipe(withToolSpan({ name: "t", arguments: content, result: content })))
      assert.deepStrictEqual([made, recorder.span("execute_tool t").events.length], [0, 0])
    }))

  it.effect("the event of a failed call says how it has failed", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { convention: "latest", capture: "EVENT_ONLY" } })
      yield* recorder.run(
        Effect.fail({ _tag: "Overloaded" }).pipe(withLlmSpan({ ...minimal, input: "Hi" }), Effect.exit)
      )
      const [event] = recorder.spans[0].events
      assert.strictEqual(event.name, details[0])
      assert.strictEqual(event.attributes?.["error.type"], "Overloaded")
      assert.isUndefined(event.attributes?.["gen_ai.output.messages"])
    }))

  it.effect("both places share one budget", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({
        genAi: { convention: "latest", capture: "SPAN_AND_EVENT", maxContentBytes: 1000 }
      })
      const text = "x".repeat(5000)
      yield* recorder.run(
        Effect.void.pipe(withLlmSpan({ ...minimal, input: text, response: () => ({ output: text }) }))
      )
      const [span] = recorder.spans
      const onSpan = bytesOf(span.attributes)
      assert.isAbove(onSpan, 300)
      assert.isAtMost(onSpan + bytesOf(span.events[0].attributes ?? {}), 1000)
    }))

  for (const size of [300, 700, 1000, 2000, 5000]) {
    it.effect(`both forms of Loom's have room where each content has ${size} bytes`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { capture: "SPAN_AND_EVENT", maxContentBytes: 2000 } })
        const text = "x".repeat(size)
        yield* recorder.run(
          Effect.void.pipe(withLlmSpan({ ...minimal, input: text, response: () => ({ output: text }) }))
        )
        const [span] = recorder.spans
        assert.deepStrictEqual(
          span.events.map(({ name, attributes }) => [name, Object.values(attributes ?? {}).join("").includes("xxx")]),
          [["gen_ai.content.prompt", true], ["gen_ai.content.completion", true], [details[0], true]]
        )
        const printed = span.events.flatMap(({ attributes = {} }) => Object.values(attributes).map(String)).filter((
          value
        ) => value.includes("xxx"))
        assert.lengthOf(printed, 4)
        assert.isAtMost(Buffer.byteLength(printed.join("")), 2000)
      }))
  }

  it.effect("a span that is not sampled costs no content", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({
        env: { OTEL_TRACES_SAMPLER: "always_off" },
        genAi: { capture: "SPAN_AND_EVENT" }
      })
      const thunk = (): never => assert.fail("evaluated")
      yield* recorder.run(
        Effect.void.pipe(withLlmSpan({ ...minimal, input: thunk, response: () => ({ output: thunk }) }))
      )
      yield* recorder.run(Effect.void.pipe(withToolSpan({ name: "t", arguments: thunk, result: thunk })))
    }))
})

// =============================================================================
// Redaction
// =============================================================================

describe("redaction", () => {
  for (
    const [name, redact] of [
      ["throws", () => {
        throw new RangeError(SECRET)
      }],
      ["fails", () => Effect.fail(SECRET)],
      ["dies", () => Effect.die(new RangeError(SECRET))],
      ["returns nothing", () => undefined as never],
      ["brings nothing", () => Effect.succeed(undefined as never)],
      ["returns a promise", (content) => Promise.resolve(content) as never],
      ["returns a promise that fails", () => Promise.reject(new RangeError(SECRET)) as never]
    ] as ReadonlyArray<readonly [string, GenAiSettings["redact"]]>
  ) {
    it.effect(`a redactor that ${name} costs the content alone, and is reported once without quoting it`, () =>
      Effect.gen(function*() {
        const logs: Array<string> = []
        const logger = Logger.layer([Logger.make(({ message }) => logs.push(String(message)))])
        const recorder = Recorder.make({ genAi: { convention: "latest", capture: "SPAN_ONLY", redact } })
        const call = Effect.succeed(1).pipe(
          withLlmSpan({ ...minimal, input: SECRET, response: () => ({ id: "r", output: SECRET }) })
        )
        const results = yield* recorder.run(Effect.all([call, call])).pipe(Effect.provide(logger))
        assert.deepStrictEqual(results, [1, 1])
        assert.lengthOf(recorder.spans, 2)
        for (const { attributes } of recorder.spans) {
          assert.strictEqual(attributes["gen_ai.response.id"], "r")
          assert.deepStrictEqual(validate(attributes), {})
        }
        assert.lengthOf(logs, 1)
        assert.match(logs[0], /content "input_messages" could not be redacted/)
        assert.notInclude(logs[0], SECRET)
      }))
  }

  it.effect("a redactor that hangs costs the content alone, after five seconds", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY", redact: () => Effect.never } })
      const fiber = yield* Effect.succeed(1).pipe(
        withToolSpan({ name: "t", result: () => SECRET }),
        recorder.run,
        Effect.provide(Logger.layer([])),
        Effect.forkChild
      )
      yield* Effect.yieldNow
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), 1)
      assert.isUndefined(recorder.spans[0].attributes["gen_ai.tool.call.result"])
    }))

  it.effect("content that is a promise is none, and its failure is nobody's", () =>
    Effect.gen(function*() {
      const logs: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => logs.push(String(message)))])
      const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY" } })
      const tool = Effect.succeed(1).pipe(
        withToolSpan({
          name: "t",
          arguments: () => Promise.resolve({ q: 1 }),
          result: () => Promise.reject(new Error(SECRET))
        })
      )
      const results = yield* recorder.run(Effect.all([tool, tool])).pipe(Effect.provide(logger))
      // A rejection without a handler would be told of by now.
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      assert.deepStrictEqual(results, [1, 1])
      assert.deepStrictEqual(logs, [
        `The content "tool_arguments" could not be made; the span goes without (TypeError)`,
        `The content "tool_result" could not be made; the span goes without (TypeError)`
      ])
      assert.notProperty(recorder.spans[0].attributes, "gen_ai.tool.call.arguments")
    }))

  it.effect("every kind of content goes through it", () =>
    Effect.gen(function*() {
      const seen: Array<Content["kind"]> = []
      const recorder = Recorder.make({
        genAi: {
          convention: "latest",
          capture: "SPAN_ONLY",
          redact: (content) => {
            seen.push(content.kind)
            return content
          }
        }
      })
      yield* recorder.run(Effect.all([
        Effect.void.pipe(withLlmSpan({
          ...minimal,
          systemInstructions: "s",
          input: "i",
          toolDefinitions: [],
          prompt: { name: "p", variables: { a: 1 } },
          response: () => ({ output: "o" })
        })),
        Effect.void.pipe(withToolSpan({ name: "t", arguments: {}, result: () => ({}) })),
        Effect.void.pipe(withRetrievalSpan({ query: "q", documents: () => [] })),
        Effect.void.pipe(withMemorySpan({ operation: "search_memory", query: "q", records: [] }))
      ]))
      assert.deepStrictEqual(seen, [
        "system_instructions",
        "input_messages",
        "tool_definitions",
        "prompt_variables",
        "output_messages",
        "tool_arguments",
        "tool_result",
        "retrieval_query",
        "retrieval_documents",
        "memory_query",
        "memory_records"
      ])
    }))

  it.effect("an error is recorded by its type alone while a redactor is set, since it may quote what that would hide", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY", redact: (content) => ({ ...content }) } })
      yield* recorder.run(
        Effect.fail(new Quoting({ message: `no: ${SECRET}` })).pipe(
          withLlmSpan(minimal),
          Effect.withSpan("outer"),
          Effect.exit
        )
      )
      assert.lengthOf(recorder.spans, 2)
      for (const span of recorder.spans) {
        assert.strictEqual(span.attributes["error.type"], "Quoting")
        assert.notInclude(JSON.stringify([span.attributes, span.events, span.status]), SECRET)
      }
    }))

  class Quoting extends Data.TaggedError("Quoting")<{ readonly message: string }> {}

  it.effect("secrets never appear, wherever they are", () =>
    Effect.gen(function*() {
      class ApiKey {
        [Redactable.symbolRedactable]() {
          return { key: "[key]" }
        }
        readonly raw = SECRET
      }
      const secret = Redacted.make(SECRET)
      const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY" } })
      const value = {
        direct: secret,
        nested: [{ secret }],
        some: Option.some(secret),
        map: new Map([["a", secret]]),
        labelled: Redacted.make(SECRET, { label: "card" }),
        key: new ApiKey(),
        json: { toJSON: () => ({ secret }) }
      }
      yield* recorder.run(Effect.void.pipe(withToolSpan({ name: "t", arguments: value, result: () => value })))
      const text = JSON.stringify(recorder.spans[0].attributes)
      assert.notInclude(text, SECRET)
      assert.include(text, "[key]")
    }))
})

describe("hideSensitive", () => {
  const Card = sensitive(Schema.String)
  class Person extends Schema.Class<Person>("Person")({ name: Schema.String, card: Card }) {}
  interface Tree {
    readonly card: string
    readonly children: ReadonlyArray<Tree>
  }
  const Tree: Schema.Codec<Tree> = Schema.Struct({
    card: Card,
    children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
  })
  const hidden = "<redacted>"
  for (
    const [name, schema, value, expected] of [
      ["a field", Schema.Struct({ a: Schema.Number, card: Card }), { a: 1, card: SECRET }, { a: 1, card: hidden }],
      ["the whole", Card, SECRET, hidden],
      ["an optional field", Schema.Struct({ card: Schema.optionalKey(Card) }), { card: SECRET }, { card: hidden }],
      ["an absent field", Schema.Struct({ card: Schema.optionalKey(Card) }), {}, {}],
      [
        "a marked optional field",
        Schema.Struct({ card: sensitive(Schema.optional(Schema.String)) }),
        { card: SECRET },
        {
          card: hidden
        }
      ],
      ["a field with checks", Schema.Struct({ card: sensitive(Schema.String.check(Schema.isMinLength(1))) }), {
        card: SECRET
      }, { card: hidden }],
      ["a field checked after it was marked", Schema.Struct({ card: Card.check(Schema.isMinLength(1)) }), {
        card: SECRET
      }, { card: hidden }],
      ["elements", Schema.Array(Card), [SECRET, SECRET], [hidden, hidden]],
      ["an element of a tuple", Schema.Tuple([Schema.Number, Card]), [1, SECRET], [1, hidden]],
      ["records", Schema.Record(Schema.String, Card), { a: SECRET }, { a: hidden }],
      ["records by keys", Schema.Struct({ cards: Schema.Record(Card, Schema.Number) }), { cards: { [SECRET]: 1 } }, {
        cards: hidden
      }],
      ["a part of a text", Schema.Struct({ text: Schema.TemplateLiteral(["card ", Card]) }), {
        text: `card ${SECRET}`
      }, { text: hidden }],
      ["a nested field", Schema.Struct({ in: Schema.Struct({ card: Card }) }), { in: { card: SECRET } }, {
        in: { card: hidden }
      }],
      ["a member of a union", Schema.Union([Schema.Struct({ card: Card }), Schema.Struct({ iban: Card })]), {
        iban: SECRET
      }, { iban: hidden }],
      ["a class", Person, new Person({ name: "Ada", card: SECRET }), { name: "Ada", card: hidden }],
      ["a class in a field", Schema.Struct({ owner: Person }), { owner: new Person({ name: "Ada", card: SECRET }) }, {
        owner: { name: "Ada", card: hidden }
      }],
      ["what contains itself", Tree, { card: SECRET, children: [{ card: SECRET, children: [] }] }, {
        card: hidden,
        children: [{ card: hidden, children: [] }]
      }],
      ["an option", Schema.Struct({ card: Schema.Option(Card) }), { card: Option.some(SECRET) }, { card: hidden }],
      ["an option of a struct", Schema.Option(Schema.Struct({ card: Card })), Option.some({ card: SECRET }), hidden],
      [
        "what is marked in its encoded form",
        Schema.Struct({ n: sensitive(Schema.String).pipe(Schema.decodeTo(Schema.FiniteFromString)) }),
        {
          n: 4111
        },
        { n: hidden }
      ],
      ["what is marked after it was decoded", Schema.Struct({ n: sensitive(Schema.FiniteFromString) }), { n: 4111 }, {
        n: hidden
      }],
      ["a text in the place of a struct", Schema.Struct({ in: Schema.Struct({ card: Card }) }), { in: SECRET }, {
        in: hidden
      }],
      ["a list in the place of a struct", Schema.Struct({ card: Card }), [SECRET], hidden],
      ["a struct in the place of a list", Schema.Struct({ in: Schema.Array(Card) }), { in: { card: SECRET } }, {
        in: hidden
      }],
      ["a text in the place of any member of a union", Schema.NullOr(Schema.Struct({ card: Card })), SECRET, hidden],
      [
        "nothing of a union's members and a record's values that are not marked",
        Schema.Struct({
          a: Schema.NullOr(Schema.Struct({ card: Card })),
          b: Schema.Union([Schema.Array(Card), Schema.String]),
          c: Schema.optional(Schema.Struct({ card: Card })),
          d: Schema.Record(Schema.String, Schema.Union([Schema.Struct({ card: Card }), Schema.FiniteFromString]))
        }),
        { a: null, b: "b", c: undefined, d: { e: 1 } },
        { a: null, b: "b", c: undefined, d: { e: 1 } }
      ],
      ["no more than what is known of", Schema.Struct({ card: Card }), { card: SECRET, b: 1 }, { card: hidden, b: 1 }],
      [
        "nothing, where nothing is marked",
        Schema.Struct({ a: Schema.Option(Schema.String) }),
        { a: Option.some("x") },
        {
          a: Option.some("x")
        }
      ]
    ] as ReadonlyArray<readonly [string, Schema.Top, unknown, unknown]>
  ) {
    it(`hides ${name}`, () => {
      const before = JSON.stringify(value)
      const result = hideSensitive(schema)(value)
      assert.deepStrictEqual<unknown>(JSON.parse(JSON.stringify(result)), JSON.parse(JSON.stringify(expected)))
      // The value itself belongs to the program.
      assert.strictEqual(JSON.stringify(value), before)
    })
  }

  it.effect("serves as the result of a tool, and around its arguments", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY" } })
      const person = new Person({ name: "Ada", card: SECRET })
      yield* recorder.run(
        Effect.succeed(person).pipe(
          withToolSpan({ name: "t", arguments: () => hideSensitive(Person)(person), result: hideSensitive(Person) })
        )
      )
      const { attributes } = recorder.spans[0]
      for (const name of ["gen_ai.tool.call.arguments", "gen_ai.tool.call.result"]) {
        assert.strictEqual(attributes[name], `{"name":"Ada","card":"<redacted>"}`)
      }
    }))
})

// =============================================================================
// Cutting
// =============================================================================

describe("binary content", () => {
  for (
    const [name, value, expected] of [
      ["a blob part", { type: "blob", modality: "image", mime_type: "image/png", content: MEDIA }, {
        type: "blob",
        modality: "image",
        mime_type: "image/png",
        content: "<29 bytes>"
      }],
      ["a data URL", { uri: `data:image/png;base64,${MEDIA}` }, { uri: "<image/png, 29 bytes>" }],
      ["a data URL with parameters", `data:text/plain;charset=utf-8;base64,${MEDIA}`, "<text/plain, 29 bytes>"],
      ["a data URL that is text", "data:,hello", "data:,hello"],
      ["an image of MCP's", { content: [{ type: "image", mimeType: "image/png", data: MEDIA }] }, {
        content: [{ type: "image", mimeType: "image/png", data: "<29 bytes>" }]
      }],
      ["a resource of MCP's", { type: "resource", resource: { uri: "file:///a.png", blob: MEDIA } }, {
        type: "resource",
        resource: { uri: "file:///a.png", blob: "<29 bytes>" }
      }],
      ["a file or an image of effect/ai", [{ mediaType: "image/png", data: MEDIA }, {
        mediaType: "audio/wav",
        data: "https://example.com/a.wav"
      }, { mediaType: "text/plain", data: "hello" }], [
        { mediaType: "image/png", data: "<29 bytes>" },
        { mediaType: "audio/wav", data: "https://example.com/a.wav" },
        { mediaType: "text/plain", data: "hello" }
      ]],
      ["text under such names", [{ type: "image", data: "chart" }, { blob: "blob" }, { type: "text", data: "x" }], [
        { type: "image", data: "chart" },
        { blob: "blob" },
        { type: "text", data: "x" }
      ]],
      ["Anthropic's source", { source: { type: "base64", media_type: "image/png", data: MEDIA } }, {
        source: { type: "base64", media_type: "image/png", data: "<29 bytes>" }
      }],
      ["bytes", {
        a: new Uint8Array(5),
        b: new ArrayBuffer(6),
        c: Buffer.from("abc"),
        d: new DataView(new ArrayBuffer(2))
      }, {
        a: "<5 bytes>",
        b: "<6 bytes>",
        c: "<3 bytes>",
        d: "<2 bytes>"
      }],
      ["a file", new Blob(["abcd"], { type: "image/gif" }), "<image/gif, 4 bytes>"]
    ] as ReadonlyArray<readonly [string, unknown, unknown]>
  ) {
    it(`${name} is told by type and size`, () => {
      assert.deepStrictEqual(toPlain(value).tree, expected)
    })
  }
})

/** Prints as much of a value as fits, copied no further than it takes. */
const print = (value: unknown, maxBytes: number, cut?: ElementCut) =>
  printJson(toPlain(value, maxBytes, cut?.keep), maxBytes, cut)

describe("values that JSON has no word for", () => {
  const cycle: Record<string, unknown> = { a: 1 }
  cycle.self = cycle
  const shared = { x: 1 }
  for (
    const [name, value, expected] of [
      ["a cycle", cycle, `{"a":1,"self":"<circular>"}`],
      ["what occurs twice without a cycle", { a: shared, b: shared }, `{"a":{"x":1},"b":{"x":1}}`],
      ["a large integer", { n: 2n ** 70n }, `{"n":"1180591620717411303424"}`],
      ["numbers without a value", { n: NaN, i: Infinity }, `{"n":null,"i":null}`],
      ["a date", { d: new Date(0) }, `{"d":"1970-01-01T00:00:00.000Z"}`],
      [
        "functions, symbols and undefined",
        { f: () => 1, s: Symbol("s"), u: undefined, l: [undefined] },
        `{"l":[null]}`
      ],
      ["a key that would change the prototype", JSON.parse(`{"__proto__":{"x":1}}`), `{"__proto__":{"x":1}}`],
      ["a value that stands for itself", {
        toJSON() {
          return this
        },
        a: 1
      }, `{"a":1}`],
      ["half a surrogate pair", { s: "\ud83d" }, `{"s":"\\ud83d"}`]
    ] as ReadonlyArray<readonly [string, unknown, string]>
  ) {
    it(`${name} is written as ${expected}`, () => {
      assert.strictEqual(print(value, 1000), expected)
    })
  }

  it("a getter that throws costs the content", () =>
    assert.throws(() =>
      toPlain({
        get a(): never {
          throw new Error("no")
        }
      })
    ))
})

describe("content that does not fit", () => {
  const messages = (count: number, text: string) =>
    Array.from(
      { length: count },
      (_, index) => ({ role: "user", parts: [{ type: "text", content: `${index}${text}` }] })
    )
  const keepLast = { keep: "last", marker: (count: number) => ({ role: "cut", count }) } as const

  it("loses the ends of its longest strings first", () => {
    const json = print({ short: "s".repeat(60), long: "l".repeat(5000), middle: "m".repeat(200) }, 600)
    const { long, middle, short } = JSON.parse(String(json))
    assert.strictEqual(short, "s".repeat(60))
    assert.strictEqual(middle, "m".repeat(200))
    assert.match(long, /^l{200,}…\[cut\]$/)
    assert.strictEqual(Buffer.byteLength(String(json)), 600)
  })

  it("shares what there is fairly among long strings", () => {
    const json = String(print({ a: "a".repeat(5000), b: "b".repeat(9000) }, 400))
    const { a, b } = JSON.parse(json)
    assert.strictEqual(a.length, b.length)
    assert.isAtLeast(Buffer.byteLength(json), 398)
  })

  it("then loses its oldest messages, and says how many", () => {
    const json = String(print(messages(100, "x".repeat(100)), 1000, keepLast))
    const [marker, ...rest] = JSON.parse(json)
    assert.strictEqual(marker.count, 100 - rest.length)
    assert.isAbove(rest.length, 3)
    assert.match(rest.at(-1).parts[0].content, /^99x/)
    assert.isAtMost(Buffer.byteLength(json), 1000)
  })

  it("keeps names, types and ids whole", () => {
    const part = { type: "tool_call", id: "call_0123456789", name: "lookup", arguments: { q: "q".repeat(9000) } }
    const [message] = JSON.parse(String(print([{ role: "assistant", parts: [part] }], 300, keepLast)))
    assert.deepStrictEqual({ ...message.parts[0], arguments: 0 }, { ...part, arguments: 0 })
  })

  it("becomes a mark when nothing of it fits, and nothing when not even that does", () => {
    const object = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`key${index}`, index]))
    assert.strictEqual(print(object, 100), `{"cut":"<more than 100 bytes>"}`)
    assert.strictEqual(print(object, 1000), `{"cut":"<6281 bytes>"}`)
    assert.strictEqual(print(object, 10), undefined)
    assert.strictEqual(print(messages(5, "x"), 60, keepLast), `[{"role":"cut","count":5}]`)
    assert.strictEqual(print(messages(5, "x"), 5, keepLast), undefined)
  })

  it("is valid JSON within the bytes, for any content and any number of them", () => {
    for (let seed = 0; seed < 300; seed++) {
      const { arguments: args, input } = makeConversation(seed)
      for (const maxBytes of [0, 1, 10, 63, 64, 65, 100, 137, 256, 500, 1000, 2000]) {
        for (const value of [input, args]) {
          const json = print(value, maxBytes, keepLast)
          if (json === undefined) continue
          assert.isAtMost(Buffer.byteLength(json), maxBytes)
          JSON.parse(json)
        }
      }
    }
  })

  const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1500 }))
  const Element = Schema.Struct({ length: Count, piece: Schema.Literals(PIECES), shape: Schema.Int })
  type Element = typeof Element.Type
  /** Each in one of some shapes. */
  const toShapes = (
    elements: ReadonlyArray<Element>,
    ...shapes: ReadonlyArray<(text: string, element: Element) => unknown>
  ): ReadonlyArray<unknown> =>
    elements.map((element) => {
      const { length, piece, shape } = element
      return shapes[Math.abs(shape) % shapes.length](piece.repeat(length / piece.length), element)
    })
  it.prop(
    "is within the bytes for any list of texts, messages and lists that loses elements at either end",
    [Schema.Array(Element), Count, Schema.Literals(["first", "last"])],
    ([elements, maxBytes, keep]) => {
      const tree = toShapes(elements, identity, (content) => ({ content }), (text) => [text, text])
      const json = print(tree, maxBytes, { ...keepLast, keep })
      if (json === undefined) return
      assert.isAtMost(Buffer.byteLength(json), maxBytes)
      assert.isArray(JSON.parse(json))
    },
    { arbitrary: { runs: 1_000 } }
  )

  it.prop(
    "is cut the same where it was copied as a whole",
    [Schema.Array(Element), Count, Schema.Literals(["first", "last"])],
    ([elements, maxBytes, keep]) => {
      const list = toShapes(
        elements,
        identity,
        (content) => ({ content }),
        (_, { piece, shape }) => Array.from({ length: Math.abs(shape) % 200 }, () => piece)
      )
      const cut: ElementCut = { ...keepLast, keep }
      const printed = printJson(toPlain(list), maxBytes, cut)
      assert.strictEqual(print(list, maxBytes, cut), printed)
      assert.strictEqual(print({ toJSON: () => list }, maxBytes, cut), printed)
      const object = Object.fromEntries(Object.entries(list))
      const isMark = (json: string | undefined) => json === undefined || /^{"cut":"<[\w ]+>"}$/.test(json)
      const [limited, whole] = [print(object, maxBytes), printJson(toPlain(object), maxBytes)]
      if (!isMark(limited) || !isMark(whole)) assert.strictEqual(limited, whole)
    },
    { arbitrary: { runs: 1_000 } }
  )

  it("is read no further than what fits", () => {
    let reads = 0
    const rows = Array.from({ length: 10_000 }, () => ({
      get id() {
        return ++reads
      }
    }))
    for (const keep of ["first", "last"] as const) {
      const shown: ReadonlyArray<unknown> = JSON.parse(String(print(rows, 200, { ...keepLast, keep })))
      const marker = { role: "cut", count: rows.length - shown.length + 1 }
      assert.deepStrictEqual(keep === "last" ? shown[0] : shown.at(-1), marker)
      assert.isAbove(shown.length, 10)
    }
    assert.strictEqual(print({ rows }, 200), `{"cut":"<more than 200 bytes>"}`)
    assert.isBelow(reads, 600)
    // Texts take room as well.
    reads = 0
    const texts = Array.from({ length: 10_000 }, () => ({
      get text() {
        reads++
        return "x".repeat(1000)
      }
    }))
    assert.isDefined(print(texts, 5000, keepLast))
    assert.isBelow(reads, 100)
    // To ask for every hole takes seconds.
    const holes: Array<unknown> = []
    holes.length = 100_000_000
    assert.strictEqual(print({ holes }, 200), `{"cut":"<more than 200 bytes>"}`)
  })

  it("loses elements and the ends of texts of the same list", () => {
    const tree = [...Array.from({ length: 5 }, () => "s".repeat(300)), { content: "t".repeat(300) }]
    for (const keep of ["first", "last"] as const) {
      const json = String(print(structuredClone(tree), 350, { ...keepLast, keep }))
      assert.isAtMost(Buffer.byteLength(json), 350)
      assert.match(json, /s…\[cut\]/)
      assert.match(json, /"role":"cut"/)
    }
  })

  it("a text is cut between characters", () => {
    for (let maxBytes = 0; maxBytes < 60; maxBytes++) {
      const text = printText("äöü€🧵".repeat(10), maxBytes)
      if (text === undefined) {
        assert.isBelow(maxBytes, 8)
        continue
      }
      assert.isAtMost(Buffer.byteLength(text), maxBytes)
      assert.isTrue(text.isWellFormed())
      assert.match(text, /^[äöü€🧵]*…\[cut\]$/u)
    }
  })

  it.effect("a long question leaves room for the answer", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { convention: "latest", capture: "SPAN_ONLY", maxContentBytes: 1000 } })
      yield* recorder.run(
        Effect.void.pipe(
          withLlmSpan({ ...minimal, input: "q".repeat(50_000), response: () => ({ output: "The answer" }) })
        )
      )
      const content = validate(recorder.spans[0].attributes)
      assert.deepStrictEqual(content["gen_ai.output.messages"], [
        { role: "assistant", parts: [{ type: "text", content: "The answer" }] }
      ])
      assert.match(String(recorder.spans[0].attributes["gen_ai.input.messages"]), /…\[cut\]/)
    }))
})
