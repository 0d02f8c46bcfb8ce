package health

import (
	"context"
	"errors"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// repairer has secondaries take zones again. It orders them by touches, so that the primary reads PowerDNS once more
// and publishes what is true now: what is gone as gone. It is safe for concurrent use.
type repairer struct {
	conn  *broker.Conn
	lease *broker.Lease
	wake  chan struct{}

	mu     sync.Mutex
	orders map[zone.Name]string // the secondary, or broker.ToAll
}

const (
	// repairPace is between two orders: the primary transfers each zone, behind all edits.
	repairPace  = 20 * time.Millisecond
	repairRetry = time.Second
)

func newRepairer(conn *broker.Conn, lease *broker.Lease) *repairer {
	return &repairer{conn: conn, lease: lease, wake: make(chan struct{}, 1), orders: map[zone.Name]string{}}
}

// add orders a zone to be taken again by a node, or by all.
func (r *repairer) add(name zone.Name, node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if other, is := r.orders[name]; is && other != node {
		node = broker.ToAll
	}
	r.orders[name] = node
	work.Notify(r.wake, struct{}{})
}

func (r *repairer) next() (name zone.Name, node string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, node = range r.orders {
		delete(r.orders, name)
		return name, node, true
	}
	return "", "", false
}

func (r *repairer) run(ctx context.Context) error {
	for ctx.Err() == nil {
		name, node, ok := r.next()
		if !ok {
			select {
			case <-ctx.Done():
			case <-r.wake:
			}
			continue
		}
		pause := repairPace
		if err := r.order(ctx, name, node); err != nil {
			r.add(name, node)
			pause = repairRetry
		}
		work.Wait(ctx, pause)
	}
	return nil
}

// order publishes the touch. It yields to an order of this node that waits, which may be for another secondary. If
// that did not help, the difference is found and ordered once more.
func (r *repairer) order(ctx context.Context, name zone.Name, node string) error {
	if !r.lease.Held() {
		return errors.New("lost leadership")
	}
	touch := broker.Touch{Cause: broker.Ordered, Again: node, Term: r.lease.Term, Yields: true}
	_, err := r.conn.PublishTouch(ctx, name, touch)
	if errors.Is(err, broker.ErrConflict) {
		return nil
	}
	return err
}
