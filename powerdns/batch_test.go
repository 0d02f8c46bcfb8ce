package powerdns_test

import (
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
)

func TestTakesBatches(t *testing.T) {
	settings := func(launch string, more ...string) map[string]string {
		s := map[string]string{"launch": launch, "default-soa-edit": "", "default-soa-edit-signed": ""}
		for i := 0; i < len(more); i += 2 {
			s[more[i]] = more[i+1]
		}
		return s
	}
	for _, c := range []struct {
		version  string
		settings map[string]string
		want     bool
	}{
		{"4.7.3", settings("gsqlite3"), true},
		{"4.7.3", settings("gsqlite3:main"), true},
		{"5.1.5", settings("lmdb"), true},
		{"4.9.18", settings("gsqlite3"), true},
		{"4.9.18", settings("lmdb"), false},
		{"5.2.0", settings("lmdb"), false},
		{"", settings("lmdb"), false},
		{"4.7.3", settings("bind"), false},
		{"4.7.3", settings("gmysql"), false},
		{"4.7.3", settings("gpgsql"), false},
		{"4.8.4", settings("gsqlite3"), false},
		{"5.0.1", settings("gsqlite3"), false},
		{"4.7.3", settings("bind,gsqlite3"), false},
		{"4.7.3", settings("gsqlite3", "default-soa-edit", "EPOCH"), false},
		{"4.7.3", settings("gsqlite3", "default-soa-edit-signed", "INCEPTION-EPOCH"), false},
	} {
		if got := powerdns.TakesBatches(c.version, c.settings); got != c.want {
			t.Errorf("%s with %v takes batches: %t", c.version, c.settings, got)
		}
	}
}

// A batch is told from the catalog zones of others, and no two have one name.
func TestBatchNames(t *testing.T) {
	name := powerdns.NewBatchName()
	if name == powerdns.NewBatchName() {
		t.Errorf("the name %s comes again", name)
	}
	others := zone.MustParseName("catalog.example")
	zones := []powerdns.ZoneInfo{
		{Name: name, Kind: powerdns.Consumer}, {Name: others, Kind: powerdns.Consumer}, {Name: name, Kind: powerdns.Slave},
	}
	if got := powerdns.WithoutBatches(zones); len(got) != 2 || got[0].Name != others || got[1].Kind != powerdns.Slave {
		t.Errorf("without batches, %v is left", got)
	}
}
