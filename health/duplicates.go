package health

import (
	"fmt"
	"sync"
	"time"
)

// DuplicateNodes notices two processes that run with one node id: after the second one has reported, the first one
// reports again, which no restart explains. It is safe for concurrent use.
type DuplicateNodes struct {
	mu    sync.Mutex
	nodes map[string]map[string]*instance
}

type instance struct {
	host, role  string
	first, last time.Time
}

// instanceMemory is how long an instance that is silent counts.
const instanceMemory = 30 * time.Second

// maxInstances is how many instances of one node are remembered: two are one too many already.
const maxInstances = 8

// NewDuplicateNodes begins with none.
func NewDuplicateNodes() *DuplicateNodes {
	return &DuplicateNodes{nodes: map[string]map[string]*instance{}}
}

// See notes that an instance has reported.
func (d *DuplicateNodes) See(s Sighting) {
	d.mu.Lock()
	defer d.mu.Unlock()
	instances := d.nodes[s.Node]
	if instances == nil {
		instances = map[string]*instance{}
		d.nodes[s.Node] = instances
	}
	for id, i := range instances {
		if s.At.Sub(i.last) > instanceMemory {
			delete(instances, id)
		}
	}
	if i := instances[s.Instance]; i != nil {
		i.last = s.At
	} else if len(instances) < maxInstances {
		instances[s.Instance] = &instance{host: s.Host.Name, role: s.Role, first: s.At, last: s.At}
	}
}

// Alarms returns one for each node id that several processes use.
func (d *DuplicateNodes) Alarms(now time.Time) (wrong []Alarm) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for node, instances := range d.nodes {
		for id, a := range instances {
			for other, b := range instances {
				if id < other && a.overlaps(b) && a.reported(now) && b.reported(now) {
					wrong = append(wrong, duplicate(node, a, b))
				}
			}
		}
	}
	return wrong
}

func (i *instance) overlaps(j *instance) bool { return i.last.After(j.first) && j.last.After(i.first) }

func (i *instance) reported(now time.Time) bool { return now.Sub(i.last) <= instanceMemory }

func duplicate(node string, a, b *instance) Alarm {
	return Alarm{
		Kind: AlarmDuplicateNodeID, Role: a.role, Node: node,
		What: fmt.Sprintf("two processes run with node id %s, on hosts %s and %s: "+
			"each gets only a part of what the node should get", node, a.host, b.host),
		Remedy: "stop one of the two processes, and give it a node.id, credentials and a state_dir of its own",
	}
}
