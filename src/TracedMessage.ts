/**
 * The envelope of a message that carries its trace context: a schema over the
 * schema of the payload.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as JsonSchema from "effect/JsonSchema"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaParser from "effect/SchemaParser"
import { currentTraceContext, isPlainObject, readTraceContext, TRACE_CONTEXT_KEY } from "./Carrier.ts"
import type { TraceCarrier } from "./Carrier.ts"
import { formatTraceHeaders, TraceparentFromString } from "./TraceContext.ts"
import type { RemoteContext } from "./TraceContext.ts"

/**
 * A payload and the trace context that came or goes with it.
 *
 * @category models
 * @since 0.1.0
 */
export interface TracedMessage<A> {
  readonly payload: A
  readonly traceContext: Option.Option<RemoteContext>
}

/**
 * The schema that {@link TracedMessage} makes of a payload's schema.
 *
 * @category models
 * @since 0.1.0
 */
export interface TracedMessageSchema<S extends Schema.Constraint> extends
  Schema.decodeTo<
    Schema.declare<TracedMessage<S["Type"]>>,
    Schema.Codec<S["Encoded"] & TraceCarrier>,
    S["DecodingServices"],
    S["EncodingServices"]
  >
{
  readonly "Rebuild": TracedMessageSchema<S>
  /** The schema of the payload. */
  readonly payload: S
}

const OptionTypeId: keyof Option.Some<unknown> = "~effect/Option"

/**
 * `Option.isOption` asks through a function that all of a program shares, where V8 cannot foresee the key. It still has
 * the last word, should another version of Effect have another key.
 */
const isOption = (value: unknown): value is Option.Option<unknown> =>
  typeof value === "object" && value !== null && (OptionTypeId in value || Option.isOption(value))

// Its own output is checked as well, so it is as direct as can be.
const isTracedMessage = (input: unknown): input is TracedMessage<unknown> =>
  typeof input === "object" && input !== null && "payload" in input && "traceContext" in input &&
  isOption(input.traceContext)

/** Whether a payload's encoded side names the context's key itself, in one member at least, and so wants to see it. */
const declaresContextKey = (ast: SchemaAST.AST): boolean =>
  SchemaAST.isUnion(ast)
    ? ast.types.some(declaresContextKey)
    : SchemaAST.isObjects(ast) && ast.propertySignatures.some((property) => property.name === TRACE_CONTEXT_KEY)

/** Whether there is a member for which the context's key is one that it does not know. */
const mayRefuseContextKey = (ast: SchemaAST.AST): boolean =>
  SchemaAST.isUnion(ast) ? ast.types.some(mayRefuseContextKey) : !declaresContextKey(ast)

/** Whether decoding ignores a key that it does not know, so that the message need not be copied without its context. */
const ignoresContextKey = (ast: SchemaAST.AST): boolean =>
  SchemaAST.isObjects(ast) && ast.propertySignatures.length > 0 && ast.indexSignatures.length === 0

/**
 * Whether encoding makes an object that nobody else can have seen, neither code of the schema's nor a check, so that it
 * need not be copied for its context. It may still be what was given: a struct without fields changes nothing.
 */
const makesOwnObject = (ast: SchemaAST.AST): boolean =>
  SchemaAST.isObjects(ast) && ast.encoding === undefined && ast.encodingChecks === undefined

const withoutContext = (wire: object): object => {
  if (isPlainObject(wire)) {
    const { [TRACE_CONTEXT_KEY]: _, ...payload } = wire as Record<string, unknown>
    return payload
  }
  // What a class has of its fields on its prototype, such as defaults and getters, belongs to the payload as well.
  const { [TRACE_CONTEXT_KEY]: _, ...own } = Object.getOwnPropertyDescriptors(wire) as PropertyDescriptorMap
  return Object.create(Object.getPrototypeOf(wire), own)
}

/** An encoded payload with a context beside it. What is no plain object cannot be copied, and goes without. */
const withContext = (payload: unknown, context: unknown): unknown =>
  Predicate.isObject(payload) && isPlainObject(payload) ? { ...payload, [TRACE_CONTEXT_KEY]: context } : payload

/** What a document says of the context. It is read whatever it is, so nothing is asked of it. */
const CONTEXT_PROPERTIES = {
  [TRACE_CONTEXT_KEY]: {
    description: "The W3C trace context of the message: traceparent, tracestate and baggage, as strings",
    examples: [{ traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }]
  }
}

const hasContext = Predicate.hasProperty(TRACE_CONTEXT_KEY)

/** What a schema says of other keys and of their number, with room for that of the context. */
const withRoomForContext = (payload: JsonSchema.JsonSchema): JsonSchema.JsonSchema => {
  const schema: Record<string, unknown> = { ...payload }
  for (const key of ["allOf", "anyOf", "oneOf"]) {
    const members = payload[key]
    if (Array.isArray(members)) schema[key] = members.map(withRoomForContext)
  }
  const { additionalProperties, maxProperties, properties, propertyNames } = payload
  if (Predicate.isNumber(maxProperties)) schema.maxProperties = maxProperties + 1
  if (propertyNames !== undefined) schema.propertyNames = { anyOf: [propertyNames, { const: TRACE_CONTEXT_KEY }] }
  if (properties !== undefined || additionalProperties !== undefined) {
    schema.properties = { ...properties as object, ...hasContext(properties) ? {} : CONTEXT_PROPERTIES }
  }
  return schema
}

const showsContext = ({ anyOf, oneOf, properties }: JsonSchema.JsonSchema): boolean =>
  properties !== undefined || [anyOf, oneOf].some((members) => Array.isArray(members) && members.every(showsContext))

const withContextDocument = (payload: JsonSchema.JsonSchema): JsonSchema.JsonSchema => {
  const schema = withRoomForContext(payload)
  return showsContext(schema)
    ? schema
    : { allOf: [schema, { type: "object", properties: CONTEXT_PROPERTIES }] }
}

/** A schema by what it says and not by its name, behind which there would be no room for the context. */
const withoutName = (ast: SchemaAST.AST): Schema.Top =>
  SchemaAST.isUnion(ast)
    ? Schema.Union(ast.types.map(withoutName), ast.options)
    : Schema.make<Schema.Top>(ast).annotate({ identifier: undefined })

/** Anything, for a parser, which leaves it to the payload's schema. For a document, what that schema says. */
const documented = (payload: Schema.Codec<unknown, unknown>) =>
  Schema.Any.check(Schema.makeFilter(() => true, {
    representation: {
      id: "loom-tracing/TracedMessage",
      payload: null,
      schemas: [withoutName(SchemaAST.toEncoded(payload.ast)).ast]
    },
    toJsonSchema: ({ schemas: [schema] }) => withContextDocument(schema)
  }))

/** A message by its parts, for who makes up messages of his own, such as a property test. */
const messageLink = <A>(payload: Schema.Codec<A, A>): SchemaAST.Link =>
  Schema.link<TracedMessage<A>>()(
    Schema.Struct({ payload, traceparent: Schema.optionalKey(Schema.toType(TraceparentFromString)) }),
    {
      decode: SchemaGetter.transform(({ payload, traceparent }) => ({
        payload,
        traceContext: traceparent === undefined ? Option.none() : Option.some({ traceparent })
      })),
      encode: SchemaGetter.forbidden(() => "Messages are only made up")
    }
  )

/**
 * Schema of a message that carries its trace context beside its payload.
 *
 * **When to use**
 *
 * Use for every message that crosses a queue, a bus or a process boundary.
 *
 * **Details**
 *
 * The encoded form is the payload's own encoded object with an optional
 * `_trace_context` key, so that a consumer which knows nothing of tracing reads
 * the same message. It composes: `Schema.fromJsonString(TracedMessage(Task))`.
 *
 * A payload that does not decode is a `SchemaError` whose paths are those of
 * the message on the wire. A trace context that does not decode is no context.
 * Unknown keys follow the parse options in force; `_trace_context` is never one
 * of them.
 *
 * A JSON Schema document, and with it OpenAPI, shows the payload's properties
 * with `_trace_context` beside them. Property tests are given messages with and
 * without a context.
 *
 * **Gotchas**
 *
 * The payload's encoded side must be an object: a bare string or number has
 * nowhere to put a context. An object of a class, which cannot be copied, is
 * sent as it is and without one, as with {@link injectTraceContext}.
 *
 * **Example** (Decoding a message)
 *
 * ```ts
 * import { Option, Schema } from "effect"
 * import { TracedMessage } from "loom-tracing"
 *
 * const Task = Schema.Struct({ id: Schema.Number, prompt: Schema.String })
 * const decode = Schema.decodeSync(Schema.fromJsonString(TracedMessage(Task)))
 *
 * const message = decode(
 *   `{"id":1,"prompt":"Hi","_trace_context":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}`
 * )
 * message.payload // => { id: 1, prompt: "Hi" }
 * Option.isSome(message.traceContext) // => true
 * ```
 *
 * @see {@link makeTracedMessage} for the sending side
 *
 * @category schemas
 * @since 0.1.0
 */
export const TracedMessage = <S extends Schema.Constraint>(payload: S): TracedMessageSchema<S> => {
  const decodePayload = SchemaParser.decodeUnknownEffect(payload)
  const encodePayload = SchemaParser.encodeUnknownEffect(payload)
  const encodedAst = SchemaAST.toEncoded(payload.ast)
  const encodedSide = Schema.make<Schema.Codec<unknown>>(encodedAst)
  const wantsContext = declaresContextKey(encodedAst)
  const refusesContext = mayRefuseContextKey(encodedAst)
  const ignoresContext = ignoresContextKey(encodedAst)
  const ownsEncoded = makesOwnObject(payload.ast)

  const payloadOf = (wire: object, options: SchemaAST.ParseOptions): object => {
    const keepsContext = options.onExcessProperty === "error"
      ? !refusesContext
      : wantsContext || ignoresContext
    return keepsContext || !Object.hasOwn(wire, TRACE_CONTEXT_KEY) ? wire : withoutContext(wire)
  }

  /** The wire under a derived codec: the payload under that of its own schema, and the context as it is. */
  const linkTo = (codec: Schema.Codec<unknown, unknown>): SchemaAST.Link => {
    const keepingContext =
      (parse: (input: unknown, options: SchemaAST.ParseOptions) => Effect.Effect<unknown, SchemaIssue.Issue>) =>
      (wire: unknown, options: SchemaAST.ParseOptions) =>
        Predicate.isObject(wire) && Object.hasOwn(wire, TRACE_CONTEXT_KEY)
          ? Effect.mapEager(
            parse(payloadOf(wire, options), options),
            (payload) => wantsContext ? payload : withContext(payload, wire[TRACE_CONTEXT_KEY])
          )
          : parse(wire, options)
    return Schema.link<unknown>()(documented(codec), {
      decode: SchemaGetter.transformEffect(keepingContext(SchemaParser.decodeUnknownEffect(codec))),
      encode: SchemaGetter.transformEffect(keepingContext(SchemaParser.encodeUnknownEffect(codec)))
    })
  }

  // That it is an object is checked where its context is read.
  const wireSide = Schema.declareConstructor<S["Encoded"] & TraceCarrier>()(
    [],
    () => (wire) => Effect.succeed(wire as S["Encoded"] & TraceCarrier),
    {
      toCodecJson: () => linkTo(Schema.toCodecJson(encodedSide)),
      toCodecStringTree: () => linkTo(Schema.toCodecStringTree(encodedSide))
    }
  )

  const schema = wireSide.pipe(
    Schema.decodeTo(
      Schema.declare<TracedMessage<S["Type"]>>(isTracedMessage, {
        identifier: "TracedMessage",
        toCodecArbitrary: () => messageLink(Schema.toType(payload))
      }),
      {
        decode: SchemaGetter.transformEffect((wire: S["Encoded"] & TraceCarrier, options) => {
          // That it is an object is all there is to check here: the payload's schema does the rest.
          if (!Predicate.isObject(wire)) {
            return Effect.fail(new SchemaIssue.InvalidValue({ expected: "object" }, wire, options))
          }
          const traceContext = readTraceContext(wire)
          return Effect.mapEager(
            decodePayload(payloadOf(wire, options), options),
            (payload) => ({ payload, traceContext })
          )
        }),
        encode: SchemaGetter.transformEffect(({ payload: given, traceContext }: TracedMessage<S["Type"]>, options) =>
          Effect.flatMapEager(encodePayload(given, options), (encoded) => {
            if (!Predicate.isObject(encoded)) {
              return Effect.fail(
                new SchemaIssue.InvalidValue({
                  message: "Expected the payload of a traced message to encode to an object"
                })
              )
            }
            if (Option.isNone(traceContext)) return Effect.succeed(encoded)
            const headers = formatTraceHeaders(traceContext.value)
            if (headers.traceparent === undefined && headers.baggage === undefined) return Effect.succeed(encoded)
            if (!ownsEncoded || encoded === given) {
              return Effect.succeed(withContext(encoded, headers) as typeof encoded)
            }
            const wire: Record<PropertyKey, unknown> = encoded
            wire[TRACE_CONTEXT_KEY] = headers
            return Effect.succeed(encoded)
          })
        )
      }
    )
  )
  return Schema.make<TracedMessageSchema<S>>(schema.ast, { from: schema.from, to: schema.to, payload })
}

/**
 * Pairs a payload with the trace context of the running fiber, ready to be encoded.
 *
 * **Example** (Sending a message)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { makeTracedMessage, TracedMessage } from "loom-tracing"
 *
 * const Task = Schema.Struct({ id: Schema.Number })
 *
 * const wire = makeTracedMessage({ id: 1 }).pipe(
 *   Effect.flatMap(Schema.encodeEffect(Schema.fromJsonString(TracedMessage(Task))))
 * )
 *
 * Effect.runSync(wire) // => "{\"id\":1}"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeTracedMessage = <A>(payload: A): Effect.Effect<TracedMessage<A>> =>
  Effect.map(currentTraceContext, (traceContext) => ({ payload, traceContext }))
