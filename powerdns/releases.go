package powerdns

import (
	"fmt"
	"slices"
	"time"
)

// Release is a release of PowerDNS Authoritative that people run.
type Release struct {
	Name  string    // such as "4.9"
	Ended time.Time // when its maintenance ended or ends, the zero time where that is not known
	In    string    // distributions whose packages are of this release
	Tried string    // what of it the tests were run with
	Notes string    // what is different in it
}

// Releases returns all that are supported, the oldest first. What ended when is PowerDNS's word, as of November 2026.
func Releases() []Release { return slices.Clone(releases) }

var releases = []Release{
	{
		"4.7", month(2025, time.August), "Debian 12", "4.7.3: all tests",
		"the first that is supported; it refuses presigned zones that mix NSEC3 with and without opt-out, " +
			"as all releases do",
	},
	{
		"4.8", month(2026, time.June), "Ubuntu 24.04", "none",
		"`workaround-11804`; lmdb schema 5, from which there is no way back",
	},
	{
		"4.9", time.Time{}, "Debian 13", "4.9.18: those that depend on the release",
		"the names master, slave and superslave are gone from pdns.conf; `outgoing-axfr-expand-alias=ignore-errors`",
	},
	{
		"5.0", month(2027, time.March), "Ubuntu 26.04", "none",
		"views; lmdb schema 6; `pdnsutil` has other names for its commands",
	},
	{
		"5.1", time.Time{}, "Debian unstable", "5.1.5: those that depend on the release",
		"zones with LUA records are taken with `enable-lua-record-updates=yes` alone; " +
			"`webserver-max-concurrent-connections`; no API key in the query string",
	},
}

func month(year int, m time.Month) time.Time { return time.Date(year, m+1, 1, 0, 0, 0, 0, time.UTC) }

// Over reports whether the maintenance of the release has ended.
func (r Release) Over(now time.Time) bool { return !r.Ended.IsZero() && now.After(r.Ended) }

// End is the month in which the maintenance of the release ended or ends, "" where that is not known.
func (r Release) End() string {
	if r.Ended.IsZero() {
		return ""
	}
	return r.Ended.AddDate(0, 0, -1).Format("January 2006")
}

// Release returns the release of the server, and false for one that is not in the table: older, newer, or a build
// without a released version's number.
func (s ServerInfo) Release() (Release, bool) {
	var major, minor int
	if n, _ := fmt.Sscanf(s.Version, "%d.%d", &major, &minor); n < 2 {
		return Release{}, false
	}
	i := slices.IndexFunc(releases, func(r Release) bool { return r.Name == fmt.Sprintf("%d.%d", major, minor) })
	if i < 0 {
		return Release{}, false
	}
	return releases[i], true
}
