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
// over can be told from one of the present term.
type Term struct {
	generation int64 // when the bucket was created: a broker that lost its disk begins to count anew
	revision   uint64
}

// Before tells whether a term was over when the other one began.
func (t Term) Before(other Term) bool {
	return cmp.Or(cmp.Compare(t.generation, other.generation), cmp.Compare(t.revision, other.revision)) < 0
}

// IsZero tells that there is no term.
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

// Held tells whether the lease is still held at this moment. Whoever acts by it asks right before each act: a process
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
// another act, each of which it does only while Held. When lead returns by itself, or ctx ends, the lease is given back at
// once. CORE account. It returns nil when ctx has ended, and ErrClosed when the connection was closed.
func (c *Conn) Campaign(ctx context.Context, name string, lead func(context.Context, *Lease)) error {
	tick := time.NewTicker(leasePoll)
	defer tick.Stop()
	for before := error(nil); ; {
		lease, err := c.takeLease(ctx, name)
		if err != nil && !errors.Is(err, ErrConflict) && sentinel(err) != sentinel(before) && ctx.Err() == nil {
			c.log.Warn().Err(err).Str("lease", name).Msg("nobody can lead")
		}
		before = err
		if err == nil {
			c.log.Info().Str("lease", name).Stringer("term", lease.Term).Msg("this node leads")
			c.holdLease(ctx, lease, lead)
			c.log.Info().Str("lease", name).Stringer("term", lease.Term).Msg("this node leads no more")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.done:
			return ErrClosed
		case <-tick.C:
		}
	}
}

// takeLease fails while somebody else holds the lease, and while there is no broker, or no bucket.
func (c *Conn) takeLease(ctx context.Context, name string) (l *Lease, err error) {
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
		l.revision, err = l.bucket.Create(ctx, name, []byte(c.node))
		l.Term = Term{generation.UnixNano(), l.revision}
		return err
	})
	return l, err
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

// lostLease tells of an answer that says that somebody else wrote. Without an answer the lease is held until it ends.
func lostLease(err error) bool {
	return errors.Is(err, ErrConflict) || errors.Is(err, ErrGone) || errors.Is(err, ErrClosed)
}

func (c *Conn) renewLease(ctx context.Context, l *Lease) error {
	ctx, cancel := context.WithTimeout(ctx, min(leaseRenew, max(l.left(), 0)))
	defer cancel()
	asked := time.Now()
	return c.ask(ctx, func(ctx context.Context) error {
		revision, err := l.bucket.Update(ctx, l.key, []byte(Holder{c.node, l.Term}.entry()), l.revision)
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
		c.log.Debug().Err(err).Str("lease", l.key).Msg("the lease was not given back; it ends by itself")
	}
}

// Holder is the node that holds a lease, and its term, if that is known. The zero value: nobody does.
type Holder struct {
	Node string
	Term Term
}

// entry is what the bucket holds once the lease was renewed. In its first seconds that is the node alone, because the term is
// named after the revision under which it is stored, and nobody can tell the term.
func (h Holder) entry() string { return fmt.Sprintf("%s %d", h.Node, h.Term.revision) }

func readHolder(generation time.Time, entry jetstream.KeyValueEntry) Holder {
	node, first, _ := strings.Cut(string(entry.Value()), " ")
	if revision, err := strconv.ParseUint(first, 10, 64); err == nil {
		return Holder{node, Term{generation.UnixNano(), revision}}
	}
	return Holder{Node: node}
}

// LeaseHolder tells who holds a lease at this moment. Only nodes that may campaign can write it. CORE account.
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
