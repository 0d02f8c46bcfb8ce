package primary

import (
	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/roles/config"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/node"
)

// newTestPrimary returns a primary beside no PowerDNS, whose parts are there as far as they need nothing from outside.
func newTestPrimary(n *node.Node) *Primary {
	p := &Primary{
		Node: n, index: index.New(), source: newSource(config.Config{}, nil, nil), leader: &leader{Node: n},
		prompts: prompts{sweeps: newSweeps(), schedules: newSchedules(1)},
	}
	p.replication = &replication{Node: n, taken: newTaken(), witnesses: newWitnesses()}
	p.publisher = newPublisher(p, nil)
	p.deletions = newDeletions(config.PrimaryConfig{}, n, p.index, p.sweeps)
	p.counted = newCounted(p.sweeps.ask)
	p.metrics = newMetrics(prometheus.NewRegistry(), p.index, p.held, p.sweeps.last)
	p.jobs = p.newRunner(1)
	return p
}
