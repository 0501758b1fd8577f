/**
 * What the content of a conversation looks like, and how it is redacted, cut
 * and printed before any of it reaches a span.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai (gen-ai-input-messages.json and its siblings)
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { Content, GenAiSettings } from "./GenAiSettings.ts"

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
 * Any other part of a message, by its type.
 *
 * @category models
 * @since 0.1.0
 */
export interface GenericPart {
  readonly type: string & {}
  readonly [key: string]: unknown
}

/**
 * A part of a message.
 *
 * @category models
 * @since 0.1.0
 */
export type MessagePart = TextPart | ReasoningPart | ToolCallPart | ToolCallResponsePart | GenericPart

/**
 * A message of a conversation. `content` is short for a single text part.
 *
 * @category models
 * @since 0.1.0
 */
export type ChatMessage =
  & { readonly role: "system" | "user" | "assistant" | "tool" | (string & {}); readonly name?: string | null }
  & ({ readonly parts: ReadonlyArray<MessagePart> } | { readonly content: string })

/**
 * A message that a model has answered with: one for each choice.
 *
 * @category models
 * @since 0.1.0
 */
export type OutputMessage = ChatMessage & { readonly finish_reason?: string | null }

/**
 * A tool that a model may call.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToolDefinition {
  readonly type: "function" | (string & {})
  readonly name: string
  readonly description?: string
  readonly parameters?: unknown
}

/**
 * Content, or a function that makes it. The function runs only if the content is recorded.
 *
 * @category models
 * @since 0.1.0
 */
export type Lazy<A> = A | (() => A)

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

/** The text of an answer, as Loom records it; `undefined` when it holds none. */
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

const CUT = "…[cut]"
const CUT_BYTES = Buffer.byteLength(CUT)

/** JSON of any value: what JSON has no word for becomes a string, a secret never appears. */
const stringify = (value: unknown, maxString: number): string | undefined => {
  const ancestors: Array<object> = []
  return JSON.stringify(value, function(this: unknown, _key, item: unknown) {
    if (Redacted.isRedacted(item)) return "<redacted>"
    switch (typeof item) {
      case "bigint":
        return item.toString()
      case "string":
        return item.length > maxString ? cutString(item, maxString) : item
      case "object": {
        if (item === null) return null
        if (ArrayBuffer.isView(item)) return `<${item.byteLength} bytes>`
        while (ancestors.length > 0 && ancestors[ancestors.length - 1] !== this) ancestors.pop()
        if (ancestors.includes(item)) return "<circular>"
        ancestors.push(item)
        return item
      }
      default:
        return item
    }
  })
}

const cutString = (text: string, length: number): string => text.slice(0, length).toWellFormed() + CUT

/**
 * Prints a value as JSON within a number of bytes. What is too long loses the
 * ends of its strings, so that the JSON stays valid; `undefined` when even that
 * does not make it fit.
 *
 * @internal
 */
export const printJson = (value: unknown, maxBytes: number): string | undefined => {
  const whole = stringify(value, Infinity)
  if (whole === undefined || Buffer.byteLength(whole) <= maxBytes) return whole
  let fits: string | undefined
  let low = 0
  let high = maxBytes
  while (low <= high) {
    const middle = (low + high) >> 1
    const cut = stringify(value, middle)
    if (cut !== undefined && Buffer.byteLength(cut) <= maxBytes) {
      fits = cut
      low = middle + 1
    } else {
      high = middle - 1
    }
  }
  return fits
}

/** Cuts a text to a number of bytes of UTF-8, with a mark where it was cut. */
export const printText = (text: string, maxBytes: number): string | undefined => {
  if (Buffer.byteLength(text) <= maxBytes) return text
  if (maxBytes < CUT_BYTES) return undefined
  const bytes = Buffer.from(text).subarray(0, maxBytes - CUT_BYTES)
  return new TextDecoder().decode(bytes).replace(/\uFFFD+$/, "") + CUT
}

/** The bytes of content that a span may still take. */
export class ContentBudget {
  remaining: number
  constructor(maxBytes: number) {
    this.remaining = maxBytes
  }
  print(value: unknown): string | undefined {
    const printed = Predicate.isString(value) ? printText(value, this.remaining) : printJson(value, this.remaining)
    if (printed !== undefined) this.remaining -= Buffer.byteLength(printed)
    return printed
  }
}

const evaluate = <A>(lazy: Lazy<A>): A => Predicate.isFunction(lazy) ? (lazy as () => A)() : lazy

/**
 * Makes content ready for a span: evaluates, redacts and prints it. Whatever
 * goes wrong on the way costs the content and nothing else.
 *
 * @internal
 */
export const captureContent = <A>(
  settings: GenAiSettings,
  budget: ContentBudget,
  kind: Content["kind"],
  lazy: Lazy<A>,
  convert: (value: A) => unknown
): Effect.Effect<string | undefined> =>
  Effect.suspend(() => {
    const redacted = settings.redact({ kind, value: convert(evaluate(lazy)) })
    return Effect.isEffect(redacted) ? redacted : Effect.succeed(redacted)
  }).pipe(
    Effect.map((content) => content.value === undefined ? undefined : budget.print(content.value)),
    Effect.catchCause(() => Effect.as(Effect.void, undefined))
  )
