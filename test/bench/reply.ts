/** The model call that every candidate of the span question makes. */
import type { Attributes } from "@opentelemetry/api"

export interface Reply {
  readonly id: string
  readonly model: string
  readonly finish: string
  readonly input: number
  readonly output: number
}

const ids = Array.from({ length: 1024 }, (_, index) => `chatcmpl-${index.toString(16).padStart(24, "0")}`)
let asked = 0

export const replyAt = (index: number): Reply => ({
  id: ids[index],
  model: "gpt-4o-2024-08-06",
  finish: "stop",
  input: 1000 + index,
  output: index
})

/** The model. No two of its replies in a row are the same. */
export const ask = (): Reply => replyAt(asked++ & 1023)

/** The 16 attributes of the call: eleven that are known before it, and five of the reply. */
export const requestAttributes = (): Attributes => ({
  "gen_ai.operation.name": "chat",
  "gen_ai.provider.name": "openai",
  "gen_ai.request.model": "gpt-4o",
  "server.address": "api.openai.com",
  "server.port": 8443,
  "gen_ai.conversation.id": "conv_5j66UpCpwteGg4YSxUnt7lPY",
  "gen_ai.request.temperature": 0.2,
  "gen_ai.request.max_tokens": 1000,
  "gen_ai.request.top_p": 0.9,
  "gen_ai.request.frequency_penalty": 0.1,
  "gen_ai.request.presence_penalty": 0.1
})

export const replyAttributes = (reply: Reply): Attributes => ({
  "gen_ai.response.id": reply.id,
  "gen_ai.response.model": reply.model,
  "gen_ai.response.finish_reasons": [reply.finish],
  "gen_ai.usage.input_tokens": reply.input,
  "gen_ai.usage.output_tokens": reply.output
})
