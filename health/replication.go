package health

import (
	"fmt"
	"slices"
	"time"
)

// Replication is what a node knows of the databases that replicate each other, by the heartbeats of primaries.
type Replication struct {
	Writes bool                 `json:"writes,omitempty"` // the PowerDNS beside it takes writes
	Lag    time.Duration        `json:"lag,omitempty"`    // how far what that serves is behind, in nanoseconds
	Beats  map[string]time.Time `json:"beats,omitempty"`  // by node: when the newest heartbeat that it serves was begun
}

// maxBeats is how many heartbeats are taken of a presence.
const maxBeats = 64

func (r *Replication) bounded() *Replication {
	if r == nil || len(r.Beats) <= maxBeats {
		return r
	}
	return &Replication{Writes: r.Writes, Lag: r.Lag}
}

// patienceBeats is how far the heartbeats may be behind that a database has: presences come every 5 s.
const patienceBeats = 15 * time.Second

// StandsBy reports whether the node is a primary that waits to act.
func (r *Row) StandsBy() bool { return r.Role == RolePrimary && r.Replication != nil && !r.Leads }

// replicationAlarms are about databases that do not get what the acting primary writes, and about nodes that do not
// look.
func (b Board) replicationAlarms() (wrong []Alarm) {
	var primaries []Row
	for _, r := range b.Nodes {
		if r.Role == RolePrimary && r.Active {
			primaries = append(primaries, r)
		}
	}
	replicated := slices.ContainsFunc(primaries, func(r Row) bool { return r.Replication != nil })
	if replicated && !slices.ContainsFunc(primaries, func(r Row) bool { return r.Leads && r.Replication != nil }) {
		wrong = append(wrong, Alarm{
			Kind: AlarmNoPrimary, What: "no primary leads: nothing is distributed", At: b.firstPrimary(),
			Cause: causeNoLeader, after: 2 * patienceReady,
			Remedy: "read in the logs of the primaries why none takes the lease",
		})
	}
	for _, r := range b.Nodes {
		beside := r.Role == RolePrimary || r.Role == RoleProxy
		switch {
		case !r.Active || !beside:
		case r.Replication == nil && (replicated || r.Role == RolePrimary && len(primaries) > 1):
			wrong = append(wrong, r.warning(AlarmReplication,
				fmt.Sprintf("there are several primaries, and %s.replicated is not set", r.Role),
				fmt.Sprintf("set %s.replicated = true in the configuration of the node and restart the role; "+
					"see docs/databases.md", r.Role)).Lasting())
		case r.Role == RoleProxy && r.Replication != nil:
			wrong = append(wrong, r.lacksBeats(primaries)...)
		}
	}
	return wrong
}

// lacksBeats is about a proxy whose database does not have the heartbeats of the acting primary.
func (r Row) lacksBeats(primaries []Row) (wrong []Alarm) {
	for _, p := range primaries {
		if !p.Leads || p.Replication == nil {
			continue
		}
		newest, is := p.Replication.Beats[p.Node]
		behind := newest.Sub(r.Replication.Beats[p.Node])
		if !is || behind < patienceBeats {
			continue
		}
		lacks := fmt.Sprintf("the database of the proxy lacks what was written for %s to the database of primary %s",
			behind.Round(time.Second), p.Node)
		if r.Replication.Beats[p.Node].IsZero() {
			lacks = fmt.Sprintf("the database of the proxy has nothing of what is written to the database of primary %s", p.Node)
		}
		wrong = append(wrong, r.alarm(AlarmReplication,
			lacks+": changes through this proxy may be lost, and are not reported as in sync",
			"check the replication of the proxy's database; while that database takes writes, "+
				"have clients use another proxy; see docs/databases.md, Split brain"))
	}
	return wrong
}
