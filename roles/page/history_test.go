package page

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// watched is a history that has seen so many secondaries.
func watched(secondaries int) *History {
	w, h := newWorld(secondaries, 3), NewHistory()
	d := w.Document()
	for i := range d.Nodes {
		d.Nodes[i].Clock, d.Nodes[i].Seen = noon, noon
	}
	h.Observe(noon, d)
	return h
}

func applied(n int, published time.Time) health.Applied {
	return health.Applied{Zone: zoneNumber(n), Published: published, Serial: 7}
}

func TestChangeIsFollowed(t *testing.T) {
	h := watched(2)
	h.Published(noon, Change{Zone: zoneNumber(1), At: noon, Serial: 7, Cause: "changed", By: "proxy proxy1"})
	want := func(step, progress, level string) {
		t.Helper()
		c := h.Changes(9)[0]
		if c.Progress() != progress || c.Level() != level {
			t.Errorf("%s: %q, %s; want %q, %s", step, c.Progress(), c.Level(), progress, level)
		}
	}
	want("published", "at 0 of 2", "bad") // noon is long ago
	h.Served(noon.Add(80*time.Millisecond), "ns1", applied(1, noon))
	h.Served(noon.Add(9*time.Second), "ns1", applied(1, noon)) // it was asked
	h.Served(noon.Add(9*time.Second), "ns2", applied(1, noon.Add(-time.Hour)))
	want("served by one", "at 1 of 2", "bad")
	h.Served(noon.Add(250*time.Millisecond), "ns2", applied(1, noon))
	want("served by all", "at 2 in 250 ms", "ok")
	hour := h.hour(noon)
	if s := hour[len(hour)-1].Spread; s.count() != 2 {
		t.Errorf("%d reports count", s.count())
	}
	h.Published(noon.Add(time.Second), Change{Zone: zoneNumber(2), At: noon.Add(time.Second)})
	h.Published(noon.Add(2*time.Second), Change{Zone: zoneNumber(2), At: noon.Add(2 * time.Second)})
	if c := h.Changes(9)[1]; c.Progress() != "replaced by a later one" {
		t.Error(c.Progress())
	}
	if list := h.ChangesOf(zoneNumber(2)); len(list) != 2 {
		t.Errorf("%d changes of the zone", len(list))
	}
}

// A secondary may be faster than the broker's delivery to this role, and may be filled with what is long published.
func TestServedBeforeItIsKnown(t *testing.T) {
	h := watched(1)
	h.Served(noon.Add(time.Hour), "ns1", applied(0, noon))
	if len(h.Changes(9)) != 0 {
		t.Error("what fills a secondary counts as a change")
	}
	h.Served(noon.Add(50*time.Millisecond), "ns1", applied(0, noon))
	h.Published(noon.Add(60*time.Millisecond), Change{Zone: zoneNumber(0), At: noon, Cause: "notify", Serial: 7})
	if list := h.Changes(9); len(list) != 1 || list[0].What() != "changed, by NOTIFY" || list[0].Progress() != "at 1 in 50 ms" {
		t.Errorf("%+v", list)
	}
}

// The primary's clock is another one.
func TestClocksDiffer(t *testing.T) {
	w, h := newWorld(1, 1), NewHistory()
	d := w.Document()
	for i := range d.Nodes {
		d.Nodes[i].Clock, d.Nodes[i].Seen = noon.Add(time.Hour), noon
	}
	h.Observe(noon, d)
	h.Published(noon, Change{Zone: zoneNumber(0), At: noon.Add(time.Hour)})
	h.Served(noon.Add(70*time.Millisecond), "ns1", applied(0, noon.Add(time.Hour)))
	if got := h.Changes(1)[0].After; got != 70*time.Millisecond {
		t.Error(got)
	}
}

func TestChangesAreBounded(t *testing.T) {
	h := watched(1)
	for i := range 3 * changesKept / 2 {
		at := noon.Add(time.Duration(i) * time.Millisecond)
		h.Published(at, Change{Zone: zoneNumber(i), At: at})
	}
	list := h.Changes(2 * changesKept)
	if len(list) != changesKept || len(h.changes.newest) != changesKept || list[0].Zone != zoneNumber(3*changesKept/2-1) {
		t.Errorf("%d, %d, the first is %s", len(list), len(h.changes.newest), list[0].Zone)
	}
	for i := range 3 * minutesKept {
		h.Observe(noon.Add(time.Duration(i)*time.Minute), newWorld(0, 0).Document())
	}
	if len(h.minutes) != minutesKept {
		t.Errorf("%d minutes", len(h.minutes))
	}
	nodes := 0
	for _, m := range h.minutes {
		nodes += min(len(m.Nodes), 1)
	}
	if nodes != nodesKept {
		t.Errorf("nodes of %d minutes", nodes)
	}
}

func TestEndedAlarms(t *testing.T) {
	w, h := newWorld(2, 3), NewHistory()
	w.fail(2)
	h.Observe(noon, w.Document())
	w.alarms = w.alarms[1:]
	h.Observe(noon.Add(time.Second), w.Document())
	w.alarms = nil
	h.Observe(noon.Add(2*time.Second), w.Document())
	if groups := groupEnded(h.Ended()); len(groups) != 1 || len(groups[0].Nodes) != 2 {
		t.Errorf("%+v", groups)
	}
	h.Observe(noon.Add(25*time.Hour), w.Document())
	if len(h.Ended()) != 0 {
		t.Error("what ended more than a day ago shows")
	}
	for i := range 2 * endedKept {
		at := noon.Add(26*time.Hour + time.Duration(i)*time.Second)
		d := w.Document()
		d.Alarms = []health.Alarm{{Kind: health.AlarmLoad, Role: health.RoleSecondary, Node: fmt.Sprint(i)}}
		h.Observe(at, d)
	}
	if len(h.Ended()) != endedKept {
		t.Errorf("%d", len(h.Ended()))
	}
}

// The history outlives the role; alarms that are raised still are not over.
func TestHistoryIsKept(t *testing.T) {
	w, h := newWorld(3, 10), NewHistory()
	w.busyHour(h)
	w.fail(2)
	h.Observe(w.now, w.Document())
	folder := filepath.Join(t.TempDir(), "state")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must.OK(t, h.Open(folder, zerolog.Nop()))
	must.OK(t, h.Keep(ctx, folder, zerolog.Nop()))
	info, err := os.Stat(filepath.Join(folder, historyFile))
	must.OK(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o", info.Mode().Perm())
	}

	again := NewHistory()
	again.Observe(w.now.Add(time.Minute), newWorld(0, 0).Document()) // before it is read: nothing is raised yet
	must.OK(t, again.Open(folder, zerolog.Nop()))
	if len(again.Changes(changesKept)) != len(h.Changes(changesKept)) || len(again.Ended()) != len(h.Ended()) ||
		!reflect.DeepEqual(again.hour(w.now)[:59], h.hour(w.now)[:59]) {
		t.Error("the history is another one")
	}
	if c, before := again.Changes(1)[0], h.Changes(1)[0]; c.Progress() != before.Progress() || c.Key() != before.Key() {
		t.Errorf("%+v, before %+v", c, before)
	}
	last := again.Changes(1)[0]
	again.Served(w.now, "ns1", health.Applied{Zone: last.Zone, Published: last.At})
	if again.Changes(1)[0].Served != last.Served {
		t.Error("a secondary that was asked counts twice")
	}
	now := time.Now()
	again.Observe(now, newWorld(0, 0).Document())
	if len(again.Ended()) != len(h.Ended()) {
		t.Error("an alarm is over because the role has just begun to look")
	}
	again.Observe(now.Add(2*raiseAgain), newWorld(0, 0).Document())
	if len(again.Ended()) != len(h.Ended())+2 {
		t.Error("an alarm that ended while the role was away is not over")
	}
}

func TestDamagedHistory(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	must.OK(t, os.Mkdir(folder, 0o700))
	must.OK(t, os.WriteFile(filepath.Join(folder, historyFile), []byte("not gzip"), 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h := NewHistory()
	must.OK(t, h.Open(folder, zerolog.Nop()))
	must.OK(t, h.Keep(ctx, folder, zerolog.Nop()))
	for _, name := range []string{historyFile, damagedFile} {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := read(filepath.Join(folder, historyFile)); err != nil {
		t.Error(err)
	}
}

func TestFolderIsOpenToOthers(t *testing.T) {
	folder := t.TempDir()
	must.OK(t, os.Chmod(folder, 0o755))
	if err := NewHistory().Open(folder, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Error(err)
	}
}

func TestSpread(t *testing.T) {
	var s spread
	if _, any := s.within(.5); any {
		t.Error("nothing was served, within some time")
	}
	for d, class := range map[time.Duration]int{0: 0, firstClass: 0, firstClass + 1: 1, 15 * time.Millisecond: 1, time.Hour: classes - 1} {
		if got := classOf(d); got != class {
			t.Errorf("%s: %d", d, got)
		}
	}
	for i := range 100 {
		s.note(time.Duration(i) * 10 * time.Millisecond)
	}
	half, _ := s.within(.5)
	all, _ := s.within(1)
	if half < 490*time.Millisecond || half > 750*time.Millisecond || all < 990*time.Millisecond || all > 1500*time.Millisecond {
		t.Error(half, all)
	}
}
