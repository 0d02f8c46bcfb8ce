// Package health holds desired against actual: what every node says of itself ([Presence]), what the broker knows of
// each secondary's lag, and the [Board] that shows both. [Events] follows each change until all serve it, [Compare] finds
// what differs between what a secondary has and what is published, by few words where nothing does. [Alarms] are what is
// wrong. The [Brake] keeps an accident from deleting a fleet.
//
// It speaks to nobody: package roles brings it what the broker delivers.
package health

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"pdns-distribute/powerdns/zone"
)

// Presence is what a node says of itself, every few seconds and after every change of its condition.
type Presence struct {
	Node     string    `json:"node"`
	Role     string    `json:"role"` // primary, secondary, proxy or health
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Instance string    `json:"instance"` // tells two processes with one id apart
	Host     string    `json:"host"`
	Clock    time.Time `json:"clock"`              // the node's own, when it spoke
	PowerDNS string    `json:"powerdns,omitempty"` // version of the PowerDNS beside it

	Zones       int       `json:"zones"`                 // published by a primary, held by a secondary, waiting at a proxy
	LastApplied time.Time `json:"last_applied,omitzero"` // when a secondary last proved a version
	LastZone    zone.Name `json:"last_zone,omitzero"`    // and of which zone

	Complete bool `json:"complete,omitempty"` // a primary that has compared all zones, and published what differed

	Load        float64      `json:"load"`                   // system load average of one minute
	Cores       int          `json:"cores"`                  // of its host
	DiskFree    uint64       `json:"disk_free"`              // bytes, where it keeps its state
	DiskTotal   uint64       `json:"disk_total"`             // 0: it keeps none
	Addresses   []string     `json:"addresses,omitempty"`    // where PowerDNS answers the world
	SignedUntil *SignedUntil `json:"signed_until,omitempty"` // of all zones that a secondary has

	Extra      int       `json:"extra,omitempty"`      // zones that PowerDNS has, nobody published, and the role did not make
	ExtraFirst zone.Name `json:"extra_first,omitzero"` // the first of them

	Leads  bool    `json:"leads,omitempty"`  // a health role that acts for all
	Alarms []Alarm `json:"alarms,omitempty"` // what it finds wrong, the first MaxAlarms

	Refeed   time.Time `json:"refeed,omitzero"`    // its feed of this time of creation has gone past what its store lacks
	Problems []string  `json:"problems,omitempty"` // why it is not ready
	Warnings []string  `json:"warnings,omitempty"` // what works but should be changed
	Failing  []Failure `json:"failing,omitempty"`  // zones in trouble, the first MaxFailures of them
	Failures int       `json:"failures"`           // how many there are
}

// What is taken of a presence: a node that is broken, or not ours any more, must not fill the memory of others.
const (
	maxText      = 400 // bytes
	maxTexts     = 50
	maxAddresses = 8
)

// MaxNodes is how many nodes are known at most. The broker tells the stored statuses of no more.
const MaxNodes = 1024

// Bound cuts what is longer than a node of ours makes it, and what only a health role may say.
func (p *Presence) Bound() {
	p.Problems, p.Warnings = bounded(p.Problems), bounded(p.Warnings)
	p.Addresses = bounded(p.Addresses[:min(len(p.Addresses), maxAddresses)])
	p.Failing = slices.Clone(p.Failing[:min(len(p.Failing), MaxFailures)]) // the rest must not be kept
	for i := range p.Failing {
		p.Failing[i].Reason = Cut(p.Failing[i].Reason)
	}
	p.Alarms = slices.Clone(p.Alarms[:min(len(p.Alarms), MaxAlarms)])
	for i := range p.Alarms {
		a := &p.Alarms[i]
		a.Kind, a.Node, a.What, a.Remedy = Cut(a.Kind), Cut(a.Node), Cut(a.What), Cut(a.Remedy)
	}
	p.Role, p.Host, p.Version, p.PowerDNS, p.Instance = Cut(p.Role), Cut(p.Host), Cut(p.Version), Cut(p.PowerDNS), Cut(p.Instance)
	if p.Role != roleHealth {
		p.Leads, p.Alarms = false, nil
	}
}

func bounded(texts []string) (cuts []string) {
	for _, text := range texts[:min(len(texts), maxTexts)] {
		cuts = append(cuts, Cut(text))
	}
	return cuts
}

// Cut is as much of a text of another node as is taken, in one line that is fit to be printed.
func Cut(text string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + " …"
	}
	return Printable(strings.ReplaceAll(text, "\n", " "))
}

// Printable puts a space for what would do something to a terminal rather than be seen there, but for the ends of lines: texts
// of others are printed.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			return r
		}
		return ' '
	}, text)
}

// MaxFailures bounds Presence.Failing, so that a presence always fits a message.
const MaxFailures = 50

// Failure is one zone's trouble. It is retried until it is gone.
type Failure struct {
	Zone     zone.Name `json:"zone"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"`
	Attempts int       `json:"attempts"`
	Refused  bool      `json:"refused,omitempty"` // what came of it cannot be verified, so somebody may have forged it
}
