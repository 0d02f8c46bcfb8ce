package settings

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// source is what an Origin points into, in the order in which faults are shown.
type source int

const (
	fromFile source = iota
	fromEnvironment
	fromFlag
	nowhere
)

// Origin is where a value was set.
type Origin struct {
	source       source
	name         string // path of the file, the variable, or the key that a flag sets
	line, column int    // in the file, from 1; 0 if not known
}

// String is the origin as a fault begins with it: "pdns.toml:12", "PDNS_DISTRIBUTE_LOG_LEVEL", "--set", or "" for
// nowhere.
func (o Origin) String() string {
	switch {
	case o.source == fromFlag:
		return "--set"
	case o.column > 0:
		return fmt.Sprintf("%s:%d:%d", o.name, o.line, o.column)
	case o.line > 0:
		return fmt.Sprintf("%s:%d", o.name, o.line)
	default:
		return o.name
	}
}

// Fault is one thing that is wrong with the configuration.
type Fault struct {
	Origin  Origin
	Key     string // "secondary.workers"; "" if it is about no key
	Problem string
}

// Error is one line such as `pdns.toml:12: secondary.workers: "many" is not a whole number (for example 8)`.
func (f Fault) Error() string {
	parts := []string{f.Origin.String(), f.Key, f.Problem}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ": ")
}

// Faults is everything that is wrong with the configuration: the file's in its order, then the environment's and the
// flags', then what is set nowhere.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	if len(f) == 1 {
		return f[0].Error()
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d faults in the configuration:", len(f))
	for _, fault := range f {
		fmt.Fprintf(&text, "\n  %v", fault)
	}
	return text.String()
}

// about says whether a fault with the key's value is known already.
func (f Faults) about(key string) bool {
	return slices.ContainsFunc(f, func(fault Fault) bool { return fault.Key == key })
}

// sorted brings the faults into order, and is nil if there are none.
func (f Faults) sorted() error {
	if len(f) == 0 {
		return nil
	}
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(
			cmp.Compare(a.Origin.source, b.Origin.source),
			cmp.Compare(a.Origin.line, b.Origin.line),
			cmp.Compare(a.Origin.name, b.Origin.name),
		)
	})
	return f
}
