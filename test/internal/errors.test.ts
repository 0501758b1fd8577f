import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect } from "effect"
import { errorType, isSensitive, markSensitive } from "../../src/internal/errors.ts"

class Named extends Error {
  override readonly name: string
  constructor(name: unknown) {
    super("message")
    this.name = name as string
  }
}
const Nameless = (() => class extends Error {})()

describe("the type of an error", () => {
  const hostile = Object.defineProperty({}, "_tag", {
    get: (): never => {
      throw new Error("hands off")
    }
  })
  for (
    const [name, error, type] of [
      ["its tag", { _tag: "NotFound" }, "NotFound"],
      ["that of its reason", { _tag: "AiError", reason: { _tag: "RateLimited" } }, "RateLimited"],
      ["its own tag, where the reason has none", { _tag: "Failed", reason: "because" }, "Failed"],
      ["its class, where the tag is empty", Object.assign(new RangeError("x"), { _tag: "" }), "RangeError"],
      ["its class, where the tag is no text", Object.assign(new RangeError("x"), { _tag: 5 }), "RangeError"],
      ["its name", new Named("Overloaded"), "Overloaded"],
      ["its class, where it has no name of its own", new Named("Error"), "Named"],
      ["its class, where its name is empty", new Named(""), "Named"],
      ["its class, where its name is no text", new Named(5), "Named"],
      ["that of what was thrown", new Cause.UnknownError(new RangeError("x")), "RangeError"],
      ["that of the wrapper, where what was thrown has none", new Cause.UnknownError("text"), "UnknownError"],
      ["_OTHER, for a class without a name", new Nameless("x"), "_OTHER"],
      ["_OTHER, for an error without a class", Object.assign(new Error("x"), { constructor: undefined }), "_OTHER"],
      ["_OTHER, for a text", "text", "_OTHER"],
      ["_OTHER, for nothing", null, "_OTHER"],
      ["_OTHER, for what throws when it is touched", hostile, "_OTHER"]
    ] as ReadonlyArray<readonly [string, unknown, string]>
  ) {
    it(`is ${name}`, () => {
      assert.strictEqual(errorType(Cause.fail(error)), type)
      assert.strictEqual(errorType(Cause.die(error)), type)
    })
  }

  it("is that of the failure where there is a defect as well, and none of an interruption", () => {
    const failure = Cause.fail({ _tag: "Typed" })
    assert.strictEqual(errorType(Cause.combine(Cause.die(new RangeError("x")), failure)), "Typed")
    assert.isUndefined(errorType(Cause.interrupt(1)))
  })
})

describe("an error that has left a call is known again", () => {
  const span = Effect.runSync(Effect.makeSpan("call"))
  const error = new Error("the prompt was bad")
  markSensitive(Cause.combine(Cause.interrupt(1), Cause.fail(error)), span)
  const wrap = (cause: unknown) => new Error("lookup failed", { cause })
  const cyclic = new Error("around")
  cyclic.cause = cyclic
  const known = new AggregateError([new Error("other"), error], "both")
  for (
    const [name, again, expected] of [
      ["itself", error, true],
      ["as the cause of another", wrap(error), true],
      ["further down", wrap(wrap(error)), true],
      ["as the reason of another", { _tag: "AiError", reason: error }, true],
      ["as the error of another", { error }, true],
      ["among several", known, true],
      ["in a list", [new Error("other"), error], true],
      ["but not where it is held otherwise", { data: error }, false],
      ["but not by what it says", new Error(error.message), false],
      ["but not in one that has itself for its cause", cyclic, false],
      ["but not in a text", "lookup failed", false],
      ["but not in nothing", null, false]
    ] as ReadonlyArray<readonly [string, unknown, boolean]>
  ) {
    it(`${name}`, () => {
      assert.strictEqual(isSensitive(Cause.fail(again)), expected)
      assert.strictEqual(isSensitive(Cause.combine(Cause.interrupt(1), Cause.die(again))), expected)
    })
  }

  it("a text by its failure, and not where it comes again", () => {
    const cause = Cause.fail("the prompt was bad")
    markSensitive(cause, span)
    assert.isTrue(isSensitive(cause))
    assert.isFalse(isSensitive(Cause.fail("the prompt was bad")))
  })

  it("not an interruption", () => {
    assert.isFalse(isSensitive(Cause.interrupt(1)))
  })
})
