package primary

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/roles/index"
	"pdns-distribute/timing"
)

type metrics struct {
	jobs *prometheus.CounterVec
	took prometheus.Histogram
	lag  prometheus.Gauge
	signatureMetrics

	// When something that comes again and again last succeeded.
	scrub   prometheus.Gauge
	renewal prometheus.Gauge
}

// signatureMetrics are about signatures that are published.
type signatureMetrics struct {
	ending prometheus.Gauge
	end    prometheus.Gauge
}

func newMetrics(
	reg prometheus.Registerer, x *index.Index, held func() int, swept func() (time.Time, time.Duration),
) metrics {
	m := metrics{
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_primary_jobs_total",
			Help: "Jobs, each a look at one zone, by what came of it: published, gone, unchanged or failed.",
		}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pdns_distribute_primary_publish_seconds", Help: "From taking a touch to the state being published.",
			Buckets: timing.Buckets, NativeHistogramBucketFactor: timing.Factor,
			NativeHistogramMaxBucketNumber: timing.MaxBuckets,
		}),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_primary_replication_lag_seconds",
			Help: "How far what PowerDNS gives is behind what was written, with primary.replicated; else 0.",
		}),
		scrub: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_primary_scrub_timestamp_seconds",
			Help: "When the last round of the scrub ended, in which each published zone was read anew; 0: none has yet.",
		}),
		renewal: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_primary_renewal_timestamp_seconds",
			Help: "When all published zones were last gone through for signatures to be renewed; 0: not yet.",
		}),
		signatureMetrics: newSignatureMetrics(reg),
	}
	for _, result := range []string{resultPublished, resultGone, resultUnchanged, resultFailed} {
		m.jobs.WithLabelValues(result)
	}
	reg.MustRegister(m.jobs, m.took, m.lag, m.scrub, m.renewal, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_primary_sweep_timestamp_seconds",
		Help: "When all zones of PowerDNS were last compared with what is published; 0: not yet.",
	}, func() float64 {
		at, _ := swept()
		return timestamp(at)
	}), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_primary_zones", Help: "Zones that are published.",
	}, func() float64 { return float64(x.Count()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_primary_held_deletions",
		Help: "Deletions that the limits hold until an operator confirms them.",
	}, func() float64 { return float64(held()) }))
	return m
}

func newSignatureMetrics(reg prometheus.Registerer) signatureMetrics {
	m := signatureMetrics{
		ending: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_primary_ending_signatures",
			Help: "Zones whose published signatures end within dnssec.alarm_before.",
		}),
		end: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_primary_signatures_end_timestamp_seconds",
			Help: "When the first signature of all published zones ends; NaN: none is known.",
		}),
	}
	m.end.Set(math.NaN())
	reg.MustRegister(m.ending, m.end)
	return m
}

// timestamp is a time as metrics have it, 0 for none.
func timestamp(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.Unix())
}

// signed notes how long published signatures are still good.
func (m signatureMetrics) signed(e index.Ending, first time.Time) {
	m.ending.Set(float64(e.Zones))
	m.end.Set(math.NaN())
	if !first.IsZero() {
		m.end.Set(float64(first.Unix()))
	}
}

func (m metrics) renewed(at time.Time) { m.renewal.Set(float64(at.Unix())) }

func (m metrics) scrubEnded(at time.Time) { m.scrub.Set(float64(at.Unix())) }

// observe counts what came of a job.
func (m metrics) observe(result string, took time.Duration, err error) {
	if err != nil {
		result = resultFailed
	}
	m.jobs.WithLabelValues(result).Inc()
	if result == resultPublished {
		m.took.Observe(took.Seconds())
	}
}
