/**
 * What the content of a conversation looks like, and how it is redacted, cut
 * and printed before any of it reaches a span.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai (gen-ai-input-messages.json and its siblings)
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import type { Content, GenAiSettings } from "./GenAiSettings.ts"
import { type ElementCut, printJson, printText, toPlain } from "./internal/contentJson.ts"
import { reportOnce } from "./internal/reportOnce.ts"

// =============================================================================
// Models
// =============================================================================

/**
 * Text that a model wrote or was given.
 *
 * @category models
 * @since 0.1.0
 */
export interface TextPart {
  readonly type: "text"
  readonly content: string
}

/**
 * Reasoning that a model has shown.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReasoningPart {
  readonly type: "reasoning"
  readonly content: string
}

/**
 * A tool that a model asks to be called.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToolCallPart {
  readonly type: "tool_call"
  readonly id?: string | null
  readonly name: string
  readonly arguments?: unknown
}

/**
 * What a called tool has answered.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToolCallResponsePart {
  readonly type: "tool_call_response"
  readonly id?: string | null
  readonly response: unknown
}

/**
 * A tool that the provider has called by itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServerToolCallPart {
  readonly type: "server_tool_call"
  readonly id?: string | null
  readonly name: string
  readonly server_tool_call: { readonly type: string; readonly [key: string]: unknown }
}

/**
 * What a tool of the provider's own has answered.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServerToolCallResponsePart {
  readonly type: "server_tool_call_response"
  readonly id?: string | null
  readonly server_tool_call_response: { readonly type: string; readonly [key: string]: unknown }
}

/**
 * Media, inline as base64. Only its type and size are ever recorded.
 *
 * @category models
 * @since 0.1.0
 */
export interface BlobPart {
  readonly type: "blob"
  readonly modality: Modality
  readonly mime_type?: string | null
  readonly content: string
}

/**
 * Media that the provider keeps.
 *
 * @category models
 * @since 0.1.0
 */
export interface FilePart {
  readonly type: "file"
  readonly modality: Modality
  readonly mime_type?: string | null
  readonly file_id: string
}

/**
 * Media at an address.
 *
 * @category models
 * @since 0.1.0
 */
export interface UriPart {
  readonly type: "uri"
  readonly modality: Modality
  readonly mime_type?: string | null
  readonly uri: string
}

/**
 * A summary that stands for an earlier part of the conversation.
 *
 * @category models
 * @since 0.1.0
 */
export interface CompactionPart {
  readonly type: "compaction"
  readonly id?: string | null
  readonly content?: string | null
}

/**
 * Any other part of a message, by its type.
 *
 * @category models
 * @since 0.1.0
 */
export interface GenericPart {
  readonly type: string & {}
  readonly [key: string]: unknown
}

/** What kind of media a part holds. */
type Modality = "image" | "video" | "audio" | "document" | (string & {})

/**
 * A part of a message.
 *
 * @category models
 * @since 0.1.0
 */
export type MessagePart =
  | TextPart
  | ReasoningPart
  | ToolCallPart
  | ToolCallResponsePart
  | ServerToolCallPart
  | ServerToolCallResponsePart
  | BlobPart
  | FilePart
  | UriPart
  | CompactionPart
  | GenericPart

/**
 * A message of a conversation. `content` is short for a single text part.
 *
 * @category models
 * @since 0.1.0
 */
export type ChatMessage =
  & {
    readonly role: "system" | "user" | "assistant" | "tool" | (string & {})
    readonly name?: string | null | undefined
  }
  & ({ readonly parts: ReadonlyArray<MessagePart> } | { readonly content: string })

/**
 * A message that a model has answered with: one for each choice.
 *
 * @category models
 * @since 0.1.0
 */
export type OutputMessage = ChatMessage & { readonly finish_reason?: string | null | undefined }

/**
 * A tool that a model may call.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToolDefinition {
  readonly type: "function" | (string & {})
  readonly name: string
  readonly description?: string | undefined
  readonly parameters?: unknown
}

/** With other properties as well. An object of an interface, which has no index signature, fits the second. */
type Open<A> = (A & { readonly [key: string]: unknown }) | (A & object)

/**
 * A document that a retrieval has found.
 *
 * @category models
 * @since 0.1.0
 */
export type RetrievalDocument = Open<{
  readonly id?: string | undefined
  readonly score?: number | undefined
}>

/**
 * A record of an agent's memory.
 *
 * @category models
 * @since 0.1.0
 */
export type MemoryRecord = Open<{
  readonly content: unknown
  readonly id?: string | undefined
  readonly score?: number | undefined
  readonly metadata?: Readonly<Record<string, unknown>> | undefined
}>

/**
 * Content, or a function that makes it. The function runs only if the content is recorded.
 *
 * @category models
 * @since 0.1.0
 */
export type Lazy<A> = A | (() => A)

// =============================================================================
// Redaction by schema
// =============================================================================

const SENSITIVE = "~loom-tracing/sensitive"

/**
 * Marks a schema: what it describes is hidden by {@link hideSensitive}, and in
 * the arguments and results of tools that run under `withEffectAiSpans`. Those
 * are encoded: what is encoded in another form than it is decoded, such as a
 * struct with other keys or in a JSON string, is hidden as a whole if anything
 * in it is marked. The messages of a model hold what it was told and what it
 * asks for all the same.
 *
 * **Example** (Hiding an argument of a tool)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { hideSensitive, sensitive } from "loom-tracing"
 *
 * const Payment = Schema.Struct({ amount: Schema.Number, card: sensitive(Schema.String) })
 *
 * hideSensitive(Payment)({ amount: 5, card: "4111 1111 1111 1111" }) // => { amount: 5, card: "<redacted>" }
 * ```
 *
 * @see {@link hideSensitive} for applying the mark
 *
 * @category annotations
 * @since 0.1.0
 */
export const sensitive = <S extends Schema.Top>(schema: S): S["Rebuild"] => schema.annotate({ [SENSITIVE]: true })

const REDACTED = "<redacted>"

/** A mark sits on the schema, on the check that was the last one when it was made, or on the key. */
const isMarked = (ast: SchemaAST.AST): boolean =>
  [ast, ...ast.checks ?? [], ast.context].some((node) => node?.annotations?.[SENSITIVE] === true)

const childrenOf = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> => {
  switch (ast._tag) {
    case "Suspend":
      return [ast.thunk()]
    case "Union":
      return ast.types
    case "Arrays":
      return [...ast.elements, ...ast.rest]
    case "Objects":
      return [
        ...[...ast.propertySignatures, ...ast.indexSignatures].map(({ type }) => type),
        ...ast.indexSignatures.map(({ parameter }) => parameter)
      ]
    case "TemplateLiteral":
      return ast.parts
    case "Declaration":
      return ast.typeParameters
    default:
      return []
  }
}

/** Whether a schema marks anything, on its decoded side or on the encoded one. */
const hasMark = (ast: SchemaAST.AST, seen: Set<SchemaAST.AST> = new Set()): boolean => {
  if (seen.has(ast)) return false
  seen.add(ast)
  return isMarked(ast) || childrenOf(ast).some((child) => hasMark(child, seen)) ||
    (ast.encoding ?? []).some((link) => hasMark(link.to, seen))
}

/** Hides what is marked in a value, and gives `other` for a value of another shape than the schema's. */
type Hide = (value: unknown, other: unknown) => unknown

const hideWhole: Hide = () => REDACTED

/** The side of a schema that a value is of, and the rules for it that were made. */
interface Side {
  readonly isEncoded: boolean
  readonly hides: WeakMap<SchemaAST.AST, Hide>
}

const DECODED: Side = { isEncoded: false, hides: new WeakMap() }
const ENCODED: Side = { isEncoded: true, hides: new WeakMap() }

const hideOf = (ast: SchemaAST.AST, side: Side): Hide => {
  const known = side.hides.get(ast)
  if (known !== undefined) return known
  // A schema that contains itself finds this one while its own is made.
  side.hides.set(ast, (value, other) => hide(value, other))
  const hide: Hide = !hasMark(ast)
    ? identity
    // Of what is marked on the other side of an encoding, there is no telling what has become.
    : isMarked(ast) || (side.isEncoded && ast.encoding !== undefined) ||
        !childrenOf(ast).some((child) => hasMark(child))
    ? hideWhole
    : hideInside(ast, side)
  side.hides.set(ast, hide)
  return hide
}

const NO_MATCH = Symbol()

/** Hides in a value that may match several schemas: what one of them hides stays hidden. */
const hideAny = (types: ReadonlyArray<SchemaAST.AST>, side: Side): Hide => {
  // Of an item or a key that no schema is about, none hides anything.
  if (types.length === 0) return identity
  const hides = types.filter((type) => hasMark(type)).map((type) => hideOf(type, side))
  const unmarked = types.filter((type) => !hasMark(type)).map((type) => {
    const schema = Schema.make<Schema.Top>(type)
    return Schema.is(side.isEncoded ? Schema.toEncoded(schema) : schema)
  })
  return (value, other) => {
    let result: unknown = NO_MATCH
    for (const hide of hides) {
      const hidden = hide(result === NO_MATCH ? value : result, NO_MATCH)
      if (hidden !== NO_MATCH) result = hidden
    }
    if (result !== NO_MATCH) return result
    return unmarked.some((is) => is(value)) ? value : other
  }
}

const hideInside = (ast: SchemaAST.AST, side: Side): Hide => {
  switch (ast._tag) {
    case "Suspend":
      return hideOf(ast.thunk(), side)
    case "Union":
      return hideAny(ast.types, side)
    case "Arrays": {
      const elements = ast.elements.map((element) => hideOf(element, side))
      // Which of the rest an item matches is not worth counting.
      const rest = hideAny(ast.rest, side)
      return (value, other) =>
        Array.isArray(value)
          ? value.map((item: unknown, index) => (index < elements.length ? elements[index] : rest)(item, REDACTED))
          : other
    }
    case "Objects": {
      const properties = ast.propertySignatures.map(({ name, type }) => [name, hideOf(type, side)] as const)
      const names = new Set(ast.propertySignatures.map(({ name }) => name))
      // Of a record whose keys are marked there is nothing to show.
      if (ast.indexSignatures.some(({ parameter }) => hasMark(parameter))) return hideWhole
      const records = hideAny(ast.indexSignatures.map(({ type }) => type), side)
      return (value, other) => {
        if (!Predicate.isObject(value)) return other
        const copy: Record<PropertyKey, unknown> = { ...value }
        for (const [name, hide] of properties) if (name in copy) copy[name] = hide(copy[name], REDACTED)
        for (const name of Object.keys(copy)) {
          if (!names.has(name)) copy[name] = records(copy[name], REDACTED)
        }
        return copy
      }
    }
    case "Declaration": {
      // The instance of a class hides what its fields hide. Any other declared type, such as an option of something
      // that is marked, is hidden as a whole.
      const mark = `~effect/Schema/Class/${ast.annotations?.identifier}`
      const fields = hideOf(ast.typeParameters[0], side)
      return (value, other) => Predicate.hasProperty(value, mark) ? fields(value, other) : REDACTED
    }
    case "TemplateLiteral":
      return hideWhole
    default:
      return identity
  }
}

/**
 * Makes a function that hides whatever in a value a schema marks as sensitive.
 *
 * **When to use**
 *
 * Use where content is given: as `result` of a tool, or around its arguments.
 *
 * **Details**
 *
 * The function takes the decoded value and returns a copy, in which what
 * {@link sensitive} marks is replaced by `<redacted>`, and so is a text
 * or any other value in the place of a struct or a list with a mark inside.
 * Values of `Redacted` need no mark: they never appear.
 *
 * **Example** (Hiding a part of a tool's result)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { hideSensitive, sensitive, withToolSpan } from "loom-tracing"
 *
 * const User = Schema.Struct({ id: Schema.Number, email: sensitive(Schema.String) })
 *
 * const find = Effect.succeed({ id: 1, email: "ada@example.com" }).pipe(
 *   withToolSpan({ name: "find_user", result: hideSensitive(User) })
 * )
 *
 * Effect.runSync(find) // => { id: 1, email: "ada@example.com" }
 * ```
 *
 * @category redaction
 * @since 0.1.0
 */
export const hideSensitive = <S extends Schema.Top>(schema: S): (value: S["Type"]) => unknown => (value) =>
  hideOf(schema.ast, DECODED)(value, REDACTED)

/**
 * Hides in an encoded value what {@link hideSensitive} hides in the decoded one,
 * together with all that shares its encoding.
 *
 * @internal
 */
export const hideSensitiveEncoded = (schema: Schema.Constraint, value: unknown): unknown =>
  hideOf(schema.ast, ENCODED)(value, REDACTED)

// =============================================================================
// Shapes
// =============================================================================

/** @internal */
export const normalizeMessages = (
  messages: string | ReadonlyArray<ChatMessage>,
  role: "user" | "assistant"
): ReadonlyArray<unknown> => {
  if (Predicate.isString(messages)) return [{ role, parts: [{ type: "text", content: messages }] }]
  return messages.map((message) => {
    if (!("content" in message)) return message
    const { content, ...rest } = message
    return { ...rest, parts: [{ type: "text", content }] }
  })
}

/** @internal */
export const normalizeInstructions = (instructions: string | ReadonlyArray<MessagePart>): ReadonlyArray<unknown> =>
  Predicate.isString(instructions) ? [{ type: "text", content: instructions }] : instructions

const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

/** The convention wants an object. One that is written as JSON is read, anything else is wrapped. */
const normalizeObject = (key: string) => (value: unknown): unknown => {
  if (value === undefined || Predicate.isObject(value)) return value
  if (Predicate.isString(value) && value.startsWith("{")) {
    const decoded = decodeJson(value)
    if (decoded._tag === "Some" && Predicate.isObject(decoded.value)) return decoded.value
  }
  return { [key]: value }
}

/**
 * What a tool was given.
 *
 * @internal
 */
export const normalizeArguments = normalizeObject("input")

/**
 * What a tool has returned.
 *
 * @internal
 */
export const normalizeResult = normalizeObject("output")

/**
 * The text of an answer, as Loom records it; `undefined` when it holds none.
 *
 * @internal
 */
export const textOf = (output: string | ReadonlyArray<ChatMessage>): string | undefined => {
  if (Predicate.isString(output)) return output === "" ? undefined : output
  let text = ""
  for (const message of output) {
    const parts = "content" in message ? [{ type: "text", content: message.content }] : message.parts
    for (const part of parts) {
      if (part.type === "text" && "content" in part && Predicate.isString(part.content)) text += part.content
    }
  }
  return text === "" ? undefined : text
}

const CUT = "cut"

const cutMessages: ElementCut = {
  keep: "last",
  marker: (count) => ({ role: CUT, parts: [{ type: CUT, messages: count }] })
}

const cuts: Partial<Record<Content["kind"], ElementCut>> = {
  system_instructions: { keep: "first", marker: (count) => ({ type: CUT, parts: count }) },
  input_messages: cutMessages,
  output_messages: { ...cutMessages, keep: "first" },
  tool_definitions: { keep: "first", marker: (count) => ({ type: CUT, name: CUT, tools: count }) },
  retrieval_documents: { keep: "first", marker: (count) => ({ [CUT]: count }) },
  memory_records: { keep: "first", marker: (count) => ({ content: CUT, records: count }) }
}

/** What has to be an object still when it is a tree: of some objects, such as a date, a tree is a text. */
const objects: Partial<Record<Content["kind"], (tree: unknown) => unknown>> = {
  tool_arguments: normalizeArguments,
  tool_result: normalizeResult
}

// =============================================================================
// Capture
// =============================================================================

/** What of the budget is kept back for the answer while the question is recorded. */
const RESERVED_SHARE = 1 / 4

/**
 * The bytes of content that a span may still take.
 *
 * @internal
 */
export class ContentBudget {
  private remaining: number
  private reserve: number

  constructor(maxBytes: number) {
    this.reserve = Math.floor(maxBytes * RESERVED_SHARE)
    this.remaining = maxBytes - this.reserve
  }

  /** From here on, what was kept back for the answer may be used. */
  release(): void {
    this.remaining += this.reserve
    this.reserve = 0
  }

  /** Prints content that is written so many times, and that other forms want as much room for. */
  print({ kind, value }: Content, copies: number, otherForms = 0): string | undefined {
    const maxBytes = Math.floor(this.remaining / (copies + otherForms))
    const toObject = objects[kind] ?? identity
    // Before, for a text is cut where it is copied. After, for some objects are a text as a tree.
    const plain = toPlain(toObject(value), maxBytes, cuts[kind]?.keep)
    const tree = toObject(plain.tree)
    const printed = Predicate.isString(tree)
      ? printText(tree, maxBytes)
      : printJson({ ...plain, tree }, maxBytes, cuts[kind])
    if (printed !== undefined) this.remaining -= Buffer.byteLength(printed) * copies
    return printed
  }
}

/** Milliseconds. A redactor that hangs must not hang the call whose content it is given. */
const MAX_REDACTION = 5000

/** Nobody waits for a promise here. One that fails must not end the process either. */
const notLater = <A>(value: A): A => {
  if (value instanceof Promise) value.catch(() => {})
  if (Predicate.isPromiseLike(value)) throw new TypeError("it is a promise")
  return value
}

const evaluate = <A>(lazy: Lazy<A>): A => Predicate.isFunction(lazy) ? (lazy as () => A)() : lazy

/**
 * Makes content ready to be recorded: evaluates, converts and redacts it and
 * hands it on. Whatever goes wrong on the way costs the content and nothing
 * else, and is reported once. There is an effect only where something is left
 * to be waited for or reported.
 *
 * @internal
 */
export const captureContent = <A>(
  settings: GenAiSettings,
  kind: Content["kind"],
  lazy: Lazy<A>,
  convert: (value: A) => unknown,
  keep: (content: Content) => void,
  callback: object = Predicate.isFunction(lazy) ? lazy : convert
): Effect.Effect<void> | undefined => {
  let content: Content
  try {
    content = { kind, value: convert(notLater(evaluate(lazy))) }
  } catch (error) {
    return reportOnce(callback, `The content "${kind}" could not be made; the span goes without`, error)
  }
  if (content.value === undefined) return undefined
  const failed = (error: unknown): Effect.Effect<void> | undefined =>
    reportOnce(settings.redact, `The content "${kind}" could not be redacted; the span goes without`, error)
  const finish = (redacted: Content): Effect.Effect<void> | undefined => {
    if (!Predicate.hasProperty(redacted, "value")) return failed(new TypeError("it has returned no content"))
    try {
      if (redacted.value !== undefined) keep(redacted)
      return undefined
    } catch (error) {
      return reportOnce(keep, `The content "${kind}" could not be printed; the span goes without`, error)
    }
  }
  try {
    const redacted = settings.redact(content)
    if (!Effect.isEffect(redacted)) return finish(notLater(redacted))
    // What the call has brought is waited for where nothing can interrupt it.
    return Effect.matchCauseEffect(Effect.timeout(Effect.interruptible(redacted), MAX_REDACTION), {
      onFailure: (cause) => failed(cause) ?? Effect.void,
      onSuccess: (redacted) => finish(redacted) ?? Effect.void
    })
  } catch (error) {
    return failed(error)
  }
}
