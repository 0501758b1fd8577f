/**
 * OpenTelemetry as the package itself finds it. A plain import from here would
 * find the copies that the peers bring along, once those are installed.
 */
import type * as Api from "@opentelemetry/api"
import type * as ContextHooks from "@opentelemetry/context-async-hooks"
import type * as Core from "@opentelemetry/core"
import type * as Exporter from "@opentelemetry/exporter-trace-otlp-grpc"
import type * as Sdk from "@opentelemetry/sdk-trace-node"
import { createRequire } from "node:module"

const require = createRequire(new URL("../../package.json", import.meta.url))

export const Otel: typeof Api = require("@opentelemetry/api")
export const OtelContext: typeof ContextHooks = require("@opentelemetry/context-async-hooks")
export const OtelCore: typeof Core = require("@opentelemetry/core")
export const OtelExporter: typeof Exporter = require("@opentelemetry/exporter-trace-otlp-grpc")
export const OtelSdk: typeof Sdk = require("@opentelemetry/sdk-trace-node")
