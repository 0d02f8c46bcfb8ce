package primary

import (
	"testing"
	"time"

	"pdns-distribute/roles/roletest"
)

// A touch from beside another PowerDNS is settled once the database behind its proxy has had a heartbeat from after
// it, and not by a touch of another proxy. Who is silent for long keeps nobody waiting.
func TestWitnesses(t *testing.T) {
	w, now, name := newWitnesses(), time.Now(), roletest.Named("a")
	witnessed := func(at time.Time) bool {
		missing, _ := w.missing(name, at)
		return len(missing) == 0
	}
	if !witnessed(now) {
		t.Error("nobody waits for a witness")
	}
	w.heed("proxy1", now.Add(-1), now)
	w.need(name, "proxy1", now)
	if witnessed(now) {
		t.Error("the database had nothing from after the touch")
	}
	w.need(name, "proxy2", now)
	w.heed("proxy2", now.Add(1), now)
	if missing, _ := w.missing(name, now); len(missing) != 1 || missing["proxy1"] != now {
		t.Errorf("another proxy is no witness, and needs none any more: %v", missing)
	}
	w.heed("proxy1", now, now)
	if !witnessed(now) || len(w.open) > 0 {
		t.Error("both have witnessed")
	}
	w.need(name, "proxy1", now.Add(1))
	if witnessed(now.Add(witnessAlive)) || !witnessed(now.Add(witnessAlive+2)) {
		t.Error("a silent proxy is waited for so long, and no longer")
	}
}

// The time at which a touch was first taken holds while it is delivered again, and for older ones of its zone.
func TestTaken(t *testing.T) {
	now := time.Now()
	first := newTaken()
	name := roletest.Named("a")
	for n, test := range []struct {
		seq         uint64
		after, want time.Duration
	}{{5, 0, 0}, {5, 1, 0}, {7, 2, 2}, {5, 3, 2}, {7, 4, 2}} {
		if got := first.note(name, test.seq, now.Add(test.after)); !got.Equal(now.Add(test.want)) {
			t.Errorf("%d: %s", n, got.Sub(now))
		}
	}
	first.done(name, 5)
	if got := first.note(name, 7, now.Add(9)); !got.Equal(now.Add(2)) {
		t.Error("an older one that is done with makes it forget a newer one")
	}
	first.done(name, 7)
	if len(first.zones) > 0 {
		t.Error("it forgets nothing")
	}
}
