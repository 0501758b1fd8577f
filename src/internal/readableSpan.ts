/**
 * What the SDK's spans are read as, wherever they are shown.
 *
 * @internal
 */
import { type HrTime, SpanKind, SpanStatusCode } from "@opentelemetry/api"
import type * as Tracer from "effect/Tracer"

/** @internal */
export const KIND_NAMES: Record<SpanKind, Tracer.SpanKind> = {
  [SpanKind.INTERNAL]: "internal",
  [SpanKind.SERVER]: "server",
  [SpanKind.CLIENT]: "client",
  [SpanKind.PRODUCER]: "producer",
  [SpanKind.CONSUMER]: "consumer"
}

/** @internal */
export const STATUS_NAMES = {
  [SpanStatusCode.UNSET]: "unset",
  [SpanStatusCode.OK]: "ok",
  [SpanStatusCode.ERROR]: "error"
} as const

/** @internal */
export const toMillis = ([seconds, nanos]: HrTime): number => seconds * 1000 + nanos / 1_000_000
