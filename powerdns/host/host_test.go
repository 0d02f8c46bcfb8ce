package host_test

import (
	"net/netip"
	"testing"

	"pdns-distribute/powerdns/host"
	"pdns-distribute/powerdns/must"
)

func TestHas(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1": true, "192.0.2.1": false, "2001:db8::1": false} {
		has, err := host.Has(netip.MustParseAddr(addr))
		must.OK(t, err)
		if has != want {
			t.Errorf("%s: %v", addr, has)
		}
	}
}
