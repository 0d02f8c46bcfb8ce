package primary

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/follow"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/work"
)

const (
	condStreams = "streams" // the condition of the streams being as they must be
	condFeeds   = "feeds"   // the one of the feeds being so
	condProof   = "proof"   // the one of the streams doing what they are for, by trying
)

// The streams are looked at besides at each connection, because someone may delete them by hand, and sooner when they
// could not be made.
const (
	streamCheck = 30 * time.Second
	streamRetry = time.Second

	proofInterval = 30 * time.Second
	proofRetry    = 5 * time.Second

	// renewPause is how often a secondary may have its feed renewed: it may be one that was stolen, and has nothing
	// else to do.
	renewPause = time.Minute
)

// provisioner keeps what others need at the broker: streams, the feeds of secondaries and the watches of health roles.
// Primaries alone may: who can create consumers could read everything.
type provisioner struct {
	*node.Node
	replicas int                              // of streams
	streams  *work.Latch                      // open once the streams were there for the first time
	heed     func(time.Time, health.Sighting) // gets what each node says of itself
	emptied  atomic.Bool                      // the streams were made anew: feeds and watches are gone with the old ones

	// Owned by provisionFeeds.
	known   map[string]bool      // nodes that have what they need
	renewed map[string]time.Time // when their feeds were
}

func newProvisioner(n *node.Node, replicas int, heed func(time.Time, health.Sighting)) *provisioner {
	return &provisioner{
		Node: n, replicas: replicas, streams: work.NewLatch(), heed: heed,
		known: map[string]bool{}, renewed: map[string]time.Time{},
	}
}

// keepStreams makes the streams when they are missing, at each connection and periodically.
func (p *provisioner) keepStreams(ctx context.Context) error {
	connected, stop := p.Conn.Connections()
	defer stop()
	for {
		pause := streamCheck
		if err := p.ensureStreams(ctx); err != nil && ctx.Err() == nil {
			p.Ready.Set(condStreams, err.Error())
			pause = streamRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-connected:
		case <-time.After(pause):
		}
	}
}

func (p *provisioner) ensureStreams(ctx context.Context) error {
	streams, err := p.Conn.EnsureStreams(ctx, p.replicas)
	if streams.New {
		p.emptied.Store(true)
		p.AnnounceSoon() // what it said before was not stored
	}
	if err != nil {
		if p.Conn.Connected() {
			p.Log.Error().Err(err).
				Msg("the broker's streams are not as they must be, or the broker did not answer: checking again soon")
		}
		return err
	}
	p.Ready.Clear(condStreams)
	p.streams.Open()
	return nil
}

// proveStreams tries from outside what brokers try of themselves. Where a nats-server runs without the broker role
// nobody else does.
func (p *provisioner) proveStreams(ctx context.Context) error {
	failed := 0
	for pause := proofInterval; work.Wait(ctx, pause); {
		err := p.Conn.ProveStreams(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, broker.ErrDisconnected): // which readiness says anyway
			continue
		case err == nil:
			pause, failed = proofInterval, 0
			p.Ready.Clear(condProof)
			continue
		}
		pause = proofRetry
		if failed++; failed < 2 { // a leader that changes is no fault
			continue
		}
		if p.Ready.Set(condProof, err.Error()) {
			p.Log.Error().Err(err).Msg("the broker does not store and deliver as it must")
		}
	}
	return nil
}

// keepFeeds looks at the settings of all feeds and watches, again and again: who can alter one could have a secondary
// given nothing while it seems to have everything.
func (p *provisioner) keepFeeds(ctx context.Context) error {
	for work.Wait(ctx, streamCheck) {
		found, err := p.Conn.RepairFeeds(ctx)
		for _, d := range found {
			p.Each.Error().Str("object", d.Object).
				Str("setting", d.Setting).Str("is", health.Cut(d.Is)).Str("should_be", d.ShouldBe).
				Msg("feed had other settings than it was made with, made anew: all states are delivered again; " +
					"find out who altered it")
		}
		switch {
		case err != nil && len(found) > 0:
			p.Ready.Set(condFeeds, err.Error())
		case err == nil:
			p.Ready.Clear(condFeeds)
		}
	}
	return nil
}

// provisionFeeds makes the feed of each secondary that announces itself and has none, and the watch of each health
// role.
func (p *provisioner) provisionFeeds(ctx context.Context) error {
	return p.Conn.WatchStatuses(ctx, func(id string, status broker.StatusMsg) {
		sighting := follow.NewSighting(id, status)
		p.heed(time.Now(), sighting)
		p.provision(ctx, id, sighting.Presence)
	})
}

// provision gives a node what it lacks. One that has all, and no trouble, is left alone.
func (p *provisioner) provision(ctx context.Context, id string, said health.Presence) {
	if said.Role != health.RoleSecondary && said.Role != health.RoleHealth {
		return
	}
	if p.emptied.Swap(false) {
		clear(p.known)
	}
	if !p.known[id] && len(p.known) >= health.MaxNodes {
		return
	}
	renew := said.Role == health.RoleSecondary && !said.Secondary.Refeed.IsZero() && time.Since(p.renewed[id]) > renewPause
	switch {
	case renew:
		if p.renewFeed(ctx, id, said.Secondary.Refeed) {
			p.renewed[id] = time.Now()
		}
		p.known[id] = true
	case p.known[id] && len(said.Problems) == 0:
	case said.Role == health.RoleHealth:
		p.known[id] = p.provisionWatch(ctx, id)
	default:
		p.provisionFeed(ctx, id)
	}
}

func (p *provisioner) provisionFeed(ctx context.Context, id string) {
	if err := p.Conn.ProvisionFeed(ctx, id); err != nil {
		p.Each.Warn().Err(err).Str("secondary", id).
			Msg("failed to provision a feed, retrying when its secondary next announces itself")
		return
	}
	if !p.known[id] {
		p.Each.Info().Str("secondary", id).Msg("feed provisioned")
	}
	p.known[id] = true
}

func (p *provisioner) provisionWatch(ctx context.Context, id string) bool {
	err := p.Conn.ProvisionWatch(ctx, id)
	if err != nil {
		p.Each.Warn().Err(err).Str("health", id).
			Msg("failed to provision a watch of states, retrying when its health role next announces itself")
	}
	return err == nil
}

// renewFeed has all states delivered again to a secondary that lost its store, and reports whether that worked.
func (p *provisioner) renewFeed(ctx context.Context, id string, created time.Time) bool {
	if err := p.Conn.RenewFeed(ctx, id, created); err != nil {
		p.Each.Warn().Err(err).Str("secondary", id).
			Msg("failed to renew a feed, retrying when its secondary next announces itself")
		return false
	}
	p.Each.Info().Str("secondary", id).Msg("feed renewed: the secondary's store is new, and gets all zones again")
	return true
}
