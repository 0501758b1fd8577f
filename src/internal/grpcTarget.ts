/** A target as gRPC names them. What has but digits behind the colon is a host of that name, and its port. */
const GRPC_TARGET = /^(?:unix|dns|ipv4|ipv6):(?!\d+(?:\/|$))\S*\w/

/**
 * Whether an endpoint is written as gRPC alone understands it (gRPC name
 * resolution), such as `unix:/run/otel.sock` or `dns:///collector:4317`.
 *
 * @internal
 */
export const isGrpcTarget = (endpoint: string): boolean => GRPC_TARGET.test(endpoint)
