package broker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/powerdns/zone"
)

// StateWatcher receives all published states. Its functions are called one after the other; State must be set, the
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
	// Flow is called when the connection is lost and when the watch goes on.
	Flow Flow
	// Again, each time that it gives something, has all states given again, after a Reset: whoever watches may have
	// missed some.
	Again <-chan struct{}
}

// WatchStates follows the headers of all states. It goes on through lost connections without repeating or missing a
// state. Tombstones that end by their TTL, and states deleted by hand, are not given. It returns nil when ctx has
// ended, and ErrClosed when the connection was closed.
//
// A primary reads by a consumer that it makes for itself, and that ends with it. A health role may make none, because
// who can make consumers can read and acknowledge everything: it waits until a primary has called ProvisionWatch for
// it, and has that consumer begin anew (CONSUMER.RESET, nats-server 2.14) at each connection. One process of a node may
// do so at a time.
func (c *Conn) WatchStates(ctx context.Context, w StateWatcher) error {
	watch := stateWatch{StateWatcher: w, conn: c, next: 1, reopen: make(chan struct{}, 1)}
	f := follower{
		conn: c, object: "watch of states", flow: w.Flow,
		limit: jetstream.PullMaxMessages(1024),
		open:  watch.open, handle: watch.handle, reopen: watch.reopen,
	}
	if c.self.Role == RoleHealth {
		f.look = c.looker(stateStream, watchName(c.self.Node))
	}
	ctx, cancel := context.WithCancel(ctx)
	var again sync.WaitGroup
	again.Go(func() { watch.heedAgain(ctx) })
	defer again.Wait()
	defer cancel()
	return f.run(ctx)
}

// looker asks for a consumer.
func (c *Conn) looker(stream, consumer string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := c.js.Consumer(ctx, stream, consumer)
		return err
	}
}

// ZoneNames returns the zones that the broker holds states of, tombstones included, in any order.
func (c *Conn) ZoneNames(ctx context.Context) (names []zone.Name, err error) {
	err = c.ask(ctx, func(ctx context.Context) error {
		stream, err := c.js.Stream(ctx, stateStream)
		if err != nil {
			return err
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(statePrefix+">"))
		if err != nil {
			return err
		}
		for subject := range info.State.Subjects {
			name, err := subjectZone(statePrefix, subject)
			if err != nil {
				c.strange.Error().Err(err).Msg("unreadable state skipped")
				continue
			}
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the published zones: %w", err)
	}
	return names, nil
}

// stateWatch remembers where the watch is. open and handle are never called at the same time.
type stateWatch struct {
	StateWatcher
	conn     *Conn
	created  time.Time // of the stream
	next     uint64    // sequence to go on from
	caughtUp bool

	told   uint64        // of a health role's consumer: messages since it began anew
	reopen chan struct{} // has the follower open it again
	anew   atomic.Bool   // it is then to begin with the first state
}

// heedAgain has the watch begin anew whenever Again gives something.
func (w *stateWatch) heedAgain(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.Again:
			w.anew.Store(true)
			raise(w.reopen)
		}
	}
}

// open goes on after the last state seen, or from the beginning of a stream that isn't the one it was.
func (w *stateWatch) open(ctx context.Context) (jetstream.Consumer, error) {
	before, err := w.conn.js.Stream(ctx, stateStream)
	if err != nil {
		return nil, err
	}
	w.adopt(before.CachedInfo())
	consumer, err := w.consumer(ctx, before)
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

func (w *stateWatch) consumer(ctx context.Context, stream jetstream.Stream) (jetstream.Consumer, error) {
	if w.conn.self.Role == RoleHealth {
		return w.restart(ctx)
	}
	return stream.CreateConsumer(ctx, w.conn.ephemeral(w.next))
}

// restart has the consumer that a primary made for this node begin at the next state. It fails while a pull is there
// already: what that one swallows, the last states above all, nobody would miss. nats-server takes a pull for alive
// that it reads after the connection of a killed process has ended (2.15.2).
func (w *stateWatch) restart(ctx context.Context) (jetstream.Consumer, error) {
	name := watchName(w.conn.self.Node)
	if _, err := w.conn.js.Consumer(ctx, stateStream, name); err != nil { // nobody answers a reset of one that isn't there
		return nil, err
	}
	var began struct{}
	if err := w.conn.call(ctx, "CONSUMER.RESET."+stateStream+"."+name, map[string]uint64{"seq": w.next}, &began); err != nil {
		return nil, err
	}
	w.told = 0
	consumer, err := w.conn.js.Consumer(ctx, stateStream, name)
	if err != nil {
		return nil, err
	}
	if info := consumer.CachedInfo(); info.NumWaiting > 0 || info.Delivered.Consumer > 0 {
		return nil, fmt.Errorf("a pull of an earlier process or connection takes what consumer %s delivers, for %s at most", name, pullExpiry)
	}
	return consumer, nil
}

// missed reports whether messages of a health role's consumer went elsewhere: to a pull of an earlier process or
// connection, which the broker still takes for alive. It counts its messages from 1 on since it began anew, so a gap
// shows them. They are read again from where the watch is.
func (w *stateWatch) missed(meta *jetstream.MsgMetadata) bool {
	if w.conn.self.Role != RoleHealth {
		return false
	}
	if meta.Sequence.Consumer == w.told+1 {
		w.told++
		return false
	}
	raise(w.reopen)
	return true
}

func (w *stateWatch) adopt(s *jetstream.StreamInfo) {
	if w.created.IsZero() {
		w.created = s.Created
	}
	if s.Created.Equal(w.created) && w.next <= s.State.LastSeq+1 && !w.anew.Swap(false) {
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
	if err != nil || ctx.Err() != nil || meta.Sequence.Stream > maxSequence || w.missed(meta) {
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
