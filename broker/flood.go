package broker

import (
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Requests to JetStream's API wait in one queue, whoever sends them, and are dropped once it is full. So a node that
// sends as many as it can, by a stolen key, has those of the proof unanswered, too, and the server looks as if a stream
// hung. But requests are done with, which they are not where a stream hangs.

// apiLoad is how busy the API is. The zero value: it was not asked.
type apiLoad struct {
	at      time.Time
	done    uint64 // requests since the server began
	waiting uint64
}

const (
	floodWaiting = 16    // requests that wait while others are done with
	floodRate    = 1_000 // done in a second; a fleet of 1,000 nodes needs some tens
)

// flood says that the API has been flooded since an earlier look, "" if it has not.
func (l apiLoad) flood(before apiLoad) string {
	if l.at.IsZero() || before.at.IsZero() || l.done <= before.done {
		return ""
	}
	done, took := l.done-before.done, l.at.Sub(before.at)
	if l.waiting < floodWaiting && float64(done) < floodRate*took.Seconds() {
		return ""
	}
	return fmt.Sprintf("the broker is flooded with requests: %d in %s, and %d wait",
		done, took.Round(time.Second), l.waiting)
}

// busiest says which connection has sent the most messages.
func (s *Server) busiest() string {
	open, err := s.nats.Connz(&server.ConnzOptions{Username: true, Sort: server.ByInMsgs, Limit: 1})
	if err != nil || len(open.Conns) == 0 {
		return ""
	}
	c := open.Conns[0]
	return fmt.Sprintf("; the most messages, %d, are of %s at %s: if they are not to be, take it out of %s",
		c.InMsgs, c.AuthorizedUser, c.IP, AccountsFile)
}
