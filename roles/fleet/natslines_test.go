//go:build campaign

package fleet_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/fleet"
)

// The lines of docs/brokers.md that look at a broker are run as they are written, but for the host and the folder, with
// the nats tool where it is installed.
func TestNATSLines(t *testing.T) {
	if _, err := exec.LookPath("nats"); err != nil {
		t.Skip("nats is not installed: go install github.com/nats-io/natscli/nats@v0.5.1")
	}
	i := start(t, fleet.Options{})
	name := numbered("looked", 1)
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "1"))))
	i.eventually("published", i.allSame)
	page, err := os.ReadFile("../../docs/brokers.md")
	must.OK(t, err)
	_, section, _ := strings.Cut(string(page), "\n## Look with the nats tool\n")
	section, _, _ = strings.Cut(section, "\n## ")
	file, _ := i.Config(fleet.Health)
	config, err := os.ReadFile(file)
	must.OK(t, err)
	address := regexp.MustCompile(`tls://[^"]+`).FindString(string(config))
	home := t.TempDir()
	run := func(line string) (string, error) {
		ctx, cancel := context.WithTimeout(i.ctx, patience)
		defer cancel()
		command := exec.CommandContext(ctx, "sh", "-c", line)
		command.Dir, command.Env = filepath.Dir(file), append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home)
		text, err := command.CombinedOutput()
		return string(text), err
	}
	shown := map[string]string{
		"stream info PDNS_ZONE": "newest published state of each zone", "consumer report": "ns1", "kv get": "health1",
		"consumer info": "hands touches to the primary", "sub": "pdns.status.", "stream state": "Messages",
	}
	lines := 0
	for line := range strings.Lines(section) {
		line, is := strings.CutPrefix(strings.TrimRight(line, "\n"), "    nats ")
		if !is {
			continue
		}
		lines++
		out, err := run("nats " + strings.ReplaceAll(line, "tls://b1.example.net:4222", address))
		if err != nil || strings.Contains(out, "iolation") {
			t.Errorf("nats %s: %v\n%s", line, err, out)
		}
		for begin, want := range shown {
			if strings.HasPrefix(line, begin) && !strings.Contains(out, want) {
				t.Errorf("nats %s does not show %q:\n%s", line, want, out)
			}
		}
	}
	if lines < 8 {
		t.Errorf("%d lines were found", lines)
	}
	// What the page says that this key may not do.
	for _, line := range []string{
		"stream ls", "stream purge -f PDNS_ZONE", "stream rm -f PDNS_ZONE", "consumer rm -f PDNS_ZONE ns1", "stream get PDNS_ZONE 1",
		"pub pdns.zone.example.looked1 forged --jetstream",
	} {
		if out, err := run("nats --timeout 1s " + line); err == nil {
			t.Errorf("nats %s is possible:\n%s", line, out)
		}
	}
	i.eventually("nothing was touched", i.allSame)
}
