/**
 * The environment variables of the OpenTelemetry specification and of Loom,
 * read through Effect's `Config`. Reading never fails: a value that is wrong is
 * reported and replaced by the default, an empty one counts as unset.
 *
 * @internal
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { isGrpcTarget } from "./grpcTarget.ts"
import { withoutUser } from "./withoutUser.ts"

/** How the value of a variable is understood: `None` means that it is wrong. */
interface Format<A> {
  readonly expected: string
  readonly parse: (raw: string) => Option.Option<A>
}

const fromSchema = <A>(expected: string, schema: Schema.Codec<A, string>): Format<A> => ({
  expected,
  parse: Schema.decodeUnknownOption(schema)
})

const text: Format<string> = { expected: "a string", parse: Option.some }

const boolean: Format<boolean> = {
  expected: "\"true\" or \"false\"",
  parse: (raw) => {
    const value = raw.toLowerCase()
    return value === "true" || value === "false" ? Option.some(value === "true") : Option.none()
  }
}

const oneOf = <const A extends string>(...values: ReadonlyArray<A>): Format<A> => ({
  expected: values.map((value) => `"${value}"`).join(", "),
  parse: (raw) => Option.fromUndefinedOr(values.find((value) => value.toLowerCase() === raw.toLowerCase()))
})

const millis = fromSchema(
  "a whole number of milliseconds, 0 or more",
  Schema.NumberFromString.check(Schema.isInt(), Schema.isGreaterThanOrEqualTo(0))
)
/** No limit, as far as timers can hold it. */
const DAY = 24 * 60 * 60 * 1000
/** By the specification, a timeout of zero is none at all. */
const timeout: Format<number> = {
  expected: millis.expected,
  parse: (raw) => Option.map(millis.parse(raw), (value) => value === 0 ? DAY : Math.min(value, DAY))
}
/** As a timer can hold it: zero would be all the time. */
const interval: Format<number> = {
  expected: "a whole number of milliseconds, 1 or more",
  parse: (raw) => Option.map(Option.filter(millis.parse(raw), (value) => value > 0), (value) => Math.min(value, DAY))
}
const positiveInt = fromSchema(
  "a whole number, 1 or more",
  Schema.NumberFromString.check(Schema.isInt(), Schema.isGreaterThan(0))
)
const limit = fromSchema(
  "a whole number, 0 or more",
  Schema.NumberFromString.check(Schema.isInt(), Schema.isGreaterThanOrEqualTo(0))
)
const ratio = fromSchema(
  "a number from 0 to 1",
  Schema.NumberFromString.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
)

/** A gRPC or HTTP endpoint: a URL, a bare `host:port`, which means TLS, or a target of gRPC's own. */
export const isEndpoint = (raw: string): boolean => {
  if (isGrpcTarget(raw)) return true
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(raw)
  return (hasScheme ? /^https?:\/\//i : /^(\[[0-9a-f:]+\]|[\w.-]+)(:\d+)?(\/\S*)?$/i).test(raw) &&
    URL.canParse(hasScheme ? raw : `https://${raw}`)
}

const endpoint: Format<string> = {
  expected: "a URL such as http://localhost:4317",
  parse: Option.liftPredicate(isEndpoint)
}

/** Nothing meant for a person to write is longer, and what is goes along with every request. */
const MAX_LENGTH = 32_768

/** A value as a warning shows it. */
const show = (value: string): string => {
  const safe = withoutUser(value)
  return JSON.stringify(safe.length > 100 ? `${safe.slice(0, 100)}…` : safe)
}

interface Pairs {
  readonly entries: Record<string, string>
  readonly malformed: number
}

/** `key=value` pairs, percent-encoded, separated by commas. A malformed pair costs that pair only. */
const parsePairs = (raw: string): Pairs => {
  const entries: Array<[string, string]> = []
  let malformed = 0
  for (const part of raw.split(",")) {
    const pair = part.trim()
    if (pair === "") continue
    const equals = pair.indexOf("=")
    try {
      const key = decodeURIComponent(pair.slice(0, equals).trim())
      if (equals < 0 || key === "") throw new Error("no key")
      entries.push([key, decodeURIComponent(pair.slice(equals + 1).trim())])
    } catch {
      malformed++
    }
  }
  return { entries: Object.fromEntries(entries), malformed }
}

/** Whether a header can be sent as gRPC metadata: a printable ASCII value under a lower-case token. */
export const isHeader = (name: string, value: unknown): value is string =>
  /^[0-9a-z_.-]+$/i.test(name) && !name.toLowerCase().endsWith("-bin") && typeof value === "string" &&
  /^[\x20-\x7e]*$/.test(value)

const samplers = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio"
] as const

const detectors = ["host", "os", "process", "serviceinstance"] as const

/** The levels of OpenTelemetry's diagnostic logger, by the specification's names. */
const logLevels = ["none", "error", "warn", "info", "debug", "verbose", "all"] as const

/** @internal */
export const captureModes = ["NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"] as const

const CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

/** What becomes of a wrong variable beside which a more general one may count. */
const IGNORED = "it is ignored"

/** What reads single variables, and adds to the warnings what is wrong with them. */
const makeReader = (warnings: Array<string>) => {
  const raw = (name: string): Effect.Effect<Option.Option<string>> =>
    Config.option(Config.String(name)).pipe(
      Effect.map(Option.flatMap((value) => {
        if (value.length <= MAX_LENGTH) return value.trim() === "" ? Option.none() : Option.some(value.trim())
        warnings.push(`${name} has more than ${MAX_LENGTH} characters and is ignored`)
        return Option.none()
      })),
      Effect.catch((error) => {
        warnings.push(`${name} could not be read and is ignored: ${error.message}`)
        return Effect.succeedNone
      })
    )

  const read = <A>(
    name: string,
    format: Format<A>,
    outcome = "the default is used"
  ): Effect.Effect<A | undefined> =>
    Effect.map(raw(name), (value) => {
      if (Option.isNone(value)) return undefined
      const parsed = format.parse(value.value)
      if (Option.isNone(parsed)) {
        warnings.push(`${name} is ${show(value.value)}, expected ${format.expected}; ${outcome}`)
      }
      return Option.getOrUndefined(parsed)
    })

  /** A list of known words. A word that is not known costs that word only. */
  const readList = <const A extends string>(
    name: string,
    ...values: ReadonlyArray<A>
  ): Effect.Effect<ReadonlyArray<A> | undefined> =>
    Effect.map(raw(name), (value) => {
      if (Option.isNone(value)) return undefined
      const { expected, parse } = oneOf(...values)
      const known: Array<A> = []
      const unknown: Array<string> = []
      for (const part of value.value.split(",").map((part) => part.trim()).filter((part) => part !== "")) {
        const word = Option.getOrUndefined(parse(part))
        if (word === undefined) unknown.push(part)
        else known.push(word)
      }
      if (unknown.length > 0) {
        const outcome = known.length > 0 ? "the others count" : "the default is used"
        warnings.push(`${name} has ${show(unknown.join(", "))}, expected a list of ${expected}; ${outcome}`)
      }
      return known.length === 0 ? undefined : Array.from(new Set(known))
    })

  /** How a signal is exported: its own variables and, with less weight, those of all signals. */
  const readOtlp = Effect.fnUntraced(function*(signal: "TRACES" | "METRICS") {
    const readOne = Effect.fnUntraced(function*<A>(name: string, format: Format<A>) {
      const own = yield* read(`OTEL_EXPORTER_OTLP_${signal}_${name}`, format, IGNORED)
      return own ?? (yield* read(`OTEL_EXPORTER_OTLP_${name}`, format))
    })
    return {
      ownEndpoint: yield* read(`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`, endpoint, IGNORED),
      endpoint: yield* read("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
      headers: {
        ...(yield* readHeaders("OTEL_EXPORTER_OTLP_HEADERS")),
        ...(yield* readHeaders(`OTEL_EXPORTER_OTLP_${signal}_HEADERS`))
      },
      protocol: yield* readOne("PROTOCOL", oneOf("grpc", "http/protobuf")),
      timeout: yield* readOne("TIMEOUT", timeout),
      compression: yield* readOne("COMPRESSION", oneOf("none", "gzip")),
      insecure: yield* readOne("INSECURE", boolean),
      /** Paths of PEM files. */
      certificates: {
        authority: yield* readOne("CERTIFICATE", text),
        clientKey: yield* readOne("CLIENT_KEY", text),
        clientCertificate: yield* readOne("CLIENT_CERTIFICATE", text)
      }
    }
  })

  const readPairs = (name: string): Effect.Effect<Record<string, string>> =>
    Effect.map(raw(name), (value) => {
      if (Option.isNone(value)) return {}
      const pairs = parsePairs(value.value)
      // The value may hold a credential, so the message must not.
      if (pairs.malformed > 0) warnings.push(`${name} has ${pairs.malformed} malformed pair(s), which are left out`)
      return pairs.entries
    })

  /** Headers become gRPC metadata, which throws on what it cannot send. */
  const readHeaders = (name: string): Effect.Effect<Record<string, string>> =>
    Effect.map(readPairs(name), (entries) => {
      const headers: Record<string, string> = {}
      let unfit = 0
      for (const [key, value] of Object.entries(entries)) {
        if (isHeader(key, value)) headers[key] = value
        else unfit++
      }
      // Not by name: of a header that is not written as `name=value` the name holds the value.
      if (unfit > 0) warnings.push(`${name} has ${unfit} header(s) that cannot be sent, which are left out`)
      return headers
    })

  return { raw, read, readList, readPairs, readOtlp }
}

/**
 * Reads all variables that this package knows.
 *
 * @internal
 */
export const readOtelEnv = Effect.gen(function*() {
  const warnings: Array<string> = []
  const { raw, read, readList, readOtlp, readPairs } = makeReader(warnings)

  const samplerRatio = yield* read("OTEL_TRACES_SAMPLER_ARG", ratio)
  const loomContent = yield* raw("LOOM_TRACE_CONTENT")
  const capture = yield* read(CAPTURE, oneOf(...captureModes))
  const captureGiven = Option.isSome(yield* raw(CAPTURE))
  const semconvOptIn = yield* raw("OTEL_SEMCONV_STABILITY_OPT_IN")
  const attributeCount = yield* read("OTEL_ATTRIBUTE_COUNT_LIMIT", limit)
  const attributeLength = yield* read("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", positiveInt)

  const env = {
    disabled: (yield* read("OTEL_SDK_DISABLED", boolean)) ?? false,
    serviceName: yield* read("OTEL_SERVICE_NAME", text),
    resourceAttributes: yield* readPairs("OTEL_RESOURCE_ATTRIBUTES"),
    exporters: yield* readList("OTEL_TRACES_EXPORTER", "otlp", "console", "none"),
    traces: yield* readOtlp("TRACES"),
    propagators: yield* readList("OTEL_PROPAGATORS", "tracecontext", "baggage", "none"),
    resourceDetectors: yield* readList("OTEL_NODE_RESOURCE_DETECTORS", "all", "none", "env", ...detectors),
    logLevel: yield* read("OTEL_LOG_LEVEL", oneOf(...logLevels)),
    sampler: (yield* read("OTEL_TRACES_SAMPLER", oneOf(...samplers))) ?? "parentbased_always_on",
    samplerRatio: samplerRatio ?? 1,
    batch: {
      scheduleDelay: yield* read("OTEL_BSP_SCHEDULE_DELAY", millis),
      exportTimeout: yield* read("OTEL_BSP_EXPORT_TIMEOUT", timeout),
      maxQueueSize: yield* read("OTEL_BSP_MAX_QUEUE_SIZE", positiveInt),
      maxExportBatchSize: yield* read("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", positiveInt)
    },
    limits: {
      attributeCount: (yield* read("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", limit, IGNORED)) ?? attributeCount,
      // The SDK takes 0 for no limit.
      attributeLength: (yield* read("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", positiveInt, IGNORED)) ?? attributeLength,
      eventCount: yield* read("OTEL_SPAN_EVENT_COUNT_LIMIT", limit),
      linkCount: yield* read("OTEL_SPAN_LINK_COUNT_LIMIT", limit),
      attributesPerEvent: (yield* read("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", limit, IGNORED)) ?? attributeCount,
      attributesPerLink: (yield* read("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", limit, IGNORED)) ?? attributeCount
    },
    metrics: {
      ...(yield* readOtlp("METRICS")),
      exporters: yield* readList("OTEL_METRICS_EXPORTER", "otlp", "none"),
      exportInterval: yield* read("OTEL_METRIC_EXPORT_INTERVAL", interval),
      exportTimeout: yield* read("OTEL_METRIC_EXPORT_TIMEOUT", timeout)
    },
    genAi: {
      convention: Option.exists(semconvOptIn, (value) =>
          value.split(",").some((part) =>
            part.trim().toLowerCase() === "gen_ai_latest_experimental"
          ))
        ? "latest" as const
        : undefined,
      // Where somebody has tried to say what is captured, Loom's variable must not turn on more than they meant.
      capture: !captureGiven && Option.exists(loomContent, (value) =>
          value === "1" || value.toLowerCase() === "true")
        ? "SPAN_ONLY" as const
        : capture
    }
  }
  // A variable of all signals is read for each of them.
  return { ...env, warnings: Array.from(new Set(warnings)) as ReadonlyArray<string> }
})

/** @internal */
export type OtelEnv = Effect.Success<typeof readOtelEnv>

/**
 * How one signal is exported.
 *
 * @internal
 */
export type OtlpEnv = OtelEnv["traces"]
