package roles

import (
	"context"
	"encoding/json"
	"iter"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/broker"
	"pdns-distribute/dnssec"
	"pdns-distribute/health"
)

// Health is the role that watches all others. Any number may run: all see the same, and the one that holds the lease acts.
type Health struct {
	*node
	cfg     health.Config
	dnssec  dnssec.Config
	metrics healthMetrics

	index    *index // what is published
	complete atomic.Bool
	events   *health.Events
	twins    *health.Twins
	alarms   *health.Alarms
	findings *findings
	hook     *webhook // nil without one
	lease    atomic.Pointer[broker.Lease]
	prober   atomic.Pointer[prober] // nil unless this role leads

	mu      sync.Mutex
	seen    map[string]health.Sighting
	feeds   map[string]broker.FeedInfo
	feedsAt time.Time
	stalls  map[string]stall // of feeds
	holder  string           // of the lease
}

// stall is how far a secondary was to come when it was looked at, and since when it has not.
type stall struct {
	target uint64
	since  time.Time
}

// stallPatience is how long a secondary may take to come as far as others were then.
const stallPatience = 5 * time.Minute

type healthMetrics struct {
	nodes  *prometheus.GaugeVec
	behind *prometheus.GaugeVec
	alarms *prometheus.GaugeVec
	orders *prometheus.CounterVec
	checks *prometheus.CounterVec
}

func newHealthMetrics(reg prometheus.Registerer, leads func() bool, events *health.Events) healthMetrics {
	m := healthMetrics{
		nodes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_nodes", Help: "Nodes by role and state.",
		}, []string{"role", "state"}),
		behind: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_behind", Help: "States that a secondary has still to confirm.",
		}, []string{"secondary"}),
		alarms: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_alarm", Help: "1 for each alarm and each warning that is raised.",
		}, []string{"kind", "node", "level"}),
		orders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_health_orders_total", Help: "Zones that secondaries were told to take again, by why: late, missing, stale, altered, orphan.",
		}, []string{"why"}),
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_health_checks_total", Help: "Comparisons of a secondary with what is published: same, different, unanswered.",
		}, []string{"result"}),
	}
	reg.MustRegister(m.nodes, m.behind, m.alarms, m.orders, m.checks, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_health_leads", Help: "Whether this is the health role that acts: 1, else 0.",
	}, func() float64 {
		if leads() {
			return 1
		}
		return 0
	}), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_health_open_changes", Help: "Changes that are not known to be served everywhere yet; each is looked at when health.event_check_wait is over.",
	}, func() float64 { return float64(events.Open()) }))
	return m
}

// StatusPath is where the role answers with the board, as JSON.
const StatusPath = "/distribute/v1/status"

// NewHealth binds the role's listener. Run does the rest.
func NewHealth(cfg Config, deps Deps) (*Health, error) {
	n, err := newNode(cfg, "health", deps)
	if err != nil {
		return nil, err
	}
	h := &Health{
		node: n, cfg: cfg.Health, dnssec: cfg.DNSSEC, index: newIndex(),
		events: health.NewEvents(cfg.Health.EventCheckWait), twins: health.NewTwins(), alarms: health.NewAlarms(),
		findings: newFindings(), seen: map[string]health.Sighting{}, feeds: map[string]broker.FeedInfo{}, stalls: map[string]stall{},
	}
	h.metrics = newHealthMetrics(n.registry, h.leads, h.events)
	if cfg.Health.Webhook != "" {
		h.hook = newWebhook(cfg.Health.Webhook, n.log)
	}
	n.observe.Handle(StatusPath, http.HandlerFunc(h.serveStatus))
	n.observe.Handle("/", http.HandlerFunc(h.servePage))
	n.ready.Alarms(func() any { return h.present() })
	return h, nil
}

// Run works until ctx ends.
func (h *Health) Run(ctx context.Context) error {
	parts := []func(context.Context) error{h.watchNodes, h.watchFeeds, h.watchStates, h.watchApplied, h.watchForgotten, h.keepJudging, h.campaign, h.index.dropGraves}
	if h.hook != nil {
		parts = append(parts, h.hook.run)
	}
	return h.run(ctx, h.describe, parts...)
}

func (h *Health) describe(p *health.Presence) {
	p.Zones = h.index.count()
	if p.Leads = h.leads(); p.Leads {
		alarms := h.alarms.List()
		p.Alarms = alarms[:min(len(alarms), health.MaxAlarms)]
	}
}

// leads tells whether this role acts, at this moment.
func (h *Health) leads() bool {
	l := h.lease.Load()
	return l != nil && l.Held()
}

func (h *Health) watchNodes(ctx context.Context) error {
	return h.conn.WatchStatuses(ctx, func(id string, status broker.StatusMsg) {
		h.heard(id, newSighting(id, status))
	})
}

func (h *Health) heard(id string, sighting health.Sighting) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, is := h.seen[id]
	if is && before.At.After(sighting.At) || !is && len(h.seen) >= health.MaxNodes {
		return // it was stored before; or whoever may name nodes names too many
	}
	h.twins.Hear(sighting)
	h.seen[id] = sighting
}

// newSighting reads a presence. Who it is of says the broker, not the message. A node whose presence cannot be read is there,
// and not in order.
func newSighting(id string, status broker.StatusMsg) health.Sighting {
	s := health.Sighting{At: status.At}
	if err := json.Unmarshal(status.Data, &s.Presence); err != nil {
		s.Presence = health.Presence{Problems: []string{"what it says of itself cannot be read: " + err.Error()}}
	}
	s.Node = id
	s.Bound()
	return s
}

// watchForgotten forgets nodes that an operator removed for good.
func (h *Health) watchForgotten(ctx context.Context) error {
	stop, err := h.conn.SubscribeForget(ctx, func(node string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.seen, node)
		delete(h.feeds, node)
		h.findings.forget(node)
	})
	if err != nil {
		return err
	}
	defer stop()
	<-ctx.Done()
	return nil
}

// feedsInterval is how often the broker is asked how far the secondaries are.
const feedsInterval = 5 * time.Second

func (h *Health) watchFeeds(ctx context.Context) error {
	connected, stop := h.conn.Connections()
	defer stop()
	for {
		asked := time.Now()
		if infos, err := h.conn.Feeds(ctx); err == nil {
			h.noteFeeds(asked, infos)
		}
		if holder, err := h.conn.LeaseHolder(ctx, leaseName); err == nil {
			h.mu.Lock()
			h.holder = holder.Node
			h.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-connected:
		case <-time.After(feedsInterval):
		}
	}
}

// noteFeeds notes how far the secondaries are, and since when they come no nearer.
func (h *Health) noteFeeds(now time.Time, infos []broker.FeedInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.feeds, h.feedsAt = map[string]broker.FeedInfo{}, now
	stalls := map[string]stall{}
	newest := h.index.newest()
	for _, f := range infos {
		h.feeds[f.Node] = f
		if f.Behind() == 0 {
			continue
		}
		s, is := h.stalls[f.Node]
		if !is || f.AckFloor >= s.target {
			s = stall{target: newest, since: now}
		}
		stalls[f.Node] = s
	}
	h.stalls = stalls
}

func readFeeds(ctx context.Context, conn *broker.Conn) ([]health.Feed, error) {
	infos, err := conn.Feeds(ctx)
	return feedsOf(slices.Values(infos)), err
}

func feedsOf(infos iter.Seq[broker.FeedInfo]) (feeds []health.Feed) {
	for f := range infos {
		feeds = append(feeds, health.Feed{Node: f.Node, Behind: f.Behind()})
	}
	return feeds
}

// watchStates keeps the index, and follows what is published from now on until all serve it.
func (h *Health) watchStates(ctx context.Context) error {
	return h.conn.WatchStates(ctx, broker.StateWatcher{
		State: func(s broker.StateMsg) {
			h.index.set(s.Zone, s.Seq, s.Header)
			if h.complete.Load() {
				h.events.Published(time.Now(), s.Seq, newSettled(s.Zone, published{seq: s.Seq, header: s.Header}))
			}
		},
		Reset: func() {
			h.complete.Store(false)
			h.index.reset()
			h.events.Reset()
		},
		CaughtUp: func() { h.complete.Store(true) },
	})
}

func (h *Health) watchApplied(ctx context.Context) error {
	stop, err := h.conn.SubscribeApplied(ctx, func(node string, notice []byte) {
		var a health.Applied
		if json.Unmarshal(notice, &a) == nil {
			h.events.Applied(node, a)
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	<-ctx.Done()
	return nil
}

func (h *Health) board() health.Board {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	feeds := feedsOf(maps.Values(h.feeds))
	for i := range feeds {
		s, is := h.stalls[feeds[i].Node]
		feeds[i].Stalled = is && now.Sub(s.since) > stallPatience
	}
	return health.NewBoard(now, h.cfg, h.seen, feeds)
}

// active are the secondaries that are waited for.
func (h *Health) active(b health.Board) (active []health.Active) {
	for _, r := range b.Nodes {
		if r.Role == roleSecondary && r.Active {
			active = append(active, health.Active{Node: r.Node, Stage: func(seq uint64) health.Stage { return h.stage(r.Node, seq) }})
		}
	}
	return active
}

// feedsStale is when what is known of feeds says nothing any more.
const feedsStale = 3 * feedsInterval

// stage tells how far a state is on its way to a secondary. What is not known counts as queued.
func (h *Health) stage(node string, seq uint64) health.Stage {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, is := h.feeds[node]
	switch {
	case !is || time.Since(h.feedsAt) > feedsStale || seq > f.Delivered:
		return health.Queued
	case f.Behind() > 0 && seq > f.AckFloor:
		return health.InHand
	}
	return health.Delivered
}

// present are the alarms as the health role that leads sees them, which also knows what checks found.
func (h *Health) present() []health.Alarm {
	if !h.leads() && h.conn.Connected() {
		if r := leader(h.board(), h.leaseHolder()); r != nil && r.Node != h.id {
			return r.Alarms
		}
	}
	return h.alarms.List()
}

func (h *Health) leaseHolder() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.holder
}

// leader is the health role that acts, nil if none is known. That it holds the lease says the broker; nobody else could
// say so without being believed.
func leader(b health.Board, holder string) *health.Row {
	for i, r := range b.Nodes {
		if r.Node == holder && r.Leads && r.Active {
			return &b.Nodes[i]
		}
	}
	return nil
}

func (h *Health) measure(b health.Board) {
	h.metrics.nodes.Reset()
	h.metrics.behind.Reset()
	h.metrics.alarms.Reset()
	for _, row := range b.Nodes {
		h.metrics.nodes.WithLabelValues(row.Role, row.State).Inc()
		if row.Role == roleSecondary {
			h.metrics.behind.WithLabelValues(row.Node).Set(float64(row.Behind))
		}
	}
	for _, a := range h.present() {
		level := "alarm"
		if a.Warning {
			level = "warning"
		}
		h.metrics.alarms.WithLabelValues(a.Kind, a.Node, level).Set(1)
	}
}

func (h *Health) serveStatus(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(statusOf(h.board(), h.leaseHolder(), h.present()))
}
