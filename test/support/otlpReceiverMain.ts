/**
 * The OTLP receiver as a program, to be killed, restarted and loaded:
 *
 *   node otlpReceiverMain.ts [--port PORT] [--journal FILE]
 *
 * It prints `{"port":PORT}` when it listens. On SIGTERM it prints a `Summary`
 * and exits. The journal keeps the ids of the accepted spans across a SIGKILL:
 * the next run with the same file counts them too.
 */
import * as Effect from "effect/Effect"
import { once } from "node:events"
import * as FileSystem from "node:fs"
import { parseArgs } from "node:util"
import * as OtlpReceiver from "./OtlpReceiver.ts"

/** The counts of every run on the same journal, but for `requests`, `bytes` and `metrics`: those are this run's. */
export interface Summary {
  /** Accepted spans, those that came twice included. */
  readonly spans: number
  readonly distinctSpans: number
  readonly duplicateSpans: number
  readonly requests: number
  readonly bytes: number
  readonly metrics: number
}

const { values } = parseArgs({ options: { port: { type: "string" }, journal: { type: "string" } } })

const idLength = 8
const ids = new Set<string>()
let spans = 0
let requests = 0
let bytes = 0
let metrics = 0

const journal = values.journal === undefined ? undefined : FileSystem.openSync(values.journal, "a+")
if (journal !== undefined) {
  const earlier = FileSystem.readFileSync(journal)
  // A run that was killed while it wrote may have left a part of an id.
  for (let at = 0; at + idLength <= earlier.length; at += idLength) {
    ids.add(earlier.toString("hex", at, at + idLength))
    spans++
  }
  FileSystem.ftruncateSync(journal, spans * idLength)
}

const terminated = once(process, "SIGTERM")
// Whoever started this with an IPC channel is gone, without having ended it.
process.once("disconnect", () => process.exit(1))

const program = Effect.gen(function*() {
  const receiver = yield* OtlpReceiver.make({
    ...(values.port === undefined ? undefined : { port: Number(values.port) }),
    retain: false,
    onAccepted: (request) => {
      requests++
      bytes += request.bytes.length
      metrics += request.metrics.length
      spans += request.spans.length
      for (const { spanId } of request.spans) {
        ids.add(spanId)
      }
      // Before the answer, so that what the client takes for accepted is in the file.
      if (journal !== undefined) {
        FileSystem.writeSync(journal, Buffer.from(request.spans.map(({ spanId }) => spanId).join(""), "hex"))
      }
    }
  })
  console.log(JSON.stringify({ port: receiver.port }))
  yield* Effect.promise(() => terminated)
})

await Effect.runPromise(Effect.scoped(program))

const summary: Summary = {
  spans,
  distinctSpans: ids.size,
  duplicateSpans: spans - ids.size,
  requests,
  bytes,
  metrics
}
console.log(JSON.stringify(summary))
process.removeAllListeners("disconnect")
process.disconnect?.()
