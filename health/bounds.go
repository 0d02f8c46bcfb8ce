package health

import (
	"slices"
	"strings"
	"unicode"
)

// What is taken of a presence: a node that is broken, or not ours any more, must not fill the memory of others.
const (
	maxText      = 400 // bytes
	maxTexts     = 50
	maxAddresses = 8
)

// Bound cuts what is longer than a node of ours makes it, and drops what nodes of the role may not report.
func (p *Presence) Bound() {
	p.Role, p.Host.Name = Cut(p.Role), Cut(p.Host.Name)
	p.Version, p.PowerDNS, p.Instance = Cut(p.Version), Cut(p.PowerDNS), Cut(p.Instance)
	p.Condition.bound()
	p.Replication = p.Replication.bounded()
	p.Leads = p.Leads && (p.Role == RoleHealth || p.Role == RolePrimary)
	if p.Role != RolePrimary {
		p.Primary = PrimaryReport{}
	}
	if p.Secondary.bound(); p.Role != RoleSecondary {
		p.Secondary = SecondaryReport{}
	}
	if p.Health.bound(); p.Role != RoleHealth {
		p.Health = HealthReport{}
	}
	if p.Broker = p.Broker.bounded(); p.Role != RoleBroker {
		p.Broker = nil
	}
}

func (c *Condition) bound() {
	c.Problems, c.Warnings, c.Repaired = bounded(c.Problems), bounded(c.Warnings), Cut(c.Repaired)
	c.Failing = slices.Clone(c.Failing[:min(len(c.Failing), MaxFailures)]) // the rest must not be kept
	for i := range c.Failing {
		c.Failing[i].Reason = Cut(c.Failing[i].Reason)
	}
}

func (r *SecondaryReport) bound() {
	r.Addresses = bounded(r.Addresses[:min(len(r.Addresses), maxAddresses)])
	if r.Checkpoint != nil {
		c := *r.Checkpoint
		c.Incomplete, c.Silent = Cut(c.Incomplete), Cut(c.Silent)
		r.Checkpoint = &c
	}
}

func (r *HealthReport) bound() {
	r.Alarms = slices.Clone(r.Alarms[:min(len(r.Alarms), MaxAlarms)])
	for i := range r.Alarms {
		a := &r.Alarms[i]
		a.Kind, a.Node, a.What, a.Remedy = Kind(Cut(string(a.Kind))), Cut(a.Node), Cut(a.What), Cut(a.Remedy)
		a.Role, a.Cause, a.At = Cut(a.Role), Cut(a.Cause), Cut(a.At)
	}
	if r.Compared != nil {
		c := *r.Compared
		c.bound()
		r.Compared = &c
	}
}

func bounded(texts []string) (cuts []string) {
	for _, text := range texts[:min(len(texts), maxTexts)] {
		cuts = append(cuts, Cut(text))
	}
	return cuts
}

// Cut returns as much of a text of another node as is taken, in one line that is fit to be printed.
func Cut(text string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + " …"
	}
	return Printable(strings.ReplaceAll(text, "\n", " "))
}

// Printable replaces what would do something to a terminal rather than be seen there by spaces, but for the ends of
// lines: texts of other nodes are printed.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			return r
		}
		return ' '
	}, text)
}
