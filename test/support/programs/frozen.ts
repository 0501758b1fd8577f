/**
 * A platform for `test/examples/serverless.ts`: it calls the handler for each argument, and prints each answer. Then it
 * keeps the process as it is, as if frozen.
 */
import { handler } from "../../examples/serverless.ts"

for (const name of process.argv.slice(2)) {
  const { greeting } = await handler({ name })
  console.log(greeting)
}
setInterval(() => {}, 1_000_000)
