package node

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/origin"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/roles/observe"
)

// What may come of a PowerDNS that is down, or of another server in its place, has PowerDNS looked at. Work waits only
// where it is clear that another one has answered: a zone without a SOA must not hold up others.
func TestSuspect(t *testing.T) {
	for _, c := range []struct {
		err              error
		isLookedAt, goes bool
	}{
		{&origin.OtherError{Found: "another serial"}, true, false},
		{powerdns.ErrUnavailable, true, true},
		{fmt.Errorf("transfer: %w", &transfer.RcodeError{Rcode: 9}), true, true},
		{&Reason{Err: fmt.Errorf("transfer: %w", &transfer.RcodeError{Rcode: 9})}, true, true},
		{errors.New("the zone has no SOA"), false, true},
	} {
		m := NewMonitor(nil, observe.NewReadiness(CondPowerDNS), zerolog.Nop(), nil)
		m.noteUp()
		m.Suspect(c.err)
		if looked := len(m.doubted) > 0; looked != c.isLookedAt || m.IsUp() != c.goes {
			t.Errorf("%v: looked at %v, and work goes on %v", c.err, looked, m.IsUp())
		}
	}
}
