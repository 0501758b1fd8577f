import { withoutUser } from "./withoutUser.ts"

/**
 * What a request cannot have. Over gRPC: what HTTP/2 forbids (RFC 9113, 8.2.2), which grpc-js would try to send again
 * and again without a pause, and what grpc-js or HTTP/2 itself says. Over HTTP: what contradicts a length.
 */
const UNFIT: Record<"gRPC" | "HTTP", RegExp> = {
  gRPC: new RegExp(
    "^(?:connection|keep-alive|proxy-connection|transfer-encoding|upgrade|http2-settings|te|trailer|" +
      "content-length|content-type|host|grpc-.*)$",
    "i"
  ),
  HTTP: /^(?:transfer-encoding|trailer)$/i
}

/**
 * The headers that can be sent, with a warning of the others.
 *
 * @internal
 */
export const sendableHeaders = (
  headers: Readonly<Record<string, string>>,
  protocol: "gRPC" | "HTTP",
  endpoint: string,
  report: (message: string) => void
): Record<string, string> => {
  const isUnfit = (name: string) => UNFIT[protocol].test(name)
  const unfit = Object.keys(headers).filter(isUnfit)
  if (unfit.length === 0) return { ...headers }
  report(
    `The endpoint ${withoutUser(endpoint)} has ${unfit.length} header(s) that cannot be sent over ${protocol}, ` +
      `which are left out: ${unfit.join(", ").toLowerCase()}`
  )
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !isUnfit(name)))
}
