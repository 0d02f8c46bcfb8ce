// Package follow brings a [proxy.Tracker] what it goes by: who is active, and the notices of primaries and
// secondaries about changes. The proxy role and the commands status and sync use it.
//
//   - follow.go: [All] follows until it is stopped; [Tracking] follows for the length of one command
//   - sighting.go: presences and brokers as the broker reports them, read into the types of package health
package follow

import (
	"context"
	"encoding/json"
	"time"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/config"
)

// All brings a tracker who is active and the notices about changes, until ctx ends. following is closed when nothing
// is missed any more; nil does without.
func All(ctx context.Context, conn *broker.Conn, t *proxy.Tracker, following chan<- struct{}) error {
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

// Discovery is how long it takes after a connection began until all nodes are known: they report when they have found
// the broker again, which takes a client up to 4 s.
const Discovery = 6 * time.Second

// NewTracker returns a tracker that knows nobody yet, see [proxy.TrackerOptions].
func NewTracker(conn *broker.Conn, cfg config.Config, discovery time.Duration) *proxy.Tracker {
	return proxy.NewTracker(proxy.TrackerOptions{
		Node: cfg.Node.ID, Ask: conn.PublishAsk, Connected: conn.Connected, InactiveAfter: cfg.Health.InactiveAfter, Discovery: discovery,
	})
}

func seen(t *proxy.Tracker, id string, status broker.StatusMsg) {
	if s := NewSighting(id, status); s.Role == health.RoleSecondary {
		t.Seen(id, s.At)
	}
}

// Tracking calls do with a tracker that knows who is active.
func Tracking(ctx context.Context, conn *broker.Conn, cfg config.Config,
	do func(context.Context, *proxy.Tracker) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t := NewTracker(conn, cfg, 0)
	statuses, err := conn.Statuses(ctx)
	if err != nil {
		return err
	}
	for id, status := range statuses {
		seen(t, id, status)
	}
	g, gctx := errgroup.WithContext(ctx)
	following := make(chan struct{})
	g.Go(func() error { return All(gctx, conn, t, following) })
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
