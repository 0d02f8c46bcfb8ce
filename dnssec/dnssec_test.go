package dnssec

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
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

// What PowerDNS signed last week can be had for a week longer from Thursday on, though it ends in ten days.
func TestRenewable(t *testing.T) {
	thursday := time.Date(2026, 11, 19, 0, 0, 0, 0, time.UTC)
	seconds := func(at time.Time) uint32 { return uint32(at.Unix()) }
	for what, test := range map[string]struct {
		end    time.Time
		now    time.Time
		within time.Duration
		want   bool
	}{
		"just signed":                          {thursday.Add(14 * day), thursday, day, false},
		"before the next Thursday":             {thursday.Add(14 * day), thursday.Add(7*day - time.Second), day, false},
		"on the next Thursday":                 {thursday.Add(14 * day), thursday.Add(7 * day), day, true},
		"signed for longer than PowerDNS does": {thursday.Add(30 * day), thursday.Add(7 * day), day, false},
		"the clock is a week behind":           {thursday.Add(14 * day), thursday.Add(-time.Second), day, false},
		"the clock is weeks behind":            {thursday.Add(14 * day), thursday.Add(-30 * day), day, false},
		"ends soon":                            {thursday.Add(14 * day), thursday.Add(6 * day), 8 * day, true},
		"ended":                                {thursday, thursday.Add(day), day, true},
	} {
		if got := Renewable(seconds(test.end), test.now, test.within); got != test.want {
			t.Errorf("%s: %v, want %v", what, got, test.want)
		}
	}
	if Renewable(0, thursday, day) {
		t.Error("a zone without signatures has none to renew")
	}
	late := time.Unix(1<<32, 0).UTC()
	late = late.Add(-time.Duration(late.Unix()%int64(week/time.Second)) * time.Second) // the last Thursday before seconds begin anew
	if Renewable(seconds(late.Add(14*day)), late.Add(6*day), day) || !Renewable(seconds(late.Add(14*day)), late.Add(7*day), day) {
		t.Error("not as RFC 4034 section 3.1.5 says")
	}
}

func TestTurnable(t *testing.T) {
	const (
		soa  = "example.org. 60 IN SOA ns. host. 1 3600 600 86400 60"
		nsec = "example.org. 60 IN NSEC example.org. NS SOA RRSIG NSEC DNSKEY"
		key  = "example.org. 60 IN DNSKEY 257 3 %d rW53o81lxQAZz/aI8lvfc9lMBN0rF0F4SJQ2efXoRsKUQT+85OvYjpJIJwuQE5pEtvmqmRcBt6lsqZsvOzytnw=="
	)
	for what, test := range map[string]struct {
		records []string
		want    bool
	}{
		"unsigned":       {[]string{soa}, false},
		"NSEC":           {[]string{soa, nsec, fmt.Sprintf(key, 13)}, true},
		"RSASHA1":        {[]string{soa, nsec, fmt.Sprintf(key, 13), fmt.Sprintf(key, 5)}, false},
		"NSEC3 already":  {[]string{soa, "example.org. 0 IN NSEC3PARAM 1 0 10 AABB", fmt.Sprintf(key, 13)}, false},
		"NSEC3, no salt": {[]string{soa, "example.org. 0 IN NSEC3PARAM 1 0 0 -", fmt.Sprintf(key, 13)}, false},
	} {
		if got := Convertible(zoneOf(t, test.records...)); got != test.want {
			t.Errorf("%s: %v, want %v", what, got, test.want)
		}
	}
}

func zoneOf(t *testing.T, records ...string) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(zone.MustParseName("example.org"), 0)
	for _, text := range records {
		rr, err := dns.NewRR(text)
		must.OK(t, err)
		r, err := zone.NewRecord(rr)
		must.OK(t, err)
		must.OK(t, b.Add(r))
	}
	z, err := b.Zone()
	must.OK(t, err)
	return z
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
