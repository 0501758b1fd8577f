/**
 * A connection to a collector that is ours to give up, with all that is under
 * way on it. The stock exporters hide theirs: after an outage of a minute it
 * would wait another before it connects again, and what a collector does not
 * answer would keep the process alive. And they look at `process.env` behind
 * the back of `Config`.
 *
 * @internal
 */
import * as Grpc from "@grpc/grpc-js"
import { identity } from "effect/Function"
import * as Predicate from "effect/Predicate"
import { AsyncLocalStorage } from "node:async_hooks"
import * as Diagnostics from "node:diagnostics_channel"
import { isIP, type Socket } from "node:net"
import { isGrpcTarget } from "./grpcTarget.ts"
import type { OtlpEnv } from "./otelEnv.ts"
import { readCertificates } from "./otlpCertificates.ts"
import { PACKAGE_NAME, PACKAGE_VERSION } from "./version.ts"

/** A connection on which so many requests in a row went unanswered is taken to be dead, whatever TCP says. */
const MAX_DEADLINES = 3

const DEFAULT_TIMEOUT = 10_000

/** Milliseconds. */
const CONNECT_PATIENCE = 5000

/** @internal */
export interface GrpcConnectionOptions {
  readonly url: string
  /** Default: none, a connection without TLS. */
  readonly credentials?: Grpc.ChannelCredentials | undefined
  readonly metadata?: Grpc.Metadata | undefined
  readonly compression?: OtlpEnv["compression"]
  readonly timeoutMillis?: number | undefined
}

/** What gRPC connects to. Without a port it is the scheme's own: gRPC would take 443 for any. */
const addressOf = (url: string): string => {
  if (isGrpcTarget(url)) return url
  const { hostname, port, protocol } = new URL(url.includes("://") ? url : `https://${url}`)
  return `${hostname}:${port === "" ? protocol === "http:" ? 80 : 443 : port}`
}

/** Which connection has a socket made. gRPC does not say, and what it does is done later. */
const connecting = new AsyncLocalStorage<GrpcConnection>()

/** Where Node tells of every socket that connects somewhere. */
const SOCKETS = "net.client.socket"

/** @internal */
export class GrpcConnection {
  private readonly options: GrpcConnectionOptions
  private readonly calls = new Set<Grpc.ClientUnaryCall>()
  /** gRPC closes none that is still connecting, and the process would live until the system gives it up. */
  private readonly sockets = new Set<Socket>()
  private client: Grpc.Client | undefined
  private connectedAt = 0
  private deadlines = 0

  constructor(options: GrpcConnectionOptions) {
    this.options = options
  }

  send<A>(
    method: string,
    request: Buffer,
    read: (answer: Buffer) => A,
    done: (error: Grpc.ServiceError | null, answer: A | undefined) => void
  ): void {
    // When to try again is the caller's decision; the channel would rather wait.
    if (
      this.calls.size === 0 && this.client !== undefined &&
      stateOf(this.client) === Grpc.connectivityState.TRANSIENT_FAILURE
    ) {
      this.disconnect()
    }
    connecting.run(this, () => this.call(this.client ??= this.connect(), method, request, read, done))
  }

  private call<A>(
    client: Grpc.Client,
    method: string,
    request: Buffer,
    read: (answer: Buffer) => A,
    done: (error: Grpc.ServiceError | null, answer: A | undefined) => void
  ): void {
    const call = client.makeUnaryRequest(
      method,
      identity<Buffer>,
      read,
      request,
      this.options.metadata?.clone() ?? new Grpc.Metadata(),
      { deadline: Date.now() + (this.options.timeoutMillis ?? DEFAULT_TIMEOUT) },
      (error, answer) => {
        this.calls.delete(call)
        if (error?.code !== Grpc.status.DEADLINE_EXCEEDED) this.deadlines = 0
        else if (this.client === client && (++this.deadlines >= MAX_DEADLINES || this.isStuck(client))) {
          this.disconnect()
        }
        done(error, answer)
      }
    )
    this.calls.add(call)
  }

  /** Gives up what is not answered yet, which would keep the process alive until its deadline. */
  cancel(): void {
    for (const call of this.calls) call.cancel()
  }

  close(): void {
    this.cancel()
    this.disconnect()
  }

  /** Whether a connection has been in the making for long, which keeps the process alive, and nobody waits for it now. */
  private isStuck(client: Grpc.Client): boolean {
    return this.calls.size === 0 && performance.now() - this.connectedAt >= CONNECT_PATIENCE &&
      stateOf(client) !== Grpc.connectivityState.READY
  }

  private readonly onSocket = (message: unknown): void => {
    if (connecting.getStore() !== this) return
    const { socket } = message as { readonly socket: Socket }
    this.sockets.add(socket)
    socket.once("close", () => this.sockets.delete(socket))
  }

  private connect(): Grpc.Client {
    Diagnostics.subscribe(SOCKETS, this.onSocket)
    this.connectedAt = performance.now()
    const { credentials = Grpc.credentials.createInsecure(), url } = this.options
    return new Grpc.Client(addressOf(url), credentials, {
      "grpc.primary_user_agent": `${PACKAGE_NAME}/${PACKAGE_VERSION}`,
      "grpc.default_compression_algorithm": this.options.compression === "gzip"
        ? Grpc.compressionAlgorithms.gzip
        : Grpc.compressionAlgorithms.identity,
      // What it would look up in the DNS is of no use here, and cannot be given up.
      "grpc.service_config_disable_resolution": 1,
      // Else a new client would be given the old connection.
      "grpc.use_local_subchannel_pool": 1
    })
  }

  private disconnect(): void {
    Diagnostics.unsubscribe(SOCKETS, this.onSocket)
    const isReady = this.client !== undefined && this.deadlines < MAX_DEADLINES &&
      stateOf(this.client) === Grpc.connectivityState.READY
    this.client?.close()
    this.client = undefined
    // Where all is well, the collector is told goodbye.
    if (!isReady) { for (const socket of this.sockets) socket.destroy() }
    this.deadlines = 0
  }
}

const stateOf = (client: Grpc.Client): Grpc.connectivityState => client.getChannel().getConnectivityState(false)

/**
 * Credentials that do not name a server by its address in the handshake, as
 * gRPC does: the extension is for names alone (RFC 6066, section 3), and from
 * version 26 on Node refuses to. The certificate is checked against the address
 * all the same.
 */
const withoutAddressAsName = (credentials: Grpc.ChannelCredentials): Grpc.ChannelCredentials => {
  const create = credentials._createSecureConnector
  credentials._createSecureConnector = (...target) => {
    const connector = create.apply(credentials, target)
    const tls: unknown = Reflect.get(connector, "connectionOptions")
    if (Predicate.hasProperty(tls, "servername") && isIP(String(tls.servername)) !== 0) delete tls.servername
    return connector
  }
  return credentials
}

/**
 * How the connection is secured (OTLP exporter specification, "Configuration
 * Options"): the scheme of the endpoint decides, and where it has none,
 * `INSECURE`.
 */
const makeCredentials = (
  endpoint: string,
  env: OtlpEnv,
  report: (message: string) => void
): Grpc.ChannelCredentials => {
  const scheme = endpoint.slice(0, endpoint.indexOf("://") + 1).toLowerCase()
  const isPlain = scheme === "http:" || (scheme !== "https:" && env.insecure === true)
  if (isPlain) return Grpc.credentials.createInsecure()
  const { ca = null, cert = null, key = null } = readCertificates(env, report)
  return withoutAddressAsName(Grpc.credentials.createSsl(ca, key, cert))
}

/** @internal */
export const makeGrpcConnection = (
  endpoint: string,
  headers: Readonly<Record<string, string>>,
  env: OtlpEnv,
  report: (message: string) => void
): GrpcConnection => {
  const metadata = new Grpc.Metadata()
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  return new GrpcConnection({
    url: endpoint,
    metadata,
    credentials: makeCredentials(endpoint, env, report),
    timeoutMillis: env.timeout,
    compression: env.compression
  })
}
