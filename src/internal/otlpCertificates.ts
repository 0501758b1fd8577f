import { createPrivateKey, X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import type { OtlpEnv } from "./otelEnv.ts"

/** Reads a PEM file and checks that it is what it should be; a bad one is reported and left out. */
const readPem = (
  path: string | undefined,
  what: string,
  check: (pem: Buffer) => unknown,
  report: (message: string) => void
): Buffer | undefined => {
  if (path === undefined) return undefined
  if (path.includes("-----BEGIN")) {
    report(`The ${what} must be given as the path of a file, not as its text, and is left out`)
    return undefined
  }
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

/** What a TLS connection to the collector is made with, by the names that Node has for it. @internal */
export interface Certificates {
  readonly ca: Buffer | undefined
  readonly key: Buffer | undefined
  readonly cert: Buffer | undefined
}

/**
 * Reads the certificates that the environment names: here, once, and not at the
 * first export.
 *
 * @internal
 */
export const readCertificates = (env: OtlpEnv, report: (message: string) => void): Certificates => {
  const { authority, clientCertificate, clientKey } = env.certificates
  const certificate = (pem: Buffer) => {
    // Node reads the binary form here, and not where it makes the connection.
    if (!pem.includes("-----BEGIN")) throw new Error("no PEM")
    return new X509Certificate(pem)
  }
  const ca = readPem(authority, "certificate authority", certificate, report)
  const key = readPem(clientKey, "client key", createPrivateKey, report)
  const cert = readPem(clientCertificate, "client certificate", certificate, report)
  if ((clientKey === undefined) !== (clientCertificate === undefined)) {
    report("A client key and a client certificate must be given together; neither is used")
  }
  if (key === undefined || cert === undefined) return { ca, key: undefined, cert: undefined }
  if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
    report("The client key does not belong to the client certificate; neither is used")
    return { ca, key: undefined, cert: undefined }
  }
  return { ca, key, cert }
}
