/** The questions by name, each in a module of its own. */
import type { Question } from "./measure.ts"

export const questions: Readonly<Record<string, () => Promise<Question>>> = {
  span: async () => (await import("./span.ts")).question,
  inside: async () => (await import("./inside.ts")).question,
  off: async () => (await import("./off.ts")).question,
  carrier: async () => (await import("./carrier.ts")).question,
  envelope: async () => (await import("./envelope.ts")).question,
  export: async () => (await import("./export.ts")).question,
  startup: async () => (await import("./startup.ts")).question,
  scale: async () => (await import("./scale.ts")).question
}
