package primary

import (
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns"
)

func TestServedOtherwise(t *testing.T) {
	begin := time.Date(2026, 11, 19, 12, 0, 0, 0, time.UTC)
	const clock = 1795089600 // of PowerDNS then, which may be any
	published := func(ago time.Duration, serial, expires uint32) broker.StateHeader {
		return broker.StateHeader{Published: begin.Add(-ago), Serial: serial, Expires: expires}
	}
	for what, test := range map[string]struct {
		header broker.StateHeader
		info   powerdns.ZoneInfo
		want   bool
	}{
		"as published":               {published(time.Hour, 7, 0), powerdns.ZoneInfo{EditedSerial: 7}, false},
		"another serial":             {published(time.Hour, 7, 0), powerdns.ZoneInfo{EditedSerial: 8}, true},
		"a lower serial":             {published(time.Hour, 7, 0), powerdns.ZoneInfo{EditedSerial: 6}, true},
		"signed since":               {published(time.Hour, 7, 0), powerdns.ZoneInfo{EditedSerial: 7, DNSSEC: true}, true},
		"signed no more":             {published(time.Hour, 7, 1), powerdns.ZoneInfo{EditedSerial: 7}, true},
		"a clock":                    {published(time.Hour, clock-3600, 0), powerdns.ZoneInfo{EditedSerial: clock + 4}, false},
		"a clock after days":         {published(72*time.Hour, clock-72*3600, 0), powerdns.ZoneInfo{EditedSerial: clock}, false},
		"a clock that has been set":  {published(time.Hour, clock-3600, 0), powerdns.ZoneInfo{EditedSerial: clock + 3600}, true},
		"a clock that stands still":  {published(time.Hour, clock-3600, 0), powerdns.ZoneInfo{EditedSerial: clock - 3500}, true},
		"a clock past 32 bits":       {published(time.Hour, 1<<32-1800, 0), powerdns.ZoneInfo{EditedSerial: 1800}, false},
		"by chance, and a bit later": {published(2*time.Minute, 7, 0), powerdns.ZoneInfo{EditedSerial: 8}, true},
	} {
		if got := servedOtherwise(test.header, test.info, begin, 8*time.Second); got != test.want {
			t.Errorf("%s: %v, want %v", what, got, test.want)
		}
	}
}
