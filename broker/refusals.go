package broker

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// refusalAge is how long a refusal counts: what a role needs it tries again and again.
const refusalAge = 30 * time.Second

// refusals keep what the broker last did not permit this node.
type refusals struct {
	signals // raised for each

	mu   sync.Mutex
	last error
	at   time.Time
}

func (r *refusals) note(err error) {
	r.mu.Lock()
	r.last, r.at = err, time.Now()
	r.mu.Unlock()
	r.raise()
}

// Refused says what the broker did not permit this node lately, nil if nothing (ErrRefused).
func (c *Conn) Refused() error {
	c.refusals.mu.Lock()
	defer c.refusals.mu.Unlock()
	if c.refusals.last == nil || time.Since(c.refusals.at) > refusalAge {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrRefused, c.refusals.last)
}

// UntilRefused returns a context that ends when ctx does, when stop is called, and as soon as the broker does not
// permit something: its cause is then an ErrRefused. Commands need it, because nobody answers what was refused.
func (c *Conn) UntilRefused(ctx context.Context) (until context.Context, stop context.CancelFunc) {
	until, end := context.WithCancelCause(ctx)
	refused, unlisten := c.refusals.listen()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-refused:
			end(c.Refused())
		case <-until.Done():
		}
	}()
	return until, func() {
		end(nil)
		<-ended
		unlisten()
	}
}
