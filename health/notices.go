package health

import (
	"time"

	"pdns-distribute/powerdns/zone"
)

// Settled is the notice of a primary when it has finished a touch, and when it is asked: which state the zone is at.
type Settled struct {
	Zone    zone.Name `json:"zone"`
	Touch   uint64    `json:"touch"`             // all touches of the zone up to this one in the queue are finished
	Pending bool      `json:"pending,omitempty"` // this one is not
	Again   bool      `json:"again,omitempty"`   // the state was published though nothing had changed, to be applied again

	// Except are proxies whose own touches are not finished: their database may have what is not published.
	Except []string `json:"except,omitempty"`

	Gone      bool      `json:"gone,omitempty"` // there is no such zone to be distributed
	Serial    uint32    `json:"serial"`
	Digest    string    `json:"digest,omitempty"`  // hex
	Stable    string    `json:"stable,omitempty"`  // hex
	Expires   uint32    `json:"expires,omitempty"` // first end of a signature, as in RFC 4034 §3.1.5
	Published time.Time `json:"published,omitzero"`

	Computed zone.Computed `json:"computed,omitzero"` // ALIAS and LUA records
}

// Unanswered reports whether secondaries answer NODATA at some names, since PowerDNS computes no answers in a zone that
// it was given signed.
func (s Settled) Unanswered() bool { return !s.Gone && s.Expires != 0 && s.Computed.Any() }

// Applied is the notice of a secondary when its PowerDNS has answered with a state, and when it is asked.
type Applied struct {
	Zone zone.Name `json:"zone"`

	Gone   bool      `json:"gone,omitempty"` // PowerDNS does not have the zone
	Serial uint32    `json:"serial"`
	Digest string    `json:"digest,omitempty"` // hex
	Stable string    `json:"stable,omitempty"` // hex
	At     time.Time `json:"at"`               // when it was found to answer so

	Expires   uint32    `json:"expires,omitempty"`  // first end of a signature
	Published time.Time `json:"published,omitzero"` // of the state; within a zone it never goes back
	Repaired  bool      `json:"repaired,omitempty"` // PowerDNS had lost or altered what it was given before
}

// Has reports whether the secondary serves the settled state, or a later one. A notice of an earlier publication does
// not count, though the content be the same: in between there may have been another.
func (a Applied) Has(s Settled) bool {
	if a.Published.Before(s.Published) {
		return false
	}
	return a.Published.After(s.Published) || a.Gone == s.Gone && a.Digest == s.Digest && a.Stable == s.Stable
}
