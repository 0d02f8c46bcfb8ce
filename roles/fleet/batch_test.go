package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/fleet"
)

// A secondary that is filled anew makes its zones by catalog zones. What is changed and deleted meanwhile is changed
// and deleted in the end, whether a batch had it or not, and nothing of the batches is left.
func TestFillByBatches(t *testing.T) {
	t.Parallel()
	fillByBatches(t, 60)
}

func fillByBatches(t *testing.T, zones int) {
	i := start(t, fleet.Options{
		Secondaries: []local.Backend{local.SQLite},
		Set:         map[string]string{"primary.sweep_interval": "1s", "primary.scrub_period": "0s"},
	})
	must.OK(t, createMany(i.ctx, i.own, "fill", zones, 4)) // bypassing the proxy: nobody waits for these
	i.eventually("before", i.allSame)
	s := i.Secondaries[0]
	must.OK(t, i.StopRole(s.ID))
	must.OK(t, i.WipeStore(s.ID))
	must.OK(t, s.Wipe(i.ctx))
	must.OK(t, i.Launch(s.ID))
	for n := 0; n < zones; n += 6 {
		must.OK(t, i.api.DeleteZone(i.ctx, numbered("fill", n)))
		name := numbered("fill", n+1)
		must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, "changed")}))
	}
	i.eventually("after", i.allSame)
	log, err := os.ReadFile(s.LogFile())
	must.OK(t, err)
	if !bytes.Contains(log, []byte("pdns-distribute-batch.invalid")) {
		t.Error("no zone was made by a batch")
	}
	api, err := s.Client()
	must.OK(t, err)
	i.eventually("no batch is left", func(ctx context.Context) error {
		all, err := api.Zones(ctx)
		if err == nil && len(powerdns.WithoutBatches(all)) != len(all) {
			err = errors.New("a batch is")
		}
		return err
	})
	i.complete(s.ID)
}
