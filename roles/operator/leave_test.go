package operator

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/roletest"
)

// What a killed role left of a batch does not stay, and is no zone of others.
func TestLeavingDeletesBatches(t *testing.T) {
	server := roletest.StartPowerDNS(t, local.Options{})
	api, err := server.Client()
	must.OK(t, err)
	const role = "127.0.0.1:1"
	must.OK(t, api.CreateZone(t.Context(), powerdns.NewBatchName(), powerdns.Consumer, []string{role}))
	must.OK(t, api.CreateZoneWith(t.Context(), roletest.NativeZone(roletest.Named("operators"))))
	var out bytes.Buffer
	store := filepath.Join(t.TempDir(), "zones.db")
	l := &leaving{api: api, role: role, masters: []string{"192.0.2.1"}, out: &out, copy: store}
	must.OK(t, l.preview(t.Context()))
	must.OK(t, l.leave(t.Context()))
	if texts := out.String(); strings.Count(texts, "1 others are left alone") != 2 {
		t.Errorf("with a zone of the operator's own and a batch: %s", texts)
	}
	zones, err := api.Zones(t.Context())
	must.OK(t, err)
	if len(zones) != 1 || zones[0].Kind != powerdns.Native {
		t.Errorf("PowerDNS has %v in the end", zones)
	}
}
