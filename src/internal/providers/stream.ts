import type { LlmResponse } from "../../GenAi.ts"
import type { MessagePart } from "../../GenAiContent.ts"
import {
  blobPart,
  finishReasonsOf,
  outputMessageOf,
  reasoningPart,
  serverToolCallPart,
  textPart,
  toolCallPart
} from "./parts.ts"
import { defined, parseJson, read } from "./read.ts"
import { addUsage, type Apart, laterUsage, type ReportedUsage, tokensOf } from "./usage.ts"

// OpenAI's limits. What a stream says of choices and calls beyond them is not kept, so that none makes the state grow.
const MAX_CHOICES = 128
const MAX_CALLS = 128

type Kind = "text" | "reasoning" | "audio" | "tool_call" | "server_tool_call" | "done"

/** A part of a message that is being streamed. */
interface StreamedPart {
  readonly kind: Kind
  readonly key: number | string | undefined
  id: string | undefined
  name: string | undefined
  text: string
  /** Data, which comes in pieces that are encoded each by itself. */
  readonly bytes: Array<Uint8Array>
  /** What the beginning of a call has of its input already. */
  input: unknown
  /** Whether the input is text of no form, and not JSON. */
  isText: boolean
  done: ReadonlyArray<MessagePart>
}

const inputOf = (part: StreamedPart): unknown =>
  part.text === "" ? part.input : part.isText ? part.text : parseJson(part.text)

const finished = (part: StreamedPart): ReadonlyArray<MessagePart> => {
  switch (part.kind) {
    case "text":
      return part.text === "" ? [] : [textPart(part.text)]
    case "reasoning":
      return part.text === "" ? [] : [reasoningPart(part.text)]
    case "audio":
      return [blobPart("audio", Buffer.concat(part.bytes).toString("base64"))]
    case "tool_call":
      return [toolCallPart(part.id, part.name, inputOf(part))]
    case "server_tool_call": {
      const name = part.name ?? "unknown"
      return [serverToolCallPart(part.id, name, name, { input: inputOf(part) })]
    }
    case "done":
      return part.done
  }
}

const emptyPart = (kind: Kind, key: number | string | undefined): StreamedPart => ({
  kind,
  key,
  id: undefined,
  name: undefined,
  text: "",
  bytes: [],
  input: undefined,
  isText: false,
  done: []
})

/** A message that is being streamed, in parts that are found by a key or by being the last. */
class StreamedMessage {
  role: string | undefined = undefined
  private readonly parts: Array<StreamedPart> = []
  private readonly byKey = new Map<number | string, StreamedPart>()

  /** The part under a key, which begins when it is first named. */
  part(kind: Kind, key: number | string, id?: string, name?: string): StreamedPart {
    const part = this.byKey.get(key) ?? this.begin(kind, key)
    part.id ??= id
    part.name ??= name
    return part
  }

  /**
   * The call of a tool under a key. Some servers number the calls of an answer
   * all alike: another id is another call, and what has none continues the last.
   */
  call(key: number | string, id: string | undefined, name: string | undefined): StreamedPart {
    const before = this.byKey.get(key)
    if (before?.id !== undefined && id !== undefined && before.id !== id) this.begin("tool_call", key)
    return this.part("tool_call", key, id, name)
  }

  /** The call that is streamed in events one after another: one without a name continues what is the last part. */
  nextCall(id: string | undefined, name: string | undefined): StreamedPart {
    const last = this.parts.at(-1)
    if (name === undefined && last?.kind === "tool_call") return last
    return Object.assign(this.begin("tool_call", undefined), { id, name, input: {} })
  }

  /** Text without a key continues the last part if that is of its kind. */
  append(kind: "text" | "reasoning", text: unknown): void {
    if (typeof text !== "string" || text === "") return
    const last = this.parts.at(-1)
    const part = last !== undefined && last.kind === kind && last.key === undefined ? last : this.begin(kind, undefined)
    part.text += text
  }

  /** Adds parts that are whole, or that continue what was said or thought before. */
  take(parts: ReadonlyArray<MessagePart>): void {
    for (const part of parts) {
      const kind = part.type === "text" ? "text" : part.type === "reasoning" ? "reasoning" : undefined
      if (kind === undefined) {
        this.put([part])
      } else {
        this.append(kind, read(part, "content"))
      }
    }
  }

  /** Adds whole parts; under a key, they take the place of what was streamed of them. */
  put(done: ReadonlyArray<MessagePart>, key?: number | string): void {
    const part: StreamedPart = { ...emptyPart("done", key), done }
    const before = key === undefined ? undefined : this.byKey.get(key)
    if (before === undefined) {
      this.parts.push(part)
    } else {
      this.parts[this.parts.indexOf(before)] = part
    }
    if (key !== undefined) this.byKey.set(key, part)
  }

  private begin(kind: Kind, key: number | string | undefined): StreamedPart {
    const part = emptyPart(kind, key)
    this.parts.push(part)
    if (key !== undefined) this.byKey.set(key, part)
    return part
  }

  toParts(): ReadonlyArray<MessagePart> {
    return this.parts.flatMap(finished)
  }
}

/**
 * What is known of a streamed response. Without content it does not grow with
 * the stream.
 *
 * @internal
 */
export class StreamedResponse {
  /** The answer as one response, where the last event of a stream repeats it, with or without its output. */
  whole: LlmResponse | undefined = undefined
  openai: LlmResponse["openai"] = undefined
  compacted: true | undefined = undefined
  /** The calls that the program is asked for, where no reason for the end says so. */
  readonly calls = new Set<string>()
  readonly content: boolean
  private id: string | undefined = undefined
  private model: string | undefined = undefined
  private reasons: Array<string | undefined> = []
  private readonly messages: Array<StreamedMessage> = []
  private reported: ReportedUsage = {}
  private apart: Apart | undefined = undefined
  private takenOver = false
  /** The counts of the responses before this one, where a stream is of several. */
  private former: ReportedUsage = {}

  constructor(content: boolean) {
    this.content = content
  }

  /**
   * Names the response. Where the client runs tools and asks again in one
   * stream, what `continues` it under another id is the next response. Some
   * servers give every chunk its own id: only after the end of all choices, with
   * a usage that is known, is it that.
   */
  identify(id: string | undefined, model: string | undefined, continues = false): void {
    const { inputTokens, outputTokens } = this.reported
    if (
      continues && id !== undefined && this.id !== undefined && id !== this.id &&
      (inputTokens ?? outputTokens) !== undefined && this.reasons.length > 0 && !this.reasons.includes(undefined)
    ) {
      this.former = addUsage(this.former, this.reported)
      this.reported = {}
      this.reasons = []
      this.id = id
      this.model = model ?? this.model
    }
    this.id ??= id
    this.model ??= model
  }

  /** Another model has taken over. What is reported of it takes the place of the former's counts, be it less. */
  takeOver(model: string | undefined): void {
    this.model = model ?? this.model
    this.takenOver = true
  }

  /** Takes the counts of an event; what it leaves out stays as it was. */
  report(usage: ReportedUsage, apart?: Apart): void {
    this.reported = this.takenOver ? { ...this.reported, ...defined(usage) } : laterUsage(this.reported, usage)
    this.apart = apart
  }

  call(id: string): void {
    if (this.calls.size < MAX_CALLS) this.calls.add(id)
  }

  finish(index: number, reason: string | undefined): void {
    if (index >= MAX_CHOICES) return
    while (this.reasons.length <= index) this.reasons.push(undefined)
    if (reason !== undefined) this.reasons[index] = reason
  }

  /** The message of a choice, unless its content is not wanted. */
  message(index: number): StreamedMessage | undefined {
    if (!this.content || index >= MAX_CHOICES) return undefined
    while (this.messages.length <= index) this.messages.push(new StreamedMessage())
    return this.messages[index]
  }

  toResponse(): LlmResponse {
    const { whole } = this
    const reasons = whole?.finishReasons ?? this.reasons
    const output = this.messages.length === 0
      ? undefined
      : () =>
        this.messages.map((message, index) =>
          outputMessageOf(message.role, message.toParts(), reasons[index] ?? undefined)
        )
    if (whole !== undefined) {
      return { ...defined({ compacted: this.compacted, output }), ...whole }
    }
    return defined({
      id: this.id,
      model: this.model,
      finishReasons: finishReasonsOf(this.reasons),
      ...tokensOf(addUsage(this.former, this.reported), this.apart),
      compacted: this.compacted,
      openai: this.openai,
      output
    })
  }
}
