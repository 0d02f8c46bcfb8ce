package health

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// BrokerReport is the part of a broker.
type BrokerReport struct {
	Server      string    `json:"server,omitempty"`     // version of nats-server
	Leader      string    `json:"leader,omitempty"`     // of a cluster: the broker that leads it
	Peers       []Peer    `json:"peers,omitempty"`      // the others of the cluster, the first maxPeers
	Certificate time.Time `json:"certificate,omitzero"` // when its certificate ends
	CA          time.Time `json:"ca,omitzero"`          // when that of the CA does
}

// Peer is another broker of the cluster, as one of them sees it.
type Peer struct {
	Name string    `json:"name"`
	Away bool      `json:"away,omitempty"`
	Seen time.Time `json:"seen,omitzero"` // when it was last active, by the clock of the broker that reports it
}

const maxPeers = 16

func (b *BrokerReport) bounded() *BrokerReport {
	if b == nil {
		return nil
	}
	bound := *b
	bound.Server, bound.Leader = Cut(b.Server), Cut(b.Leader)
	bound.Peers = slices.Clone(b.Peers[:min(len(b.Peers), maxPeers)])
	for i := range bound.Peers {
		bound.Peers[i].Name = Cut(bound.Peers[i].Name)
	}
	return &bound
}

// SeePeers adds brokers that others report and that did not report themselves: those that are away, and those that no
// role of this program runs.
func SeePeers(seen map[string]Sighting, now time.Time, peers []Peer) {
	for _, p := range peers {
		if _, is := seen[p.Name]; is || p.Name == "" || len(seen) >= MaxNodes {
			continue
		}
		at := now
		if p.Away {
			at = p.Seen
		}
		seen[p.Name] = Sighting{Presence: Presence{Node: p.Name, Role: RoleBroker}, At: at}
	}
}

// withPeers adds the brokers that other brokers report. Those times are of other clocks, so how long ago they are
// counts from when the report came.
func withPeers(seen map[string]Sighting) map[string]Sighting {
	all := make(map[string]Sighting, len(seen))
	for id, s := range seen {
		all[id] = s
	}
	for _, s := range seen {
		if s.Broker == nil {
			continue
		}
		peers := slices.Clone(s.Broker.Peers)
		for i, p := range peers {
			peers[i].Seen = s.At.Add(-s.Clock.Sub(p.Seen))
		}
		SeePeers(all, s.At, peers)
	}
	return all
}

// What tells alarms of one kind apart.
const (
	causeNoLeader = "no leader" // primaries are active, and none of them leads
	causeCA       = "ca"        // the certificate is that of the CA
	causeNoQuorum = "no quorum" // less than half of the brokers are up
)

// How long certificates must still be good: from the first on it is a warning, from the second on an alarm.
const (
	certificateSoon = 30 * 24 * time.Hour
	certificateNow  = 7 * 24 * time.Hour
)

// brokerAlarms are about the certificates of a broker.
func (r Row) brokerAlarms(now time.Time) (wrong []Alarm) {
	b := r.Broker
	if b == nil {
		return nil
	}
	for _, c := range []struct {
		what, cause string
		end         time.Time
	}{
		{"the certificate of the broker", "", b.Certificate},
		{"the certificate of the CA", causeCA, b.CA},
	} {
		left := c.end.Sub(now)
		if c.end.IsZero() || left > certificateSoon {
			continue
		}
		a := r.alarm(AlarmCertificate,
			fmt.Sprintf("%s expires at %s, and then no node can connect", c.what, c.end.UTC().Format(time.RFC3339)),
			"make another one in the installation's folder, and copy it to where that says")
		a.Warning, a.Cause = left > certificateNow, c.cause
		wrong = append(wrong, a)
	}
	return wrong
}

// brokerAway is about a broker that is away, which is worse the fewer are left.
func (b Board) brokerAway(r Row) Alarm {
	all, there := 0, 0
	for _, other := range b.Nodes {
		if other.Role == RoleBroker {
			all++
			if other.Active {
				there++
			}
		}
	}
	spare := there - (all/2 + 1)
	what := fmt.Sprintf("away; %d of %d brokers are up", there, all)
	switch {
	case spare < 0:
		what += ": nothing is stored or distributed until more than half of the brokers are up"
	case spare == 0:
		what += ": if another broker fails, nothing is distributed"
	default:
		what += fmt.Sprintf(": %d more may fail", spare)
	}
	if !r.Seen.IsZero() {
		what += "; last seen at " + r.Seen.UTC().Format(time.RFC3339)
	}
	a := r.alarm(AlarmInactive, what,
		"start the broker; if it runs, read its log and check that the other brokers reach it")
	if spare < 0 {
		a.Cause = causeNoQuorum
	}
	return a
}

// Quorum returns what is wrong with the brokers as a whole, as far as they report it themselves; "" if nothing.
func (b Board) Quorum() string {
	for _, r := range b.Nodes {
		for _, p := range r.Problems {
			if r.Role == RoleBroker && r.Active && strings.HasPrefix(p, "quorum: ") {
				return p
			}
		}
	}
	return ""
}
