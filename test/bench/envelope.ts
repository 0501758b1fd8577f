/** What the envelope costs over a schema that was written by hand. */
import { Option, Schema } from "effect"
import { deepStrictEqual } from "node:assert/strict"
import { TracedMessage } from "../../src/index.ts"
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

const headers = {
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  tracestate: "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
}

const wire = { ...task, _trace_context: headers }

const loop = (once: () => unknown): Run => (times) => {
  while (times-- > 0) once()
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
  const message = decode(wire)
  deepStrictEqual(encode(message), wire)
  return { decode: loop(() => decode(wire)), encode: loop(() => encode(message)) }
}

const envelope: Candidate["load"] = async () => {
  const schema = TracedMessage(Schema.Struct(fields))
  const decode = Schema.decodeUnknownSync(schema)
  const encode = Schema.encodeSync(schema)
  const message = decode(wire)
  deepStrictEqual(message.payload, task)
  deepStrictEqual(Option.getOrThrow(message.traceContext).tracestate, headers.tracestate)
  deepStrictEqual(encode(message), wire)
  return { decode: loop(() => decode(wire)), encode: loop(() => encode(message)) }
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
