package health

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pdns-distribute/powerdns/zone"
)

// outline is the order of groups, with how many nodes each has, and what follows from another one in brackets.
func outline(groups []Group) string {
	var words []string
	for _, g := range groups {
		word := fmt.Sprintf("%s %d", g.Kind, len(g.Nodes))
		if g.Because != "" {
			word = "(" + word + ")"
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

func twelve(of func(node string) Alarm) (alarms []Alarm) {
	for n := range 12 {
		a := of(fmt.Sprintf("ns%02d", 12-n))
		a.Since = noon.Add(time.Duration(n) * time.Second)
		alarms = append(alarms, a)
	}
	return alarms
}

func inactive(role, node string) Alarm {
	return Row{Presence: Presence{Role: role, Node: node}, Seen: noon}.inactive(30 * time.Second)
}

func notReadyFor(role, node, problem string) Alarm {
	r := Row{Presence: Presence{Role: role, Node: node, Condition: Condition{Problems: []string{problem}}}}
	return r.conditionAlarms()[0]
}

func failingWith(node, name, reason string) []Alarm {
	f := Failure{Zone: zone.MustParseName(name + ".example"), Reason: reason}
	r := Row{Presence: Presence{Role: RoleSecondary, Node: node, Condition: Condition{Failing: []Failure{f}, Failures: 1}}}
	return r.conditionAlarms()
}

func about(kind Kind, node string) Alarm {
	return NodeAlarm(RoleSecondary, node, kind, "something", "do")
}

// One cause at twelve nodes is one group, causes stand before what follows from them, brokers before primaries before
// nodes before zones, and no alarm is lost.
func TestGrouped(t *testing.T) {
	broker := inactive(RoleBroker, "b2")
	broker.Cause = causeNoQuorum
	warning := about(AlarmLoad, "ns01")
	warning.Warning = true
	dial := func(node string) Alarm {
		return notReadyFor(RoleSecondary, node, "powerdns: dial tcp 127.0.0.1:8081: read 127.0.0.1:4"+node[2:]+": refused")
	}
	for what, c := range map[string]struct {
		alarms []Alarm
		want   string
	}{
		"none":              {nil, ""},
		"no heartbeat":      {twelve(func(n string) Alarm { return inactive(RoleSecondary, n) }), "inactive 12"},
		"one reason":        {twelve(dial), "not-ready 12"},
		"two reasons":       {append(twelve(dial), notReadyFor(RoleSecondary, "ns13", "feed: gone")), "not-ready 1, not-ready 12"},
		"all behind":        {twelve(func(n string) Alarm { return about(AlarmBehind, n) }), "behind 12"},
		"other addresses":   {slices.Concat(failingWith("ns1", "a", "dial 10.0.0.1:53: refused"), failingWith("ns2", "a", "dial 10.0.0.2:53: refused")), "failing 2"},
		"other reasons":     {slices.Concat(failingWith("ns1", "a", "no SOA"), failingWith("ns2", "a", "too large")), "failing 1, failing 1"},
		"roles apart":       {[]Alarm{inactive(RoleProxy, "a"), inactive(RolePrimary, "b")}, "inactive 1, inactive 1"},
		"warnings are last": {[]Alarm{warning, about(AlarmLame, "ns1")}, "lame 1, load 1"},
		"ranks": {
			[]Alarm{about(AlarmLame, "n"), about(AlarmOrphans, "n"), about(AlarmClock, "n"), {Kind: AlarmNoPrimary}, {Kind: AlarmNoBroker, Node: "h"}},
			"no-broker 1, no-primary 0, clock 1, orphans 1, lame 1",
		},
		"no primary": {[]Alarm{{Kind: AlarmNoPrimary}, inactive(RolePrimary, "p")}, "inactive 1, (no-primary 0)"},
		"no leader":  {[]Alarm{{Kind: AlarmNoPrimary, Cause: causeNoLeader}, inactive(RolePrimary, "p")}, "inactive 1, no-primary 0"},
		"no quorum": {
			[]Alarm{notReadyFor(RolePrimary, "p", "proof: no answer"), notReadyFor(RoleBroker, "b1", "quorum: 1 of 3"), {Kind: AlarmTouchesWaiting}, broker},
			"inactive 1, (not-ready 1), (touches-waiting 0), (not-ready 1)",
		},
		"of one node, not of another": {
			append(twelve(func(n string) Alarm { return about(AlarmNotCompared, n) }), inactive(RoleSecondary, "ns03"), inactive(RoleSecondary, "ns04")),
			"inactive 2, (not-compared 2), not-compared 10",
		},
		"of one zone": {append(failingWith("ns1", "a", "no SOA"), about(AlarmLate, "ns1").Of(zone.MustParseName("a.example"), "no SOA")), "failing 1, (late 1)"},
		"PowerDNS is away": {
			append(failingWith("ns1", "a", "PowerDNS is unavailable (is it up?): refused"), notReadyFor(RoleSecondary, "ns1", "powerdns: refused")),
			"not-ready 1, (failing 1)",
		},
		"PowerDNS is away, and something else": {
			append(failingWith("ns1", "a", "no SOA"), notReadyFor(RoleSecondary, "ns1", "powerdns: refused")), "not-ready 1, failing 1",
		},
		"of one host": {[]Alarm{NodeAlarm(RoleBroker, "b", AlarmClock, "off", ""), about(AlarmClock, "ns1")}, "clock 2"},
		"of two":      {append(failingWith("ns1", "a", "no SOA"), about(AlarmLate, "ns1").Of(zone.MustParseName("b.example"), "")), "failing 1, late 1"},
	} {
		t.Run(what, func(t *testing.T) {
			got := Grouped(c.alarms)
			if outline(got) != c.want {
				t.Errorf("%s, want %s", outline(got), c.want)
			}
			slices.Reverse(c.alarms)
			if again := Grouped(c.alarms); outline(again) != c.want {
				t.Errorf("in another order: %s", outline(again))
			}
			for _, a := range c.alarms {
				has := func(g Group) bool {
					return g.Kind == a.Kind && (a.Node == "" || slices.Contains(g.Nodes, a.Node)) && !a.Since.Before(g.Since)
				}
				if !slices.ContainsFunc(got, has) {
					t.Errorf("%s of %s is lost", a.Kind, a.Node)
				}
			}
		})
	}
}

// A group says how many nodes it is about, and since when at the first of them.
func TestGroupTexts(t *testing.T) {
	g := Grouped(twelve(func(n string) Alarm { return inactive(RoleSecondary, n) }))[0]
	if g.What != "12 secondaries (ns01, ns02, ns03 and 9 more): no heartbeat for 30s; excluded from sync waits" || !g.Since.Equal(noon) {
		t.Errorf("%s since %s", g.What, g.Since)
	}
	if g.Entry != "/usr/share/doc/pdns-distribute/docs/alarms.md#inactive" {
		t.Error(g.Entry)
	}
	g = Grouped([]Alarm{about(AlarmBehind, "ns2"), NodeAlarm(RoleSecondary, "ns1", AlarmBehind, "7 states", "do")})[0]
	if g.What != "2 secondaries (ns1, ns2): 7 states (ns1)" {
		t.Error(g.What)
	}
}

// What is posted of a change says that it follows from an alarm that was posted before.
func TestGroupedAmong(t *testing.T) {
	late := about(AlarmLate, "ns1")
	all := []Alarm{inactive(RoleSecondary, "ns1"), late}
	if got := outline(GroupedAmong([]Alarm{late}, all)); got != "(late 1)" {
		t.Error(got)
	}
}
