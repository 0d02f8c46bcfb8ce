// Package dnssec decides what is to be done about the signatures of zones: which are to be renewed, which end too soon,
// and which zones may deny with NSEC3. It is pure: package roles/primary brings it what was published, and acts.
package dnssec

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pdns-distribute/powerdns/zone"
)

// Config is the section [dnssec].
type Config struct {
	// CheckInterval is how often the ends of all published signatures are looked at, and zones with NSEC if NSEC3 is
	// set.
	CheckInterval time.Duration `toml:"check_interval" env:"CHECK_INTERVAL" envDefault:"12h"`

	// RenewBefore is what is left of signatures when newer ones are taken, whatever PowerDNS is thought to have.
	RenewBefore time.Duration `toml:"renew_before" env:"RENEW_BEFORE" envDefault:"168h"`

	// RenewRate is how many zones a second are taken for their signatures, converted to NSEC3, or looked at because a
	// sweep found them served otherwise: renewals of many zones do not hold up changes.
	RenewRate int `toml:"renew_rate" env:"RENEW_RATE" envDefault:"20"`

	// NSEC3 converts zones that PowerDNS signs itself with NSEC to NSEC3, with the parameters "1 0 0 -".
	NSEC3 bool `toml:"nsec3" env:"NSEC3" envDefault:"false"`

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

// The window that PowerDNS signs for moves on every Thursday 00:00 UTC, which is when weeks of the epoch begin, and
// ends 14 days after that (4.7.3).
const (
	week   = 7 * 24 * time.Hour
	signed = 2 * week
)

// Renewable reports whether to look for newer signatures than those that end first at expires: they end within the time
// given, or PowerDNS signs for a later window by now.
func Renewable(expires uint32, now time.Time, within time.Duration) bool {
	window := now.Unix() - now.Unix()%int64(week/time.Second)
	return EndsWithin(expires, now, within) || expires != 0 && zone.SerialNewer(uint32(window+int64(signed/time.Second)), expires)
}

// EndsWithin reports whether signatures end within the time from now on, or have. expires is the first end, in seconds
// as RFC 4034 §3.1.5 counts them, 0 where nothing is signed.
func EndsWithin(expires uint32, now time.Time, d time.Duration) bool {
	return expires != 0 && int32(expires-uint32(now.Add(d).Unix())) <= 0
}

// End is when signatures end, of the times that expires can mean the one nearest to now (RFC 1982).
func End(expires uint32, now time.Time) time.Time {
	return time.Unix(now.Unix()+int64(int32(expires-uint32(now.Unix()))), 0).UTC()
}

// NSEC3Param are the parameters that RFC 9276 §3.1 recommends: SHA-1 for want of another, no opt-out, no more
// iterations than one, no salt.
const NSEC3Param = "1 0 0 -"

// rsaSHA1 is the last algorithm, by its number, whose keys mean to validators that the zone has no NSEC3 (RFC 5155 §2).
const rsaSHA1 = 5

// Convertible reports whether a zone denies with NSEC and could be converted to NSEC3.
func Convertible(z *zone.Zone) bool {
	return z.Apex().Denial() == "NSEC" && slices.IndexFunc(z.Algorithms(), func(a uint8) bool { return a <= rsaSHA1 }) < 0
}
