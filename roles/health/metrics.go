package health

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/health"
	"pdns-distribute/roles/status"
)

type metrics struct {
	// Renewed each second, see measure.
	nodes  *prometheus.GaugeVec
	behind *prometheus.GaugeVec
	alarms *prometheus.GaugeVec
	differ prometheus.Gauge
	age    prometheus.Gauge

	// Counted as it happens.
	repairs *prometheus.CounterVec
	checks  *prometheus.CounterVec
	zones   *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer, leads func() bool, events *health.Events) metrics {
	m := metrics{
		nodes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_nodes", Help: "Nodes by role and state.",
		}, []string{"role", "state"}),
		behind: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_behind", Help: "States that a secondary has still to confirm.",
		}, []string{"secondary"}),
		alarms: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_alarm", Help: "1 for each alarm and each warning that is raised.",
		}, []string{"kind", "node", "level"}),
		differ: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_differing_sources",
			Help: "Nodes that differed from what is published in their last comparison, " +
				"and sources that could not be compared, at the health role that leads.",
		}),
		age: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_compared_age_seconds",
			Help: "Seconds since the oldest of the last comparisons of all nodes; infinite at a health role that does not lead.",
		}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_health_repairs_total",
			Help: "Zones that were ordered to be published and applied again, by reason: late, missing, stale, altered, orphan.",
		}, []string{"reason"}),
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_health_checks_total",
			Help: "Comparisons of a node with what is published, by result: same, different, unanswered.",
		}, []string{"result"}),
		zones: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_counted_zones", Help: "Zones that each source of a node had in its last comparison.",
		}, []string{"node", "source"}),
	}
	reg.MustRegister(m.nodes, m.behind, m.alarms, m.differ, m.age, m.repairs, m.checks, m.zones)
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_health_leads", Help: "1 at the health role that leads, 0 at others.",
	}, func() float64 {
		if leads() {
			return 1
		}
		return 0
	}), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_health_open_changes",
		Help: "Changes that not all secondaries are known to serve yet; each is looked at after health.event_check_wait.",
	}, func() float64 { return float64(events.Open()) }))
	return m
}

// measure renews the metrics of how things are.
func (h *Health) measure(b health.Board) {
	h.metrics.nodes.Reset()
	h.metrics.behind.Reset()
	h.metrics.alarms.Reset()
	h.metrics.compared(time.Now(), h.compared.Load())
	for _, row := range b.Nodes {
		h.metrics.nodes.WithLabelValues(row.Role, row.State).Inc()
		if row.Role == health.RoleSecondary {
			h.metrics.behind.WithLabelValues(row.Node).Set(float64(row.Behind))
		}
	}
	for _, a := range h.present() {
		level := "alarm"
		if a.Warning {
			level = "warning"
		}
		h.metrics.alarms.WithLabelValues(string(a.Kind), a.Node, level).Set(1)
	}
}

// compared notes when all sources were last compared, and how many nodes differed or were not compared.
func (m metrics) compared(now time.Time, c *health.Compared) {
	if c == nil || c.At.IsZero() {
		m.age.Set(math.Inf(1))
		m.differ.Set(0)
		return
	}
	m.age.Set(now.Sub(c.At).Seconds())
	m.differ.Set(float64(len(c.Differ) + len(c.Unanswered)))
}

// checked notes the result of a comparison, and how many zones the node's sources have.
func (m metrics) checked(r status.NodeReport) {
	result := "same"
	switch {
	case len(r.Faults()) > 0:
		result = "unanswered"
	case len(r.Found) > 0:
		result = "different"
	}
	m.checks.WithLabelValues(result).Inc()
	for _, s := range r.Sources {
		if s.Fault == "" && !s.Sample {
			m.zones.WithLabelValues(r.Node, s.Source.String()).Set(float64(s.Zones))
		}
	}
}
