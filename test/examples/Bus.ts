/**
 * The message bus of the pipeline: one inside this process, or a NATS server when `NATS_URL` names one.
 */
import { connect, type Msg, type NatsConnection, nuid } from "@nats-io/transport-node"
import { Config, Context, Effect, Layer, Option, PubSub, Queue, Schema, type Scope, Stream } from "effect"
import type { MessagingOptions } from "../../src/index.ts"

export class BusError extends Schema.TaggedError<BusError>()("BusError", { cause: Schema.Defect() }) {
  override get message() {
    return `The message bus has failed: ${this.cause}`
  }
}

/** Where messages of one kind are published; they are texts. */
export interface Channel {
  /** What the spans of its messages say of it. */
  readonly span: MessagingOptions
  readonly publish: (message: string) => Effect.Effect<void, BusError>
  /** The stream holds all that is published once this effect is done. */
  readonly subscribe: Effect.Effect<Stream.Stream<string>, BusError, Scope.Scope>
}

export class Bus extends Context.Service<Bus, {
  readonly channel: (name: string) => Channel
}>()("loom-tracing/examples/Bus") {
  static readonly layerEmbedded = Layer.effect(
    Bus,
    Effect.gen(function*() {
      const hub = yield* PubSub.unbounded<{ readonly subject: string; readonly message: string }>()
      return {
        channel: (name) => {
          const subject = `loom.${name}`
          return {
            span: { system: "in_memory", destination: subject },
            publish: (message) => PubSub.publish(hub, { subject, message }),
            subscribe: Effect.map(PubSub.subscribe(hub), (subscription) =>
              Stream.fromSubscription(subscription).pipe(
                Stream.filter((published) => published.subject === subject),
                Stream.map((published) => published.message)
              ))
          }
        }
      }
    })
  )

  static readonly layerNats = (url: string) =>
    Layer.effect(
      Bus,
      Effect.gen(function*() {
        const connection = yield* Effect.acquireRelease(
          attempt(() => connect({ servers: url })),
          (connection) => Effect.ignore(attempt(() => connection.drain()))
        )
        // Many runs may share the server. The template keeps the names of their spans alike.
        const run = nuid.next().slice(0, 8)
        return {
          channel: (name) => {
            const subject = `loom.${run}.${name}`
            return {
              span: { system: "nats", destination: subject, template: `loom.{run}.${name}` },
              publish: (message) => attempt(() => connection.publish(subject, message)),
              subscribe: subscribeNats(connection, subject)
            }
          }
        }
      })
    )

  static readonly layer = Layer.unwrap(
    Effect.map(
      Config.option(Config.String("NATS_URL")),
      Option.match({ onNone: () => Bus.layerEmbedded, onSome: Bus.layerNats })
    )
  )
}

const subscribeNats = Effect.fnUntraced(function*(connection: NatsConnection, subject: string) {
  const queue = yield* Queue.unbounded<string>()
  const callback = (_: unknown, message: Msg) => {
    Queue.offerUnsafe(queue, message.string())
  }
  yield* Effect.acquireRelease(
    attempt(() => connection.subscribe(subject, { callback })),
    (subscription) => Effect.sync(() => subscription.unsubscribe())
  )
  // Once the server has answered, it knows of the subscription.
  yield* attempt(() => connection.flush())
  return Stream.fromQueue(queue)
})

const attempt = <A>(evaluate: () => A | Promise<A>): Effect.Effect<A, BusError> =>
  Effect.tryPromise({ try: async () => evaluate(), catch: (cause) => new BusError({ cause }) })
