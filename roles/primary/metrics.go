package primary

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/roles/index"
)

type metrics struct {
	jobs   *prometheus.CounterVec
	took   prometheus.Histogram
	ending prometheus.Gauge
	lag    prometheus.Gauge
	scrub  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, x *index.Index, held func() int) metrics {
	m := metrics{
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_primary_jobs_total",
			Help: "Jobs, each a look at one zone, by what came of it: published, gone, unchanged or failed.",
		}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pdns_distribute_primary_publish_seconds", Help: "From taking a touch to the state being published.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .5, 1, 5, 30},
		}),
		ending: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_primary_ending_signatures",
			Help: "Zones whose published signatures end within dnssec.alarm_before.",
		}),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_primary_replication_lag_seconds",
			Help: "How far what PowerDNS gives is behind what was written, with primary.replicated; else 0.",
		}),
		scrub: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_primary_scrub_timestamp_seconds",
			Help: "When the last round of the scrub ended, in which each published zone was read anew; 0: none has yet.",
		}),
	}
	reg.MustRegister(m.jobs, m.took, m.ending, m.lag, m.scrub, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_primary_zones", Help: "Zones that are published.",
	}, func() float64 { return float64(x.Count()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_primary_held_deletions",
		Help: "Deletions that the limits hold until an operator confirms them.",
	}, func() float64 { return float64(held()) }))
	return m
}

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
