/**
 * A short script, traced from its first line to its exit code. The spans are exported when the layer is released, which
 * is before the process ends: neither a flush nor a pause is needed. Set `OTEL_EXPORTER_OTLP_ENDPOINT` and run it with
 *
 *   node test/examples/short-script.ts 3 5 8
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
// Users write `loom-tracing`.
import { makeTracingLive } from "../../src/index.ts"

const parse = (text: string) => {
  const number = Number(text)
  return Number.isFinite(number) ? Effect.succeed(number) : Effect.fail(`${text} is no number`)
}

const script = Effect.forEach(process.argv.slice(2), (text) => Effect.withSpan(parse(text), "parse")).pipe(
  Effect.map((numbers) => numbers.reduce((sum, number) => sum + number, 0)),
  Effect.tap((sum) => Console.log(sum)),
  Effect.withSpan("sum")
)

// On failure the exit code is 1, on SIGINT and SIGTERM 130: in each case after the export. `process.exit` would not wait.
NodeRuntime.runMain(Effect.provide(script, makeTracingLive({ serviceName: "short-script" })))
