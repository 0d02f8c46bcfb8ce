package roletest

import (
	"crypto/rand"
	"fmt"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/local/localtest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// largeZone is one that is published in chunks, and the server that has it.
func LargeZone(t *testing.T) (*local.Server, *zone.Zone) {
	t.Helper()
	server := StartPowerDNS(t, local.Options{Primary: true})
	api, err := server.Client()
	must.OK(t, err)
	name := zone.MustParseName("large.example")
	spec := NativeZone(name)
	spec.RRsets = RandomTexts(name)
	must.OK(t, api.CreateZoneWith(t.Context(), spec))
	z, err := transfer.Fetch(t.Context(), transfer.FetchOptions{Address: server.DNSAddr}, name)
	must.OK(t, err)
	return server, z
}

func StartPowerDNS(t *testing.T, o local.Options) *local.Server {
	t.Helper()
	return localtest.Start(t, o)
}

func NativeZone(name zone.Name) powerdns.ZoneSpec {
	return powerdns.ZoneSpec{Name: name, Kind: powerdns.Native, Nameservers: []string{"ns1.example.net."}}
}

// randomTexts do not compress, so that few of them make several chunks.
func RandomTexts(name zone.Name) []powerdns.RRset {
	var sets []powerdns.RRset
	for i := range 1500 {
		owner := zone.MustParseName(fmt.Sprintf("t%d.%s", i, name))
		sets = append(sets, powerdns.RRset{Name: owner, Type: "TXT", TTL: 60, Content: []string{fmt.Sprintf("%q", rand.Text()+rand.Text()+rand.Text())}})
	}
	return sets
}
