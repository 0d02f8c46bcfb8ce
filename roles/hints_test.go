package roles

import (
	"fmt"
	"testing"

	"pdns-distribute/powerdns/zone"
)

// TestHintsAreBounded has more zones notified than there can be.
func TestHintsAreBounded(t *testing.T) {
	p := &Primary{hints: newAgenda()}
	for i := range maxHints + 1000 {
		p.notified(zone.MustParseName(fmt.Sprintf("z%d.example", i)))
	}
	if n := p.hints.size(); n != maxHints {
		t.Errorf("%d zones are remembered, want %d", n, maxHints)
	}
}
