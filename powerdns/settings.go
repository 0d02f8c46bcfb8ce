package powerdns

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Side is what a PowerDNS server is to the distribution.
type Side string

// The sides.
const (
	Primary   Side = "primary"
	Secondary Side = "secondary"
)

// Weight is what a bad value of a setting means for the distribution.
type Weight int

const (
	// Noted values are right for most, and what they do is good to know when a zone fails.
	Noted Weight = iota
	// Harmful values leave the distribution working, and cost or endanger something.
	Harmful
	// Breaking values keep zones from being distributed, or from being proven.
	Breaking
)

// Setting is a setting of PowerDNS that breaks or alters the distribution, on one side. The table of all of them
// (settingtable.go) is what the roles, doctor, the reason of a failing zone and docs/powerdns.md go by.
type Setting struct {
	Name   string // as in pdns.conf
	Former string // its name up to release 4.8, if it had another
	Since  string // the first release that has it, "" for all that are supported
	Bad    Rule
	Weight Weight
	Does   string // what happens with a bad value
	Should string // what it should be

	// Sign is what PowerDNS's log, or an error of this program, says where the setting is the cause; "" where that
	// says nothing. It is matched without regard to case.
	Sign string
}

// Remedy says what to do about a bad value.
func (s Setting) Remedy() string {
	return fmt.Sprintf("set %s in pdns.conf to %s, and restart PowerDNS", s.Name, s.Should)
}

// Rule says which values of a setting are bad.
type Rule struct {
	Text string // such as "`yes`", for documents
	bad  func(value string, settings map[string]string) bool
}

// Unfit is a setting with a value that does not suit.
type Unfit struct {
	Setting
	Value string
}

// String is such as "query-cache-ttl=20 (should be 0: …)".
func (u Unfit) String() string {
	return fmt.Sprintf("%s=%s (should be %s: %s)", u.Name, u.Value, u.Should, u.Does)
}

// SettingsOf returns the table of one side.
func SettingsOf(side Side) []Setting {
	if side == Primary {
		return slices.Concat(ofPrimaries, ofBoth)
	}
	return slices.Concat(ofSecondaries, ofBoth)
}

// Judge returns what does not suit the side of the settings that [Client.Config] gave, what breaks most first.
func Judge(side Side, settings map[string]string) (found []Unfit) {
	for _, s := range SettingsOf(side) {
		if value, known := s.value(settings); known && s.Bad.bad(value, settings) {
			found = append(found, Unfit{s, value})
		}
	}
	slices.SortStableFunc(found, func(a, b Unfit) int { return cmp.Compare(b.Weight, a.Weight) })
	return found
}

// value returns what counts, and false where this release has no such setting. Releases with both names of a switch
// list what it comes to under either (4.7.3).
func (s Setting) value(settings map[string]string) (value string, known bool) {
	value, known = settings[s.Name]
	if former := settings[s.Former]; s.Former != "" && isOn(former) {
		return former, true
	}
	return value, known
}

// KeepsAnswers reports whether the server caches answers beyond a transfer.
func KeepsAnswers(settings map[string]string) bool {
	return slices.ContainsFunc(Judge(Secondary, settings), func(u Unfit) bool {
		return strings.HasSuffix(u.Name, "query-cache-ttl")
	})
}
