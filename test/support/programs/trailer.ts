/** Exports over HTTP with a header that Node refuses when the request is sent, and prints what becomes of it. */
import type { AddressInfo } from "node:net"
import { createServer } from "node:net"
import { OtlpHttpExporter } from "../../../src/internal/otlpHttpExporter.ts"

const server = createServer()
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
const exporter = new OtlpHttpExporter({
  url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  headers: { trailer: "x-checksum" }
})
const { error } = await new Promise<{ readonly error?: Error }>((resolve) => exporter.export([], resolve))
console.log(error?.message)
await exporter.shutdown()
server.close()
