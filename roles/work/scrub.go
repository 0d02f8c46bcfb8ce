package work

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/zone"
)

// Scrub looks at zones that nobody touched, one after the other and round and round, for what no serial shows: content
// that was changed in a database by hand, at the primary or at a secondary.
type Scrub struct {
	Period time.Duration                    // within which each zone is looked at; 0: none is
	Zones  func() []zone.Name               // asked at the begin of each round
	Look   func(context.Context, zone.Name) // looks at one
	Ended  func(at time.Time)               // called after each round
	Log    zerolog.Logger
}

const (
	// scrubPause lies between two zones where there is time enough: a fleet with few zones need not wait for the
	// whole period.
	scrubPause = time.Second

	// scrubShare keeps the scrub below a twentieth of the time where there is time enough: large zones take seconds.
	scrubShare = 20
)

// Run looks at zones until ctx ends. The first round begins with any of them, so that none is always the last one of a
// process that is started often. It returns nil.
func (s Scrub) Run(ctx context.Context) error {
	if s.Period == 0 {
		return nil
	}
	late := false
	for first := true; ctx.Err() == nil; first = false {
		zones := s.Zones()
		if len(zones) == 0 {
			Wait(ctx, scrubPause)
			continue
		}
		if at := rand.N(len(zones)); first {
			zones = slices.Concat(zones[at:], zones[:at])
		}
		begin := time.Now()
		if !s.round(ctx, zones, begin.Add(s.Period)) {
			return nil
		}
		took := time.Since(begin)
		if is := took > s.Period; is != late {
			late = is
			s.judge(late, took, len(zones))
		}
		s.Ended(time.Now())
	}
	return nil
}

// round reports whether it came to its end.
func (s Scrub) round(ctx context.Context, zones []zone.Name, end time.Time) bool {
	for i, name := range zones {
		begin := time.Now()
		s.Look(ctx, name)
		leisurely := max(scrubPause, scrubShare*time.Since(begin))
		due := time.Until(end) / time.Duration(len(zones)-i)
		if !Wait(ctx, min(leisurely, due)) {
			return false
		}
	}
	return true
}

// judge says that rounds begin to be late, or are in time again.
func (s Scrub) judge(late bool, took time.Duration, zones int) {
	if !late {
		s.Log.Info().Dur("took", took).Int("zones", zones).Msg("the scrub is in time again")
		return
	}
	s.Log.Warn().Dur("took", took).Dur("scrub_period", s.Period).Int("zones", zones).
		Msg("a round of the scrub takes longer than scrub_period: raise it, or look for what slows PowerDNS down")
}
