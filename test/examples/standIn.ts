/**
 * Speaks the APIs of the providers on this machine, for an example that is run without a key.
 */
import { Effect } from "effect"
import * as LlmServer from "../support/LlmServer.ts"

const answers = {
  haiku: { text: "Spans open, spans close. A tree grows out of the log. Now I see the fault.", usage: [14, 19] },
  trace: { text: "A trace is the path of one request through a system.", usage: [12, 11] }
} as const

export const standIn = Effect.tap(
  LlmServer.make,
  (server) =>
    Effect.all([
      ...Object.entries(answers).map(([word, { text, usage }]) =>
        server.on({ userMessage: word }, { content: text, usage: LlmServer.usage(usage[0], usage[1]) })
      ),
      server.onToolRound({
        prompt: "weather",
        tool: "weather",
        arguments: { city: "Paris" },
        answer: "It is 21 degrees in Paris.",
        usage: [[40, 12], [63, 9]]
      })
    ])
)

/** Ollama's own API, with the counts that the stand-in above leaves at 0. */
export const ollamaStandIn = Effect.flatMap(LlmServer.make, (server) =>
  server.serve(({ body }) => {
    const { stream, ...request } = body as { readonly stream: boolean }
    const { text, usage: [input, output] } = JSON.stringify(request).includes("haiku") ? answers.haiku : answers.trace
    const line = (content: string, rest: object) =>
      `${JSON.stringify({ model: "llama3.2", message: { role: "assistant", content }, ...rest })}\n`
    const last = { done: true, done_reason: "stop", prompt_eval_count: input, eval_count: output }
    const words = text.split(/(?<= )/)
    return {
      body: stream ? [...words.map((word) => line(word, { done: false })), line("", last)] : [line(text, last)]
    }
  }))
