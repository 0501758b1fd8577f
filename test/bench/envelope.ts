/** What the envelope costs over a schema that was written by hand. */
import { Option, Schema } from "effect"
import { deepStrictEqual } from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { formatTraceHeaders, TracedMessage } from "../../src/index.ts"
import type { Candidate, Question, Run } from "./measure.ts"

const fields = {
  id: Schema.Number,
  prompt: Schema.String,
  model: Schema.String,
  priority: Schema.optionalKey(Schema.Literals(["low", "normal", "high"])),
  tags: Schema.Array(Schema.String),
  limits: Schema.Struct({ maxTokens: Schema.Number, temperature: Schema.Number })
}

const task = {
  id: 1,
  prompt: "Summarise the report",
  model: "gpt-4o",
  priority: "normal" as const,
  tags: ["a", "b"],
  limits: { maxTokens: 1000, temperature: 0.2 }
}

const hex = (bytes: number): string => randomBytes(bytes).toString("hex")

/** As many that none is like another: a processor soon foresees each character of a context that it sees all the time. */
const wires = Array.from({ length: 256 }, () => ({
  ...task,
  _trace_context: {
    traceparent: `00-${hex(16)}-${hex(8)}-01`,
    tracestate: `rojo=${hex(8)},congo=${hex(6)}`
  }
}))

const loop = <A>(inputs: ReadonlyArray<A>, once: (input: A) => unknown): Run => (times) => {
  while (times-- > 0) once(inputs[times % inputs.length])
}

const byHand: Candidate["load"] = async () => {
  const schema = Schema.Struct({
    ...fields,
    _trace_context: Schema.optionalKey(Schema.Struct({
      traceparent: Schema.optionalKey(Schema.String),
      tracestate: Schema.optionalKey(Schema.String),
      baggage: Schema.optionalKey(Schema.String)
    }))
  })
  const decode = Schema.decodeUnknownSync(schema)
  const encode = Schema.encodeSync(schema)
  const messages = wires.map((wire) => decode(wire))
  deepStrictEqual(messages.map((message) => encode(message)), wires)
  return { decode: loop(wires, decode), encode: loop(messages, encode) }
}

const envelope: Candidate["load"] = async () => {
  const schema = TracedMessage(Schema.Struct(fields))
  const decode = Schema.decodeUnknownSync(schema)
  const encode = Schema.encodeSync(schema)
  const messages = wires.map((wire) => decode(wire))
  for (const [index, { payload, traceContext }] of messages.entries()) {
    deepStrictEqual(payload, task)
    deepStrictEqual(formatTraceHeaders(Option.getOrThrow(traceContext)), wires[index]._trace_context)
  }
  deepStrictEqual(messages.map((message) => encode(message)), wires)
  return { decode: loop(wires, decode), encode: loop(messages, encode) }
}

const jit = ["--import", "effect/schema/SchemaJITCompiler/enable"]

export const question: Question = {
  title: "A message decoded and encoded with its trace context",
  cases: [
    { name: "decode", unit: "ns" },
    { name: "encode", unit: "ns" }
  ],
  candidates: [
    {
      name: "Schema.Struct",
      note: "with a `_trace_context` of three strings, which are not looked into",
      load: byHand
    },
    { name: "TracedMessage", note: "which also reads and checks the context", load: envelope },
    { name: "Schema.Struct, compiled", note: "under Effect's schema compiler", execArgv: jit, load: byHand },
    { name: "TracedMessage, compiled", note: "under Effect's schema compiler", execArgv: jit, load: envelope }
  ]
}
