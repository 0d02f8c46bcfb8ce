package powerdns

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

// endless repeats a text for ever.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		c := copy(p[n:], e.text[e.at:])
		n, e.at = n+c, (e.at+c)%len(e.text)
	}
	return n, nil
}

// TestListingWithoutEnd has more zones in a listing than there can be, and a zone that does not end.
func TestListingWithoutEnd(t *testing.T) {
	for what, c := range map[string]struct{ begin, goOn, want string }{
		"zones":         {"[", `{"name":"a.example.","id":"a.example."},`, "more than 10000 zones"},
		"variants":      {"[", `{"name":"a.example..internal","id":"a.example..internal"},`, "more than 10000 zones"},
		"a name":        {`[{"name":"`, "x", "a zone with more than"},
		"masters":       {`[{"name":"a.","masters":[`, `"192.0.2.1",`, "a zone with more than"},
		"another field": {`[{"name":"a.","other":[`, `[],`, "a zone with more than"},
		"space":         {`[`, ` `, "a zone with more than"},
	} {
		t.Run(what, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			_, err := readZones(io.MultiReader(strings.NewReader(c.begin), &endless{text: c.goOn}), 10_000)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v", err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
				t.Errorf("%d bytes were allocated", used)
			}
		})
	}
}

func TestEntryBoundLetsListingsPass(t *testing.T) {
	entry := `{"name":"a.example.","masters":["` + strings.Repeat("192.0.2.1", 10_000) + `"]}`
	text := "[" + strings.Repeat(entry+",", 99) + entry + "]" // nine times the bound, in all
	zones, err := readZones(strings.NewReader(text), 100)
	if err != nil || len(zones) != 100 {
		t.Errorf("%d zones, %v", len(zones), err)
	}
	if _, err := readZones(&endless{text: "["}, 1); errors.Is(err, errEntry) {
		t.Error("what is no listing is read on")
	}
}
