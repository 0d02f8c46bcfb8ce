package store

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// writeInto names the store that this process is to write into until it is killed.
const writeInto = "STORE_TEST_WRITE_INTO"

const writers = 4

// TestKilledWhileWriting kills a process among many Puts: whatever Put returned for is on disk, and each zone is
// whole.
func TestKilledWhileWriting(t *testing.T) {
	if file := os.Getenv(writeInto); file != "" {
		writeUntilKilled(t, file)
		return
	}
	file := filepath.Join(t.TempDir(), "zones.db")
	for _, puts := range []int{1, 7, 30} { // the same store, killed again and again
		reported := killedAfter(t, file, puts)
		s, err := Open(file)
		must.OK(t, err)
		for name, serial := range reported {
			wantWhole(t, s, name, serial)
		}
		must.OK(t, s.Close())
	}
}

// wantWhole wants one of the versions that were written, the one that was reported or a later one.
func wantWhole(t *testing.T, s *Store, name zone.Name, reported int) {
	t.Helper()
	z, err := s.Zone(name)
	if err != nil {
		t.Errorf("zone %s: %v", name, err)
		return
	}
	p := publish(crashVersion(t, name, int(z.Serial())))
	wantHeld(t, s, p)
	if int(z.Serial()) < reported {
		t.Errorf("zone %s: serial %d, but %d was said to be on disk", name, z.Serial(), reported)
	}
	for c, want := range p.chunks {
		if got, err := s.Chunk(name, c); err != nil || len(got) != len(want) {
			t.Errorf("zone %s: chunk %x: %v", name, c.Hash[:4], err)
		}
	}
}

// killedAfter has a process write until it reported so many puts, kills it, and returns the serials that it reported.
func killedAfter(t *testing.T, file string, puts int) map[zone.Name]int {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledWhileWriting$")
	child.Env = append(os.Environ(), writeInto+"="+file)
	out, err := child.StdoutPipe()
	must.OK(t, err)
	must.OK(t, child.Start())
	reported := map[zone.Name]int{}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if n == puts {
			must.OK(t, child.Process.Kill())
		}
		name, serial, ok := strings.Cut(lines.Text(), " ")
		number, err := strconv.Atoi(serial)
		if !ok || err != nil {
			break // killed within a line, or it has something to say
		}
		reported[zone.MustParseName(name)] = number
	}
	var ended *exec.ExitError
	if err := child.Wait(); !errors.As(err, &ended) || ended.Exited() {
		t.Fatalf("the process was not killed, but ended: %v: %s", err, lines.Text())
	}
	if len(reported) == 0 {
		t.Fatal("nothing was written")
	}
	return reported
}

// writeUntilKilled replaces a few zones again and again, and reports each version that is on disk.
func writeUntilKilled(t *testing.T, file string) {
	s, err := Open(file)
	must.OK(t, err)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			name := zone.MustParseName(fmt.Sprintf("z%d.example", n))
			serial := 0
			if z, err := s.Zone(name); err == nil {
				serial = int(z.Serial())
			}
			for {
				serial++
				p := publish(crashVersion(t, name, serial))
				p.putInto(t, s)
				mu.Lock()
				fmt.Println(name, serial)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// crashVersion is large for odd serials, so that versions with and without chunks replace each other.
func crashVersion(t testing.TB, name zone.Name, serial int) *zone.Zone {
	return version(t, name, uint32(serial), 10+serial%2*1500, serial)
}
