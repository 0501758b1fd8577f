/**
 * A trace that is the same at every run, for `TracingConsole` to print: its time passes by hand, and its ids come with
 * the message that begins it.
 */
import { Effect, Layer, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import {
  linkTraceContext,
  TracingConsole,
  withAgentSpan,
  withConsumerSpan,
  withLlmSpan,
  withLlmStreamSpan,
  withProducerSpan,
  withToolSpan,
  withTraceContext
} from "../../../src/index.ts"

const request = { _trace_context: { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" } }
const earlier = { _trace_context: { traceparent: "00-1a2b3c4d5e6f70811a2b3c4d5e6f7081-5e6f708192a3b4c5-01" } }

const tasks = { system: "nats", destination: "tasks" }

class RateLimitError extends Schema.TaggedError<RateLimitError>()("RateLimitError", {}) {
  override get message() {
    return "429 Rate limit reached: レート制限に達しました。しばらく待ってから、もう一度お試しください。" +
      "リクエストの上限は一分あたり二百回です。"
  }
}

const plan = Stream.make("Search", " first").pipe(
  Stream.tap((chunk) => TestClock.adjust(chunk === "Search" ? 123 : 277)),
  withLlmStreamSpan({
    provider: "openai",
    request: { model: "gpt-4o-mini" },
    fold: {
      initial: () => "",
      step: (text, chunk) => text + chunk,
      response: (output) => ({
        model: "gpt-4o-mini-2024-07-18",
        usage: { inputTokens: 1204, outputTokens: 86, cacheReadInputTokens: 1024 },
        output
      })
    }
  }),
  Stream.runDrain
)

const search = TestClock.adjust(120).pipe(
  withToolSpan({ name: "search", callId: "call_1", arguments: { query: "effect layers" } })
)

// Two take longer than the others: with the first, they are what is not folded.
const rank = Effect.forEach(
  Array.from({ length: 12 }, (_, i) => i % 5 === 3 ? 20 : 4),
  (millis) => TestClock.adjust(millis).pipe(Effect.withSpan("rank")),
  { discard: true }
)

const compare = TestClock.adjust(30).pipe(Effect.withSpan("compare"), linkTraceContext(earlier))

const answer = TestClock.adjust(170).pipe(
  Effect.andThen(new RateLimitError()),
  withLlmSpan({ provider: "anthropic", request: { model: "claude-sonnet-4" } })
)

const research = Effect.all([plan, search, rank, compare, answer], { discard: true }).pipe(
  withAgentSpan({ name: "researcher" })
)

const handle = TestClock.adjust(10).pipe(
  withProducerSpan(tasks),
  Effect.andThen(research.pipe(withConsumerSpan(tasks), Effect.ignore)),
  Effect.withSpan("handle request"),
  withTraceContext(request)
)

TestClock.setTime(Date.UTC(2026, 10, 22, 12)).pipe(
  Effect.andThen(handle),
  Effect.provide(Layer.merge(TracingConsole, TestClock.layer())),
  Effect.runFork
)
