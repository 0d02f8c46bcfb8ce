package roles

import (
	"context"
	"encoding/json"

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
	if following != nil {
		close(following)
	}
	return conn.WatchStatuses(ctx, func(id string, status broker.StatusMsg) { seen(t, id, status) })
}

func seen(t *proxy.Tracker, id string, status broker.StatusMsg) {
	if s, err := newSighting(status); err == nil && s.Role == roleSecondary {
		t.Seen(id, s.At)
	}
}

// tracking has do use a tracker that knows who is there.
func tracking(ctx context.Context, conn *broker.Conn, cfg Config, do func(context.Context, *proxy.Tracker) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t := proxy.NewTracker(cfg.Health.InactiveAfter, conn.PublishAsk)
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
