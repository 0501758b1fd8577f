/** A program that only the environment configures: one span with more of everything than a limit may allow. */
import { Effect, Tracer } from "effect"
import { TracingLive } from "../../../src/index.ts"

const other = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
const link = { span: other, attributes: { a: 1, b: 2 } }

const work = Effect.gen(function*() {
  const span = yield* Effect.orDie(Effect.currentSpan)
  span.event("one", 1n, { a: 1, b: 2 })
  span.event("two", 2n, { a: 1, b: 2 })
}).pipe(Effect.withSpan("work", { attributes: { a: "123456", b: 2, c: 3 }, links: [link, link] }))

await Effect.runPromise(Effect.provide(work, TracingLive))
