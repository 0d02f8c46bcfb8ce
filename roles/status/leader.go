package status

import (
	"context"
	"encoding/json"
	"errors"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// HeldAnswer is what a primary answers a confirmation of deletions, or the question how many it holds. An operator
// confirms them: for a named node, as many as that node holds, within a short time, signed with the nkey of the node
// on whose host the command runs.
type HeldAnswer struct {
	Held  int    `json:"held"` // deletions that wait
	Fault string `json:"fault,omitempty"`
}

// LeaderRequest is what commands ask of the health role that leads.
type LeaderRequest struct {
	Do   string    `json:"do"`             // DoCheck and so on
	Node string    `json:"node,omitempty"` // "" is all secondaries
	Zone zone.Name `json:"zone,omitempty"` // with DoLook

	Confirmation json.RawMessage `json:"confirmation,omitempty"` // with DoConfirm, see broker.Confirmation
}

// What a LeaderRequest can ask for.
const (
	DoCheck   = "check" // compare nodes with what is published
	DoCount   = "count" // compare the primaries alone: whether all zones are published
	DoLook    = "look"  // look at one zone in all sources
	DoConfirm = "confirm-deletes"
)

// LeaderAnswer is what the health role that leads answers.
type LeaderAnswer struct {
	Fault string       `json:"fault,omitempty"`
	Held  int          `json:"held,omitempty"` // deletions that wait for a confirmation, with DoConfirm and without one
	Nodes []NodeReport `json:"nodes,omitempty"`

	Sources   []ZoneSource  `json:"sources,omitempty"`   // with DoLook
	Published *SourceReport `json:"published,omitempty"` // what the nodes were compared with
}

// AskLeader has the health role that leads do something. The error is a fault of the broker, or what the leader
// answers.
func AskLeader(ctx context.Context, conn *broker.Conn, r LeaderRequest) (answer LeaderAnswer, err error) {
	request, err := json.Marshal(r)
	if err != nil {
		return answer, err
	}
	text, err := conn.AskLeader(ctx, request)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return answer, err
	}
	answer.clean()
	if answer.Fault != "" {
		err = errors.New(answer.Fault)
	}
	return answer, err
}

// clean makes the texts fit to be printed, whoever answered.
func (a *LeaderAnswer) clean() {
	a.Fault = health.Cut(a.Fault)
	for i := range a.Sources {
		s := &a.Sources[i]
		s.Node, s.Source, s.Fault = health.Cut(s.Node), health.Source(health.Cut(string(s.Source))), health.Cut(s.Fault)
	}
	for i := range a.Nodes {
		n := &a.Nodes[i]
		n.Node, n.Held, n.Fault = health.Cut(n.Node), health.Cut(n.Held), health.Cut(n.Fault)
		n.Role = health.Cut(n.Role)
		cutAll(n.Found)
		cutAll(n.Repaired)
		for j := range n.Sources {
			n.Sources[j].clean()
		}
	}
}

func (r *SourceReport) clean() {
	r.Source, r.Sum, r.Fault = health.Source(health.Cut(string(r.Source))), health.Cut(r.Sum), health.Cut(r.Fault)
	cutAll(r.Found)
}

func cutAll(texts []string) {
	for i := range texts {
		texts[i] = health.Cut(texts[i])
	}
}
