package status

import (
	"context"
	"slices"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/command"
)

// Path is where the health role answers with the document, as JSON.
const Path = "/distribute/v1/status"

// Leader returns the health role that leads, nil if none is known. holder is who holds the lease, as the broker
// reports it: what nodes report themselves is not believed.
func Leader(b health.Board, holder string) *health.Row {
	for i, r := range b.Nodes {
		if r.Node == holder && r.Leads && r.Active {
			return &b.Nodes[i]
		}
	}
	return nil
}

// Version is that of the documents of status. It is raised when a field goes or means something else; fields may be
// added without that.
const Version = 1

// Document is what the command status prints as JSON, and what the health role answers.
type Document struct {
	health.Board
	Version int            `json:"version"`          // of this document
	Leader  string         `json:"leader,omitempty"` // the health role that leads
	Alarms  []health.Alarm `json:"alarms"`           // as the leader sees them, one for each kind and node
	Causes  []health.Group `json:"causes"`           // the same by cause, in the order in which to see to them

	Unanswered []string         `json:"unanswered,omitempty"` // what the brokers did not answer
	Compared   *health.Compared `json:"compared"`             // the leader's last comparisons; null: none
	comparing  time.Duration    // how old that may be
}

// compareSlack is how long the comparisons of all nodes may take, beyond twice the interval.
const compareSlack = 5 * time.Minute

// NewDocument puts a board, and what its leader reports, together with the alarms. holder is who holds the lease.
func NewDocument(b health.Board, c health.Config, holder string, alarms []health.Alarm) Document {
	d := Document{
		Board: b, Version: Version, Alarms: alarms, Causes: health.Grouped(alarms),
		comparing: 2*c.CheckInterval + compareSlack,
	}
	if r := Leader(b, holder); r != nil {
		d.Leader = r.Node
		if r.Health.Compared != nil {
			compared := *r.Health.Compared
			compared.At = compared.At.Add(r.Seen.Sub(r.Clock)) // by the clock that the board goes by
			d.Compared = &compared
		}
	}
	return d
}

// LastCompared returns in one line what the leader's last comparisons came to. whole reports whether they are recent,
// complete, and without a difference.
func LastCompared(ctx context.Context, conn *broker.Conn, cfg health.Config) (line string, whole bool, err error) {
	d, err := Read(ctx, conn, cfg)
	return d.ComparedLine(), d.Compared.Whole(d.At, d.comparing), err
}

// ComparedLine returns what the document rests on: the last comparisons of all sources.
func (d Document) ComparedLine() string { return comparedLine(d.Compared, d.At, d.comparing) }

// InOrder returns nil, or command.ErrNotInOrder where something is wrong: a state, an alarm, no leader, an old
// comparison.
func (d Document) InOrder() error {
	alarmed := slices.ContainsFunc(d.Alarms, func(a health.Alarm) bool { return !a.Warning })
	if d.OK && d.Leader != "" && d.Compared.Whole(d.At, d.comparing) && !alarmed {
		return nil
	}
	return command.ErrNotInOrder
}

// raised reports whether there is such an alarm.
func (d Document) raised(kind health.Kind, node string) bool {
	return slices.ContainsFunc(d.Alarms, func(a health.Alarm) bool { return a.Kind == kind && a.Node == node })
}
