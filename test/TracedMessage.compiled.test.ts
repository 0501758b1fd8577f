// All that the envelope does, it does under Effect's schema compiler as well, which has to be there before the first schema.
await import("effect/schema/SchemaJITCompiler/enable")
const { assert, it } = await import("@effect/vitest")
const { Schema } = await import("effect")

it("Effect's schema compiler is on", () => {
  const { Function } = globalThis
  let compiled = 0
  globalThis.Function = new Proxy(Function, {
    apply: (target, self, sources) => {
      compiled++
      return Reflect.apply(target, self, sources)
    }
  })
  try {
    Schema.encodeSync(Schema.Struct({ id: Schema.Finite }))({ id: 1 })
  } finally {
    globalThis.Function = Function
  }
  assert.isAbove(compiled, 0)
})

await import("./TracedMessage.test.ts")
