package observe

import (
	"syscall"

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

// readyMetric is whether the role is ready, as /readyz says.
func readyMetric(ready *Readiness) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_ready", Help: "1 while the role is ready, else 0; /readyz says why.",
	}, func() float64 {
		if len(ready.Reasons()) > 0 {
			return 0
		}
		return 1
	})
}

// RegisterDisk shows how much room there is where a role keeps its state. A role that keeps none need not call it.
func RegisterDisk(reg prometheus.Registerer, folder string) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_disk_free_bytes",
		Help: "Room on the disk where the role keeps its state; roles without state have none.",
	}, func() float64 { return disk(folder, func(fs *syscall.Statfs_t) uint64 { return fs.Bavail }) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pdns_distribute_disk_size_bytes",
			Help: "Size of the disk where the role keeps its state; roles without state have none.",
		}, func() float64 { return disk(folder, func(fs *syscall.Statfs_t) uint64 { return fs.Blocks }) }))
}

// disk is some of a disk's blocks in bytes, 0 where that cannot be read.
func disk(folder string, blocks func(*syscall.Statfs_t) uint64) float64 {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(folder, &fs); err != nil {
		return 0
	}
	return float64(blocks(&fs)) * float64(fs.Bsize)
}
