package work

import (
	"context"
	"time"

	"pdns-distribute/powerdns/zone"
)

// Scrubs look at zones that nobody touched, one after the other and round and round, for what no serial shows: content
// that was changed in a database by hand, at the primary or at a secondary.

// scrubShare keeps a secondary's scrub below a twentieth of the time, whatever the rate: large zones take seconds. At a
// primary the queue bounds background work.
const scrubShare = 20

// Scrub calls look for each of the zones in turn, at this rate a minute, until ctx ends. It asks for the zones at the
// begin of each round. A rate of 0 is none. It returns nil.
func Scrub(ctx context.Context, rate int, zones func() []zone.Name, look func(context.Context, zone.Name)) error {
	if rate == 0 {
		return nil
	}
	pause := time.Minute / time.Duration(rate)
	for ctx.Err() == nil {
		round := zones()
		if len(round) == 0 {
			Wait(ctx, pause)
		}
		for _, name := range round {
			begin := time.Now()
			look(ctx, name)
			if !Wait(ctx, max(pause, scrubShare*time.Since(begin))) {
				break
			}
		}
	}
	return nil
}
