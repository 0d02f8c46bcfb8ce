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

// formerPatience is how long a version that is newer than the published one keeps a zone from being taken over.
const formerPatience = 5 * time.Second

// formers are zones that PowerDNS has from elsewhere, mostly from the master that it had before, and not from here yet.
// It is safe for concurrent use.
type formers struct {
	mu sync.Mutex

	// Under mu.
	refused map[zone.Name]time.Time // since when PowerDNS is refused an older version, zero if it is not
}

func newFormers() *formers { return &formers{refused: map[zone.Name]time.Time{}} }

func (f *formers) add(name zone.Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, is := f.refused[name]; !is {
		f.refused[name] = time.Time{}
	}
}

func (f *formers) drop(name zone.Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.refused, name)
}

func (f *formers) has(name zone.Name) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, is := f.refused[name]
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
	since := f.refused[z.Name()]
	isNewer := serial != 0 && zone.SerialNewer(serial, z.Serial())
	if !isNewer || !since.IsZero() && time.Since(since) > formerPatience {
		delete(f.refused, z.Name())
		return nil
	}
	if since.IsZero() {
		f.refused[z.Name()] = time.Now()
	}
	return fmt.Errorf("%w: zone %s, serial %d and not %d, from its former master; after %s the published one replaces it",
		errOlder, z.Name(), serial, z.Serial(), formerPatience)
}
