package roles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// leaseName is the lease that health roles want.
const leaseName = "health"

// campaign acts while this role holds the lease.
func (h *Health) campaign(ctx context.Context) error {
	return h.conn.Campaign(ctx, leaseName, func(ctx context.Context, l *broker.Lease) {
		h.lease.Store(l)
		h.announceSoon()
		if err := h.lead(ctx, l); err != nil {
			h.log.Error().Err(err).Msg("leading ended; another try follows")
		}
		h.lease.Store(nil)
		h.findings.clear()
	})
}

// lead is all that only one health role does at a time.
func (h *Health) lead(ctx context.Context, l *broker.Lease) error {
	m := &mender{conn: h.conn, lease: l, wake: make(chan struct{}, 1), orders: map[zone.Name]string{}}
	c := newChecker(h, m)
	p := newProber(h)
	h.prober.Store(p)
	defer h.prober.Store(nil)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.run(ctx) })
	g.Go(func() error { return h.remind(ctx, m) })
	g.Go(func() error { return c.run(ctx) })
	g.Go(func() error { return p.run(ctx) })
	g.Go(func() error { return h.serveRequests(ctx, c) })
	return g.Wait()
}

// remind sees that what is published is served by all, and has it told again to those that do not.
func (h *Health) remind(ctx context.Context, m *mender) error {
	for wait(ctx, judgeInterval) {
		if !h.conn.Connected() || !h.complete.Load() {
			continue
		}
		orders := h.events.Due(time.Now(), h.active(h.board()))
		for _, name := range orders.Ask {
			_ = h.conn.PublishAsk(name) // lost: it is told again instead
		}
		for name, nodes := range orders.Retake {
			h.metrics.orders.WithLabelValues("late").Inc()
			h.each.Warn().Stringer("zone", name).Strs("secondaries", nodes).Msg("they have not told that they serve the zone as published: telling them again")
			for _, node := range nodes {
				m.add(name, node)
			}
		}
	}
	return nil
}

// mender has secondaries take zones again. It orders them by touches, so that the primary looks at PowerDNS once more and
// publishes what is true now: what is gone as gone.
type mender struct {
	conn  *broker.Conn
	lease *broker.Lease
	wake  chan struct{}

	mu     sync.Mutex
	orders map[zone.Name]string // the secondary, or broker.ToAll
}

// reasonHealth is the reason of such touches.
const reasonHealth = "health"

// mendPause is the pace: the primary transfers each zone, behind all edits.
const (
	mendPause = 20 * time.Millisecond
	mendRetry = time.Second
)

func (m *mender) add(name zone.Name, node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if other, is := m.orders[name]; is && other != node {
		node = broker.ToAll
	}
	m.orders[name] = node
	notify(m.wake, struct{}{})
}

func (m *mender) next() (name zone.Name, node string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, node = range m.orders {
		delete(m.orders, name)
		return name, node, true
	}
	return "", "", false
}

func (m *mender) run(ctx context.Context) error {
	for ctx.Err() == nil {
		name, node, ok := m.next()
		if !ok {
			select {
			case <-ctx.Done():
			case <-m.wake:
			}
			continue
		}
		pause := mendPause
		if err := m.order(ctx, name, node); err != nil {
			m.add(name, node)
			pause = mendRetry
		}
		wait(ctx, pause)
	}
	return nil
}

// order has a zone taken again. It stands back behind a touch that waits: that one may know more, such as that the zone
// was deleted. If that did not help, it is found and ordered once more.
func (m *mender) order(ctx context.Context, name zone.Name, node string) error {
	if !m.lease.Held() {
		return errors.New("the lease is over")
	}
	_, err := m.conn.PublishTouch(ctx, name, broker.Touch{Reason: reasonHealth, Again: node, Term: m.lease.Term, Yields: true})
	if errors.Is(err, broker.ErrConflict) {
		return nil
	}
	return err
}

// leaderRequest is what commands ask the health role that leads.
type leaderRequest struct {
	Do   string `json:"do"`             // check or confirm-deletes
	Node string `json:"node,omitempty"` // "" is all secondaries
}

const (
	doCheck   = "check"
	doConfirm = "confirm-deletes"
)

type leaderAnswer struct {
	Fault string       `json:"fault,omitempty"`
	Nodes []nodeReport `json:"nodes,omitempty"`
}

// serveRequests answers what commands ask.
func (h *Health) serveRequests(ctx context.Context, c *checker) error {
	stop, err := h.conn.ServeLeader(ctx, func(ctx context.Context, request []byte) []byte {
		answer := h.serveRequest(ctx, c, request)
		text, err := json.Marshal(answer)
		if err != nil {
			h.log.Error().Err(err).Msg("an answer cannot be encoded")
		}
		return text
	})
	if err != nil {
		return err
	}
	defer stop()
	<-ctx.Done()
	return nil
}

func (h *Health) serveRequest(ctx context.Context, c *checker, request []byte) leaderAnswer {
	var r leaderRequest
	if err := json.Unmarshal(request, &r); err != nil {
		return leaderAnswer{Fault: err.Error()}
	}
	nodes, fault := c.checkable(r.Node)
	switch {
	case fault != "":
		return leaderAnswer{Fault: fault}
	case r.Do == doConfirm && r.Node == "":
		return leaderAnswer{Fault: "it is not said at which secondary"}
	case r.Do == doConfirm:
		c.brake(r.Node).Release(time.Now(), confirmed)
		h.each.Warn().Str("secondary", r.Node).Dur("for", confirmed).Msg("the operator allows all deletions there")
	case r.Do != doCheck:
		return leaderAnswer{Fault: fmt.Sprintf("this version does not know how to %q", r.Do)}
	}
	return c.now(ctx, nodes)
}

// askLeader has the health role that leads do something.
func askLeader(ctx context.Context, conn *broker.Conn, r leaderRequest) (answer leaderAnswer, err error) {
	request, err := json.Marshal(r)
	if err != nil {
		return answer, err
	}
	text, err := conn.AskLeader(ctx, request)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return answer, err
	}
	answer.clean()
	if answer.Fault != "" {
		err = errors.New(answer.Fault)
	}
	return answer, err
}

// clean makes the texts fit to be printed, whoever answered.
func (a *leaderAnswer) clean() {
	a.Fault = health.Cut(a.Fault)
	for i := range a.Nodes {
		n := &a.Nodes[i]
		n.Node, n.Held, n.Fault = health.Cut(n.Node), health.Cut(n.Held), health.Cut(n.Fault)
		for j := range n.Found {
			n.Found[j] = health.Cut(n.Found[j])
		}
	}
}
