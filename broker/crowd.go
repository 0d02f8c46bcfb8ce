package broker

import (
	"context"
	"math"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

const (
	// maxOfKey is how many connections one nkey may have: a node has one, and its operator's commands one each. Without
	// a bound who stole a key could take all that the server accepts (max_connections), and keep everybody else out.
	maxOfKey = 100

	// crowdInterval is how often connections are counted. A core of the server does some 1,000 handshakes a second.
	crowdInterval = 2 * time.Second
)

// boundKeys ends connections of keys that have too many, the newest ones, until ctx ends.
func (s *Server) boundKeys(ctx context.Context) {
	ticker := time.NewTicker(crowdInterval)
	defer ticker.Stop()
	var said time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if s.nats.NumClients() <= maxOfKey {
			continue
		}
		key, ended := s.endExcess()
		if ended > 0 && time.Since(said) >= logPeriod {
			said = time.Now()
			s.log.Warn().Str("nkey", key).Int("limit", maxOfKey).Int("ended", ended).
				Msg("too many connections with the nkey of one node, the newest are ended; was it stolen?")
		}
	}
}

// endExcess returns how many connections it ended, and a key that had too many.
func (s *Server) endExcess() (key string, ended int) {
	open, err := s.nats.Connz(&server.ConnzOptions{Username: true, Sort: server.ByCid, Limit: math.MaxInt32})
	if err != nil {
		return "", 0 // it stops
	}
	of := map[string]int{}
	for _, conn := range open.Conns { // the oldest first
		user := conn.AuthorizedUser
		if !nkeys.IsValidPublicUserKey(user) { // several nodes may share a password
			continue
		}
		if of[user]++; of[user] > maxOfKey && s.nats.DisconnectClientByID(conn.Cid) == nil {
			key = user
			ended++
		}
	}
	return key, ended
}
