package broker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// The health role orders and reads. It has no right to publish a zone, to lose one, or to say that one was deleted.
func TestRightsOfHealth(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	h := b.Connect("health1")
	example := zone.MustParseName("example.org")
	seq, err := primary.PublishState(t.Context(), example, []byte("true"), broker.StateHeader{Kind: broker.KindZone}, 0)
	must.OK(t, err)
	_, err = h.PublishTouch(t.Context(), example, order("sec1"))
	must.OK(t, err)
	_, err = h.Feeds(t.Context())
	must.OK(t, err)

	var tries sync.WaitGroup
	for what, try := range map[string]func(context.Context) error{
		"publish a state": func(ctx context.Context) error {
			_, err := h.PublishState(ctx, example, []byte("false"), broker.StateHeader{Kind: broker.KindZone}, seq)
			return err
		},
		"say that a zone was deleted": func(ctx context.Context) error {
			_, err := h.PublishTouch(ctx, example, broker.Touch{Cause: broker.Deleted})
			return err
		},
		"have all zones compared": h.PublishSweep,
		"make a feed":             func(ctx context.Context) error { return h.ProvisionFeed(ctx, "sec1") },
		"remove a feed":           func(ctx context.Context) error { return h.RemoveFeed(ctx, "sec1") },
		"renew a feed":            func(ctx context.Context) error { return h.RenewFeed(ctx, "sec1", time.Now()) },
		"read a state":            func(ctx context.Context) error { _, err := h.LastState(ctx, example); return err },
		"put a blob":              func(ctx context.Context) error { _, err := h.PutBlob(ctx, []byte("false")); return err },
		"make a node unknown":     func(ctx context.Context) error { return h.ForgetStatus(ctx, "sec1") },
		"collect blobs": func(ctx context.Context) error {
			_, err := h.CollectBlobs(ctx, func(broker.Hash) bool { return false }, -time.Hour)
			return err
		},
	} {
		tries.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // nobody answers what is refused
			defer cancel()
			if err := try(ctx); err == nil || errors.Is(err, broker.ErrConflict) {
				t.Errorf("health can %s: %v", what, err)
			}
		})
	}
	tries.Wait()
	last, err := primary.LastState(t.Context(), example)
	if err != nil || last.Seq != seq || string(last.Data) != "true" {
		t.Errorf("%+v, %v", last, err)
	}
}
