import { assert, describe, it } from "@effect/vitest"
import { context, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api"
import { resourceFromAttributes } from "@opentelemetry/resources"
import { BasicTracerProvider, type Sampler, SamplingDecision } from "@opentelemetry/sdk-trace-base"
import { stat } from "node:fs"
import { stripVTControlCharacters } from "node:util"
import { ConsoleProcessor, type ConsoleProcessorOptions, detectColors } from "../../src/internal/consoleProcessor.ts"

/** Long enough that nothing but a flush prints. */
const NEVER = 600_000

const setup = (options: Partial<ConsoleProcessorOptions> = {}, sampler?: Sampler) => {
  const written: Array<string> = []
  const waiting: Array<() => void> = []
  const processor = new ConsoleProcessor({
    write: (text) => {
      written.push(text)
      for (const resume of waiting.splice(0)) resume()
    },
    columns: () => 100,
    colors: false,
    quietMillis: NEVER,
    ...options
  })
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({}),
    spanProcessors: [processor],
    spanLimits: { attributeCountLimit: 2 },
    ...(sampler === undefined ? {} : { sampler })
  })
  const tracer = provider.getTracer("test")
  return {
    processor,
    written,
    /** Resolves with the next text that is written. */
    next: async () => {
      const index = written.length
      while (written.length <= index) await new Promise<void>((resolve) => waiting.push(resolve))
      return written[index]
    },
    start: (name: string, parent?: Span, kind = SpanKind.INTERNAL) =>
      tracer.startSpan(name, { kind }, parent === undefined ? ROOT_CONTEXT : trace.setSpan(context.active(), parent))
  }
}

describe("ConsoleProcessor", () => {
  it("prints a trace by itself when nothing has happened in it for a while", async () => {
    const { next, start, written } = setup({ quietMillis: 20 })
    const text = next()
    const producer = start("publish", undefined, SpanKind.PRODUCER)
    producer.end()
    // No span is open here, and still the consumer's is part of the tree.
    start("process", producer, SpanKind.CONSUMER).end()
    assert.match(await text, /^trace [0-9a-f]{32} · 2 spans · .*\npublish .*\n└─ process .*\n\n$/)
    assert.lengthOf(written, 1)
  })

  it("keeps a trace together whose next message was waiting while the event loop stalled", async () => {
    const { next, start, written } = setup({ quietMillis: 1 })
    const text = next()
    // From here on timers come next, and only then what has arrived.
    await new Promise((resolve) => setImmediate(resolve))
    const producer = start("publish", undefined, SpanKind.PRODUCER)
    producer.end()
    // Its answer arrives during the stall, and is read after the timers that are overdue by then.
    stat(import.meta.filename, () => start("process", producer, SpanKind.CONSUMER).end())
    const until = performance.now() + 50
    while (performance.now() < until);
    assert.match(await text, / 2 spans .*\n.*\n└─ process /)
    assert.lengthOf(written, 1)
  })

  it("does not keep the process alive", () => {
    const timers = () => process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length
    const before = timers()
    const { start } = setup()
    start("work").end()
    assert.strictEqual(timers(), before)
  })

  it("prints what has ended when it is flushed, but no trace that has not", async () => {
    const { processor, start, written } = setup()
    const root = start("root")
    start("child", root).end()
    start("other").end()
    await processor.forceFlush()
    assert.lengthOf(written, 1)
    assert.include(written[0], "\nother ")

    root.end()
    await processor.forceFlush()
    await processor.forceFlush()
    assert.lengthOf(written, 2)
    assert.match(written[1], /\nroot .*\n└─ child /)
  })

  it("prints everything when it is shut down, spans that are still open included", async () => {
    const { processor, start, written } = setup()
    const root = start("root")
    start("child", root).end()
    const alone = start("alone")
    await processor.shutdown()
    assert.lengthOf(written, 2)
    assert.match(written[0], /^trace .* · 2 spans · .* · 1 still open\nroot {2}still open +… .*\n└─ child /)
    assert.match(written[1], /^trace .* · 1 span · .* · 1 still open\nalone {2}still open /)

    root.end()
    alone.end()
    start("late").end()
    await processor.forceFlush()
    await processor.shutdown()
    assert.lengthOf(written, 2)
  })

  it("continues a trace that it has printed", async () => {
    const { processor, start, written } = setup()
    const root = start("root")
    root.end()
    await processor.forceFlush()
    start("late", root).end()
    await processor.forceFlush()
    assert.notInclude(written[0], "continued")
    assert.match(written[1], /^trace .* · 1 span · .* · continued\nlate {2}↖ span [0-9a-f]{8} /)
  })

  it("leaves out what is recorded but not sampled", async () => {
    const sampler: Sampler = {
      shouldSample: (_context, _traceId, name) => ({
        decision: name === "hidden" ? SamplingDecision.RECORD : SamplingDecision.RECORD_AND_SAMPLED
      }),
      toString: () => "test"
    }
    const { processor, start, written } = setup({}, sampler)
    const hidden = start("hidden")
    start("shown").end()
    await processor.forceFlush()
    hidden.end()
    await processor.shutdown()
    assert.lengthOf(written, 1)
    assert.include(written[0], "\nshown ")
  })

  it("prints the oldest trace early when it holds too many spans", async () => {
    const { processor, start, written } = setup({ maxSpans: 3 })
    const root = start("root")
    for (const name of ["one", "two"]) start(name, root).end()
    const other = start("other")
    start("three", other).end()
    assert.lengthOf(written, 0)
    start("four", other).end()
    assert.lengthOf(written, 1)
    assert.match(written[0], /1 still open.*\n? +?.*printed early: no more than 3 spans are held/)
    for (const name of ["root", "one", "two"]) assert.match(written[0], new RegExp(`^[├└─ ]*${name} `, "m"))

    root.end()
    await processor.shutdown()
    assert.lengthOf(written, 3)
    assert.match(written[1], /^trace .* · 1 span · .* · continued\nroot /)
    assert.match(written[2], /^trace .* · 3 spans · [^·]* · 1 still open\nother /)
  })

  it("prints the oldest trace early when it holds too many traces", async () => {
    const { processor, start, written } = setup({ maxTraces: 2 })
    const open = start("open")
    start("ended").end()
    start("newer").end()
    // The oldest had nothing to print yet.
    assert.lengthOf(written, 0)
    start("newest").end()
    assert.lengthOf(written, 1)
    assert.match(written[0], /no more than 2 traces are held\nended /)
    open.end()
    await processor.shutdown()
    assert.deepStrictEqual(written.slice(1).map((text) => /\n(\w+)/.exec(text)?.[1]), ["newer", "newest", "open"])
  })

  it("survives a terminal that fails", async () => {
    const failures = [
      {
        write: () => {
          throw new Error("EPIPE")
        }
      },
      {
        columns: () => {
          throw new Error("no terminal")
        }
      }
    ]
    for (const options of failures) {
      const { processor, start, written } = setup({ ...options, maxSpans: 1 })
      start("one").end()
      start("two").end()
      await processor.forceFlush()
      await processor.shutdown()
      assert.lengthOf(written, 0)
    }
  })

  it("prints what a span holds", async () => {
    const { processor, start, written } = setup({ serviceName: "loom", columns: () => 140 })
    const other = start("other")
    const root = start("root", undefined, SpanKind.SERVER)
    root.setAttributes({ "error.type": "Timeout", "gen_ai.request.model": "gpt-4o", "one.too": "many" })
    root.addLink({ context: other.spanContext() })
    root.addEvent("retry")
    root.setStatus({ code: SpanStatusCode.ERROR, message: "too late" })
    const { spanId, traceId } = other.spanContext()
    root.end()
    await processor.forceFlush()
    const link = `↗ trace ${traceId.slice(0, 8)} span ${spanId.slice(0, 8)}`
    assert.match(written[0], /^trace [0-9a-f]{32} · loom · 1 span · [^·]+ · 1 error\n/)
    assert.include(written[0], `\n✗ root  gpt-4o · ${link} · 1 event · 1 dropped by limits  `)
    assert.include(written[0], "\n  Timeout: too late\n\n")
    assert.notInclude(written[0], "\x1b")
  })

  it("writes colours when it is told to, in the width of the moment", async () => {
    let columns = 60
    const { processor, start, written } = setup({ colors: true, columns: () => columns })
    for (const width of [60, 90]) {
      columns = width
      start("x".repeat(200)).end()
      await processor.forceFlush()
    }
    const widths = written.map((text) =>
      Math.max(...stripVTControlCharacters(text).split("\n").map((line) => line.length))
    )
    assert.deepStrictEqual(widths, [60, 90])
    assert.include(written[0], "\x1b[1mtrace ")
  })
})

describe("detectColors", () => {
  it.each<[colors: boolean, isTTY: boolean, env: Record<string, string>]>([
    [true, true, {}],
    [true, true, { TERM: "xterm-256color", NO_COLOR: "" }],
    [false, false, {}],
    [false, false, { TERM: "xterm-256color", FORCE_COLOR: "" }],
    [false, true, { TERM: "dumb" }],
    [false, true, { NO_COLOR: "1" }],
    [false, true, { NO_COLOR: "0" }],
    [false, true, { NO_COLOR: "1", FORCE_COLOR: "1" }],
    [true, false, { FORCE_COLOR: "1" }],
    [true, false, { FORCE_COLOR: "true", TERM: "dumb" }],
    [false, true, { FORCE_COLOR: "0" }],
    [false, true, { FORCE_COLOR: "false" }]
  ])("is %s on a terminal: %s, with %o", (colors, isTTY, env) => {
    assert.strictEqual(detectColors(env, isTTY), colors)
  })
})
