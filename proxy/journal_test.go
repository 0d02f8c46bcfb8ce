package proxy

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

func newJournal(t *testing.T) *journal {
	t.Helper()
	j, err := openJournal(t.TempDir())
	must.OK(t, err)
	return j
}

// What an answer went out for while the broker was down is touched again by the next process.
func TestPendingTouchesOutliveTheProcess(t *testing.T) {
	dir, q := t.TempDir(), &queue{away: true}
	open := func() *pendingTouches {
		j, err := openJournal(dir)
		must.OK(t, err)
		return newPendingTouches(q, j, zerolog.Nop(), func(float64) {})
	}
	first := open()
	odd := zone.MustParseName(`a\\046b\\032c.example`)
	for _, touch := range []Touch{
		{odd, Changed, new(uint32)}, {zone.Root, Changed, nil}, {odd, Deleted, nil}, sweep,
	} {
		if _, stored := first.store(t.Context(), touch, true, time.Millisecond); stored {
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
	must.OK(t, j.add(example))
	info, err := os.Stat(j.path)
	must.OK(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %s", info.Mode())
	}
	must.OK(t, j.clear())
	if _, err := os.Stat(j.path); !os.IsNotExist(err) {
		t.Error("there is still a journal: ", err)
	}
	must.OK(t, j.clear())
	must.OK(t, j.add(deleted))
	again, err := openJournal(strings.TrimSuffix(j.path, "/pending"))
	must.OK(t, err)
	if got, foreign := again.read(); !slices.Equal(got, []Touch{deleted}) || foreign > 0 {
		t.Errorf("found %v", got)
	}
}

// What is not understood word for word is dropped, and counted: it may have been of any zone.
func TestJournalTornAndForeign(t *testing.T) {
	got, foreign := parseJournal("change example.org. 17\nnonsense =G..\n\nsweep\ndelete example.net.\nCHANGE a.\nchange\n" +
		"create a.\nchange a. 4294967296\nchange a. -1\ndelete a. 1\nchange a. 1 1\n change a.\nsweep a.\nchange example.com")
	want := []string{"change example.org. 17", "sweep", "delete example.net."}
	var lines []string
	for _, t := range got {
		lines = append(lines, t.line())
	}
	if !slices.Equal(lines, want) || foreign != 10 {
		t.Errorf("read %q and %d others, want %q", lines, foreign, want)
	}
}

// Lines that an earlier version wrote, or nobody, become a request for a sweep, and one line of the log.
func TestForeignJournalAsksForASweep(t *testing.T) {
	dir := t.TempDir()
	must.OK(t, os.WriteFile(dir+"/pending", []byte("retrieve example.org.\n"), 0o600))
	j, err := openJournal(dir)
	must.OK(t, err)
	log, q := newLines(), &queue{}
	d := newPendingTouches(q, j, zerolog.New(log), func(float64) {})
	if log.await(t, "unknown lines", `"lines":1`); !d.flush(t.Context()) {
		t.Error("something still waits")
	}
	q.want(t, "sweep")
	if _, err := os.Stat(j.path); !os.IsNotExist(err) {
		t.Error("the journal stays: ", err)
	}
}

// The newest line of a zone is the last that was promised, also where it says what an older one said.
func TestJournalKeepsTheOrder(t *testing.T) {
	j := newJournal(t)
	for _, touch := range []Touch{example, deleted, deleted, example} {
		must.OK(t, j.add(touch))
	}
	again, err := openJournal(strings.TrimSuffix(j.path, "/pending"))
	must.OK(t, err)
	if got, _ := again.read(); !slices.Equal(got, []Touch{example}) {
		t.Errorf("found %v", got)
	}
}

// A line that a crash cut off takes nothing of the next one with it.
func TestJournalBehindATornLine(t *testing.T) {
	j := newJournal(t)
	must.OK(t, os.WriteFile(j.path, []byte("change example.org.\nchange exam"), 0o600))
	must.OK(t, j.add(deleted))
	text, err := os.ReadFile(j.path)
	must.OK(t, err)
	got, _ := parseJournal(string(text))
	if !slices.Contains(got, deleted) {
		t.Errorf("lost: %v", got)
	}
}

// FuzzJournal demands that each line is what Touch.line writes or counted as foreign, and that the rest is understood
// again.
func FuzzJournal(f *testing.F) {
	f.Add("change example.org.\nsweep\ndelete a. \nchange a. 4294967295\n")
	f.Fuzz(func(t *testing.T, text string) {
		seen := map[zone.Name]bool{}
		touches, foreign := parseJournal(text)
		for _, touch := range touches {
			if seen[touch.Zone] {
				t.Errorf("%q twice", touch.Zone)
			}
			seen[touch.Zone] = true
			again, alien := parseJournal(touch.line() + "\n")
			if alien > 0 || len(again) != 1 || again[0].line() != touch.line() {
				t.Errorf("%q is read as %v", touch.line(), again)
			}
			if touch.Cause != Changed && touch.Cause != Deleted {
				t.Errorf("%+v", touch)
			}
		}
		if lines := strings.Count(text, "\n"); len(touches)+foreign > lines {
			t.Errorf("%d touches and %d foreign ones of %d lines", len(touches), foreign, lines)
		}
	})
}
