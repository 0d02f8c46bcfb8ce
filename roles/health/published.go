package health

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/page"
	"pdns-distribute/roles/work"
)

// published is what is known to be published, and how far each change is. It is safe for concurrent use.
type published struct {
	index    *index.Index
	complete atomic.Bool    // the index has all that the broker's stream has
	events   *health.Events // changes on their way to the secondaries
	claims   *health.Claims // what primaries report as published
	again    chan struct{}  // has all states read again

	listeners *listeners // who waits for what nodes say of a zone
}

func newPublished(wait time.Duration) *published {
	return &published{
		index: index.New(), events: health.NewEvents(wait), claims: health.NewClaims(), again: make(chan struct{}, 1),
		listeners: newListeners(),
	}
}

// readAgain has all states of the stream read again.
func (p *published) readAgain() { work.Notify(p.again, struct{}{}) }

// inStream returns what the stream has of a zone, as far as this role knows.
func (p *published) inStream(name zone.Name) health.Settled {
	now := p.index.Get(name)
	if now.Seq == 0 {
		return health.Settled{Zone: name, Gone: true}
	}
	return index.NewSettled(name, now)
}

// missing returns the zones that a primary reports as published otherwise than the stream has them.
func (p *published) missing(now time.Time) []health.Claim {
	if !p.complete.Load() {
		return nil
	}
	return p.claims.Missing(now, p.inStream)
}

// watchStates keeps the index, and follows what is published from now on until all serve it.
func (h *Health) watchStates(ctx context.Context) error {
	p := h.published
	return h.Conn.WatchStates(ctx, broker.StateWatcher{
		State: func(s broker.StateMsg) {
			p.index.Set(s.Zone, s.Seq, s.Header)
			if p.complete.Load() {
				h.shown.history.Published(time.Now(), changeOf(s))
				state := index.NewSettled(s.Zone, index.Published{Seq: s.Seq, Header: s.Header})
				p.events.Published(time.Now(), s.Seq, state, !s.Header.Background)
			}
		},
		Reset: func() {
			p.complete.Store(false)
			p.index.Reset()
			p.events.Reset()
			p.claims.Reset()
		},
		CaughtUp: func() { p.complete.Store(true) },
		Again:    p.again,
	})
}

// changeOf returns what the page shows of a state.
func changeOf(s broker.StateMsg) page.Change {
	return page.Change{
		Zone: s.Zone, At: s.Header.Published, Serial: s.Header.Serial, Gone: s.Header.Kind == broker.KindGone,
		Background: s.Header.Background, Cause: s.Header.Origin.Cause, By: s.Header.Origin.By,
	}
}

// watchApplied takes what secondaries report to serve.
func (h *Health) watchApplied(ctx context.Context) error {
	stop, err := h.Conn.SubscribeApplied(ctx, func(node string, notice []byte) {
		var a health.Applied
		if json.Unmarshal(notice, &a) == nil {
			h.published.events.Applied(time.Now(), node, a)
			h.shown.history.Served(time.Now(), node, a)
			h.published.listeners.applied(node, a)
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	<-ctx.Done()
	return nil
}

// watchSettled takes what primaries report as published.
func (h *Health) watchSettled(ctx context.Context) error {
	p := h.published
	stop, err := h.Conn.SubscribeSettled(ctx, func(notice []byte) {
		var s health.Settled
		if json.Unmarshal(notice, &s) != nil {
			return
		}
		p.listeners.settled(s)
		if p.complete.Load() {
			p.claims.Note(time.Now(), s, p.inStream(s.Zone))
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	<-ctx.Done()
	return nil
}
