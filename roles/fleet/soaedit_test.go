package fleet_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// soaEdits are the settings of SOA-EDIT that hide edits from the serial, or signing, or move it all the time.
var soaEdits = []string{"", "NONE", "INCEPTION-INCREMENT", "INCEPTION-EPOCH", "INCREMENT-WEEKS", "EPOCH"}

// Whatever SOA-EDIT makes of the serial: edits through the proxy and behind it reach every secondary, and so do the
// signatures of each week.
func TestSOAEdit(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"dnssec.check_interval": "1s", "primary.sweep_interval": "1s", "primary.scrub_period": "0s"}})
	at := func(off time.Duration) {
		t.Helper()
		i.Primary.SetClock(off)
		must.OK(t, i.Primary.Restart(i.ctx))
	}
	at(-2 * week)
	var names []zone.Name
	for n, edit := range soaEdits {
		name := numbered("soaedit", n)
		s := signed(spec(name, text(name, "made")), "")
		s.SOAEdit = edit
		must.OK(t, i.api.CreateZoneWith(i.ctx, s))
		names = append(names, name)
	}
	for weeks := time.Duration(-2); weeks <= 0; weeks++ {
		if weeks > -2 {
			at(weeks * week)
		}
		i.eventually("signed this week", func(ctx context.Context) error { return i.signedFor(ctx, (weeks+1)*week-time.Hour, names...) })
		for _, value := range []string{"through the proxy", "through the proxy again"} {
			for _, name := range names {
				must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, fmt.Sprint(value, weeks))}))
			}
			i.eventually(value, func(ctx context.Context) error { return i.saying(ctx, fmt.Sprint(value, weeks), names...) })
		}
		value := fmt.Sprint("behind it", weeks)
		for _, name := range names {
			id := strings.TrimSuffix(name.String(), ".")
			sql(t, i.Primary, fmt.Sprintf(`UPDATE records SET content='"%s"' WHERE type='TXT' AND name='%s'`, value, id))
			pdnsutil(t, i.Primary, "increase-serial", id)
		}
		i.eventually("bypassing the proxy", func(ctx context.Context) error { return i.saying(ctx, value, names...) })
	}
	for _, name := range names {
		i.verify(name)
	}
	i.eventually("in no trouble", func(context.Context) error { return i.untroubled() })
}

// saying returns nil when every secondary has the zones with this text.
func (i *harness) saying(ctx context.Context, value string, names ...zone.Name) error {
	for _, s := range i.Secondaries {
		for _, name := range names {
			z, err := fetch(ctx, s.DNSAddr, name)
			if err != nil {
				return fmt.Errorf("%s: %w", s.ID, err)
			}
			records, _ := z.RRset(name, dns.TypeTXT)
			if len(records) != 1 || string(records[0].Data()[1:]) != value {
				return fmt.Errorf("%s: %s says %v, want %q", s.ID, name, records, value)
			}
		}
	}
	return nil
}

// untroubled returns nil when no role has a zone in trouble.
func (i *harness) untroubled() error {
	for _, id := range []string{fleet.Primary, "ns1", "ns2"} {
		if n := i.metric(id, "pdns_distribute_failing_zones"); n != 0 {
			return fmt.Errorf("%s has %v zones in trouble", id, n)
		}
	}
	return nil
}

// A serial that is the time of day is no reason to publish a zone: sweeps and scrubs pass it by, until there is news.
func TestSerialThatTicks(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"dnssec.check_interval": "1s", "primary.sweep_interval": "1s", "primary.scrub_period": "100ms"}})
	names := []zone.Name{numbered("ticking", 0), numbered("ticking", 1)}
	ticking, plain := spec(names[0], text(names[0], "1")), spec(names[1], text(names[1], "1"))
	ticking.SOAEdit, plain.SOAEdit = "EPOCH", "EPOCH"
	must.OK(t, i.api.CreateZoneWith(i.ctx, signed(ticking, "1 0 0 -")))
	must.OK(t, i.api.CreateZoneWith(i.ctx, plain))
	i.eventually("made", func(ctx context.Context) error { return i.saying(ctx, "1", names...) })

	broker := i.connect(fleet.Primary)
	sequences := func() (seqs []uint64) {
		for _, name := range names {
			state, err := broker.LastState(i.ctx, name)
			must.OK(t, err)
			seqs = append(seqs, state.Seq)
		}
		return seqs
	}
	before, serial := sequences(), i.serial(names[0])
	i.pass(3)
	if after := sequences(); !slices.Equal(before, after) {
		t.Errorf("published anew, %v became %v", before, after)
	}
	if now := i.serial(names[0]); now <= serial {
		t.Errorf("the serial is %d and was %d: it does not tick", now, serial)
	}
	for _, name := range names {
		sql(t, i.Primary, `UPDATE records SET content='"2"' WHERE type='TXT' AND name=`+inSQL(name))
	}
	i.eventually("an edit that no serial shows", func(ctx context.Context) error { return i.saying(ctx, "2", names...) })
	i.verify(names[0])
	must.OK(t, i.untroubled())
}

// pass waits until that many regular sweeps and rounds of scrubs have passed. Nothing but a sweep finds new zones.
func (i *harness) pass(sweeps int) {
	i.t.Helper()
	for n := range sweeps {
		name := numbered("passing", n)
		must.OK(i.t, i.own.CreateZoneWith(i.ctx, spec(name)))
		i.eventually("a sweep", i.these(name))
		i.awaitUnchanged(10) // scrubs
	}
}

// What changes the serial that is served, but not the one that is stored, is found by the regular sweep.
func TestSettingsBypassingTheProxy(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"primary.sweep_interval": "1s", "primary.scrub_period": "0s"}})
	weeks, back, made := numbered("settings", 0), numbered("settings", 1), numbered("settings", 2)
	must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(weeks), "")))
	increment := signed(spec(back), "")
	increment.SOAEdit = "INCREMENT-WEEKS"
	must.OK(t, i.api.CreateZoneWith(i.ctx, increment))
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(made)))
	i.eventually("made", i.these(weeks, back, made))
	stored, served := i.serial(weeks), i.serial(back)

	pdnsutil(t, i.Primary, "set-meta", strings.TrimSuffix(weeks.String(), "."), "SOA-EDIT", "INCREMENT-WEEKS")
	pdnsutil(t, i.Primary, "set-meta", strings.TrimSuffix(back.String(), "."), "SOA-EDIT", "NONE")
	pdnsutil(t, i.Primary, "secure-zone", strings.TrimSuffix(made.String(), "."))
	i.eventually("the primary serves other serials", func(context.Context) error {
		if i.serial(weeks) == stored || i.serial(back) == served {
			return fmt.Errorf("still %d and %d", i.serial(weeks), i.serial(back))
		}
		return nil
	})
	i.eventually("found", i.these(weeks, back, made))
	i.eventually("signed", func(ctx context.Context) error { return i.denying(ctx, "NSEC", weeks, back, made) })
	for _, name := range []zone.Name{weeks, back, made} {
		i.verify(name)
	}
}

// these compares these zones with the primary's.
func (i *harness) these(names ...zone.Name) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, name := range names {
			if err := i.same(ctx, name); err != nil {
				return fmt.Errorf("zone %s: %w", name, err)
			}
		}
		return nil
	}
}
