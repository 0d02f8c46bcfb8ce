//go:build campaign

package fleet_test

import (
	"math"
	"os"
	"testing"
	"time"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/fleet"
)

// TestThousandsOfZones is TestManyZonesByManyClients with more of them.
func TestThousandsOfZones(t *testing.T) { testManyZones(t, 3000) }

// TestTorture does what TestServedMeansServed does for as long as TORTURE says.
func TestTorture(t *testing.T) {
	duration, err := time.ParseDuration(os.Getenv("TORTURE"))
	must.OK(t, err)
	i := start(t, fleet.Options{})
	i.walk(duration, math.MaxInt)
}
