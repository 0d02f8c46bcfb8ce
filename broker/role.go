package broker

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what a node is. The broker binds it to the node's key: a key may publish below one role and one id, see
// accounts.tmpl. What a message says of its sender besides does not count.
type Role string

// The roles that connect to a broker, and the broker itself, which does so within its own process.
const (
	RolePrimary   Role = "primary"
	RoleHealth    Role = "health"
	RoleProxy     Role = "proxy"
	RoleSecondary Role = "secondary"
	RoleBroker    Role = "broker"
)

// Roles lists them.
var Roles = []Role{RolePrimary, RoleHealth, RoleProxy, RoleSecondary, RoleBroker}

// Sender is who published a message, as its subject says. In an account with permissions as init writes them the broker
// lets nobody else publish there.
type Sender struct {
	Role Role
	Node string
}

func (s Sender) String() string { return string(s.Role) + " " + s.Node }

// subject is prefix with the sender behind it: "pdns.status." becomes "pdns.status.proxy.p1".
func (s Sender) subject(prefix string) string { return prefix + string(s.Role) + "." + s.Node }

// check returns why s cannot be the sender of anything.
func (s Sender) check() error {
	if !slices.Contains(Roles, s.Role) {
		return fmt.Errorf("%w: %q is no role", ErrSubject, s.Role)
	}
	return CheckNodeID(s.Node)
}

// subjectSender reads the sender behind a prefix, and returns the rest of the subject, "" if nothing follows.
func subjectSender(prefix, subject string) (s Sender, rest string, err error) {
	tokens, ok := strings.CutPrefix(subject, prefix)
	if !ok {
		return s, "", fmt.Errorf("%w: %q doesn't begin with %q", ErrSubject, subject, prefix)
	}
	role, tokens, _ := strings.Cut(tokens, ".")
	node, rest, _ := strings.Cut(tokens, ".")
	s = Sender{Role(role), node}
	if err := s.check(); err != nil {
		return s, "", fmt.Errorf("%q: %w", subject, err)
	}
	return s, rest, nil
}

// wholeSender is subjectSender for subjects that end with the sender.
func wholeSender(prefix, subject string) (Sender, error) {
	s, rest, err := subjectSender(prefix, subject)
	if err == nil && (rest != "" || s.subject(prefix) != subject) {
		err = fmt.Errorf("%w: %q has more than a sender behind %q", ErrSubject, subject, prefix)
	}
	return s, err
}
