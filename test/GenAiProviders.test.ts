import Anthropic from "@anthropic-ai/sdk"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Logger, Schema, Stream } from "effect"
import { LanguageModel, Tool, Toolkit } from "effect/ai"
import {
  type LlmCallOptions,
  type LlmResponse,
  type LlmStreamFold,
  type LlmUsage,
  traceAsyncIterable,
  withEmbeddingsSpan,
  withLlmStreamSpan
} from "loom-tracing"
import {
  anthropicCall,
  anthropicFold,
  anthropicResponse,
  bedrockCall,
  bedrockFold,
  bedrockResponse,
  effectAiCall,
  effectAiFold,
  effectAiResponse,
  googleCall,
  googleFold,
  googleResponse,
  normalizeUsage,
  ollamaCall,
  ollamaFold,
  ollamaResponse,
  openAiCall,
  openAiFold,
  openAiResponse,
  type ProviderSpan,
  type StreamedResponse,
  withAnthropicSpan,
  withBedrockSpan,
  withGoogleSpan,
  withOllamaSpan,
  withOpenAiSpan
} from "loom-tracing/GenAiProviders"
import { readdirSync, readFileSync } from "node:fs"
import { resolve } from "node:path"
import { serialize } from "node:v8"
import { type ChatRequest, type GenerateRequest, Ollama } from "ollama"
import OpenAI from "openai"
import * as LlmServer from "./support/LlmServer.ts"
import * as Recorder from "./support/Recorder.ts"

type ProviderFold = LlmStreamFold<object, StreamedResponse>

interface Mapper {
  readonly call: (params: never) => LlmCallOptions
  readonly response: (value: unknown) => LlmResponse
  readonly fold: ProviderFold
}

const mappers: Readonly<Record<string, Mapper>> = {
  openai: { call: openAiCall, response: openAiResponse, fold: openAiFold },
  anthropic: { call: anthropicCall, response: anthropicResponse, fold: anthropicFold },
  ollama: { call: ollamaCall, response: ollamaResponse, fold: ollamaFold },
  google: { call: googleCall, response: googleResponse, fold: googleFold },
  bedrock: { call: bedrockCall, response: bedrockResponse, fold: bedrockFold },
  effectAi: {
    call: (params) => effectAiCall(params, { provider: "openai", request: { model: "gpt-4o" } }),
    response: effectAiResponse,
    fold: effectAiFold
  }
}

/** What an API sends, in one piece or in chunks, and what a span is to tell of it. */
interface Recording {
  readonly source: string
  readonly response?: unknown
  readonly chunks?: ReadonlyArray<unknown>
  readonly expected: Record<string, unknown>
  /** Input and output together, as the provider counts them. */
  readonly reportedTotal?: number
}

const directory = resolve(import.meta.dirname, "support/fixtures/providers")

const recordings = readdirSync(directory).sort().map((file) => ({
  name: file.replace(/\.json$/, ""),
  mapper: mappers[file.split(".", 1)[0]!]!,
  recording: JSON.parse(readFileSync(resolve(directory, file), "utf8")) as Recording
}))

const evaluate = (value: unknown): unknown => typeof value === "function" ? value() : value

/** A response with its content, as a plain value. */
const evaluated = ({ output, ...rest }: LlmResponse): Record<string, unknown> =>
  output === undefined ? rest : { ...rest, output: evaluate(output) }

const fold = (fold: ProviderFold, chunks: Iterable<unknown>, content: boolean): LlmResponse => {
  let state = fold.initial({ content })
  for (const chunk of chunks) state = fold.step(state, chunk as object)
  return fold.response(state)
}

/** What is read of a recording, by its mapper or by its fold. */
const read = ({ mapper, recording }: (typeof recordings)[number], content: boolean): Record<string, unknown> =>
  evaluated(
    recording.chunks === undefined
      ? mapper.response(recording.response)
      : fold(mapper.fold, recording.chunks, content)
  )

describe("recorded responses", () => {
  for (const recorded of recordings) {
    it(`${recorded.name}: tells what the provider tells`, () => {
      assert.deepStrictEqual(read(recorded, true), recorded.recording.expected)
    })
  }

  for (const recorded of recordings.filter(({ recording }) => recording.chunks !== undefined)) {
    it(`${recorded.name}: without content, the same but for the answer`, () => {
      const { output: _, ...rest } = recorded.recording.expected
      assert.deepStrictEqual(read(recorded, false), rest)
    })
  }

  for (const recorded of recordings.filter(({ recording }) => recording.reportedTotal !== undefined)) {
    it(`${recorded.name}: counts the tokens that the provider counts`, () => {
      const { inputTokens, outputTokens } = read(recorded, false).usage as Required<LlmUsage>
      assert.strictEqual(inputTokens! + outputTokens!, recorded.recording.reportedTotal)
    })
  }

  it("the parts of an effect/ai response are read like the response", () => {
    const { recording } = recordings.find(({ name }) => name === "effectAi.text")!
    const { content } = recording.response as { readonly content: ReadonlyArray<unknown> }
    assert.deepStrictEqual(evaluated(effectAiResponse(content)), recording.expected)
  })
})

/** What an API sends at once and in chunks, of the same answer. */
const both = (
  mapper: { readonly response: (value: unknown) => LlmResponse; readonly fold: ProviderFold },
  [value, chunks]: readonly [value: unknown, chunks: ReadonlyArray<unknown>]
) => [mapper.response(value), fold(mapper.fold, chunks, false), fold(mapper.fold, chunks, true)]

describe("what only some providers tell", () => {
  const openAiUsage = {
    prompt_tokens: 100,
    completion_tokens: 50,
    prompt_tokens_details: { cached_tokens: 10, text_tokens: 60, image_tokens: 40, audio_tokens: 0 },
    completion_tokens_details: { audio_tokens: 30, text_tokens: 51, reasoning_tokens: 0 }
  }
  const googleUsage = {
    promptTokenCount: 100,
    toolUsePromptTokenCount: 7,
    candidatesTokenCount: 20,
    cachedContentTokenCount: 60,
    promptTokensDetails: [
      { modality: "TEXT", tokenCount: 30 },
      { modality: "VIDEO", tokenCount: 50 },
      { modality: "AUDIO", tokenCount: 20 }
    ],
    toolUsePromptTokensDetails: [{ modality: "TEXT", tokenCount: 7 }],
    candidatesTokensDetails: [{ modality: "IMAGE", tokenCount: 20 }],
    cacheTokensDetails: [{ modality: "TEXT", tokenCount: 10 }]
  }
  for (
    const [name, provider, responses, expected] of [
      // Zeros are left out, and so is what is more than the total that it is a part of.
      ["OpenAI", mappers.openai!, [{ usage: openAiUsage }, [{ usage: openAiUsage }, { choices: [] }]], {
        text: { inputTokens: 60 },
        image: { inputTokens: 40 },
        audio: { outputTokens: 30 }
      }],
      ["Google", mappers.google!, [{ usageMetadata: googleUsage }, [{ usageMetadata: googleUsage }, {}]], {
        text: { inputTokens: 37, cacheReadInputTokens: 10 },
        image: { outputTokens: 20 },
        audio: { inputTokens: 20 }
      }]
    ] as const
  ) {
    it(`${name}: tokens by modality`, () => {
      for (const response of both(provider, responses)) assert.deepStrictEqual(response.usageByModality, expected)
    })
  }

  const total = { prompt_tokens: 5, completion_tokens: 9, total_tokens: 14 }
  const ended = { index: 0, delta: {}, finish_reason: "stop" }
  for (
    const [name, chunk, cached] of [
      ["Groq's", { choices: [ended], x_groq: { id: "r", usage: total } }, {}],
      ["Moonshot's", { choices: [{ ...ended, usage: total }] }, {}],
      ["Moonshot's, with a cache,", { choices: [ended], usage: { ...total, cached_tokens: 3 } }, {
        cacheReadInputTokens: 3
      }]
    ] as const
  ) {
    it(`OpenAI chat: ${name} usage is read where it is put`, () => {
      for (const response of both(mappers.openai!, [chunk, [{ choices: [], usage: null }, chunk]])) {
        assert.deepStrictEqual(response.usage, { inputTokens: 5, outputTokens: 9, ...cached })
      }
    })
  }

  const compaction = { type: "compaction", id: "cmp_1", encrypted_content: "x" }
  const said = { type: "message", content: [{ type: "output_text", text: "Hi" }] }
  const stop = { type: "message_delta", delta: { stop_reason: "end_turn" } }
  for (
    const [name, provider, compacted, other] of [
      ["OpenAI", mappers.openai!, [{ output: [compaction, said] }, [
        { type: "response.output_item.done", output_index: 0, item: compaction }
      ]], [{ output: [said] }, [{ type: "response.output_item.done", output_index: 0, item: said }]]],
      ["Anthropic", mappers.anthropic!, [{ content: [{ type: "compaction", content: "So far" }] }, [
        { type: "content_block_start", index: 0, content_block: { type: "compaction", content: null } },
        { type: "content_block_delta", index: 0, delta: { type: "compaction_delta", content: "So far" } },
        stop
      ]], [{ content: [{ type: "text", text: "Hi" }] }, [stop]]]
    ] as const
  ) {
    it(`${name}: that the conversation was compacted, and never that it was not`, () => {
      for (const response of both(provider, compacted)) assert.isTrue(response.compacted)
      for (const response of both(provider, other)) assert.notProperty(response, "compacted")
    })
  }

  const answer = { type: "message", role: "assistant", content: [{ type: "output_text", text: "Hi" }] }
  const answered = (reason: string) => [{ role: "assistant", parts: [text("Hi")], finish_reason: reason }]
  for (
    const [name, value, finishReasons, output] of [
      ["is queued", { status: "queued", output: [] }, undefined, undefined],
      ["is in progress", { status: "in_progress", output: [] }, undefined, undefined],
      ["is in progress and has said something", { status: "in_progress", output: [answer] }, undefined, undefined],
      ["has failed with nothing", { status: "failed", output: [] }, ["error"], undefined],
      ["has failed halfway", { status: "failed", output: [answer] }, ["error"], answered("error")],
      ["was cancelled before it began", { status: "cancelled", output: [] }, ["error"], undefined],
      ["is complete", { status: "completed", output: [answer] }, ["stop"], answered("stop")],
      ["is complete and leaves out what it has said", { object: "response", status: "completed" }, ["stop"], undefined],
      ["has no choices", { choices: [] }, undefined, undefined],
      ["is no response, but a video", { object: "video", status: "completed" }, undefined, undefined]
    ] as ReadonlyArray<readonly [string, object, ReadonlyArray<string> | undefined, unknown]>
  ) {
    it(`OpenAI: a response that ${name} has ${output === undefined ? "no message" : "a message"}`, () => {
      const response = evaluated(openAiResponse(value))
      assert.deepStrictEqual([response.finishReasons, response.output], [finishReasons, output])
    })
  }

  const counts = (input_tokens: number, output_tokens: number, cache_read_input_tokens: number) => ({
    input_tokens,
    output_tokens,
    cache_read_input_tokens
  })
  const iterations = [
    { type: "compaction", ...counts(180_000, 3_500, 100) },
    { type: "message", ...counts(23_000, 1_000, 10) },
    { type: "compaction", ...counts(20_000, 500, 0) },
    { type: "advisor_message", ...counts(7_000, 70, 0) }
  ]
  for (
    const [name, usage] of [
      ["as the API counts", { ...counts(23_000, 1_000, 10), iterations }],
      ["where the last event of a stream has no input", { output_tokens: 1_000, iterations }]
    ] as const
  ) {
    it(`Anthropic: the tokens of a summary are used as well, ${name}`, () => {
      const chunks = [{ type: "message_start", message: { usage: counts(23_000, 1, 10) } }, { ...stop, usage }]
      const whole = { usage: { ...counts(23_000, 1_000, 10), iterations } }
      for (const response of both(mappers.anthropic!, [whole, chunks])) {
        assert.deepStrictEqual(response.usage, {
          inputTokens: 223_110,
          outputTokens: 5_000,
          cacheReadInputTokens: 110
        })
      }
    })
  }

  const shell = { type: "shell_call", id: "sh_1", call_id: "call_1", action: { commands: ["ls"] } }
  const hosted = { ...shell, environment: { type: "container_reference", container_id: "cntr_1" } }
  const printed = { type: "shell_call_output", id: "sho_1", call_id: "call_1", output: [{ stdout: "a.txt" }] }
  const lookup = { type: "function_call", call_id: "call_2", name: "lookup", arguments: "{}" }
  const program = { type: "program", id: "p_1", call_id: "call_p", code: "tools.x()" }
  const programOutput = { type: "program_output", id: "po_1", call_id: "call_p", result: "42" }
  const toolSearchOutput = { type: "tool_search_output", call_id: null, tools: [{ type: "function", name: "f" }] }
  const serverCall = (id: string, name: string, item: object) => ({
    type: "server_tool_call",
    id,
    name,
    server_tool_call: item
  })
  const serverResponse = (id: string | undefined, item: object) => ({
    type: "server_tool_call_response",
    ...(id === undefined ? {} : { id }),
    server_tool_call_response: item
  })
  for (
    const [name, output, reason, parts] of [
      ["a shell whose output is there", [shell, printed], "stop", [
        serverCall("call_1", "shell", shell),
        serverResponse("call_1", printed)
      ]],
      ["a shell in a container", [hosted], "stop", [serverCall("call_1", "shell", hosted)]],
      ["a program", [program, programOutput], "stop", [
        serverCall("call_p", "program", program),
        serverResponse("call_p", programOutput)
      ]],
      ["a search for tools", [toolSearchOutput], "stop", [serverResponse(undefined, toolSearchOutput)]],
      ["a shell, and asks for a function", [shell, printed, lookup], "tool_call", [
        serverCall("call_1", "shell", shell),
        serverResponse("call_1", printed),
        { type: "tool_call", id: "call_2", name: "lookup", arguments: {} }
      ]]
    ] as ReadonlyArray<readonly [string, ReadonlyArray<object>, string, ReadonlyArray<object>]>
  ) {
    it(`OpenAI: a server that runs ${name}, has run that itself`, () => {
      const whole = { status: "completed", output }
      const last = { type: "response.completed", response: whole }
      const items = output.flatMap((item, output_index) => [
        { type: "response.output_item.added", output_index, item },
        { type: "response.output_item.done", output_index, item }
      ])
      for (const response of both(mappers.openai!, [whole, [...items, last]])) {
        assert.deepStrictEqual(response.finishReasons, [reason])
      }
      assert.deepStrictEqual(evaluated(openAiResponse(whole)).output, [
        { role: "assistant", parts, finish_reason: reason === "stop" ? "stop" : "tool_call" }
      ])
      const silent = { type: "response.completed", response: { status: "completed", output: [] } }
      assert.deepStrictEqual(fold(openAiFold, [...items, silent], false).finishReasons, [reason])
    })
  }

  it("OpenAI: items of the input have the role of who has made them", () => {
    const approval = { type: "mcp_approval_response", approve: true, approval_request_id: "m" }
    const tools = { type: "additional_tools", role: "developer", tools: [] }
    const effort = { type: "configuration_update", reasoning: { effort: "low" } }
    const compact = { type: "compaction_trigger" }
    const input = [approval, tools, effort, compact, printed, toolSearchOutput]
    assert.deepStrictEqual(evaluate(openAiCall({ model: "m", input }).input), [
      { role: "user", parts: [approval] },
      { role: "developer", parts: [tools] },
      { role: "user", parts: [effort] },
      { role: "user", parts: [compact] },
      {
        role: "tool",
        parts: [{ type: "tool_call_response", id: "call_1", response: [{ type: "unknown", stdout: "a.txt" }] }]
      },
      { role: "tool", parts: [{ type: "tool_call_response", response: [{ type: "function", name: "f" }] }] }
    ])
  })

  it("OpenAI: what the server has run itself is so as well where it is sent back", () => {
    const found = { ...toolSearchOutput, execution: "server" }
    assert.deepStrictEqual(evaluate(openAiCall({ model: "m", input: [programOutput, found, hosted, printed] }).input), [
      { role: "assistant", parts: [serverResponse("call_p", programOutput)] },
      { role: "assistant", parts: [serverResponse(undefined, found)] },
      { role: "assistant", parts: [serverCall("call_1", "shell", hosted)] },
      { role: "assistant", parts: [serverResponse("call_1", printed)] }
    ])
  })

  it("Anthropic: the summary of a conversation, at once and streamed", () => {
    const parts = [{ type: "compaction", content: "So far" }]
    const chunks = [
      { type: "content_block_start", index: 0, content_block: { type: "compaction", content: null } },
      { type: "content_block_delta", index: 0, delta: { type: "compaction_delta", content: "So far" } },
      stop
    ]
    const expected = [{ role: "assistant", parts, finish_reason: "stop" }]
    const answer = { stop_reason: "end_turn", content: parts }
    assert.deepStrictEqual(evaluated(anthropicResponse(answer)).output, expected)
    assert.deepStrictEqual(evaluated(fold(anthropicFold, chunks, true)).output, expected)
  })
})

describe("streams", () => {
  const delta = (text: string) => ({
    openai: { id: "c", model: "m", choices: [{ index: 0, delta: { content: text, reasoning_content: text } }] },
    anthropic: { type: "content_block_delta", index: 0, delta: { type: "text_delta", text } },
    ollama: { model: "m", message: { content: text, thinking: text } },
    google: { responseId: "r", candidates: [{ index: 0, content: { parts: [{ text }] } }] },
    bedrock: { contentBlockDelta: { contentBlockIndex: 0, delta: { text } } },
    effectAi: { type: "text-delta", id: "1", delta: text }
  })

  for (const [provider, { fold }] of Object.entries(mappers)) {
    const size = (length: number, content: boolean) => {
      let state = fold.initial({ content })
      for (let i = 0; i < length; i++) state = fold.step(state, delta(`word ${i} `)[provider as "openai"])
      // The events of OpenAI's responses are of another kind than its chunks.
      if (provider === "openai") {
        for (let i = 0; i < length; i++) {
          const event = { type: "response.output_text.delta", output_index: i, delta: `word ${i} ` }
          state = fold.step(state, event)
        }
      }
      return serialize(state).length
    }

    it(`${provider}: keeps nothing of a long stream without content`, () => {
      assert.strictEqual(size(10_000, false), size(10, false))
      assert.isAbove(size(10_000, true), size(10, true))
    })
  }

  it("a stream that names ever more choices does not grow the state either", () => {
    const size = (choices: number) => {
      let state = openAiFold.initial({ content: false })
      for (let index = 0; index < choices; index++) {
        state = openAiFold.step(state, { choices: [{ index, delta: {}, finish_reason: "stop" }] })
      }
      return serialize(state).length
    }
    assert.strictEqual(size(10_000), size(200))
  })

  it("counts only grow: an event that reports zero does not take back what was counted", () => {
    const response = fold(anthropicFold, [
      { type: "message_start", message: { usage: { input_tokens: 25, cache_read_input_tokens: 5, output_tokens: 1 } } },
      { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { input_tokens: 0, output_tokens: 15 } }
    ], false)
    assert.deepStrictEqual(response.usage, { inputTokens: 30, outputTokens: 15, cacheReadInputTokens: 5 })
  })

  it("Anthropic: where a fallback has taken over, its name and its counts are those of the response", () => {
    const to = (model: string, index: number) => ({
      type: "content_block_start",
      index,
      content_block: { type: "fallback", from: { model: "a" }, to: { model } }
    })
    const chunks = [
      {
        type: "message_start",
        message: { model: "a", usage: { input_tokens: 30, cache_read_input_tokens: 5, output_tokens: 1 } }
      },
      to("b", 0),
      to("c", 1),
      {
        type: "message_delta",
        delta: { stop_reason: "end_turn" },
        usage: { input_tokens: 25, cache_read_input_tokens: 0, output_tokens: 12 }
      }
    ]
    for (const content of [false, true]) {
      const { model, usage } = fold(anthropicFold, chunks, content)
      assert.deepStrictEqual([model, usage], ["c", { inputTokens: 25, outputTokens: 12, cacheReadInputTokens: 0 }])
    }
  })

  it("usage that several chunks report is not added up", () => {
    const chunk = (completion_tokens: number) => ({
      choices: [{ index: 0, delta: { content: "x" } }],
      usage: { prompt_tokens: 7, completion_tokens, total_tokens: 7 + completion_tokens }
    })
    assert.deepStrictEqual(fold(openAiFold, [chunk(1), chunk(2), chunk(3)], false).usage, {
      inputTokens: 7,
      outputTokens: 3
    })
  })

  const openAiChunk = (id: string, content: string, finish_reason: string | null, tokens?: number) => ({
    id,
    model: `model-${id}`,
    choices: finish_reason === null && content === "" ? [] : [{ index: 0, delta: { content }, finish_reason }],
    ...(tokens === undefined
      ? {}
      : { usage: { prompt_tokens: 100, completion_tokens: tokens, total_tokens: 100 + tokens } })
  })
  const googleChunk = (responseId: string, text: string, finishReason: string | undefined, tokens: number) => ({
    responseId,
    modelVersion: `model-${responseId}`,
    candidates: [{ index: 0, content: { role: "model", parts: [{ text }] }, finishReason }],
    usageMetadata: { promptTokenCount: 100, candidatesTokenCount: tokens, totalTokenCount: 100 + tokens }
  })
  const openAiStop = (id: string) => [openAiChunk(id, "x", null), openAiChunk(id, "", "stop")]
  for (
    const [name, folder, chunks, expected] of [
      [
        "OpenAI: two responses",
        openAiFold,
        [...openAiStop("1"), openAiChunk("1", "", null, 10), ...openAiStop("2"), openAiChunk("2", "", null, 20)],
        ["2", "model-2", ["stop"], 200, 30]
      ],
      [
        "OpenAI: two responses, of which the second is cut",
        openAiFold,
        [...openAiStop("1"), openAiChunk("1", "", null, 10), openAiChunk("2", "x", null)],
        ["2", "model-2", undefined, 100, 10]
      ],
      [
        "OpenAI: one response with an id for each chunk",
        openAiFold,
        [openAiChunk("1", "x", null, 1), openAiChunk("2", "y", null, 2), openAiChunk("3", "", "stop", 3)],
        ["1", "model-1", ["stop"], 100, 3]
      ],
      [
        "OpenAI: one response with an id for each chunk, and usage after the end",
        openAiFold,
        [openAiChunk("1", "x", null), openAiChunk("2", "", "stop", 3), openAiChunk("3", "", null, 3)],
        ["1", "model-1", ["stop"], 100, 3]
      ],
      [
        "OpenAI: two choices with an id for each chunk",
        openAiFold,
        [
          openAiChunk("1", "x", null, 1),
          { ...openAiChunk("2", "x", null), choices: [{ index: 1, delta: { content: "y" } }] },
          openAiChunk("3", "", "stop", 2),
          { ...openAiChunk("4", "x", null, 3), choices: [{ index: 1, delta: {}, finish_reason: "length" }] }
        ],
        ["1", "model-1", ["stop", "length"], 100, 3]
      ],
      [
        "Google: three responses",
        googleFold,
        [
          googleChunk("1", "x", undefined, 5),
          googleChunk("1", "x", "STOP", 10),
          { candidates: [{ content: { role: "user", parts: [{ functionResponse: { name: "f" } }] } }] },
          googleChunk("2", "y", "STOP", 20),
          googleChunk("3", "z", "STOP", 30)
        ],
        ["3", "model-3", ["STOP"], 300, 60]
      ]
    ] as ReadonlyArray<readonly [string, ProviderFold, ReadonlyArray<object>, ReadonlyArray<unknown>]>
  ) {
    it(`${name} in one stream, and the tokens of all`, () => {
      for (const content of [false, true]) {
        const { finishReasons, id, model, usage } = fold(folder, chunks, content)
        assert.deepStrictEqual([id, model, finishReasons, usage?.inputTokens, usage?.outputTokens], expected)
      }
    })
  }

  it("Google: what the client has answered for the user is no output", () => {
    const content = { role: "user", parts: [{ functionResponse: { name: "f", response: { ok: true } } }] }
    const response = fold(googleFold, [{ candidates: [{ content }] }, googleChunk("1", "Hi", "STOP", 1)], true)
    assert.deepStrictEqual(partsOf(response), [text("Hi")])
  })

  const partsOf = (response: LlmResponse | undefined): ReadonlyArray<unknown> =>
    (evaluate(response?.output) as ReadonlyArray<{ readonly parts: ReadonlyArray<unknown> }>).flatMap(({ parts }) =>
      parts
    )

  for (
    const [name, item, reason, part] of [
      ["text", { type: "message", content: [{ type: "output_text", text: "Hi" }] }, "stop", {
        type: "text",
        content: "Hi"
      }],
      [
        "the call of a tool",
        { type: "function_call", call_id: "a", name: "search", arguments: `{"x":1}` },
        "tool_call",
        {
          type: "tool_call",
          id: "a",
          name: "search",
          arguments: { x: 1 }
        }
      ]
    ] as const
  ) {
    for (
      const [left, last] of [
        ["empty", { status: "completed", output: [] }],
        ["out", { status: "completed" }],
        ["out, also by its object", { object: "response", status: "completed" }]
      ] as const
    ) {
      it(`OpenAI responses: ${name} that a server has streamed and leaves ${left} in its last event`, () => {
        const events = [
          { type: "response.output_item.done", output_index: 0, item },
          { type: "response.completed", response: { id: "resp_1", model: "m", ...last } }
        ]
        const response = fold(openAiFold, events, true)
        assert.deepStrictEqual(evaluate(response.output), [{ role: "assistant", parts: [part], finish_reason: reason }])
        assert.deepStrictEqual(response.finishReasons, [reason])
        assert.deepStrictEqual(fold(openAiFold, events, false), {
          id: "resp_1",
          model: "m",
          finishReasons: [reason]
        })
      })
    }
  }

  it("OpenAI chat: audio is recorded after what it says, at once and streamed", () => {
    const delta = (audio: object) => ({ choices: [{ index: 0, delta: { audio } }] })
    const chunks = [
      delta({ id: "audio_1" }),
      // Each has a base64 of its own, with its own padding.
      delta({ data: Buffer.from([1]).toString("base64") }),
      delta({ transcript: "Hi " }),
      delta({ data: Buffer.from([2, 3]).toString("base64") }),
      delta({ transcript: "there" }),
      { choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }
    ]
    const audio = { id: "audio_1", data: Buffer.from([1, 2, 3]).toString("base64"), transcript: "Hi there" }
    const whole = { choices: [{ index: 0, message: { content: null, audio }, finish_reason: "stop" }] }
    for (const response of [openAiResponse(whole), fold(openAiFold, chunks, true)]) {
      assert.deepStrictEqual(partsOf(response), [
        text("Hi there"),
        { type: "blob", modality: "audio", content: audio.data }
      ])
    }
  })

  for (
    const [name, what] of [
      ["one action", { action: { type: "screenshot" } }],
      ["a list of actions", { actions: [{ type: "click", x: 1, y: 2, button: "left" }, { type: "screenshot" }] }]
    ] as const
  ) {
    it(`OpenAI responses: ${name} on a computer is what its call asks for`, () => {
      const item = { type: "computer_call", id: "cu_1", call_id: "call_1", status: "completed", ...what }
      assert.deepStrictEqual(partsOf(openAiResponse({ status: "completed", output: [item] })), [
        { type: "tool_call", id: "call_1", name: "computer", arguments: Object.values(what)[0] }
      ])
    })
  }

  for (const [name, numbered] of [["all have the same index", { index: 0 }], ["none has an index", {}]] as const) {
    it(`OpenAI chat: calls of tools that ${name} are told apart by their ids`, () => {
      const chunk = (id: string | undefined, args: string) => ({
        choices: [{
          index: 0,
          delta: { tool_calls: [{ ...numbered, id, function: { name: id && `tool_${id}`, arguments: args } }] }
        }]
      })
      const chunks = [chunk("a", `{"x"`), chunk(undefined, ":1}"), chunk("b", `{"y":2}`)]
      assert.deepStrictEqual(partsOf(fold(openAiFold, chunks, true)), [
        { type: "tool_call", id: "a", name: "tool_a", arguments: { x: 1 } },
        { type: "tool_call", id: "b", name: "tool_b", arguments: { y: 2 } }
      ])
    })
  }

  it("Ollama: an image that a model has made is its answer, at once and streamed", () => {
    const made = { model: "m", image: "iVBORw0KGgo=", done: true, done_reason: "stop" }
    const image = { type: "blob", modality: "image", content: "iVBORw0KGgo=" }
    const responses = [
      ollamaResponse(made),
      ollamaResponse({ ...made, response: "" }),
      fold(ollamaFold, [{ model: "m", completed: 1, total: 4, done: false }, made], true),
      fold(ollamaFold, [{ message: { images: [made.image] }, done: true, done_reason: "stop" }], true)
    ]
    for (const response of responses) {
      assert.deepStrictEqual(evaluate(response.output), [{ role: "assistant", parts: [image], finish_reason: "stop" }])
    }
  })

  const anthropicBlock = (block: object, ...json: ReadonlyArray<string>) =>
    [
      { content: [{ ...block, input: JSON.parse(json.join("") || "{}") }] },
      [
        { type: "content_block_start", index: 0, content_block: { ...block, input: {} } },
        ...json.map((partial_json) => ({
          type: "content_block_delta",
          index: 0,
          delta: { type: "input_json_delta", partial_json }
        })),
        { type: "content_block_stop", index: 0 }
      ]
    ] as const
  const bedrockTool = { toolUseId: "t1", name: "search", type: "server_tool_use" }
  const bytes = Buffer.from([1, 2, 3])
  const bedrockBlock = (
    start: { readonly [type: string]: object },
    rest: { readonly [type: string]: object },
    ...deltas: ReadonlyArray<object>
  ) =>
    [
      {
        output: {
          message: {
            content: [Object.fromEntries(Object.entries(start).map(([type, it]) => [type, { ...it, ...rest[type] }]))]
          }
        }
      },
      [
        { contentBlockStart: { contentBlockIndex: 1, start } },
        ...deltas.map((delta) => ({ contentBlockDelta: { contentBlockIndex: 1, delta } }))
      ]
    ] as const
  const custom = (input: string) => ({ tool_calls: [{ index: 0, id: "t1", custom: { name: "run", input } }] })
  const search = {
    type: "server_tool_call",
    id: "t1",
    name: "search",
    server_tool_call: { type: "search", input: { query: "tea" } }
  }
  for (
    const [name, provider, responses, part] of [
      [
        "Anthropic: a call without arguments",
        mappers.anthropic!,
        anthropicBlock({ type: "tool_use", id: "t1", name: "now" }),
        { type: "tool_call", id: "t1", name: "now", arguments: {} }
      ],
      [
        "Anthropic: a tool of the server's",
        mappers.anthropic!,
        anthropicBlock({ type: "server_tool_use", id: "t1", name: "search" }, `{"query":`, `"tea"}`),
        search
      ],
      [
        "Bedrock: a tool of the server's",
        mappers.bedrock!,
        [{ output: { message: { content: [{ toolUse: { ...bedrockTool, input: { query: "tea" } } }] } } }, [
          { contentBlockStart: { contentBlockIndex: 0, start: { toolUse: bedrockTool } } },
          { contentBlockDelta: { contentBlockIndex: 0, delta: { toolUse: { input: `{"query":"tea"}` } } } }
        ]],
        search
      ],
      [
        "Bedrock: a result of the server's",
        mappers.bedrock!,
        bedrockBlock(
          { toolResult: { toolUseId: "t1", type: "search_result", status: "success" } },
          { toolResult: { content: [{ text: "green tea" }, { json: { a: 1 } }] } },
          { toolResult: [{ text: "green " }] },
          { toolResult: [{ text: "tea" }, { json: { a: 1 } }] }
        ),
        {
          type: "server_tool_call_response",
          id: "t1",
          server_tool_call_response: { type: "search_result", content: [{ text: "green tea" }, { json: { a: 1 } }] }
        }
      ],
      [
        "Bedrock: an image",
        mappers.bedrock!,
        bedrockBlock(
          { image: { format: "png" } },
          { image: { source: { bytes } } },
          { image: { source: { bytes: bytes.subarray(0, 2) } } },
          { image: { source: { bytes: bytes.subarray(2) } } }
        ),
        { type: "blob", modality: "image", mime_type: "image/png", content: bytes }
      ],
      [
        "OpenAI chat: a custom tool, whose input is a text",
        mappers.openai!,
        [{ choices: [{ message: custom("42") }] }, ["4", "2"].map((text) => ({ choices: [{ delta: custom(text) }] }))],
        { type: "tool_call", id: "t1", name: "run", arguments: "42" }
      ]
    ] as ReadonlyArray<readonly [string, Mapper, readonly [object, ReadonlyArray<object>], object]>
  ) {
    it(`${name} is the same part at once and streamed`, () => {
      const [whole, , streamed] = both(provider, responses)
      assert.deepStrictEqual(partsOf(whole), [part])
      assert.deepStrictEqual(partsOf(streamed), [part])
    })
  }

  const called = (...parts: ReadonlyArray<object>) => ({
    candidates: [{ content: { role: "model", parts: parts.map((functionCall) => ({ functionCall })) } }]
  })
  const partial = (...partialArgs: ReadonlyArray<object>) => called({ partialArgs, willContinue: true })
  for (
    const [name, chunks, expected] of [
      ["a text", [
        partial({ jsonPath: "$.city", stringValue: "New ", willContinue: true }),
        partial({ jsonPath: "$.city", stringValue: "Delhi" })
      ], { city: "New Delhi" }],
      ["values of other kinds", [
        partial({ jsonPath: "$.a", numberValue: 0 }, { jsonPath: "$.b", boolValue: false }),
        partial({ jsonPath: "$.c", nullValue: "NULL_VALUE" })
      ], { a: 0, b: false, c: null }],
      ["nested values", [
        partial({ jsonPath: "$.a.b[0].c", stringValue: "x" }, { jsonPath: "$.a.b[1].c", stringValue: "y" }),
        partial({ jsonPath: "$['d.e'][\"f\"]", stringValue: "z" })
      ], { a: { b: [{ c: "x" }, { c: "y" }] }, "d.e": { f: "z" } }],
      ["nothing", [], {}],
      ["an index out of reach", [partial({ jsonPath: "$.a[4294967294]", numberValue: 1 })], { a: [1] }],
      [
        "the name of a prototype",
        [partial({ jsonPath: "$.__proto__.a", numberValue: 1 })],
        JSON.parse(
          `{"__proto__":{"a":1}}`
        )
      ]
    ] as ReadonlyArray<readonly [string, ReadonlyArray<object>, object]>
  ) {
    it(`Google: a call whose arguments are streamed is one call, with ${name}`, () => {
      const begin = called({ id: "f1", name: "weather", willContinue: true })
      const streamed = [begin, ...chunks, called({}), called({ id: "f2", name: "now", args: {} })]
      const call = { type: "tool_call", id: "f1", name: "weather", arguments: expected }
      const next = { type: "tool_call", id: "f2", name: "now", arguments: {} }
      assert.deepStrictEqual(partsOf(fold(googleFold, streamed, true)), [call, next])
      const again = [begin, ...chunks, ...streamed]
      assert.deepStrictEqual(partsOf(fold(googleFold, again, true)), [call, call, next])
    })
  }

  it("Google: a call whose arguments come in parts and in one chunk has them", () => {
    const chunk = called({ name: "weather", partialArgs: [{ jsonPath: "$.city", stringValue: "Delhi" }] })
    assert.deepStrictEqual(partsOf(fold(googleFold, [chunk], true)), [
      { type: "tool_call", name: "weather", arguments: { city: "Delhi" } }
    ])
  })

  it("Google: tools of the server's, at once and streamed", () => {
    const toolCall = { id: "t1", toolType: "GOOGLE_SEARCH_WEB", args: { queries: ["tea"] } }
    const toolResponse = { id: "t1", toolType: "GOOGLE_SEARCH_WEB", response: { found: 1 } }
    const value = { candidates: [{ content: { role: "model", parts: [{ toolCall }, { toolResponse }] } }] }
    const [whole, , streamed] = both(mappers.google!, [value, [value]])
    for (const response of [whole, streamed]) {
      assert.deepStrictEqual(partsOf(response), [
        {
          type: "server_tool_call",
          id: "t1",
          name: "GOOGLE_SEARCH_WEB",
          server_tool_call: { ...toolCall, type: "GOOGLE_SEARCH_WEB" }
        },
        {
          type: "server_tool_call_response",
          id: "t1",
          server_tool_call_response: { ...toolResponse, type: "GOOGLE_SEARCH_WEB" }
        }
      ])
    }
  })

  it("OpenAI chat: Mistral's content in parts, of which some are thoughts, is the same at once and streamed", () => {
    const thinking = (text: string) => ({ type: "thinking", thinking: [{ type: "text", text }] })
    const whole = [{ type: "thinking", thinking: [...thinking("Let me ").thinking, ...thinking("think").thinking] }]
    const image = { type: "image_url", image_url: "https://a.example/b.png" }
    const chunks = [[thinking("Let me ")], [thinking("think")], "It ", [{ type: "text", text: "is 4" }, image], ""]
    const message = { content: [...whole, { type: "text", text: "It is 4" }, image] }
    const [response, , streamed] = both(mappers.openai!, [
      { choices: [{ message }] },
      chunks.map((content) => ({ choices: [{ delta: { content } }] }))
    ])
    const parts = [
      { type: "reasoning", content: "Let me think" },
      text("It is 4"),
      { type: "uri", modality: "image", uri: "https://a.example/b.png" }
    ]
    assert.deepStrictEqual(partsOf(response), parts)
    assert.deepStrictEqual(partsOf(streamed), parts)
  })

  it("two runs of a fold know nothing of each other", () => {
    const chunk = { id: "a", choices: [{ index: 0, delta: { content: "x" }, finish_reason: "stop" }] }
    const states = [openAiFold.initial({ content: true }), openAiFold.initial({ content: true })] as const
    openAiFold.step(states[0], chunk)
    assert.deepStrictEqual(openAiFold.response(states[1]), {})
  })
})

/** The options of a call with their content, without what was not given. */
const plain = (value: unknown): unknown => {
  const evaluated = evaluate(value)
  if (Array.isArray(evaluated)) return evaluated.map(plain)
  if (typeof evaluated !== "object" || evaluated === null || evaluated instanceof Uint8Array) return evaluated
  return Object.fromEntries(
    Object.entries(evaluated).flatMap(([key, item]) => item === undefined ? [] : [[key, plain(item)]])
  )
}

const text = (content: string) => ({ type: "text", content })

describe("requests", () => {
  it("OpenAI chat completions", () => {
    const params: OpenAI.ChatCompletionCreateParams = {
      model: "gpt-4o",
      messages: [
        { role: "developer", content: "Be brief." },
        {
          role: "user",
          name: "ann",
          content: [
            { type: "text", text: "What is this?" },
            { type: "image_url", image_url: { url: "https://example.com/a.png" } },
            { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=" } },
            { type: "input_audio", input_audio: { data: "UklGRg==", format: "wav" } },
            { type: "file", file: { file_id: "file-1" } },
            { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,JVBERi0=" } }
          ]
        },
        {
          role: "assistant",
          content: null,
          tool_calls: [
            { id: "call_1", type: "function", function: { name: "lookup", arguments: `{"id":1}` } },
            { id: "call_2", type: "custom", custom: { name: "run", input: "ls" } },
            { id: "call_3", type: "function", function: { name: "broken", arguments: `{"id":` } }
          ]
        },
        { role: "tool", tool_call_id: "call_1", content: "a cat" },
        { role: "tool", tool_call_id: "call_2", content: [{ type: "text", text: "a" }, { type: "text", text: "b" }] },
        { role: "assistant", content: [{ type: "refusal", refusal: "No." }] }
      ],
      temperature: 0.2,
      max_completion_tokens: 100,
      top_p: 0.9,
      stop: "END",
      seed: 7,
      frequency_penalty: 0.1,
      presence_penalty: null,
      n: 2,
      reasoning_effort: "low",
      response_format: { type: "json_object" },
      service_tier: "flex",
      stream: true,
      tools: [
        { type: "function", function: { name: "lookup", description: "Looks up", parameters: { type: "object" } } },
        { type: "custom", custom: { name: "run" } }
      ]
    }
    assert.deepStrictEqual(plain(openAiCall(params)), {
      provider: "openai",
      operation: "chat",
      request: {
        model: "gpt-4o",
        temperature: 0.2,
        maxTokens: 100,
        topP: 0.9,
        stopSequences: ["END"],
        seed: 7,
        frequencyPenalty: 0.1,
        choiceCount: 2,
        outputType: "json",
        reasoningLevel: "low",
        stream: true
      },
      hasTools: true,
      input: [
        { role: "developer", parts: [text("Be brief.")] },
        {
          role: "user",
          name: "ann",
          parts: [
            text("What is this?"),
            { type: "uri", modality: "image", uri: "https://example.com/a.png" },
            { type: "blob", modality: "image", mime_type: "image/png", content: "iVBORw0KGgo=" },
            { type: "blob", modality: "audio", mime_type: "audio/wav", content: "UklGRg==" },
            { type: "file", modality: "document", file_id: "file-1" },
            { type: "blob", modality: "document", mime_type: "application/pdf", content: "JVBERi0=" }
          ]
        },
        {
          role: "assistant",
          parts: [
            { type: "tool_call", id: "call_1", name: "lookup", arguments: { id: 1 } },
            { type: "tool_call", id: "call_2", name: "run", arguments: "ls" },
            { type: "tool_call", id: "call_3", name: "broken", arguments: `{"id":` }
          ]
        },
        { role: "tool", parts: [{ type: "tool_call_response", id: "call_1", response: "a cat" }] },
        { role: "tool", parts: [{ type: "tool_call_response", id: "call_2", response: "a\nb" }] },
        { role: "assistant", parts: [text("No.")] }
      ],
      toolDefinitions: [{ type: "function", name: "lookup" }, { type: "custom", name: "run" }],
      openai: { apiType: "chat_completions", serviceTier: "flex" }
    })
  })

  it("OpenAI responses", () => {
    const params: OpenAI.Responses.ResponseCreateParams = {
      model: "gpt-5",
      instructions: "Be brief.",
      input: [
        { role: "user", content: "Hello" },
        { type: "message", role: "user", content: [{ type: "input_image", detail: "auto", file_id: "file-1" }] },
        { type: "reasoning", id: "rs_1", summary: [{ type: "summary_text", text: "Hm." }] },
        { type: "function_call", call_id: "call_1", name: "lookup", arguments: `{"id":1}` },
        { type: "function_call_output", call_id: "call_1", output: "a cat" },
        { type: "item_reference", id: "msg_1" }
      ],
      max_output_tokens: 50,
      reasoning: { effort: "high" },
      text: { format: { type: "json_schema", name: "answer", schema: {} } },
      conversation: { id: "conv_1" },
      previous_response_id: "resp_0",
      service_tier: "auto",
      tools: [{ type: "function", name: "lookup", parameters: null, strict: null }, { type: "web_search" }]
    }
    assert.deepStrictEqual(plain(openAiCall(params)), {
      provider: "openai",
      operation: "chat",
      request: {
        model: "gpt-5",
        maxTokens: 50,
        outputType: "json",
        reasoningLevel: "high",
        previousResponseId: "resp_0",
        stream: false
      },
      conversationId: "conv_1",
      hasTools: true,
      systemInstructions: "Be brief.",
      input: [
        { role: "user", parts: [text("Hello")] },
        { role: "user", parts: [{ type: "file", modality: "image", file_id: "file-1" }] },
        { role: "assistant", parts: [{ type: "reasoning", content: "Hm." }] },
        { role: "assistant", parts: [{ type: "tool_call", id: "call_1", name: "lookup", arguments: { id: 1 } }] },
        { role: "tool", parts: [{ type: "tool_call_response", id: "call_1", response: "a cat" }] },
        { role: "assistant", parts: [{ type: "item_reference", id: "msg_1" }] }
      ],
      toolDefinitions: [{ type: "function", name: "lookup" }, { type: "web_search", name: "web_search" }],
      openai: { apiType: "responses", serviceTier: "auto" }
    })
  })

  const embeddings: OpenAI.EmbeddingCreateParams = {
    model: "text-embedding-3-small",
    input: "Hello",
    dimensions: 512,
    encoding_format: "base64"
  }
  const completion: OpenAI.CompletionCreateParams = { model: "gpt-3.5-turbo-instruct", prompt: ["Once", "Twice"] }
  const stored: OpenAI.Responses.ResponseCreateParams = { prompt: { id: "pmpt_1" }, model: "gpt-5" }
  for (
    const [name, params, options, operation] of [
      ["embeddings by their parameters", { ...embeddings, model: "mine" }, undefined, "embeddings"],
      ["embeddings by their model", { input: "a", model: "nomic-embed-text" }, undefined, "embeddings"],
      [
        "embeddings because they are called so",
        { input: "a", model: "bge-m3" },
        { operation: "embeddings" },
        "embeddings"
      ],
      ["a response to a text", { input: "a", model: "gpt-5" }, undefined, "chat"],
      ["a response to a stored prompt", stored, undefined, "chat"],
      ["a completion", completion, undefined, "text_completion"]
    ] as const
  ) {
    it(`OpenAI: ${name}`, () => {
      assert.strictEqual(openAiCall(params, options).operation, operation)
    })
  }

  it("OpenAI embeddings have no content", () => {
    assert.deepStrictEqual(plain(openAiCall(embeddings)), {
      provider: "openai",
      operation: "embeddings",
      request: { model: "text-embedding-3-small", encodingFormats: ["base64"], dimensions: 512 }
    })
  })

  it("Anthropic messages", () => {
    const params: Anthropic.MessageCreateParams = {
      model: "claude-sonnet-4-5",
      max_tokens: 100,
      system: [{ type: "text", text: "Be brief." }, { type: "text", text: "Be kind." }],
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "What is this?" },
            { type: "image", source: { type: "base64", media_type: "image/png", data: "iVBORw0KGgo=" } },
            { type: "image", source: { type: "url", url: "https://example.com/a.png" } },
            { type: "document", source: { type: "file", file_id: "file_1" } },
            { type: "document", source: { type: "text", media_type: "text/plain", data: "Plain." } },
            { type: "search_result", source: "s", title: "t", content: [] }
          ]
        },
        {
          role: "assistant",
          content: [
            { type: "thinking", thinking: "Hm.", signature: "Eq" },
            { type: "tool_use", id: "toolu_1", name: "lookup", input: { id: 1 } }
          ]
        },
        {
          role: "user",
          content: [{ type: "tool_result", tool_use_id: "toolu_1", content: [{ type: "text", text: "a cat" }] }]
        },
        { role: "assistant", content: "A cat." }
      ],
      stop_sequences: ["END"],
      output_config: { effort: "medium" },
      tools: [
        { name: "lookup", description: "Looks up", input_schema: { type: "object" } },
        { type: "bash_20250124", name: "bash" }
      ]
    }
    assert.deepStrictEqual(plain(anthropicCall(params)), {
      provider: "anthropic",
      operation: "chat",
      request: {
        model: "claude-sonnet-4-5",
        maxTokens: 100,
        stopSequences: ["END"],
        reasoningLevel: "medium",
        stream: false
      },
      hasTools: true,
      systemInstructions: [text("Be brief."), text("Be kind.")],
      input: [
        {
          role: "user",
          parts: [
            text("What is this?"),
            { type: "blob", modality: "image", mime_type: "image/png", content: "iVBORw0KGgo=" },
            { type: "uri", modality: "image", uri: "https://example.com/a.png" },
            { type: "file", modality: "document", file_id: "file_1" },
            text("Plain."),
            { type: "search_result", source: "s", title: "t", content: [] }
          ]
        },
        {
          role: "assistant",
          parts: [
            { type: "reasoning", content: "Hm." },
            { type: "tool_call", id: "toolu_1", name: "lookup", arguments: { id: 1 } }
          ]
        },
        { role: "tool", parts: [{ type: "tool_call_response", id: "toolu_1", response: "a cat" }] },
        { role: "assistant", parts: [text("A cat.")] }
      ],
      toolDefinitions: [{ type: "function", name: "lookup" }, { type: "bash_20250124", name: "bash" }]
    })
  })

  const format = { type: "json_schema", schema: {} }
  for (
    const [name, params, outputType] of [
      ["by its name", { output_config: { format } }, "json"],
      ["by its former name", { output_format: format }, "json"],
      ["that is not given", { output_config: {}, output_format: null }, undefined]
    ] as const
  ) {
    it(`Anthropic messages: a format of the output ${name}`, () => {
      assert.strictEqual(
        anthropicCall({ model: "m", max_tokens: 1, messages: [], ...params }).request.outputType,
        outputType
      )
    })
  }

  it("Anthropic messages: the response that a thread goes on from is the previous one", () => {
    const params = { model: "m", max_tokens: 1, messages: [] }
    const thread = { type: "continue", previous_message_id: "msg_1" }
    assert.deepStrictEqual(
      [{ thread }, { thread: { type: "create" } }, { diagnostics: { previous_message_id: "msg_1" } }].map((more) =>
        anthropicCall({ ...params, ...more }).request.previousResponseId
      ),
      ["msg_1", undefined, undefined]
    )
  })

  it("Ollama chat", () => {
    const params: ChatRequest = {
      model: "llama3.2",
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "What is this?", images: ["iVBORw0KGgo="] },
        { role: "assistant", content: "", tool_calls: [{ function: { name: "lookup", arguments: { id: 1 } } }] },
        { role: "tool", content: "a cat", tool_name: "lookup" }
      ],
      think: "low",
      format: "json",
      options: { temperature: 0, num_predict: 50, top_k: 40, top_p: 0.9, stop: ["END"], seed: 1 },
      tools: [{ type: "function", function: { name: "lookup" } }]
    }
    assert.deepStrictEqual(plain(ollamaCall(params)), {
      provider: "ollama",
      operation: "chat",
      request: {
        model: "llama3.2",
        temperature: 0,
        maxTokens: 50,
        topP: 0.9,
        topK: 40,
        stopSequences: ["END"],
        seed: 1,
        outputType: "json",
        reasoningLevel: "low",
        stream: false
      },
      hasTools: true,
      input: [
        { role: "system", parts: [text("Be brief.")] },
        { role: "user", parts: [text("What is this?"), { type: "blob", modality: "image", content: "iVBORw0KGgo=" }] },
        { role: "assistant", parts: [{ type: "tool_call", name: "lookup", arguments: { id: 1 } }] },
        { role: "tool", parts: [{ type: "tool_call_response", response: "a cat" }] }
      ],
      toolDefinitions: [{ type: "function", name: "lookup" }]
    })
  })

  it("Ollama generate and embed", () => {
    const params: GenerateRequest = { model: "llama3.2", prompt: "Once", system: "Be brief.", images: [] }
    assert.deepStrictEqual(plain(ollamaCall(params)), {
      provider: "ollama",
      operation: "text_completion",
      request: { model: "llama3.2", stream: false },
      hasTools: false,
      systemInstructions: "Be brief.",
      input: [{ role: "user", parts: [text("Once")] }]
    })
    assert.strictEqual(ollamaCall({ model: "all-minilm", input: ["a"] }).operation, "embeddings")
  })

  it("Google generateContent, as the SDK has it and as the API has it", () => {
    const config = {
      temperature: 0,
      maxOutputTokens: 50,
      topP: 0.9,
      topK: 40,
      stopSequences: ["END"],
      candidateCount: 2,
      seed: 1,
      responseMimeType: "application/json",
      thinkingConfig: { thinkingLevel: "LOW" }
    }
    const contents = [
      { role: "user", parts: [{ text: "What?" }, { fileData: { mimeType: "video/mp4", fileUri: "gs://b/a.mp4" } }] },
      { role: "model", parts: [{ functionCall: { name: "lookup", args: { id: 1 } } }] },
      { role: "user", parts: [{ functionResponse: { name: "lookup", response: { found: "cat" } } }] },
      { role: "user", parts: [{ videoMetadata: { fps: 1 } }] }
    ]
    const systemInstruction = { parts: [{ text: "Be brief." }] }
    // The last is called by the client, which asks it for its functions.
    const callable = { tool: () => Promise.resolve({}), callTool: () => Promise.resolve([]) }
    const tools = [{ functionDeclarations: [{ name: "lookup" }] }, { googleSearch: {} }, callable]
    const expected = {
      provider: "gcp.gen_ai",
      operation: "generate_content",
      request: {
        model: "gemini-2.5-flash",
        temperature: 0,
        maxTokens: 50,
        topP: 0.9,
        topK: 40,
        stopSequences: ["END"],
        seed: 1,
        choiceCount: 2,
        outputType: "json",
        reasoningLevel: "LOW"
      },
      hasTools: true,
      systemInstructions: [text("Be brief.")],
      input: [
        {
          role: "user",
          parts: [text("What?"), { type: "uri", modality: "video", mime_type: "video/mp4", uri: "gs://b/a.mp4" }]
        },
        { role: "assistant", parts: [{ type: "tool_call", name: "lookup", arguments: { id: 1 } }] },
        { role: "tool", parts: [{ type: "tool_call_response", response: { found: "cat" } }] },
        { role: "user", parts: [{ type: "videoMetadata", videoMetadata: { fps: 1 } }] }
      ],
      toolDefinitions: [{ type: "function", name: "lookup" }, { type: "googleSearch", name: "googleSearch" }]
    }
    const sdk = { model: "gemini-2.5-flash", contents, config: { ...config, systemInstruction, tools } }
    const api = { model: "gemini-2.5-flash", contents, generationConfig: config, systemInstruction, tools }
    assert.deepStrictEqual(plain(googleCall(sdk)), expected)
    assert.deepStrictEqual(plain(googleCall(api)), expected)
  })

  for (
    const [name, contents, parts] of [
      ["a text", "Hi", [text("Hi")]],
      ["texts", ["Hi", "there"], [text("Hi"), text("there")]],
      ["a part", { text: "Hi" }, [text("Hi")]],
      ["a message", { role: "user", parts: [{ text: "Hi" }] }, [text("Hi")]]
    ] as const
  ) {
    it(`Google: contents are ${name}`, () => {
      assert.deepStrictEqual(plain(googleCall({ model: "m", contents }).input), [{ role: "user", parts }])
    })
  }

  it("Google: media in the response of a function is recorded beside what the function says", () => {
    const data = "iVBORw0KGgo="
    const answer = (functionResponse: object) =>
      plain(googleCall({ model: "m", contents: { role: "user", parts: [{ functionResponse }] } }).input)
    const image = { type: "blob", modality: "image", mime_type: "image/png", content: data }
    const uri = { type: "uri", modality: "document", mime_type: "application/pdf", uri: "gs://b/a.pdf" }
    const parts = [
      { inlineData: { mimeType: "image/png", data, displayName: "a.png" } },
      { fileData: { mimeType: "application/pdf", fileUri: "gs://b/a.pdf" } }
    ]
    assert.deepStrictEqual(
      [answer({ id: "1", name: "f", response: { image: { $ref: "a.png" } }, parts }), answer({ name: "f", parts })],
      [
        [{
          role: "tool",
          parts: [{
            type: "tool_call_response",
            id: "1",
            response: [{ type: "json", json: { image: { $ref: "a.png" } } }, image, uri]
          }]
        }],
        [{ role: "tool", parts: [{ type: "tool_call_response", response: [image, uri] }] }]
      ]
    )
  })

  for (
    const [vertexai, provider] of [[true, "gcp.vertex_ai"], [false, "gcp.gemini"], [undefined, "gcp.gen_ai"]] as const
  ) {
    it(`Google: a client whose vertexai is ${vertexai} is ${provider}`, () => {
      assert.strictEqual(googleCall({ model: "m" }, { client: { vertexai } }).provider, provider)
    })
  }

  it("Bedrock Converse, by input or by command", () => {
    const bytes = new Uint8Array([1, 2, 3])
    const input = {
      modelId: "anthropic.claude-sonnet-4-5-20250929-v1:0",
      system: [{ text: "Be brief." }, { cachePoint: { type: "default" } }],
      messages: [
        {
          role: "user",
          content: [
            { text: "What?" },
            { image: { format: "png", source: { bytes } } },
            { document: { format: "pdf", name: "a", source: { s3Location: { uri: "s3://b/a.pdf" } } } },
            { guardContent: { text: { text: "guarded" } } },
            { cachePoint: { type: "default" } }
          ]
        },
        { role: "assistant", content: [{ toolUse: { toolUseId: "t1", name: "lookup", input: { id: 1 } } }] },
        { role: "user", content: [{ toolResult: { toolUseId: "t1", content: [{ json: { found: "cat" } }] } }] },
        { role: "user", content: [{ toolResult: { toolUseId: "t2", content: [{ text: "cat" }] } }] }
      ],
      inferenceConfig: { maxTokens: 50, temperature: 0, topP: 0.9, stopSequences: ["END"] },
      additionalModelRequestFields: { top_k: 40 },
      outputConfig: { textFormat: { type: "json_schema", structure: {} }, effort: "high" },
      guardrailConfig: { guardrailIdentifier: "gr-1", guardrailVersion: "1" },
      toolConfig: { tools: [{ toolSpec: { name: "lookup", inputSchema: { json: {} } } }, { cachePoint: {} }] }
    }
    const expected = {
      provider: "aws.bedrock",
      operation: "chat",
      request: {
        model: "anthropic.claude-sonnet-4-5-20250929-v1:0",
        temperature: 0,
        maxTokens: 50,
        topP: 0.9,
        topK: 40,
        stopSequences: ["END"],
        outputType: "json",
        reasoningLevel: "high"
      },
      hasTools: true,
      systemInstructions: [text("Be brief.")],
      input: [
        {
          role: "user",
          parts: [
            text("What?"),
            { type: "blob", modality: "image", mime_type: "image/png", content: bytes },
            { type: "uri", modality: "document", mime_type: "application/pdf", uri: "s3://b/a.pdf" },
            text("guarded")
          ]
        },
        { role: "assistant", parts: [{ type: "tool_call", id: "t1", name: "lookup", arguments: { id: 1 } }] },
        { role: "tool", parts: [{ type: "tool_call_response", id: "t1", response: { found: "cat" } }] },
        { role: "tool", parts: [{ type: "tool_call_response", id: "t2", response: "cat" }] }
      ],
      toolDefinitions: [{ type: "function", name: "lookup" }],
      awsBedrock: { guardrailId: "gr-1" }
    }
    assert.deepStrictEqual(plain(bedrockCall(input)), expected)
    assert.deepStrictEqual(plain(bedrockCall({ input })), expected)
  })

  it("effect/ai", () => {
    const params = {
      prompt: [
        { role: "system", content: "Be brief." },
        {
          role: "user",
          content: [
            { type: "text", text: "What?" },
            { type: "file", mediaType: "image/png", data: new URL("https://example.com/a.png") }
          ]
        },
        { role: "assistant", content: [{ type: "tool-call", id: "c1", name: "lookup", params: { id: 1 } }] },
        { role: "tool", content: [{ type: "tool-result", id: "c1", name: "lookup", isFailure: false, result: "cat" }] }
      ],
      toolkit: Toolkit.make(Tool.make("lookup"))
    }
    assert.deepStrictEqual(plain(effectAiCall(params, { provider: "openai", request: { model: "gpt-4o" } })), {
      provider: "openai",
      operation: "chat",
      request: { model: "gpt-4o" },
      hasTools: true,
      input: [
        { role: "system", parts: [text("Be brief.")] },
        {
          role: "user",
          parts: [
            text("What?"),
            { type: "uri", modality: "image", mime_type: "image/png", uri: "https://example.com/a.png" }
          ]
        },
        { role: "assistant", parts: [{ type: "tool_call", id: "c1", name: "lookup", arguments: { id: 1 } }] },
        { role: "tool", parts: [{ type: "tool_call_response", id: "c1", response: "cat" }] }
      ],
      toolDefinitions: [{ type: "function", name: "lookup" }]
    })
  })

  it("what the program says takes the place of what the request says", () => {
    const call = openAiCall(
      { model: "gpt-4o", messages: [] },
      {
        provider: "acme",
        conversationId: "c1",
        toolRound: 2,
        request: { model: "other", temperature: undefined, topK: 3 },
        server: { address: "proxy" },
        baseURL: "https://api.openai.com/v1",
        name: "ask",
        attributes: { "app.tenant": "acme" }
      }
    )
    assert.deepStrictEqual(plain(call), {
      provider: "acme",
      operation: "chat",
      request: { model: "other", topK: 3, stream: false },
      server: { address: "proxy" },
      conversationId: "c1",
      hasTools: false,
      toolRound: 2,
      input: [],
      name: "ask",
      attributes: { "app.tenant": "acme" }
    })
  })
})

describe("servers", () => {
  for (
    const [baseURL, address, port, provider] of [
      ["https://api.openai.com/v1", "api.openai.com", 443, "openai"],
      ["https://eu.api.openai.com/v1", "eu.api.openai.com", 443, "openai"],
      ["https://mine.openai.azure.com/openai", "mine.openai.azure.com", 443, "azure.ai.openai"],
      ["https://mine.services.ai.azure.com/models", "mine.services.ai.azure.com", 443, "azure.ai.inference"],
      ["https://api.groq.com/openai/v1", "api.groq.com", 443, "groq"],
      ["https://api.x.ai/v1", "api.x.ai", 443, "x_ai"],
      ["https://api.deepseek.com", "api.deepseek.com", 443, "deepseek"],
      ["https://api.mistral.ai/v1", "api.mistral.ai", 443, "mistral_ai"],
      ["https://api.moonshot.ai/v1", "api.moonshot.ai", 443, "moonshot_ai"],
      ["https://api.perplexity.ai", "api.perplexity.ai", 443, "perplexity"],
      ["https://api.cohere.ai/compatibility/v1", "api.cohere.ai", 443, "cohere"],
      [
        "https://generativelanguage.googleapis.com/v1beta/openai/",
        "generativelanguage.googleapis.com",
        443,
        "gcp.gemini"
      ],
      ["https://us-central1-aiplatform.googleapis.com", "us-central1-aiplatform.googleapis.com", 443, "gcp.vertex_ai"],
      [
        "https://bedrock-runtime.us-east-1.amazonaws.com",
        "bedrock-runtime.us-east-1.amazonaws.com",
        443,
        "aws.bedrock"
      ],
      ["https://us-south.ml.cloud.ibm.com", "us-south.ml.cloud.ibm.com", 443, "ibm.watsonx.ai"],
      ["http://user:secret@localhost:8080/v1?key=secret", "localhost", 8080, "openai"],
      ["http://[::1]/v1", "::1", 80, "openai"],
      ["127.0.0.1:11434", "127.0.0.1", 11434, "openai"],
      ["https://api.x.ai.example.com", "api.x.ai.example.com", 443, "openai"]
    ] as const
  ) {
    it(`${baseURL} is ${provider} at ${address}`, () => {
      for (const options of [{ baseURL }, { client: { baseURL } }]) {
        const call = openAiCall({ model: "m", messages: [] }, options)
        assert.deepStrictEqual([call.server, call.provider], [{ address, port }, provider])
      }
    })
  }

  for (const baseURL of ["", "/api", "not a url", "http://", "https://exa mple.com"]) {
    it(`${JSON.stringify(baseURL)} is no server`, () => {
      assert.isUndefined(openAiCall({ model: "m", messages: [] }, { baseURL }).server)
    })
  }

  it("the clients of the SDKs name their servers", () => {
    const openAi = new OpenAI({ apiKey: "x", baseURL: "http://127.0.0.1:1/v1" })
    const anthropic = new Anthropic({ apiKey: "x", baseURL: "http://127.0.0.1:2" })
    const ollama = new Ollama({ host: "127.0.0.1:3" })
    assert.deepStrictEqual([
      openAiCall({ model: "m" }, { client: openAi }).server?.port,
      anthropicCall({ model: "m", messages: [] }, { client: anthropic }).server?.port,
      ollamaCall({ model: "m" }, { client: ollama }).server?.port
    ], [1, 2, 3])
  })

  it("openai.* is kept for OpenAI's models, also on Azure", () => {
    const params = { model: "m", messages: [] }
    assert.isUndefined(openAiCall(params, { baseURL: "https://api.groq.com" }).openai)
    assert.strictEqual(
      openAiCall(params, { baseURL: "https://a.openai.azure.com" }).openai?.apiType,
      "chat_completions"
    )
  })
})

describe("normalizeUsage", () => {
  const full = {
    inputTokens: 100,
    outputTokens: 50,
    cacheReadInputTokens: 60,
    cacheWriteInputTokens: 40,
    reasoningOutputTokens: 50
  }
  for (
    const [name, usage, expected] of [
      ["keeps what adds up", full, full],
      ["keeps zeros", { inputTokens: 0, outputTokens: 0 }, { inputTokens: 0, outputTokens: 0 }],
      ["keeps parts without a total", { cacheReadInputTokens: 5 }, { cacheReadInputTokens: 5 }],
      ["drops a cache read beyond the input", { inputTokens: 5, cacheReadInputTokens: 6 }, { inputTokens: 5 }],
      [
        "drops a cache write that the read leaves no room for",
        { inputTokens: 10, cacheReadInputTokens: 6, cacheWriteInputTokens: 5 },
        { inputTokens: 10, cacheReadInputTokens: 6 }
      ],
      ["drops reasoning beyond the output", { outputTokens: 5, reasoningOutputTokens: 6 }, { outputTokens: 5 }],
      ["drops what is no count", { inputTokens: -1, outputTokens: 1.5, cacheReadInputTokens: Number.NaN }, {}],
      ["drops what is too large to be exact", { inputTokens: 2 ** 53, outputTokens: Number.POSITIVE_INFINITY }, {}]
    ] as ReadonlyArray<readonly [string, LlmUsage, LlmUsage]>
  ) {
    it(`${name}`, () => {
      assert.deepStrictEqual(normalizeUsage(usage), expected)
    })
  }
})

/** Whether a usage can be added up, as the convention asks for. */
const assertUsage = (usage: LlmUsage | undefined) => {
  if (usage === undefined) return
  const { cacheReadInputTokens = 0, cacheWriteInputTokens = 0, inputTokens, outputTokens } = usage
  for (const [key, count] of Object.entries(usage)) assert.isTrue(Number.isSafeInteger(count) && count >= 0, key)
  if (inputTokens !== undefined) assert.isAtMost(cacheReadInputTokens + cacheWriteInputTokens, inputTokens)
  if (outputTokens !== undefined) assert.isAtMost(usage.reasoningOutputTokens ?? 0, outputTokens)
}

const REQUIRED: Readonly<Record<string, ReadonlyArray<string>>> = {
  text: ["content"],
  reasoning: ["content"],
  tool_call: ["name"],
  tool_call_response: ["response"],
  server_tool_call: ["name", "server_tool_call"],
  server_tool_call_response: ["server_tool_call_response"],
  blob: ["modality", "content"],
  file: ["modality", "file_id"],
  uri: ["modality", "uri"]
}

/** Whether messages have the fields that the convention's schema requires. */
const assertMessages = (messages: unknown) => {
  assert.isTrue(Array.isArray(messages))
  for (const message of messages as ReadonlyArray<Record<string, unknown>>) {
    assert.isString(message.role)
    assert.isTrue(Array.isArray(message.parts))
    for (const part of message.parts as ReadonlyArray<Record<string, unknown>>) {
      assert.isString(part.type)
      for (const key of REQUIRED[String(part.type)] ?? []) assert.property(part, key)
      if (part.type === "text" || part.type === "reasoning") assert.isString(part.content)
    }
  }
}

const assertCall = (call: LlmCallOptions) => {
  assert.isString(call.provider)
  assert.isString(call.request.model)
  const instructions = evaluate(call.systemInstructions)
  assert.isTrue(instructions === undefined || typeof instructions === "string" || Array.isArray(instructions))
  if (call.input !== undefined) assertMessages(evaluate(call.input))
  evaluate(call.toolDefinitions)
}

const assertResponse = (response: LlmResponse) => {
  assertUsage(response.usage)
  const modalities = Object.values(response.usageByModality ?? {})
  for (const count of modalities.flatMap(Object.values)) assert.isTrue(Number.isSafeInteger(count) && count > 0)
  for (const reason of response.finishReasons ?? []) assert.isString(reason)
  if (response.output !== undefined) assertMessages(evaluate(response.output))
}

const hostile = new Proxy({}, {
  get: () => {
    throw new Error("hands off")
  },
  ownKeys: () => {
    throw new Error("hands off")
  }
})
const { proxy: revoked, revoke } = Proxy.revocable([], {})
revoke()

const sparse: Array<unknown> = []
sparse.length = 4_294_967_295

const garbage: ReadonlyArray<unknown> = [
  undefined,
  null,
  true,
  0,
  -1,
  1.5,
  Number.NaN,
  Number.MAX_VALUE,
  10n,
  "",
  "text",
  Symbol("s"),
  () => "called",
  [],
  [null, 1, "a", [[]]],
  {},
  { type: "text" },
  { type: 1, text: {}, content: 7, parts: "x", role: [] },
  sparse,
  hostile,
  revoked
]

/** A copy with another value somewhere in it, where the numbers lead. */
const corrupt = (value: unknown, path: ReadonlyArray<number>, replacement: unknown): unknown => {
  const [first, ...rest] = path
  if (first === undefined || typeof value !== "object" || value === null) return replacement
  const keys = Object.keys(value)
  if (keys.length === 0) return replacement
  const key = keys[first % keys.length]!
  const changed = corrupt((value as Record<string, unknown>)[key], rest, replacement)
  return Array.isArray(value) ? value.with(Number(key), changed) : { ...value, [key]: changed }
}

const Nat = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000 }))
const options = { arbitrary: { runs: 1_000 } }

describe("whatever comes", () => {
  for (const [provider, { call, fold: folder, response }] of Object.entries(mappers)) {
    it(`${provider}: values of any shape neither throw nor tell nonsense`, () => {
      for (const value of garbage) {
        assertCall(call(value as never))
        assertResponse(response(value))
        assertResponse(fold(folder, [value, value], true))
      }
    })

    it.prop(
      `${provider}: the same for recorded shapes with damage`,
      [Nat, Schema.Array(Nat), Nat],
      ([which, path, replacement]) => {
        const own = recordings.filter(({ name }) => name.startsWith(`${provider}.`))
        const { recording } = own[which % own.length]!
        const damaged = corrupt(
          recording.chunks ?? recording.response,
          path.slice(0, 6),
          garbage[replacement % garbage.length]
        )
        if (recording.chunks === undefined) {
          assertResponse(response(damaged))
        } else {
          const chunks = path.length === 0 ? [damaged] : damaged as ReadonlyArray<unknown>
          assertResponse(fold(folder, chunks, true))
          assertResponse(fold(folder, chunks, false))
        }
      },
      options
    )
  }

  it.prop(
    "normalizeUsage: parts never exceed their totals, and totals that are counts stay",
    [Schema.Array(Schema.Number).check(Schema.isMinLength(5))],
    ([[inputTokens, outputTokens, cacheReadInputTokens, cacheWriteInputTokens, reasoningOutputTokens]]) => {
      const usage = normalizeUsage({
        inputTokens,
        outputTokens,
        cacheReadInputTokens,
        cacheWriteInputTokens,
        reasoningOutputTokens
      })
      assertUsage(usage)
      const isCount = Number.isSafeInteger(inputTokens) && inputTokens! >= 0
      assert.strictEqual(usage.inputTokens, isCount ? inputTokens : undefined)
    },
    options
  )
})

const messages = [{ role: "user" as const, content: "hello" }]

describe("the combinators", () => {
  it.effect("keep the type and result of the effect, piped, stored and data-first", () =>
    Effect.gen(function*() {
      interface Answer {
        readonly text: string
      }
      const effect: Effect.Effect<Answer, string> = Effect.succeed({ text: "hi" })
      const stored = withOpenAiSpan({ model: "m", messages })
      const all: ReadonlyArray<Effect.Effect<Answer, string>> = [
        effect.pipe(withOpenAiSpan({ model: "m", messages })),
        stored(effect),
        withAnthropicSpan(effect, { model: "m", messages }, { conversationId: "c" }),
        effect.pipe(withOllamaSpan({ model: "m", messages })),
        effect.pipe(withGoogleSpan({ model: "m", contents: "hello" })),
        withBedrockSpan(effect, { modelId: "m" })
      ]
      const recorder = Recorder.make({ genAi: { convention: "latest" } })
      for (const each of all) assert.deepStrictEqual(yield* recorder.run(each), { text: "hi" })
      assert.deepStrictEqual(recorder.spans.map((span) => [span.name, span.attributes["gen_ai.provider.name"]]), [
        ["chat m", "openai"],
        ["chat m", "openai"],
        ["chat m", "anthropic"],
        ["chat m", "ollama"],
        ["generate_content m", "gcp.gen_ai"],
        ["chat m", "aws.bedrock"]
      ])
    }))

  it.effect("read nothing of the request while tracing is off", () =>
    Effect.gen(function*() {
      let reads = 0
      const params = new Proxy({ model: "m", messages }, {
        get: (target, key) => {
          reads++
          return Reflect.get(target, key)
        }
      })
      assert.strictEqual(yield* Effect.succeed(1).pipe(withOpenAiSpan(params)), 1)
      assert.strictEqual(reads, 0)
    }))

  it.effect("change nothing for a request and a result that throw when they are read", () =>
    Effect.gen(function*() {
      const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY", convention: "latest" } })
      const result = yield* recorder.run(Effect.succeed(hostile).pipe(withAnthropicSpan(hostile as never)))
      assert.strictEqual(result, hostile)
      assert.deepStrictEqual(recorder.spans.map((span) => span.name), ["chat unknown"])
    }))

  for (
    const [name, combinator] of [
      ["withOpenAiSpan", withOpenAiSpan],
      ["withAnthropicSpan", withAnthropicSpan],
      ["withOllamaSpan", withOllamaSpan],
      ["withGoogleSpan", withGoogleSpan],
      ["withBedrockSpan", withBedrockSpan]
    ] as ReadonlyArray<readonly [string, ProviderSpan<{ readonly model: string }>]>
  ) {
    it.effect(`${name}: a request that cannot be read at all has a span without what it would have told`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make({ genAi: { capture: "SPAN_ONLY", convention: "latest" } })
        const sealed = new Proxy({}, {
          has: () => {
            throw new Error("hands off")
          }
        })
        const effect = Effect.succeed(1)
        for (const request of [revoked, hostile, sealed] as ReadonlyArray<unknown> as ReadonlyArray<never>) {
          assert.strictEqual(yield* recorder.run(effect.pipe(combinator(request))), 1)
          assert.strictEqual(yield* recorder.run(combinator(effect, request)), 1)
        }
        assert.lengthOf(recorder.spans, 6)
        for (const span of recorder.spans) assert.strictEqual(span.attributes["gen_ai.request.model"], "unknown")
      }))

    it.effect(`${name}: options that cannot be read cost the span, and are reported once`, () =>
      Effect.gen(function*() {
        const recorder = Recorder.make()
        const logs: Array<unknown> = []
        const logger = Logger.make(({ message }) => logs.push(message))
        const results = yield* recorder.run(Effect.all([
          Effect.succeed(1).pipe(combinator({ model: "m" }, hostile)),
          Effect.fail(2).pipe(combinator({ model: "m" }, hostile), Effect.flip)
        ])).pipe(Effect.provide(Logger.layer([logger])))
        assert.deepStrictEqual(results, [1, 2])
        assert.lengthOf(recorder.spans, 0)
        assert.lengthOf(logs, 1)
        assert.match(String(logs[0]), /options of a span could not be read.*Error/)
      }))
  }

  const completion = { id: "c1", choices: [], service_tier: "default", system_fingerprint: "fp_1" }
  const params = { model: "m", messages, service_tier: "flex" }

  for (
    const [name, ask] of [
      ["in one piece", (baseURL) => Effect.succeed(completion).pipe(withOpenAiSpan(params, { baseURL }))],
      ["as a stream", (baseURL) =>
        Stream.make(completion).pipe(
          withLlmStreamSpan({ ...openAiCall(params, { baseURL }), fold: openAiFold }),
          Stream.runDrain
        )]
    ] as ReadonlyArray<readonly [string, (baseURL: string) => Effect.Effect<unknown>]>
  ) {
    it.effect(`keep openai.* for OpenAI's models: ${name}`, () =>
      Effect.gen(function*() {
        const keys: Array<ReadonlyArray<string>> = []
        for (const baseURL of ["https://api.openai.com/v1", "https://api.groq.com/openai/v1"]) {
          const recorder = Recorder.make()
          yield* recorder.run(ask(baseURL))
          keys.push(Object.keys(recorder.spans[0]!.attributes).filter((key) => key.startsWith("openai.")).sort())
        }
        assert.deepStrictEqual(keys, [
          [
            "openai.api.type",
            "openai.request.service_tier",
            "openai.response.service_tier",
            "openai.response.system_fingerprint"
          ],
          []
        ])
      }))
  }

  it.effect("record content only on request", () =>
    Effect.gen(function*() {
      const completion = {
        id: "c1",
        choices: [{ finish_reason: "stop", message: { role: "assistant", content: "the answer" } }]
      }
      const effect = Effect.succeed(completion).pipe(withOpenAiSpan({ model: "m", messages }))
      const off = Recorder.make({ genAi: { convention: "latest" } })
      const on = Recorder.make({ genAi: { convention: "latest", capture: "SPAN_ONLY" } })
      yield* off.run(effect)
      yield* on.run(effect)
      assert.notMatch(JSON.stringify(off.spans[0]!.attributes), /hello|the answer/)
      const attributes = on.spans[0]!.attributes
      assert.deepStrictEqual(JSON.parse(String(attributes["gen_ai.input.messages"])), [
        { role: "user", parts: [text("hello")] }
      ])
      assert.deepStrictEqual(JSON.parse(String(attributes["gen_ai.output.messages"])), [
        { role: "assistant", parts: [text("the answer")], finish_reason: "stop" }
      ])
    }))
})

/** What the tests compare of a span, whatever the ids of the response. */
const told = (recorder: ReturnType<typeof Recorder.make>) => {
  assert.strictEqual(recorder.spans.length, 1)
  const { "gen_ai.response.id": id, ...attributes } = recorder.spans[0]!.attributes
  return { name: recorder.spans[0]!.name, id: typeof id, attributes }
}

const latest = () => Recorder.make({ genAi: { convention: "latest" } })

describe("the official clients", () => {
  const setUp = Effect.gen(function*() {
    const server = yield* LlmServer.make
    yield* server.on({ userMessage: "hello" }, { content: "Hi there!", usage: LlmServer.usage(12, 7) })
    const port = Number(new URL(server.url).port)
    return { server, address: { "server.address": "127.0.0.1", "server.port": port } }
  })
  const openAi = (server: LlmServer.LlmServer) =>
    new OpenAI({ apiKey: "test", baseURL: server.openAiBaseUrl, maxRetries: 0 })
  const anthropic = (server: LlmServer.LlmServer) =>
    new Anthropic({ apiKey: "test", baseURL: server.anthropicBaseUrl, maxRetries: 0 })

  it.effect("OpenAI chat completions", () =>
    Effect.gen(function*() {
      const { address, server } = yield* setUp
      const client = openAi(server)
      const params: OpenAI.ChatCompletionCreateParamsNonStreaming = { model: "gpt-test", messages, temperature: 0.5 }
      const recorder = latest()
      const completion = yield* recorder.run(
        Effect.tryPromise(() => client.chat.completions.create(params)).pipe(withOpenAiSpan(params, { client }))
      )
      assert.strictEqual(completion.choices[0]!.message.content, "Hi there!")
      const { attributes, ...rest } = told(recorder)
      assert.deepStrictEqual(rest, { name: "chat gpt-test", id: "string" })
      assert.deepInclude(attributes, {
        ...address,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-test",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.model": "gpt-test",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 7,
        "openai.api.type": "chat_completions"
      })
    }))

  it.effect("OpenAI responses", () =>
    Effect.gen(function*() {
      const { address, server } = yield* setUp
      const client = openAi(server)
      const params: OpenAI.Responses.ResponseCreateParamsNonStreaming = { model: "gpt-test", input: "hello" }
      const recorder = latest()
      const response = yield* recorder.run(
        Effect.tryPromise(() => client.responses.create(params)).pipe(withOpenAiSpan(params, { client }))
      )
      assert.strictEqual(response.output_text, "Hi there!")
      assert.deepInclude(told(recorder).attributes, {
        ...address,
        "gen_ai.operation.name": "chat",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 7,
        "openai.api.type": "responses"
      })
    }))

  for (const convention of ["latest", "loom"] as const) {
    it.effect(`OpenAI embeddings, ${convention}: the span of withEmbeddingsSpan`, () =>
      Effect.gen(function*() {
        const { address, server } = yield* setUp
        const client = openAi(server)
        const params: OpenAI.EmbeddingCreateParams = { model: "m-embed", input: "hello", dimensions: 8 }
        const create = Effect.tryPromise(() => client.embeddings.create(params))
        const recorders = [Recorder.make({ genAi: { convention } }), Recorder.make({ genAi: { convention } })] as const
        const { usage } = yield* recorders[0].run(create.pipe(withOpenAiSpan(params, { client })))
        yield* recorders[1].run(
          create.pipe(withEmbeddingsSpan({ ...openAiCall(params, { client }), response: openAiResponse }))
        )
        for (const recorder of recorders) {
          assert.deepStrictEqual(told(recorder), {
            name: "embeddings m-embed",
            id: "undefined",
            attributes: {
              ...address,
              "gen_ai.operation.name": "embeddings",
              "gen_ai.provider.name": "openai",
              "gen_ai.request.model": "m-embed",
              "gen_ai.embeddings.dimension.count": 8,
              "gen_ai.response.model": "m-embed",
              "gen_ai.usage.input_tokens": usage.prompt_tokens
            }
          })
        }
      }))
  }

  it.effect("Anthropic messages", () =>
    Effect.gen(function*() {
      const { address, server } = yield* setUp
      const client = anthropic(server)
      const params: Anthropic.MessageCreateParamsNonStreaming = { model: "claude-test", max_tokens: 100, messages }
      const recorder = latest()
      const message = yield* recorder.run(
        Effect.tryPromise(() => client.messages.create(params)).pipe(withAnthropicSpan(params, { client }))
      )
      assert.strictEqual(message.role, "assistant")
      assert.deepStrictEqual(told(recorder).attributes, {
        ...address,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-test",
        "gen_ai.request.max_tokens": 100,
        "gen_ai.response.model": "claude-test",
        "gen_ai.response.finish_reasons": ["end_turn"],
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 7,
        ...(message.usage.cache_read_input_tokens === 0 ? { "gen_ai.usage.cache_read.input_tokens": 0 } : undefined),
        ...(message.usage.cache_creation_input_tokens === 0
          ? { "gen_ai.usage.cache_write.input_tokens": 0 }
          : undefined)
      })
    }))

  it.effect("Ollama chat", () =>
    Effect.gen(function*() {
      const { address, server } = yield* setUp
      const client = new Ollama({ host: server.ollamaBaseUrl })
      const params: ChatRequest & { stream?: false } = { model: "llama-test", messages }
      const recorder = latest()
      const chat = yield* recorder.run(
        Effect.tryPromise(() => client.chat(params)).pipe(withOllamaSpan(params, { client }))
      )
      assert.strictEqual(chat.message.content, "Hi there!")
      assert.deepStrictEqual(told(recorder).attributes, {
        ...address,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ollama",
        "gen_ai.request.model": "llama-test",
        "gen_ai.response.model": "llama-test",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": chat.prompt_eval_count,
        "gen_ai.usage.output_tokens": chat.eval_count
      })
    }))

  it.effect("what a client throws is what the span fails with", () =>
    Effect.gen(function*() {
      const server = yield* LlmServer.make
      yield* server.on({ userMessage: "hello" }, LlmServer.failure(429, "slow down"))
      const client = openAi(server)
      const params: OpenAI.ChatCompletionCreateParamsNonStreaming = { model: "gpt-test", messages }
      const recorder = latest()
      const exit = yield* recorder.run(
        Effect.tryPromise(() => client.chat.completions.create(params)).pipe(
          withOpenAiSpan(params)
        )
      ).pipe(Effect.exit)
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(recorder.spans[0]!.attributes["error.type"], "RateLimitError")
    }))

  const streams: ReadonlyArray<{
    readonly name: string
    readonly open: (server: LlmServer.LlmServer) => Promise<AsyncIterable<unknown>>
    readonly fold: ProviderFold
    readonly finishReasons: ReadonlyArray<string>
  }> = [
    {
      name: "OpenAI chat completions",
      open: (server) =>
        openAi(server).chat.completions.create({
          model: "m",
          messages,
          stream: true,
          stream_options: { include_usage: true }
        }),
      fold: openAiFold,
      finishReasons: ["stop"]
    },
    {
      name: "OpenAI responses",
      open: (server) => openAi(server).responses.create({ model: "m", input: "hello", stream: true }),
      fold: openAiFold,
      finishReasons: ["stop"]
    },
    {
      name: "Anthropic messages",
      open: (server) => anthropic(server).messages.create({ model: "m", max_tokens: 10, messages, stream: true }),
      fold: anthropicFold,
      finishReasons: ["end_turn"]
    },
    {
      name: "Ollama chat",
      open: (server) => new Ollama({ host: server.ollamaBaseUrl }).chat({ model: "m", messages, stream: true }),
      fold: ollamaFold,
      finishReasons: ["stop"]
    }
  ]
  for (const { finishReasons, fold: folder, name, open } of streams) {
    it.effect(`${name}, streamed`, () =>
      Effect.gen(function*() {
        const { server } = yield* setUp
        const stream = yield* Effect.promise(() => open(server))
        const chunks = yield* Stream.runCollect(Stream.fromAsyncIterable(stream, (error) => error))
        const { model, output, usage, ...rest } = evaluated(fold(folder, chunks, true))
        assert.strictEqual(model, "m")
        assert.deepStrictEqual(rest.finishReasons, finishReasons)
        assert.deepStrictEqual(output, [{ role: "assistant", parts: [text("Hi there!")], finish_reason: "stop" }])
        const { inputTokens, outputTokens } = usage as LlmUsage
        // The server does not let fixtures say what Ollama counts.
        if (folder !== ollamaFold) assert.deepStrictEqual([inputTokens, outputTokens], [12, 7])
      }))
  }

  const chatParams = {
    model: "m",
    messages,
    stream: true,
    stream_options: { include_usage: true }
  } satisfies OpenAI.ChatCompletionCreateParamsStreaming
  const messageParams = {
    model: "m",
    max_tokens: 10,
    messages,
    stream: true
  } satisfies Anthropic.MessageCreateParamsStreaming
  const createChat = (server: LlmServer.LlmServer) =>
    Effect.tryPromise(() => openAi(server).chat.completions.create(chatParams))
  const createMessage = (server: LlmServer.LlmServer) =>
    Effect.tryPromise(() => anthropic(server).messages.create(messageParams))

  it.effect("the folds fit the spans of streams, piped and stored, and keep the type of the chunks", () =>
    Effect.gen(function*() {
      const { server } = yield* setUp
      const chat: Stream.Stream<OpenAI.ChatCompletionChunk, unknown> = Stream.unwrap(
        Effect.map(createChat(server), (chunks) => Stream.fromAsyncIterable(chunks, (error) => error))
      )
      const stored = withLlmStreamSpan({ ...openAiCall(chatParams), fold: openAiFold })
      const piped: typeof chat = chat.pipe(withLlmStreamSpan({ ...openAiCall(chatParams), fold: openAiFold }))
      const kept: typeof chat = stored(chat)
      const first: typeof chat = withLlmStreamSpan(chat, { ...openAiCall(chatParams), fold: openAiFold })
      for (const stream of [piped, kept, first]) {
        const recorder = Recorder.make({ genAi: { convention: "latest", capture: "SPAN_ONLY" } })
        yield* recorder.run(Stream.runDrain(stream))
        const { attributes } = told(recorder)
        assert.deepInclude(attributes, {
          "gen_ai.request.stream": true,
          "gen_ai.response.finish_reasons": ["stop"],
          "gen_ai.usage.input_tokens": 12,
          "gen_ai.usage.output_tokens": 7,
          "openai.api.type": "chat_completions"
        })
        assert.deepStrictEqual(JSON.parse(String(attributes["gen_ai.output.messages"])), [
          { role: "assistant", parts: [text("Hi there!")], finish_reason: "stop" }
        ])
      }
    }))

  it.effect("the folds fit the async iterables of the clients", () =>
    Effect.gen(function*() {
      const { server } = yield* setUp
      const stored = traceAsyncIterable({ ...anthropicCall(messageParams), fold: anthropicFold })
      const traced: Effect.Effect<AsyncIterable<Anthropic.MessageStreamEvent>, unknown> = stored(createMessage(server))
      const recorder = latest()
      const chunks = yield* recorder.run(Effect.flatMap(
        traced,
        (events) => Stream.runCollect(Stream.fromAsyncIterable(events, (error) => error))
      ))
      assert.isTrue(chunks.some((event) => event.type === "message_stop"))
      assert.deepInclude(told(recorder).attributes, {
        "gen_ai.request.stream": true,
        "gen_ai.response.finish_reasons": ["end_turn"],
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 7
      })
    }))

  // A stream as the SDK of AWS has it, which is not installed here.
  const converse = { stream: Stream.toAsyncIterable(Stream.empty) }
  const unawaited: ReadonlyArray<
    readonly [name: string, run: (server: LlmServer.LlmServer) => Effect.Effect<object, unknown>]
  > = [
    ["withOpenAiSpan", (server) => createChat(server).pipe(withOpenAiSpan(chatParams))],
    [
      "withAnthropicSpan",
      (server) =>
        Effect.tryPromise(() => anthropic(server).messages.create(messageParams).withResponse()).pipe(
          withAnthropicSpan(messageParams)
        )
    ],
    ["withBedrockSpan", () => Effect.succeed(converse).pipe(withBedrockSpan({ modelId: "m" }))]
  ]
  for (const [name, run] of unawaited) {
    it.effect(`${name} hands out a stream as it is, and warns once that its span has ended before`, () =>
      Effect.gen(function*() {
        const { server } = yield* setUp
        const logs: Array<unknown> = []
        const logger = Logger.layer([Logger.make(({ message }) => logs.push(message))])
        const recorder = latest()
        for (let times = 0; times < 2; times++) {
          const answer = yield* recorder.run(run(server)).pipe(Effect.provide(logger))
          const stream = "stream" in answer ? answer.stream : "data" in answer ? answer.data : answer
          assert.isDefined(stream)
          yield* Stream.runDrain(Stream.fromAsyncIterable(stream as AsyncIterable<unknown>, (error) => error))
        }
        assert.lengthOf(recorder.spans, 2)
        assert.lengthOf(logs, 1)
        assert.match(String(logs[0]), new RegExp(`^${name} .*traceAsyncIterable`))
      }))
  }

  it.effect("what a client's withResponse gives is read as the bare answer is", () =>
    Effect.gen(function*() {
      const { server } = yield* setUp
      const chat = { model: "m", messages } satisfies OpenAI.ChatCompletionCreateParamsNonStreaming
      const message = { model: "m", max_tokens: 10, messages } satisfies Anthropic.MessageCreateParamsNonStreaming
      const calls: ReadonlyArray<readonly [bare: Effect.Effect<unknown, unknown>, Effect.Effect<object, unknown>]> = [
        [
          Effect.tryPromise(() => openAi(server).chat.completions.create(chat)).pipe(withOpenAiSpan(chat)),
          Effect.tryPromise(() => openAi(server).chat.completions.create(chat).withResponse()).pipe(
            withOpenAiSpan(chat)
          )
        ],
        [
          Effect.tryPromise(() => anthropic(server).messages.create(message)).pipe(withAnthropicSpan(message)),
          Effect.tryPromise(() => anthropic(server).messages.create(message).withResponse()).pipe(
            withAnthropicSpan(message)
          )
        ]
      ]
      for (const [bare, withResponse] of calls) {
        const [expected, actual] = [latest(), latest()]
        yield* expected.run(bare)
        assert.hasAnyKeys(yield* actual.run(withResponse), ["request_id"])
        assert.property(told(expected).attributes, "gen_ai.usage.input_tokens")
        assert.deepStrictEqual(told(actual), told(expected))
      }
    }))
})

describe("effect/ai", () => {
  const usage = {
    inputTokens: { uncached: 10, total: 30, cacheRead: 20, cacheWrite: undefined },
    outputTokens: { total: 5, text: 5, reasoning: undefined }
  }
  const expected = {
    id: "resp_1",
    model: "gpt-4o-2024-08-06",
    finishReasons: ["stop"],
    usage: { inputTokens: 30, outputTokens: 5, cacheReadInputTokens: 20 },
    output: [{ role: "assistant", parts: [text("Hi!")], finish_reason: "stop" }]
  }
  const metadata = { type: "response-metadata", id: "resp_1", modelId: "gpt-4o-2024-08-06" } as const
  const finish = { type: "finish", reason: "stop", usage } as const
  const model = LanguageModel.make({
    generateText: () => Effect.succeed([metadata, { type: "text", text: "Hi!" }, finish]),
    streamText: () =>
      Stream.make(
        metadata,
        { type: "text-start", id: "1" } as const,
        { type: "text-delta", id: "1", delta: "H" } as const,
        { type: "text-delta", id: "1", delta: "i!" } as const,
        { type: "text-end", id: "1" } as const,
        finish
      )
  })

  it.effect("a generated text", () =>
    Effect.gen(function*() {
      const service = yield* model
      const response = yield* service.generateText({ prompt: "hello" })
      assert.deepStrictEqual(evaluated(effectAiResponse(response)), expected)
    }))

  it.effect("a streamed text", () =>
    Effect.gen(function*() {
      const service = yield* model
      const parts = yield* Stream.runCollect(service.streamText({ prompt: "hello" }))
      assert.deepStrictEqual(evaluated(fold(effectAiFold, parts, true)), expected)
    }))
})
