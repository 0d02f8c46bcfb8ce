package health

import (
	"sync"
	"time"
)

// Twins notices nodes that run twice under one id: after the second one was heard, the first is heard again, which no
// restart explains. It is safe for concurrent use.
type Twins struct {
	mu    sync.Mutex
	nodes map[string]map[string]*instance
}

type instance struct {
	host        string
	first, last time.Time
}

// twinMemory is how long an instance that is silent counts.
const twinMemory = 30 * time.Second

// maxInstances is how many instances of one node are remembered: two are one too many already.
const maxInstances = 8

// NewTwins knows nobody yet.
func NewTwins() *Twins { return &Twins{nodes: map[string]map[string]*instance{}} }

// Hear notes that an instance spoke.
func (t *Twins) Hear(s Sighting) {
	t.mu.Lock()
	defer t.mu.Unlock()
	instances := t.nodes[s.Node]
	if instances == nil {
		instances = map[string]*instance{}
		t.nodes[s.Node] = instances
	}
	for id, i := range instances {
		if s.At.Sub(i.last) > twinMemory {
			delete(instances, id)
		}
	}
	if i := instances[s.Instance]; i != nil {
		i.last = s.At
	} else if len(instances) < maxInstances {
		instances[s.Instance] = &instance{host: s.Host, first: s.At, last: s.At}
	}
}

// Alarms name the nodes that run twice.
func (t *Twins) Alarms(now time.Time) (wrong []Alarm) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for node, instances := range t.nodes {
		for id, a := range instances {
			for other, b := range instances {
				if id < other && a.last.After(b.first) && b.last.After(a.first) && now.Sub(a.last) <= twinMemory && now.Sub(b.last) <= twinMemory {
					wrong = append(wrong, Alarm{
						Kind: "twins", Node: node, What: "two processes run as node " + node + ", on hosts " + a.host + " and " + b.host + ": each misses what the other gets",
						Remedy: "stop one of them, and give it a node.id, credentials and a state_dir of its own",
					})
				}
			}
		}
	}
	return wrong
}
