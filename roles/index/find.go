package index

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"

	"pdns-distribute/powerdns/zone"
)

// catalog is all names of zones that secondaries may have as one text, sorted, each on a line of its own: a part of a
// name is found among a million of them within milliseconds. It is made when somebody searches for the first time, so
// that roles that never do have none.
type catalog struct {
	mu    sync.Mutex // guards text
	text  string
	begun bool            // under Index.mu: changes are noted from now on
	news  map[string]bool // under Index.mu: names that came (true) or went since text was made
}

// note takes whether a zone is there. It is called under Index.mu.
func (c *catalog) note(name zone.Name, there bool) {
	if c.begun {
		c.news[name.String()] = there
	}
}

// Found is what a search for a part of a name came to.
type Found struct {
	Zones []zone.Name // those that begin with the text before those that have it elsewhere, each in order
	Count int         // how many there are in all, MaxCount at most
	Total int         // zones that were searched
}

// MaxCount is how many hits are counted.
const MaxCount = 10_000

// Find returns the first of the zones whose names contain the text, in presentation form with its closing dot;
// letters are taken for small ones. An empty text is in all names.
func (x *Index) Find(text string, most int) (f Found) {
	c := &x.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	first, news, total := x.takeNews()
	c.text = merge(cmp.Or(c.text, textOf(first)), news)
	f.Total = total
	f.search(c.text, strings.ToLower(text), most)
	return f
}

// takeNews returns what has changed since it was last called, for the first time all names that there are.
func (x *Index) takeNews() (first []zone.Name, news map[string]bool, total int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := &x.catalog
	if !c.begun {
		c.begun, first = true, make([]zone.Name, 0, x.living)
		for name, p := range x.zones {
			if p.Remembered() {
				first = append(first, name)
			}
		}
	}
	if news = c.news; news == nil || len(news) > 0 {
		c.news = map[string]bool{}
	}
	return first, news, x.living
}

// textOf returns the text of names.
func textOf(names []zone.Name) string {
	lines, size := make([]string, len(names)), 0
	for i, name := range names {
		lines[i] = name.String()
		size += len(lines[i]) + 1
	}
	slices.Sort(lines)
	var text strings.Builder
	text.Grow(size)
	for _, l := range lines {
		text.WriteString(l)
		text.WriteByte('\n')
	}
	return text.String()
}

// merge returns the sorted lines of a text with those that came, and without those that went.
func merge(text string, news map[string]bool) string {
	if len(news) == 0 {
		return text
	}
	var merged strings.Builder
	merged.Grow(len(text) + 32*len(news))
	for _, name := range slices.Sorted(maps.Keys(news)) {
		at := lineFrom(text, name)
		merged.WriteString(text[:at])
		text = text[at:]
		if rest, is := strings.CutPrefix(text, name+"\n"); is {
			text = rest
		}
		if news[name] {
			merged.WriteString(name)
			merged.WriteByte('\n')
		}
	}
	merged.WriteString(text)
	return merged.String()
}

// lineFrom returns where the first line begins that is not less than the name.
func lineFrom(text, name string) int {
	at := sort.Search(len(text), func(i int) bool { return lineAround(text, i) >= name })
	return strings.LastIndexByte(text[:at], '\n') + 1
}

// lineAround returns the line that position i is in; its end counts as part of it.
func lineAround(text string, i int) string {
	start := strings.LastIndexByte(text[:i], '\n') + 1
	return text[start : i+strings.IndexByte(text[i:], '\n')]
}

// search fills in the hits: names that begin with the part, which stand together, and then the others.
func (f *Found) search(text, part string, most int) {
	if strings.Contains(part, "\n") {
		return // no name has one, written like this
	}
	first := lineFrom(text, part)
	end := first
	for end < len(text) && strings.HasPrefix(text[end:], part) && f.Count < MaxCount {
		end += f.take(text[end:], most)
	}
	for _, rest := range []string{text[:first], text[end:]} {
		for f.Count < MaxCount {
			hit := strings.Index(rest, part)
			if hit < 0 || rest == "" {
				break
			}
			rest = rest[strings.LastIndexByte(rest[:hit], '\n')+1:]
			rest = rest[f.take(rest, most):]
		}
	}
}

// take counts the first line of the text, and returns how long it is.
func (f *Found) take(text string, most int) int {
	length := strings.IndexByte(text, '\n')
	if f.Count++; len(f.Zones) < most {
		if name, err := zone.ParseName(text[:length]); err == nil {
			f.Zones = append(f.Zones, name)
		}
	}
	return length + 1
}
