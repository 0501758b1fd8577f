/** A receiver of OTLP over gRPC that counts spans and forgets them: a process that `export.ts` starts. */
import * as grpc from "@grpc/grpc-js"
import { readFields } from "../../src/internal/protobufReader.ts"

/** Answered once so many spans have come in all. */
export interface Await {
  readonly spans: number
}

/** The messages that a message holds in the field of this number. */
function* messages(message: Uint8Array, wanted: number): Generator<Uint8Array> {
  for (const [field, value] of readFields(message)) if (field === wanted && typeof value !== "number") yield value
}

/** `resource_spans`, then `scope_spans`, then `spans`. */
const countSpans = (request: Uint8Array): number => {
  let count = 0
  for (const resourceSpans of messages(request, 1)) {
    for (const scopeSpans of messages(resourceSpans, 2)) count += Array.from(messages(scopeSpans, 2)).length
  }
  return count
}

let spans = 0
let wanted = Infinity

const answer = () => {
  if (spans < wanted) return
  wanted = Infinity
  process.send?.(spans)
}

const server = new grpc.Server()
server.addService({
  Export: {
    path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    requestStream: false,
    responseStream: false,
    requestSerialize: (bytes: Buffer) => bytes,
    requestDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: (bytes: Buffer) => bytes,
    responseDeserialize: (bytes: Buffer) => bytes
  }
}, {
  Export: (call: grpc.ServerUnaryCall<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) => {
    spans += countSpans(call.request)
    callback(null, Buffer.alloc(0))
    answer()
  }
})

process.on("message", (message: Await) => {
  wanted = message.spans
  answer()
})
process.on("disconnect", () => process.exit())
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error
  process.send?.(port)
})
