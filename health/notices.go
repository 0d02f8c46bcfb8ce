package health

import (
	"time"

	"pdns-distribute/powerdns/zone"
)

// Settled is what a primary tells when it is done with a touch, and when it is asked: which state the zone is at.
type Settled struct {
	Zone    zone.Name `json:"zone"`
	Touch   uint64    `json:"touch"`             // all touches of the zone up to this one in the queue are done with
	Pending bool      `json:"pending,omitempty"` // this one is not
	Again   bool      `json:"again,omitempty"`   // the state was published though nothing had changed, to be taken anew

	Gone      bool      `json:"gone,omitempty"` // there is no such zone to be distributed
	Serial    uint32    `json:"serial"`
	Digest    string    `json:"digest,omitempty"`  // hex
	Stable    string    `json:"stable,omitempty"`  // hex
	Expires   uint32    `json:"expires,omitempty"` // first end of a signature, as in RFC 4034 §3.1.5
	Published time.Time `json:"published,omitzero"`
}

// Applied is what a secondary tells when its PowerDNS has answered with a state, and when it is asked.
type Applied struct {
	Zone zone.Name `json:"zone"`

	Gone   bool      `json:"gone,omitempty"` // PowerDNS does not have the zone
	Serial uint32    `json:"serial"`
	Digest string    `json:"digest,omitempty"` // hex
	Stable string    `json:"stable,omitempty"` // hex
	At     time.Time `json:"at"`               // when it was found to answer so

	Expires   uint32    `json:"expires,omitempty"`  // first end of a signature
	Published time.Time `json:"published,omitzero"` // of the state; within a zone it never goes back
	Mended    bool      `json:"mended,omitempty"`   // PowerDNS had lost or altered what it was given before
}

// Has tells whether a secondary that told this serves the settled state, or a later one.
func (a Applied) Has(s Settled) bool {
	if a.Gone && s.Gone || !s.Published.IsZero() && a.Published.After(s.Published) {
		return true
	}
	return a.Gone == s.Gone && a.Digest == s.Digest && a.Stable == s.Stable
}
