/** An address for a log: without the credentials that it may hold. @internal */
export const withoutUser = (endpoint: string): string =>
  endpoint.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, "$1<redacted>@")
