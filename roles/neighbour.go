package roles

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns"
	"pdns-distribute/roles/observe"
)

// neighbour watches the PowerDNS beside a role: work waits while it is away, and its restarts are noticed, because it
// may come back with another database.
type neighbour struct {
	api   *powerdns.Client
	ready *observe.Readiness
	log   zerolog.Logger

	// returned is called when PowerDNS answers for the first time and after each restart, before work goes on. While it
	// fails it is called again.
	returned func(context.Context) error

	mu      sync.Mutex
	open    chan struct{} // closed while PowerDNS answers
	is      bool
	version string
	suspect chan struct{}
}

func newNeighbour(api *powerdns.Client, ready *observe.Readiness, log zerolog.Logger, returned func(context.Context) error) *neighbour {
	return &neighbour{api: api, ready: ready, log: log, returned: returned, open: make(chan struct{}), suspect: make(chan struct{}, 1)}
}

// condPowerDNS is the readiness condition of the PowerDNS beside a role.
const condPowerDNS = "powerdns"

// Pauses between two looks at PowerDNS.
const (
	lookWhileHere  = 2 * time.Second
	lookWhileYoung = 250 * time.Millisecond // a restart soon after a start can be told by little
	lookWhileAway  = 250 * time.Millisecond

	young = 10 * time.Second
)

// watch looks after PowerDNS until ctx ends.
func (n *neighbour) watch(ctx context.Context) error {
	var before *powerdns.Life // nil while PowerDNS is away
	for {
		now, err := n.look(ctx)
		if err == nil && (before == nil || !now.Continues(*before)) {
			n.shut() // whatever comes next is about another process
			err = n.welcome(ctx)
		}
		pause := lookWhileHere
		if err != nil {
			before, pause = nil, lookWhileAway
			n.away(ctx, err)
		} else {
			before = &now
			if now.Uptime < young {
				pause = lookWhileYoung
			}
			n.here()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.suspect:
		case <-time.After(pause):
		}
	}
}

// isHere tells whether PowerDNS answered at the last look.
func (n *neighbour) isHere() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.is
}

// lookPatience is how long PowerDNS may take to say that it is there.
const lookPatience = 5 * time.Second

func (n *neighbour) look(ctx context.Context) (powerdns.Life, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	return n.api.Life(ctx)
}

func (n *neighbour) welcome(ctx context.Context) error {
	info, err := n.api.Server(ctx)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.version = info.Version
	n.mu.Unlock()
	return n.returned(ctx)
}

func (n *neighbour) away(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if n.shut() {
		n.log.Warn().Err(err).Msg("PowerDNS is away: work waits for it")
	}
	n.ready.Set(condPowerDNS, err.Error())
}

func (n *neighbour) here() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.is {
		return
	}
	n.is = true
	close(n.open)
	n.ready.Clear(condPowerDNS)
	n.log.Info().Str("version", n.version).Msg("PowerDNS is here")
}

// shut makes work wait, and tells whether it did not before.
func (n *neighbour) shut() (was bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if was = n.is; was {
		n.is, n.open = false, make(chan struct{})
	}
	return was
}

// doubt has PowerDNS looked at now.
func (n *neighbour) doubt() { notify(n.suspect, struct{}{}) }

// wait returns when PowerDNS is here, or false when ctx ended.
func (n *neighbour) wait(ctx context.Context) bool {
	n.mu.Lock()
	open := n.open
	n.mu.Unlock()
	select {
	case <-open:
		return true
	case <-ctx.Done():
		return false
	}
}

// runningVersion is the version of PowerDNS, "" before it was seen.
func (n *neighbour) runningVersion() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.version
}
