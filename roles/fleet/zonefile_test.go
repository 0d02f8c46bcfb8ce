package fleet_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// The zones of testdata/zones, posted as zone files, plain and signed.
func TestZoneFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../testdata/zones/*.zone")
	must.OK(t, err)
	if len(files) == 0 {
		t.Fatal("there are no zone files")
	}
	i := start(t, fleet.Options{})
	for _, file := range files {
		text, err := os.ReadFile(file)
		must.OK(t, err)
		owner, _, _ := strings.Cut(string(text), " ")
		name := zone.MustParseName(owner)
		body, err := json.Marshal(map[string]any{"name": owner, "kind": "Native", "zone": string(text), "soa_edit_api": "INCREASE", "api_rectify": true})
		must.OK(t, err)
		must.OK(t, i.request(http.MethodPost, "/api/v1/servers/localhost/zones", string(body)))
		i.eventually(file, func(ctx context.Context) error { return i.same(ctx, name) })
		must.OK(t, i.put(name, `{"dnssec":true,"nsec3param":"1 0 0 -"}`))
		i.eventually(file+", signed", func(ctx context.Context) error { return i.same(ctx, name) })
		i.verify(name)
	}
}
