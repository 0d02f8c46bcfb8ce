//go:build campaign

package fleet_test

import (
	"context"
	"fmt"
	"testing"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/fleet"
)

// A secondary that is filled anew serves what somebody changes meanwhile at once, held answers say so, and what it gets
// later out of its feed does not undo it.
func TestChangesPassAFill(t *testing.T) {
	t.Parallel()
	const zones = 400 // more than the queue and what is pulled ahead hold
	i := start(t, fleet.Options{Set: map[string]string{"primary.sweep_interval": "1s", "primary.scrub_period": "0s"}})
	must.OK(t, createMany(i.ctx, i.own, "fill", zones, 4)) // bypassing the proxy: nobody waits for these
	i.eventually("before", i.allSame)
	s := i.Secondaries[1]
	must.OK(t, i.StopRole(s.ID))
	must.OK(t, i.WipeStore(s.ID))
	must.OK(t, s.Wipe(i.ctx))
	must.OK(t, i.StartRole(i.ctx, s.ID))
	const held = "pdns_distribute_secondary_zones"
	i.eventually("the fill begins", func(context.Context) error {
		if i.metric(s.ID, held) == 0 {
			return fmt.Errorf("%s holds no zone yet", s.ID)
		}
		return nil
	})
	for _, n := range []int{zones - 1, zones / 2, 0} {
		name := numbered("fill", n)
		i.prefer("wait=60", "PATCH", zonesPath+"/"+name.ID(), patchText(name, "changed")).held(t, 204, proxy.StatusInSync, "2/2")
		if got := i.texts(name); got[0] != "changed" || got[1] != "changed" {
			t.Errorf("%s: the secondaries answer %q", name, got)
		}
	}
	made, deleted := zone.MustParseName("made.example"), numbered("fill", zones-2)
	i.prefer("wait=60", "POST", zonesPath, fmt.Sprintf(`{"name":%q,"kind":"Native","nameservers":["ns1.example.net."]}`, made)).
		held(t, 201, proxy.StatusInSync, "2/2")
	i.prefer("wait=60", "DELETE", zonesPath+"/"+deleted.ID(), "").held(t, 204, proxy.StatusInSync, "2/2")
	if i.metric(s.ID, "pdns_distribute_secondary_overtaken_total") == 0 {
		t.Error("no change has passed the fill")
	}
	i.eventually("after", i.allSame)
	i.complete("ns1", "ns2")
}

// TestThousandByBatches is TestFillByBatches with more zones than a batch has.
func TestThousandByBatches(t *testing.T) {
	t.Parallel()
	fillByBatches(t, 1000)
}
