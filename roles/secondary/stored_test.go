package secondary

import (
	"path/filepath"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/roletest"
	"slices"
	"testing"
	"time"
)

// A state that says the same does not replace one whose chunks the store has where it is packed otherwise: its own
// chunks are not there. When it was published is remembered all the same, and does not go back.
func TestRepublished(t *testing.T) {
	_, z := roletest.LargeZone(t)
	opened, err := store.Open(filepath.Join(t.TempDir(), "state", "zones.db"))
	must.OK(t, err)
	defer opened.Close()
	s := &Secondary{store: opened}

	state, contents := zone.NewState(z, 1, roletest.Noon)
	chunks := map[zone.Chunk][]byte{}
	for i, c := range state.Chunks() {
		chunks[c] = contents[i]
	}
	must.OK(t, opened.Put(state, z, chunks))
	alike, _ := zone.NewState(z, 1, roletest.Noon.Add(time.Second))
	otherwise, _ := zone.NewState(z, 1, roletest.Noon.Add(2*time.Second))
	encoded, err := otherwise.MarshalBinary()
	must.OK(t, err)
	encoded[len(encoded)-1] ^= 1 // of the last chunk's hash
	otherwise, err = zone.UnmarshalState(encoded)
	must.OK(t, err)

	for step, test := range []struct{ published, dated *zone.State }{{alike, alike}, {otherwise, otherwise}, {alike, otherwise}} {
		must.OK(t, s.republished(test.published, z))
		held, err := opened.State(z.Name())
		must.OK(t, err)
		if !slices.Equal(held.Chunks(), alike.Chunks()) || !held.Published.Equal(test.dated.Published) {
			t.Errorf("step %d: the store has the state of %s", step, held.Published)
		}
		again, err := opened.Zone(z.Name())
		if err != nil || again.Digest() != z.Digest() {
			t.Errorf("step %d: its content is lost: %v", step, err)
		}
		newest, err := opened.Newest(z.Name())
		if want := test.dated.Published; err != nil || !newest.Equal(want) {
			t.Errorf("step %d: the newest known is of %s, want %s, %v", step, newest, want, err)
		}
	}
}
