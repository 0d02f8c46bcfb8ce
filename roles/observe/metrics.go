package observe

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewRegistry returns the registry of one role, with what every role reports: the Go runtime, the process, and
// pdns_distribute_build_info with the version and the role. It is passed on to the role's parts, never kept globally,
// so that tests and the demo can run many roles in one process.
func NewRegistry(role, version string) *prometheus.Registry {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "pdns_distribute_build_info",
		Help:        "Always 1; its labels say which version runs which role.",
		ConstLabels: prometheus.Labels{"version": version, "role": role},
	})
	info.Set(1)

	reg := prometheus.NewRegistry()
	reg.MustRegister(
		info,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return reg
}
