package health

import (
	"time"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// pacing says when a repair at a node that did not help is ordered once more: after pauses that grow like those of a
// role that fails at the zone, however often the node is checked. It is for one goroutine.
type pacing struct {
	before, now map[zone.Name]pace // what this round ordered, and the one before
}

type pace struct {
	orders int       // in a row
	due    time.Time // when the next one is
}

func newPacing() *pacing { return &pacing{now: map[zone.Name]pace{}} }

// begin begins a round. What the round before did not order differs no more.
func (p *pacing) begin() { p.before, p.now = p.now, map[zone.Name]pace{} }

// due reports whether a repair of the zone is ordered now.
func (p *pacing) due(now time.Time, name zone.Name) bool {
	last, again := p.now[name] // by another source
	if !again {
		last = p.before[name]
	}
	due := !now.Before(last.due)
	if due && !again {
		last.orders++
		last.due = now.Add(work.RetryPause(last.orders))
	}
	p.now[name] = last
	return due
}
