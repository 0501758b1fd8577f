import type { GenAiProvider, ServerAddress } from "../../GenAi.ts"

const PORTS: Readonly<Record<string, number>> = { "http:": 80, "https:": 443 }

/** The server that a base URL names. Credentials, path and query are nobody's business. */
export const serverOf = (baseUrl: string | URL): ServerAddress | undefined => {
  const text = String(baseUrl)
  if (text.startsWith("/")) return undefined
  const url = URL.parse(text.includes("://") ? text : `http://${text}`)
  if (url === null || url.hostname === "") return undefined
  const port = url.port === "" ? PORTS[url.protocol] : Number(url.port)
  return { address: url.hostname.replace(/^\[|\]$/g, ""), ...(port === undefined ? undefined : { port }) }
}

const HOSTS: ReadonlyArray<readonly [host: RegExp, provider: GenAiProvider]> = [
  [/(^|\.)api\.openai\.com$/, "openai"],
  [/(^|\.)api\.anthropic\.com$/, "anthropic"],
  [/\.openai\.azure\.(com|us|cn)$/, "azure.ai.openai"],
  [/\.(services|models|inference)\.ai\.azure\.com$/, "azure.ai.inference"],
  [/^bedrock[a-z-]*\..+\.(amazonaws\.com(\.cn)?|api\.aws)$/, "aws.bedrock"],
  [/(^|\.)generativelanguage\.googleapis\.com$/, "gcp.gemini"],
  [/(^|[.-])aiplatform\.googleapis\.com$/, "gcp.vertex_ai"],
  [/(^|\.)api\.cohere\.(com|ai)$/, "cohere"],
  [/(^|\.)api\.deepseek\.com$/, "deepseek"],
  [/(^|\.)api\.groq\.com$/, "groq"],
  [/(^|\.)api\.mistral\.ai$/, "mistral_ai"],
  [/(^|\.)api\.moonshot\.(ai|cn)$/, "moonshot_ai"],
  [/(^|\.)api\.perplexity\.ai$/, "perplexity"],
  [/(^|\.)api\.x\.ai$/, "x_ai"],
  [/\.ml\.cloud\.ibm\.com$/, "ibm.watsonx.ai"]
]

/** Who serves at an address: many providers speak OpenAI's API, and clouds speak Anthropic's. */
export const providerAt = (address: string): GenAiProvider | undefined =>
  HOSTS.find(([host]) => host.test(address.toLowerCase()))?.[1]
