package primary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/node"
)

// The broker keeps the content of large zones as chunks apart from the states. Chunks are collected at this interval
// when they are older than this and no state refers to them.
const (
	collectInterval = time.Hour
	collectAge      = time.Hour

	maxReferenced = 1 << 24 // chunks that published states refer to: a terabyte of zones
)

// chunks keeps those that states refer to at the broker, and no others. It is safe for concurrent use.
type chunks struct {
	*node.Node
	index  *index.Index
	source *source
	acts   func() bool   // whether this primary acts
	wanted chan struct{} // asks for a collection
}

// put stores the chunks of a large zone that the state before does not refer to. Those it does are safe from being
// collected until this state has replaced it.
func (c *chunks) put(ctx context.Context, v version, before index.Published) error {
	if len(v.state.Chunks()) == 0 {
		return nil
	}
	stored, err := c.stored(ctx, v.state.Name, before)
	if err != nil {
		return err
	}
	var missing [][]byte
	for i, chunk := range v.state.Chunks() {
		if !stored[chunk] {
			missing = append(missing, v.contents[i])
		}
	}
	_, err = c.Conn.PutBlobs(ctx, missing)
	return err
}

// stored returns the chunks of the state before.
func (c *chunks) stored(ctx context.Context, name zone.Name, before index.Published) (map[zone.Chunk]bool, error) {
	stored := map[zone.Chunk]bool{}
	if !before.Stands() || before.Header.Chunks == 0 {
		return stored, nil
	}
	last, err := c.Conn.LastState(ctx, name)
	if err != nil {
		return nil, err
	}
	if last.Seq != before.Seq {
		return nil, fmt.Errorf("zone %s: %w", name, broker.ErrConflict)
	}
	state, err := decodePublished(last.Data)
	if err != nil {
		return stored, nil // unreadable: store all
	}
	for _, chunk := range state.Chunks() {
		stored[chunk] = true
	}
	return stored, nil
}

// keepCollecting removes chunks of versions that are published no more, until ctx ends.
func (c *chunks) keepCollecting(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wanted:
		case <-time.After(collectInterval):
		}
		if removed, err := c.collect(ctx); err != nil {
			c.Log.Debug().Err(err).Msg("failed to collect chunks, retrying at the next interval")
		} else if removed > 0 {
			c.Log.Debug().Int("removed", removed).Msg("collected chunks of old versions")
		}
	}
}

// collect restores chunks that states refer to and that are lost, and removes those that no state refers to.
func (c *chunks) collect(ctx context.Context) (removed int, err error) {
	if !c.index.Complete() {
		return 0, errors.New("what is published is not known yet")
	}
	referenced := map[broker.Hash]bool{}
	for name, known := range c.index.Existing() {
		if known.Header.Chunks == 0 {
			continue
		}
		last, err := c.Conn.LastState(ctx, name)
		if err != nil {
			return 0, err // without all references nothing may be removed
		}
		state, err := decodePublished(last.Data)
		if err != nil {
			return 0, err
		}
		for _, chunk := range state.Chunks() {
			referenced[chunk.Hash] = true
		}
		if len(referenced) > maxReferenced {
			return 0, fmt.Errorf("the states refer to more than %d chunks", maxReferenced)
		}
		if err := c.restore(ctx, state); err != nil {
			c.Each.Warn().Err(err).Stringer("zone", name).
				Msg("failed to restore chunks that the broker lost, retrying at the next interval")
		}
	}
	if !c.acts() {
		return 0, errDeposed
	}
	return c.Conn.CollectBlobs(ctx, func(h broker.Hash) bool { return referenced[h] }, collectAge)
}

// restore stores the chunks of a published state again that the broker lost, as in a power failure. If the zone changed
// meanwhile, it is published anyway, and what still lacks is found next time.
func (c *chunks) restore(ctx context.Context, state *zone.State) error {
	lost := map[zone.Chunk]bool{}
	for _, chunk := range state.Chunks() {
		has, err := c.Conn.HasBlob(ctx, chunk.Hash)
		if err != nil {
			return err
		}
		if !has {
			lost[chunk] = true
		}
	}
	if len(lost) == 0 {
		return nil
	}
	z, err := c.source.origin.Transfer(ctx, state.Name)
	if err != nil {
		return err
	}
	again := newVersion(reading{zone: z, stored: state.Stored}, state.Published)
	var missing [][]byte
	for i, chunk := range again.state.Chunks() {
		if lost[chunk] {
			missing = append(missing, again.contents[i])
		}
	}
	c.Each.Warn().Stringer("zone", state.Name).Int("lost", len(lost)).Int("restored", len(missing)).
		Msg("the broker lost chunks of the zone")
	_, err = c.Conn.PutBlobs(ctx, missing)
	return err
}
