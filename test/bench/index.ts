/** `npm run bench`: one script for each question, absolute times beside ratios. */
import { print } from "./measure.ts"
import * as off from "./off.ts"

for (const { question, title } of [off]) print(title, question(15))
