package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"pdns-distribute/health"
)

// Stock is what a source had when it was counted last. Whoever counts puts it there; whoever asks for a newer one has
// it counted again, as long as that takes no more than its share of the time. It is safe for concurrent use.
type Stock struct {
	share int    // as many times as long as a count took, none begins
	renew func() // has it counted again, and does not wait for that

	// Under mu.
	mu      sync.Mutex
	zones   *health.Inventory // nil before the first count
	at      time.Time         // when the count began
	took    time.Duration
	fault   error         // of the last count, nil if it is zones
	changed chan struct{} // closed at the next count
}

// NewStock returns a stock without a count. share and renew bound and bring new ones.
func NewStock(share int, renew func()) *Stock {
	return &Stock{share: share, renew: renew, changed: make(chan struct{})}
}

// Last returns the last count, nil if there was none.
func (s *Stock) Last() *health.Inventory {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.zones
}

// Put notes a count that began then, or why there is none.
func (s *Stock) Put(zones *health.Inventory, at time.Time, fault error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = time.Since(at)
	if s.fault = fault; fault == nil {
		s.zones, s.at = zones, at
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

const (
	// StockPause is the least between two counts that somebody asks for.
	StockPause = 250 * time.Millisecond

	// stockPatience is how long a question waits for a count: less than it takes until it is put again.
	stockPatience = 4 * time.Second
)

var errUncounted = errors.New("the zones are being counted for the first time")

// Get returns the last count, or, if one is asked for that is no older than fresh, such a one. It waits for that only
// a while, and where it may not be had so soon it gives the one before: its age says so.
func (s *Stock) Get(ctx context.Context, fresh time.Duration) (zones *health.Inventory, age time.Duration, err error) {
	oldest := time.Now().Add(-fresh)
	ctx, cancel := context.WithTimeout(ctx, stockPatience)
	defer cancel()
	for renewed := false; ; {
		s.mu.Lock()
		zones, at, fault, changed := s.zones, s.at, s.fault, s.changed
		pause := time.Until(at.Add(max(StockPause, time.Duration(s.share)*s.took)))
		s.mu.Unlock()
		switch {
		case zones == nil && fault != nil:
			return nil, 0, fault
		case zones != nil && (fresh == 0 || at.After(oldest) || pause > stockPatience):
			return zones, time.Since(at), fault
		case !renewed && (zones == nil || pause <= 0):
			s.renew()
			renewed = true
		}
		if renewed {
			pause = stockPatience
		}
		select {
		case <-changed:
		case <-time.After(pause):
		case <-ctx.Done():
			if zones == nil {
				return nil, 0, errUncounted
			}
			return zones, time.Since(at), nil
		}
	}
}
