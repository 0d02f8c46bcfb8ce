package powerdns

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Unfit is a setting of a PowerDNS server that does not suit distribution.
type Unfit struct {
	Setting string // as in pdns.conf
	Value   string
	Should  string // what it should be
	Why     string // "" where README.md explains it
	Breaks  bool   // zones are not distributed, or not proven; else it costs, or endangers something
}

// String is such as "query-cache-ttl=20 (should be 0)".
func (u Unfit) String() string {
	if u.Why == "" {
		return fmt.Sprintf("%s=%s (should be %s)", u.Setting, u.Value, u.Should)
	}
	return fmt.Sprintf("%s=%s (should be %s: %s)", u.Setting, u.Value, u.Should, u.Why)
}

// unfitness is a setting and the values of it that do not suit.
type unfitness struct {
	setting     string
	newer       string // name of the same setting, which counts where there is one
	bad         func(value string) bool
	should, why string
	breaks      bool
}

const (
	makesZones = "others than this role could make zones here"
	noProof    = "a zone changed at an unchanged serial cannot be proven"
)

var ofSecondaries = []unfitness{
	// Stale answers outlive a transfer in these caches (4.7.3).
	{setting: "query-cache-ttl", bad: not("0"), should: "0"},
	{setting: "negquery-cache-ttl", bad: not("0"), should: "0"},
	{setting: "zone-metadata-cache-ttl", bad: not("0"), should: "0"},
	{setting: "domain-metadata-cache-ttl", newer: "zone-metadata-cache-ttl", bad: not("0"), should: "0"},

	{setting: "disable-axfr", bad: is("yes"), should: "no, with allow-axfr-ips for this role", why: noProof, breaks: true},
	{setting: "secondary", bad: is("no"), should: "yes", why: "it takes no zones", breaks: true},
	{setting: "lua-axfr-script", bad: not(""), should: "empty", why: "it alters zones while they are taken, and they are not what was published", breaks: true},
	{setting: "max-ent-entries", bad: below(100_000), should: "100000", why: "names that only have names below them are answered NXDOMAIN in zones with more of them"},
	{setting: "xfr-max-received-mbytes", bad: below(100), should: "100 or more, and more than the largest zone has", why: "larger zones are not taken"},
	{setting: "webserver-max-concurrent-connections", bad: below(50), should: "100", why: "calls of the role are dropped unanswered under load"},
	{setting: "views", bad: is("yes"), should: "no", why: "networks that are mapped to a view get other zones than those that are distributed, and nothing shows it"},
	{setting: "autosecondary", bad: is("yes"), should: "no", why: makesZones},
	{setting: "superslave", newer: "autosecondary", bad: is("yes"), should: "no", why: makesZones},
}

var ofPrimaries = []unfitness{
	{setting: "disable-axfr", bad: is("yes"), should: "no, with allow-axfr-ips for the primary role", why: "no zone can be published", breaks: true},
	{setting: "allow-axfr-ips", bad: withoutLoopback, should: "127.0.0.0/8,::1, or whatever the primary role transfers from", why: "it leaves out loopback"},
	{setting: "webserver-max-concurrent-connections", bad: below(50), should: "100", why: "writes through the proxy are dropped unanswered under load"},
	{setting: "outgoing-axfr-expand-alias", bad: is("yes"), should: "no", why: "one ALIAS whose target does not resolve breaks off the transfer of its zone"},
}

func is(value string) func(string) bool { return func(v string) bool { return v == value } }

func not(value string) func(string) bool { return func(v string) bool { return v != value } }

// below tells of a number that is less than least.
func below(least int) func(string) bool {
	return func(v string) bool {
		n, err := strconv.Atoi(v)
		return err == nil && n < least
	}
}

// withoutLoopback reads a list of addresses and networks.
func withoutLoopback(list string) bool {
	items := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	return !slices.ContainsFunc(items, func(item string) bool {
		network, err := netip.ParsePrefix(item)
		if err != nil {
			return item == "127.0.0.1" || item == "::1"
		}
		return network.Contains(netip.AddrFrom4([4]byte{127, 0, 0, 1})) || network.Contains(netip.IPv6Loopback())
	})
}

// UnfitForSecondary returns what does not suit a secondary, of the settings that Config gave.
func UnfitForSecondary(settings map[string]string) []Unfit {
	return slices.DeleteFunc(unfit(settings, ofSecondaries), func(u Unfit) bool {
		return u.Setting == "secondary" && settings["slave"] == "yes" // its former name
	})
}

// UnfitForPrimary returns what does not suit a primary, of the settings that Config gave.
func UnfitForPrimary(settings map[string]string) []Unfit { return unfit(settings, ofPrimaries) }

func unfit(settings map[string]string, of []unfitness) (found []Unfit) {
	for _, u := range of {
		v, there := settings[u.setting]
		_, replaced := settings[u.newer]
		if there && !replaced && u.bad(v) {
			found = append(found, Unfit{u.setting, v, u.should, u.why, u.breaks})
		}
	}
	return found
}

// KeepsAnswers reports whether the server caches answers beyond a transfer.
func KeepsAnswers(settings map[string]string) bool {
	return slices.ContainsFunc(UnfitForSecondary(settings), func(u Unfit) bool {
		return u.Setting == "query-cache-ttl" || u.Setting == "negquery-cache-ttl"
	})
}
