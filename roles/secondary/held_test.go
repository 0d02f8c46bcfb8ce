package secondary

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/roletest"
)

// What is applied while a review reads stays as it was applied, whatever the review found; all else is as it was
// found.
func TestAppliedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		version := func(n int, serial uint32) *zone.State {
			return &zone.State{Name: roletest.Numbered(n), Serial: serial, Digest: zone.Digest{byte(serial)}, Published: roletest.Noon}
		}
		h := newHoldings()
		h.apply(version(1, 1), broker.Place{})
		h.apply(version(2, 1), broker.Place{})
		time.Sleep(time.Second)
		begin := time.Now()
		time.Sleep(time.Second)
		h.apply(version(2, 2), broker.Place{})
		h.apply(version(3, 1), broker.Place{})
		found := map[zone.Name]holding{
			roletest.Numbered(2): holdingOf(version(2, 1), begin), roletest.Numbered(4): holdingOf(version(4, 1), begin),
		}
		if meanwhile := h.replace(found, begin); len(meanwhile) != 2 || !meanwhile[roletest.Numbered(2)] || !meanwhile[roletest.Numbered(3)] {
			t.Errorf("applied meanwhile: %v", meanwhile)
		}
		for what, test := range map[string]struct {
			state        *zone.State
			held, proven bool
		}{
			"not found":                          {version(1, 1), false, false},
			"found, and another applied":         {version(2, 1), false, false},
			"applied, and another found":         {version(2, 2), true, true},
			"applied, and not found":             {version(3, 1), true, true},
			"found":                              {version(4, 1), true, false},
			"found, but another version of that": {version(4, 2), false, false},
		} {
			if _, err := h.of(test.state); (err == nil) != test.held || err != nil && !errors.Is(err, transfer.ErrNotServed) {
				t.Errorf("%s: %v", what, err)
			}
			if h.proves(test.state) != test.proven {
				t.Errorf("%s: proven is not %v", what, test.proven)
			}
		}
		if at, name := h.last(); name != roletest.Numbered(3) || !at.Equal(time.Now()) {
			t.Errorf("the last was %s, %s", name, at)
		}
	})
}

// That PowerDNS had lost or altered a zone is said with each report of the state that found it, at whichever attempt
// that is served, and of none before or after.
func TestLostIsReported(t *testing.T) {
	state := &zone.State{Name: roletest.Numbered(1), Published: roletest.Noon}
	h := newHoldings()
	if h.hadLost(state.Name, state.Published) {
		t.Error("a zone that was never lost")
	}
	h.noteLost(state)
	for range 2 { // a notice may be lost
		if !h.hadLost(state.Name, state.Published) {
			t.Error("the state that found it lost")
		}
	}
	if h.hadLost(state.Name, roletest.Noon.Add(-time.Second)) || h.hadLost(state.Name, roletest.Noon.Add(time.Second)) {
		t.Error("another state than the one that found it lost")
	}
	if h.hadLost(state.Name, state.Published) {
		t.Error("after a later state")
	}
}
