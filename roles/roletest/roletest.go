package roletest

import (
	"fmt"
	"testing"
	"time"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

func ZoneOf(n int) zone.Name { return zone.MustParseName(fmt.Sprintf("z%d.example", n)) }

var Noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func Numbered(n int) zone.Name { return zone.MustParseName(fmt.Sprintf("z%d.example", n)) }

func Named(s string) zone.Name { return zone.MustParseName(s + ".example") }

func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const Patience = must.Patience
