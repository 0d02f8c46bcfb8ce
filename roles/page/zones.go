package page

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pdns-distribute/dnssec"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
)

// found is what a search shows.
type found struct {
	index.Found
	Query string
	Hits  []hit
	More  int
	Least bool // there are at least as many more
}

// hit is one zone, its name taken apart where the query is in it.
type hit struct{ Name, Before, Match, After string }

// hitsShown bounds what a search sends to a browser.
const hitsShown = 50

func (p *Page) find(query string) found {
	f := found{Query: query, Found: p.source.Find(query, hitsShown)}
	text := strings.ToLower(query)
	for _, name := range f.Zones {
		h := hit{Name: label(name)}
		if at := strings.Index(name.String(), text); at >= 0 {
			end := min(at+len(text), len(h.Name)) // without the closing dot
			h.Before, h.Match, h.After = h.Name[:at], h.Name[at:end], h.Name[end:]
		}
		f.Hits = append(f.Hits, h)
	}
	f.More, f.Least = f.Count-len(f.Hits), f.Count == index.MaxCount
	return f
}

// label is a zone's name as people write it.
func label(name zone.Name) string {
	if name == zone.Root {
		return "."
	}
	return strings.TrimSuffix(name.String(), ".")
}

func (z Zone) label() string { return label(z.Name) }

// zoneView is what is shown of a zone.
type zoneView struct {
	Zone
	Changes []Change
	InSync  int
	Lacking int
}

func newZoneView(z Zone, changes []Change) zoneView {
	v := zoneView{Zone: z, Changes: changes}
	v.Secondaries = slices.Clone(z.Secondaries) // others look at the same
	for _, s := range z.Secondaries {
		if s.InSync {
			v.InSync++
		}
	}
	v.Lacking = len(z.Secondaries) - v.InSync
	slices.SortFunc(v.Secondaries, func(a, b Secondary) int { // what differs first
		switch {
		case a.InSync == b.InSync:
			return compareNames(a.Node, b.Node)
		case a.InSync:
			return 1
		}
		return -1
	})
	return v
}

// Unanswered reports whether secondaries answer NODATA at some names of the zone.
func (v zoneView) Unanswered() bool { return v.Published.Header.Unanswered() }

// Types are those of records that are computed.
func (v zoneView) Types() string { return v.Published.Header.Computed.Types() }

// Verdict says how a secondary stands.
func (s Secondary) Verdict() string {
	switch {
	case s.InSync:
		return "as published"
	case s.Failing != nil:
		return "failing"
	case !s.Active:
		return "inactive"
	case s.Has == nil && s.Waits:
		return "no answer, on its way"
	case s.Has == nil:
		return "no answer"
	case s.Waits:
		return "on its way"
	}
	return "differs"
}

// Level is how bad that is.
func (s Secondary) Level() string {
	switch {
	case s.InSync:
		return good.String()
	case s.Waits && s.Failing == nil && s.Active:
		return fair.String()
	}
	return bad.String()
}

// Verdict says how an address answers.
func (o Outside) Verdict() string {
	switch {
	case o.Fault != "":
		return o.Fault
	case o.Equal:
		return "serial " + strconv.FormatUint(uint64(o.Serial), 10) + " in " + short(o.Took)
	}
	return "serial " + strconv.FormatUint(uint64(o.Serial), 10) + ", another one"
}

// Level is how bad that is.
func (o Outside) Level() string {
	if o.Fault == "" && o.Equal {
		return good.String()
	}
	return bad.String()
}

// ago writes how long something is in the past, roughly.
func ago(now, then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	if d := now.Sub(then); d > time.Second {
		return short(d)
	}
	return "now"
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateTime)
}

// expires writes the first end of signatures.
func expires(at uint32) string {
	if at == 0 {
		return "not signed"
	}
	return moment(dnssec.End(at, time.Now()))
}

// serial writes that of a zone.
func serial(gone bool, n uint32) string {
	if gone {
		return "no such zone"
	}
	return strconv.FormatUint(uint64(n), 10)
}

// number writes one with commas between the thousands.
func number(n any) string {
	text := fmt.Sprint(n)
	for at := len(text) - 3; at > 0 && text[at-1] != '-'; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
