import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Logger, type Scope } from "effect"
import { makeTracingLive, type TracingOptions } from "loom-tracing"
import { X509Certificate } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Tls from "node:tls"
import * as Certificates from "./support/Certificates.ts"
import * as OtlpHttpReceiver from "./support/OtlpHttpReceiver.ts"
import * as OtlpReceiver from "./support/OtlpReceiver.ts"

const authority = Certificates.makeAuthority("our authority")
const stranger = Certificates.makeAuthority("somebody else's authority")
const server = authority.issue("collector")
const client = authority.issue("client")
const other = authority.issue("other client")

/** The files that the variables name. */
const makeFiles = Effect.acquireRelease(
  Effect.sync(() => {
    const folder = mkdtempSync(join(tmpdir(), "loom-tracing-tls-"))
    const write = (name: string, content: string | Uint8Array) => {
      writeFileSync(join(folder, name), content)
      return join(folder, name)
    }
    return {
      folder,
      ca: write("ca.pem", authority.cert),
      wrongCa: write("wrong-ca.pem", stranger.cert),
      cert: write("client.pem", client.cert),
      key: write("client.key", client.key),
      otherKey: write("other.key", other.key),
      noPem: write("no.pem", "hunter2 is no PEM"),
      der: write("ca.der", new X509Certificate(authority.cert).raw),
      missing: join(folder, "missing.pem")
    }
  }),
  ({ folder }) => Effect.sync(() => rmSync(folder, { recursive: true }))
)
type Files = Effect.Success<typeof makeFiles>

/** Ends one span under the live layer and releases it; returns what was logged. */
const trace = Effect.fnUntraced(function*(options: TracingOptions, env: Record<string, string>) {
  const logs: Array<string> = []
  const environment = Layer.merge(
    ConfigProvider.layer(ConfigProvider.fromUnknown(env)),
    Logger.layer([Logger.make(({ message }) => void logs.push(String(message)))])
  )
  yield* Effect.void.pipe(
    Effect.withSpan("secured"),
    Effect.provide(makeTracingLive({ shutdownTimeout: "5 seconds", ...options }).pipe(Layer.provide(environment)))
  )
  return logs
})

describe("TLS", () => {
  it.live("reaches a collector whose authority OTEL_EXPORTER_OTLP_CERTIFICATE names", () =>
    Effect.gen(function*() {
      const files = yield* makeFiles
      const receiver = yield* OtlpReceiver.make({ tls: server })
      const logs = yield* trace({}, {
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_EXPORTER_OTLP_CERTIFICATE: files.ca
      })
      assert.deepStrictEqual(receiver.spans.map((span) => span.name), ["secured"])
      assert.deepStrictEqual(logs, [])
    }))

  it.live("shows the client's certificate, and prefers the variables for traces", () =>
    Effect.gen(function*() {
      const files = yield* makeFiles
      const receiver = yield* OtlpReceiver.make({ tls: { ...server, clientCa: authority.cert } })
      const logs = yield* trace({ verify: true }, {
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_EXPORTER_OTLP_CERTIFICATE: files.wrongCa,
        OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: files.ca,
        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: files.missing,
        OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE: files.cert,
        OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY: files.key
      })
      assert.deepStrictEqual(receiver.spans.map((span) => span.name), ["secured"])
      assert.deepStrictEqual(logs, [])
    }))

  it.live("is what an endpoint without a scheme gets, and says so", () =>
    Effect.gen(function*() {
      const files = yield* makeFiles
      const receiver = yield* OtlpReceiver.make({ tls: server })
      const logs = yield* trace({ endpoint: `127.0.0.1:${receiver.port}` }, {
        OTEL_EXPORTER_OTLP_CERTIFICATE: files.ca
      })
      assert.strictEqual(receiver.spans.length, 1)
      assert.strictEqual(logs.length, 1)
      assert.match(logs[0], /^The endpoint 127\.0\.0\.1:\d+ has no scheme, so TLS is used\. Write http:\/\//)
    }))

  for (
    const [name, endpoint, env] of [
      ["http:// beats INSECURE=false and a certificate", "http://", { OTEL_EXPORTER_OTLP_INSECURE: "false" }],
      ["HTTP:// is http://", "HTTP://", {}],
      ["an endpoint without a scheme is plain with INSECURE=true", "", { OTEL_EXPORTER_OTLP_INSECURE: "TRUE" }],
      ["TRACES_INSECURE beats INSECURE", "", {
        OTEL_EXPORTER_OTLP_INSECURE: "false",
        OTEL_EXPORTER_OTLP_TRACES_INSECURE: "true"
      }]
    ] as ReadonlyArray<readonly [string, string, Record<string, string>]>
  ) {
    it.live(`is not used where it is not wanted: ${name}`, () =>
      Effect.gen(function*() {
        const files = yield* makeFiles
        const receiver = yield* OtlpReceiver.make()
        const logs = yield* trace({ endpoint: `${endpoint}127.0.0.1:${receiver.port}` }, {
          OTEL_EXPORTER_OTLP_CERTIFICATE: files.ca,
          ...env
        })
        assert.strictEqual(receiver.spans.length, 1)
        assert.deepStrictEqual(logs, [])
      }))
  }

  for (
    const [form, toEndpoint] of [
      ["a path", (_, path) => `unix:${path}`],
      ["a URL of a socket", (_, path) => `unix://${path}`],
      ["a name", (port) => `dns:///localhost:${port}`],
      ["an address", (port) => `ipv4:127.0.0.1:${port}`]
    ] as ReadonlyArray<readonly [string, (port: number, path: string) => string]>
  ) {
    it.live(`is not used with INSECURE=true for a target as gRPC names them: ${form}`, () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.make()
        const path = join((yield* makeFiles).folder, "otel.sock")
        yield* Effect.acquireRelease(
          Effect.promise(() => {
            const { promise, resolve } = Promise.withResolvers<Net.Server>()
            const server = Net.createServer((socket) => {
              const upstream = Net.connect(receiver.port, "127.0.0.1")
              socket.pipe(upstream)
              upstream.pipe(socket)
              for (const end of [socket, upstream]) end.on("error", () => {})
            })
            server.listen(path, () => resolve(server))
            return promise
          }),
          (server) => Effect.sync(() => server.close())
        )
        const logs = yield* trace({ endpoint: toEndpoint(receiver.port, path) }, {
          OTEL_EXPORTER_OTLP_INSECURE: "true"
        })
        assert.strictEqual(receiver.spans.length, 1)
        assert.deepStrictEqual(logs, [])
      }))
  }

  it.live("https:// beats INSECURE=true", () =>
    Effect.gen(function*() {
      const files = yield* makeFiles
      const receiver = yield* OtlpReceiver.make({ tls: server })
      yield* trace({ endpoint: receiver.url }, {
        OTEL_EXPORTER_OTLP_CERTIFICATE: files.ca,
        OTEL_EXPORTER_OTLP_INSECURE: "true"
      })
      assert.strictEqual(receiver.spans.length, 1)
    }))
})

describe("a connection that cannot be secured", () => {
  // What the log must say, the collector's certificate being of our authority and only clients with one being served.
  const cases: ReadonlyArray<readonly [string, (files: Files) => Record<string, string>, ReadonlyArray<RegExp>]> = [
    ["the wrong authority", (files) => ({
      OTEL_EXPORTER_OTLP_CERTIFICATE: files.wrongCa,
      OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: files.cert,
      OTEL_EXPORTER_OTLP_CLIENT_KEY: files.key
    }), []],
    ["no certificate of the client's", (files) => ({ OTEL_EXPORTER_OTLP_CERTIFICATE: files.ca }), []],
    ["a key without its certificate", (files) => ({
      OTEL_EXPORTER_OTLP_CERTIFICATE: files.ca,
      OTEL_EXPORTER_OTLP_CLIENT_KEY: files.key
    }), [/^A client key and a client certificate must be given together; neither is used$/]],
    ["the key of another certificate", (files) => ({
      OTEL_EXPORTER_OTLP_CERTIFICATE: files.ca,
      OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: files.cert,
      OTEL_EXPORTER_OTLP_CLIENT_KEY: files.otherKey
    }), [/^The client key does not belong to the client certificate; neither is used$/]],
    ["files that are missing or no PEM", (files) => ({
      OTEL_EXPORTER_OTLP_CERTIFICATE: files.missing,
      OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: files.noPem,
      OTEL_EXPORTER_OTLP_CLIENT_KEY: files.noPem
    }), [
      /^The certificate authority in ".*missing\.pem" cannot be used \(ENOENT\) and is left out$/,
      /^The client key in ".*no\.pem" cannot be used \(\w+\) and is left out$/,
      /^The client certificate in ".*no\.pem" cannot be used \(\w+\) and is left out$/
    ]],
    ["a certificate in its binary form", (files) => ({
      OTEL_EXPORTER_OTLP_CERTIFICATE: files.der
    }), [/^The certificate authority in ".*ca\.der" cannot be used \(\w+\) and is left out$/]],
    ["certificates instead of their files", (files) => ({
      OTEL_EXPORTER_OTLP_CERTIFICATE: files.ca,
      OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: client.cert,
      OTEL_EXPORTER_OTLP_CLIENT_KEY: client.key
    }), [
      /^The client key must be given as the path of a file, not as its text, and is left out$/,
      /^The client certificate must be given as the path of a file, not as its text, and is left out$/
    ]]
  ]
  for (const [name, makeEnv, warnings] of cases) {
    it.live(`costs the spans, not the program, and is told while the layer is built: ${name}`, () =>
      Effect.gen(function*() {
        const files = yield* makeFiles
        const receiver = yield* OtlpReceiver.make({ tls: { ...server, clientCa: authority.cert } })
        const logs = yield* trace({ endpoint: receiver.url, shutdownTimeout: "500 millis" }, makeEnv(files))
        assert.strictEqual(receiver.spans.length, 0)
        for (const [index, warning] of warnings.entries()) assert.match(logs[index], warning)
        assert.match(logs.at(-1)!, /^Spans were lost, 1 in all: 1 not exported before release\. The last failure: 14 U/)
        for (const secret of ["hunter2", client.key.split("\n")[1]]) assert.notInclude(logs.join("\n"), secret)
      }))
  }

  it.live("the wrong authority is what `verify` and the log say it is", () =>
    Effect.gen(function*() {
      const files = yield* makeFiles
      const receiver = yield* OtlpReceiver.make({ tls: server })
      const env = { OTEL_EXPORTER_OTLP_CERTIFICATE: files.wrongCa }
      const error = yield* Effect.flip(trace({ endpoint: receiver.url, verify: true }, env))
      assert.strictEqual(error.reason._tag, "CollectorUnreachable")
      assert.match(error.message, /https:\/\/127\.0\.0\.1:\d+ cannot be reached: .*certificate/)
      const logs = yield* trace({ endpoint: receiver.url, shutdownTimeout: "500 millis" }, env)
      assert.match(logs.at(-1)!, /certificate/)
    }))
})

describe("the server's name", () => {
  /** A server that only shakes hands, and the names that it was asked for. */
  const makeServer = (address: string) =>
    Effect.acquireRelease(
      Effect.callback<{ readonly names: Array<string>; readonly listener: Tls.Server; readonly port: number }>(
        (resume) => {
          const names: Array<string> = []
          const listener = Tls.createServer({
            ...server,
            ALPNProtocols: ["h2"],
            SNICallback: (name, done) => {
              names.push(name)
              done(null)
            }
          }, (socket) => socket.destroy())
          listener.listen(0, address, () => {
            resume(Effect.succeed({ names, listener, port: (listener.address() as Net.AddressInfo).port }))
          })
        }
      ),
      ({ listener }) => Effect.callback<void>((resume) => void listener.close(() => resume(Effect.void)))
    )

  for (
    const { error, expected, host } of [
      { host: "localhost", expected: ["localhost"], error: /cannot be reached: (?!.*altnames)/ },
      { host: "127.0.0.1", expected: [], error: /cannot be reached: (?!.*altnames)/ },
      { host: "127.0.0.2", expected: [], error: /altnames: IP: 127\.0\.0\.2 is not in the cert's list/ }
    ]
  ) {
    it.live(`${host} is ${expected.length === 0 ? "an address, so it is not sent" : "sent"}, and checked`, () =>
      Effect.gen(function*() {
        const files = yield* makeFiles
        const { names, port } = yield* makeServer(host === "localhost" ? "127.0.0.1" : host)
        const failure = yield* Effect.flip(
          trace({ endpoint: `https://${host}:${port}`, verify: true }, { OTEL_EXPORTER_OTLP_CERTIFICATE: files.ca })
        )
        assert.deepStrictEqual(Array.from(new Set(names)), expected)
        assert.match(failure.message, error)
      }))
  }
})

describe("a collector that speaks something else", () => {
  const noTls = "The peer does not speak TLS: write http:// in the endpoint"
  const grpc =
    "The peer seems to speak gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or use the collector's port for HTTP"
  const http =
    "The peer seems to speak HTTP/1: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or use the collector's port"

  const plainGrpc = OtlpReceiver.make()
  const plainHttp = OtlpHttpReceiver.make()
  const cases: ReadonlyArray<
    readonly [string, protocol: string, make: Effect.Effect<{ readonly url: string }, never, Scope.Scope>, string]
  > = [
    ["gRPC with TLS to gRPC without", "grpc", plainGrpc, noTls],
    ["HTTPS to gRPC without TLS", "http/protobuf", plainGrpc, noTls],
    ["gRPC with TLS to HTTP", "grpc", plainHttp, noTls],
    ["HTTPS to HTTP", "http/protobuf", plainHttp, noTls],
    ["HTTP to gRPC", "http/protobuf", plainGrpc, grpc],
    ["gRPC to HTTP", "grpc", plainHttp, http],
    ["gRPC with TLS to HTTPS", "grpc", OtlpHttpReceiver.make({ tls: server }), http]
  ]
  for (const [name, protocol, make, remedy] of cases) {
    it.live(`is told, with what helps and without the libraries' sources: ${name}`, () =>
      Effect.gen(function*() {
        const files = yield* makeFiles
        const { url } = yield* make
        const endpoint = remedy === noTls ? url.replace("http:", "https:") : url
        const env = { OTEL_EXPORTER_OTLP_PROTOCOL: protocol, OTEL_EXPORTER_OTLP_CERTIFICATE: files.ca }
        const error = yield* Effect.flip(trace({ endpoint, verify: true }, env))
        const logs = yield* trace({ endpoint, shutdownTimeout: "500 millis" }, env)
        for (const text of [error.message, logs.at(-1)!]) {
          assert.include(text, `. ${remedy}`)
          assert.notMatch(text, /SSL routines|\.c:|Resolution note/)
        }
      }))
  }
})

describe("OTLP over HTTP", () => {
  it.live("is secured by the same certificates", () =>
    Effect.gen(function*() {
      const files = yield* makeFiles
      const receiver = yield* OtlpHttpReceiver.make({ tls: { ...server, clientCa: authority.cert } })
      const logs = yield* trace({ endpoint: receiver.url }, {
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
        OTEL_EXPORTER_OTLP_CERTIFICATE: files.ca,
        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: files.cert,
        OTEL_EXPORTER_OTLP_CLIENT_KEY: files.key
      })
      assert.deepStrictEqual(receiver.spans.map((span) => span.name), ["secured"])
      assert.deepStrictEqual(logs, [])
    }))
})
