/** The name and version that spans of this package carry as their instrumentation scope. */
export const PACKAGE_NAME = "loom-tracing"

/** @internal */
export const PACKAGE_VERSION = "0.1.0"
