import { assert, describe, it } from "@effect/vitest"
import { ProtobufWriter } from "../../src/internal/protobufWriter.ts"

/** Everything that can be written, each in a message of its own, and messages in one another that are longer than thought. */
const writeAll = (writer: ProtobufWriter): string => {
  const fields: ReadonlyArray<() => void> = [
    () => writer.uint32(1, 2 ** 32 - 1),
    () => writer.int64(1, -1),
    () => writer.fixed32(1, 1),
    () => writer.fixed64(1, 1, 2),
    () => writer.double(1, 0.5),
    () => writer.string(1, "short"),
    () => writer.string(1, "\u0080"),
    () => writer.string(1, "long".repeat(50)),
    () => writer.name(1, "name"),
    () => writer.name(1, "name"),
    () => writer.byteString(1, Uint8Array.of(1, 2, 3)),
    () => writer.hex(1, "0aF9")
  ]
  const all = writer.begin(1)
  for (const field of fields) {
    const start = writer.begin(2048)
    field()
    writer.end(start)
  }
  const starts = Array.from({ length: 30 }, () => writer.begin(1))
  writer.string(1, "long".repeat(50))
  for (const start of starts.toReversed()) writer.end(start)
  writer.end(all)
  return writer.finish().toString("hex")
}

describe("ProtobufWriter", () => {
  it("writes the same, wherever its memory ends", () => {
    const expected = writeAll(new ProtobufWriter(1024))
    for (let capacity = 0; capacity < expected.length / 2 + 16; capacity++) {
      assert.strictEqual(writeAll(new ProtobufWriter(capacity)), expected, `${capacity} bytes`)
    }
  })

  // Of the examples and the rules in protobuf's "Encoding".
  const rows: ReadonlyArray<[what: string, write: (writer: ProtobufWriter) => void, hex: string]> = [
    ["a number", (writer) => writer.uint32(1, 150), "089601"],
    ["a number of a field whose tag has two bytes", (writer) => writer.uint32(16, 1), "800101"],
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

  const lengths: ReadonlyArray<[length: number, content: number, hex: string]> = [
    [0, -1, "00"],
    [127, 125, "7f"],
    [128, 126, "8001"],
    [16_383, 16_380, "ff7f"],
    [16_384, 16_381, "808001"],
    [2_097_151, 2_097_147, "ffff7f"],
    [2_097_152, 2_097_148, "80808001"]
  ]
  for (const [length, content, hex] of lengths) {
    for (const lengthSize of [1, 2, 3]) {
      it(`gives a message of ${length} bytes its length, where there was room for ${lengthSize} bytes of it`, () => {
        const writer = new ProtobufWriter(64)
        const start = writer.begin(1, lengthSize)
        if (content >= 0) writer.byteString(1, new Uint8Array(content).fill(7))
        writer.end(start, lengthSize)
        writer.uint32(2, 1)
        const inner = content < 0 ? [] : [new ProtobufWriter(0)]
        for (const writer of inner) writer.byteString(1, new Uint8Array(content).fill(7))
        const expected = Buffer.concat([
          Buffer.from(`0a${hex}`, "hex"),
          ...inner.map((writer) => writer.finish()),
          Buffer.of(0x10, 1)
        ])
        assert.isTrue(writer.finish().equals(expected))
      })
    }
  }
})
