import { type ChannelCredentials, credentials } from "@grpc/grpc-js"
import { createPrivateKey, X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import type { OtelEnv } from "./otelEnv.ts"

/** Reads a PEM file and checks that it is what it should be; a bad one is reported and left out. */
const readPem = (
  path: string | undefined,
  what: string,
  check: (pem: Buffer) => unknown,
  report: (message: string) => void
): Buffer | undefined => {
  if (path === undefined) return undefined
  try {
    const pem = readFileSync(path)
    check(pem)
    return pem
  } catch (error) {
    // Not the error's message: of a file that is no key it may show the beginning.
    const code = (error as NodeJS.ErrnoException).code ?? "invalid"
    report(`The ${what} in ${JSON.stringify(path)} cannot be used (${code}) and is left out`)
    return undefined
  }
}

/**
 * How the connection to the collector is secured (OTLP exporter specification,
 * "Configuration Options"): the scheme of the endpoint decides, and where it has
 * none, `INSECURE`. Certificates are read here, once, and not at the first export.
 *
 * @internal
 */
export const makeCredentials = (
  endpoint: string,
  env: OtelEnv,
  report: (message: string) => void
): ChannelCredentials => {
  const isPlain = endpoint.startsWith("http://") || (!endpoint.startsWith("https://") && env.insecure === true)
  if (isPlain) return credentials.createInsecure()
  const { authority, clientCertificate, clientKey } = env.certificates
  const certificate = (pem: Buffer) => new X509Certificate(pem)
  const root = readPem(authority, "certificate authority", certificate, report)
  const key = readPem(clientKey, "client key", createPrivateKey, report)
  const chain = readPem(clientCertificate, "client certificate", certificate, report)
  if ((clientKey === undefined) !== (clientCertificate === undefined)) {
    report("A client key and a client certificate must be given together; neither is used")
  }
  return key === undefined || chain === undefined
    ? credentials.createSsl(root ?? null)
    : credentials.createSsl(root ?? null, key, chain)
}
