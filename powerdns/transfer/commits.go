package transfer

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Commits learns how long a server takes from the last message of a small transfer to the new answer. Questions that
// come too early are not only in vain: the server answers them in place of committing. It is safe for concurrent use.
type Commits struct {
	mu   sync.Mutex
	last [commitsKept]time.Duration // under mu: the last ones, in turn; 0 before so many were seen
	next int                        // under mu
}

const commitsKept = 8

// Await is [Proof.Await] right after a transfer. It puts the first question shortly before the quickest of the last
// commits would be over.
func (c *Commits) Await(ctx context.Context, p Proof, first, patience time.Duration) error {
	begin, early := time.Now(), c.early()
	if err := pauseUntil(ctx, begin.Add(early)); err != nil {
		return err
	}
	asked, err := p.await(ctx, first, patience)
	switch {
	case err != nil:
	case asked == 1: // it may have been over for long
		c.note(early / 2)
	default:
		c.note(time.Since(begin))
	}
	return err
}

// early is when the first question is put.
func (c *Commits) early() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(slices.Min(c.last[:])*3/4, longestEarly)
}

// longestEarly bounds what a commit of before may cost a quicker one.
const longestEarly = 5 * time.Millisecond

func (c *Commits) note(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last[c.next] = took
	c.next = (c.next + 1) % commitsKept
}

// pauseUntil waits with the precision of a short pause.
func pauseUntil(ctx context.Context, at time.Time) error {
	for {
		left := time.Until(at)
		switch {
		case left <= 0:
			return ctx.Err()
		case left > 2*timerStep: // which comes late by up to one
			left -= timerStep
		case left >= timerStep:
			left = timerStep - 1
		}
		if err := pause(ctx, left); err != nil {
			return err
		}
	}
}
