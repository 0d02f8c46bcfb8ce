package transfer

import (
	"context"
	"time"

	"pdns-distribute/powerdns/zone"
)

// contentLook compares the whole content of a zone, less and less often: each look is a transfer out of the server.
type contentLook struct {
	next  time.Time
	pause time.Duration
	found error // by the last look
}

// Pauses between two looks, which double with each.
const (
	firstLook = time.Millisecond
	lastLook  = 500 * time.Millisecond
)

// prove is ProveContent, or what that said last until the next look is due.
func (l *contentLook) prove(ctx context.Context, address string, z *zone.Zone) error {
	if l.found != nil && time.Now().Before(l.next) {
		return l.found
	}
	l.found = ProveContent(ctx, address, z)
	l.pause = min(max(2*l.pause, firstLook), lastLook)
	l.next = time.Now().Add(l.pause)
	return l.found
}
