/** Certificates made on the spot, as Node has no maker of them: X.509 (RFC 5280) in DER, as far as TLS wants it. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto"

/** PEM texts. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

export interface Authority extends Certificate {
  /** A certificate of this authority for the server at 127.0.0.1 and localhost, or for a client. */
  readonly issue: (name: string) => Certificate
}

const der = (tag: number, ...parts: ReadonlyArray<Uint8Array>): Buffer => {
  const body = Buffer.concat(parts)
  const { length } = body
  const header = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...header]), body])
}
const sequence = (...parts: ReadonlyArray<Uint8Array>): Buffer => der(0x30, ...parts)
const oid = (...bytes: ReadonlyArray<number>): Buffer => der(0x06, Buffer.from(bytes))
const bitString = (bits: Uint8Array): Buffer => der(0x03, Buffer.from([0]), bits)
const time = (date: Date): Buffer => der(0x18, Buffer.from(`${date.toISOString().replace(/[-:T]|\..*/g, "")}Z`))

const ECDSA_WITH_SHA256 = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02))
const TRUE = der(0x01, Buffer.from([0xff]))

const commonName = (name: string): Buffer =>
  sequence(der(0x31, sequence(oid(0x55, 0x04, 0x03), der(0x0c, Buffer.from(name)))))

const basicConstraints = (isAuthority: boolean): Buffer =>
  sequence(oid(0x55, 0x1d, 0x13), TRUE, der(0x04, isAuthority ? sequence(TRUE) : sequence()))

const subjectAltNames: Buffer = sequence(
  oid(0x55, 0x1d, 0x11),
  der(0x04, sequence(der(0x82, Buffer.from("localhost")), der(0x87, Buffer.from([127, 0, 0, 1]))))
)

interface Issuer {
  readonly name: string
  readonly privateKey: KeyObject
}

const make = (name: string, issuer?: Issuer): Certificate & Issuer => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const signer = issuer ?? { name, privateKey }
  const day = 24 * 60 * 60 * 1000
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1]), randomBytes(8)),
    ECDSA_WITH_SHA256,
    commonName(signer.name),
    sequence(time(new Date(Date.now() - day)), time(new Date(Date.now() + day))),
    commonName(name),
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(basicConstraints(issuer === undefined), subjectAltNames))
  )
  const certificate = sequence(body, ECDSA_WITH_SHA256, bitString(sign("sha256", body, signer.privateKey)))
  return {
    name,
    privateKey,
    cert: `-----BEGIN CERTIFICATE-----\n${certificate.toString("base64")}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }) as string
  }
}

/** A certificate authority that exists for a day, and that nobody trusts but for being told to. */
export const makeAuthority = (name: string): Authority => {
  const authority = make(name)
  return { cert: authority.cert, key: authority.key, issue: (name) => make(name, authority) }
}
