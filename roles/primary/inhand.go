package primary

import (
	"context"
	"maps"
	"sync"

	"pdns-distribute/broker"
	"pdns-distribute/roles/work"
)

// transferAlive is how often the queue is told of touches that take long.
const transferAlive = broker.AckWait / 3

// inHand are the touches that are being worked on. It is safe for concurrent use.
type inHand struct {
	mu      sync.Mutex
	touches map[*broker.TouchMsg]struct{} // under mu
}

func newInHand() *inHand { return &inHand{touches: map[*broker.TouchMsg]struct{}{}} }

// begin has the queue told that the touch is being worked on, until end is called.
func (h *inHand) begin(t *broker.TouchMsg) (end func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.touches[t] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.touches, t)
	}
}

// keep tells the queue of all touches in hand, so that it does not deliver them again.
func (h *inHand) keep(ctx context.Context) error {
	for work.Wait(ctx, transferAlive) {
		for t := range h.now() {
			_ = t.InProgress() // lost: the touch is delivered again, which is harmless
		}
	}
	return nil
}

func (h *inHand) now() map[*broker.TouchMsg]struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.touches)
}
