package follow

import (
	"encoding/json"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
)

// PeersOf returns brokers as the broker reports them, whose times are as long ago from now.
func PeersOf(now time.Time, peers []broker.Peer) (of []health.Peer) {
	for _, p := range peers {
		if broker.CheckNodeID(p.Name) != nil {
			continue // nats-server does not know its name yet
		}
		of = append(of, health.Peer{Name: p.Name, Away: p.Away, Seen: now.Add(-p.Silent).UTC()})
	}
	return of
}

// NewSighting reads a presence. Whose it is comes from the broker, not from the message. A node whose presence cannot
// be read is active, and not ready.
func NewSighting(id string, status broker.StatusMsg) health.Sighting {
	s := health.Sighting{At: status.At}
	if err := json.Unmarshal(status.Data, &s.Presence); err != nil {
		s.Presence = health.Presence{}
		s.Problems = []string{"the presence of the node cannot be read: " + err.Error()}
	}
	s.Node, s.Role = id, string(status.Role)
	s.Bound()
	return s
}
