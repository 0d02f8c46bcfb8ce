package page

import (
	"context"
	"errors"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/status"
)

// Source is what the page reads. It is safe for concurrent use. All but Look answer at once.
type Source interface {
	// Document returns the state of the installation.
	Document() status.Document
	// Prepare has names be ready before somebody searches, and returns at once.
	Prepare()
	// Find returns the first zones whose names contain the text.
	Find(text string, most int) index.Found
	// Renewals returns how far renewals of signatures are.
	Renewals() index.Signatures
	// Look asks all nodes about a zone, and their public addresses; ErrBusy if too many look at once.
	Look(ctx context.Context, name zone.Name) (Zone, error)
}

// ErrBusy is that of a look that is refused: each costs a question to every node.
var ErrBusy = errors.New("too many zones are being looked at; try again in a moment")

// Zone is what is known of one zone.
type Zone struct {
	Name        zone.Name
	At          time.Time
	Published   index.Published
	Primary     *health.Settled // what a primary answers; nil: none has
	Secondaries []Secondary     // by node
	Unasked     string          // why nobody was asked
	NotOutside  string          // why public addresses were not asked
}

// Secondary is what one secondary has of a zone.
type Secondary struct {
	Node    string
	Active  bool
	Has     *health.Applied // what it answers; nil: it has not
	InSync  bool
	Waits   bool            // the state waits for it at the broker, or is in its hands
	Failing *health.Failure // why it does not apply it
	Outside []Outside       // what its public addresses answer
}

// Outside is what one address answers, asked as the world does.
type Outside struct {
	Address string
	Serial  uint32
	Expires uint32 // of the signature that ends last; 0 without one
	Took    time.Duration
	Fault   string
	Equal   bool // the serial is that of the published state
}
