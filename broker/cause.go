package broker

import (
	"fmt"
	"slices"
)

// Cause is what a touch means. The set is closed, and what a role may say is in one table: a touch with another cause
// is dropped unread, so that no message decides more than its sender's key allows.
type Cause string

// The causes that travel. What a primary thinks of by itself (a sweep, a scrub, renewal) never does.
const (
	// Changed says that a write was accepted, or may have been: look at the zone.
	Changed Cause = "changed"

	// Deleted says that PowerDNS confirmed the deletion of the zone. A primary believes it only of a zone that PowerDNS
	// has not, of so many zones in an hour, and never of one whose deletion is held already.
	Deleted Cause = "deleted"

	// Ordered says that secondaries are to take the zone again, though they have it: see Touch.Again.
	Ordered Cause = "ordered"
)

// causes is what each role may say.
var causes = map[Role][]Cause{
	RoleProxy:   {Changed, Deleted},
	RoleHealth:  {Ordered},
	RolePrimary: {Ordered}, // an operator's command with a primary's credentials
}

// sweepers may ask for a sweep: proxies that do not know what a write has touched, and operators at a primary.
var sweepers = []Role{RoleProxy, RolePrimary}

// check reports whether the sender may publish the touch.
func (t Touch) check(from Sender) error {
	switch {
	case !slices.Contains(causes[from.Role], t.Cause):
		return fmt.Errorf("%s may not say %q of a zone", from, t.Cause)
	case (t.Cause == Ordered) != (t.Again != ""):
		return fmt.Errorf("a touch %q of %s names %q to take the zone again", t.Cause, from, t.Again)
	case !t.Term.IsZero() && t.Cause != Ordered, t.Serial != nil && t.Cause != Changed:
		return fmt.Errorf("a touch %q of %s says what belongs to another cause", t.Cause, from)
	case t.Beside != "" && from.Role != RoleProxy:
		return fmt.Errorf("a touch of %s names a database, which proxies alone may", from)
	case t.Beside != "" && CheckNodeID(t.Beside) != nil:
		return fmt.Errorf("a touch of %s names no PowerDNS: %w", from, CheckNodeID(t.Beside))
	case t.Again != "" && t.Again != ToAll:
		return CheckNodeID(t.Again)
	}
	return nil
}
