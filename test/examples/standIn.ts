/**
 * Speaks the APIs of the providers on this machine, for an example that is run without a key.
 */
import { Effect } from "effect"
import * as LlmServer from "../support/LlmServer.ts"

export const standIn = Effect.tap(
  LlmServer.make,
  (server) =>
    Effect.all([
      server.on({ userMessage: "haiku" }, {
        content: "Spans open, spans close. A tree grows out of the log. Now I see the fault.",
        usage: LlmServer.usage(14, 19)
      }),
      server.on({ userMessage: "trace" }, {
        content: "A trace is the path of one request through a system.",
        usage: LlmServer.usage(12, 11)
      }),
      server.onToolRound({
        prompt: "weather",
        tool: "weather",
        arguments: { city: "Paris" },
        answer: "It is 21 degrees in Paris.",
        usage: [[40, 12], [63, 9]]
      })
    ])
)
