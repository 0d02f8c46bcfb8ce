package health

import (
	"testing"
	"time"
)

// Databases that do not get what the acting primary writes are alarms, and nodes that do not look.
func TestReplicationAlarms(t *testing.T) {
	beats := func(ages map[string]time.Duration) *Replication {
		r := &Replication{Beats: map[string]time.Time{}}
		for node, age := range ages {
			r.Beats[node] = noon.Add(-age)
		}
		return r
	}
	acts := func(p *Presence) { p.Leads, p.Replication = true, beats(map[string]time.Duration{"a1": 0}) }
	waits := func(p *Presence) { p.Replication = beats(map[string]time.Duration{"a1": time.Second}) }
	proxy := func(r *Replication) func(*Presence) { return func(p *Presence) { p.Replication = r } }
	none := func(*Presence) {}
	for what, test := range map[string]struct {
		first, second, proxy func(*Presence)
		want                 string
	}{
		"in order":                {acts, waits, proxy(beats(map[string]time.Duration{"a1": 2 * time.Second})), ""},
		"the proxy's has parted":  {acts, waits, proxy(beats(map[string]time.Duration{"a1": time.Minute})), "replication x1"},
		"the proxy's is another":  {acts, waits, proxy(beats(map[string]time.Duration{"b7": 0})), "replication x1"},
		"nobody acts":             {waits, waits, proxy(beats(nil)), "no-primary"},
		"the proxy does not look": {acts, waits, none, "replication x1"},
		"a primary does not":      {acts, none, proxy(beats(map[string]time.Duration{"a1": 0})), "replication a2"},
		"none of them does":       {none, none, none, "replication a1, replication a2"},
	} {
		got := boardAlarms(sighted("a1", "primary", 0, test.first), sighted("a2", "primary", 0, test.second),
			sighted("x1", "proxy", 0, test.proxy), sighted("ns1", "secondary", 0, none))
		if got != test.want {
			t.Errorf("%s: %q, want %q", what, got, test.want)
		}
	}
	board := NewBoard(noon, Config{InactiveAfter: time.Minute}, map[string]Sighting{
		"a1": sighted("a1", "primary", 0, acts), "a2": sighted("a2", "primary", 0, waits),
	}, nil)
	if board.Nodes[0].State != StateOK || board.Nodes[1].State != StateStandby || !board.OK {
		t.Errorf("%+v", board)
	}
}
