// Package dnssec tells from the first end of a zone's signatures what is to be done about them. It is pure: package roles
// brings it the ends that were published, and acts.
package dnssec

import (
	"errors"
	"fmt"
	"time"
)

// Config is the section [dnssec].
type Config struct {
	// CheckInterval is how often the ends of all published signatures are looked at.
	CheckInterval time.Duration `toml:"check_interval" env:"CHECK_INTERVAL" envDefault:"12h"`

	// RenewBefore is what is left of signatures when newer ones are taken: PowerDNS makes them anew every Thursday, for 14
	// days (4.7.3).
	RenewBefore time.Duration `toml:"renew_before" env:"RENEW_BEFORE" envDefault:"168h"`

	// RenewRate is how many zones a second are taken for their signatures, so that all zones of a Thursday do not stand
	// before an edit.
	RenewRate int `toml:"renew_rate" env:"RENEW_RATE" envDefault:"20"`

	// AlarmBefore is what is left of signatures when that is shown as trouble: renewing them has failed for days.
	AlarmBefore time.Duration `toml:"alarm_before" env:"ALARM_BEFORE" envDefault:"72h"`
}

// Validate returns all faults, joined.
func (c *Config) Validate() error {
	var faults []error
	for key, d := range map[string]time.Duration{"check_interval": c.CheckInterval, "renew_before": c.RenewBefore, "alarm_before": c.AlarmBefore} {
		if d < time.Second {
			faults = append(faults, fmt.Errorf("dnssec.%s: %s is too short; use 1s or more", key, d))
		}
	}
	if c.AlarmBefore >= c.RenewBefore {
		faults = append(faults, fmt.Errorf("dnssec.alarm_before: %s is not less than dnssec.renew_before, which is %s: there would be an alarm before anything is done", c.AlarmBefore, c.RenewBefore))
	}
	if c.RenewRate < 1 || c.RenewRate > 10_000 {
		faults = append(faults, fmt.Errorf("dnssec.renew_rate: %d is not between 1 and 10000", c.RenewRate))
	}
	return errors.Join(faults...)
}

// EndsWithin tells whether signatures end within the time from now on, or have. expires is the first end, in seconds as
// RFC 4034 §3.1.5 counts them, 0 where nothing is signed.
func EndsWithin(expires uint32, now time.Time, d time.Duration) bool {
	return expires != 0 && int32(expires-uint32(now.Add(d).Unix())) <= 0
}

// End is when signatures end, of the times that expires can mean the one nearest to now (RFC 1982).
func End(expires uint32, now time.Time) time.Time {
	return time.Unix(now.Unix()+int64(int32(expires-uint32(now.Unix()))), 0).UTC()
}
