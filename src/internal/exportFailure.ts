/**
 * What a failed export means: whether the spans may be sent again and when, by
 * the OTLP specification ("Failures" and "Throttling" of OTLP/gRPC and OTLP/HTTP).
 *
 * @internal
 */
import * as Predicate from "effect/Predicate"
import { readFields } from "./protobufReader.ts"

/** @internal */
export type Verdict =
  /** Send again, after the delay in milliseconds if the server named one. */
  | { readonly _tag: "Retry"; readonly delay: number | undefined }
  /** The request was too large. */
  | { readonly _tag: "Split" }
  /** Sending again would not help. */
  | { readonly _tag: "Reject" }

const retry = (delay?: number): Verdict => ({ _tag: "Retry", delay })
const split: Verdict = { _tag: "Split" }
const reject: Verdict = { _tag: "Reject" }

/** No two servers word it alike, and proxies answer with UNKNOWN. */
const TOO_LARGE = /larger than max|too large|exceed\w*\b.{0,40}\bsize|HTTP status code 413/i

/** Where there is no status code there is only this to tell a bad connection from a bad request. */
const NETWORK_FAILURE = new RegExp(
  [
    "\\bE(CONN\\w+|PIPE|TIMEDOUT|AI_AGAIN|NOTFOUND|NETUNREACH|NETDOWN|HOSTUNREACH|HOSTDOWN)\\b",
    "\\bUND_ERR_",
    "time(d )?-?out",
    "socket hang up",
    "fetch failed",
    // The OTLP exporters' own words for a status that may be retried, and for too many requests at once.
    "retryable status",
    "concurrent export limit"
  ].join("|"),
  "i"
)

/** @internal */
export const judge = (error: unknown): Verdict => {
  const code = codeOf(error)
  switch (code) {
    case 1: // CANCELLED
    case 4: // DEADLINE_EXCEEDED
    case 10: // ABORTED
    case 14: // UNAVAILABLE
    case 15: // DATA_LOSS
      return retry(retryInfo(error)?.delay)
    case 11: // OUT_OF_RANGE
      return isTooLarge(error) ? split : retry(retryInfo(error)?.delay)
    case 8: { // RESOURCE_EXHAUSTED: by the specification only the server's RetryInfo says that it will pass
      const info = retryInfo(error)
      return info !== undefined ? retry(info.delay) : isTooLarge(error) ? split : reject
    }
    case 2: // UNKNOWN
    case 3: // INVALID_ARGUMENT
      return isTooLarge(error) ? split : reject
    case 413: // Content Too Large
      return split
    case 429:
    case 502:
    case 503:
    case 504:
      return retry(retryAfter(error))
  }
  return !isAnswer(error) && NETWORK_FAILURE.test(describe(error)) ? retry() : reject
}

/** grpc-js ends with it also where nothing follows. */
const EMPTY_NOTE = /\bResolution note:\s*$/

/** Where Node's own sources noticed it says nothing to the user: `4047:error:0A00010B:SSL routines:f:reason:f.c:77:`. */
const OPENSSL_ERROR =
  /(?:\b[0-9A-F]+:)?\berror:[0-9A-F]+:SSL routines:\w*:([^:]+):[^:]+:\d+:?(?:SSL alert number \d+)?/g

/** The error in one line, for a log. @internal */
export const describe = (error: unknown): string => {
  const code = codeOf(error)
  const text = Predicate.hasProperty(error, "message") ? error.message : error
  const message = oneLine(
    Predicate.isString(text) ? text.replace(OPENSSL_ERROR, "TLS: $1").replace(EMPTY_NOTE, "") : text
  )
  if (Predicate.isString(code) && !message.includes(code)) return oneLine(`${code} ${message}`)
  return message === "" ? "no reason was given" : message
}

/** The error and what the user can do about it, as the end of a log line. @internal */
export const explain = (error: unknown): string => describe(error) + remedy(error)

const remedy = (error: unknown): string => {
  switch (codeOf(error)) {
    case 7:
    case 16:
    case 401:
    case 403:
      return ". Check the credentials in OTEL_EXPORTER_OTLP_HEADERS"
    case 12:
    case 404:
    case 405:
      return ". Check that the endpoint is an OTLP receiver of traces, and for this protocol"
  }
  if (isRefusal(error)) return ""
  const description = describe(error)
  return WRONG_PEERS.find(([pattern]) => pattern.test(description))?.[1] ?? ""
}

/** What a peer that speaks something else makes of the libraries below. One that wants TLS just closes the connection. */
const WRONG_PEERS: ReadonlyArray<readonly [pattern: RegExp, remedy: string]> = [
  [
    /TLS: wrong version number/,
    ". The peer does not speak TLS: write http:// in the endpoint, or set OTEL_EXPORTER_OTLP_INSECURE=true where it can " +
    "have no such scheme"
  ],
  [
    /HPE_INVALID_CONSTANT|Parse Error: Expected HTTP\//,
    ". The peer seems to speak gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or use the collector's port for HTTP, " +
    "4318 as a rule"
  ],
  [
    /Last error: (?:Protocol error|Error: TLS: .*no application protocol)/,
    ". The peer seems to speak HTTP/1: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or use the collector's port for " +
    "gRPC, 4317 as a rule"
  ]
]

/** A text from elsewhere as the end of a log line: no line breaks, no full stop, no novel. @internal */
export const oneLine = (text: unknown): string =>
  Predicate.isString(text) ? text.replace(/[\p{Cc}\s]+/gu, " ").slice(0, 300).replace(/[\s.:]+$/, "").trimStart() : ""

/** Whether the failure is an answer, by its status, and not one of the exporter's own. @internal */
export const isAnswer = (error: unknown): boolean => Predicate.isNumber(codeOf(error))

/** Whether it is the collector's answer: our exporters have a status for what they were not answered, too. @internal */
export const isRefusal = (error: unknown): boolean => isAnswer(error) && !UNANSWERED.has(codeOf(error))

/** CANCELLED, DEADLINE_EXCEEDED and UNAVAILABLE. */
const UNANSWERED = new Set<unknown>([1, 4, 14])

const codeOf = (error: unknown): unknown => Predicate.hasProperty(error, "code") ? error.code : undefined

const isTooLarge = (error: unknown): boolean => TOO_LARGE.test(describe(error))

/** What our exporter has made of a `Retry-After` header. */
const retryAfter = (error: unknown): number | undefined =>
  Predicate.hasProperty(error, "retryAfter") && Predicate.isNumber(error.retryAfter) ? error.retryAfter : undefined

/** The `google.rpc.RetryInfo` among the details of a gRPC status, its delay in milliseconds. */
const retryInfo = (error: unknown): { readonly delay: number | undefined } | undefined => {
  const metadata = Predicate.hasProperty(error, "metadata") ? error.metadata : undefined
  if (!Predicate.hasProperty(metadata, "get") || !Predicate.isFunction(metadata.get)) return undefined
  const values: unknown = metadata.get("grpc-status-details-bin")
  if (!Array.isArray(values)) return undefined
  for (const status of values) {
    if (!(status instanceof Uint8Array)) continue
    for (const detail of bytesFields(status, 3)) { // google.rpc.Status.details
      const [type] = bytesFields(detail, 1) // google.protobuf.Any.type_url
      if (type === undefined || !textDecoder.decode(type).endsWith("/google.rpc.RetryInfo")) continue
      const [info] = bytesFields(detail, 2) // google.protobuf.Any.value
      const [delay] = info === undefined ? [] : bytesFields(info, 1) // google.rpc.RetryInfo.retry_delay
      if (delay === undefined) return { delay: undefined }
      const [seconds = 0] = varintFields(delay, 1) // google.protobuf.Duration.seconds
      const [nanos = 0] = varintFields(delay, 2) // google.protobuf.Duration.nanos
      const millis = seconds * 1000 + nanos / 1_000_000
      // A negative number comes out as a huge one.
      return { delay: millis > 0 && millis < Number.MAX_SAFE_INTEGER ? millis : undefined }
    }
  }
  return undefined
}

const textDecoder = new TextDecoder()

const bytesFields = (message: Uint8Array, field: number): Array<Uint8Array> =>
  fields(message, field).filter((value) => value instanceof Uint8Array)

const varintFields = (message: Uint8Array, field: number): Array<number> =>
  fields(message, field).filter(Predicate.isNumber)

/** The values of one field of a protobuf message, up to where the bytes stop making sense. */
const fields = (message: Uint8Array, wanted: number): Array<Uint8Array | number> => {
  const found: Array<Uint8Array | number> = []
  try {
    for (const [field, value] of readFields(message)) if (field === wanted) found.push(value)
  } catch {
    // What came before makes sense.
  }
  return found
}
