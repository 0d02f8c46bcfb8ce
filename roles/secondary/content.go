package secondary

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/powerdns/zone"
)

// fetchers is how many chunks of one zone are fetched at a time.
const fetchers = 8

// content rebuilds and verifies the state's zone out of the chunks that the store has and those that were fetched.
func (s *Secondary) content(state *zone.State, fresh map[zone.Chunk][]byte) (*zone.Zone, error) {
	return state.Zone(func(c zone.Chunk) ([]byte, error) {
		if data, ok := fresh[c]; ok {
			return data, nil
		}
		return s.store.Chunk(state.Name, c)
	})
}

// fetch gets the chunks that the store lacks from the broker.
func (s *Secondary) fetch(ctx context.Context, state *zone.State) (map[zone.Chunk][]byte, error) {
	var mu sync.Mutex
	fresh := map[zone.Chunk][]byte{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchers)
	for _, c := range state.Chunks() {
		if _, err := s.store.Chunk(state.Name, c); err == nil {
			continue
		}
		g.Go(func() error {
			data, err := s.Conn.GetBlob(ctx, c.Hash)
			if err != nil {
				return err
			}
			s.judge.Fetched(state, c.Size)
			mu.Lock()
			defer mu.Unlock()
			fresh[c] = data
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("zone %s: fetch its content: %w", state.Name, err)
	}
	return fresh, nil
}
