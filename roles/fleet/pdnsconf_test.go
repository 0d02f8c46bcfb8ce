package fleet_test

import (
	"net"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/fleet"
)

// Settings of a secondary PowerDNS that a pdns.conf may have for other reasons: zones are distributed all the same.
func TestSettingsOfSecondaries(t *testing.T) {
	t.Parallel()
	set := map[string]string{"default-soa-edit": "INCREMENT-WEEKS", "default-soa-edit-signed": "INCEPTION-INCREMENT"}
	if own := ownAddress(t); own != "" {
		set["query-local-address"] = own
	}
	i := start(t, fleet.Options{Settings: set})
	plain, withKeys := numbered("plain", 1), numbered("keys", 1)
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(plain, text(plain, "1"))))
	must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(withKeys, text(withKeys, "1")), "")))
	i.eventually("created", i.allSame)
	must.OK(t, i.api.Patch(i.ctx, plain, []powerdns.RRset{text(plain, "2")}))
	must.OK(t, i.api.Patch(i.ctx, withKeys, []powerdns.RRset{text(withKeys, "2")}))
	i.eventually("changed", i.allSame)
	i.noAlarms()
}

// ownAddress is an address of this host beside loopback, "" where there is none.
func ownAddress(t *testing.T) string {
	addresses, err := net.InterfaceAddrs()
	must.OK(t, err)
	for _, a := range addresses {
		if own, is := a.(*net.IPNet); is && !own.IP.IsLoopback() && own.IP.To4() != nil {
			return own.IP.String()
		}
	}
	return ""
}
