package primary

import (
	"fmt"
	"testing"

	"pdns-distribute/powerdns/zone"
)

// TestHintsAreBounded has more zones notified than there can be.
func TestHintsAreBounded(t *testing.T) {
	s := newSchedules(1)
	for i := range maxHints + 1000 {
		s.notified(zone.MustParseName(fmt.Sprintf("z%d.example", i)))
	}
	if n := s.hints.Size(); n != maxHints {
		t.Errorf("%d zones are remembered, want %d", n, maxHints)
	}
}
