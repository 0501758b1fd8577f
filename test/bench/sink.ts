/** A receiver of OTLP over gRPC that counts spans and forgets them: a process that `export.ts` starts. */
import * as grpc from "@grpc/grpc-js"

/** Answered once so many spans have come in all. */
export interface Await {
  readonly spans: number
}

/** The length-delimited fields of a protobuf message that have this number. */
function* fields(message: Buffer, field: number): Generator<Buffer> {
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let shift = 1;; shift *= 128) {
      const byte = message[at++]
      value += (byte & 0x7f) * shift
      if (byte < 0x80) return value
    }
  }
  while (at < message.length) {
    const key = varint()
    const type = key & 7
    if (type !== 2) throw new Error(`unexpected wire type ${type}`)
    const end = varint() + at
    if (key >> 3 === field) yield message.subarray(at, end)
    at = end
  }
}

/** `resource_spans`, then `scope_spans`, then `spans`. */
const countSpans = (request: Buffer): number => {
  let count = 0
  for (const resourceSpans of fields(request, 1)) {
    for (const scopeSpans of fields(resourceSpans, 2)) count += Array.from(fields(scopeSpans, 2)).length
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
