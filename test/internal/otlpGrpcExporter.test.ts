import { assert, describe, it } from "@effect/vitest"
import { Metadata } from "@grpc/grpc-js"
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Net from "node:net"
import { GrpcConnection, type GrpcConnectionOptions } from "../../src/internal/grpcConnection.ts"
import { OtlpGrpcExporter } from "../../src/internal/otlpGrpcExporter.ts"
import { SpanQueue } from "../../src/internal/spanQueue.ts"
import * as OtlpReceiver from "../support/OtlpReceiver.ts"

/** A queue on the exporter; nothing is sent before the flush, so that a test knows its requests. */
const makeQueue = (options: GrpcConnectionOptions) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const reports: Array<string> = []
      const queue = new SpanQueue({
        exporter: new OtlpGrpcExporter(new GrpcConnection(options)),
        maxQueueSize: 1000,
        maxQueueBytes: 100_000_000,
        maxExportBatchSize: 512,
        maxExportBatchBytes: 100_000_000,
        scheduleDelay: 100_000,
        exportTimeout: 30_000,
        report: (message) => reports.push(message)
      })
      const tracer = new BasicTracerProvider({ spanProcessors: [queue] }).getTracer("test")
      return {
        queue,
        reports,
        end: (count: number, bytes = 0) => {
          for (let i = 0; i < count; i++) {
            tracer.startSpan(`span ${i}`, { attributes: { text: "x".repeat(bytes) } }).end()
          }
        },
        flush: Effect.promise(() => queue.forceFlush())
      }
    }),
    ({ queue }) => Effect.promise(() => queue.shutdown(0))
  )

const stats = (exported: number, dropped: number, queued: number) => ({
  ended: exported + dropped + queued,
  exported,
  dropped,
  queued
})

describe("OtlpGrpcExporter", () => {
  it.live("counts the spans that the collector rejects from a request that it accepts", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* receiver.respondWith(() => OtlpReceiver.partialSuccess(3, "too old"))
      const { end, flush, queue, reports } = yield* makeQueue({ url: receiver.url })
      end(10)
      yield* flush
      assert.deepStrictEqual(queue.stats, stats(7, 3, 0))
      assert.strictEqual(receiver.spans.length, 7)
      assert.deepStrictEqual(reports, ["The collector accepted a batch of 10 spans but for 3, which are lost: too old"])
    }))

  it.live("takes an answer that is no protobuf as what it is, a success", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      yield* receiver.respondWith(() => OtlpReceiver.garbage)
      const { end, flush, queue, reports } = yield* makeQueue({ url: receiver.url })
      end(10)
      yield* flush
      assert.deepStrictEqual(queue.stats, stats(10, 0, 0))
      assert.strictEqual(reports.length, 1)
      assert.include(reports[0], "not a valid ExportTraceServiceResponse")
    }))

  it.live("hands the status over, RetryInfo included", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const replies = [
        OtlpReceiver.failure("RESOURCE_EXHAUSTED", { message: "busy", retryAfter: "20 millis" }),
        OtlpReceiver.success,
        OtlpReceiver.failure("RESOURCE_EXHAUSTED", { message: "over quota" })
      ]
      yield* receiver.respondWith(({ index }) => replies[index]!)
      const { end, flush, queue, reports } = yield* makeQueue({ url: receiver.url })
      end(10)
      yield* flush
      assert.deepStrictEqual(queue.stats, stats(0, 0, 10))
      yield* receiver.awaitSpans(10)
      end(5)
      yield* flush
      assert.deepStrictEqual(queue.stats, stats(10, 5, 0))
      assert.include(reports.at(-1), "8 RESOURCE_EXHAUSTED: over quota")
    }))

  it.live("gets a request through in parts that is over the collector's limit of 4 MiB", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const { end, flush, queue } = yield* makeQueue({ url: receiver.url })
      end(10, 900_000)
      end(1, 5_000_000)
      yield* flush
      assert.deepStrictEqual(queue.stats, stats(10, 1, 0))
      assert.strictEqual(receiver.spans.length, 10)
    }))

  it.live("sends headers and a user agent, compressed if so configured", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const metadata = new Metadata()
      metadata.set("x-team", "blue")
      const { end, flush } = yield* makeQueue({ url: receiver.url, metadata, compression: "gzip" as never })
      end(1, 100_000)
      yield* flush
      assert.strictEqual(receiver.metadata[0]!["x-team"], "blue")
      assert.match(receiver.metadata[0]!["user-agent"]!, /^loom-tracing\/\d/)
      assert.isBelow(receiver.wireBytes, 20_000)
    }))

  it.live("delivers what ended before and during an outage when the collector is back", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { port, url } = yield* Effect.provideService(OtlpReceiver.make(), Scope.Scope, scope)
      const { end, flush, queue, reports } = yield* makeQueue({ url })
      end(1)
      yield* flush
      yield* Scope.close(scope, Exit.void)
      end(10)
      yield* flush
      end(10)
      assert.deepStrictEqual(queue.stats, stats(1, 0, 20))
      assert.match(reports[0]!, /^Spans cannot be exported at present; they are kept and retried: \d+ [A-Z]+: /)
      const receiver = yield* OtlpReceiver.make({ port })
      yield* receiver.awaitSpans(10)
      yield* flush
      assert.deepStrictEqual(queue.stats, stats(21, 0, 0))
    }))

  it.live("gives a connection up that has gone silent", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const silent: Array<Net.Socket> = []
      const proxy = Net.createServer((socket) => {
        socket.on("error", () => {})
        if (silent.length === 0) {
          silent.push(socket)
        } else {
          const onward = Net.connect(receiver.port, "127.0.0.1").on("error", () => {})
          socket.pipe(onward)
          onward.pipe(socket)
        }
      })
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => {
          proxy.listen(0, "127.0.0.1", () => resume(Effect.void))
        }),
        () =>
          Effect.sync(() => {
            silent.forEach((socket) => socket.destroy())
            proxy.close()
          })
      )
      const { port } = proxy.address() as Net.AddressInfo
      const { end, flush, queue } = yield* makeQueue({ url: `http://127.0.0.1:${port}`, timeoutMillis: 200 })
      end(10)
      for (let i = 0; i < 3; i++) yield* flush
      assert.deepStrictEqual(queue.stats, stats(0, 0, 10))
      yield* receiver.awaitSpans(10)
    }))

  it.live("closes its connection on shutdown", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.make()
      const { end, flush, queue } = yield* makeQueue({ url: receiver.url })
      end(1)
      yield* flush
      assert.strictEqual(receiver.connections, 1)
      yield* Effect.promise(() => queue.shutdown(1000))
      while (receiver.connections > 0) yield* Effect.yieldNow
    }))
})
