package broker_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

const patience = must.Patience

// start starts a broker with one user of each kind, and gives the primary's connection with the streams in place.
func start(t testing.TB) (*brokertest.Broker, *broker.Conn) {
	t.Helper()
	b := brokertest.Start(t, brokertest.Options{
		Primaries: []string{"primary1", "primary2"}, Health: []string{"health1"}, Proxies: []string{"proxy1"}, Secondaries: []string{"sec1", "sec2"},
	})
	primary := b.Connect("primary1")
	ensure(t, primary)
	return b, primary
}

func ensure(t testing.TB, c *broker.Conn) broker.Streams {
	t.Helper()
	streams, err := c.EnsureStreams(t.Context(), 1)
	must.OK(t, err)
	return streams
}

// restart runs b.Wipe, or stops and starts the broker, and waits until the connections have found it again.
func restart(t testing.TB, how func(), conns ...*broker.Conn) {
	t.Helper()
	var found []<-chan struct{}
	for _, c := range conns {
		connected, stop := c.Connections()
		defer stop()
		receive(t, connected) // the present one
		found = append(found, connected)
	}
	how()
	for _, connected := range found {
		receive(t, connected)
	}
}

func stopAndStart(b *brokertest.Broker) func() {
	return func() {
		b.Stop()
		b.Start()
	}
}

// reconnect waits until there is a connection.
func reconnect(t testing.TB, c *broker.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must.OK(t, c.Wait(ctx))
}

func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// background runs a loop until the test ends, and checks that it ends well. stop ends it earlier.
func background(t testing.TB, loop func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- loop(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error("loop ended: ", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func touches(t testing.TB, c *broker.Conn, flow broker.Flow) (<-chan broker.TouchMsg, func()) {
	t.Helper()
	ch := make(chan broker.TouchMsg, 10_000)
	stop := background(t, func(ctx context.Context) error {
		return c.Touches(ctx, func(m broker.TouchMsg) { ch <- m }, flow)
	})
	return ch, stop
}

func feed(t testing.TB, c *broker.Conn, flow broker.Flow) (<-chan broker.FeedMsg, func()) {
	t.Helper()
	ch := make(chan broker.FeedMsg, 10_000)
	stop := background(t, func(ctx context.Context) error {
		return c.Feed(ctx, func(m broker.FeedMsg) { ch <- m }, func(broker.FeedInfo) {}, flow)
	})
	return ch, stop
}

// publish stores a state as the first of its zone.
func publish(t testing.TB, c *broker.Conn, name string, data string) uint64 {
	t.Helper()
	seq, err := c.PublishState(t.Context(), zone.MustParseName(name), []byte(data), broker.StateHeader{Kind: broker.KindZone}, 0)
	must.OK(t, err)
	return seq
}

// touch says that a zone may have changed; who may not say that orders a secondary to take it again.
func touch(t testing.TB, c *broker.Conn, name string) {
	t.Helper()
	what := order("sec1")
	if c.Self().Role == broker.RoleProxy {
		what = broker.Touch{Cause: broker.Changed}
	}
	_, err := c.PublishTouch(t.Context(), zone.MustParseName(name), what)
	must.OK(t, err)
}

// order is a touch by which a secondary is to take a zone again.
func order(node string) broker.Touch { return broker.Touch{Cause: broker.Ordered, Again: node} }

// shown is a touch by which PowerDNS showed this serial after a write.
func shown(serial uint32) broker.Touch { return broker.Touch{Cause: broker.Changed, Serial: &serial} }

// refusing connects to nobody.
type refusing struct{}

func (refusing) Dial(string, string) (net.Conn, error) { return nil, errors.New("nobody is there") }

func read(t testing.TB, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	must.OK(t, err)
	return content
}
