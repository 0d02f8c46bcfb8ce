package fleet_test

import (
	"fmt"
	"testing"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/roles/fleet"
)

// Of three brokers any one may be away.
func TestClusterLosesABroker(t *testing.T) {
	i := start(t, fleet.Options{Brokers: 3, Secondaries: []local.Backend{local.SQLite, local.LMDB}})
	must(t, createMany(i.ctx, i.api, "before", 5, 2))
	i.eventually("all brokers are there", i.allSame)
	for n := range 3 {
		id := fmt.Sprintf("broker%d", n+1)
		must(t, i.StopRole(id))
		must(t, createMany(i.ctx, i.api, "without-"+id, 5, 2))
		i.eventually(id+" is away", i.allSame)
		must(t, i.StartRole(i.ctx, id))
		i.eventually(id+" is back", i.allSame)
	}
}
