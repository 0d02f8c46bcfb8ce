package roletest

import (
	"fmt"
	"time"

	"pdns-distribute/powerdns/zone"
)

var Noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func Numbered(n int) zone.Name { return zone.MustParseName(fmt.Sprintf("z%d.example", n)) }

func Named(s string) zone.Name { return zone.MustParseName(s + ".example") }
