package powerdns

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"pdns-distribute/powerdns/host"
)

// on are the values of a switch that PowerDNS takes for yes, off the others.
var (
	on  = Rule{"`yes`", func(v string, _ map[string]string) bool { return isOn(v) }}
	off = Rule{"`no`", func(v string, _ map[string]string) bool { return !isOn(v) }}
)

func isOn(value string) bool { return value != "" && value != "no" && value != "off" }

// unjudged is of settings that cannot be judged by their values alone.
func unjudged(text string) Rule {
	return Rule{text, func(string, map[string]string) bool { return false }}
}

// set are all values but the empty one.
var set = Rule{"any script", func(v string, _ map[string]string) bool { return v != "" }}

func not(value string) Rule {
	return Rule{"anything but `" + value + "`", func(v string, _ map[string]string) bool { return v != value }}
}

// otherThan is not, whatever the case of letters.
func otherThan(value string) Rule {
	return Rule{"anything but `" + value + "`", func(v string, _ map[string]string) bool {
		return v != "" && !strings.EqualFold(v, value)
	}}
}

// oneOf are values that begin with one of these.
func oneOf(text string, prefixes ...string) Rule {
	return Rule{text, func(v string, _ map[string]string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(strings.ToUpper(v), p) })
	}}
}

// hidesEdits are ways to make a serial that an edit need not move.
var hidesEdits = oneOf("`INCEPTION-…`, `EPOCH`", "INCEPTION", "EPOCH")

// below are numbers that are less than least.
func below(least int) Rule {
	return Rule{fmt.Sprintf("less than %d", least), func(v string, _ map[string]string) bool {
		n, err := strconv.Atoi(v)
		return err == nil && n < least
	}}
}

// bounded are numbers that are less than least, where 0 stands for no bound.
func bounded(least int) Rule {
	few := below(least)
	return Rule{fmt.Sprintf("1 to %d", least-1), func(v string, all map[string]string) bool {
		return v != "0" && few.bad(v, all)
	}}
}

// items are those of a list, as PowerDNS separates them.
func items(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == ';' })
}

// withLoopback are networks among which is loopback, or a part of it.
var withLoopback = Rule{"networks with loopback", func(v string, _ map[string]string) bool { return coversLoopback(v) }}

// withoutLoopback are networks among which loopback is not.
var withoutLoopback = Rule{"networks without loopback",
	func(v string, _ map[string]string) bool { return !coversLoopback(v) }}

// coversLoopback reads a list of addresses and networks.
func coversLoopback(list string) bool {
	v4, v6 := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	return slices.ContainsFunc(items(list), func(item string) bool {
		network, err := netip.ParsePrefix(item)
		if err != nil {
			return item == v4.String() || item == v6.String()
		}
		return network.Contains(v4) || network.Contains(v6)
	})
}

// cannotAsk are source addresses from which no IPv4 address of this host can be asked: the role listens there.
var cannotAsk = Rule{"no IPv4 address, or only addresses of other hosts", func(v string, _ map[string]string) bool {
	return !slices.ContainsFunc(items(v), func(item string) bool {
		a, err := netip.ParseAddr(item)
		return err == nil && a.Is4() && (a.IsUnspecified() || a.IsLoopback() || mayBeOurs(a))
	})
}}

// mayBeOurs reports whether PowerDNS can have the address: it runs on this host, too. A host that cannot be asked
// proves nothing wrong.
func mayBeOurs(a netip.Addr) bool {
	has, err := host.Has(a)
	return has || err != nil
}

// tried are the backends that this program is tested with.
var tried = []string{"gsqlite3", "gmysql", "gpgsql", "lmdb"}

// untried are lists of backends, each perhaps with a name behind a colon, with others among them.
var untried = Rule{"backends besides " + strings.Join(tried, ", "), func(v string, _ map[string]string) bool {
	return slices.ContainsFunc(items(v), func(item string) bool {
		backend, _, _ := strings.Cut(item, ":")
		return !slices.Contains(tried, backend)
	})
}}

// offWhere is off where the backend is launched.
func offWhere(backend string) Rule {
	return Rule{off.Text, func(v string, all map[string]string) bool {
		return strings.Contains(all["launch"], backend) && off.bad(v, all)
	}}
}
