package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pdns-distribute/powerdns/zone"
)

// stock is an inventory of n zones, changed by edit.
func stock(n int, edit func(map[zone.Name]*Entry)) *Inventory {
	entries := map[zone.Name]*Entry{}
	for k := range n {
		name := zone.MustParseName(fmt.Sprintf("z%d.example", k))
		entries[name] = &Entry{Zone: name, Version: versionOf(name, 1), Serial: 1}
	}
	if edit != nil {
		edit(entries)
	}
	i := &Inventory{}
	for _, e := range entries {
		i.Add(*e)
	}
	return i
}

func versionOf(name zone.Name, content byte) Version {
	return VersionOf(name, zone.Digest{content}, zone.StableDigest{content})
}

// by answers as a secondary does, over the wire, and counts bytes.
func by(i *Inventory, bytes *int) func(context.Context, Question) (Answer, error) {
	return func(_ context.Context, q Question) (a Answer, err error) {
		asked, err := json.Marshal(q)
		if err != nil {
			return a, err
		}
		var received Question
		if err := json.Unmarshal(asked, &received); err != nil {
			return a, err
		}
		answered, err := json.Marshal(i.Answer(received))
		if bytes != nil {
			*bytes += len(asked) + len(answered)
		}
		if err != nil {
			return a, err
		}
		return a, json.Unmarshal(answered, &a)
	}
}

// Where nothing differs one question and one answer are enough, of the same size whatever the number of zones.
func TestCompareInSync(t *testing.T) {
	for _, n := range []int{0, 1, 5000, 100_000} {
		bytes := 0
		found, err := Compare(t.Context(), Question{Check: "a check"}, stock(n, nil), by(stock(n, nil), &bytes))
		if err != nil || len(found.Differences) != 0 || found.Questions != 1 || found.Sum.Zones != n {
			t.Errorf("%d zones: %+v, %v", n, found, err)
		}
		if bytes > 1024 {
			t.Errorf("%d zones: %d bytes", n, bytes)
		}
	}
}

func TestCompareFinds(t *testing.T) {
	name := func(k int) zone.Name { return zone.MustParseName(fmt.Sprintf("z%d.example", k)) }
	has := stock(2000, func(e map[zone.Name]*Entry) {
		delete(e, name(17))
		e[name(18)].Version, e[name(18)].Serial = versionOf(name(18), 0), 0
		e[name(19)].Version = versionOf(name(19), 9)
		orphan := zone.MustParseName("orphan.example")
		e[orphan] = &Entry{Zone: orphan, Serial: 5}
	})
	found, err := Compare(t.Context(), Question{Check: "a check"}, stock(2000, nil), by(has, nil))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	for _, d := range found.Differences {
		kinds[d.Zone.String()] = d.Kind()
	}
	want := map[string]string{"z17.example.": Missing, "z18.example.": Stale, "z19.example.": Altered, "orphan.example.": Orphan}
	if !maps.Equal(kinds, want) || found.More || found.Questions > 1+1+4+4 {
		t.Errorf("%v after %d questions, want %v", kinds, found.Questions, want)
	}
	if counts := found.Count(); !slices.Equal(counts, []string{"1 altered", "1 missing", "1 orphan", "1 stale"}) {
		t.Errorf("%q", counts)
	}
}

// Two zones that have exchanged their contents differ.
func TestCompareExchanged(t *testing.T) {
	a, b := zone.MustParseName("a.example"), zone.MustParseName("b.example")
	want, has := &Inventory{}, &Inventory{}
	want.Add(Entry{Zone: a, Version: versionOf(a, 1)})
	want.Add(Entry{Zone: b, Version: versionOf(b, 2)})
	has.Add(Entry{Zone: a, Version: versionOf(a, 2)})
	has.Add(Entry{Zone: b, Version: versionOf(b, 1)})
	if found, err := Compare(t.Context(), Question{Check: "a check"}, want, by(has, nil)); err != nil || len(found.Differences) != 2 {
		t.Errorf("%+v, %v", found, err)
	}
}

// What is found at once is bounded; what was repaired lets the next comparison find the rest.
func TestCompareIsBounded(t *testing.T) {
	found, err := Compare(t.Context(), Question{Check: "a check"}, stock(20_000, nil), by(&Inventory{}, nil))
	if err != nil || !found.More || len(found.Differences) < MaxDifferences || len(found.Differences) > MaxDifferences+100 {
		t.Errorf("%d differences, more: %v, %v", len(found.Differences), found.More, err)
	}
}

// A secondary that answers nonsense is an error, never a difference.
func TestCompareDoubts(t *testing.T) {
	for what, answer := range map[string]Answer{
		"nothing": {}, "a fault": {Fault: "away"}, "too many sums": {Sums: make([]Sum, 65)}, "too few": {Sums: make([]Sum, 2)},
	} {
		found, err := Compare(t.Context(), Question{Check: "a check"}, stock(10, nil), func(context.Context, Question) (Answer, error) { return answer, nil })
		if err == nil || len(found.Differences) > 0 {
			t.Errorf("%s: %+v, %v", what, found, err)
		}
	}
	gone := errors.New("gone")
	if _, err := Compare(t.Context(), Question{Check: "a check"}, stock(10, nil), func(context.Context, Question) (Answer, error) { return Answer{}, gone }); !errors.Is(err, gone) {
		t.Error(err)
	}
}

// Any two inventories: what is found is what differs.
func TestCompareAtRandom(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		differs := map[zone.Name]bool{}
		has := stock(300, func(e map[zone.Name]*Entry) {
			for _, name := range slices.Sorted(maps.Keys(e)) {
				switch r.IntN(20) {
				case 0:
					delete(e, name)
					differs[name] = true
				case 1:
					e[name].Version = versionOf(name, byte(2+r.IntN(200)))
					differs[name] = true
				}
			}
		})
		found, err := Compare(t.Context(), Question{Check: "a check"}, stock(300, nil), by(has, nil))
		if err != nil {
			t.Fatal(err)
		}
		got := map[zone.Name]bool{}
		for _, d := range found.Differences {
			got[d.Zone] = true
		}
		if !maps.Equal(got, differs) {
			t.Fatalf("seed %d: found %v, want %v", seed, got, differs)
		}
	}
}

// Whatever a question or an answer holds, it is answered, or refused.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"check":"c","depth":3,"part":4095,"zones":[{"zone":"a.example.","version":"00112233445566778899aabbccddeeff","serial":1}]}`))
	f.Add([]byte(`{"depth":-1,"part":99999999,"sums":[{"zones":-1,"xor":"zz"}]}`))
	has, want := stock(100, nil), stock(101, nil)
	f.Fuzz(func(t *testing.T, text []byte) {
		var q Question
		if json.Unmarshal(text, &q) == nil {
			if a := has.Answer(q); a.Fault == "" && len(a.Sums) == 0 && q.Depth != depthZones {
				t.Errorf("%s: no answer and no fault", text)
			}
		}
		var a Answer
		if json.Unmarshal(text, &a) == nil {
			_, _ = Compare(t.Context(), Question{Check: "c"}, want, func(context.Context, Question) (Answer, error) { return a, nil })
		}
	})
}

// Who announces what was compared does so at once when that is another thing than before; counts alone are none.
func TestSameFaults(t *testing.T) {
	one := func(change func(*Compared)) *Compared {
		c := &Compared{At: time.Unix(1, 0), Sources: 4, Nodes: 2, Zones: 7, Differ: []string{"ns1: own copy"}}
		change(c)
		return c
	}
	same := one(func(*Compared) {})
	for what, c := range map[string]struct {
		with *Compared
		want bool
	}{
		"the same":          {one(func(*Compared) {}), true},
		"later, more zones": {one(func(c *Compared) { c.At, c.Zones, c.OnWay = time.Unix(9, 0), 8, 1 }), true},
		"a node less":       {one(func(c *Compared) { c.Nodes-- }), false},
		"nothing differs":   {one(func(c *Compared) { c.Differ = nil }), false},
		"one unanswered":    {one(func(c *Compared) { c.Unanswered = []string{"ns2"} }), false},
		"none":              {nil, false},
	} {
		if same.SameFaults(c.with) != c.want || c.with.SameFaults(same) != c.want {
			t.Errorf("%s: not %v", what, c.want)
		}
	}
}
