// A service in Go, instrumented with opentelemetry-go, that speaks NATS as the tests' peer.
//
//	gopeer URL SUBJECT
//
// It answers requests to SUBJECT.answer. A request to SUBJECT.ask makes it the one who begins a trace and asks. It prints
// "ready" once it listens, and ends when its standard input does.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// carrier is what a message holds under "_trace_context".
type carrier map[string]string

func (c carrier) Get(key string) string { return c[key] }

func (c carrier) Set(key, value string) { c[key] = value }

func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}

type identity struct {
	TraceID string `json:"trace_id"`
	SpanID  string `json:"span_id"`
	Flags   string `json:"flags"`
}

func identify(sc trace.SpanContext) *identity {
	return &identity{sc.TraceID().String(), sc.SpanID().String(), sc.TraceFlags().String()}
}

type message struct {
	TaskID string `json:"task_id"`
	// The subject of the one to ask.
	Ask string `json:"ask,omitempty"`

	// The span of the peer's own.
	Span *identity `json:"span,omitempty"`
	// What came with the message that it got, as it came and as opentelemetry-go understands it.
	Carrier carrier           `json:"carrier,omitempty"`
	Remote  *identity         `json:"remote,omitempty"`
	State   string            `json:"state,omitempty"`
	Baggage map[string]string `json:"baggage,omitempty"`

	TraceContext carrier `json:"_trace_context,omitempty"`
}

// look says what has come.
func (m *message) look(ctx context.Context, c carrier) {
	sc := trace.SpanContextFromContext(ctx)
	m.Carrier, m.Remote, m.State = c, identify(sc), sc.TraceState().String()
	m.Baggage = map[string]string{}
	for _, member := range baggage.FromContext(ctx).Members() {
		m.Baggage[member.Key()] = member.Value()
	}
}

// stamp puts the current span in front of the trace state, as a vendor does with its own.
func stamp(ctx context.Context) context.Context {
	sc := trace.SpanContextFromContext(ctx)
	state, err := sc.TraceState().Insert("gopeer", sc.SpanID().String())
	check(err)
	return trace.ContextWithSpanContext(ctx, sc.WithTraceState(state))
}

func inject(ctx context.Context, propagator propagation.TextMapPropagator) carrier {
	c := carrier{}
	propagator.Inject(stamp(ctx), c)
	return c
}

func encode(m message) []byte {
	data, err := json.Marshal(m)
	check(err)
	return data
}

func decode(data []byte) (m message) {
	check(json.Unmarshal(data, &m))
	return
}

// answer handles a request in a span of its own and says how it went, in its body and in the headers alike.
func answer(tracer trace.Tracer, propagator propagation.TextMapPropagator) nats.MsgHandler {
	return func(msg *nats.Msg) {
		in := decode(msg.Data)
		out := message{TaskID: in.TaskID}
		remote := propagator.Extract(context.Background(), in.TraceContext)
		out.look(remote, in.TraceContext)
		ctx, span := tracer.Start(remote, "answer", trace.WithSpanKind(trace.SpanKindConsumer))
		defer span.End()
		out.Span = identify(span.SpanContext())
		out.TraceContext = inject(ctx, propagator)
		headers := http.Header{}
		propagator.Inject(stamp(ctx), propagation.HeaderCarrier(headers))
		check(msg.RespondMsg(&nats.Msg{Data: encode(out), Header: nats.Header(headers)}))
	}
}

// ask begins a trace, asks whom the request names, and says what has come back.
func ask(nc *nats.Conn, tracer trace.Tracer, propagator propagation.TextMapPropagator) nats.MsgHandler {
	return func(msg *nats.Msg) {
		in := decode(msg.Data)
		tenant, err := baggage.NewMember("tenant", "acme-7")
		check(err)
		bag, err := baggage.New(tenant)
		check(err)
		ctx, span := tracer.Start(context.Background(), "ask", trace.WithSpanKind(trace.SpanKindProducer))
		defer span.End()
		ctx = baggage.ContextWithBaggage(ctx, bag)
		reply, err := nc.Request(in.Ask, encode(message{TaskID: in.TaskID, TraceContext: inject(ctx, propagator)}), 10*time.Second)
		check(err)
		back := decode(reply.Data)
		out := message{TaskID: in.TaskID, Span: identify(span.SpanContext())}
		out.look(propagator.Extract(context.Background(), back.TraceContext), back.TraceContext)
		check(msg.Respond(encode(out)))
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	nc, err := nats.Connect(os.Args[1], nats.Name("gopeer"))
	check(err)
	tracer := sdktrace.NewTracerProvider().Tracer("gopeer")
	propagator := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	handlers := map[string]nats.MsgHandler{
		"answer": answer(tracer, propagator),
		"ask":    ask(nc, tracer, propagator),
	}
	for name, handler := range handlers {
		_, err := nc.Subscribe(os.Args[2]+"."+name, handler)
		check(err)
	}
	check(nc.Flush())
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	check(err)
	nc.Close()
}
