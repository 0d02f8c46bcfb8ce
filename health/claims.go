package health

import (
	"sync"
	"time"

	"pdns-distribute/powerdns/zone"
)

// Claims follows what primaries report as published until the broker's stream has it: a primary that is wrong about
// it settles changes that nobody ever gets. It is safe for concurrent use.
type Claims struct {
	mu   sync.Mutex
	open map[zone.Name]Claim
}

// Claim is what a primary reported of a zone.
type Claim struct {
	Settled
	Since time.Time // when the stream was first known to lack it
}

const (
	// claimPatience is how much later than the notice of a state the state itself may come.
	claimPatience = 10 * time.Second

	maxClaims = 10_000
)

// NewClaims begins with none.
func NewClaims() *Claims { return &Claims{open: map[zone.Name]Claim{}} }

// Note takes a primary's notice, and what the stream has of the zone.
func (c *Claims) Note(now time.Time, s Settled, has Settled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.open[s.Zone]
	switch {
	case s.Pending, !known && len(c.open) >= maxClaims:
	case s.isIn(has):
		delete(c.open, s.Zone)
	case known:
		c.open[s.Zone] = Claim{s, before.Since}
	default:
		c.open[s.Zone] = Claim{s, now}
	}
}

// isIn reports whether the stream has what was reported, or something newer.
func (s Settled) isIn(has Settled) bool {
	return s.Gone && has.Gone || !s.Published.IsZero() && !has.Published.Before(s.Published)
}

// Missing returns the claims that the stream does not show though it has had the time. has returns what it has of a
// zone.
func (c *Claims) Missing(now time.Time, has func(zone.Name) Settled) (claims []Claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, claim := range c.open {
		switch {
		case claim.isIn(has(name)):
			delete(c.open, name)
		case now.Sub(claim.Since) > claimPatience:
			claims = append(claims, claim)
		}
	}
	return claims
}

// Reset forgets all, when the broker lost what was published.
func (c *Claims) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.open)
}
