package status

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/roletest"
)

// twelve is a fleet with twelve secondaries, of which the first so many are not ready, and three alarms.
func twelve(notReady int) Document {
	seen := map[string]health.Sighting{}
	add := func(role, node string, change func(p *health.Presence)) {
		p := health.Presence{Node: node, Role: role, Zones: 123456, Process: process("1.2.3", "4.9.0")}
		if change != nil {
			change(&p)
		}
		seen[node] = health.Sighting{Presence: p, At: roletest.Noon.Add(-3 * time.Second)}
	}
	add("broker", "broker1", nil)
	add("health", "health1", func(p *health.Presence) {
		p.Leads, p.Health.Compared = true, &health.Compared{
			At: roletest.Noon.Add(-time.Minute), Nodes: 13, Sources: 53, Zones: 123456,
		}
		p.Clock = roletest.Noon.Add(-3 * time.Second)
	})
	add("primary", "primary1", nil)
	add("proxy", "proxy1", nil)
	var feeds []health.Feed
	for n := range 12 {
		node := fmt.Sprintf("ns%d", n+1)
		add("secondary", node, func(p *health.Presence) {
			p.Secondary.LastApplied = roletest.Noon.Add(-90 * time.Second)
			if n < notReady {
				p.Problems = []string{"powerdns: Get \"http://127.0.0.1:8081/api/v1/servers/localhost\": dial tcp 127.0.0.1:8081: connect: connection refused"}
			}
		})
		feeds = append(feeds, health.Feed{Node: node})
	}
	cfg := health.Config{InactiveAfter: 30 * time.Second, CheckInterval: 15 * time.Minute}
	board := health.NewBoard(roletest.Noon, cfg, seen, feeds)
	alarms := health.NewAlarms()
	wrong := board.Alarms(cfg, 0)
	certificate := health.NodeAlarm("broker", "broker1", health.AlarmCertificate, "the certificate of the broker expires at 2026-03-01T00:00:00Z, and then no node can connect", "make another one")
	load := health.NodeAlarm("secondary", "ns12", health.AlarmLoad, "system load 31.0 on 2 cores", "find out")
	load.Warning = true
	alarms.Update(roletest.Noon.Add(-2*time.Minute), append(wrong, certificate, load))
	alarms.Update(roletest.Noon, append(wrong, certificate, load))
	return NewDocument(board, cfg, "health1", alarms.List())
}

// What is watched fits the smallest terminal that anybody has, whatever is wrong, and loses no alarm.
func TestScreenFits(t *testing.T) {
	for _, notReady := range []int{0, 3, 12} {
		d := twelve(notReady)
		for _, size := range []Size{{80, 24}, {80, 25}, {40, 10}, {132, 50}, {}} {
			screen := d.Screen(roletest.Noon, size)
			if size == (Size{}) {
				size = Size{80, 24}
			}
			lines := strings.Split(screen, "\n")
			if len(lines) > size.Rows {
				t.Errorf("%d not ready: %d lines on %d:\n%s", notReady, len(lines), size.Rows, screen)
			}
			for _, line := range lines {
				if utf8.RuneCountInString(line) >= size.Columns {
					t.Errorf("%d columns on %d: %s", utf8.RuneCountInString(line), size.Columns, line)
				}
			}
			if size.Rows >= 24 && (!strings.Contains(screen, "expires") || !strings.Contains(screen, "system load")) {
				t.Errorf("an alarm is lost:\n%s", screen)
			}
		}
		golden(t, fmt.Sprintf("testdata/screen-%d.txt", notReady), d.Screen(roletest.Noon, Size{80, 24})+"\n")
	}
}

// golden compares a text with a file, which UPDATE_GOLDEN=1 writes anew.
func golden(t *testing.T, file, text string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		must.OK(t, os.MkdirAll("testdata", 0o755))
		must.OK(t, os.WriteFile(file, []byte(text), 0o644))
	}
	want, err := os.ReadFile(file)
	must.OK(t, err)
	if string(want) != text {
		t.Errorf("got:\n%s\nwant:\n%s", text, want)
	}
}
