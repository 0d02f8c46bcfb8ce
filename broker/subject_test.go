package broker_test

import (
	"errors"
	"strings"
	"testing"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

func TestZoneSubject(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, want := range map[string]string{
		".":                         "pdns.zone.=",
		"com":                       "pdns.zone.com",
		"Example.COM.":              "pdns.zone.com.example",
		"a-b_c.example":             "pdns.zone.example.a-b_c",
		`a\.b.example`:              "pdns.zone.example.a=2eb",
		`a\032b.example`:            "pdns.zone.example.a=20b",
		`*.example`:                 "pdns.zone.example.=2a",
		`\>.example`:                "pdns.zone.example.=3e",
		`=2e.example`:               "pdns.zone.example.=3d2e",
		`\000\255.example`:          "pdns.zone.example.=00=ff",
		"0/25.2.0.192.in-addr.arpa": "pdns.zone.arpa.in-addr.192.0.2.0=2f25",
		long + ".example":           "pdns.zone.example." + long,
	} {
		n := zone.MustParseName(name)
		got, err := broker.StateSubject(n)
		must.OK(t, err)
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if back, err := broker.StateSubjectZone(got); err != nil || back != n {
			t.Errorf("%s: comes back as %s (%v)", name, back, err)
		}
	}
}

func TestSubjectZoneRefuses(t *testing.T) {
	for _, subject := range []string{
		"", "pdns.zone.", "pdns.touch.com", "pdns.zone.com.", "pdns.zone..com", "pdns.zone.com.=",
		"pdns.zone.COM", "pdns.zone.=41", "pdns.zone.=61", "pdns.zone.=2E", "pdns.zone.=2", "pdns.zone.=zz",
		"pdns.zone.a b", "pdns.zone.*", "pdns.zone." + strings.Repeat("a", 64), "pdns.zone." + strings.Repeat("a.", 127) + "a",
	} {
		if n, err := broker.StateSubjectZone(subject); !errors.Is(err, broker.ErrSubject) {
			t.Errorf("%q is taken for %q (%v)", subject, n, err)
		}
	}
	if _, err := broker.StateSubject(""); !errors.Is(err, broker.ErrSubject) {
		t.Errorf("the empty name has a subject (%v)", err)
	}
}

func FuzzSubject(f *testing.F) {
	f.Add("pdns.zone.com.example", []byte("\x07example\x03com\x00"))
	f.Add("pdns.zone.=", []byte{0})
	f.Add("pdns.zone.=ff", []byte("\x01\xff\x00"))
	f.Fuzz(func(t *testing.T, subject string, wire []byte) {
		if n, err := broker.StateSubjectZone(subject); err == nil {
			if back, err := broker.StateSubject(n); err != nil || back != subject {
				t.Errorf("%q is %s, which is %q (%v)", subject, n, back, err)
			}
		}
		n, err := zone.NameFromWire(wire)
		if err != nil {
			return
		}
		s, err := broker.StateSubject(n)
		must.OK(t, err)
		if strings.ContainsAny(s, "*> \t\r\n") || strings.Contains(s, "..") {
			t.Errorf("%s has the subject %q", n, s)
		}
		if back, err := broker.StateSubjectZone(s); err != nil || back != n {
			t.Errorf("%s comes back as %s (%v)", n, back, err)
		}
	})
}

func TestCheckNodeID(t *testing.T) {
	for _, good := range []string{"a", "0", "ns1-eu_west", strings.Repeat("a", 63)} {
		if err := broker.CheckNodeID(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "-a", "_a", "A", "a.b", "a*", "a>", "a b", "a\n", strings.Repeat("a", 64)} {
		if err := broker.CheckNodeID(bad); !errors.Is(err, broker.ErrSubject) {
			t.Errorf("%q is accepted (%v)", bad, err)
		}
	}
}
