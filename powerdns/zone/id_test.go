package zone_test

import (
	"errors"
	"strings"
	"testing"

	"pdns-distribute/powerdns/zone"
)

func TestID(t *testing.T) {
	for name, want := range map[string]string{
		".":                          "=2E",
		"Example.ORG":                "example.org.",
		"_tcp.example.org.":          "=5Ftcp.example.org.",
		"0/25.2.0.192.in-addr.arpa.": "0=2F25.2.0.192.in-addr.arpa.",
		`a\.b.example.`:              `a=5C.b.example.`,
		`\000\255.example.`:          "=5C000=5C255.example.",
		"*.example.":                 "=2A.example.",
		"a=b.example.":               "a=3Db.example.",
	} {
		n := zone.MustParseName(name)
		id := n.ID()
		if id != want {
			t.Errorf("%s has id %s, want %s", name, id, want)
		}
		if back, err := zone.ParseID(id); err != nil || back != n {
			t.Errorf("%s reads as %q, %v", id, back, err)
		}
	}
}

func TestParseIDTakesOtherSpellings(t *testing.T) {
	for _, id := range []string{"example.org.", "example.org", "EXAMPLE.Org.", "=65xample=2Eorg=2E"} {
		n, err := zone.ParseID(id)
		if err != nil || n != zone.MustParseName("example.org") {
			t.Errorf("%s reads as %q, %v", id, n, err)
		}
	}
}

func TestParseIDRefuses(t *testing.T) {
	for _, id := range []string{"", "=", "=2", "a.=5", "=zz.example.", "=2e", "a..example.", strings.Repeat("a", 64) + "."} {
		if n, err := zone.ParseID(id); !errors.Is(err, zone.ErrName) {
			t.Errorf("%q reads as %q, %v", id, n, err)
		}
	}
}

// FuzzID: an id that can be read is that of one name, whose own id is plain and reads as that name again.
func FuzzID(f *testing.F) {
	for _, id := range []string{"=2E", "example.org.", "0=2F25.2.0.192.in-addr.arpa", `=5C000=5C255.example.`, "a=3Db", "=", "x=2"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		name, err := zone.ParseID(id)
		if err != nil {
			if !errors.Is(err, zone.ErrName) {
				t.Fatalf("%q: %v does not wrap zone.ErrName", id, err)
			}
			return
		}
		own := name.ID()
		if strings.Trim(own, "abcdefghijklmnopqrstuvwxyzABCDEF0123456789.-=") != "" {
			t.Fatalf("id %q of %q is not plain", own, name)
		}
		if back, err := zone.ParseID(own); err != nil || back != name {
			t.Fatalf("%q: %q has id %q, which reads as %q, %v", id, name, own, back, err)
		}
	})
}
