package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/broker"
	"pdns-distribute/roles/work"
)

// registerConnection shows whether the broker is connected, and how often it was.
func registerConnection(reg prometheus.Registerer, conn *broker.Conn) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_connected", Help: "1 while the role is connected to a broker, else 0.",
	}, func() float64 { return oneIf(conn.Connected()) }), prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "pdns_distribute_connections_total",
		Help: "Connections to a broker that were made: more than one means that some were lost.",
	}, func() float64 { return float64(conn.Made()) }))
}

// Register shows whether PowerDNS is up.
func (m *Monitor) Register(reg prometheus.Registerer) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_powerdns_up",
		Help: "1 while the PowerDNS beside a primary or secondary answers, and is the one that it should be, else 0.",
	}, func() float64 { return oneIf(m.IsUp()) }))
}

// RegisterQueue shows how many zones wait and are worked on.
func RegisterQueue(reg prometheus.Registerer, jobs func(work.Priority) (waiting, running int)) {
	for _, p := range work.Priorities() {
		for _, state := range []string{"waiting", "running"} {
			reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "pdns_distribute_queue_jobs",
				Help: "Zones that a primary or secondary works on, or is to, by priority (live, creation, background) " +
					"and state (waiting, running).",
				ConstLabels: prometheus.Labels{"priority": p.String(), "state": state},
			}, func() float64 {
				waiting, running := jobs(p)
				if state == "running" {
					return float64(running)
				}
				return float64(waiting)
			}))
		}
	}
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
