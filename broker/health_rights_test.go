package broker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
)

// The health role shares its account with the primary, and yet has no right to publish a zone, or to lose one.
func TestRightsOfHealth(t *testing.T) {
	b, primary := start(t)
	h := b.Connect("health1")
	example := zone.MustParseName("example.org")
	seq, err := primary.PublishState(t.Context(), example, []byte("true"), broker.StateHeader{Kind: broker.KindZone}, 0)
	must(t, err)
	_, err = h.PublishTouch(t.Context(), example, broker.Touch{Reason: "check"})
	must(t, err)
	_, err = h.Feeds(t.Context())
	must(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // nobody answers what is refused
	defer cancel()
	for what, try := range map[string]func() error{
		"publish a state": func() error {
			_, err := h.PublishState(ctx, example, []byte("false"), broker.StateHeader{Kind: broker.KindZone}, seq)
			return err
		},
		"put a blob": func() error { _, err := h.PutBlob(ctx, []byte("false")); return err },
		"collect blobs": func() error {
			_, err := h.CollectBlobs(ctx, func(broker.Hash) bool { return false }, -time.Hour)
			return err
		},
	} {
		if err := try(); err == nil || errors.Is(err, broker.ErrConflict) {
			t.Errorf("health can %s: %v", what, err)
		}
	}
	last, err := h.LastState(t.Context(), example)
	if err != nil || last.Seq != seq || string(last.Data) != "true" {
		t.Errorf("%+v, %v", last, err)
	}
}
