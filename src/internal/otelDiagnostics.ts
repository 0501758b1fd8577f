import * as Otel from "@opentelemetry/api"
import { apiRegistry } from "./otelApi.ts"

/** What hears OpenTelemetry's own diagnostics while a layer lives. @internal */
export interface Diagnostics {
  readonly logger: Otel.DiagLogger
  readonly logLevel: Otel.DiagLogLevel
}

const registered = (): Otel.DiagLogger | undefined => apiRegistry()?.diag

const layers: Array<Diagnostics> = []
/** What has last been registered here; any other is the program's. */
let ours: Otel.DiagLogger | undefined
let programs: Otel.DiagLogger | undefined

const register = (): void => {
  const { logger, logLevel } = layers.at(-1) ?? { logger: programs, logLevel: Otel.DiagLogLevel.ALL }
  if (logger === undefined) Otel.diag.disable()
  else Otel.diag.setLogger(logger, { logLevel, suppressOverrideMessage: true })
  ours = registered()
}

/**
 * Registers a logger, until what is returned is called. Then the layer before
 * hears the diagnostics again, or the program's own logger, unless the program
 * has registered another one meanwhile.
 *
 * @internal
 */
export const addDiagnostics = (layer: Diagnostics): () => void => {
  if (registered() !== ours) programs = registered()
  layers.push(layer)
  register()
  return () => {
    layers.splice(layers.indexOf(layer), 1)
    if (registered() === ours) register()
  }
}
