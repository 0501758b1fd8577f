/** A tracer of Effect's that is not this package's, and the spans that it was asked for. */
import { Tracer } from "effect"

export const make = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const ended: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      const end = span.end.bind(span)
      span.end = (time, exit) => {
        ended.push(span)
        end(time, exit)
      }
      spans.push(span)
      return span
    }
  })
  return {
    tracer,
    /** In the order of their start. */
    spans: spans as ReadonlyArray<Tracer.NativeSpan>,
    /** In the order of their end, each as often as it was ended. */
    ended: ended as ReadonlyArray<Tracer.NativeSpan>
  }
}
