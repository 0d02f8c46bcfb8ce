package health

import (
	"fmt"
	"time"

	"pdns-distribute/powerdns/zone"
)

// The roles, as presences name them and as package broker does.
const (
	RolePrimary   = "primary"
	RoleSecondary = "secondary"
	RoleProxy     = "proxy"
	RoleHealth    = "health"
	RoleBroker    = "broker"
)

// MaxNodes is how many nodes are known at most. The broker delivers the stored presences of no more.
const MaxNodes = 1024

// Presence is what a node reports of itself, every few seconds and after every change of its condition.
type Presence struct {
	Node string `json:"node"`
	Role string `json:"role"` // broker, primary, proxy, health or secondary
	Process
	Condition

	Host  Host `json:"host"`
	Zones int  `json:"zones"`           // published by a primary, held by a secondary, waiting at a proxy
	Leads bool `json:"leads,omitempty"` // a health role or a primary that acts for all

	// The parts that only nodes of one role have.
	Primary   PrimaryReport   `json:"primary,omitzero"`
	Secondary SecondaryReport `json:"secondary,omitzero"`
	Health    HealthReport    `json:"health,omitzero"`
	Broker    *BrokerReport   `json:"broker,omitempty"`

	Replication *Replication `json:"replication,omitempty"` // nil where there is one database
}

// Process is the program that runs a role, and the PowerDNS beside it.
type Process struct {
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Instance string    `json:"instance"`           // differs between two processes with one node id
	Clock    time.Time `json:"clock"`              // the time at the node when it reported
	PowerDNS string    `json:"powerdns,omitempty"` // version of the PowerDNS beside it
}

// Condition is what is wrong with a node, as the node itself finds it.
type Condition struct {
	Problems []string  `json:"problems,omitempty"` // why it is not ready
	Warnings []string  `json:"warnings,omitempty"` // what works but should be changed
	Failing  []Failure `json:"failing,omitempty"`  // zones that fail, the first MaxFailures of them
	Failures int       `json:"failures"`           // how many zones fail

	Repaired   string    `json:"repaired,omitempty"` // files that were damaged at the start, and what became of them
	RepairedAt time.Time `json:"repaired_at,omitzero"`
}

// MaxFailures bounds Condition.Failing, so that a presence always fits a message.
const MaxFailures = 50

// Failure is one zone that fails. It is retried until it succeeds.
type Failure struct {
	Zone     zone.Name `json:"zone"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"`
	Attempts int       `json:"attempts"`
	Refused  bool      `json:"refused,omitempty"` // what was published cannot be verified, so it may be forged
}

// Host is the host of a node.
type Host struct {
	Name      string  `json:"name"`
	Load      float64 `json:"load"`       // system load average of one minute
	Cores     int     `json:"cores"`      // processors that are used
	DiskFree  uint64  `json:"disk_free"`  // bytes, where the node keeps its state
	DiskTotal uint64  `json:"disk_total"` // bytes; 0: the node keeps no state
}

// PrimaryReport is the part of a primary.
type PrimaryReport struct {
	Complete   bool          `json:"complete,omitempty"`    // it has compared all zones, and published what differed
	Held       int           `json:"held,omitempty"`        // deletions that wait for an operator's confirmation
	Swept      time.Time     `json:"swept,omitzero"`        // when it last compared all zones of its PowerDNS, or began to
	SweepPause time.Duration `json:"sweep_pause,omitempty"` // until the next sweep, in nanoseconds

	Unanswered Some `json:"unanswered,omitzero"` // signed zones with ALIAS or LUA records, which no secondary answers
	Unresolved Some `json:"unresolved,omitzero"` // zones with ALIAS records whose targets a resolver fails to find
}

// Some are zones that have something in common: how many there are, and the first of them by name.
type Some struct {
	Zones int       `json:"zones"`
	First zone.Name `json:"first"`
}

// Add adds a zone. Each is added once.
func (s *Some) Add(name zone.Name) {
	if s.Zones++; s.Zones == 1 || name < s.First {
		s.First = name
	}
}

// SecondaryReport is the part of a secondary.
type SecondaryReport struct {
	LastApplied time.Time    `json:"last_applied,omitzero"`  // when a version of a zone was last proven to be served
	LastZone    zone.Name    `json:"last_zone,omitzero"`     // which zone that was
	Addresses   []string     `json:"addresses,omitempty"`    // at which PowerDNS answers the world
	SignedUntil *SignedUntil `json:"signed_until,omitempty"` // of all its zones
	Extra       int          `json:"extra,omitempty"`        // zones of its PowerDNS that nobody published
	ExtraFirst  zone.Name    `json:"extra_first,omitzero"`   // one of them
	Checkpoint  *Checkpoint  `json:"checkpoint,omitempty"`   // nil without trusted keys
	Refeed      time.Time    `json:"refeed,omitzero"`        // the feed created then has passed what the store lacks
	Fill        *Fill        `json:"fill,omitempty"`         // nil: no more than a few zones are on their way
}

// Fill is how far a secondary is with many zones that it has to take: it is new, was away, or PowerDNS lost them.
type Fill struct {
	Done  int     `json:"done"`
	Zones int     `json:"zones"` // in all
	Rate  float64 `json:"rate"`  // zones a second, of late
}

// Left is how long the rest takes at that rate, 0 if that is not known.
func (f Fill) Left() time.Duration {
	seconds := float64(f.Zones-f.Done) / f.Rate
	if f.Rate <= 0 || seconds > forever.Seconds() {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

// forever is longer than anybody waits.
const forever = 1000 * 24 * time.Hour

// String says how far it is.
func (f Fill) String() string {
	text := fmt.Sprintf("%d of %d zones, %.0f a second", f.Done, f.Zones, f.Rate)
	if left := f.Left(); left > 0 {
		text += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	return text
}

// SignedUntil is the first end of signatures among all zones of a node.
type SignedUntil struct {
	Zone zone.Name `json:"zone"`
	At   time.Time `json:"at"`
}

// Checkpoint is what a secondary knows of itself by the primaries' signed checkpoints, whatever the broker delivers.
type Checkpoint struct {
	At         time.Time `json:"at,omitzero"`          // of the last one, by the primary's clock
	Signed     int       `json:"signed"`               // zones that are published, by that
	Here       int       `json:"here"`                 // zones that the secondary's store has
	Filling    bool      `json:"filling,omitempty"`    // it lacks some, and they come in
	Incomplete string    `json:"incomplete,omitempty"` // what it lacks, though it should have come
	Silent     string    `json:"silent,omitempty"`     // why there is none to go by
	Since      time.Time `json:"since,omitzero"`       // when it first differed
}

// HealthReport is the part of a health role that leads.
type HealthReport struct {
	Alarms   []Alarm   `json:"alarms,omitempty"`   // the first MaxAlarms
	Compared *Compared `json:"compared,omitempty"` // nil: nothing was compared yet
}

// Unit is what systemd calls a node's service, without ".service": an instance of the unit of its role.
func Unit(role, id string) string { return "pdns-distribute-" + role + "@" + id }
