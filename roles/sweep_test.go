package roles

import (
	"testing"
	"time"

	"pdns-distribute/broker"
)

// PowerDNS signs on Thursdays for 14 days, and a week later there are newer signatures.
func TestSignaturesAreTakenAnewInTime(t *testing.T) {
	signed := time.Date(2026, 11, 19, 0, 0, 0, 0, time.UTC)
	header := broker.StateHeader{Expires: uint32(signed.Add(14 * 24 * time.Hour).Unix())}
	for after, want := range map[time.Duration]bool{
		0:                      false,
		7*24*time.Hour - 1e9:   false,
		7 * 24 * time.Hour:     true,
		14*24*time.Hour + 3600: true,
	} {
		if got := endsSoon(header, signed.Add(after)); got != want {
			t.Errorf("%s after they were made: %v, want %v", after, got, want)
		}
	}
	if endsSoon(broker.StateHeader{}, signed) {
		t.Error("a zone without signatures has none that end")
	}
	late := time.Date(2106, 2, 1, 0, 0, 0, 0, time.UTC) // shortly before 32 bits of seconds are over
	wraps := broker.StateHeader{Expires: uint32(late.Add(14 * 24 * time.Hour).Unix())}
	if endsSoon(wraps, late) || !endsSoon(wraps, late.Add(8*24*time.Hour)) {
		t.Error("the end of 32 bits is not handled as RFC 4034 section 3.1.5 says")
	}
}
