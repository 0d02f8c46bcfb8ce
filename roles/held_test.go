package roles

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/store"
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

// A state that says the same does not replace one whose chunks the store has where it is packed otherwise: its own chunks are
// not there. That it was published is remembered all the same.
func TestRepublished(t *testing.T) {
	_, z := largeZone(t)
	opened, err := store.Open(filepath.Join(t.TempDir(), "state", "zones.db"))
	must(t, err)
	defer opened.Close()
	s := &Secondary{store: opened}

	state, contents := zone.NewState(z, 1, noon)
	chunks := map[zone.Chunk][]byte{}
	for i, c := range state.Chunks() {
		chunks[c] = contents[i]
	}
	must(t, opened.Put(state, z, chunks, false))
	alike, _ := zone.NewState(z, 1, noon.Add(time.Second))
	otherwise, _ := zone.NewState(z, 1, noon.Add(2*time.Second))
	encoded, err := otherwise.MarshalBinary()
	must(t, err)
	encoded[len(encoded)-1] ^= 1 // of the last chunk's hash
	otherwise, err = zone.UnmarshalState(encoded)
	must(t, err)

	for step, test := range []struct{ published, kept *zone.State }{{alike, alike}, {otherwise, alike}, {alike, alike}} {
		must(t, s.republished(test.published, z))
		held, err := opened.State(z.Name())
		must(t, err)
		if !slices.Equal(held.Chunks(), test.kept.Chunks()) || !held.Published.Equal(test.kept.Published) {
			t.Errorf("step %d: the store has the state of %s", step, held.Published)
		}
		again, err := opened.Zone(z.Name())
		if err != nil || again.Digest() != z.Digest() {
			t.Errorf("step %d: its content is lost: %v", step, err)
		}
		newest, err := opened.Newest(z.Name())
		if want := []*zone.State{alike, otherwise, otherwise}[step].Published; err != nil || !newest.Equal(want) {
			t.Errorf("step %d: the newest known is of %s, want %s, %v", step, newest, want, err)
		}
	}
}
