/**
 * Ollama's client: an answer at once, and one that streams. Run it with `node test/examples/ollama.ts`; without
 * `OLLAMA_HOST` it talks to a stand-in on this machine.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Option, Stream } from "effect"
import { Ollama } from "ollama"
// Users write `loom-tracing`.
import { ollamaCall, ollamaFold, TracingConsole, withLlmStreamSpan, withOllamaSpan } from "../../src/index.ts"
import { ollamaStandIn } from "./standIn.ts"

const makeClient = Effect.gen(function*() {
  const host = yield* Config.option(Config.NonEmptyString("OLLAMA_HOST"))
  return new Ollama({ host: Option.isSome(host) ? host.value : yield* ollamaStandIn })
})

const ask = (question: string) => ({
  model: "llama3.2",
  messages: [{ role: "user", content: question }],
  options: { temperature: 0 }
})

const explain = (client: Ollama) => {
  const params = ask("What is a trace?")
  return Effect.tryPromise(() => client.chat(params)).pipe(
    withOllamaSpan(params, { client }),
    Effect.map((response) => response.message.content)
  )
}

const compose = (client: Ollama) => {
  const params = { ...ask("A haiku on spans, please."), stream: true as const }
  return Effect.tryPromise(() => client.chat(params)).pipe(
    Effect.map((chunks) => Stream.fromAsyncIterable(chunks, (cause) => cause)),
    Stream.unwrap,
    withLlmStreamSpan({ ...ollamaCall(params, { client }), fold: ollamaFold }),
    Stream.map((chunk) => chunk.message.content),
    Stream.mkString
  )
}

const program = Effect.gen(function*() {
  const client = yield* makeClient
  yield* Console.log(yield* explain(client))
  yield* Console.log(yield* compose(client))
}).pipe(Effect.withSpan("ollama"), Effect.scoped)

NodeRuntime.runMain(Effect.provide(program, TracingConsole))
