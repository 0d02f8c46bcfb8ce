package roletest

import (
	"context"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

func StartBroker(t *testing.T) (primary, secondary *broker.Conn) {
	t.Helper()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}, Secondaries: []string{"ns1"}})
	primary = b.Connect("primary1")
	_, err := primary.EnsureStreams(t.Context(), 1)
	must.OK(t, err)
	must.OK(t, primary.ProvisionFeed(t.Context(), "ns1"))
	return primary, b.Connect("ns1")
}

// inHand gives the messages of a loop that calls back for each, until the test ends.
func InHand[M any](t *testing.T, loop func(context.Context, func(M)) error) <-chan M {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	messages, ended := make(chan M, 100), make(chan error, 1)
	go func() { ended <- loop(ctx, func(m M) { messages <- m }) }()
	t.Cleanup(func() {
		cancel()
		must.OK(t, <-ended)
	})
	return messages
}

func TouchesOf(c *broker.Conn) func(context.Context, func(broker.TouchMsg)) error {
	return func(ctx context.Context, fn func(broker.TouchMsg)) error { return c.Touches(ctx, fn, nil) }
}

func FeedOf(c *broker.Conn) func(context.Context, func(broker.FeedMsg)) error {
	return func(ctx context.Context, fn func(broker.FeedMsg)) error {
		return c.Feed(ctx, fn, func(broker.FeedInfo) {}, nil)
	}
}

func Receive[M any](t *testing.T, messages <-chan M) M {
	t.Helper()
	select {
	case m := <-messages:
		return m
	case <-time.After(must.Patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// wantAcknowledged makes use of the broker's client, which takes no second word about a message.
func WantAcknowledged(t *testing.T, m broker.Message) {
	t.Helper()
	if m.Nak(0) == nil {
		t.Error("the older message was not acknowledged")
	}
}

func PublishState(t *testing.T, c *broker.Conn, name zone.Name) {
	t.Helper()
	_, err := c.PublishState(t.Context(), name, []byte("a state"), broker.StateHeader{Kind: broker.KindZone}, 0)
	must.OK(t, err)
}
