package powerdns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Unfit is a setting of a PowerDNS server that does not suit distribution.
type Unfit struct {
	Setting string // as in pdns.conf
	Value   string
	Should  string // what it should be, and why
	Breaks  bool   // zones are not distributed, or not proven; else it costs, or endangers something
}

// String is such as "query-cache-ttl=20 (should be 0)".
func (u Unfit) String() string {
	return fmt.Sprintf("%s=%s (should be %s)", u.Setting, u.Value, u.Should)
}

// unfitness is a setting and the values of it that do not suit.
type unfitness struct {
	setting string
	bad     func(value string) bool
	should  string
	breaks  bool
}

var ofSecondaries = []unfitness{
	// Stale answers outlive a transfer in these caches (4.7.3).
	{"query-cache-ttl", not("0"), "0", false},
	{"negquery-cache-ttl", not("0"), "0", false},
	{"zone-metadata-cache-ttl", not("0"), "0", false},
	{"domain-metadata-cache-ttl", not("0"), "0", false},

	{"disable-axfr", is("yes"), "no, with allow-axfr-ips for this role: a zone changed at an unchanged serial cannot be proven", true},
	{"secondary", is("no"), "yes: it takes no zones", true},
	{"autosecondary", is("yes"), "no: others than this role could make zones here", false},
	{"superslave", is("yes"), "no: others than this role could make zones here", false},
}

var ofPrimaries = []unfitness{
	{"disable-axfr", is("yes"), "no, with allow-axfr-ips for the primary role: no zone can be published", true},
	{"allow-axfr-ips", withoutLoopback, "127.0.0.0/8,::1, or whatever the primary role transfers from", false},
	{"outgoing-axfr-expand-alias", is("yes"), "no: one ALIAS whose target does not resolve breaks off the transfer of its zone", false},
}

func is(value string) func(string) bool { return func(v string) bool { return v == value } }

func not(value string) func(string) bool { return func(v string) bool { return v != value } }

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
		if v, there := settings[u.setting]; there && u.bad(v) {
			found = append(found, Unfit{u.setting, v, u.should, u.breaks})
		}
	}
	return found
}

// KeepsAnswers tells whether the server caches answers beyond a transfer.
func KeepsAnswers(settings map[string]string) bool {
	return slices.ContainsFunc(UnfitForSecondary(settings), func(u Unfit) bool {
		return u.Setting == "query-cache-ttl" || u.Setting == "negquery-cache-ttl"
	})
}
