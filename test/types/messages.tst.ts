/**
 * The envelope of messages: what decoding gives, what the wire holds, and the services that either needs.
 */
import { expectTypeOf } from "@effect/vitest"
import type { MsgHdrs } from "@nats-io/transport-node"
import { Context, Data, Effect, type Option, Schema, type Stream } from "effect"
import * as EffectHeaders from "effect/http/Headers"
import {
  extractHeaders,
  handleTracedMessage,
  handleTracedStream,
  injectHeaders,
  injectTraceContext,
  makeTracedMessage,
  type RemoteContext,
  type TraceCarrier,
  TracedMessage,
  type TraceHeaders,
  type UndecodableMessage
} from "loom-tracing"

class Keys extends Context.Service<Keys, { readonly key: string }>()("test/Keys") {}
class Vault extends Context.Service<Vault, { readonly key: string }>()("test/Vault") {}
class Refused extends Data.TaggedError("Refused")<{ readonly why: string }> {}

/** Decoded with one service, encoded with another. */
declare const Secret: Schema.Codec<Uint8Array, string, Keys, Vault>

const Task = Schema.Struct({ id: Schema.NumberFromString, note: Schema.optionalKey(Schema.String), secret: Secret })
interface Payload {
  readonly id: number
  readonly note?: string
  readonly secret: Uint8Array
}
interface Wire {
  readonly id: string
  readonly note?: string
  readonly secret: string
}
const Message = TracedMessage(Task)

// =============================================================================
// The schema
// =============================================================================

expectTypeOf<typeof Message.Type["payload"]>().toEqualTypeOf<Payload>()
expectTypeOf<typeof Message.Type["traceContext"]>().toEqualTypeOf<Option.Option<RemoteContext>>()
expectTypeOf<typeof Message.Encoded>().toExtend<Wire & TraceCarrier>()
expectTypeOf<Wire & TraceCarrier>().toExtend<typeof Message.Encoded>()
expectTypeOf<typeof Message.DecodingServices>().toEqualTypeOf<Keys>()
expectTypeOf<typeof Message.EncodingServices>().toEqualTypeOf<Vault>()
expectTypeOf(Message.payload).toEqualTypeOf<typeof Task>()
expectTypeOf(Message.annotate({ title: "Task" }).payload).toEqualTypeOf<typeof Task>()

// Within other schemas.
const Text = Schema.fromJsonString(Message)
expectTypeOf<typeof Text.Type>().toEqualTypeOf<typeof Message.Type>()
expectTypeOf<typeof Text.Encoded>().toEqualTypeOf<string>()
expectTypeOf<typeof Text.DecodingServices>().toEqualTypeOf<Keys>()
const Batch = Schema.Array(Message)
expectTypeOf<typeof Batch.Type[number]>().toEqualTypeOf<typeof Message.Type>()

expectTypeOf(Schema.decodeUnknownEffect(Text)("")).toEqualTypeOf<
  Effect.Effect<TracedMessage<Payload>, Schema.SchemaError, Keys>
>()
expectTypeOf(Schema.encodeEffect(Text)).parameter(0).toEqualTypeOf<TracedMessage<Payload>>()

// =============================================================================
// Senders
// =============================================================================

declare const payload: Payload
expectTypeOf(makeTracedMessage(payload)).toEqualTypeOf<Effect.Effect<TracedMessage<Payload>>>()
expectTypeOf(injectTraceContext({ id: 1 })).toEqualTypeOf<Effect.Effect<{ id: number } & TraceCarrier>>()

// =============================================================================
// Handlers
// =============================================================================

const options = { system: "nats", destination: "tasks" }

const handle = handleTracedMessage(Text, options, (payload, message) => {
  expectTypeOf(payload).toEqualTypeOf<Payload>()
  expectTypeOf(message.traceContext).toEqualTypeOf<Option.Option<RemoteContext>>()
  return Effect.as(Effect.andThen(Vault, Effect.fail(new Refused({ why: "" }))), payload.id)
})
expectTypeOf(handle).toEqualTypeOf<
  (wire: unknown) => Effect.Effect<number, Refused | UndecodableMessage, Keys | Vault>
>()

// Of one envelope among several, the payload is that of any.
const Note = Schema.Struct({ note: Schema.String })
const Either = Schema.fromJsonString(Schema.Union([Message, TracedMessage(Note)]))
handleTracedMessage(Either, options, (payload, message) => {
  expectTypeOf(payload).toEqualTypeOf<Payload | { readonly note: string }>()
  expectTypeOf(message.payload).toEqualTypeOf<Payload | { readonly note: string }>()
  return Effect.void
})

/** A message as a client of a broker has it. */
interface Raw {
  readonly data: string
}
const handleRaw = handleTracedMessage(
  Text,
  { ...options, wire: (raw: Raw) => raw.data },
  (_payload, _message, raw) => {
    expectTypeOf(raw).toEqualTypeOf<Raw>()
    return Effect.void
  }
)
expectTypeOf(handleRaw).parameter(0).toEqualTypeOf<Raw>()

// A generator function brings types of its own, which must not come to nothing.
expectTypeOf(handleTracedMessage(
  Text,
  options,
  Effect.fn("task")(function*(payload, message, raw) {
    expectTypeOf(payload).toEqualTypeOf<Payload>()
    expectTypeOf(message.payload).toEqualTypeOf<Payload>()
    expectTypeOf(raw).toEqualTypeOf<unknown>()
    return payload.id
  })
)).toEqualTypeOf<(wire: unknown) => Effect.Effect<number, UndecodableMessage, Keys>>()
expectTypeOf(handleTracedMessage(
  Text,
  { ...options, wire: (raw: Raw) => raw.data },
  Effect.fnUntraced(function*(payload, _message, raw) {
    expectTypeOf(payload).toEqualTypeOf<Payload>()
    expectTypeOf(raw).toEqualTypeOf<Raw>()
    return payload.id
  })
)).toEqualTypeOf<(wire: Raw) => Effect.Effect<number, UndecodableMessage, Keys>>()
expectTypeOf(handleTracedMessage(Text, options, (payload, _message, raw: Raw) => Effect.succeed([payload.id, raw])))
  .parameter(0).toEqualTypeOf<Raw>()

declare const messages: Stream.Stream<Raw, "gone", never>
expectTypeOf(messages.pipe(handleTracedStream(
  Text,
  { ...options, wire: (raw: Raw) => raw.data, deadLetter: () => Effect.fail("full" as const) },
  (payload) => Effect.succeed(payload.id)
))).toEqualTypeOf<Stream.Stream<number, "gone" | "full", Keys>>()

// =============================================================================
// Headers
// =============================================================================

interface Accept {
  readonly accept: string
}
declare const accept: Accept
declare const nats: MsgHdrs

expectTypeOf(injectHeaders({ accept: "text/plain" })).toExtend<Effect.Effect<{ accept: string } & TraceHeaders>>()
expectTypeOf(injectHeaders(accept)).toEqualTypeOf<Effect.Effect<Accept & TraceHeaders>>()
expectTypeOf(injectHeaders(EffectHeaders.empty)).toExtend<Effect.Effect<EffectHeaders.Headers>>()
expectTypeOf(extractHeaders(EffectHeaders.empty)).toEqualTypeOf<Effect.Effect<Option.Option<RemoteContext>>>()
// What comes of it is given to whatever takes headers.
expectTypeOf(injectHeaders({ accept: "text/plain" })).toExtend<Effect.Effect<EffectHeaders.Input>>()
expectTypeOf(injectHeaders({ accept: "text/plain" })).toExtend<
  Effect.Effect<ConstructorParameters<typeof Headers>[0]>
>()

// @ts-expect-error: they have methods, so they need their kind
void injectHeaders(new Headers())
// @ts-expect-error: they have methods, so they need their kind
void extractHeaders(nats)
