import Anthropic from "@anthropic-ai/sdk"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import OpenAI from "openai"
import * as LlmServer from "./support/LlmServer.ts"

interface Completion {
  readonly text: string
  readonly tool?: { readonly id: string; readonly name: string; readonly input: unknown }
  readonly finishReason: string | null
  readonly usage: readonly [input: number | undefined, output: number | undefined]
}

interface Turn {
  readonly prompt: string
  /** The result of the tool that was called in the turn before. */
  readonly toolResult?: { readonly call: NonNullable<Completion["tool"]>; readonly result: string }
}

/** What the tests ask of either provider, by its official client. */
interface Client {
  readonly complete: (turn: Turn) => Promise<Completion>
  readonly stream: (prompt: string, onText?: (text: string) => void) => Promise<Completion>
}

const schema = { type: "object" as const, properties: { id: { type: "string" } } }

const openAi = ({ openAiBaseUrl }: { readonly openAiBaseUrl: string }): Client => {
  const client = new OpenAI({ apiKey: "test", baseURL: openAiBaseUrl, maxRetries: 0 })
  return {
    complete: async ({ prompt, toolResult }) => {
      const { choices: [choice], usage } = await client.chat.completions.create({
        model: "gpt-test",
        messages: [
          { role: "user", content: prompt },
          ...(toolResult === undefined ? [] : [
            {
              role: "assistant" as const,
              tool_calls: [{
                id: toolResult.call.id,
                type: "function" as const,
                function: { name: toolResult.call.name, arguments: JSON.stringify(toolResult.call.input) }
              }]
            },
            { role: "tool" as const, tool_call_id: toolResult.call.id, content: toolResult.result }
          ])
        ],
        tools: [{ type: "function", function: { name: "lookup", parameters: schema } }]
      })
      const call = choice!.message.tool_calls?.[0]
      return {
        text: choice!.message.content ?? "",
        ...(call?.type === "function"
          ? { tool: { id: call.id, name: call.function.name, input: JSON.parse(call.function.arguments) } }
          : undefined),
        finishReason: choice!.finish_reason,
        usage: [usage?.prompt_tokens, usage?.completion_tokens]
      }
    },
    stream: async (prompt, onText) => {
      const stream = await client.chat.completions.create({
        model: "gpt-test",
        messages: [{ role: "user", content: prompt }],
        stream: true,
        stream_options: { include_usage: true }
      })
      let result: Completion = { text: "", finishReason: null, usage: [undefined, undefined] }
      for await (const { choices: [choice], usage } of stream) {
        onText?.(choice?.delta.content ?? "")
        result = {
          text: result.text + (choice?.delta.content ?? ""),
          finishReason: choice?.finish_reason ?? result.finishReason,
          usage: usage ? [usage.prompt_tokens, usage.completion_tokens] : result.usage
        }
      }
      return result
    }
  }
}

const anthropic = ({ anthropicBaseUrl }: { readonly anthropicBaseUrl: string }): Client => {
  const client = new Anthropic({ apiKey: "test", baseURL: anthropicBaseUrl, maxRetries: 0 })
  const read = ({ content, stop_reason, usage }: Anthropic.Message): Completion => {
    const call = content.find((block) => block.type === "tool_use")
    return {
      text: content.map((block) => block.type === "text" ? block.text : "").join(""),
      ...(call === undefined ? undefined : { tool: { id: call.id, name: call.name, input: call.input } }),
      finishReason: stop_reason,
      usage: [usage.input_tokens, usage.output_tokens]
    }
  }
  return {
    complete: async ({ prompt, toolResult }) =>
      read(
        await client.messages.create({
          model: "claude-test",
          max_tokens: 100,
          messages: [
            { role: "user", content: prompt },
            ...(toolResult === undefined ? [] : [
              { role: "assistant" as const, content: [{ type: "tool_use" as const, ...toolResult.call }] },
              {
                role: "user" as const,
                content: [{
                  type: "tool_result" as const,
                  tool_use_id: toolResult.call.id,
                  content: toolResult.result
                }]
              }
            ])
          ],
          tools: [{ name: "lookup", input_schema: schema }]
        })
      ),
    stream: async (prompt, onText) =>
      read(
        await client.messages.stream({
          model: "claude-test",
          max_tokens: 100,
          messages: [{ role: "user", content: prompt }]
        }).on("text", (text) => onText?.(text)).finalMessage()
      )
  }
}

const providers: ReadonlyArray<{
  readonly provider: string
  readonly connect: (server: { readonly openAiBaseUrl: string; readonly anthropicBaseUrl: string }) => Client
  readonly finish: { readonly stop: string; readonly tool: string }
  /** Of a stream's first four events; OpenAI's begin with one without text, Anthropic's with two. */
  readonly textBeforeCut: number
}> = [
  { provider: "OpenAI", connect: openAi, finish: { stop: "stop", tool: "tool_calls" }, textBeforeCut: 12 },
  { provider: "Anthropic", connect: anthropic, finish: { stop: "end_turn", tool: "tool_use" }, textBeforeCut: 8 }
]

const rejection = (promise: () => Promise<unknown>) =>
  Effect.promise<Error & { readonly status?: number }>(() =>
    promise().then(() => assert.fail("it did not fail"), (error) => error)
  )

describe.each(providers)("LlmServer for $provider", ({ connect, finish, textBeforeCut }) => {
  it.effect("completes with the fixture's text and usage", () =>
    Effect.gen(function*() {
      const server = yield* LlmServer.make
      const client = connect(server)
      yield* server.on({ userMessage: "hello" }, { content: "Hi there!", usage: LlmServer.usage(12, 7) })
      const expected = { text: "Hi there!", finishReason: finish.stop, usage: [12, 7] }
      assert.deepEqual<unknown>(yield* Effect.promise(() => client.complete({ prompt: "hello" })), expected)
      assert.deepEqual<unknown>(yield* Effect.promise(() => client.stream("hello")), expected)
      assert.deepStrictEqual(server.requests.map(({ response }) => response.status), [200, 200])
    }))

  it.effect("asks for a tool and answers when it sees the result", () =>
    Effect.gen(function*() {
      const server = yield* LlmServer.make
      const client = connect(server)
      yield* server.onToolRound({
        prompt: "the order",
        tool: "lookup",
        arguments: { id: "42" },
        answer: "It has shipped.",
        usage: [[10, 5], [30, 6]]
      })
      const prompt = "Where is the order?"
      const first = yield* Effect.promise(() => client.complete({ prompt }))
      assert.deepEqual<unknown>(first, {
        text: "",
        tool: { id: "call_0", name: "lookup", input: { id: "42" } },
        finishReason: finish.tool,
        usage: [10, 5]
      })
      const toolResult = { call: first.tool!, result: "shipped" }
      assert.deepEqual<unknown>(yield* Effect.promise(() => client.complete({ prompt, toolResult })), {
        text: "It has shipped.",
        finishReason: finish.stop,
        usage: [30, 6]
      })
    }))

  it.effect("refuses with a status", () =>
    Effect.gen(function*() {
      const server = yield* LlmServer.make
      const client = connect(server)
      yield* server.on({ userMessage: "too much" }, LlmServer.failure(429, "slow down"))
      yield* server.on({ userMessage: "broken" }, LlmServer.failure(500, "it broke"))
      for (const [prompt, status, message] of [["too much", 429, "slow down"], ["broken", 500, "it broke"]] as const) {
        const error = yield* rejection(() => client.complete({ prompt }))
        assert.strictEqual(error.status, status)
        assert.include(error.message, message)
      }
      assert.strictEqual((yield* rejection(() => client.complete({ prompt: "unknown" }))).status, 404)
    }))

  it.effect("cuts a stream in the middle", () =>
    Effect.gen(function*() {
      const server = yield* LlmServer.make
      const client = connect(server)
      yield* server.on({ userMessage: "cut" }, { content: "a text of several chunks" }, LlmServer.disconnectAfter(4))
      let text = ""
      yield* rejection(() =>
        client.stream("cut", (piece) => {
          text += piece
        })
      )
      assert.strictEqual(text, "a text of several chunks".slice(0, textBeforeCut))
    }))

  it.effect("sends what is no JSON, and is slow", () =>
    Effect.gen(function*() {
      const server = yield* LlmServer.make
      const client = connect(server)
      const content = "a text"
      yield* server.on({ userMessage: "malformed" }, { content }, LlmServer.malformedJson)
      yield* server.on({ userMessage: "slow" }, { content }, LlmServer.slow("100 millis"))
      assert.include((yield* rejection(() => client.complete({ prompt: "malformed" }))).message, "JSON")
      const start = performance.now()
      assert.strictEqual((yield* Effect.promise(() => client.complete({ prompt: "slow" }))).text, content)
      assert.isAtLeast(performance.now() - start, 90)
    }))

  it.effect("serves raw replies under an address of their own", () =>
    Effect.gen(function*() {
      const server = yield* LlmServer.make
      const url = yield* server.serve(({ body, path }) => ({ status: 418, body: [{ error: { message: path, body } }] }))
      const error = yield* rejection(() =>
        connect({ openAiBaseUrl: `${url}/v1`, anthropicBaseUrl: url }).complete({ prompt: "tea" })
      )
      assert.strictEqual(error.status, 418)
      assert.match(error.message, /\/v1\/(chat\/completions|messages)/)
      assert.deepStrictEqual(server.requests.map(({ response }) => response.status), [418])
    }))
})

describe("LlmServer", () => {
  it.effect("embeds deterministically", () =>
    Effect.gen(function*() {
      const server = yield* LlmServer.make
      const client = new OpenAI({ apiKey: "test", baseURL: server.openAiBaseUrl, maxRetries: 0 })
      yield* server.on({ inputText: "known" }, { embedding: [0.25, -1] })
      const embed = (input: string) =>
        Effect.promise(() => client.embeddings.create({ model: "embed-test", input, encoding_format: "float" }))
      assert.deepStrictEqual((yield* embed("known")).data[0]?.embedding, [0.25, -1])
      const [first, again] = [yield* embed("derived"), yield* embed("derived")]
      assert.isAbove(first.data[0]!.embedding.length, 100)
      assert.deepStrictEqual(first, again)
    }))

  it.effect("cuts a raw stream in the middle", () =>
    Effect.gen(function*() {
      const server = yield* LlmServer.make
      const url = yield* server.serve({
        headers: { "content-type": "text/event-stream" },
        body: [`data: {"choices":[{"index":0,"delta":{"content":"half"}}]}\n\n`, `data: {"choi`],
        disconnect: true
      })
      const client = new OpenAI({ apiKey: "test", baseURL: url, maxRetries: 0 })
      let text = ""
      yield* rejection(async () => {
        const messages = [{ role: "user" as const, content: "hello" }]
        const stream = await client.chat.completions.create({ model: "gpt-test", messages, stream: true })
        for await (const { choices: [choice] } of stream) {
          text += choice?.delta.content ?? ""
        }
      })
      assert.strictEqual(text, "half")
    }))
})
