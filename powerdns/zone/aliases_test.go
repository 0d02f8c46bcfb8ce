package zone_test

import (
	"testing"

	"pdns-distribute/powerdns/zone"
)

func TestComputedText(t *testing.T) {
	for _, c := range []zone.Computed{
		{}, {Alias: true}, {Lua: true, Expanded: 3}, {Alias: true, Lua: true, Expanded: 65535, Unresolved: 7},
	} {
		text, err := c.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back zone.Computed
		if err := back.UnmarshalText(text); err != nil || back != c {
			t.Errorf("%+v came back as %+v: %v", c, back, err)
		}
	}
	for _, text := range []string{"", "ALIAS", "ALIAS, 1", "ALIAS, 1, -1", "ALIAS, 1, 2, 3", "TXT, 1, 2", "ALIAS, 01, 2", "ALIAS, 70000, 2"} {
		if err := new(zone.Computed).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
