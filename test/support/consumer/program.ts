// A first program in TypeScript: it is type-checked against the packed declarations, the way a user's would be.
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { makeTracingLive, TracedMessage, type TracingConfigError, withLlmSpan } from "loom-tracing"
import { injectTraceContext } from "loom-tracing/Carrier"

const Task = Schema.Struct({ id: Schema.String, question: Schema.String })
const TaskMessage = Schema.fromJsonString(TracedMessage(Task))

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

interface Answer {
  readonly text: string
  readonly tokens: number
}

const ask = (question: string): Effect.Effect<Answer, Refused> =>
  question === "" ? Effect.fail(new Refused()) : Effect.succeed({ text: "42", tokens: 1 })

const handle = Effect.fnUntraced(function*(wire: string) {
  const message = yield* Schema.decodeEffect(TaskMessage)(wire)
  const answer = yield* ask(message.payload.question).pipe(
    withLlmSpan({
      provider: "openai",
      request: { model: "gpt-5" },
      response: (answer: Answer) => ({ usage: { outputTokens: answer.tokens } })
    })
  )
  return yield* injectTraceContext({ id: message.payload.id, text: answer.text })
})

// The annotation is the check: the span adds nothing to the error or to the requirements.
export const main: Effect.Effect<string, Refused | Schema.SchemaError | TracingConfigError> = handle(
  `{ "id": "1", "question": "What is it?" }`
).pipe(
  Effect.map((result) => `${result.id}: ${result.text}`),
  Effect.provide(makeTracingLive({ serviceName: "consumer", endpoint: "http://127.0.0.1:4317" }))
)
