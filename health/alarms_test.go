package health

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pdns-distribute/powerdns/zone"
)

func kinds(list []Alarm) string {
	var words []string
	for _, a := range list {
		words = append(words, strings.TrimSpace(string(a.Kind)+" "+a.Node))
	}
	return strings.Join(words, ", ")
}

func TestAlarmsAreStates(t *testing.T) {
	a, reported := NewAlarms(), Reported{}
	disk, load := Alarm{Kind: "disk", Node: ns1, What: "1 MB"}, Alarm{Kind: "load", Node: ns1, Warning: true, after: time.Minute}
	for n, step := range []struct {
		after                 time.Duration
		wrong                 []Alarm
		raised, cleared, list string
	}{
		{0, []Alarm{load, disk}, "disk ns1", "", "disk ns1"},
		{30 * time.Second, []Alarm{disk, load}, "", "", "disk ns1"},
		{time.Minute, []Alarm{load, disk}, "load ns1", "", "disk ns1, load ns1"},
		{2 * time.Minute, []Alarm{load}, "", "disk ns1", "load ns1"},
		{3 * time.Minute, nil, "", "load ns1", ""},
		{4 * time.Minute, []Alarm{load}, "", "", ""},
		{4*time.Minute + time.Second, nil, "", "", ""},
	} {
		a.Update(noon.Add(step.after), step.wrong)
		raised, cleared := reported.Change(a.List())
		if got := kinds(raised); got != step.raised {
			t.Errorf("step %d raised %q", n, got)
		}
		if got := kinds(cleared); got != step.cleared {
			t.Errorf("step %d cleared %q", n, got)
		}
		if got := kinds(a.List()); got != step.list {
			t.Errorf("step %d: %q", n, got)
		}
		for _, alarm := range a.List() {
			if alarm.Kind == "disk" && !alarm.Since.Equal(noon) {
				t.Errorf("since %s", alarm.Since)
			}
		}
	}
}

// boardAlarms are those of a board with a primary that is well, and these.
func boardAlarms(seen ...Sighting) string {
	all := map[string]Sighting{"a1": sighted("a1", "primary", 0), "a2": sighted("a2", "proxy", 0)}
	for _, s := range seen {
		all[s.Node] = s
	}
	c := Config{InactiveAfter: 30 * time.Second, MaxLoad: 2, MinDiskPercent: 5}
	return kinds(sorted(NewBoard(noon, c, all, []Feed{{Node: "ns1"}}).Alarms(c, 72*time.Hour)))
}

func TestAlarmsOfABoard(t *testing.T) {
	for want, change := range map[string]func(*Presence){
		"":              func(*Presence) {},
		"not-ready ns1": notReady,
		"failing ns1":   func(p *Presence) { p.Failures, p.Failing = 1, []Failure{{Reason: "no"}} },
		"failing ns1, refused ns1": func(p *Presence) {
			p.Failures, p.Failing = 2, []Failure{{Reason: "no"}, {Reason: "forged", Refused: true}}
		},
		"settings ns1": warned,
		"load ns1":     func(p *Presence) { p.Host.Load, p.Host.Cores = 4.1, 2 },
		"disk ns1":     func(p *Presence) { p.Host.DiskFree, p.Host.DiskTotal = 4, 100 },
		"signatures ns1": func(p *Presence) {
			p.Secondary.SignedUntil = &SignedUntil{zone.MustParseName("a.example"), noon.Add(71 * time.Hour)}
		},
		"clock ns1": func(p *Presence) { p.Clock = noon.Add(10 * time.Minute) },
	} {
		if got := boardAlarms(sighted("ns1", "secondary", 0, change)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := boardAlarms(); got != "inactive ns1" {
		t.Errorf("a secondary that was never seen: %q", got)
	}
	if got := kinds(NewBoard(noon, Config{}, nil, nil).Alarms(Config{}, 0)); got != "no-primary" {
		t.Errorf("nobody: %q", got)
	}
}

// The clock that is wrong is that of one, not those of all others.
func TestOwnClockIsWrong(t *testing.T) {
	off := func(p *Presence) { p.Clock = noon.Add(-10 * time.Minute) }
	got := boardAlarms(sighted("a1", "primary", 0, off), sighted("a2", "proxy", 0, off), sighted("ns1", "secondary", 0, off),
		sighted("health1", "health", 0, func(p *Presence) { p.Clock = noon }))
	if got != "clock health1" {
		t.Error(got)
	}
}

func TestDuplicateNodes(t *testing.T) {
	duplicates := NewDuplicateNodes()
	report := func(after time.Duration, instance string) {
		p := Presence{Node: ns1, Process: Process{Instance: instance}, Host: Host{Name: "host-" + instance}}
		duplicates.See(Sighting{p, noon.Add(after)})
	}
	report(0, "a")
	report(5*time.Second, "a")
	report(7*time.Second, "b") // a restart
	report(12*time.Second, "b")
	if wrong := duplicates.Alarms(noon.Add(12 * time.Second)); len(wrong) != 0 {
		t.Errorf("a restart: %+v", wrong)
	}
	report(15*time.Second, "a")
	wrong := duplicates.Alarms(noon.Add(15 * time.Second))
	if len(wrong) != 1 || wrong[0].Node != ns1 || !strings.Contains(wrong[0].What, "host-a") || !strings.Contains(wrong[0].What, "host-b") {
		t.Errorf("%+v", wrong)
	}
	for at := 20 * time.Second; at <= time.Minute; at += 5 * time.Second {
		report(at, "b")
	}
	if wrong := duplicates.Alarms(noon.Add(time.Minute)); len(wrong) != 0 {
		t.Errorf("one was stopped: %+v", wrong)
	}
}

func TestReported(t *testing.T) {
	a, b := Alarm{Kind: "a", Node: "1"}, Alarm{Kind: "a", Node: "2"}
	var reported Reported
	for n, step := range []struct{ now, raised, cleared []Alarm }{
		{[]Alarm{a}, []Alarm{a}, nil},
		{[]Alarm{a, b}, []Alarm{b}, nil},
		{[]Alarm{b}, nil, []Alarm{a}},
		{nil, nil, []Alarm{b}},
	} {
		raised, cleared := reported.Change(step.now)
		if fmt.Sprint(raised) != fmt.Sprint(step.raised) || fmt.Sprint(cleared) != fmt.Sprint(step.cleared) {
			t.Errorf("step %d: raised %v, cleared %v", n, raised, cleared)
		}
	}
}
