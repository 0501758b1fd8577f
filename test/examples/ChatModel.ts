/**
 * What the agents of the pipeline ask of a language model, whoever provides it.
 */
import { Effect, Schema } from "effect"
import * as LlmServer from "../support/LlmServer.ts"

export interface ChatModel {
  readonly ask: (question: string) => Effect.Effect<Reply, ChatError>
}

/** An answer, or the tools that the model wants to be called first. */
export interface Reply {
  readonly text: string
  readonly toolCalls: ReadonlyArray<ToolCall>
  /** Goes on with the results of the tools, in the order of the calls. */
  readonly proceed: (results: ReadonlyArray<object>) => Effect.Effect<Reply, ChatError>
}

export interface ToolCall {
  readonly id: string
  readonly name: string
  readonly arguments: unknown
}

export class ChatError extends Schema.TaggedError<ChatError>()("ChatError", { cause: Schema.Defect() }) {
  override get message() {
    return String(this.cause)
  }
}

/** What both providers are told. */
export const settings = {
  system: "You answer a customer's question about an order in one sentence. Look the order up first.",
  maxTokens: 200,
  tool: {
    name: "lookup_order",
    description: "What is known of an order",
    parameters: { type: "object" as const, properties: { order_id: { type: "string" } }, required: ["order_id"] }
  }
}

/** The server of a client, as its spans tell it. */
export const serverOf = ({ baseURL }: { readonly baseURL: string }) => {
  const { hostname, port, protocol } = new URL(baseURL)
  return { address: hostname, port: port === "" ? (protocol === "https:" ? 443 : 80) : Number(port) }
}

/** Speaks the providers' APIs on this machine, for want of an API key. */
export const standIn = Effect.tap(LlmServer.make, (server) =>
  Effect.forEach([
    { order: "A-17", answer: "Order A-17 left our warehouse yesterday and arrives on Thursday." },
    { order: "B-23", answer: "Yes, order B-23 can be returned until the end of the month." },
    { order: "C-42", answer: "Order C-42 was delivered this morning." }
  ], ({ answer, order }, index) =>
    server.onToolRound({
      prompt: order,
      tool: settings.tool.name,
      arguments: { order_id: order },
      answer,
      usage: [[94 + index, 17], [131 + index, 21]]
    })))
