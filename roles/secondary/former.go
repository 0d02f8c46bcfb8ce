package secondary

import (
	"context"
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

// check returns an error while PowerDNS has a newer version of a zone that was just made ours than the one that is to
// be taken: the master that it had before was faster, and what is published follows. It does not wait for longer than
// formerPatience, because the serials of another master may have nothing to do with those of the primary.
func (f *formers) check(ctx context.Context, api *powerdns.Client, z *zone.Zone) error {
	info, err := api.Zone(ctx, z.Name())
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	since, known := f.since[z.Name()]
	if !zone.SerialNewer(info.Serial, z.Serial()) || known && time.Since(since) > formerPatience {
		delete(f.since, z.Name())
		return nil
	}
	if !known {
		f.since[z.Name()] = time.Now()
	}
	return fmt.Errorf("PowerDNS has serial %d of zone %s, from its former master or an earlier run, and %d is to replace it; "+
		"a newer one is awaited for %s", info.Serial, z.Name(), z.Serial(), formerPatience)
}
