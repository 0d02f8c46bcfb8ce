package broker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
)

type told struct {
	node, data string
	at         time.Time
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	sec, proxy, health := b.Connect("sec1"), b.Connect("proxy1"), b.Connect("health1")
	if got, err := health.Statuses(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("at first: %v, %v", got, err)
	}
	for _, c := range []*broker.Conn{sec, proxy, primary} {
		must.OK(t, c.PublishStatus(t.Context(), []byte("old")))
		must.OK(t, c.PublishStatus(t.Context(), []byte("new")))
	}
	for _, c := range []*broker.Conn{health, proxy} {
		got, err := c.Statuses(t.Context())
		must.OK(t, err)
		if len(got) != 3 {
			t.Errorf("got %v", got)
		}
		for _, node := range []string{"sec1", "proxy1", "primary1"} {
			if s := got[node]; string(s.Data) != "new" || time.Since(s.At).Abs() > time.Minute {
				t.Errorf("%s: %+v", node, s)
			}
		}
	}
}

func TestWatchStatuses(t *testing.T) {
	t.Parallel()
	for _, watcher := range []string{"health1", "proxy1"} {
		t.Run(watcher, func(t *testing.T) {
			b, primary := start(t)
			sec := b.Connect("sec1")
			must.OK(t, sec.PublishStatus(t.Context(), []byte("stored")))
			ch := make(chan told, 1000)
			conn := b.Connect(watcher)
			background(t, func(ctx context.Context) error {
				return conn.WatchStatuses(ctx, func(node string, s broker.StatusMsg) {
					ch <- told{node, string(s.Data), s.At}
				})
			})
			await := func(node, data string) {
				t.Helper()
				for {
					if got := receive(t, ch); got.node == node && got.data == data {
						return
					}
				}
			}
			await("sec1", "stored")
			must.OK(t, sec.PublishStatus(t.Context(), []byte("live")))
			await("sec1", "live")
			if watcher == "health1" { // proxies wait for secondaries alone
				must.OK(t, primary.PublishStatus(t.Context(), []byte("live")))
				await("primary1", "live")
			}
			restart(t, b.Wipe, primary, sec, conn)
			ensure(t, primary)
			// The watcher's subscription may be a moment later than the rest.
			must.OK(t, conn.NATS().Flush())
			must.OK(t, sec.PublishStatus(t.Context(), []byte("after")))
			await("sec1", "after")
		})
	}
}

// TestHugeNotices has a node tell more than any node of ours does. Nobody hears it; what comes after is heard.
func TestHugeNotices(t *testing.T) {
	b, _ := start(t)
	sec, health := b.Connect("sec1"), b.Connect("health1")
	statuses, applied := make(chan told, 1000), make(chan told, 1000)
	background(t, func(ctx context.Context) error {
		return health.WatchStatuses(ctx, func(node string, s broker.StatusMsg) { statuses <- told{node: node, data: string(s.Data)} })
	})
	stop, err := health.SubscribeApplied(t.Context(), func(node string, notice []byte) { applied <- told{node: node, data: string(notice)} })
	must.OK(t, err)
	defer stop()
	must.OK(t, sec.PublishStatus(t.Context(), []byte("small")))
	for receive(t, statuses).data != "small" { // it listens
	}
	huge := make([]byte, 900<<10)
	for range 100 { // past the stream, which would refuse it
		for _, subject := range []string{"pdns.status.secondary.sec1", "pdns.applied.sec1"} {
			must.OK(t, sec.NATS().PublishMsg(&nats.Msg{Subject: subject, Header: nats.Header{"Pdns-Notice": {"1"}}, Data: huge}))
		}
	}
	must.OK(t, sec.PublishStatus(t.Context(), []byte("after")))
	must.OK(t, sec.PublishApplied([]byte("after")))
	for got := receive(t, statuses); got.data != "after"; got = receive(t, statuses) {
		if got.data != "small" {
			t.Fatalf("a status of %d bytes was heard", len(got.data))
		}
	}
	if got := receive(t, applied); got.data != "after" {
		t.Errorf("a notice of %d bytes was heard", len(got.data))
	}
}

func TestApplied(t *testing.T) {
	t.Parallel()
	b, _ := start(t)
	ch := make(chan told, 1000)
	listen := func(id string) (stop func()) {
		stop, err := b.Connect(id).SubscribeApplied(t.Context(), func(node string, notice []byte) {
			ch <- told{node: node, data: id + " hears " + string(notice)}
		})
		must.OK(t, err)
		return stop
	}
	stopHealth, stopProxy := listen("health1"), listen("proxy1")
	defer stopProxy()
	sec2 := b.Connect("sec2")
	for node, c := range map[string]*broker.Conn{"sec1": b.Connect("sec1"), "sec2": sec2} {
		must.OK(t, c.PublishApplied([]byte("it")))
		heard := map[string]bool{}
		for range 2 {
			got := receive(t, ch)
			heard[got.data] = true
			if got.node != node {
				t.Errorf("heard of %s", got.node)
			}
		}
		if len(heard) != 2 {
			t.Errorf("heard %v", heard)
		}
	}
	stopHealth()
	for i := range 3 {
		must.OK(t, sec2.PublishApplied(fmt.Append(nil, i)))
		if got := receive(t, ch); got.data != fmt.Sprint("proxy1 hears ", i) {
			t.Errorf("heard %+v", got)
		}
	}
}

func TestAppliedStopsWhenClosed(t *testing.T) {
	t.Parallel()
	b, _ := start(t)
	conn := b.Connect("health1")
	stop, err := conn.SubscribeApplied(t.Context(), func(string, []byte) {})
	must.OK(t, err)
	must.OK(t, conn.Close(t.Context()))
	stop()
}
