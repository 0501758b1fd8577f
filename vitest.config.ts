import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

// Tests start some hundred processes, and each would compile Effect and the SDK anew.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL("node_modules/.cache/compile", import.meta.url))

export default defineConfig({
  // `loom-tracing` and `loom-tracing/X` are the sources, as tsconfig.json says.
  resolve: { tsconfigPaths: true },
  test: {
    include: ["test/**/*.test.ts"],
    // Named, so that no environment adds a reporter and the summary stays the last thing printed.
    reporters: ["default"],
    // No test should take as long; one that hangs is told from one that shares a busy machine.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    sequence: { concurrent: false },
    // The default leaves a core free. On two cores that is half of them, while most tests wait for other processes.
    maxWorkers: Math.max(2, availableParallelism() - 1)
  }
})
