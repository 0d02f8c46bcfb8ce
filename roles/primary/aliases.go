package primary

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
)

// PowerDNS can put the addresses of the target in the place of an ALIAS record as it transfers a zone
// (outgoing-axfr-expand-alias): the only way for a signed zone, since a secondary computes nothing there. Addresses of
// targets move without a change of the zone, so such zones are read again at an interval, and published when they
// differ, at the same serial.
//
// PowerDNS leaves addresses out that its resolver does not give just then (4.9 and later, with ignore-errors). What a
// resolver fails to find out is no reason to take addresses off the net: see keepsAddresses.

// expansion is what the PowerDNS beside the role does with ALIAS records. It is safe for concurrent use.
type expansion struct {
	interval time.Duration // between two readings of a zone; 0: there are none

	// Under mu.
	mu   sync.Mutex
	now  powerdns.Expansion
	kept map[zone.Name]time.Time // zones whose published addresses are kept, since when

	changed *lagging // changed zones whose targets the resolver fails to find
}

func newExpansion(interval time.Duration) *expansion {
	return &expansion{interval: interval, kept: map[zone.Name]time.Time{}, changed: newLagging()}
}

func (e *expansion) set(now powerdns.Expansion) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = now
}

func (e *expansion) get() powerdns.Expansion {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

// explainAliases names the likely cause where a zone with such records cannot be transferred.
func explainAliases(aliases []powerdns.Alias, err error) error {
	if len(aliases) == 0 || errors.Is(err, powerdns.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w; it has ALIAS records, such as %s for %s, and PowerDNS breaks the transfer off where its "+
		"resolver does not find such a target, unless it is 4.9 or later with outgoing-axfr-expand-alias=ignore-errors",
		err, aliases[0].Name, aliases[0].Target)
}

const (
	// keepPatience is how long addresses stay published that the resolver fails to find again (RFC 8767 §5 has one to
	// three days for it).
	keepPatience = 24 * time.Hour

	// intervalsOfTTL is how many intervals a zone with long TTLs may wait for its next reading.
	intervalsOfTTL = 5

	// readingShare keeps PowerDNS below a twentieth of its time for one such zone.
	readingShare = 20

	// aliasPace is between two readings, whatever the number of zones.
	aliasPace = 20 * time.Millisecond
)

// pause is until the zone is read again: the least TTL of its ALIAS records, because resolvers keep addresses for that
// long anyway, within bounds; longer where reading takes long.
func (e *expansion) pause(aliases []powerdns.Alias, took time.Duration) time.Duration {
	ttl := intervalsOfTTL * e.interval
	for _, a := range aliases {
		ttl = min(ttl, a.TTL)
	}
	return max(ttl, e.interval, readingShare*took)
}

// keepsAddresses reports whether what is published stays, because what was read lacks addresses only for a failure of
// the resolver, and nobody has changed the zone. Of a zone that was changed, the failure is not believed for some
// seconds (errLagging); then the change is published without these addresses.
func (p *Primary) keepsAddresses(name zone.Name, read reading, before index.Published, j job) (bool, error) {
	now := time.Now()
	if read.computed.Unresolved <= before.Header.Computed.Unresolved || !before.Stands() || j.again != "" {
		p.source.expansion.found(name)
		return false, nil
	}
	if j.msg == nil && before.Header.Stored == read.stored {
		return p.source.expansion.keeps(now, name), nil
	}
	const why = "the resolver of PowerDNS fails to find the targets of ALIAS records"
	return false, p.source.expansion.changed.suspect(now, name, why)
}

// keeps reports whether the zone's addresses are kept still.
func (e *expansion) keeps(now time.Time, name zone.Name) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	since, known := e.kept[name]
	if !known {
		since = now
		e.kept[name] = now
	}
	return now.Sub(since) < keepPatience
}

// found forgets that the zone's addresses were kept.
func (e *expansion) found(name zone.Name) {
	e.changed.clear(name)
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.kept, name)
}

// forget forgets that of all zones.
func (e *expansion) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.kept)
}

// keeping returns the zones with published addresses that the resolver fails to find again.
func (e *expansion) keeping() (found health.Some) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name := range e.kept {
		found.Add(name)
	}
	return found
}

// scheduleAliases has a zone read again that was just read.
func (p *Primary) scheduleAliases(name zone.Name, read reading) {
	if len(read.aliases) > 0 && p.cfg.Primary.AliasInterval > 0 {
		p.schedules.aliases.Add(name, time.Now().Add(p.source.expansion.pause(read.aliases, read.took)))
	}
}

// scheduleAllAliases has all zones read with ALIAS records, whether PowerDNS expanded them by now or no more.
func (p *Primary) scheduleAllAliases() {
	if p.cfg.Primary.AliasInterval <= 0 {
		return
	}
	on := p.source.expansion.get().On
	for name, published := range p.index.Existing() {
		if c := published.Header.Computed; c.Expanded > 0 || c.Alias && on {
			p.schedules.aliases.Add(name, time.Now())
		}
	}
}

// followAliases reads zones again whose ALIAS records PowerDNS expands.
func (p *Primary) followAliases(ctx context.Context) error {
	if !p.index.AwaitComplete(ctx) {
		return nil
	}
	p.scheduleAllAliases()
	pace := time.NewTicker(aliasPace)
	defer pace.Stop()
	p.schedules.aliases.WhenDue(ctx, p.schedules.aliases.TakeAway, func(name zone.Name) {
		select {
		case <-ctx.Done():
		case <-pace.C:
			p.jobs.Add(ctx, name, aliasJob())
		}
	})
	return nil
}
