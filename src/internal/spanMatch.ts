/**
 * How a recorded span is compared with what a test expects of it, and how both
 * are written down for a person.
 *
 * @internal
 */
import * as Predicate from "effect/Predicate"
import type {
  AttributesExpectation,
  EventExpectation,
  LinkExpectation,
  RecordedSpan,
  SpanDifference,
  SpanExpectation
} from "../TracingTest.ts"

// =============================================================================
// Comparison
// =============================================================================

/** Finds recorded spans by their identity. */
type Lookup = (identity: { readonly traceId: string; readonly spanId: string }) => RecordedSpan | undefined

const lookupIn = (spans: ReadonlyArray<RecordedSpan>): Lookup => {
  const byId = new Map(spans.map((span) => [span.traceId + span.spanId, span]))
  return ({ spanId, traceId }) => byId.get(traceId + spanId)
}

/** Primitives and arrays of them: all that an attribute can be. */
const matchesValue = (actual: unknown, expected: unknown): boolean => {
  if (expected instanceof RegExp) return Predicate.isString(actual) && actual.search(expected) >= 0
  // As a person would: zero has no sign, and `NaN` is `NaN`.
  if (!Array.isArray(expected)) return actual === expected || Object.is(actual, expected)
  return Array.isArray(actual) && actual.length === expected.length &&
    expected.every((item, index) => matchesValue(actual[index], item))
}

const attributeDifferences = (
  path: string,
  actual: Readonly<Record<string, unknown>>,
  expected: AttributesExpectation | undefined
): Array<SpanDifference> =>
  Object.entries(expected ?? {}).filter(([key, value]) => !matchesValue(actual[key], value)).map(([key, value]) => ({
    path: `${path}[${JSON.stringify(key)}]`,
    expected: value,
    actual: actual[key]
  }))

const matchesEvent = (event: RecordedSpan["events"][number], expected: EventExpectation): boolean =>
  (expected.name === undefined || matchesValue(event.name, expected.name)) &&
  attributeDifferences("", event.attributes, expected.attributes).length === 0

const matchesLink = (link: RecordedSpan["links"][number], expected: LinkExpectation, lookup: Lookup): boolean => {
  if (expected.traceId !== undefined && expected.traceId !== link.traceId) return false
  if (expected.spanId !== undefined && expected.spanId !== link.spanId) return false
  if (attributeDifferences("", link.attributes, expected.attributes).length > 0) return false
  if (expected.span === undefined) return true
  const target = lookup(link)
  return target !== undefined && differences(target, byName(expected.span), lookup).length === 0
}

const byName = <A extends object>(expected: string | A): A | { readonly name: string } =>
  Predicate.isString(expected) ? { name: expected } : expected

/**
 * What is expected of a list and not there. Each of its elements stands for one expectation alone: it goes to another one
 * where the first can be met by something else.
 */
const missingFrom = <A, B>(
  actual: ReadonlyArray<A>,
  expected: ReadonlyArray<B>,
  matches: (actual: A, expected: B) => boolean
): ReadonlyArray<B> => {
  const taken = new Map<A, { readonly by: B }>()
  const take = (expected: B, tried: Set<A>): boolean =>
    actual.some((element) => {
      if (tried.has(element) || !matches(element, expected)) return false
      tried.add(element)
      const holder = taken.get(element)
      if (holder !== undefined && !take(holder.by, tried)) return false
      taken.set(element, { by: expected })
      return true
    })
  return expected.filter((expected) => !take(expected, new Set()))
}

const describeParent = (span: RecordedSpan, lookup: Lookup): unknown => {
  const { parent } = span
  if (parent === undefined) return null
  return lookup(parent)?.name ?? { traceId: parent.traceId, spanId: parent.spanId }
}

const matchesParent = (span: RecordedSpan, expected: SpanExpectation, lookup: Lookup): boolean => {
  const { parent } = span
  if (parent === undefined) return false
  const recorded = lookup(parent)
  if (recorded !== undefined) return differences(recorded, expected, lookup).length === 0
  // Of a parent in another process, only the identity is known.
  const { spanId, traceId, ...rest } = expected
  return (traceId ?? parent.traceId) === parent.traceId && (spanId ?? parent.spanId) === parent.spanId &&
    Object.values(rest).every(Predicate.isUndefined)
}

/** What of a span is not as expected. What the expectation does not mention may be anything. */
const differences = (
  span: RecordedSpan,
  expected: SpanExpectation,
  lookup: Lookup
): ReadonlyArray<SpanDifference> => {
  const found: Array<SpanDifference> = []
  const compare = (path: string, actual: unknown, expected: unknown): void => {
    if (expected !== undefined && !matchesValue(actual, expected)) found.push({ path, expected, actual })
  }
  compare("name", span.name, expected.name)
  compare("kind", span.kind, expected.kind)
  compare("scope", span.scope.name, expected.scope)
  compare("traceId", span.traceId, expected.traceId)
  compare("spanId", span.spanId, expected.spanId)
  const status = Predicate.isString(expected.status) ? { code: expected.status } : expected.status
  compare("status", span.status.code, status?.code)
  compare("status.message", span.status.message, status?.message)
  if (expected.parent === null) {
    if (span.parent !== undefined) found.push({ path: "parent", expected: null, actual: describeParent(span, lookup) })
  } else if (expected.parent !== undefined && !matchesParent(span, byName(expected.parent), lookup)) {
    found.push({ path: "parent", expected: expected.parent, actual: describeParent(span, lookup) })
  }
  found.push(...attributeDifferences("attributes", span.attributes, expected.attributes))
  const matchesEventLike = (actual: RecordedSpan["events"][number], event: string | EventExpectation) =>
    matchesEvent(actual, byName(event))
  for (const event of missingFrom(span.events, expected.events ?? [], matchesEventLike)) {
    found.push({
      path: "events",
      expected: event,
      actual: span.events.map(({ attributes, name }) => ({ name, attributes }))
    })
  }
  const matchesLinkLike = (actual: RecordedSpan["links"][number], link: string | LinkExpectation) =>
    matchesLink(actual, Predicate.isString(link) ? { span: link } : link, lookup)
  for (const link of missingFrom(span.links, expected.links ?? [], matchesLinkLike)) {
    found.push({ path: "links", expected: link, actual: span.links.map((actual) => lookup(actual)?.name ?? actual) })
  }
  return found
}

/** @internal */
export interface Match {
  readonly span: RecordedSpan
  readonly differences: ReadonlyArray<SpanDifference>
}

/**
 * Compares every span with what is expected, in their order.
 *
 * @internal
 */
export const matchAll = (spans: ReadonlyArray<RecordedSpan>, expected: SpanExpectation): ReadonlyArray<Match> => {
  const lookup = lookupIn(spans)
  return spans.map((span) => ({ span, differences: differences(span, expected, lookup) }))
}

/**
 * The match to explain: a span of the name that was asked for, if there is one,
 * and then the one with the fewest differences.
 *
 * @internal
 */
export const closest = (matches: ReadonlyArray<Match>): Match | undefined => {
  const distance = ({ differences }: Match) =>
    differences.length + (differences.some(({ path }) => path === "name") ? 1000 : 0)
  return matches.reduce<Match | undefined>(
    (best, match) => best === undefined || distance(match) < distance(best) ? match : best,
    undefined
  )
}

// =============================================================================
// Text
// =============================================================================

/**
 * Writes an expectation or a recorded value on one line, as it would stand in
 * a program.
 *
 * @internal
 */
export const show = (value: unknown): string => showValue(value, false)

/** Attributes may be expected to be absent; any other field that is not there says nothing. */
const showValue = (value: unknown, isAttributes: boolean): string => {
  if (value === undefined) return "nothing"
  if (value === null) return "no parent"
  if (Predicate.isString(value)) return JSON.stringify(value)
  if (value instanceof RegExp || !Predicate.isObjectOrArray(value)) return String(value)
  if (Array.isArray(value)) return `[${value.map(show).join(", ")}]`
  const fields = Object.entries(value).filter(([, item]) => isAttributes || item !== undefined).map(([key, item]) =>
    `${/^\w+$/.test(key) ? key : JSON.stringify(key)}: ${showValue(item, key === "attributes")}`
  )
  return fields.length === 0 ? "{}" : `{ ${fields.join(", ")} }`
}

const notesOf = (span: RecordedSpan): string => {
  const notes: Array<string> = []
  if (span.kind !== "internal") notes.push(span.kind)
  if (span.parent?.isRemote === true) notes.push("remote parent")
  if (span.status.code === "error") {
    const type = span.attributes["error.type"]
    notes.push(Predicate.isString(type) ? `error ${type}` : "error")
  }
  if (span.end === undefined) notes.push("not ended")
  return notes.length === 0 ? "" : ` [${notes.join(", ")}]`
}

/**
 * Writes spans as a tree: one line for each, children below their parent and
 * further in, in the order of their start.
 *
 * @internal
 */
export const showTree = (spans: ReadonlyArray<RecordedSpan>): string => {
  const lookup = lookupIn(spans)
  const parentOf = (span: RecordedSpan) => span.parent === undefined ? undefined : lookup(span.parent)
  // Those without a parent here are the roots.
  const children = Map.groupBy(spans, parentOf)
  const lines: Array<string> = []
  const todo: Array<{ readonly span: RecordedSpan; readonly depth: number }> = []
  const add = (spans: ReadonlyArray<RecordedSpan> = [], depth: number) => {
    for (const span of spans.toReversed()) todo.push({ span, depth })
  }
  add(children.get(undefined), 0)
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    lines.push(`${"  ".repeat(next.depth)}${next.span.name}${notesOf(next.span)}`)
    add(children.get(next.span), next.depth + 1)
  }
  return lines.join("\n")
}
