package roles

import (
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
)

// A broker that counts in a strange way cannot pass a later state for an older one, where the primary's key says when each
// was published.
func TestOutdated(t *testing.T) {
	const far = 1 << 61
	trusted := []zone.TrustedKey{{}}
	for what, test := range map[string]struct {
		trusted   []zone.TrustedKey
		held, seq uint64
		after     time.Duration // the state that comes was published after the one that is held
		want      bool
	}{
		"next":                  {trusted, 7, 8, time.Second, false},
		"delivered late":        {trusted, 8, 7, -time.Second, true},
		"delivered again":       {trusted, 8, 8, 0, false},
		"held under a far one":  {trusted, far, 8, time.Second, false},
		"played back":           {trusted, 7, 8, -time.Second, false}, // that it is older is checked elsewhere, and told
		"unsigned, next":        {nil, 7, 8, time.Second, false},
		"unsigned, late":        {nil, 8, 7, -time.Second, true},
		"unsigned, broker back": {nil, 8, 7, time.Second, false}, // to an earlier copy of its store
	} {
		published := func(at time.Time, seq uint64) broker.FeedMsg {
			return broker.FeedMsg{StateMsg: broker.StateMsg{Zone: zoneOf(1), Seq: seq, Header: broker.StateHeader{Published: at}}}
		}
		s := &Secondary{held: map[zone.Name]holding{}, trusted: test.trusted}
		told := noon
		if test.held == far {
			told = noon.AddDate(100, 0, 0)
		}
		s.served(zone.NewTombstone(zoneOf(1), noon), published(told, test.held).Place())
		m := published(noon.Add(test.after), test.seq)
		if got := s.outdated(zone.NewTombstone(zoneOf(1), noon.Add(test.after)), &m); got != test.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}
