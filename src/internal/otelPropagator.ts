import * as Otel from "@opentelemetry/api"
import * as Option from "effect/Option"
import { formatBaggage, formatTraceHeaders, parseBaggage, parseTraceHeaders, TraceState } from "../TraceContext.ts"
import type { BaggageMember, RemoteContext } from "../TraceContext.ts"

const FIELDS = ["traceparent", "tracestate", "baggage"] as const

/** OpenTelemetry's metadata is the text of a member's properties. This member has nothing else: `k=;PROPERTIES`. */
const CARRIER_OF_PROPERTIES = { key: "k", value: "" }
const PROPERTIES_START = "k=;".length

const toBaggage = (members: ReadonlyArray<BaggageMember>): Otel.Baggage => {
  const entries: Record<string, Otel.BaggageEntry> = Object.create(null)
  for (const { key, properties, value } of members) {
    const metadata = properties === undefined ? undefined : formatBaggage([{ ...CARRIER_OF_PROPERTIES, properties }])
    entries[key] = metadata === undefined
      ? { value }
      : { value, metadata: Otel.baggageEntryMetadataFromString(metadata.slice(PROPERTIES_START)) }
  }
  return Otel.propagation.createBaggage(entries)
}

const fromBaggage = (baggage: Otel.Baggage): ReadonlyArray<BaggageMember> =>
  baggage.getAllEntries().map(([key, { metadata, value }]) => {
    const properties = metadata === undefined ? undefined : parseBaggage(`k=;${metadata.toString()}`)[0]?.properties
    return properties === undefined ? { key, value } : { key, value, properties }
  })

/** A carrier's value as one header: repeated lists are joined, a repeated `traceparent` is none. */
const readHeader = <C>(carrier: C, getter: Otel.TextMapGetter<C>, name: string): string | undefined => {
  const key = getter.keys(carrier).find((key) => key.toLowerCase() === name) ?? name
  const value = getter.get(carrier, key)
  if (!Array.isArray(value)) return textOf(value)
  return name === "traceparent"
    ? value.length === 1 ? textOf(value[0]) : undefined
    : value.filter((item) => textOf(item) !== undefined).join(",")
}

/** A getter gives back what the carrier holds, which in messages may be bytes or a number, whatever its type says. */
const textOf = (value: unknown): string | undefined => typeof value === "string" ? value : undefined

/**
 * This package's codec as OpenTelemetry's propagator: the stock one loses the
 * random flag and breaks others.
 *
 * @internal
 */
export class LoomPropagator implements Otel.TextMapPropagator {
  private readonly propagators: { readonly tracecontext: boolean; readonly baggage: boolean }
  private readonly names: Array<string> = [...FIELDS]

  constructor(propagators: { readonly tracecontext: boolean; readonly baggage: boolean }) {
    this.propagators = propagators
  }

  inject(context: Otel.Context, carrier: unknown, setter: Otel.TextMapSetter): void {
    const spanContext = Otel.trace.getSpanContext(context)
    const baggage = Otel.propagation.getBaggage(context)
    const tracestate = spanContext?.traceState?.serialize()
    const remote: RemoteContext = {
      ...(this.propagators.tracecontext && spanContext !== undefined && Otel.isSpanContextValid(spanContext)
        ? { traceparent: spanContext, ...(tracestate === undefined ? undefined : { tracestate }) }
        : undefined),
      ...(this.propagators.baggage && baggage !== undefined ? { baggage: fromBaggage(baggage) } : undefined)
    }
    for (const [name, value] of Object.entries(formatTraceHeaders(remote))) setter.set(carrier, name, value)
  }

  extract<C>(context: Otel.Context, carrier: C, getter: Otel.TextMapGetter<C>): Otel.Context {
    const read = (name: string) => readHeader(carrier, getter, name)
    const headers: { traceparent?: string; tracestate?: string; baggage?: string } = {}
    for (const name of FIELDS) {
      const value = (name === "baggage" ? this.propagators.baggage : this.propagators.tracecontext)
        ? read(name)
        : undefined
      if (value !== undefined) headers[name] = value
    }
    const remote = Option.getOrUndefined(parseTraceHeaders(headers))
    let next = context
    if (remote?.traceparent !== undefined) {
      next = Otel.trace.setSpanContext(next, {
        ...remote.traceparent,
        isRemote: true,
        ...(remote.tracestate === undefined ? undefined : { traceState: new TraceState(remote.tracestate) })
      })
    }
    if (remote?.baggage !== undefined) next = Otel.propagation.setBaggage(next, toBaggage(remote.baggage))
    return next
  }

  /** The same array each time, and no other's: by it is seen whether this propagator is still the registered one. */
  fields(): Array<string> {
    return this.names
  }
}
