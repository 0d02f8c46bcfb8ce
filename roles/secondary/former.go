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

// formers are the zones that PowerDNS has in a newer version than the published one, since when that is known. It is
// safe for concurrent use.
type formers struct {
	mu sync.Mutex

	// Under mu.
	since map[zone.Name]time.Time
}

func newFormers() *formers { return &formers{since: map[zone.Name]time.Time{}} }

// errOlder means that PowerDNS would go back to an older version of a zone.
var errOlder = errors.New("PowerDNS has a newer version than the published one")

// check returns errOlder while PowerDNS has a newer version than z of a zone that was not this role's: the master that
// it had until now was faster, and what is published follows. That ends after formerPatience, because serials of
// another master may have nothing to do with those of the primary.
func (f *formers) check(ctx context.Context, api *powerdns.Client, z *zone.Zone) error {
	info, err := api.Zone(ctx, z.Name())
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	since, known := f.since[z.Name()]
	if info.Serial == 0 || !zone.SerialNewer(info.Serial, z.Serial()) || known && time.Since(since) > formerPatience {
		delete(f.since, z.Name())
		return nil
	}
	if !known {
		f.since[z.Name()] = time.Now()
	}
	return fmt.Errorf("%w: zone %s, serial %d and not %d, from its former master; after %s the published one replaces it",
		errOlder, z.Name(), info.Serial, z.Serial(), formerPatience)
}
