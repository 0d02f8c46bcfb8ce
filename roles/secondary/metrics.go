package secondary

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/timing"
)

type metrics struct {
	states    *prometheus.CounterVec
	took      prometheus.Histogram
	ahead     prometheus.Counter
	overtaken prometheus.Counter
	repaired  prometheus.Counter
	scrub     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, held, waiting func() int, signedUntil func() time.Time) metrics {
	m := metrics{
		states: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_secondary_states_total",
			Help: "States by result: applied, removed, held already, failed, refused as forged or played back.",
		}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "pdns_distribute_secondary_apply_seconds",
			Help:    "From taking a state to the proof that PowerDNS serves it.",
			Buckets: timing.Buckets, NativeHistogramBucketFactor: timing.Factor,
			NativeHistogramMaxBucketNumber: timing.MaxBuckets,
		}),
		ahead: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pdns_distribute_secondary_ordered_ahead_total",
			Help: "Transfers that were ordered before the state was there.",
		}),
		overtaken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pdns_distribute_secondary_overtaken_total",
			Help: "States that somebody may wait for, fetched before their turn in the feed.",
		}),
		repaired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pdns_distribute_secondary_repaired_total",
			Help: "Zones whose content in PowerDNS had been changed by others, and that it was given again.",
		}),
		scrub: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_secondary_scrub_timestamp_seconds",
			Help: "When the last round of the scrub ended, in which each zone was compared; 0: none has yet.",
		}),
	}
	for _, result := range []string{resultApplied, resultRemoved, resultHeld, resultFailed, resultRefused} {
		m.states.WithLabelValues(result)
	}
	reg.MustRegister(m.states, m.took, m.ahead, m.overtaken, m.repaired, m.scrub, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_secondary_zones", Help: "Zones that PowerDNS is known to serve as published.",
	}, func() float64 { return float64(held()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_secondary_waiting_zones",
		Help: "Zones that are still to be taken and that nobody waits for, of a fill for example.",
	}, func() float64 { return float64(waiting()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_secondary_signatures_end_timestamp_seconds",
		Help: "When the first signature of all zones here ends, as of the last review; NaN: none is known.",
	}, func() float64 {
		if at := signedUntil(); !at.IsZero() {
			return float64(at.Unix())
		}
		return math.NaN()
	}))
	return m
}

func (m metrics) scrubEnded(at time.Time) { m.scrub.Set(float64(at.Unix())) }
