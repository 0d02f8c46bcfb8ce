package health

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/roles/status"
)

// outcomes is what the last comparison of each node came to. It is safe for concurrent use.
type outcomes struct {
	mu     sync.Mutex
	last   map[string]outcome
	rounds map[string]int // comparisons in a row after which something still differed, or was not compared
}

type outcome struct {
	status.NodeReport
	at time.Time
}

func newOutcomes() *outcomes { return &outcomes{last: map[string]outcome{}, rounds: map[string]int{}} }

func (o *outcomes) note(now time.Time, r status.NodeReport) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last[r.Node] = outcome{r, now}
	switch {
	case r.Fault != "":
	case len(r.Found) == 0 && r.OnWay == 0 && len(r.Faults()) == 0:
		o.rounds[r.Node] = 0
	case r.Held != "":
		o.rounds[r.Node] = 1 // what is held is not ordered again
	default:
		o.rounds[r.Node]++
	}
}

// differed returns after how many comparisons in a row something at the node still differed, or was not compared.
func (o *outcomes) differed(node string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.rounds[node]
}

func (o *outcomes) forget(node string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.last, node)
}

// summary puts the last comparisons of all nodes together. zones is how many are published.
func (o *outcomes) summary(zones int) *health.Compared {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := &health.Compared{Zones: zones, Nodes: len(o.last)}
	for _, node := range slices.Sorted(maps.Keys(o.last)) {
		r := o.last[node]
		if all.At.IsZero() || r.at.Before(all.At) {
			all.At = r.at.UTC()
		}
		all.Sources += len(r.Sources)
		all.OnWay += r.OnWay
		for _, fault := range r.Faults() {
			all.Unanswered = append(all.Unanswered, node+", "+fault)
		}
		if len(r.Found) > 0 {
			all.Differ = append(all.Differ, node+": "+strings.Join(r.Found, ", "))
		}
	}
	return all
}
