package index

import (
	"context"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/roles/roletest"
)

func TestIndexKeepsTheNewest(t *testing.T) {
	x, name := New(), roletest.Named("a")
	zoneOf := func(serial uint32) broker.StateHeader {
		return broker.StateHeader{Kind: broker.KindZone, Serial: serial}
	}
	want := func(seq uint64, serial uint32, published, existing int) {
		t.Helper()
		p := x.Get(name)
		if p.Seq != seq || p.Header.Serial != serial || x.Count() != published || len(x.Existing()) != existing {
			t.Errorf("%+v, %d published, %d exist; want sequence %d, serial %d, %d, %d", p, x.Count(), len(x.Existing()), seq, serial, published, existing)
		}
	}
	want(0, 0, 0, 0)
	x.Set(name, 7, zoneOf(70))
	x.Set(name, 6, zoneOf(60)) // late
	want(7, 70, 1, 1)
	x.Replace(name, 5, zoneOf(50)) // what the broker says now
	want(5, 50, 1, 1)
	x.Set(name, 8, broker.StateHeader{Kind: broker.KindGone, Serial: 80})
	want(8, 80, 0, 0)
	x.Set(name, 9, zoneOf(90))
	x.Reset() // secondaries still have it, and how new it was is not forgotten
	want(0, 90, 0, 1)
	x.Set(name, 1, zoneOf(91)) // sequences begin anew
	want(1, 91, 1, 1)
}

// Zones that were deleted are forgotten when their tombstones are, and those that are there never.
func TestIndexForgetsTombstones(t *testing.T) {
	x := New()
	x.Set(roletest.Named("there"), 1, broker.StateHeader{Kind: broker.KindZone, Published: roletest.Noon})
	x.Set(roletest.Named("gone"), 2, broker.StateHeader{Kind: broker.KindGone, Published: roletest.Noon})
	for _, test := range []struct {
		before     time.Time
		tombstones int
	}{{roletest.Noon, 1}, {roletest.Noon.Add(time.Second), 0}} {
		x.Reset()
		x.Forget(test.before)
		if x.Get(roletest.Named("there")).Header.Kind != broker.KindZone || len(x.LostTombstones()) != test.tombstones {
			t.Errorf("before %s: %d tombstones are known, want %d", test.before, len(x.LostTombstones()), test.tombstones)
		}
	}
}

// What PowerDNS was not seen to have was not seen, whatever the broker says of it.
func TestIndexKeepsWhatWasSeen(t *testing.T) {
	x, name := New(), roletest.Named("a")
	there, gone := broker.StateHeader{Kind: broker.KindZone}, broker.StateHeader{Kind: broker.KindGone}
	for step, test := range []struct {
		do   func()
		seen bool
	}{
		{func() { x.Saw(name) }, false}, // it is not published
		{func() { x.Set(name, 1, there) }, false},
		{func() { x.Saw(name) }, true},
		{func() { x.Set(name, 2, there) }, true},
		{func() { x.Replace(name, 3, there) }, true},
		{func() { x.Reset() }, true},
		{func() { x.Set(name, 1, gone) }, false},
		{func() { x.Saw(name) }, false}, // a listing that is older than its deletion
		{func() { x.Set(name, 2, there) }, false},
		{func() { x.Saw(name) }, true},
	} {
		if test.do(); x.Get(name).Seen != test.seen {
			t.Errorf("step %d: seen is %v", step, !test.seen)
		}
	}
}

// Asking the broker for a zone that nobody has heard of leaves nothing behind.
func TestIndexForgetsStrangers(t *testing.T) {
	x := New()
	x.Replace(roletest.Named("a"), 0, x.Get(roletest.Named("a")).Header)
	if len(x.zones) != 0 || !x.Get(roletest.Named("a")).Unheard() {
		t.Errorf("%d are known", len(x.zones))
	}
	x.Set(roletest.Named("a"), 1, broker.StateHeader{Kind: broker.KindGone})
	x.Replace(roletest.Named("a"), 0, x.Get(roletest.Named("a")).Header)
	if p := x.Get(roletest.Named("a")); !p.TombstoneLost() {
		t.Errorf("the deletion is forgotten: %+v", p)
	}
}

func TestPublishedTimesOnlyGrow(t *testing.T) {
	before := Published{Header: broker.StateHeader{Published: roletest.Noon}}
	for what, test := range map[string]struct{ now, want time.Time }{
		"later":          {roletest.Noon.Add(time.Second), roletest.Noon.Add(time.Second)},
		"at once":        {roletest.Noon, roletest.Noon.Add(time.Millisecond)},
		"within the ms":  {roletest.Noon.Add(time.Microsecond), roletest.Noon.Add(time.Millisecond)},
		"clock set back": {roletest.Noon.Add(-time.Hour), roletest.Noon.Add(time.Millisecond)},
	} {
		if got := before.After(test.now); !got.Equal(test.want) {
			t.Errorf("%s: %s, want %s", what, got, test.want)
		}
	}
	if got := (Published{}).After(roletest.Noon); !got.Equal(roletest.Noon) {
		t.Errorf("the first: %s, want %s", got, roletest.Noon)
	}
}

// Whoever waits for the index to be complete goes on at the first time; that the broker lost its states is said once.
func TestIndexIsComplete(t *testing.T) {
	x := New()
	ended, end := context.WithCancel(t.Context())
	if end(); x.AwaitComplete(ended) || x.Complete() {
		t.Error("complete before anything is known")
	}
	want := func(step string, lost bool) {
		t.Helper()
		if is := x.CaughtUp(); is != lost || !x.Complete() || !x.AwaitComplete(t.Context()) {
			t.Errorf("%s: lost before: %v, complete: %v", step, is, x.Complete())
		}
	}
	want("first", false)
	x.Reset()
	if x.Complete() || !x.AwaitComplete(t.Context()) {
		t.Error("complete after the broker lost its states, or it never was")
	}
	want("after a loss", true)
	want("at the next connection", false)
}

func TestFirstEnd(t *testing.T) {
	x, now := New(), time.Unix(1_800_000_000, 0)
	if at := x.FirstEnd(now); !at.IsZero() {
		t.Errorf("%s, of no zone", at)
	}
	for i, left := range []time.Duration{5 * time.Hour, 3 * time.Hour, 4 * time.Hour} {
		header := broker.StateHeader{Kind: broker.KindZone, Expires: uint32(now.Add(left).Unix())}
		x.Set(roletest.Numbered(i), uint64(i+1), header)
	}
	x.Set(roletest.Named("unsigned"), 9, broker.StateHeader{Kind: broker.KindZone})
	if at := x.FirstEnd(now); !at.Equal(now.Add(3 * time.Hour)) {
		t.Errorf("%s", at)
	}
	x.Set(roletest.Numbered(1), 10, broker.StateHeader{Kind: broker.KindGone})
	if at := x.FirstEnd(now); !at.Equal(now.Add(4 * time.Hour)) {
		t.Errorf("%s, though that zone is gone", at)
	}
}
