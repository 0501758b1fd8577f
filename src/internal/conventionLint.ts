/**
 * Checks a span against the rules of the semantic conventions.
 *
 * @internal
 */
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type { GenAiSettings } from "../GenAiSettings.ts"
import type { ConventionViolation, RecordedSpan } from "../TracingTest.ts"
import * as Rules from "./conventionRules.ts"
import * as Semconv from "./semconv.ts"
import { TOOLKIT_ARGUMENTS, TOOLKIT_TOOL } from "./toolkitArguments.ts"

type Settings = Pick<GenAiSettings, "capture" | "convention">

type Report = (rule: ConventionViolation["rule"], message: string, attribute?: string) => void

// =============================================================================
// Operation
// =============================================================================

/** The rule of a span, and what to call it; `undefined` for a span that no convention speaks of. */
const ruleOf = (
  span: RecordedSpan,
  settings: Settings
): { readonly subject: string; readonly rule: Rules.OperationRule | undefined } | undefined => {
  const { attributes, kind } = span
  const method = attributes[Semconv.MCP_METHOD_NAME]
  const operation = attributes[Semconv.GEN_AI_OPERATION_NAME]
  // A tool span that was there already takes the attributes of the call by MCP and stays what it was.
  const isToolSpan = kind === "internal" && operation === "execute_tool"
  if (method !== undefined && !isToolSpan) return { subject: "MCP", rule: Rules.MCP }
  if (Predicate.isString(operation)) {
    const rule = lookUp(Rules.GEN_AI_OPERATIONS, operation)
    return {
      subject: operation,
      rule: settings.convention === "loom" && Rules.INFERENCE_OPERATIONS.has(operation)
        ? { ...rule!, otherNames: Rules.LOOM_LLM_NAMES }
        : rule
    }
  }
  if (Object.keys(attributes).some((key) => key.startsWith("messaging."))) {
    const type = attributes[Semconv.MESSAGING_OPERATION_TYPE]
    const rule = (Predicate.isString(type) ? lookUp(Rules.MESSAGING_OPERATIONS, type) : undefined) ?? Rules.MESSAGING
    const isTransient = attributes[Semconv.MESSAGING_DESTINATION_TEMPORARY] === true ||
      attributes[Semconv.MESSAGING_DESTINATION_ANONYMOUS] === true
    return {
      subject: Predicate.isString(type) ? `${type} (messaging)` : "messaging",
      rule: isTransient ? { ...rule, names: Rules.TRANSIENT_DESTINATION_NAMES } : rule
    }
  }
  return undefined
}

const lookUp = <A>(record: Readonly<Record<string, A>>, key: string): A | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined

/** Fills the attributes of a span into a name; `undefined` if one is missing. */
const fill = (template: string, span: RecordedSpan): string | undefined => {
  let complete = true
  const name = template.replace(/\{([^}]*)\}/g, (_, key: string) => {
    const value = span.attributes[key]
    complete &&= value !== undefined
    return String(value)
  })
  return complete ? name : undefined
}

const checkOperation = (span: RecordedSpan, settings: Settings, report: Report): void => {
  const { attributes, kind, name } = span
  const found = ruleOf(span, settings)
  const require = (key: string, why: string) => {
    if (attributes[key] === undefined) report("missing-attribute", `${key} is missing; it is required ${why}`, key)
  }
  if (found === undefined) {
    const sign = Object.keys(attributes).find((key) =>
      Rules.GEN_AI_CALL_PREFIXES.some((prefix) => key.startsWith(prefix))
    )
    if (sign !== undefined) require(Semconv.GEN_AI_OPERATION_NAME, `of a span with ${sign}`)
    return
  }
  const { rule, subject } = found
  if (span.status.code === "error") require(Semconv.ERROR_TYPE, "of a span that has failed")
  // MCP asks for none of this, also where it calls a tool.
  if (attributes[Semconv.GEN_AI_OPERATION_NAME] !== undefined && attributes[Semconv.MCP_METHOD_NAME] === undefined) {
    for (const [key, beside] of Object.entries(Rules.GEN_AI_REQUIRED_BESIDE)) {
      if (attributes[key] !== undefined) require(beside, `beside ${key}`)
    }
  }
  // An operation of the user's own.
  if (rule === undefined) return
  for (const key of rule.required) require(key, `of ${subject}`)
  if (kind === "client") {
    for (const key of rule.requiredOfClient ?? []) require(key, `of ${subject} in another service`)
  }
  if (!rule.kinds.includes(kind)) {
    report("span-kind", `the kind is ${kind}; that of ${subject} is ${rule.kinds.join(" or ")}`)
  }
  const expected = rule.names.map((template) => fill(template, span)).find(Predicate.isNotUndefined)
  const others = (rule.otherNames ?? []).map((template) => fill(template, span))
  if (expected !== undefined && name !== expected && !others.includes(name)) {
    report(
      "span-name",
      `the name is ${JSON.stringify(name)}; by its attributes it should be ${JSON.stringify(expected)}`
    )
  }
}

// =============================================================================
// Attributes
// =============================================================================

const isJson = (value: unknown): boolean => Predicate.isString(value) && Option.isSome(decodeJson(value))
const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

const TYPES: Record<Rules.AttributeType, readonly [check: (value: unknown) => boolean, description: string]> = {
  string: [Predicate.isString, "a string"],
  int: [Number.isInteger, "a whole number"],
  double: [Predicate.isNumber, "a number"],
  boolean: [Predicate.isBoolean, "true or false"],
  "string[]": [(value) => Array.isArray(value) && value.every(Predicate.isString), "an array of strings"],
  json: [isJson, "JSON in a string"]
}

const deprecatedAttribute = (key: string): Rules.Deprecated | undefined => {
  const own = lookUp(Rules.DEPRECATED_ATTRIBUTES, key)
  if (own !== undefined) return own
  const prefix = Object.keys(Rules.DEPRECATED_PREFIXES).find((prefix) => key.startsWith(prefix))
  return prefix === undefined
    ? undefined
    : { replacement: Rules.DEPRECATED_PREFIXES[prefix] + key.slice(prefix.length), loom: false }
}

const insteadOf = (name: string, { replacement }: Rules.Deprecated): string =>
  `${name} is deprecated; ${replacement === undefined ? "nothing has taken its place" : `write ${replacement}`}`

const isContent = (key: string): boolean =>
  Rules.CONTENT_ATTRIBUTES.has(key) || Rules.CONTENT_PATTERNS.some((pattern) => pattern.test(key))

const checkAttributes = (span: RecordedSpan, settings: Settings, report: Report): void => {
  const capturesOnSpan = settings.capture === "SPAN_ONLY" || settings.capture === "SPAN_AND_EVENT"
  const content = (name: string) => {
    if (!capturesOnSpan) report("content", `${name} holds content, while capture is ${settings.capture}`, name)
  }
  const deprecated = (name: string, entry: Rules.Deprecated | undefined) => {
    if (entry === undefined || (entry.loom && settings.convention === "loom")) return
    report("deprecated-name", insteadOf(name, entry), name)
  }
  for (const [key, value] of Object.entries(span.attributes)) {
    const type = Rules.ATTRIBUTE_TYPES.get(key)
    if (type !== undefined && !TYPES[type][0](value)) {
      report("wrong-type", `${key} is ${JSON.stringify(value)}; it should be ${TYPES[type][1]}`, key)
    }
    deprecated(key, deprecatedAttribute(key))
    const replacement = lookUp(lookUp(Rules.DEPRECATED_VALUES, key) ?? {}, String(value))
    if (replacement !== undefined) {
      report("deprecated-value", `${String(value)} is a deprecated value of ${key}; write ${replacement}`, key)
    }
    if (isContent(key)) content(key)
  }
  // As `effect/ai` writes what a tool was given on the span that is current.
  const { [TOOLKIT_ARGUMENTS]: args, [TOOLKIT_TOOL]: tool } = span.attributes
  if (Predicate.isString(tool) && isJson(args)) content(TOOLKIT_ARGUMENTS)
  for (const name of new Set(span.events.map((event) => event.name))) {
    const entry = lookUp(Rules.DEPRECATED_EVENTS, name)
    deprecated(name, entry)
    // All of the events that the convention has given up were there for content.
    if (entry !== undefined) content(name)
  }
  const capturesOnEvents = settings.capture === "EVENT_ONLY" || settings.capture === "SPAN_AND_EVENT"
  const current = span.events.filter(({ name }) => lookUp(Rules.DEPRECATED_EVENTS, name) === undefined)
  for (const key of new Set(current.flatMap(({ attributes }) => Object.keys(attributes)).filter(isContent))) {
    // An explanation has its place on an event whichever way content is recorded.
    const isAsked = key === Semconv.GEN_AI_EVALUATION_EXPLANATION ? settings.capture !== "NO_CONTENT" : capturesOnEvents
    if (!isAsked) report("content", `${key} of an event holds content, while capture is ${settings.capture}`, key)
  }
}

/**
 * What of a span goes against the conventions. Of one that has not ended, only
 * that is said: it is not complete.
 *
 * @internal
 */
export const violationsOf = (span: RecordedSpan, settings: Settings): ReadonlyArray<ConventionViolation> => {
  const violations: Array<ConventionViolation> = []
  const report: Report = (rule, message, attribute) => {
    violations.push({
      rule,
      span: span.name,
      spanId: span.spanId,
      ...(attribute === undefined ? undefined : { attribute }),
      message
    })
  }
  if (span.end === undefined) {
    report("not-ended", "the span has not ended")
    return violations
  }
  checkOperation(span, settings, report)
  checkAttributes(span, settings, report)
  return violations
}
