package secondary

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
)

const (
	// formerPatience is how long a version that is newer than the published one keeps that out.
	formerPatience = 5 * time.Second

	// formerLinger is how long PowerDNS may still transfer a zone from its former master: it notes the master with the
	// order, which waits for its turn (4.7.3).
	formerLinger = time.Minute
)

// formers are the zones that PowerDNS had from elsewhere a moment ago, mostly from the master that it had before. It is
// safe for concurrent use.
type formers struct {
	mu sync.Mutex

	// Under mu.
	zones map[zone.Name]former
}

type former struct {
	until   time.Time
	refused time.Time // since when PowerDNS is refused an older version, zero if it is not
}

func newFormers() *formers { return &formers{zones: map[zone.Name]former{}} }

func (f *formers) add(name zone.Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.zones[name] = former{time.Now().Add(formerLinger), f.zones[name].refused}
}

func (f *formers) drop(name zone.Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.zones, name)
}

func (f *formers) has(name zone.Name) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was, is := f.zones[name]
	if is && time.Now().After(was.until) {
		delete(f.zones, name)
		return false
	}
	return is
}

// errOlder means that PowerDNS would go back to an older version of a zone.
var errOlder = errors.New("PowerDNS has a newer version than the published one")

// check asks PowerDNS for the zone, and judges.
func (f *formers) check(ctx context.Context, api *powerdns.Client, z *zone.Zone) error {
	info, err := api.Zone(ctx, z.Name())
	if err != nil {
		return err
	}
	return f.judge(info.Serial, z)
}

// judge returns errOlder while PowerDNS has a newer version, its serial, than z: the former master was faster, and what
// is published follows. That ends after formerPatience, because serials of another master may have nothing to do with
// those of the primary.
func (f *formers) judge(serial uint32, z *zone.Zone) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.zones[z.Name()]
	switch isNewer := serial != 0 && zone.SerialNewer(serial, z.Serial()); {
	case !isNewer:
		f.zones[z.Name()] = former{until: was.until}
		return nil
	case was.refused.IsZero():
		was.refused = time.Now()
		f.zones[z.Name()] = was
	case time.Since(was.refused) > formerPatience:
		delete(f.zones, z.Name())
		return nil
	}
	return fmt.Errorf("%w: zone %s, serial %d and not %d, from its former master; after %s the published one replaces it",
		errOlder, z.Name(), serial, z.Serial(), formerPatience)
}
