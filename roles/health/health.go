package health

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync/atomic"

	"pdns-distribute/broker"
	"pdns-distribute/dnssec"
	"pdns-distribute/health"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/page"
	"pdns-distribute/roles/status"
)

// Health is the role. Its parts lock for themselves.
type Health struct {
	*node.Node
	cfg     health.Config
	dnssec  dnssec.Config
	metrics metrics
	Hook    *webhook // nil without one

	// What is known, by what the broker delivers.
	nodes     *nodes
	published *published
	flow      *health.Flow // of touches and states through the broker
	shown     *view        // on the page

	// What is wrong.
	findings *findings
	alarms   *health.Alarms

	// What only the leader has; nil at others.
	lease    atomic.Pointer[broker.Lease]
	prober   atomic.Pointer[prober]
	checker  atomic.Pointer[checker]
	compared atomic.Pointer[health.Compared]
}

// New binds the role's listener. Run does the rest.
func New(cfg config.Config, deps node.Deps) (*Health, error) {
	n, err := node.New(cfg, health.RoleHealth, deps)
	if err != nil {
		return nil, err
	}
	h := &Health{
		Node: n, cfg: cfg.Health, dnssec: cfg.DNSSEC,
		nodes: newNodes(cfg.Health), published: newPublished(cfg.Health.EventCheckWait), flow: health.NewFlow(),
		findings: newFindings(), alarms: health.NewAlarms(),
	}
	h.shown = newView(h)
	if err := h.shown.history.Open(h.cfg.StateDir, n.Log); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	h.StateDir = h.cfg.StateDir
	h.metrics = newMetrics(n.Registry, h)
	if cfg.Health.Webhook != "" {
		h.Hook = newWebhook(cfg.Health.Webhook, n.Log)
	}
	n.Observe.Handle(status.Path, http.HandlerFunc(h.serveStatus))
	pages := page.New(h.ID, h.shown, h.shown.history, h.Log).Handler()
	for _, path := range page.Paths {
		n.Observe.Handle(path, pages)
	}
	n.Ready.Alarms(func() any { return health.Grouped(h.present()) })
	return h, nil
}

// Run works until ctx ends.
func (h *Health) Run(ctx context.Context) error {
	parts := []func(context.Context) error{
		h.watchNodes, h.watchForgotten, h.watchBroker, // nodes.go
		h.watchStates, h.watchApplied, h.watchSettled, h.published.index.DropTombstones, // published.go
		h.keepJudging,              // judge.go
		h.campaign,                 // lead.go
		h.keepHistory, h.shown.run, // page.go
	}
	if h.Hook != nil {
		parts = append(parts, h.Hook.run)
	}
	return h.RunAll(ctx, h.describe, parts...)
}

// describe fills in what this role reports of itself.
func (h *Health) describe(p *health.Presence) {
	p.Zones = h.published.index.Count()
	if p.Leads = h.leads(); p.Leads {
		alarms := h.alarms.List()
		p.Health.Alarms = alarms[:min(len(alarms), health.MaxAlarms)]
		p.Health.Compared = h.compared.Load()
	}
}

// leads reports whether this role leads, at this moment.
func (h *Health) leads() bool {
	l := h.lease.Load()
	return l != nil && l.Held()
}

// present returns the alarms as the leader sees them, which also knows what checks found.
func (h *Health) present() []health.Alarm {
	if !h.leads() && h.Conn.Connected() {
		if r := status.Leader(h.nodes.board(), h.nodes.leaseHolder()); r != nil && r.Node != h.ID {
			return r.Health.Alarms
		}
	}
	return h.alarms.List()
}

// document is what status.Path answers, and what the page shows.
func (h *Health) document() status.Document {
	return status.NewDocument(h.nodes.board(), h.cfg, h.nodes.leaseHolder(), h.present())
}

func (h *Health) serveStatus(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(h.document())
}
