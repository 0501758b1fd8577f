/**
 * Turns OTLP requests into plain values, with the protobuf definitions that
 * OpenTelemetry generated, so that tests judge what a collector would read.
 */
import root from "otlp-ref/build/src/generated/root.js"

/** A value of an attribute as JavaScript has it; an integer beyond 2^53 is a `bigint`. */
export type AttributeValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | Uint8Array
  | ReadonlyArray<AttributeValue>
  | { readonly [key: string]: AttributeValue }

export interface Attributes {
  readonly attributes: Record<string, AttributeValue>
  /** The field of `AnyValue` that carried each attribute: `stringValue`, `intValue`, `doubleValue`, ... */
  readonly attributeTypes: Record<string, string>
  readonly droppedAttributesCount: number
}

export interface Origin {
  readonly scope: {
    readonly name: string
    readonly version: string
    readonly schemaUrl: string
    readonly attributes: Record<string, AttributeValue>
  }
  readonly resource: Record<string, AttributeValue>
}

export interface ReceivedEvent extends Attributes {
  readonly name: string
  readonly time: bigint
}

export interface ReceivedLink extends Attributes {
  readonly traceId: string
  readonly spanId: string
  readonly traceState: string
  readonly flags: number
}

export interface ReceivedSpan extends Attributes, Origin {
  readonly name: string
  readonly kind: typeof spanKinds[number]
  /** The `SpanKind` as it is on the wire. */
  readonly kindNumber: number
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly flags: number
  readonly traceState: string
  readonly startTime: bigint
  readonly endTime: bigint
  readonly events: ReadonlyArray<ReceivedEvent>
  readonly droppedEventsCount: number
  readonly links: ReadonlyArray<ReceivedLink>
  readonly droppedLinksCount: number
  readonly status: { readonly code: typeof statusCodes[number]; readonly message: string }
}

export interface ReceivedPoint {
  readonly attributes: Record<string, AttributeValue>
  readonly attributeTypes: Record<string, string>
  readonly startTime: bigint
  readonly time: bigint
  /** Of a sum or a gauge. */
  readonly value?: number | bigint
  /** Of a histogram, as the next four. */
  readonly count?: number | bigint
  readonly sum?: number
  readonly bucketCounts?: ReadonlyArray<number | bigint>
  readonly explicitBounds?: ReadonlyArray<number>
}

export interface ReceivedMetric extends Origin {
  readonly name: string
  readonly description: string
  readonly unit: string
  readonly type: "gauge" | "sum" | "histogram" | "exponentialHistogram" | "summary"
  readonly temporality: typeof temporalities[number]
  readonly isMonotonic: boolean
  readonly points: ReadonlyArray<ReceivedPoint>
}

const spanKinds = ["unspecified", "internal", "server", "client", "producer", "consumer"] as const
const statusCodes = ["unset", "ok", "error"] as const
const temporalities = ["unspecified", "delta", "cumulative"] as const
const metricTypes = ["gauge", "sum", "histogram", "exponentialHistogram", "summary"] as const

// What the generated code returns (its own declarations do not reach these messages).
// Fields that are absent from the wire are `null`, repeated ones are empty arrays.

interface Long {
  readonly low: number
  readonly high: number
}
interface WireAny {
  readonly value?: keyof WireAny
  readonly stringValue?: string
  readonly boolValue?: boolean
  readonly intValue?: Long
  readonly doubleValue?: number
  readonly arrayValue?: { readonly values: ReadonlyArray<WireAny> }
  readonly kvlistValue?: { readonly values: ReadonlyArray<WireKeyValue> }
  readonly bytesValue?: Uint8Array
}
interface WireKeyValue {
  readonly key: string | null
  readonly value: WireAny | null
}
interface WireAttributes {
  readonly attributes: ReadonlyArray<WireKeyValue>
  readonly droppedAttributesCount: number | null
}
interface WireScoped {
  readonly scope:
    | (WireAttributes & { readonly name: string | null; readonly version: string | null })
    | null
  readonly schemaUrl: string | null
}
interface WireResource {
  readonly resource: WireAttributes | null
}
interface WireSpan extends WireAttributes {
  readonly name: string | null
  readonly kind: number | null
  readonly traceId: Uint8Array | null
  readonly spanId: Uint8Array | null
  readonly parentSpanId: Uint8Array | null
  readonly flags: number | null
  readonly traceState: string | null
  readonly startTimeUnixNano: Long | null
  readonly endTimeUnixNano: Long | null
  readonly events: ReadonlyArray<WireAttributes & { readonly name: string | null; readonly timeUnixNano: Long | null }>
  readonly droppedEventsCount: number | null
  readonly links: ReadonlyArray<
    & WireAttributes
    & Pick<WireSpan, "traceId" | "spanId" | "traceState" | "flags">
  >
  readonly droppedLinksCount: number | null
  readonly status: { readonly code: number | null; readonly message: string | null } | null
}
interface WirePoint {
  readonly attributes: ReadonlyArray<WireKeyValue>
  readonly startTimeUnixNano: Long | null
  readonly timeUnixNano: Long | null
  readonly asInt?: Long | null
  readonly asDouble?: number | null
  readonly count?: Long | null
  readonly sum?: number | null
  readonly bucketCounts?: ReadonlyArray<Long>
  readonly explicitBounds?: ReadonlyArray<number>
}
interface WireMetric {
  readonly name: string | null
  readonly description: string | null
  readonly unit: string | null
  readonly data: typeof metricTypes[number]
  readonly [type: string]: unknown
}
interface WireTraces {
  readonly resourceSpans: ReadonlyArray<
    WireResource & { readonly scopeSpans: ReadonlyArray<WireScoped & { readonly spans: ReadonlyArray<WireSpan> }> }
  >
}
interface WireMetrics {
  readonly resourceMetrics: ReadonlyArray<
    & WireResource
    & { readonly scopeMetrics: ReadonlyArray<WireScoped & { readonly metrics: ReadonlyArray<WireMetric> }> }
  >
}
interface Message<A> {
  readonly decode: (bytes: Uint8Array) => A
}
interface ResponseMessage {
  readonly encode: (message: { readonly partialSuccess?: object }) => { readonly finish: () => Uint8Array }
}

const collector = (root as unknown as {
  readonly opentelemetry: {
    readonly proto: {
      readonly collector: {
        readonly trace: {
          readonly v1: {
            readonly ExportTraceServiceRequest: Message<WireTraces>
            readonly ExportTraceServiceResponse: ResponseMessage
          }
        }
        readonly metrics: {
          readonly v1: {
            readonly ExportMetricsServiceRequest: Message<WireMetrics>
            readonly ExportMetricsServiceResponse: ResponseMessage
          }
        }
      }
    }
  }
}).opentelemetry.proto.collector

const bits = (long: Long): bigint => (BigInt(long.high >>> 0) << 32n) | BigInt(long.low >>> 0)

const nanos = (long: Long | null): bigint => long === null ? 0n : bits(long)

const integer = (value: bigint): number | bigint =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value

const hex = (bytes: Uint8Array | null): string => bytes === null ? "" : Buffer.from(bytes).toString("hex")

const anyValue = (value: WireAny | null): AttributeValue => {
  switch (value?.value) {
    case "intValue":
      return integer(BigInt.asIntN(64, bits(value.intValue!)))
    case "arrayValue":
      return value.arrayValue!.values.map(anyValue)
    case "kvlistValue":
      return record(value.kvlistValue!.values)
    case "bytesValue":
      return Uint8Array.from(value.bytesValue!)
    case "stringValue":
    case "boolValue":
    case "doubleValue":
      return value[value.value]!
    default:
      return null
  }
}

const record = (list: ReadonlyArray<WireKeyValue>): Record<string, AttributeValue> =>
  Object.fromEntries(list.map(({ key, value }) => [key ?? "", anyValue(value)]))

const types = (list: ReadonlyArray<WireKeyValue>): Record<string, string> =>
  Object.fromEntries(list.map(({ key, value }) => [key ?? "", value?.value ?? "empty"]))

const attributes = (wire: WireAttributes): Attributes => ({
  attributes: record(wire.attributes),
  attributeTypes: types(wire.attributes),
  droppedAttributesCount: wire.droppedAttributesCount ?? 0
})

const origin = (resource: WireResource, scoped: WireScoped): Origin => ({
  scope: {
    name: scoped.scope?.name ?? "",
    version: scoped.scope?.version ?? "",
    schemaUrl: scoped.schemaUrl ?? "",
    attributes: record(scoped.scope?.attributes ?? [])
  },
  resource: record(resource.resource?.attributes ?? [])
})

const span = (wire: WireSpan, from: Origin): ReceivedSpan => ({
  name: wire.name ?? "",
  kind: spanKinds[wire.kind ?? 0] ?? "unspecified",
  kindNumber: wire.kind ?? 0,
  traceId: hex(wire.traceId),
  spanId: hex(wire.spanId),
  parentSpanId: hex(wire.parentSpanId) || undefined,
  flags: wire.flags ?? 0,
  traceState: wire.traceState ?? "",
  startTime: nanos(wire.startTimeUnixNano),
  endTime: nanos(wire.endTimeUnixNano),
  ...attributes(wire),
  events: wire.events.map((event) => ({
    name: event.name ?? "",
    time: nanos(event.timeUnixNano),
    ...attributes(event)
  })),
  droppedEventsCount: wire.droppedEventsCount ?? 0,
  links: wire.links.map((link) => ({
    traceId: hex(link.traceId),
    spanId: hex(link.spanId),
    traceState: link.traceState ?? "",
    flags: link.flags ?? 0,
    ...attributes(link)
  })),
  droppedLinksCount: wire.droppedLinksCount ?? 0,
  status: { code: statusCodes[wire.status?.code ?? 0] ?? "unset", message: wire.status?.message ?? "" },
  ...from
})

const point = (wire: WirePoint): ReceivedPoint => ({
  attributes: record(wire.attributes),
  attributeTypes: types(wire.attributes),
  startTime: nanos(wire.startTimeUnixNano),
  time: nanos(wire.timeUnixNano),
  ...(wire.asInt ? { value: integer(BigInt.asIntN(64, bits(wire.asInt))) } : undefined),
  ...(typeof wire.asDouble === "number" ? { value: wire.asDouble } : undefined),
  ...(wire.count ? { count: integer(bits(wire.count)) } : undefined),
  ...(typeof wire.sum === "number" ? { sum: wire.sum } : undefined),
  ...(wire.bucketCounts ? { bucketCounts: wire.bucketCounts.map((count) => integer(bits(count))) } : undefined),
  ...(wire.explicitBounds ? { explicitBounds: wire.explicitBounds } : undefined)
})

const metric = (wire: WireMetric, from: Origin): ReceivedMetric => {
  const data = wire[wire.data] as {
    readonly aggregationTemporality?: number | null
    readonly isMonotonic?: boolean | null
    readonly dataPoints: ReadonlyArray<WirePoint>
  }
  return {
    name: wire.name ?? "",
    description: wire.description ?? "",
    unit: wire.unit ?? "",
    type: wire.data,
    temporality: temporalities[data.aggregationTemporality ?? 0] ?? "unspecified",
    isMonotonic: data.isMonotonic ?? false,
    points: data.dataPoints.map(point),
    ...from
  }
}

/** The spans of an `ExportTraceServiceRequest`; throws when the bytes are none. */
export const decodeSpans = (bytes: Uint8Array): ReadonlyArray<ReceivedSpan> =>
  collector.trace.v1.ExportTraceServiceRequest.decode(bytes).resourceSpans.flatMap((resource) =>
    resource.scopeSpans.flatMap((scoped) => {
      const from = origin(resource, scoped)
      return scoped.spans.map((wire) => span(wire, from))
    })
  )

/** The metrics of an `ExportMetricsServiceRequest`; throws when the bytes are none. */
export const decodeMetrics = (bytes: Uint8Array): ReadonlyArray<ReceivedMetric> =>
  collector.metrics.v1.ExportMetricsServiceRequest.decode(bytes).resourceMetrics.flatMap((resource) =>
    resource.scopeMetrics.flatMap((scoped) => {
      const from = origin(resource, scoped)
      return scoped.metrics.map((wire) => metric(wire, from))
    })
  )

/** What the collector rejected of a request that it otherwise accepted. */
export interface Rejected {
  readonly count: number
  readonly message: string
}

/** An `ExportTraceServiceResponse`. */
export const encodeTraceResponse = (rejected?: Rejected): Uint8Array =>
  collector.trace.v1.ExportTraceServiceResponse.encode(
    rejected === undefined
      ? {}
      : { partialSuccess: { rejectedSpans: rejected.count, errorMessage: rejected.message } }
  ).finish()

/** An `ExportMetricsServiceResponse`. */
export const encodeMetricsResponse = (rejected?: Rejected): Uint8Array =>
  collector.metrics.v1.ExportMetricsServiceResponse.encode(
    rejected === undefined
      ? {}
      : { partialSuccess: { rejectedDataPoints: rejected.count, errorMessage: rejected.message } }
  ).finish()
