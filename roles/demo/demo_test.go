package demo

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/command"
)

type options map[string]bool

func (o options) Bool(name string) bool     { return o[name] }
func (options) String(string) string        { return "" }
func (options) StringSlice(string) []string { return nil }

// The tour is a test of everything in itself: it fails unless every step arrived at every secondary. A thousand zones
// at once are TestManyZonesByManyClients's in roles/fleet.
func TestTour(t *testing.T) {
	must.HavePowerDNS(t)
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := run(ctx, command.Invocation{Options: options{"once": true}, Stdout: &out, Stderr: os.Stderr}, 100); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	t.Log(out.String())
	if !strings.Contains(out.String(), "all of them served by every secondary") {
		t.Error("the last step is missing")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
