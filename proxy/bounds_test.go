package proxy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// TestQueueIsBounded queues more zones than may wait: of the rest a sweep is asked for, by the next process as well.
func TestQueueIsBounded(t *testing.T) {
	q := &queue{away: true}
	dir := t.TempDir()
	open := func() *pendingTouches {
		j, err := openJournal(dir)
		must.OK(t, err)
		j.limit = 10
		d := newPendingTouches(q, j, zerolog.Nop(), func(float64) {})
		d.limit = 10
		return d
	}
	d := open()
	for range 2 {
		for i := range 100 {
			d.store(t.Context(), Touch{Zone: zone.MustParseName(fmt.Sprintf("z%d.example", i)), Cause: Changed}, true, time.Nanosecond)
		}
	}
	if names, _ := d.waiting(); len(names) > 11 || !slices.Contains(names, "") {
		t.Errorf("%d zones wait", len(names))
	}
	if n := len(d.journal.last); n > 12 {
		t.Errorf("the journal holds %d", n)
	}
	again := open()
	if names, _ := again.waiting(); len(names) > 12 || !slices.Contains(names, "") {
		t.Errorf("%d zones wait after a restart", len(names))
	}
	q.setAway(false)
	if !again.flush(t.Context()) || !slices.Contains(q.take(), "sweep") {
		t.Error("no sweep is asked for")
	}
}

func TestSecondariesAreBounded(t *testing.T) {
	tracker := NewTracker(TrackerOptions{InactiveAfter: time.Hour})
	for i := range 2 * health.MaxNodes {
		tracker.Seen(fmt.Sprintf("ns%d", i), time.Now())
	}
	later := time.Now().Add(time.Minute)
	tracker.Seen("ns0", later)
	w := tracker.watch(zone.Root, true)
	for i := range 2 * health.MaxNodes {
		tracker.Applied(fmt.Sprintf("ns%d", i), health.Applied{Zone: zone.Root, Serial: 1})
	}
	tracker.Applied("ns0", health.Applied{Zone: zone.Root, Serial: 2})
	if n := len(w.applied); n != health.MaxNodes || w.applied["ns0"].Serial != 2 {
		t.Errorf("%d told of a zone, ns0 of serial %d", n, w.applied["ns0"].Serial)
	}
	if n := len(tracker.secondaries); n != health.MaxNodes || !tracker.secondaries["ns0"].Equal(later) {
		t.Errorf("%d secondaries are known, ns0 from %s", n, tracker.secondaries["ns0"])
	}
}
