import { assert, describe, it } from "@effect/vitest"
import { readPartialSuccess } from "../../src/internal/otlpResponse.ts"
import * as OtlpDecoder from "../support/OtlpDecoder.ts"

const NONSENSE = { errorMessage: "its answer is not a valid ExportTraceServiceResponse" }

const fromHex = (text: string): ReadonlyArray<number> => [...Buffer.from(text.replaceAll(" ", ""), "hex")]

/** The bytes of a message, with its tag and length, as field 1. */
const partial = (...bytes: ReadonlyArray<number>): ReadonlyArray<number> => [0x0a, bytes.length, ...bytes]

describe("readPartialSuccess", () => {
  for (const [rejected, message] of [[0, ""], [3, "too old"], [128, "é🦊"], [2 ** 40, "x".repeat(300)]] as const) {
    it(`reads ${rejected} rejected spans and a message of ${message.length} characters`, () => {
      const response = OtlpDecoder.encodeTraceResponse({ count: rejected, message })
      assert.deepStrictEqual(readPartialSuccess(response), {
        rejectedSpans: rejected,
        errorMessage: message
      })
    })
  }

  const rows: ReadonlyArray<[what: string, bytes: ReadonlyArray<number>, read: unknown]> = [
    ["no partial success", [], undefined],
    ["an empty partial success", partial(), {}],
    ["a partial success in two parts, which belong together", [...partial(8, 3), ...partial(0x12, 1, 0x61)], {
      rejectedSpans: 3,
      errorMessage: "a"
    }],
    ["fewer than no spans, which are none", partial(8, ...Array.from({ length: 9 }, () => 0xff), 1), {
      rejectedSpans: 0
    }],
    ["fields that a later version may have, of every type", [
      ...fromHex("108001 190102030405060708 22020102 2d01020304"),
      ...partial(...fromHex("1801 210102030405060708 2a0101 3501020304 0807"))
    ], { rejectedSpans: 7 }],
    ["the known fields under types that they do not have", [0x08, 1, ...partial(0x0a, 1, 1, 0x10, 1)], {}],
    ["a length beyond the end", [0x0a, 5, 8, 1], NONSENSE],
    ["a length beyond the end of the message inside", partial(0x12, 9, 1), NONSENSE],
    ["a number that is cut off", partial(8, 0x80), NONSENSE],
    ["a number of more than 64 bits", partial(8, ...Array.from({ length: 10 }, () => 0x80), 1), NONSENSE],
    ["fixed bytes that are cut off", [0x19, 1, 2], NONSENSE],
    ["a type that there is not", [0x0b, 1], NONSENSE],
    ["an error page", [...Buffer.from("<html><body>502 Bad Gateway</body></html>")], NONSENSE]
  ]
  for (const [what, bytes, read] of rows) {
    it(`reads ${what}`, () => {
      assert.deepStrictEqual(readPartialSuccess(Uint8Array.from(bytes)), read)
    })
  }
})
