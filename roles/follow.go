package roles

import (
	"context"
	"encoding/json"
	"time"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/proxy"
)

// followAll brings a tracker who is there and what is told of changes, until ctx ends. following is closed when nothing
// is missed any more; nil does without.
func followAll(ctx context.Context, conn *broker.Conn, t *proxy.Tracker, following chan<- struct{}) error {
	stopSettled, err := conn.SubscribeSettled(ctx, func(notice []byte) {
		var s health.Settled
		if json.Unmarshal(notice, &s) == nil {
			t.Settled(s)
		}
	})
	if err != nil {
		return err
	}
	defer stopSettled()
	stopApplied, err := conn.SubscribeApplied(ctx, func(node string, notice []byte) {
		var a health.Applied
		if json.Unmarshal(notice, &a) == nil {
			t.Applied(node, a)
		}
	})
	if err != nil {
		return err
	}
	defer stopApplied()
	connected, stopConnected := conn.Connections()
	defer stopConnected()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-connected:
				t.Resumed()
				if following != nil {
					close(following)
					following = nil
				}
			}
		}
	})
	g.Go(func() error {
		return conn.WatchStatuses(ctx, func(id string, status broker.StatusMsg) { seen(t, id, status) })
	})
	return g.Wait()
}

// hearing is how long it takes until everybody was heard of: all announce themselves when they have found the broker
// again, which takes a client up to 4 s.
const hearing = 6 * time.Second

func newTracker(conn *broker.Conn, cfg Config, hearing time.Duration) *proxy.Tracker {
	return proxy.NewTracker(proxy.TrackerOptions{
		Ask: conn.PublishAsk, Connected: conn.Connected, InactiveAfter: cfg.Health.InactiveAfter, Hearing: hearing,
	})
}

func seen(t *proxy.Tracker, id string, status broker.StatusMsg) {
	if s := newSighting(id, status); s.Role == roleSecondary {
		t.Seen(id, s.At)
	}
}

// tracking has do use a tracker that knows who is there.
func tracking(ctx context.Context, conn *broker.Conn, cfg Config, do func(context.Context, *proxy.Tracker) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t := newTracker(conn, cfg, 0)
	statuses, err := conn.Statuses(ctx)
	if err != nil {
		return err
	}
	for id, status := range statuses {
		seen(t, id, status)
	}
	g, gctx := errgroup.WithContext(ctx)
	following := make(chan struct{})
	g.Go(func() error { return followAll(gctx, conn, t, following) })
	g.Go(func() error {
		defer stop()
		select {
		case <-following:
			return do(gctx, t)
		case <-gctx.Done():
			return nil
		}
	})
	return g.Wait()
}
