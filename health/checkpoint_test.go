package health

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// What a secondary knows by checkpoints is its state and an alarm, and nobody else's to say.
func TestCheckpointOnTheBoard(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	long := strings.Repeat("withheld ", 100)
	const alone, both = "alone", "with a primary"
	for name, test := range map[string]struct {
		role    string
		is      Checkpoint
		state   string
		primary string
		want    string
	}{
		"in order":             {RoleSecondary, Checkpoint{Signed: 5, Here: 5}, StateOK, both, ""},
		"filling":              {RoleSecondary, Checkpoint{Signed: 5, Here: 1, Filling: true}, StateFilling, both, ""},
		"incomplete":           {RoleSecondary, Checkpoint{Incomplete: long}, StateIncomplete, both, string(AlarmIncomplete)},
		"incomplete, alone":    {RoleSecondary, Checkpoint{Incomplete: "withheld"}, StateIncomplete, alone, string(AlarmIncomplete)},
		"no checkpoint":        {RoleSecondary, Checkpoint{Silent: "none"}, StateOK, both, string(AlarmNoCheckpoint)},
		"no checkpoint, alone": {RoleSecondary, Checkpoint{Silent: "none"}, StateOK, alone, ""},
		"a proxy says so":      {"proxy", Checkpoint{Incomplete: "withheld", Silent: "none"}, StateOK, both, ""},
	} {
		p := Presence{Node: "n", Role: test.role, Secondary: SecondaryReport{Checkpoint: &test.is}, Process: Process{Clock: now}}
		p.Bound()
		seen := map[string]Sighting{"n": {Presence: p, At: now}}
		if test.primary == both {
			seen["p"] = Sighting{Presence: Presence{Node: "p", Role: RolePrimary, Process: Process{Clock: now}}, At: now}
		}
		b := NewBoard(now, Config{InactiveAfter: time.Minute}, seen, nil)
		var found string
		for _, a := range b.Alarms(Config{InactiveAfter: time.Minute}, 0) {
			if a.Node == "n" {
				found += string(a.Kind)
				if a.Remedy == "" || !strings.HasPrefix(a.What, "secondary n: ") || len(a.What) > 2*maxText {
					t.Errorf("%s: %+v", name, a)
				}
			}
		}
		row := b.Nodes[slices.IndexFunc(b.Nodes, func(r Row) bool { return r.Node == "n" })]
		if found != test.want || row.State != test.state {
			t.Errorf("%s: alarms %q, state %s; want %q, %s", name, found, row.State, test.want, test.state)
		}
	}
}
