// All that the envelope does, it does under Effect's schema compiler as well, which has to be there before the first schema.
await import("effect/schema/SchemaJITCompiler/enable")
await import("./TracedMessage.test.ts")
