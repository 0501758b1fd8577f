import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { baseEnv } from "./support/baseEnv.ts"
import { describeNats } from "./support/describeNats.ts"
import * as LlmServer from "./support/LlmServer.ts"
import { Nats } from "./support/Nats.ts"
import * as OtlpReceiver from "./support/OtlpReceiver.ts"

interface Outcome {
  /** `null` when it did not end by itself within a minute. */
  readonly code: unknown
  readonly stdout: string
  readonly stderr: string
}

/** The example as a user runs it, with nothing in its environment but `variables`. */
const run = (variables: Record<string, string> = {}): Effect.Effect<Outcome> =>
  Effect.callback((resume, signal) => {
    execFile(
      process.execPath,
      [fileURLToPath(new URL("./examples/pipeline.ts", import.meta.url))],
      { env: { ...baseEnv, ...variables }, timeout: 60_000, signal },
      (error, stdout, stderr) => resume(Effect.succeed({ code: error === null ? 0 : error.code, stdout, stderr }))
    )
  })

const expectedTree = `
internal invoke_agent planner
  producer publish loom.tasks.shipping
    consumer process loom.tasks.shipping
      internal invoke_agent shipping-agent
        client llm.call
        internal execute_tool lookup_order
        client llm.tool_continuation
      producer publish loom.results
        consumer process loom.results
  producer publish loom.tasks.refunds
    consumer process loom.tasks.refunds
      internal invoke_agent refunds-agent
        client llm.call
        internal execute_tool lookup_order
        client llm.tool_continuation
      producer publish loom.results
        consumer process loom.results
  producer publish loom.tasks.shipping
    consumer process loom.tasks.shipping
      internal invoke_agent shipping-agent
        client llm.call
        internal execute_tool lookup_order
        client llm.tool_continuation
      producer publish loom.results
        consumer process loom.results
`.trim()
const expectedPrint = expectedTree.replace(/^( *)\w+ /gm, "$1")

/** On a broker that many share, each run has subjects of its own. */
const onNats = (tree: string) => tree.replaceAll("loom.", "loom.{run}.")

/** The trees that were printed: from each line with a span its depth and name. */
const printedTrees = (stdout: string): ReadonlyArray<string> =>
  stdout.split(/^trace .*\n/m).slice(1).map((block) =>
    block.split("\n").flatMap((line, index) => {
      const [, guides, name] = /^((?:[│ ] {2})*(?:[├└]─ ))?(.*?)(?: {2}|$)/.exec(line)!
      return guides === undefined && index > 0 ? [] : [" ".repeat((guides?.length ?? 0) / 3 * 2) + name]
    }).join("\n")
  )

/** The tree that the received spans make, by their parents' ids, each level in the order of time. */
const receivedTree = (spans: ReadonlyArray<OtlpReceiver.ReceivedSpan>): string => {
  const below = (parent: string | undefined, indent: string): ReadonlyArray<string> =>
    spans
      .filter(({ parentSpanId }) => parentSpanId === parent)
      .sort((a, b) => Number(a.startTime - b.startTime))
      .flatMap(({ kind, name, spanId }) => [`${indent}${kind} ${name}`, ...below(spanId, `${indent}  `)])
  return below(undefined, "").join("\n")
}

const spanCount = expectedTree.split("\n").length

const assertOneTrace = (spans: ReadonlyArray<OtlpReceiver.ReceivedSpan>, tree: string) => {
  assert.strictEqual(receivedTree(spans), tree)
  assert.strictEqual(spans.length, spanCount)
  assert.strictEqual(new Set(spans.map(({ traceId }) => traceId)).size, 1)
  for (const { attributes, name, status } of spans) {
    assert.strictEqual(status.code, "unset", name)
    assert.notProperty(attributes, "effect.fiber.interrupted", name)
  }
}

/** A server in the place of the real providers, and the environment that leads to it. */
const makeProviders = Effect.map(LlmServer.make, (server) => ({
  server,
  openAi: { OPENAI_API_KEY: "key-of-openai", OPENAI_BASE_URL: server.openAiBaseUrl },
  anthropic: { ANTHROPIC_API_KEY: "key-of-anthropic", ANTHROPIC_BASE_URL: server.anthropicBaseUrl }
}))

const rounds = [
  { order: "A-17", usage: [[101, 11], [201, 21]] },
  { order: "B-23", usage: [[102, 12], [202, 22]] },
  { order: "C-42", usage: [[103, 13], [203, 23]] }
] as const

const answerAll = (server: LlmServer.LlmServer) =>
  Effect.forEach(rounds, ({ order, usage }) =>
    server.onToolRound({
      prompt: order,
      tool: "lookup_order",
      arguments: { order_id: order },
      answer: `About ${order}`,
      usage
    }))

/** Of each kind of content one piece: question, instructions, tool arguments, tool result, answer. */
const content = [
  "Where is my order A-17?",
  "Look the order up",
  "order_id",
  "in transit",
  "left our warehouse"
]

/** Whether the text stands anywhere in the bytes that were exported. */
const wasSent = (receiver: OtlpReceiver.OtlpReceiver, text: string): boolean =>
  receiver.rawBytes.some((bytes) => bytes.includes(text))

describe("the pipeline example", () => {
  it.effect("ends by itself and prints one tree with the spans of all actors", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run()
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
      assert.deepStrictEqual(printedTrees(stdout), [expectedPrint])
      for (const task of ["task-1", "task-2", "task-3"]) {
        assert.match(stdout, new RegExp(`^planner: ${task} `, "m"))
        assert.match(stdout, new RegExp(`^${task} completed: \\S`, "m"))
      }
      assert.match(stdout, /llm\.call {2}gpt-4\.1-mini · 94 → 17 tokens/)
      assert.notInclude(stdout, "\u001b")
    }))

  it.effect.each([
    { variables: { FORCE_COLOR: "1" }, colours: true },
    { variables: { FORCE_COLOR: "1", NO_COLOR: "1" }, colours: false }
  ])("colours the tree: $colours with $variables", ({ colours, variables }) =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run(variables)
      assert.strictEqual(code, 0)
      assert.strictEqual(stdout.includes("\u001b["), colours)
      // oxlint-disable-next-line no-control-regex
      assert.deepStrictEqual(printedTrees(stdout.replace(/\u001b\[[\d;]*m/g, "")), [expectedPrint])
    }))

  it.effect("sends the same spans to a collector, and nothing of what was said", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const { code, stderr, stdout } = yield* run({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url })
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
      assert.match(stdout, /^task-3 completed: \S/m)
      assert.deepStrictEqual(printedTrees(stdout), [])
      assertOneTrace(receiver.spans, expectedTree)
      for (const { events, resource } of receiver.spans) {
        assert.strictEqual(resource["service.name"], "loom-pipeline")
        assert.deepStrictEqual(events, [])
      }
      assert.isTrue(wasSent(receiver, "invoke_agent planner"))
      for (const text of content) {
        assert.isFalse(wasSent(receiver, text), text)
      }
    }))

  it.effect("puts on the spans what was asked of the providers and what they have reported", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const { anthropic, openAi, server } = yield* makeProviders
      yield* answerAll(server)
      const { code, stderr } = yield* run({
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_SERVICE_NAME: "orders",
        ...openAi,
        ...anthropic
      })
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
      assertOneTrace(receiver.spans, expectedTree)

      const tokens = receiver.spans
        .filter(({ kind }) => kind === "client")
        .map(({ attributes }) =>
          [
            attributes["gen_ai.response.id"],
            attributes["gen_ai.usage.input_tokens"],
            attributes["gen_ai.usage.output_tokens"],
            attributes["llm.prompt_tokens"],
            attributes["llm.completion_tokens"]
          ].join(" ")
        )
      assert.sameMembers(tokens, [
        "response_0_call 101 11 101 11",
        "response_0_answer 201 21 201 21",
        "response_2_call 102 12 102 12",
        "response_2_answer 202 22 202 22",
        "response_4_call 103 13 103 13",
        "response_4_answer 203 23 203 23"
      ])

      const attributesOf = (name: string, key?: string, value?: string) =>
        receiver.spans.find((span) => span.name === name && (key === undefined || span.attributes[key] === value))!
          .attributes
      const port = Number(new URL(server.url).port)
      assert.deepStrictEqual(attributesOf("llm.call", "gen_ai.response.id", "response_0_call"), {
        "gen_ai.agent.name": "shipping-agent",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4.1-mini",
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.max_tokens": 200,
        "gen_ai.response.id": "response_0_call",
        "gen_ai.response.model": "gpt-4.1-mini",
        "gen_ai.response.finish_reasons": ["tool_calls"],
        "gen_ai.usage.input_tokens": 101,
        "gen_ai.usage.output_tokens": 11,
        "llm.model": "gpt-4.1-mini",
        "llm.max_tokens": 200,
        "llm.has_tools": true,
        "llm.prompt_tokens": 101,
        "llm.completion_tokens": 11,
        "server.address": "127.0.0.1",
        "server.port": port
      })
      assert.deepStrictEqual(attributesOf("llm.tool_continuation", "gen_ai.provider.name", "anthropic"), {
        "gen_ai.agent.name": "refunds-agent",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.system": "anthropic",
        "gen_ai.request.model": "claude-haiku-4-5",
        "gen_ai.request.max_tokens": 200,
        "gen_ai.response.id": "response_2_answer",
        "gen_ai.response.model": "claude-haiku-4-5",
        "gen_ai.response.finish_reasons": ["end_turn"],
        "gen_ai.usage.input_tokens": 202,
        "gen_ai.usage.output_tokens": 22,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "llm.model": "claude-haiku-4-5",
        "llm.max_tokens": 200,
        "llm.has_tools": true,
        "llm.tool_round": 1,
        "llm.prompt_tokens": 202,
        "llm.completion_tokens": 22,
        "server.address": "127.0.0.1",
        "server.port": port
      })
      assert.deepStrictEqual(attributesOf("execute_tool lookup_order", "gen_ai.tool.call.id", "call_2"), {
        "gen_ai.agent.name": "refunds-agent",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "lookup_order",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "call_2"
      })
      assert.deepStrictEqual(attributesOf("invoke_agent planner"), {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "planner"
      })
      assert.deepStrictEqual(attributesOf("publish loom.results"), {
        "messaging.system.name": "in_memory",
        "messaging.system": "in_memory",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": "loom.results"
      })
      assert.deepStrictEqual(attributesOf("process loom.tasks.refunds"), {
        "messaging.system.name": "in_memory",
        "messaging.system": "in_memory",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "loom.tasks.refunds"
      })

      const types: Record<string, string> = {
        "gen_ai.request.temperature": "doubleValue",
        "gen_ai.response.finish_reasons": "arrayValue",
        "llm.has_tools": "boolValue"
      }
      for (const { attributeTypes, resource } of receiver.spans) {
        assert.strictEqual(resource["service.name"], "orders")
        for (const [key, type] of Object.entries(attributeTypes)) {
          assert.strictEqual(
            type,
            types[key] ?? (/tokens$|port$|tool_round$/.test(key) ? "intValue" : "stringValue"),
            key
          )
        }
      }
    }))

  it.effect.each(
    [
      { provider: "openAi", path: "/v1/chat/completions", calls: 4 },
      { provider: "anthropic", path: "/v1/messages", calls: 2 }
    ] as const
  )("calls the real $provider when only its key is there", ({ calls, path, provider }) =>
    Effect.gen(function*() {
      const { server, ...environments } = yield* makeProviders
      yield* answerAll(server)
      const { code, stdout } = yield* run(environments[provider])
      assert.strictEqual(code, 0)
      assert.deepStrictEqual(printedTrees(stdout), [expectedPrint])
      assert.deepStrictEqual(
        server.requests.map((request) => `${request.path} ${request.response.status}`),
        Array.from({ length: calls }, () => `${path} 200`)
      )
    }))

  it.effect("exports prompts and completions with LOOM_TRACE_CONTENT=1", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* run({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, LOOM_TRACE_CONTENT: "1" })
      assertOneTrace(receiver.spans, expectedTree)
      const events = receiver.spans.flatMap((span) =>
        span.events.map(({ attributes, name }) => ({ span: span.name, name, attributes }))
      )
      const count = (span: string, name: string) => events.filter((e) => e.span === span && e.name === name).length
      assert.deepStrictEqual(
        {
          prompts: [
            count("llm.call", "gen_ai.content.prompt"),
            count("llm.tool_continuation", "gen_ai.content.prompt")
          ],
          // The first answers hold a tool call and no text.
          completions: count("llm.tool_continuation", "gen_ai.content.completion"),
          all: events.length
        },
        { prompts: [3, 3], completions: 3, all: 9 }
      )
      assert.deepInclude(events, {
        span: "llm.call",
        name: "gen_ai.content.prompt",
        attributes: { "gen_ai.prompt": `[{"role":"user","content":"Where is my order A-17?"}]` }
      })
      assert.deepInclude(events, {
        span: "llm.tool_continuation",
        name: "gen_ai.content.completion",
        attributes: { "gen_ai.completion": "Order A-17 left our warehouse yesterday and arrives on Thursday." }
      })
    }))

  it.effect("fails with the tasks that a provider refuses, and exports the error without its text", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const { openAi, server } = yield* makeProviders
      yield* server.on({ userMessage: "order" }, LlmServer.failure(401, "refused: Where is my order A-17?"))
      const { code, stdout } = yield* run({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, ...openAi })
      assert.strictEqual(code, 1)
      assert.match(stdout, /^task-1 failed: .*refused/m)
      assert.match(stdout, /^task-2 completed: /m)
      assert.match(stdout, /^task-3 failed: .*refused/m)
      assert.match(stdout, /TasksFailed: task-1, task-3/)

      const failed = receiver.spans.filter(({ status }) => status.code === "error")
      assert.sameMembers(
        failed.map(({ attributes, name }) => `${name}: ${attributes["error.type"]}`),
        Array.from({ length: 2 }, () => ["llm.call: ChatError", "invoke_agent shipping-agent: ChatError"]).flat()
      )
      for (const text of ["refused", ...content, openAi.OPENAI_API_KEY]) {
        assert.isFalse(wasSent(receiver, text), text)
      }
    }))
})

describeNats("the pipeline example", (it) => {
  it.effect("prints the same tree", () =>
    Effect.gen(function*() {
      const { url } = yield* Nats
      const { code, stderr, stdout } = yield* run({ NATS_URL: url })
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
      assert.deepStrictEqual(printedTrees(stdout), [onNats(expectedPrint)])
    }))

  it.effect("sends messages that name the spans which a collector receives", () =>
    Effect.gen(function*() {
      const { connection, url } = yield* Nats
      const messages: Array<{ readonly subject: string; readonly message: Record<string, unknown> }> = []
      yield* Effect.acquireRelease(
        Effect.sync(() =>
          connection.subscribe("loom.>", {
            callback: (_, message) => {
              messages.push({ subject: message.subject, message: message.json() })
            }
          })
        ),
        (subscription) => Effect.sync(() => subscription.unsubscribe())
      )
      yield* Effect.promise(() => connection.flush())
      const receiver = yield* OtlpReceiver.make()
      const { code, stderr } = yield* run({ NATS_URL: url, OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url })
      yield* Effect.promise(() => connection.flush())
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
      assertOneTrace(receiver.spans, onNats(expectedTree))

      const published = receiver.spans.filter(({ kind }) => kind === "producer")
      // The broker may serve other runs at the same time.
      const [, runId] = /^loom\.(\w+)\./.exec(String(published[0]!.attributes["messaging.destination.name"]))!
      const ours = messages.filter(({ subject }) => subject.startsWith(`loom.${runId}.`))
      assert.sameDeepMembers(
        ours.map(({ message, subject }) => [subject, message._trace_context]),
        published.map(({ attributes, spanId, traceId }) => [
          attributes["messaging.destination.name"],
          { traceparent: `00-${traceId}-${spanId}-03` }
        ])
      )
      for (const { attributes } of published) {
        assert.strictEqual(attributes["messaging.system.name"], "nats")
      }
      const { _trace_context, ...task } = ours.find(({ message }) => message.task_id === "task-2")!.message
      assert.deepStrictEqual(task, {
        task_id: "task-2",
        worker_type: "refunds",
        payload: { question: "Can I still return order B-23?" }
      })
    }))
})
