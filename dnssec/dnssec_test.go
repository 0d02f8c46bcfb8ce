package dnssec

import (
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

// PowerDNS signs on Thursdays for 14 days, and a week later there are newer signatures.
func TestEndsWithin(t *testing.T) {
	signed := time.Date(2026, 11, 19, 0, 0, 0, 0, time.UTC)
	expires := uint32(signed.Add(14 * day).Unix())
	for after, want := range map[time.Duration]bool{0: false, 7*day - 1e9: false, 7 * day: true, 14*day + 3600: true} {
		if got := EndsWithin(expires, signed.Add(after), 7*day); got != want {
			t.Errorf("%s after they were made: %v, want %v", after, got, want)
		}
	}
	if EndsWithin(0, signed, 7*day) {
		t.Error("a zone without signatures has none that end")
	}
}

// Seconds are counted modulo 2^32.
func TestEndOf32Bits(t *testing.T) {
	late := time.Date(2106, 2, 1, 0, 0, 0, 0, time.UTC)
	end := late.Add(14 * day)
	expires := uint32(end.Unix())
	if EndsWithin(expires, late, 7*day) || !EndsWithin(expires, late.Add(8*day), 7*day) {
		t.Error("not as RFC 4034 section 3.1.5 says")
	}
	if got := End(expires, late); !got.Equal(end) {
		t.Errorf("ends %s, want %s", got, end)
	}
}

func TestConfig(t *testing.T) {
	good := Config{CheckInterval: time.Hour, RenewBefore: 7 * day, RenewRate: 1, AlarmBefore: day}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for what, test := range map[string]struct {
		change func(*Config)
		fault  string
	}{
		"no interval":   {func(c *Config) { c.CheckInterval = 0 }, "dnssec.check_interval: 0s is too short"},
		"no rate":       {func(c *Config) { c.RenewRate = 0 }, "dnssec.renew_rate: 0 is not between"},
		"always alarms": {func(c *Config) { c.AlarmBefore = c.RenewBefore }, "dnssec.alarm_before: 168h0m0s is not less"},
	} {
		c := good
		test.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), test.fault) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
