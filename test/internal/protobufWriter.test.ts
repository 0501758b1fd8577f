import { assert, describe, it } from "@effect/vitest"
import { ProtobufWriter } from "../../src/internal/protobufWriter.ts"

// So often that each of them is the one that finds no room.
const fields: ReadonlyArray<[what: string, write: (writer: ProtobufWriter) => void]> = [
  ["numbers", (writer) => writer.uint32(1, 2 ** 32 - 1)],
  ["integers", (writer) => writer.int64(1, -1)],
  ["32 bits", (writer) => writer.fixed32(2047, 1)],
  ["64 bits", (writer) => writer.fixed64(2047, 1, 2)],
  ["doubles", (writer) => writer.double(2047, 0.5)],
  ["short texts", (writer) => writer.string(1, "short")],
  ["short texts that are not plain", (writer) => writer.string(1, "\u0080")],
  ["long texts", (writer) => writer.string(1, "long".repeat(20))],
  ["a name", (writer) => writer.name(1, "a name that comes again")],
  ["bytes", (writer) => writer.byteString(1, Uint8Array.of(1, 2, 3))],
  ["hexadecimal digits", (writer) => writer.hex(1, "0aF9".repeat(8))],
  ["empty messages, shorter than thought", (writer) => writer.end(writer.begin(2047, 3), 3)],
  ["messages inside one another, longer than thought", (writer) => {
    const starts = Array.from({ length: 30 }, () => writer.begin(1))
    writer.string(1, "x".repeat(200))
    for (const start of starts.toReversed()) writer.end(start)
  }]
]

describe("ProtobufWriter", () => {
  for (const [what, write] of fields) {
    it(`writes the same wherever its memory ends: ${what}`, () => {
      const written = (capacity: number, times: number): Buffer => {
        const writer = new ProtobufWriter(capacity)
        for (let i = 0; i < times; i++) write(writer)
        return writer.finish()
      }
      const once = written(8192, 1)
      const expected = Buffer.concat(Array.from({ length: 8 }, () => once))
      for (let capacity = 0; capacity < expected.length; capacity++) {
        assert.isTrue(written(capacity, 8).equals(expected), `${capacity} bytes`)
      }
    })
  }

  // Of the examples and the rules in protobuf's "Encoding".
  const rows: ReadonlyArray<[what: string, write: (writer: ProtobufWriter) => void, hex: string]> = [
    ["a number", (writer) => writer.uint32(1, 150), "089601"],
    ["a number of a field whose tag has two bytes", (writer) => writer.uint32(16, 1), "800101"],
    ["32 bits of a negative number", (writer) => writer.uint32(1, -1), "08ffffffff0f"],
    ["zero for what is no number", (writer) => writer.uint32(1, Number.NaN), "0800"],
    ["the largest number", (writer) => writer.uint32(1, 2 ** 32 - 1), "08ffffffff0f"],
    ["a negative integer", (writer) => writer.int64(1, -2), "08feffffffffffffffff01"],
    ["an integer beyond 32 bits", (writer) => writer.int64(1, 2 ** 35), "08808080808001"],
    ["the smallest integer", (writer) => writer.int64(1, -(2 ** 63)), "0880808080808080808001"],
    ["a text", (writer) => writer.string(2, "testing"), "120774657374696e67"],
    ["a text that is no Unicode", (writer) => writer.string(2, "\ud800"), "1203efbfbd"],
    ["a message inside", (writer) => {
      const start = writer.begin(3)
      writer.uint32(1, 150)
      writer.end(start)
    }, "1a03089601"],
    ["bytes", (writer) => writer.byteString(1, Uint8Array.of(0, 255)), "0a0200ff"],
    ["bytes of hexadecimal digits in both cases", (writer) => writer.hex(1, "09afAF"), "0a0309afaf"],
    ["32 bits", (writer) => writer.fixed32(1, 2 ** 31), "0d00000080"],
    ["64 bits", (writer) => writer.fixed64(1, 2, 2 ** 31), "090000008002000000"],
    ["a double", (writer) => writer.double(1, 1), "09000000000000f03f"]
  ]
  for (const [what, write, hex] of rows) {
    it(`writes ${what}`, () => {
      const writer = new ProtobufWriter(64)
      write(writer)
      assert.strictEqual(writer.finish().toString("hex"), hex)
    })
  }

  // The message holds bytes, with a tag and a length of their own.
  const lengths: ReadonlyArray<[length: number, hex: string, content: number, contentHex: string]> = [
    [0, "00", -1, ""],
    [127, "7f", 125, "0a7d"],
    [128, "8001", 126, "0a7e"],
    [16_383, "ff7f", 16_380, "0afc7f"],
    [16_384, "808001", 16_381, "0afd7f"],
    [2_097_151, "ffff7f", 2_097_147, "0afbff7f"],
    [2_097_152, "80808001", 2_097_148, "0afcff7f"]
  ]
  for (const [length, hex, content, contentHex] of lengths) {
    for (const lengthSize of [1, 2, 3]) {
      it(`gives a message of ${length} bytes its length, where there was room for ${lengthSize} bytes of it`, () => {
        const writer = new ProtobufWriter(64)
        const start = writer.begin(1, lengthSize)
        if (content >= 0) writer.byteString(1, new Uint8Array(content).fill(7))
        writer.end(start, lengthSize)
        writer.uint32(2, 1)
        const expected = Buffer.concat([
          Buffer.from(`0a${hex}${contentHex}`, "hex"),
          Buffer.alloc(Math.max(content, 0), 7),
          Buffer.of(0x10, 1)
        ])
        assert.isTrue(writer.finish().equals(expected))
      })
    }
  }
})
