package roles

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// The streams are looked at besides at each connection, because someone may delete them by hand, and sooner when they
// could not be made.
const (
	streamCheck = 30 * time.Second
	streamRetry = time.Second
)

// keepStreams makes the streams when they are missing, at each connection and periodically.
func (p *Primary) keepStreams(ctx context.Context) error {
	connected, stop := p.conn.Connections()
	defer stop()
	for {
		pause := streamCheck
		if err := p.ensureStreams(ctx); err != nil && ctx.Err() == nil {
			p.ready.Set(condStreams, err.Error())
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

func (p *Primary) ensureStreams(ctx context.Context) error {
	if _, err := p.conn.EnsureStreams(ctx, p.cfg.Replicas); err != nil {
		if p.conn.Connected() {
			p.log.Error().Err(err).Msg("the broker's streams are not as they must be, or it did not say; looked at again soon")
		}
		return err
	}
	p.ready.Clear(condStreams)
	return nil
}

// provisionFeeds makes the feed of each secondary that announces itself and has none. Only roles of the core account
// may: who can create consumers could read everything.
func (p *Primary) provisionFeeds(ctx context.Context) error {
	known, renewed := map[string]bool{}, map[string]time.Time{}
	return p.conn.WatchStatuses(ctx, func(id string, status broker.StatusMsg) {
		pr := newSighting(id, status).Presence
		if pr.Role != roleSecondary || !known[id] && len(known) >= health.MaxNodes {
			return
		}
		if !pr.Refeed.IsZero() {
			if time.Since(renewed[id]) > renewPause && p.renewFeed(ctx, id, pr.Refeed) {
				renewed[id] = time.Now()
			}
			known[id] = true
			return
		}
		if known[id] && len(pr.Problems) == 0 {
			return
		}
		if err := p.conn.ProvisionFeed(ctx, id); err != nil {
			p.each.Warn().Err(err).Str("secondary", id).Msg("its feed cannot be provisioned; tried again when it next announces itself")
			return
		}
		if !known[id] {
			p.each.Info().Str("secondary", id).Msg("feed provisioned")
		}
		known[id] = true
	})
}

// renewPause is how often a secondary may have its feed renewed: it may be one that was stolen, and has nothing else to do.
const renewPause = time.Minute

// renewFeed has all states delivered again to a secondary that lost its store, and tells whether that worked.
func (p *Primary) renewFeed(ctx context.Context, id string, created time.Time) bool {
	if err := p.conn.RenewFeed(ctx, id, created); err != nil {
		p.each.Warn().Err(err).Str("secondary", id).Msg("its feed cannot be renewed; tried again when it next announces itself")
		return false
	}
	p.each.Info().Str("secondary", id).Msg("its store is new: it gets all zones again")
	return true
}

// Blobs are collected at this interval when they are older than this and no state refers to them.
const (
	collectInterval = time.Hour
	collectAge      = time.Hour

	maxReferenced = 1 << 24 // chunks that published states refer to: a terabyte of zones
)

// collectBlobs removes chunks of versions that are published no more.
func (p *Primary) collectBlobs(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(collectInterval):
		}
		if removed, err := p.collect(ctx); err != nil {
			p.log.Debug().Err(err).Msg("chunks were not collected; tried again later")
		} else if removed > 0 {
			p.log.Debug().Int("removed", removed).Msg("collected chunks of old versions")
		}
	}
}

func (p *Primary) collect(ctx context.Context) (removed int, err error) {
	if !p.complete.Load() {
		return 0, errors.New("what is published is not known yet")
	}
	referenced := map[broker.Hash]bool{}
	for name, known := range p.index.existing() {
		if known.header.Chunks == 0 {
			continue
		}
		last, err := p.conn.LastState(ctx, name)
		if err != nil {
			return 0, err // without all references nothing may be removed
		}
		state, err := decodePublished(last.Data)
		if err != nil {
			return 0, err
		}
		for _, c := range state.Chunks() {
			referenced[c.Hash] = true
		}
		if len(referenced) > maxReferenced {
			return 0, fmt.Errorf("the states refer to more than %d chunks", maxReferenced)
		}
		if err := p.restore(ctx, state); err != nil {
			p.each.Warn().Err(err).Stringer("zone", name).Msg("chunks that the broker lost cannot be stored again; tried again later")
		}
	}
	return p.conn.CollectBlobs(ctx, func(h broker.Hash) bool { return referenced[h] }, collectAge)
}

// restore stores the chunks of a published state again that the broker lost, as in a power failure. If the zone changed
// meanwhile, it is published anyway, and what still lacks is found next time.
func (p *Primary) restore(ctx context.Context, state *zone.State) error {
	lost := map[zone.Chunk]bool{}
	for _, c := range state.Chunks() {
		has, err := p.conn.HasBlob(ctx, c.Hash)
		if err != nil {
			return err
		}
		if !has {
			lost[c] = true
		}
	}
	if len(lost) == 0 {
		return nil
	}
	z, err := p.transfer(ctx, state.Name)
	if err != nil {
		return err
	}
	again, contents := zone.NewState(z, state.Stored, state.Published)
	var missing [][]byte
	for i, c := range again.Chunks() {
		if lost[c] {
			missing = append(missing, contents[i])
		}
	}
	p.each.Warn().Stringer("zone", state.Name).Int("lost", len(lost)).Int("restored", len(missing)).Msg("the broker lost chunks of the zone")
	_, err = p.conn.PutBlobs(ctx, missing)
	return err
}
