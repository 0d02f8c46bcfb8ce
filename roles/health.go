package roles

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/broker"
	"pdns-distribute/health"
)

// Health is the role that watches all others.
type Health struct {
	*node
	cfg     health.Config
	metrics healthMetrics

	mu    sync.Mutex
	seen  map[string]health.Sighting
	feeds []health.Feed
}

type healthMetrics struct {
	nodes  *prometheus.GaugeVec
	behind *prometheus.GaugeVec
}

func newHealthMetrics(reg prometheus.Registerer) healthMetrics {
	m := healthMetrics{
		nodes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_nodes", Help: "Nodes by role and state.",
		}, []string{"role", "state"}),
		behind: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_behind", Help: "States that a secondary has still to confirm.",
		}, []string{"secondary"}),
	}
	reg.MustRegister(m.nodes, m.behind)
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
	h := &Health{node: n, cfg: cfg.Health, metrics: newHealthMetrics(n.registry), seen: map[string]health.Sighting{}}
	n.observe.Handle(StatusPath, http.HandlerFunc(h.serveStatus))
	return h, nil
}

// Run works until ctx ends.
func (h *Health) Run(ctx context.Context) error {
	return h.run(ctx, nil, h.watchNodes, h.watchFeeds)
}

func (h *Health) watchNodes(ctx context.Context) error {
	return h.conn.WatchStatuses(ctx, func(id string, status broker.StatusMsg) {
		sighting, err := newSighting(status)
		if err != nil {
			h.log.Warn().Err(err).Str("node", id).Msg("its status cannot be read")
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.seen[id] = sighting
	})
}

func newSighting(status broker.StatusMsg) (s health.Sighting, err error) {
	s.At = status.At
	err = json.Unmarshal(status.Data, &s.Presence)
	return s, err
}

// feedsInterval is how often the broker is asked how far the secondaries are.
const feedsInterval = 5 * time.Second

func (h *Health) watchFeeds(ctx context.Context) error {
	connected, stop := h.conn.Connections()
	defer stop()
	for {
		if feeds, err := readFeeds(ctx, h.conn); err == nil {
			h.mu.Lock()
			h.feeds = feeds
			h.mu.Unlock()
		}
		h.measure(h.board())
		select {
		case <-ctx.Done():
			return nil
		case <-connected:
		case <-time.After(feedsInterval):
		}
	}
}

func readFeeds(ctx context.Context, conn *broker.Conn) ([]health.Feed, error) {
	infos, err := conn.Feeds(ctx)
	feeds := make([]health.Feed, 0, len(infos))
	for _, f := range infos {
		feeds = append(feeds, health.Feed{Node: f.Node, Behind: f.Behind(), Pulling: f.Pulling})
	}
	return feeds, err
}

func (h *Health) board() health.Board {
	h.mu.Lock()
	defer h.mu.Unlock()
	return health.NewBoard(time.Now().UTC(), h.cfg.InactiveAfter, h.seen, h.feeds)
}

func (h *Health) measure(b health.Board) {
	h.metrics.nodes.Reset()
	h.metrics.behind.Reset()
	for _, row := range b.Nodes {
		h.metrics.nodes.WithLabelValues(row.Role, row.State).Inc()
		if row.Role == roleSecondary {
			h.metrics.behind.WithLabelValues(row.Node).Set(float64(row.Behind))
		}
	}
}

func (h *Health) serveStatus(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(h.board())
}
