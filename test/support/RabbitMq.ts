/** A connection to the RabbitMQ server of this machine, if it runs one, and queues of one's own. */
import { type ChannelModel, type ConfirmChannel, connect, type ConsumeMessage, type Options } from "amqplib"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"

const url = "amqp://guest:guest@127.0.0.1:5672"

export const howToGetOne = "apt-get install rabbitmq-server, which listens on 127.0.0.1:5672"

const open = (): Promise<ChannelModel> => connect(url, { timeout: 2000 })

/** Whether a server answers and lets the guest in. */
export const isAvailable = (): Promise<boolean> => open().then((model) => model.close()).then(() => true, () => false)

/** A queue that nobody else can use, which is gone when the test is over. */
export interface OwnQueue {
  readonly name: string
  /** Sends a message to the queue; the server has it once this is done. */
  readonly publish: (content: string, options?: Options.Publish) => Effect.Effect<void>
  /** The next delivery. */
  readonly next: Effect.Effect<ConsumeMessage>
  readonly channel: ConfirmChannel
}

export class RabbitMq extends Context.Service<RabbitMq, {
  readonly makeQueue: (options?: Options.AssertQueue) => Effect.Effect<OwnQueue, never, Scope.Scope>
}>()("loom-tracing/test/support/RabbitMq") {}

export const layer: Layer.Layer<RabbitMq> = Layer.effect(
  RabbitMq,
  Effect.gen(function*() {
    const model = yield* Effect.acquireRelease(Effect.promise(open), (model) => Effect.promise(() => model.close()))
    return {
      makeQueue: Effect.fnUntraced(function*(options) {
        const channel = yield* Effect.acquireRelease(
          Effect.promise(() => model.createConfirmChannel()),
          // With its only consumer the queue goes.
          (channel) => Effect.promise(() => channel.close())
        )
        // The server makes up the name.
        const { queue: name } = yield* Effect.promise(() =>
          channel.assertQueue("", { ...options, exclusive: true, autoDelete: true })
        )
        const deliveries = yield* Queue.unbounded<ConsumeMessage>()
        yield* Effect.promise(() =>
          channel.consume(name, (message) => {
            if (message !== null) Queue.offerUnsafe(deliveries, message)
          })
        )
        return {
          name,
          channel,
          publish: (content, options) =>
            Effect.promise(() => {
              channel.sendToQueue(name, Buffer.from(content), options)
              return channel.waitForConfirms()
            }),
          next: Queue.take(deliveries)
        }
      })
    }
  })
)
