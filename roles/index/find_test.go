package index

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
)

func filled(t testing.TB, names ...string) *Index {
	t.Helper()
	x := New()
	for i, name := range names {
		x.Set(zone.MustParseName(name), uint64(i+1), broker.StateHeader{Kind: broker.KindZone})
	}
	return x
}

func TestFind(t *testing.T) {
	x := filled(t, "example.org", "example.com", "shop.example", "b.example", "0/25.2.0.192.in-addr.arpa", "ex")
	set := func(name, kind string) {
		x.Set(zone.MustParseName(name), x.Newest()+1, broker.StateHeader{Kind: kind})
	}
	for _, test := range []struct {
		do    func()
		text  string
		most  int
		want  []string
		count int
	}{
		{nil, "example", 9, []string{"example.com.", "example.org.", "b.example.", "shop.example."}, 4},
		{nil, "EXAMPLE.", 9, []string{"example.com.", "example.org.", "b.example.", "shop.example."}, 4},
		{nil, "Example.Org.", 9, []string{"example.org."}, 1},
		{nil, "org.", 9, []string{"example.org."}, 1},
		{nil, "ample.org", 9, []string{"example.org."}, 1},
		{nil, "example", 3, []string{"example.com.", "example.org.", "b.example."}, 4},
		{nil, "/25.2", 9, []string{"0/25.2.0.192.in-addr.arpa."}, 1},
		{nil, "b.e", 9, []string{"b.example."}, 1},
		{nil, "", 2, []string{"0/25.2.0.192.in-addr.arpa.", "b.example."}, 6},
		{nil, "zzz", 9, nil, 0},
		{nil, "\n", 9, nil, 0},
		{func() { set("aaa.example", broker.KindZone); set("zz.example", broker.KindZone) }, "example", 9,
			[]string{"example.com.", "example.org.", "aaa.example.", "b.example.", "shop.example.", "zz.example."}, 6},
		{func() { set("b.example", broker.KindGone) }, "b.e", 9, nil, 0},
		{func() { set("b.example", broker.KindZone) }, "b.e", 9, []string{"b.example."}, 1},
		{func() { x.Replace(zone.MustParseName("ex"), 0, broker.StateHeader{}) }, "ex", 1, []string{"example.com."}, 6},
		{func() { x.Reset() }, "b.e", 9, []string{"b.example."}, 1}, // secondaries still have them
	} {
		if test.do != nil {
			test.do()
		}
		var got []string
		f := x.Find(test.text, test.most)
		for _, name := range f.Zones {
			got = append(got, name.String())
		}
		if !slices.Equal(got, test.want) || f.Count != test.count || f.Total != x.Remembered() {
			t.Errorf("%q: %q, %d of %d; want %q, %d of %d", test.text, got, f.Count, f.Total, test.want, test.count, x.Remembered())
		}
	}
}

func TestFindInNothing(t *testing.T) {
	if f := New().Find("a", 9); f.Count != 0 || f.Total != 0 || len(f.Zones) != 0 {
		t.Errorf("%+v", f)
	}
}

// More hits than anybody reads are not counted.
func TestFindCountsNotAll(t *testing.T) {
	var names []string
	for i := range MaxCount + 5 {
		names = append(names, fmt.Sprintf("z%d.example", i))
	}
	if f := filled(t, names...).Find("exam", 7); f.Count != MaxCount || len(f.Zones) != 7 {
		t.Errorf("%d, %d", f.Count, len(f.Zones))
	}
}

// TestFindMillion measures the search: FIND=1 go test -run TestFindMillion -v ./roles/index
func TestFindMillion(t *testing.T) {
	if os.Getenv("FIND") == "" {
		t.Skip("a measurement: FIND=1")
	}
	x := New()
	for i := range 1_000_000 {
		name := zone.MustParseName(fmt.Sprintf("customer-%06d.shop%d.example", i*7%1_000_000, i%1000))
		x.Set(name, uint64(i+1), broker.StateHeader{Kind: broker.KindZone})
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc >> 20
	}
	before := heap()
	for _, text := range []string{"customer-000001", "customer", "123456", "shop77.", "no such", "e", "999999.shop"} {
		begin := time.Now()
		f := x.Find(text, 50)
		t.Logf("%-20q %5d hits in %s", text, f.Count, time.Since(begin).Round(10*time.Microsecond))
	}
	x.Set(zone.MustParseName("new.example"), 2_000_000, broker.StateHeader{Kind: broker.KindZone})
	begin := time.Now()
	f := x.Find("new.ex", 50)
	t.Logf("after a new zone     %5d hits in %s", f.Count, time.Since(begin).Round(10*time.Microsecond))
	t.Logf("heap: %d MB before, %d MB with names to search in", before, heap())
	runtime.KeepAlive(x)
}
