package zone

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var ledgerNoon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// version is one of the n-th zone, that many milliseconds after noon.
func version(n int, ms int64) Version {
	return Version{
		Name: MustParseName(fmt.Sprintf("z%d.example", n)), Published: ledgerNoon.Add(time.Duration(ms) * time.Millisecond),
		Serial: uint32(ms), Stored: uint32(ms), Digest: fmt.Sprintf("%096x", ms), Stable: fmt.Sprintf("%064x", n),
	}
}

// expected are the sums by their definition.
func expected(versions []Version, asOf time.Time) (sums Sums) {
	current := map[Name]Version{}
	for _, v := range versions {
		if !v.Published.After(asOf) && v.Published.After(current[v.Name].Published) {
			current[v.Name] = v
		}
	}
	var buckets [Buckets]ltHash
	for name, v := range current {
		if !v.Gone && !v.Published.After(asOf.Add(-calm)) {
			buckets[Bucket(name)].add(new(expansion).of(v.element()))
		}
	}
	for i := range buckets {
		sums[i] = buckets[i].sum()
	}
	return sums
}

// Whatever the order in which versions come, and whenever, the sums are those of the versions as of a time.
func TestLedger(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		var versions []Version
		for range 300 {
			v := version(random.IntN(60), random.Int64N(60_000))
			if random.IntN(5) == 0 {
				v.Gone = true
			}
			same := func(o Version) bool { return o.Name == v.Name && o.Published.Equal(v.Published) }
			if !slices.ContainsFunc(versions, same) {
				versions = append(versions, v)
			}
		}
		slices.SortStableFunc(versions, func(a, b Version) int { return a.Published.Compare(b.Published) })
		l := NewLedger(ledgerNoon.Add(-time.Second))
		noted, asOf := 0, ledgerNoon
		for noted < len(versions) || asOf.Before(ledgerNoon.Add(80*time.Second)) {
			for range min(random.IntN(40), len(versions)-noted) { // some late, some ahead of the ledger
				l.Note(versions[noted], ledgerNoon.Add(time.Hour))
				noted++
			}
			asOf = asOf.Add(time.Duration(random.IntN(8000)) * time.Millisecond)
			l.Advance(asOf)
			got, at := l.Sums()
			if want := expected(versions[:noted], asOf); got != want || !at.Equal(asOf) {
				t.Fatalf("round %d, as of %s with %d versions: the sums differ", round, asOf, noted)
			}
		}
		there := map[Name]bool{}
		for _, v := range versions {
			there[v.Name] = !v.Gone
		}
		n := 0
		for _, is := range there {
			n += present(!is)
		}
		if l.Zones() != n || len(l.coming) != 0 {
			t.Fatalf("round %d: %d zones, want %d; %d arrivals wait", round, l.Zones(), n, len(l.coming))
		}
	}
}

// A zone that changes all the time does not count, at whichever of its versions a secondary has skipped others.
func TestLedgerSkipsTheBusy(t *testing.T) {
	all, some := NewLedger(ledgerNoon), NewLedger(ledgerNoon)
	for ms := int64(1); ms < 60_000; ms += 100 {
		now := ledgerNoon.Add(time.Duration(ms) * time.Millisecond)
		all.Note(version(1, ms), now)
		if ms%700 == 1 {
			some.Note(version(1, ms), now)
		}
		if ms < 2000 {
			continue
		}
		asOf := now.Add(-time.Second)
		all.Advance(asOf)
		some.Advance(asOf)
		a, _ := all.Sums()
		if b, _ := some.Sums(); a != b || a != expected(nil, asOf) {
			t.Fatalf("they differ as of %s", asOf)
		}
	}
}

func TestLedgerIsNotTakenBack(t *testing.T) {
	l := NewLedger(ledgerNoon.Add(time.Minute))
	now := ledgerNoon.Add(2 * time.Minute)
	if !l.Note(version(1, 2000), now) {
		t.Error("a version from before the ledger's time is not late")
	}
	want, _ := l.Sums()
	if l.Note(version(1, 1000), now) {
		t.Error("an older version was taken")
	}
	l.Forget(version(1, 0).Name) // it is there
	if got, _ := l.Sums(); got != want || l.Zones() != 1 {
		t.Error("an older version took the newer one's place")
	}
	gone := version(1, 3000)
	gone.Gone = true
	l.Note(gone, now)
	if got, _ := l.Sums(); got != expected(nil, now) || l.Zones() != 0 {
		t.Error("a deleted zone still counts")
	}
	l.Note(version(1, 2500), now)
	if got, _ := l.Sums(); got != expected(nil, now) || l.Zones() != 0 {
		t.Error("a zone came back with a version from before its deletion")
	}
	l.Forget(gone.Name)
	l.Note(version(1, 2600), now)
	if l.Zones() != 1 {
		t.Error("a tombstone was not forgotten")
	}
}

// What is dated ahead counts from when it was there: else nobody would see that it is withheld.
func TestLedgerDatedAhead(t *testing.T) {
	v, now := version(1, 0), ledgerNoon.Add(time.Minute)
	v.Published = now.Add(time.Hour)
	var want ltHash
	want.add(new(expansion).of(v.element()))
	for asOf, counts := range map[time.Time]bool{now.Add(calm - time.Millisecond): false, now.Add(calm): true} {
		l := NewLedger(ledgerNoon)
		l.Note(v, now)
		l.Advance(asOf)
		if got, _ := l.Sums(); (got[Bucket(v.Name)] == want.sum()) != counts {
			t.Errorf("as of %s it counts: %v, want %v", asOf, !counts, counts)
		}
	}
}

// Every field of a version tells.
func TestElement(t *testing.T) {
	v := version(1, 1)
	seen := map[Element]string{v.element(): "itself"}
	for what, alter := range map[string]func(*Version){
		"name":   func(v *Version) { v.Name = MustParseName("other.example") },
		"time":   func(v *Version) { v.Published = v.Published.Add(time.Millisecond) },
		"serial": func(v *Version) { v.Serial++ },
		"stored": func(v *Version) { v.Stored++ },
		"expiry": func(v *Version) { v.Expires++ },
		"digest": func(v *Version) { v.Digest = "00" + v.Digest[2:] + "1" },
		"stable": func(v *Version) { v.Stable = "" },
		"moved":  func(v *Version) { v.Digest, v.Stable = v.Digest+v.Stable[:1], v.Stable[1:] },
	} {
		other := version(1, 1)
		alter(&other)
		if before, is := seen[other.element()]; is {
			t.Errorf("%s: the element is that of %s", what, before)
		}
		seen[other.element()] = what
	}
}

// A sum does not know the order, and what was taken out leaves nothing.
func TestLtHash(t *testing.T) {
	var a, b ltHash
	elements := make([]*expansion, 100)
	for i := range elements {
		elements[i] = new(expansion).of(version(i, 1).element())
		a.add(elements[i])
	}
	for _, i := range rand.Perm(len(elements)) {
		b.add(elements[i])
	}
	if a != b {
		t.Error("the order counts")
	}
	twice := a
	twice.add(elements[0])
	twice.add(elements[0])
	if twice == a {
		t.Error("an element that is there three times is there once")
	}
	for _, i := range rand.Perm(len(elements)) {
		a.remove(elements[i])
	}
	if a != (ltHash{}) {
		t.Error("something is left")
	}
}

func BenchmarkLedgerNote(b *testing.B) {
	l := NewLedger(ledgerNoon.Add(time.Hour))
	versions := make([]Version, 0, b.N)
	for i := range b.N {
		versions = append(versions, version(i, 1))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, v := range versions {
		l.Note(v, ledgerNoon)
	}
}

func BenchmarkLedgerSums(b *testing.B) {
	l := NewLedger(ledgerNoon.Add(time.Hour))
	for range b.N {
		for i := range l.stale {
			l.stale[i] = true
		}
		l.Sums()
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	key, err := NewSignKey()
	if err != nil {
		b.Fatal(err)
	}
	trusted := []TrustedKey{key.Public()}
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			key.SignCheckpoint(Checkpoint{At: ledgerNoon})
		}
	})
	data := key.SignCheckpoint(Checkpoint{At: ledgerNoon})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := VerifyCheckpoint(data, trusted); err != nil {
				b.Fatal(err)
			}
		}
	})
}
