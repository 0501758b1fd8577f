/**
 * Which conversation, and which agent, GenAI spans belong to.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { Baggage, withBaggage } from "./Carrier.ts"
import { CurrentSession, type Session } from "./internal/genAi.ts"
import * as semconv from "./internal/semconv.ts"
import type { BaggageMember } from "./TraceContext.ts"

/**
 * How far {@link withConversation} and {@link withAgent} reach.
 *
 * @category options
 * @since 0.1.0
 */
export interface ConversationOptions {
  /** Whether it travels with messages too, as baggage, for the GenAI spans of who receives them. Default: `false`. */
  readonly baggage?: boolean | undefined
}

const withSession = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  session: Partial<Session>,
  key: string,
  value: string,
  options: ConversationOptions | undefined
): Effect.Effect<A, E, R> => {
  const isOther = (member: BaggageMember) => member.key === key && member.value !== value
  const inside = Effect.updateService(self, CurrentSession, (outer) => ({ ...outer, ...session }))
  return options?.baggage === true ? withBaggage(inside, { [key]: value }) : Effect.updateService(
    inside,
    Baggage,
    // What is sent from inside belongs to no other.
    (outer) => outer.some(isOther) ? outer.filter((member) => !isOther(member)) : outer
  )
}

/**
 * Says which conversation an effect belongs to: the id reaches every GenAI span
 * inside.
 *
 * **When to use**
 *
 * Use where a conversation has an id of its own, such as a session or a thread.
 * None is ever made up.
 *
 * **Details**
 *
 * It stays within the program, unless `baggage` sends it along with every
 * message. The spans of a receiver that uses this package have it then.
 * Another id that has come as baggage does not go on from inside.
 *
 * **Gotchas**
 *
 * Baggage is readable by everyone on the way.
 *
 * **Example** (Naming a conversation)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withConversation, withLlmSpan } from "loom-tracing"
 *
 * const answer = Effect.succeed("Hello").pipe(
 *   withLlmSpan({ provider: "openai", request: { model: "gpt-4o" } }),
 *   withConversation("conv-1")
 * )
 *
 * Effect.runSync(answer) // => "Hello"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withConversation: {
  (id: string, options?: ConversationOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, id: string, options?: ConversationOptions): Effect.Effect<A, E, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(self: Effect.Effect<A, E, R>, id: string, options?: ConversationOptions): Effect.Effect<A, E, R> =>
    withSession(self, { conversationId: id }, semconv.GEN_AI_CONVERSATION_ID, id, options)
)

/**
 * Says which agent an effect is: the name reaches every GenAI span inside that
 * is not of an agent itself.
 *
 * **When to use**
 *
 * Use where a program is an agent as a whole. For one run of an agent, use
 * `withAgentSpan`, which names its agent as well.
 *
 * **Example** (Naming an agent)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { withAgent, withToolSpan } from "loom-tracing"
 *
 * const lookup = Effect.succeed("Paris").pipe(withToolSpan({ name: "lookup" }), withAgent("researcher"))
 *
 * Effect.runSync(lookup) // => "Paris"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withAgent: {
  (name: string, options?: ConversationOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, name: string, options?: ConversationOptions): Effect.Effect<A, E, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(self: Effect.Effect<A, E, R>, name: string, options?: ConversationOptions): Effect.Effect<A, E, R> =>
    withSession(self, { agentName: name }, semconv.GEN_AI_AGENT_NAME, name, options)
)
