/** What the envelope costs over a schema that was written by hand. */
import { Schema } from "effect"
import { deepStrictEqual } from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { parseTraceHeaders, TracedMessage, type TraceHeaders } from "../../src/index.ts"
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

/**
 * Of different contexts: a processor soon foresees each character of one that it sees all the time.
 * Parsed, as messages are: a text that was put together is slower to read.
 */
const wires: ReadonlyArray<typeof task & { readonly _trace_context: TraceHeaders }> = JSON.parse(JSON.stringify(
  Array.from({ length: 256 }, () => ({
    ...task,
    _trace_context: {
      traceparent: `00-${hex(16)}-${hex(8)}-01`,
      tracestate: `rojo=${hex(8)},congo=${hex(6)}`
    }
  }))
))

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
  for (const wire of wires) deepStrictEqual(encode(decode(wire)), wire)
  return { decode: loop(wires, decode), encode: loop(wires, encode) }
}

const envelope: Candidate["load"] = async () => {
  const schema = TracedMessage(Schema.Struct(fields))
  const decode = Schema.decodeUnknownSync(schema)
  const encode = Schema.encodeSync(schema)
  // Not made by `decode`: V8 would take it for a maker of what lives long, and put all of it into the old generation.
  const messages = wires.map((wire) => ({ payload: task, traceContext: parseTraceHeaders(wire._trace_context) }))
  for (const [index, wire] of wires.entries()) {
    deepStrictEqual(decode(wire), messages[index])
    deepStrictEqual(encode(messages[index]), wire)
  }
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
