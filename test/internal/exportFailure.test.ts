import { assert, describe, it } from "@effect/vitest"
import * as Failure from "../../src/internal/exportFailure.ts"

describe("a failed export in one line", () => {
  it("has grpc-js's resolution note only where that says something", () => {
    const shown = (note: string) => {
      const message = `14 UNAVAILABLE: No connection established. Last error: Error: refused. Resolution note: ${note}`
      return Failure.describe(Object.assign(new Error(message), { code: 14 }))
    }
    assert.strictEqual(shown(""), "14 UNAVAILABLE: No connection established. Last error: Error: refused")
    assert.match(shown("no more addresses"), /refused\. Resolution note: no more addresses$/)
  })
})
