package health

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/health"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/status"
	"pdns-distribute/timing"
)

type metrics struct {
	// Renewed each second, see measure.
	nodes  *node.Gauges
	alarms *node.Gauges
	compareMetrics
	secondaryMetrics

	// Renewed when the broker was asked, see queued.
	queueMetrics

	// Counted as it happens.
	repairs *prometheus.CounterVec
	checks  *prometheus.CounterVec
	zones   *prometheus.GaugeVec
}

// compareMetrics are about the comparison of all nodes.
type compareMetrics struct {
	differ prometheus.Gauge
	age    prometheus.Gauge
	at     prometheus.Gauge
}

// secondaryMetrics are about each secondary.
type secondaryMetrics struct {
	behind   *node.Gauges
	lag      *node.Gauges
	unserved *node.Gauges
	served   *prometheus.HistogramVec
	look     *look
}

// look is how far secondaries were when all changes on their way were gone through. That takes a moment for each change
// and secondary, of which there may be many, so it is done within a twentieth of the time.
type look struct {
	due   time.Time
	found map[string]health.Unserved
}

const lookShare = 20

// at returns what each of the secondaries lacks now, or a little before.
func (l *look) at(now time.Time, events *health.Events, active []string) map[string]health.Unserved {
	if !now.Before(l.due) {
		begin := time.Now()
		l.found = events.Oldest(active)
		l.due = now.Add(lookShare * time.Since(begin))
	}
	return l.found
}

// queueMetrics are about the queue of touches at the broker.
type queueMetrics struct {
	touches *prometheus.GaugeVec
	oldest  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, h *Health) metrics {
	m := metrics{
		nodes: node.NewGauges(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_nodes", Help: "Nodes by role and state.",
		}, []string{"role", "state"})),
		alarms: node.NewGauges(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_alarm", Help: "1 for each alarm and each warning that is raised.",
		}, []string{"kind", "node", "level"})),
		compareMetrics: newCompareMetrics(reg), secondaryMetrics: newSecondaryMetrics(reg), queueMetrics: newQueueMetrics(reg),
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
	for _, reason := range []string{"late", "missing", "stale", "altered", "orphan"} {
		m.repairs.WithLabelValues(reason)
	}
	for _, result := range []string{checkSame, checkDifferent, checkUnanswered} {
		m.checks.WithLabelValues(result)
	}
	reg.MustRegister(m.nodes, m.alarms, m.repairs, m.checks, m.zones)
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_health_leads", Help: "1 at the health role that leads, 0 at others.",
	}, func() float64 {
		if h.leads() {
			return 1
		}
		return 0
	}), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_health_open_changes",
		Help: "Changes that not all secondaries are known to serve yet; each is looked at after health.event_check_wait.",
	}, func() float64 { return float64(h.published.events.Open()) }))
	h.published.events.Served = func(node string, after time.Duration) {
		m.served.WithLabelValues(node).Observe(after.Seconds())
	}
	return m
}

func newCompareMetrics(reg prometheus.Registerer) compareMetrics {
	m := compareMetrics{
		differ: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_differing_sources",
			Help: "Nodes that differed from what is published in their last comparison, " +
				"and sources that could not be compared, at the health role that leads.",
		}),
		age: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_compared_age_seconds",
			Help: "Seconds since the oldest of the last comparisons of all nodes; infinite at a health role that does not lead.",
		}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_check_timestamp_seconds",
			Help: "When the oldest of the last comparisons of all nodes ended; 0 at a health role that does not lead.",
		}),
	}
	reg.MustRegister(m.differ, m.age, m.at)
	return m
}

func newSecondaryMetrics(reg prometheus.Registerer) secondaryMetrics {
	m := secondaryMetrics{
		look: &look{},
		behind: node.NewGauges(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_behind", Help: "States that a secondary has still to confirm.",
		}, []string{"secondary"})),
		lag: node.NewGauges(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_lag_seconds",
			Help: "Age of the oldest change that a secondary is not known to serve; 0: it serves all.",
		}, []string{"secondary"})),
		unserved: node.NewGauges(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_unserved_changes",
			Help: "Zones with a change that an active secondary is not known to serve.",
		}, []string{"secondary"})),
		served: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pdns_distribute_health_served_seconds",
			Help: "From a state being published, if somebody may wait for it, until a secondary is known to serve it. " +
				"It also has changes that bypassed the proxy.",
			Buckets: timing.Buckets, NativeHistogramBucketFactor: timing.Factor,
			NativeHistogramMaxBucketNumber: timing.MaxBuckets,
		}, []string{"secondary"}),
	}
	reg.MustRegister(m.behind, m.lag, m.unserved, m.served)
	return m
}

func newQueueMetrics(reg prometheus.Registerer) queueMetrics {
	m := queueMetrics{
		touches: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_queue_touches",
			Help: "Touches at the broker by state: waiting for a primary, or taken by one and not finished.",
		}, []string{"state"}),
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_health_oldest_touch_seconds",
			Help: "How long the oldest touch has been at the broker; 0: there is none.",
		}),
	}
	m.touches.WithLabelValues(touchWaiting)
	m.touches.WithLabelValues(touchTaken)
	reg.MustRegister(m.touches, m.oldest)
	return m
}

// Values of labels.
const (
	touchWaiting = "waiting"
	touchTaken   = "taken"

	checkSame       = "same"
	checkDifferent  = "different"
	checkUnanswered = "unanswered"
)

// queued notes how the queue of touches stands.
func (m queueMetrics) queued(q health.Queue) {
	m.touches.WithLabelValues(touchWaiting).Set(float64(q.Waiting))
	m.touches.WithLabelValues(touchTaken).Set(float64(q.Touches - min(q.Waiting, q.Touches)))
	m.oldest.Set(q.Oldest.Seconds())
}

// measure renews the metrics of how things are.
func (h *Health) measure(b health.Board) {
	now := time.Now()
	h.metrics.compared(now, h.compared.Load())
	counts := map[[2]string]float64{}
	for _, row := range b.Nodes {
		counts[[2]string{row.Role, row.State}]++
	}
	var nodes, alarms []node.Value
	for of, n := range counts {
		nodes = append(nodes, node.Value{Value: n, Labels: of[:]})
	}
	h.metrics.nodes.Renew(nodes)
	h.metrics.lagging(now, b, h.published.events, h.nodes.stalledSince)
	for _, a := range h.present() {
		level := "alarm"
		if a.Warning {
			level = "warning"
		}
		alarms = append(alarms, node.Value{Value: 1, Labels: []string{string(a.Kind), a.Node, level}})
	}
	h.metrics.alarms.Renew(alarms)
}

// lagging notes how far each secondary is behind. What an inactive one lacks is not followed, but the broker knows
// since when it has not come as far as it was to.
func (m secondaryMetrics) lagging(
	now time.Time, b health.Board, events *health.Events, stalledSince func(string) time.Time,
) {
	var active []string
	for _, row := range b.Nodes {
		if row.Role == health.RoleSecondary && row.Active {
			active = append(active, row.Node)
		}
	}
	var behind, lags, lacking []node.Value
	unserved := m.look.at(now, events, active)
	for _, row := range b.Nodes {
		if row.Role != health.RoleSecondary {
			continue
		}
		var lag time.Duration
		u := unserved[row.Node]
		if u.Changes > 0 {
			lag = now.Sub(u.Since)
		}
		if since := stalledSince(row.Node); !since.IsZero() {
			lag = max(lag, now.Sub(since))
		}
		labels := []string{row.Node}
		behind = append(behind, node.Value{Value: float64(row.Behind), Labels: labels})
		lags = append(lags, node.Value{Value: lag.Seconds(), Labels: labels})
		lacking = append(lacking, node.Value{Value: float64(u.Changes), Labels: labels})
	}
	m.behind.Renew(behind)
	m.lag.Renew(lags)
	m.unserved.Renew(lacking)
}

// compared notes when all sources were last compared, and how many nodes differed or were not compared.
func (m compareMetrics) compared(now time.Time, c *health.Compared) {
	if c == nil || c.At.IsZero() {
		m.age.Set(math.Inf(1))
		m.at.Set(0)
		m.differ.Set(0)
		return
	}
	m.age.Set(now.Sub(c.At).Seconds())
	m.at.Set(float64(c.At.Unix()))
	m.differ.Set(float64(len(c.Differ) + len(c.Unanswered)))
}

// checked notes the result of a comparison, and how many zones the node's sources have.
func (m metrics) checked(r status.NodeReport) {
	result := checkSame
	switch {
	case len(r.Faults()) > 0:
		result = checkUnanswered
	case len(r.Found) > 0:
		result = checkDifferent
	}
	m.checks.WithLabelValues(result).Inc()
	for _, s := range r.Sources {
		if s.Fault == "" && !s.Sample {
			m.zones.WithLabelValues(r.Node, s.Source.String()).Set(float64(s.Zones))
		}
	}
}
