package primary

import (
	"context"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/node"
)

// rank is what is known of whoever ordered a touch. A higher one is trusted more.
type rank int

const (
	// deposed is a health role that acts no more: a process that was stopped may send its orders long after.
	deposed rank = iota - 1
	anybody
	leads // the health role that acts
)

// leader knows which health role leads. It is safe for concurrent use.
type leader struct {
	*node.Node

	// Under mu.
	mu   sync.Mutex
	term broker.Term // of who leads
	at   time.Time   // when the broker said so; the zero time has it asked again
}

// leaderAge is how long it is believed who leads; whoever names terms must not have the broker asked at each touch.
const leaderAge = time.Second

// rank does not believe a term by itself, because any health role can name any: it is compared with that of who
// leads. What is not known for sure is anybody's, which does no harm: so are orders of a leader that has only just
// begun.
func (l *leader) rank(ctx context.Context, t broker.TouchMsg) rank {
	if t.Term.IsZero() {
		return anybody
	}
	switch term := l.current(ctx); {
	case t.Term == term:
		return leads
	case t.Term.Before(term):
		l.Log.Debug().Stringer("zone", t.Zone).Stringer("term", t.Term).
			Msg("order dropped: its health role has lost leadership")
		return deposed
	}
	return anybody
}

// current returns the term of the health role that leads, the zero one if that is not known.
func (l *leader) current(ctx context.Context) broker.Term {
	if term, known := l.last(); known {
		return term
	}
	ctx, cancel := context.WithTimeout(ctx, leaderAge)
	defer cancel()
	holder, err := l.Conn.LeaseHolder(ctx, health.LeaseName)
	if err != nil {
		l.Log.Debug().Err(err).Msg("failed to ask which health role leads")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.term, l.at = holder.Term, time.Now()
	return l.term
}

// last returns what was known last, and whether that still counts.
func (l *leader) last() (broker.Term, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term, time.Since(l.at) < leaderAge
}

// forget has the broker asked again: it is not the one that it was.
func (l *leader) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = time.Time{}
}
