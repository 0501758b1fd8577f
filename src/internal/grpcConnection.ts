import { type ChannelCredentials, credentials, Metadata } from "@grpc/grpc-js"
import type { OtlpEnv } from "./otelEnv.ts"
import { readCertificates } from "./otlpCertificates.ts"

/** What an exporter connects to a collector with. @internal */
export interface GrpcConnection {
  readonly url: string
  readonly metadata: Metadata
  readonly credentials: ChannelCredentials
  readonly timeoutMillis: number | undefined
  readonly compression: OtlpEnv["compression"]
}

/**
 * How the connection is secured (OTLP exporter specification, "Configuration
 * Options"): the scheme of the endpoint decides, and where it has none,
 * `INSECURE`.
 */
const makeCredentials = (endpoint: string, env: OtlpEnv, report: (message: string) => void): ChannelCredentials => {
  const scheme = endpoint.slice(0, endpoint.indexOf("://") + 1).toLowerCase()
  const isPlain = scheme === "http:" || (scheme !== "https:" && env.insecure === true)
  if (isPlain) return credentials.createInsecure()
  const { ca = null, cert = null, key = null } = readCertificates(env, report)
  return credentials.createSsl(ca, key, cert)
}

/** @internal */
export const makeGrpcConnection = (
  endpoint: string,
  headers: Readonly<Record<string, string>>,
  env: OtlpEnv,
  report: (message: string) => void
): GrpcConnection => {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  return {
    url: endpoint,
    metadata,
    credentials: makeCredentials(endpoint, env, report),
    timeoutMillis: env.timeout,
    compression: env.compression
  }
}
