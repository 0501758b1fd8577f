/**
 * A serverless function: the platform freezes the process as soon as the handler has answered, and may never thaw it.
 * What has ended is therefore exported before each answer. The flush takes `shutdownTimeout` at most, whatever becomes of
 * the collector, and fails for nothing.
 */
import { Effect, ManagedRuntime } from "effect"
// Users write `loom-tracing`.
import { makeTracingLive, Tracing, withTraceContext } from "../../src/index.ts"

/** Once for the life of the process: it is used again by the next invocation, connection included. */
const runtime = ManagedRuntime.make(makeTracingLive({ serviceName: "serverless", shutdownTimeout: "2 seconds" }))

const flush = Effect.flatMap(Tracing, (tracing) => tracing.flush)

interface Task {
  readonly name: string
}

/** What the platform calls. The caller's trace goes on if the task carries one. */
export const handler = (task: Task): Promise<{ readonly greeting: string }> =>
  Effect.succeed({ greeting: `Hello ${task.name}` }).pipe(
    Effect.withSpan("greet"),
    withTraceContext(task),
    Effect.ensuring(flush),
    runtime.runPromise
  )
