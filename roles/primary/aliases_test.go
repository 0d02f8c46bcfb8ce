package primary

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
)

// What a resolver fails to find takes no addresses off the net for a day, unless somebody changed the zone, or orders
// it.
func TestAddressesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Primary{source: &source{expansion: newExpansion(time.Minute)}}
		name := zone.MustParseName("example.org")
		published := func(stored uint32, unresolved int) index.Published {
			return index.Published{Seq: 1, Header: broker.StateHeader{
				Kind: broker.KindZone, Stored: stored, Computed: zone.Computed{Expanded: 2, Unresolved: unresolved},
			}}
		}
		now := reading{stored: 5, computed: zone.Computed{Expanded: 2, Unresolved: 1}}
		touched := job{msg: &broker.TouchMsg{}}
		want := func(what string, before index.Published, j job, keep, lagging bool) {
			t.Helper()
			is, err := p.keepsAddresses(name, now, before, j)
			if is != keep || errors.Is(err, errLagging) != lagging || err != nil && !lagging {
				t.Errorf("%s: %v, %v", what, is, err)
			}
		}
		want("was published so", published(5, 1), aliasJob(), false, false)
		want("nothing is published", index.Published{}, aliasJob(), false, false)
		want("addresses are missing", published(5, 0), aliasJob(), true, false)
		if found := p.source.expansion.keeping(); found.Zones != 1 || found.First != name {
			t.Errorf("kept are %+v", found)
		}
		want("ordered", published(5, 0), job{msg: touched.msg, again: broker.ToAll}, false, false)
		if found := p.source.expansion.keeping(); found.Zones != 0 {
			t.Errorf("kept are %+v", found)
		}
		want("scrubbed", published(5, 0), scrubJob(), true, false)
		time.Sleep(keepPatience - time.Second)
		want("within a day", published(5, 0), aliasJob(), true, false)
		time.Sleep(time.Second)
		want("after a day", published(5, 0), aliasJob(), false, false)

		want("changed by hand", published(4, 0), sweepJob(), false, true)
		want("touched", published(5, 0), touched, false, true)
		time.Sleep(lagPatience)
		want("touched a while ago", published(5, 0), touched, false, false)
	})
}

func TestPauseOfAliases(t *testing.T) {
	e := newExpansion(time.Minute)
	for _, test := range []struct {
		ttls []time.Duration
		took time.Duration
		want time.Duration
	}{
		{[]time.Duration{time.Second}, 0, time.Minute},
		{[]time.Duration{time.Hour, 2 * time.Minute}, 0, 2 * time.Minute},
		{[]time.Duration{time.Hour}, 0, 5 * time.Minute},
		{[]time.Duration{time.Hour}, 30 * time.Second, 10 * time.Minute},
	} {
		var aliases []powerdns.Alias
		for _, ttl := range test.ttls {
			aliases = append(aliases, powerdns.Alias{TTL: ttl})
		}
		if got := e.pause(aliases, test.took); got != test.want {
			t.Errorf("%v: %s, want %s", test.ttls, got, test.want)
		}
	}
}
