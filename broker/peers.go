package broker

import (
	"context"
	"fmt"
	"time"
)

// Peers are the brokers that keep the states, as the one that leads them sees them; one if it is alone. It is the word
// of others than the brokers' own roles, and there is no other where a nats-server runs by itself. Not for proxies and
// secondaries.
func (c *Conn) Peers(ctx context.Context) (peers []Peer, err error) {
	var info struct {
		Cluster *struct {
			Leader   string `json:"leader"`
			Replicas []struct {
				Name    string        `json:"name"`
				Current bool          `json:"current"`
				Offline bool          `json:"offline"`
				Active  time.Duration `json:"active"`
				Lag     uint64        `json:"lag"`
			} `json:"replicas"`
		} `json:"cluster"`
	}
	if err := c.call(ctx, "STREAM.INFO."+stateStream, struct{}{}, &info); err != nil {
		return nil, fmt.Errorf("ask which brokers keep the states: %w", err)
	}
	if info.Cluster == nil {
		return nil, nil
	}
	if info.Cluster.Leader != "" {
		peers = append(peers, Peer{Name: info.Cluster.Leader, Current: true})
	}
	for _, r := range info.Cluster.Replicas {
		peers = append(peers, Peer{Name: r.Name, Away: r.Offline, Silent: r.Active, Current: r.Current, Lag: r.Lag})
	}
	return peers, nil
}
