package proxy

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/zone"
)

func newJournal(t *testing.T) *journal {
	t.Helper()
	j, err := openJournal(t.TempDir())
	must(t, err)
	return j
}

// What an answer went out for while the broker was away is marked again by the next process.
func TestQueuedTouchesOutliveTheProcess(t *testing.T) {
	dir, q := t.TempDir(), &queue{away: true}
	open := func() *dirtySet {
		j, err := openJournal(dir)
		must(t, err)
		return newDirtySet(q, j, zerolog.Nop(), func(float64) {})
	}
	first := open()
	odd := zone.MustParseName(`a\\046b\\032c.example`)
	for _, touch := range []touch{{odd, ReasonCreate}, {zone.Root, ReasonChange}, {odd, ReasonDelete}, {"", ReasonCreate}} {
		if _, stored := first.store(t.Context(), touch, time.Millisecond); stored {
			t.Error("stored, though the broker is away")
		}
	}
	for range 2 { // killed once more before the broker is back
		if again := open(); again.Len() != 2 {
			t.Errorf("%d zones wait after a restart, want 2", again.Len())
		}
	}
	second := open()
	q.setAway(false)
	if !second.flush(t.Context()) {
		t.Fatal("something still waits")
	}
	q.want(t, "delete "+odd.String(), "change .", "sweep")
	if third := open(); third.Len() != 0 {
		t.Errorf("%d zones wait again", third.Len())
	}
}

func TestJournalFile(t *testing.T) {
	j := newJournal(t)
	must(t, j.add(example))
	info, err := os.Stat(j.path)
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %s", info.Mode())
	}
	must(t, j.clear())
	if _, err := os.Stat(j.path); !os.IsNotExist(err) {
		t.Error("there is still a journal: ", err)
	}
	must(t, j.clear())
	must(t, j.add(deleted))
	again, err := openJournal(strings.TrimSuffix(j.path, "/queued"))
	must(t, err)
	if got := again.touches(); !slices.Equal(got, []touch{deleted}) {
		t.Errorf("found %v", got)
	}
}

func TestJournalTornAndForeign(t *testing.T) {
	got := parseJournal("change example.org.\nnonsense =G..\n\ncreate\ndelete example.net.\nchange example.com")
	want := []touch{{zone.MustParseName("example.org"), "change"}, {"", "create"}, {zone.MustParseName("example.net"), "delete"}}
	if !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}

// A line that a crash cut off takes nothing of the next one with it.
func TestJournalBehindATornLine(t *testing.T) {
	j := newJournal(t)
	must(t, os.WriteFile(j.path, []byte("change example.org.\nchange exam"), 0o600))
	must(t, j.add(deleted))
	text, err := os.ReadFile(j.path)
	must(t, err)
	got := parseJournal(string(text))
	if !slices.Contains(got, deleted) {
		t.Errorf("lost: %v", got)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add("change example.org.\ncreate\n")
	f.Fuzz(func(t *testing.T, text string) {
		seen := map[zone.Name]bool{}
		for _, touch := range parseJournal(text) {
			if seen[touch.zone] {
				t.Errorf("%q twice", touch.zone)
			}
			seen[touch.zone] = true
		}
	})
}
