package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The lease is one key in a bucket that forgets after leaseTTL. A TTL of the key itself would not do: updating the key
// removes it (nats-server 2.15.2).
const (
	leaseBucket = "pdns_lease"
	leaseTTL    = 15 * time.Second
	leaseRenew  = 5 * time.Second
	leaseMargin = 2 * time.Second // by which the holder stops before the broker forgets the lease
	leasePoll   = time.Second     // how often the others try to take it
)

// Term is one time of holding the lease. It travels with what its holder orders, so that an order from a term that is
// over can be distinguished from one of the present term.
type Term struct {
	generation int64 // when the bucket was created: a broker that lost its disk begins to count anew
	revision   uint64
}

// Before reports whether a term was over when the other one began.
func (t Term) Before(other Term) bool {
	return cmp.Or(cmp.Compare(t.generation, other.generation), cmp.Compare(t.revision, other.revision)) < 0
}

// IsZero reports whether there is no term.
func (t Term) IsZero() bool { return t == Term{} }

// String is the form that ParseTerm reads.
func (t Term) String() string { return fmt.Sprintf("%d-%d", t.generation, t.revision) }

// ParseTerm reads what String wrote; "" is no term.
func ParseTerm(s string) (t Term, err error) {
	if s == "" {
		return t, nil
	}
	if _, err := fmt.Sscanf(s, "%d-%d", &t.generation, &t.revision); err != nil || t.String() != s {
		return Term{}, fmt.Errorf("%q is no term of a lease", s)
	}
	return t, nil
}

// Lease is held by one node at a time. It is safe for concurrent use.
type Lease struct {
	Term Term

	key      string
	bucket   jetstream.KeyValue
	revision uint64 // of the last renewal

	mu    sync.Mutex
	until time.Time
}

// Held reports whether the lease is still held at this moment. Whoever acts by it asks right before each act: a process
// that was stopped goes on without knowing. Both clocks must say so, because the monotonic one stands still while a
// machine is suspended.
func (l *Lease) Held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return now.Before(l.until) && now.Round(0).Before(l.until.Round(0))
}

// extend counts from when the broker was asked: it counts from when it stored the answer.
func (l *Lease) extend(asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = asked.Add(leaseTTL - leaseMargin)
}

func (l *Lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.until)
}

// Campaign calls lead each time that this node gets the lease of that name, which any number of nodes want and one at a
// time holds. lead's context ends before anybody else can get it, as long as no clock is set; lead then returns without
// another act, each of which it does only while Held. When lead returns by itself, or ctx ends, the lease is given back
// at once. wants (may be nil) says whether this node wants the lease at this moment. CORE account. It returns nil when
// ctx has ended, and ErrClosed when the connection was closed.
//
// A lease that a killed process of this node left behind is taken over at once, but only at the first attempt: two
// processes with one node id must not take it from each other for ever. A former process that was only stopped loses it
// with its next renewal, and what it sends until then carries a term that is over.
func (c *Conn) Campaign(ctx context.Context, name string, wants func(context.Context) bool, lead func(context.Context, *Lease)) error {
	connected, stop := c.Connections()
	defer stop()
	tick := time.NewTicker(leasePoll)
	defer tick.Stop()
	inherit := true
	for before := error(nil); ; {
		if !c.awaitWish(ctx, wants, tick) {
			return c.closedError()
		}
		lease, err := c.takeLease(ctx, name, inherit)
		inherit = inherit && err != nil && !errors.Is(err, ErrConflict)
		if err != nil && !errors.Is(err, ErrConflict) && sentinel(err) != sentinel(before) && ctx.Err() == nil {
			c.log.Warn().Err(err).Str("lease", name).Msg("cannot campaign for leadership")
		}
		before = err
		if err == nil {
			c.log.Info().Str("lease", name).Stringer("term", lease.Term).Msg("gained leadership")
			c.holdLease(ctx, lease, lead)
			c.log.Info().Str("lease", name).Stringer("term", lease.Term).Msg("lost leadership")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.done:
			return ErrClosed
		case <-connected:
		case <-tick.C:
		}
	}
}

// awaitWish returns false when ctx or the connection ended first.
func (c *Conn) awaitWish(ctx context.Context, wants func(context.Context) bool, tick *time.Ticker) bool {
	for wants != nil && !wants(ctx) {
		select {
		case <-ctx.Done():
			return false
		case <-c.done:
			return false
		case <-tick.C:
		}
	}
	return true
}

func (c *Conn) closedError() error {
	select {
	case <-c.done:
		return ErrClosed
	default:
		return nil
	}
}

// takeLease fails while somebody else holds the lease, and while there is no broker, or no bucket. With inherit it
// takes over what a former process of this node holds.
func (c *Conn) takeLease(ctx context.Context, name string, inherit bool) (l *Lease, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	l = &Lease{key: name}
	err = c.ask(ctx, func(ctx context.Context) error {
		if l.bucket, err = c.js.KeyValue(ctx, leaseBucket); err != nil {
			return err
		}
		generation, err := generationOf(ctx, l.bucket)
		if err != nil {
			return err
		}
		l.extend(time.Now())
		l.revision, err = l.bucket.Create(ctx, name, []byte(c.self.Node))
		if inherit && errors.Is(explain(err), ErrConflict) {
			l.revision, err = c.inheritLease(ctx, l, generation, err)
		}
		l.Term = Term{generation.UnixNano(), l.revision}
		return err
	})
	return l, err
}

// inheritLease takes over the lease of a former process of this node; taken is the error where somebody else has it.
func (c *Conn) inheritLease(ctx context.Context, l *Lease, generation time.Time, taken error) (uint64, error) {
	entry, err := l.bucket.Get(ctx, l.key)
	if err != nil {
		return 0, err
	}
	if readHolder(generation, entry).Node != c.self.Node {
		return 0, taken
	}
	l.extend(time.Now())
	return l.bucket.Update(ctx, l.key, []byte(c.self.Node), entry.Revision())
}

// holdLease renews the lease while lead runs.
func (c *Conn) holdLease(ctx context.Context, l *Lease, lead func(context.Context, *Lease)) {
	ctx, end := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer end()
		lead(ctx, l)
	})
	for ctx.Err() == nil {
		deadline := time.NewTimer(l.left())
		select {
		case <-ctx.Done():
		case <-deadline.C:
			end()
		case <-time.After(leaseRenew):
			if err := c.renewLease(ctx, l); lostLease(err) {
				end()
			}
		}
		deadline.Stop()
	}
	wg.Wait()
	c.returnLease(context.WithoutCancel(ctx), l)
}

// lostLease reports whether the answer means that another node wrote. Without an answer the lease is held until it
// ends.
func lostLease(err error) bool {
	return errors.Is(err, ErrConflict) || errors.Is(err, ErrGone) || errors.Is(err, ErrClosed)
}

func (c *Conn) renewLease(ctx context.Context, l *Lease) error {
	ctx, cancel := context.WithTimeout(ctx, min(leaseRenew, max(l.left(), 0)))
	defer cancel()
	asked := time.Now()
	return c.ask(ctx, func(ctx context.Context) error {
		revision, err := l.bucket.Update(ctx, l.key, []byte(Holder{c.self.Node, l.Term}.entry()), l.revision)
		if err == nil {
			l.revision = revision
			l.extend(asked)
		}
		return err
	})
}

// returnLease lets the others have it now rather than when it ends.
func (c *Conn) returnLease(ctx context.Context, l *Lease) {
	if !l.Held() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, leaseMargin)
	defer cancel()
	err := c.ask(ctx, func(ctx context.Context) error {
		return l.bucket.Delete(ctx, l.key, jetstream.LastRevision(l.revision))
	})
	if err != nil {
		c.log.Debug().Err(err).Str("lease", l.key).Msg("failed to give back the lease, it ends by itself")
	}
}

// Holder is the node that holds a lease, and its term, if that is known. The zero value: nobody does.
type Holder struct {
	Node string
	Term Term
}

// entry is what the bucket holds once the lease was renewed. In its first seconds that is the node alone, because the
// term is named after the revision under which it is stored, and nobody can know the term.
func (h Holder) entry() string { return fmt.Sprintf("%s %d", h.Node, h.Term.revision) }

func readHolder(generation time.Time, entry jetstream.KeyValueEntry) Holder {
	node, first, _ := strings.Cut(string(entry.Value()), " ")
	if revision, err := strconv.ParseUint(first, 10, 64); err == nil {
		return Holder{node, Term{generation.UnixNano(), revision}}
	}
	return Holder{Node: node}
}

// LeaseHolder returns who holds a lease at this moment. Only nodes that may campaign can write it. CORE account.
func (c *Conn) LeaseHolder(ctx context.Context, name string) (holder Holder, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err = c.ask(ctx, func(ctx context.Context) error {
		bucket, err := c.js.KeyValue(ctx, leaseBucket)
		if err != nil {
			return err
		}
		generation, err := generationOf(ctx, bucket)
		if err != nil {
			return err
		}
		entry, err := bucket.Get(ctx, name)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil
		}
		if err == nil {
			holder = readHolder(generation, entry)
		}
		return err
	})
	if errors.Is(err, ErrGone) { // there is no bucket yet
		return Holder{}, nil
	}
	return holder, err
}

// generationOf is when the bucket was created.
func generationOf(ctx context.Context, bucket jetstream.KeyValue) (time.Time, error) {
	status, err := bucket.Status(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return status.(*jetstream.KeyValueBucketStatus).StreamInfo().Created, nil
}

// ensureLeases creates the bucket of leases where it is missing.
func (c *Conn) ensureLeases(ctx context.Context, replicas int) error {
	bucket, err := c.js.KeyValue(ctx, leaseBucket)
	if err == nil {
		deviations, err := leaseDeviations(ctx, bucket)
		for _, d := range deviations {
			err = errors.Join(err, d)
		}
		return err
	}
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		_, err = c.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: leaseBucket, Description: "which of several nodes acts", TTL: leaseTTL, Replicas: max(replicas, 1),
			Metadata: about("health roles and primaries that lead", "the same", "they elect anew within seconds"),
		})
	}
	if err != nil {
		return fmt.Errorf("ensure bucket %s: %w", leaseBucket, explain(err))
	}
	return nil
}

// leaseDeviations are settings by which two nodes could hold the lease, or one for ever.
func leaseDeviations(ctx context.Context, bucket jetstream.KeyValue) ([]Deviation, error) {
	status, err := bucket.Status(ctx)
	if err != nil || status.TTL() == leaseTTL {
		return nil, err
	}
	return []Deviation{{"bucket " + leaseBucket, "ttl", status.TTL().String(), leaseTTL.String()}}, nil
}
