package health

import (
	"context"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/health"
)

// campaign leads while this role holds the lease.
func (h *Health) campaign(ctx context.Context) error {
	return h.Conn.Campaign(ctx, health.LeaseName, nil, func(ctx context.Context, l *broker.Lease) {
		h.lease.Store(l)
		h.AnnounceSoon()
		if err := h.lead(ctx, l); err != nil {
			h.Log.Error().Err(err).Msg("leading failed, trying again")
		}
		h.lease.Store(nil)
		h.findings.clear()
		h.compared.Store(nil)
	})
}

// lead is all that only one health role does at a time.
func (h *Health) lead(ctx context.Context, l *broker.Lease) error {
	r := newRepairer(h.Conn, l)
	c := newChecker(h, r)
	p := newProber(h)
	h.prober.Store(p)
	defer h.prober.Store(nil)
	h.checker.Store(c)
	defer h.checker.Store(nil)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.run(ctx) })
	g.Go(func() error { return r.run(ctx) })
	g.Go(func() error { return h.remind(ctx, r) })
	g.Go(func() error { return p.run(ctx) })
	g.Go(func() error { return h.serveRequests(ctx, c) })
	return g.Wait()
}
