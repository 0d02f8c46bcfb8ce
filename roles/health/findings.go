package health

import (
	"maps"
	"slices"
	"sync"

	"pdns-distribute/health"
)

// findings is what checks and probes found wrong, until they find it right. It is safe for concurrent use.
type findings struct {
	mu    sync.Mutex
	found map[finding]health.Alarm
}

type finding struct {
	kind health.Kind
	node string
}

func newFindings() *findings { return &findings{found: map[finding]health.Alarm{}} }

// replace takes all that was found wrong with a node of the kinds that were looked at: the others of these are over.
func (f *findings) replace(node string, looked []health.Kind, found []health.Alarm) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, kind := range looked {
		delete(f.found, finding{kind, node})
	}
	for _, a := range found {
		f.found[finding{a.Kind, node}] = a.Lasting()
	}
}

// forget drops what was found wrong with a node.
func (f *findings) forget(node string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.found, func(of finding, _ health.Alarm) bool { return of.node == node })
}

// clear drops all: whoever leads next finds it again.
func (f *findings) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.found)
}

func (f *findings) alarms() []health.Alarm {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.found))
}
