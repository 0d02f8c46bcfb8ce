package status

import (
	"fmt"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// NodeReport is what the comparison of one node with what is published came to.
type NodeReport struct {
	Node     string         `json:"node"`
	Role     string         `json:"role,omitempty"`
	Zones    int            `json:"zones"`
	Found    []string       `json:"found,omitempty"`    // such as "2 missing"
	Repaired []string       `json:"repaired,omitempty"` // what was found before the node was as published
	Ordered  int            `json:"ordered"`            // zones that were ordered to be taken again, or to be deleted
	OnWay    int            `json:"on_way"`             // differences of changes that are on their way
	Stuck    bool           `json:"stuck,omitempty"`    // some of these were on their way all the time
	Held     string         `json:"held,omitempty"`     // why nothing is deleted
	Fault    string         `json:"fault,omitempty"`    // why the node was not compared
	Sources  []SourceReport `json:"sources,omitempty"`

	// For the health role alone.
	More    bool      `json:"-"` // there are more differences than were found
	Waiting time.Time `json:"-"` // since when the oldest of those on their way was seen
	Oldest  Standing  `json:"-"` // of the differences
}

// Standing is a difference that lasts.
type Standing struct {
	Since time.Time // the zero time: there is none
	Zone  zone.Name
	What  string
}

// Open reports whether something differs that may be over in a moment.
func (r NodeReport) Open() bool {
	return r.Held == "" && (r.OnWay > 0 || len(r.Found) > 0)
}

// SourceReport is what the comparison of one source came to.
type SourceReport struct {
	Source health.Source `json:"source"`
	Zones  int           `json:"zones"`
	Sample bool          `json:"sample,omitempty"` // Zones were asked for, of more
	Sum    string        `json:"sum,omitempty"`    // of what is there, shortened
	Age    time.Duration `json:"age,omitempty"`    // of the count
	Found  []string      `json:"found,omitempty"`  // such as "2 missing", be it on its way
	First  []zone.Name   `json:"first,omitempty"`  // some of those
	Fault  string        `json:"fault,omitempty"`  // why it was not compared
}

// Faults returns why sources were not compared.
func (r NodeReport) Faults() (faults []string) {
	if r.Fault != "" {
		return []string{r.Fault}
	}
	for _, s := range r.Sources {
		if s.Fault != "" {
			faults = append(faults, fmt.Sprintf("%s: %s", s.Source, s.Fault))
		}
	}
	return faults
}

// ZoneSource is what one source has of one zone.
type ZoneSource struct {
	Node   string        `json:"node"`
	Source health.Source `json:"source"`
	There  bool          `json:"there"`
	Serial uint32        `json:"serial"`
	Equal  bool          `json:"equal"` // the zone is as published
	Fault  string        `json:"fault,omitempty"`
}
