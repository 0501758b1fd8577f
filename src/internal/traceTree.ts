/**
 * Draws the spans of one trace as a tree beside a waterfall. Pure and total: whatever the spans hold, the result has no
 * line wider than the terminal and no control character but its own.
 *
 * @internal
 */
import * as Predicate from "effect/Predicate"
import type { SpanKind } from "effect/Tracer"
import * as Semconv from "./semconv.ts"

/** A span as plain values. @internal */
export interface TraceSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string | undefined
  readonly name: string
  readonly kind: SpanKind
  /** Milliseconds since the epoch. */
  readonly start: number
  /** Milliseconds; `undefined` while the span has not ended. */
  readonly duration: number | undefined
  readonly attributes: Readonly<Record<string, unknown>>
  readonly events: ReadonlyArray<TraceSpanEvent>
  readonly links: ReadonlyArray<{ readonly traceId: string; readonly spanId: string }>
  readonly status: { readonly code: "unset" | "ok" | "error"; readonly message?: string | undefined }
  /** Attributes, events and links that the SDK's limits have dropped. */
  readonly dropped?: number | undefined
}

/** @internal */
export interface TraceSpanEvent {
  readonly name: string
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

/** @internal */
export interface RenderOptions {
  /** The terminal's width; 100 when it is not a positive number. */
  readonly columns: number
  /** Whether to write SGR codes. */
  readonly colors: boolean
  readonly serviceName?: string | undefined
  /** What the header says besides. */
  readonly notes?: ReadonlyArray<string> | undefined
}

const DEFAULT_COLUMNS = 100
/** A terminal narrower than this has no room for bars. */
const MIN_COLUMNS_FOR_BARS = 48
const MIN_BAR = 16
const MAX_BAR = 60
/** No terminal is wider; what was taken for its width is something else. */
const MAX_COLUMNS = 1000

/** Lines that a trace takes, about: beyond it, more and more is folded. */
const MAX_LINES = 200
/** Like siblings without children of note are folded when there are more than this. */
const MAX_RUN = 8
/** The same in a trace that is too long, whatever their children. */
const MAX_RUN_OF_LONG_TRACE = 3
/** Siblings that stay of those that are folded: the first, and this many of the slowest. */
const KEPT_SLOWEST = 2
/** The slowest spans come before errors, so that thousands of errors do not hide where the time went. */
const SLOWEST_FIRST = 5
/** A span this deep below the last one shown is attached to it directly. */
const MAX_ANCESTORS = 8

// -- text ------------------------------------------------------------------------------------------------------------

const MAX_TEXT = 2000
const PRINTABLE_ASCII = /^[\x20-\x7e]*$/
const LINE_BREAKS = /[\t-\r\p{Zl}\p{Zp}]+/gu
const CONTROL = /\p{Cc}/gu
/** What changes the direction of text or hides in it; joiners and variation selectors make emoji, and stay. */
const INVISIBLE = /(?!\u200c|\u200d|\ufe0e|\ufe0f)\p{Default_Ignorable_Code_Point}/gu
const ZERO_WIDTH = /[\p{Mn}\p{Me}\u200c\u200d]/u
// East Asian wide characters and emoji. To take a narrow one for wide costs a column, the reverse a line.
const WIDE_SCRIPT =
  /[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Hang}\p{sc=Bopo}\p{sc=Yiii}\p{sc=Tang}\p{sc=Kits}\p{sc=Nshu}]/u
const WIDE_BLOCK = /[\u2329\u232a\u2e80-\u33ff\u4dc0-\u4dff\ufe10-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1d300}-\u{1d376}]/u
const EMOJI = /[\p{Emoji_Presentation}\u{1f000}-\u{1faff}]/u

const controlPicture = (char: string): string => {
  const code = char.charCodeAt(0)
  return code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? "\u2421" : "\ufffd"
}

/** A text of the data as one line that no terminal can take for a command. */
const clean = (text: string): string => {
  const short = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text
  if (PRINTABLE_ASCII.test(short)) return short
  return short.toWellFormed().replace(LINE_BREAKS, " ").replace(CONTROL, controlPicture).replace(INVISIBLE, "")
}

const isWide = (char: string): boolean => WIDE_SCRIPT.test(char) || WIDE_BLOCK.test(char) || EMOJI.test(char)

const charWidth = (char: string): number => {
  // It makes an emoji of a narrow character.
  if (char === "\ufe0f") return 1
  return ZERO_WIDTH.test(char) ? 0 : isWide(char) ? 2 : 1
}

const displayWidth = (text: string): number => {
  if (PRINTABLE_ASCII.test(text)) return text.length
  let width = 0
  for (const char of text) width += charWidth(char)
  return width
}

/** The longest beginning of a text that fits. */
const takeWidth = (text: string, width: number): string => {
  let used = 0
  let end = 0
  for (const char of text) {
    used += charWidth(char)
    if (used > width) break
    end += char.length
  }
  return text.slice(0, end)
}

const cut = (text: string, width: number): string => {
  if (displayWidth(text) <= width) return text
  return width < 1 ? "" : `${takeWidth(text, width - 1).replace(/[\s\u200d]+$/u, "")}…`
}

/** Breaks a text at spaces, and words that are longer than a line anywhere. The last line holds the rest. */
const wrap = (text: string, width: number, maxLines: number): Array<string> => {
  const lines: Array<string> = []
  let rest = text
  while (lines.length < maxLines - 1 && displayWidth(rest) > width) {
    const head = takeWidth(rest, width)
    const space = rest[head.length] === " " ? head.length : head.lastIndexOf(" ")
    const end = space > head.length / 2 ? space : head.length
    lines.push(rest.slice(0, end).trimEnd())
    rest = rest.slice(end).trimStart()
  }
  lines.push(rest)
  return lines
}

const formatCount = (count: number): string => String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ",")

const plural = (count: number, noun: string): string => `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`

const formatDuration = (millis: number): string => {
  const scaled = (value: number, unit: string) => `${value.toFixed(value < 9.95 ? 1 : 0)}${unit}`
  const pair = (high: number, highUnit: string, low: number, lowUnit: string) =>
    `${high}${highUnit} ${String(low).padStart(2, "0")}${lowUnit}`
  if (millis === 0) return "0ms"
  if (millis < 0.0009995) return `${(millis * 1e6).toFixed(0)}ns`
  if (millis < 0.9995) return scaled(millis * 1000, "µs")
  if (millis < 999.5) return scaled(millis, "ms")
  if (millis < 59_950) return `${(millis / 1000).toFixed(1)}s`
  const seconds = Math.round(millis / 1000)
  if (seconds < 3600) return pair(Math.floor(seconds / 60), "m", seconds % 60, "s")
  const minutes = Math.round(seconds / 60)
  if (minutes < 1440) return pair(Math.floor(minutes / 60), "h", minutes % 60, "m")
  const hours = Math.round(minutes / 60)
  if (!Number.isSafeInteger(hours)) return "∞"
  return pair(Math.floor(hours / 24), "d", hours % 24, "h")
}

// -- styled lines ----------------------------------------------------------------------------------------------------

const RED = "31"
const GREEN = "32"
const YELLOW = "33"
const MAGENTA = "35"
const CYAN = "36"
const BLUE = "94"
const DIM = "2"
const BOLD = "1"

interface Segment {
  readonly text: string
  /** The parameter of an SGR code. */
  readonly style?: string | undefined
}

type Line = ReadonlyArray<Segment>

const SEPARATOR: Segment = { text: " · ", style: DIM }

const lineWidth = (line: Line): number => line.reduce((width, { text }) => width + displayWidth(text), 0)

/** A line in exactly `width` columns. */
const fit = (line: Line, width: number): Line => {
  const fitted: Array<Segment> = []
  let room = width
  for (const { style, text } of line) {
    const part = cut(text, room)
    fitted.push({ text: part, style })
    room -= displayWidth(part)
    if (part !== text) break
  }
  return [...fitted, { text: " ".repeat(Math.max(0, room)) }]
}

/** The text of a line, cut at the terminal's edge. */
const paint = (line: Line, columns: number, colors: boolean): string =>
  fit(line, columns)
    .map(({ style, text }) => colors && style !== undefined && text !== "" ? `\x1b[${style}m${text}\x1b[0m` : text)
    .join("")
    .trimEnd()

const separated = (pieces: Line): Line => pieces.flatMap((piece, i) => i === 0 ? [piece] : [SEPARATOR, piece])

/** Sets pieces one after the other, in as many lines as they take. The last of `maxLines` holds the rest. */
const flow = (pieces: Line, width: number, maxLines: number): Array<Line> => {
  const lines: Array<Array<Segment>> = []
  for (const piece of pieces) {
    const line = lines.at(-1)
    if (line !== undefined && (lines.length === maxLines || lineWidth(separated([...line, piece])) <= width)) {
      line.push(piece)
    } else lines.push([piece])
  }
  return lines.map(separated)
}

// -- what a span says ------------------------------------------------------------------------------------------------

const textOf = (value: unknown): string | undefined =>
  Predicate.isString(value) && value !== "" ? clean(value) : undefined

const numberOf = (value: unknown): number | undefined =>
  Predicate.isNumber(value) && Number.isFinite(value) && value >= 0 ? value : undefined

const shortId = (id: string): string => clean(id.slice(0, 8))

const isException = (event: TraceSpanEvent): boolean => event.name === "exception"

const isInterrupted = (span: TraceSpan): boolean => span.attributes["effect.fiber.interrupted"] === true

interface SpanError {
  readonly type: string | undefined
  readonly message: string | undefined
}

const errorOf = (span: TraceSpan): SpanError | undefined => {
  if (span.status.code !== "error") return undefined
  const exception = span.events.find(isException)?.attributes
  return {
    type: textOf(span.attributes[Semconv.ERROR_TYPE]) ?? textOf(exception?.["exception.type"]),
    message: textOf(span.status.message) ?? textOf(exception?.["exception.message"])
  }
}

const styleOf = (span: TraceSpan): string | undefined => {
  const { attributes } = span
  if (span.status.code === "error") return RED
  if (isAgent(span)) return CYAN
  if (attributes[Semconv.GEN_AI_TOOL_NAME] !== undefined) return BLUE
  if (providerOf(span) !== undefined || attributes[Semconv.GEN_AI_REQUEST_MODEL] !== undefined) return MAGENTA
  return span.kind === "producer" || span.kind === "consumer" || destinationOf(span) !== undefined ? GREEN : undefined
}

const AGENT_OPERATIONS = new Set(["invoke_agent", "create_agent", "invoke_workflow", "plan"])

const isAgent = ({ attributes }: TraceSpan): boolean => {
  const operation = attributes[Semconv.GEN_AI_OPERATION_NAME]
  return Predicate.isString(operation) && AGENT_OPERATIONS.has(operation)
}

const providerOf = ({ attributes }: TraceSpan): string | undefined =>
  textOf(attributes[Semconv.GEN_AI_PROVIDER_NAME]) ?? textOf(attributes[Semconv.GEN_AI_SYSTEM])

const modelOf = ({ attributes }: TraceSpan): string | undefined =>
  textOf(attributes[Semconv.GEN_AI_RESPONSE_MODEL]) ?? textOf(attributes[Semconv.GEN_AI_REQUEST_MODEL])

const destinationOf = ({ attributes }: TraceSpan): string | undefined =>
  textOf(attributes[Semconv.MESSAGING_DESTINATION_NAME]) ?? textOf(attributes[Semconv.MESSAGING_DESTINATION_TEMPLATE])

interface Tokens {
  readonly input: number | undefined
  readonly output: number | undefined
  readonly cached: number | undefined
}

const tokensOf = ({ attributes }: TraceSpan): Tokens => ({
  input: numberOf(attributes[Semconv.GEN_AI_USAGE_INPUT_TOKENS]),
  output: numberOf(attributes[Semconv.GEN_AI_USAGE_OUTPUT_TOKENS]),
  cached: numberOf(attributes[Semconv.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS])
})

const formatTokens = ({ cached, input, output }: Tokens): string | undefined => {
  if (input === undefined) return output === undefined ? undefined : `${formatCount(output)} tokens out`
  const hits = cached === undefined || cached === 0 ? "" : ` (${formatCount(cached)} cached)`
  const sides = output === undefined
    ? `${formatCount(input)} tokens in`
    : `${formatCount(input)} → ${formatCount(output)} tokens`
  return `${sides}${hits}`
}

const MAX_LINKS = 3

/** What is worth saying about a span besides its name, which need not be repeated. */
const detailsOf = (span: TraceSpan): Array<string> => {
  const { attributes, links } = span
  const details: Array<string> = []
  const name = ` ${clean(span.name)} `
  const add = (detail: string | undefined) => {
    if (detail !== undefined && detail !== "") details.push(detail)
  }
  const addUnlessNamed = (detail: string | undefined) => {
    if (detail !== undefined && !name.includes(` ${detail} `)) add(detail)
  }
  const tool = textOf(attributes[Semconv.GEN_AI_TOOL_NAME])
  const firstChunk = numberOf(attributes[Semconv.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK])
  if (isAgent(span)) addUnlessNamed(textOf(attributes[Semconv.GEN_AI_AGENT_NAME]))
  addUnlessNamed(tool)
  add(textOf(attributes[Semconv.GEN_AI_TOOL_CALL_ARGUMENTS]))
  addUnlessNamed(modelOf(span) ?? (isAgent(span) || tool !== undefined ? undefined : providerOf(span)))
  add(formatTokens(tokensOf(span)))
  if (firstChunk !== undefined) add(`first chunk ${formatDuration(firstChunk * 1000)}`)
  addUnlessNamed(destinationOf(span))

  for (const link of links.slice(0, MAX_LINKS)) {
    add(`↗ ${link.traceId === span.traceId ? "" : `trace ${shortId(link.traceId)} `}span ${shortId(link.spanId)}`)
  }
  if (links.length > MAX_LINKS) add(`${plural(links.length - MAX_LINKS, "more link")}`)

  const exceptions = span.events.filter(isException).length
  const events = span.events.length - exceptions
  if (exceptions > 0 && span.status.code !== "error") add(plural(exceptions, "exception"))
  if (events > 0) add(plural(events, "event"))
  if (span.dropped !== undefined && span.dropped > 0) add(`${formatCount(span.dropped)} dropped by limits`)
  return details
}

// -- the tree --------------------------------------------------------------------------------------------------------

interface Node {
  readonly span: TraceSpan
  readonly start: number
  /** By itself, since the difference of two dates is not exact. */
  readonly duration: number
  readonly end: number
  parent: Node | undefined
  readonly children: Array<Node>
  /** Spans and errors in the subtree, its root included. */
  size: number
  errors: number
  shown: boolean
  /** Of `size` and `errors`, those that are not shown. */
  hiddenSize: number
  hiddenErrors: number
  /** What hangs below a span that is shown. */
  readonly entries: Array<Node | Fold>
}

/** Siblings that are not shown. */
interface Fold {
  /** That of all, or `undefined` where they have several. */
  name: string | undefined
  readonly members: Array<Node>
}

const isFold = (entry: Node | Fold): entry is Fold => "members" in entry

/** What a date can be. */
const MAX_TIME = 8.64e15

const clampTime = (value: number | undefined, min: number): number =>
  value === undefined || Number.isNaN(value) ? 0 : Math.min(Math.max(value, min), MAX_TIME)

const isError = (node: Node): boolean => node.span.status.code === "error"

/** Makes nodes in the order of their start. Those without a parent among them are roots, and every cycle has one. */
const makeNodes = (spans: ReadonlyArray<TraceSpan>): Array<Node> => {
  const nodes = spans.map((span): Node => {
    const start = clampTime(span.start, -MAX_TIME)
    const duration = clampTime(span.duration, 0)
    return {
      span,
      start,
      duration,
      end: start + duration,
      parent: undefined,
      children: [],
      size: 1,
      errors: span.status.code === "error" ? 1 : 0,
      shown: true,
      hiddenSize: 0,
      hiddenErrors: 0,
      entries: []
    }
  }).sort((a, b) => a.start - b.start)
  const byId = new Map<string, Node>()
  for (const node of nodes) if (!byId.has(node.span.spanId)) byId.set(node.span.spanId, node)
  for (const node of nodes) if (node.span.parentSpanId !== undefined) node.parent = byId.get(node.span.parentSpanId)

  const rooted = new Set<Node>()
  for (const node of nodes) {
    const path = new Set<Node>()
    for (let at: Node | undefined = node; at !== undefined && !rooted.has(at); at = at.parent) {
      path.add(at)
      rooted.add(at)
      if (at.parent !== undefined && path.has(at.parent)) at.parent.parent = undefined
    }
  }
  for (const node of nodes) node.parent?.children.push(node)
  return nodes
}

const rootsOf = (nodes: ReadonlyArray<Node>): Array<Node> => nodes.filter((node) => node.parent === undefined)

/** Every span before its children. */
const inTreeOrder = (nodes: ReadonlyArray<Node>): Array<Node> => {
  const ordered: Array<Node> = []
  const stack = rootsOf(nodes).reverse()
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    ordered.push(node)
    for (let i = node.children.length - 1; i >= 0; i--) stack.push(node.children[i])
  }
  return ordered
}

/** The tokens of a trace. What an agent reports are those of its calls, so they count only where no call does. */
const sumTokens = (ordered: ReadonlyArray<Node>): string | undefined => {
  const below = new Map<Node | undefined, Tokens>()
  const sum = (a: Tokens | undefined, b: Tokens): Tokens => ({
    input: (a?.input ?? 0) + (b.input ?? 0),
    output: (a?.output ?? 0) + (b.output ?? 0),
    cached: (a?.cached ?? 0) + (b.cached ?? 0)
  })
  for (const node of ordered.toReversed()) {
    const own = tokensOf(node.span)
    const inner = below.get(node)
    const reports = own.input !== undefined || own.output !== undefined
    const all = !reports || (inner !== undefined && isAgent(node.span)) ? inner : sum(inner, own)
    if (all !== undefined) below.set(node.parent, sum(below.get(node.parent), all))
  }
  const total = below.get(undefined)
  return total === undefined ? undefined : formatTokens(total)
}

// -- what is shown ---------------------------------------------------------------------------------------------------

const bySlowest = (a: Node, b: Node): number => b.duration - a.duration

/** Lines that a span takes, about: its own, that of its error, and that of a model and its tokens. */
const linesOf = (node: Node): number => 1 + (isError(node) ? 1 : 0) + (modelOf(node.span) === undefined ? 0 : 1)

/** Hides the subtrees of like siblings but a few. */
const foldRuns = (ordered: ReadonlyArray<Node>, maxRun: number, isLike: (node: Node) => boolean): void => {
  const foldSiblings = (siblings: ReadonlyArray<Node>) => {
    if (siblings.length <= maxRun) return
    for (const run of Map.groupBy(siblings.filter(isLike), (node) => node.span.name).values()) {
      if (run.length <= maxRun) continue
      const kept = new Set([run[0], ...run.slice(1).sort(bySlowest).slice(0, KEPT_SLOWEST)])
      for (const node of run) if (!kept.has(node)) node.shown = false
    }
  }
  foldSiblings(rootsOf(ordered))
  for (const node of ordered) {
    if (node.parent?.shown === false) node.shown = false
    else foldSiblings(node.children)
  }
}

/** Shows the slowest spans and those with errors, with what they hang on, until there are enough. */
const showFirst = (ordered: ReadonlyArray<Node>): void => {
  const slowest = ordered.filter((node) => node.shown).sort(bySlowest)
  // One error of each sort comes before the second of any.
  const seen = new Map<string, number>()
  const rank = new Map<Node, number>()
  const errors = ordered.filter(isError)
  for (const node of errors) {
    const sort = `${node.span.name} ${node.span.attributes[Semconv.ERROR_TYPE]}`
    rank.set(node, seen.get(sort) ?? 0)
    seen.set(sort, (seen.get(sort) ?? 0) + 1)
  }
  errors.sort((a, b) => rank.get(a)! - rank.get(b)!)

  for (const node of ordered) node.shown = false
  let room = MAX_LINES
  for (const node of [...slowest.slice(0, SLOWEST_FIRST), ...errors, ...slowest]) {
    if (room <= 0) break
    const missing: Array<Node> = []
    for (let at: Node | undefined = node; at !== undefined && !at.shown; at = at.parent) missing.push(at)
    for (const added of missing.length > MAX_ANCESTORS ? [node] : missing) {
      added.shown = true
      // What is folded below it takes a line, too.
      room -= linesOf(added) + (added.children.length === 0 ? 0 : 1)
    }
  }
}

/** Decides what is shown, and hangs that, and what is folded, below the spans that are. The result is the top level. */
const select = (ordered: ReadonlyArray<Node>): Array<Node | Fold> => {
  for (const node of ordered.toReversed()) {
    if (node.parent === undefined) continue
    node.parent.size += node.size
    node.parent.errors += node.errors
  }
  const isTooLong = () => ordered.reduce((sum, node) => node.shown ? sum + linesOf(node) : sum, 0) > MAX_LINES
  let maxFolds = 3
  foldRuns(ordered, MAX_RUN, (node) => node.errors === 0 && node.size <= 3)
  if (isTooLong()) foldRuns(ordered, MAX_RUN_OF_LONG_TRACE, (node) => node.errors === 0)
  if (isTooLong()) {
    showFirst(ordered)
    maxFolds = 1
  }

  const top: Array<Node | Fold> = []
  const shownAncestor = new Map<Node, Node | undefined>()
  for (const node of ordered) {
    const { parent } = node
    const ancestor = parent === undefined || parent.shown ? parent : shownAncestor.get(parent)
    shownAncestor.set(node, ancestor)
    const entries = ancestor === undefined ? top : ancestor.entries
    if (node.shown) entries.push(node)
    else if (parent === ancestor) addToFold(entries, node, maxFolds)
  }

  unfoldLeaves(top)
  for (const node of ordered) unfoldLeaves(node.entries)
  for (const node of ordered.toReversed()) {
    // What is hidden below a span that is shown is told there, not where that span was taken out.
    if (node.shown) continue
    node.hiddenSize++
    if (isError(node)) node.hiddenErrors++
    if (node.parent === undefined) continue
    node.parent.hiddenSize += node.hiddenSize
    node.parent.hiddenErrors += node.hiddenErrors
  }
  return top
}

const addToFold = (entries: Array<Node | Fold>, node: Node, maxFolds: number): void => {
  const folds = entries.filter(isFold)
  let fold = folds.find((fold) => fold.name === node.span.name)
  if (fold === undefined && folds.length === maxFolds) {
    fold = folds[maxFolds - 1]
    fold.name = undefined
  }
  if (fold === undefined) entries.push({ name: node.span.name, members: [node] })
  else fold.members.push(node)
}

/** To say that one span is missing takes the line that it would have taken itself. */
const unfoldLeaves = (entries: Array<Node | Fold>): void => {
  for (const [i, entry] of entries.entries()) {
    if (!isFold(entry) || entry.members.length > 1 || entry.members[0].children.length > 0) continue
    entries[i] = entry.members[0]
    entry.members[0].shown = true
  }
}

// -- rows ------------------------------------------------------------------------------------------------------------

interface Row {
  /** What stands before the name, and before the lines below it. */
  readonly lead: string
  readonly under: string
  readonly name: Line
  /** Go beside the name when there is room, and below it otherwise. */
  readonly details: Line
  readonly error: string | undefined
  /** `undefined` for spans that are folded. */
  readonly duration: string | undefined
  readonly start: number
  readonly end: number
  readonly barStyle: string | undefined
  readonly isThinBar: boolean
}

type Guides = Pick<Row, "lead" | "under">

const labelOf = (name: string): string => clean(name) || "(no name)"

const durationText = (node: Node): string => node.span.duration === undefined ? "…" : formatDuration(node.duration)

const isSameError = (a: SpanError, b: SpanError | undefined): boolean =>
  b !== undefined && a.type === b.type && a.message === b.message

const spanRow = (node: Node, guides: Guides, traceEnd: number): Row => {
  const { span } = node
  const style = styleOf(span)
  const error = errorOf(span)
  const details: Array<Segment> = []
  let message = error?.message
  if (error !== undefined) {
    // An error on its way up is told in full where it comes from.
    if (message === undefined || node.children.some((child) => isSameError(error, errorOf(child.span)))) {
      message = undefined
      details.push({ text: error.type ?? "error", style: RED })
    } else if (error.type !== undefined && !message.startsWith(error.type)) {
      message = `${error.type}: ${message}`
    }
  }
  if (isInterrupted(span)) details.push({ text: "interrupted", style: YELLOW })
  if (span.duration === undefined) details.push({ text: "still open", style: YELLOW })
  for (const text of detailsOf(span)) details.push({ text, style: DIM })
  if (node.parent === undefined && span.parentSpanId !== undefined) {
    details.push({ text: `↖ span ${shortId(span.parentSpanId)}`, style: DIM })
  }

  let skipped = 0
  for (let at = node.parent; at !== undefined && !at.shown; at = at.parent) skipped++
  return {
    ...guides,
    name: [
      { text: skipped === 0 ? "" : `⋯ ${plural(skipped, "level")} ⋯ `, style: DIM },
      { text: `${error === undefined ? "" : "✗ "}${labelOf(span.name)}`, style }
    ],
    details,
    error: message,
    duration: durationText(node),
    start: node.start,
    end: span.duration === undefined ? traceEnd : node.end,
    barStyle: style,
    isThinBar: span.duration === undefined
  }
}

const foldRow = ({ members, name }: Fold, guides: Guides): Row => {
  const sum = (f: (node: Node) => number) => members.reduce((total, node) => total + f(node), 0)
  const count = members.length
  const spans = sum((node) => node.hiddenSize)
  const errors = sum((node) => node.hiddenErrors)
  const total = sum((node) => node.duration)
  let text = `… ${formatCount(count)} more ${name === undefined ? "spans" : labelOf(name)}`
  if (spans > count) text += ` (${formatCount(spans)} spans)`
  text += `  total ${formatDuration(total)}`
  if (count > 1) text += `  avg ${formatDuration(total / count)}`
  return {
    ...guides,
    name: [{ text, style: DIM }, { text: errors === 0 ? "" : `  ${plural(errors, "error")}`, style: RED }],
    details: [],
    error: undefined,
    duration: undefined,
    start: members.reduce((start, node) => Math.min(start, node.start), Infinity),
    end: members.reduce((end, node) => Math.max(end, node.end), -Infinity),
    barStyle: DIM,
    isThinBar: true
  }
}

const makeRows = (top: ReadonlyArray<Node | Fold>, maxGuide: number, traceEnd: number): Array<Row> => {
  const rows: Array<Row> = []
  // Of a deep trace, only the innermost guides are drawn.
  const clip = (guide: string) => guide.length > maxGuide ? `⋯  ${guide.slice(3 - maxGuide)}` : guide
  const stack: Array<{ readonly entry: Node | Fold; readonly guides: Guides; readonly below: string }> = []
  const push = (entries: ReadonlyArray<Node | Fold>, guide: string | undefined) => {
    for (let i = entries.length - 1; i >= 0; i--) {
      const entry = entries[i]
      const isLast = i === entries.length - 1
      const lead = guide === undefined ? "" : guide + (isLast ? "└─ " : "├─ ")
      const below = guide === undefined ? "" : guide + (isLast ? "   " : "│  ")
      const hasEntries = !isFold(entry) && entry.entries.length > 0
      stack.push({ entry, guides: { lead, under: below + (hasEntries ? "│ " : "  ") }, below: clip(below) })
    }
  }
  push(top, undefined)
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    const { below, entry, guides } = item
    if (isFold(entry)) {
      rows.push(foldRow(entry, guides))
    } else {
      rows.push(spanRow(entry, guides, traceEnd))
      push(entry.entries, below)
    }
  }
  return rows
}

// -- the page --------------------------------------------------------------------------------------------------------

const GAP = "  "
const HEADER_INDENT = "      "
const MAX_HEADER_LINES = 3
const MAX_ERROR_LINES = 4
const MAX_DETAIL_LINES = 3

interface Page {
  readonly columns: number
  readonly traceStart: number
  readonly traceEnd: number
  readonly traceDuration: number
  readonly durationWidth: number
  /** What the tree, the names and what is beside them take at most. */
  readonly maxLeft: number
  /** Columns right of that; 0 is no bars. */
  readonly minBar: number
}

const makePage = (ordered: ReadonlyArray<Node>, columns: number): Page => {
  const durationWidth = ordered.reduce((w, node) => node.shown ? Math.max(w, displayWidth(durationText(node))) : w, 0)
  const minBar = columns < MIN_COLUMNS_FOR_BARS ? 0 : Math.min(Math.max(MIN_BAR, Math.floor(columns / 4)), 24)
  const traceStart = ordered.reduce((start, node) => Math.min(start, node.start), Infinity)
  return {
    columns,
    traceStart,
    traceEnd: ordered.reduce((end, node) => Math.max(end, node.end), -Infinity),
    // Not the difference of two dates, which is not exact: a root that spans the trace takes as long.
    traceDuration: ordered.reduce((max, node) => Math.max(max, node.start - traceStart + node.duration), 0),
    durationWidth,
    maxLeft: Math.max(1, columns - GAP.length - durationWidth - (minBar === 0 ? 0 : GAP.length + minBar)),
    minBar
  }
}

const headerLines = (ordered: ReadonlyArray<Node>, { columns, traceDuration }: Page, options: RenderOptions) => {
  const { serviceName } = options
  const errors = ordered.filter(isError).length
  const open = ordered.filter((node) => node.span.duration === undefined).length
  const tokens = sumTokens(ordered)
  const pieces: Array<Segment> = [{ text: `trace ${clean(ordered[0].span.traceId)}`, style: BOLD }]
  if (serviceName !== undefined && serviceName !== "") pieces.push({ text: clean(serviceName) })
  pieces.push({ text: plural(ordered.length, "span") }, { text: formatDuration(traceDuration) })
  if (errors > 0) pieces.push({ text: plural(errors, "error"), style: RED })
  if (tokens !== undefined) pieces.push({ text: tokens })
  if (open > 0) pieces.push({ text: `${formatCount(open)} still open`, style: YELLOW })
  for (const note of options.notes ?? []) pieces.push({ text: note, style: YELLOW })
  return flow(pieces, columns - HEADER_INDENT.length, MAX_HEADER_LINES)
    .map((line, i): Line => i === 0 ? line : [{ text: HEADER_INDENT }, ...line])
}

/** A bar in half columns, of which every span has one at least. */
const drawBar = (row: Row, { traceEnd, traceStart }: Page, width: number): string => {
  const [both, left, right] = row.isThinBar ? ["─", "╴", "╶"] : ["━", "╸", "╺"]
  const halves = width * 2
  const position = (time: number) =>
    traceEnd === traceStart ? 0 : (time - traceStart) / (traceEnd - traceStart) * halves
  const from = Math.min(Math.floor(position(row.start)), halves - 1)
  const to = Math.max(Math.round(position(row.end)), from + 1)
  let bar = ""
  for (let half = 0; half < to; half += 2) {
    const hasLeft = half >= from
    const hasRight = half + 1 >= from && half + 1 < to
    bar += hasLeft ? hasRight ? both : left : hasRight ? right : " "
  }
  return bar
}

const rowLines = (rows: ReadonlyArray<Row>, page: Page): Array<Line> => {
  const { columns, durationWidth, maxLeft, minBar } = page
  const heads = rows.map((row): { readonly head: Line; readonly width: number; readonly hasDetails: boolean } => {
    const name: Line = [{ text: row.lead, style: DIM }, ...row.name]
    const beside: Line = [...name, { text: GAP }, ...separated(row.details)]
    const hasDetails = row.details.length > 0 && lineWidth(beside) <= maxLeft
    const head = hasDetails ? beside : name
    return { head, width: lineWidth(head), hasDetails }
  })
  const left = Math.min(
    maxLeft,
    heads.reduce(
      (left, { width }, i) => rows[i].duration === undefined && width > maxLeft ? left : Math.max(left, width),
      0
    )
  )
  const barWidth = Math.min(MAX_BAR, columns - left - durationWidth - 2 * GAP.length)

  return rows.flatMap((row, i): Array<Line> => {
    const { hasDetails, head, width } = heads[i]
    const under: Segment = { text: row.under, style: DIM }
    const room = columns - row.under.length
    const duration: Segment = { text: GAP + (row.duration ?? "").padStart(durationWidth) }
    const bar: Line = minBar === 0 ? [] : [{ text: GAP }, { text: drawBar(row, page, barWidth), style: row.barStyle }]
    return [
      // What is folded can do without a bar.
      row.duration === undefined && width > left ? head : [...fit(head, left), duration, ...bar],
      ...(row.error === undefined ? [] : wrap(row.error, room, MAX_ERROR_LINES))
        .map((text): Line => [under, { text, style: RED }]),
      ...(hasDetails ? [] : flow(row.details, room, MAX_DETAIL_LINES)).map((line): Line => [under, ...line])
    ]
  })
}

/** Draws the spans of one trace, without a line break at the end. @internal */
export const renderTrace = (spans: ReadonlyArray<TraceSpan>, options: RenderOptions): string => {
  if (spans.length === 0) return ""
  const ordered = inTreeOrder(makeNodes(spans))
  const top = select(ordered)
  const columns = options.columns >= 1 ? Math.floor(Math.min(options.columns, MAX_COLUMNS)) : DEFAULT_COLUMNS
  const page = makePage(ordered, columns)
  const maxGuide = Math.max(6, Math.floor(page.maxLeft / 6) * 3)
  return [...headerLines(ordered, page, options), ...rowLines(makeRows(top, maxGuide, page.traceEnd), page)]
    .map((line) => paint(line, columns, options.colors))
    .join("\n")
}
