package secondary

import (
	"slices"
	"testing"
	"time"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/roletest"
)

// Zones of others are shown when nobody takes them over, and not before: during a migration all of them are foreign
// first.
func TestForeignZonesAreShownLate(t *testing.T) {
	a, b, c := roletest.Numbered(1), roletest.Numbered(2), roletest.Numbered(3)
	names := func(list ...zone.Name) []zone.Name { return list }
	f := foreign{patience: 3 * time.Minute}
	at := func(minutes int) time.Time { return roletest.Noon.Add(time.Duration(minutes) * time.Minute) }
	for _, review := range []struct {
		minute  int
		foreign []zone.Name
		known   []zone.Name
		want    []zone.Name
	}{
		{0, names(a, b, c), nil, nil},
		{2, names(a, b, c), nil, nil},
		{3, names(a, b, c), nil, names(a, b, c)},
		{4, names(b, c), names(a), nil}, // one is taken over, so others may be
		{6, names(b, c), names(a), nil},
		{7, names(b, c), names(a), names(b, c)},
		{8, names(c), names(a), names(c)}, // deleted by hand
		{9, names(a, c), nil, names(c)},   // given back to its former master
		{12, names(a, c), nil, names(a, c)},
	} {
		known := map[zone.Name]bool{}
		for _, name := range review.known {
			known[name] = true
		}
		f.review(review.foreign, known, at(review.minute))
		if got := f.unclaimed(at(review.minute), at(-60)); !slices.Equal(got, review.want) {
			t.Errorf("after %d minutes %v are shown, want %v", review.minute, got, review.want)
		}
		if got := f.unclaimed(at(review.minute), at(review.minute)); len(got) > 0 {
			t.Errorf("after %d minutes %v are shown, though the feed was just opened", review.minute, got)
		}
	}
}
