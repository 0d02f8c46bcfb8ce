package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StateWatcher is told of all published states. Its functions are called one after the other; State must be set, the
// others may be nil.
type StateWatcher struct {
	// State gets the newest state of each zone in stream order, first the existing ones, then each as it is
	// published. Data is not read: it is nil.
	State func(StateMsg)
	// CaughtUp is called once the states that existed have been delivered, and again after each Reset.
	CaughtUp func()
	// Reset is called when the broker was wiped, or went back to an earlier copy of its store: forget all states;
	// those that exist follow from the beginning.
	Reset func()
	// Flow is told when the connection is lost and when the watch goes on.
	Flow Flow
}

// WatchStates follows the headers of all states; CORE account only. It goes on through lost connections without
// repeating or missing a state. Tombstones that end by their TTL, and states deleted by hand, aren't told. It returns
// nil when ctx has ended, and ErrClosed when the connection was closed.
func (c *Conn) WatchStates(ctx context.Context, w StateWatcher) error {
	watch := stateWatch{StateWatcher: w, conn: c, next: 1}
	f := follower{
		conn: c, object: "watch of states", flow: w.Flow,
		limit: jetstream.PullMaxMessages(1024),
		open:  watch.open, handle: watch.handle,
	}
	return f.run(ctx)
}

// stateWatch remembers where the watch is. open and handle are never called at the same time.
type stateWatch struct {
	StateWatcher
	conn     *Conn
	created  time.Time // of the stream
	next     uint64    // sequence to go on from
	caughtUp bool
}

// open goes on after the last state seen, or from the beginning of a stream that isn't the one it was.
func (w *stateWatch) open(ctx context.Context) (jetstream.Consumer, error) {
	before, err := w.conn.js.Stream(ctx, stateStream)
	if err != nil {
		return nil, err
	}
	w.adopt(before.CachedInfo())
	consumer, err := before.CreateConsumer(ctx, ephemeral(w.next))
	if err != nil {
		return nil, err
	}
	after, err := w.conn.js.Stream(ctx, stateStream)
	if err != nil {
		return nil, err
	}
	if !after.CachedInfo().Created.Equal(w.created) {
		return nil, fmt.Errorf("%w: stream %s was made anew in this moment", ErrGone, stateStream)
	}
	if consumer.CachedInfo().NumPending == 0 {
		w.reachEnd()
	}
	return consumer, nil
}

func (w *stateWatch) adopt(s *jetstream.StreamInfo) {
	if w.created.IsZero() {
		w.created = s.Created
	}
	if s.Created.Equal(w.created) && w.next <= s.State.LastSeq+1 {
		return
	}
	w.created, w.next, w.caughtUp = s.Created, 1, false
	if w.Reset != nil {
		w.Reset()
	}
}

// maxSequence is more than any stream of ours comes to; what counts on from there must not begin at 0 again.
const maxSequence = 1 << 62

func (w *stateWatch) handle(ctx context.Context, d delivery) {
	meta, err := d.Metadata()
	if err != nil || ctx.Err() != nil || meta.Sequence.Stream > maxSequence {
		return
	}
	w.next = meta.Sequence.Stream + 1
	if state, err := w.conn.replaceable(d.Subject(), meta.Sequence.Stream, d.Headers(), nil); err != nil {
		w.conn.strange.Error().Err(err).Msg("unreadable state skipped")
	} else {
		w.State(state)
	}
	if meta.NumPending == 0 {
		w.reachEnd()
	}
}

func (w *stateWatch) reachEnd() {
	if w.caughtUp {
		return
	}
	w.caughtUp = true
	if w.CaughtUp != nil {
		w.CaughtUp()
	}
}
