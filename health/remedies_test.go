package health

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pdns-distribute/powerdns/zone"
)

// Whatever is wrong, there is a line to begin with, with the node's and the zone's name in it.
func TestEachAlarmHasLines(t *testing.T) {
	declared := declaredKinds(t)
	var known []string
	for _, kind := range Kinds() {
		known = append(known, string(kind))
	}
	slices.Sort(known)
	slices.Sort(declared)
	if !slices.Equal(known, declared) {
		t.Errorf("remedies.go has  %q\nkinds.go has     %q", known, declared)
	}
	for _, kind := range Kinds() {
		for _, cause := range []string{"", causeCA, causeNoLeader, "broker"} {
			a := Alarm{Kind: kind, Role: RoleSecondary, Node: "ns1", Zone: zone.MustParseName("example.org"), Cause: cause}
			lines := a.Commands()
			if len(lines) == 0 && (kind != AlarmNotReady || cause == "broker") {
				t.Errorf("%s, %q: no line", kind, cause)
			}
			for _, c := range lines {
				if c.On == "" || c.Line == "" || regexp.MustCompile(`[A-Z]{3}|\s$|'|  `).MatchString(c.Line) {
					t.Errorf("%s: %+v", kind, c)
				}
			}
		}
	}
}

// The reasons are those that docs/monitoring.md explains, and those that roles set.
func TestEachReasonHasLines(t *testing.T) {
	text, err := os.ReadFile("../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| reason |")
	table, _, _ = strings.Cut(table, "\n## ")
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?) \\| ").FindAllStringSubmatch(table, -1) {
		for _, name := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(row[1], -1) {
			documented[name[1]] = true
		}
	}
	for _, name := range Reasons() {
		if !documented[name] {
			t.Errorf("docs/monitoring.md does not explain %s", name)
		}
		if len(CommandsFor(RoleSecondary, "ns1", name)) == 0 {
			t.Errorf("%s has no line", name)
		}
	}
	for name := range documented {
		if !slices.Contains(Reasons(), name) {
			t.Errorf("remedies.go lacks the reason %s", name)
		}
	}
	for name, file := range setInRoles(t) {
		if !slices.Contains(Reasons(), name) {
			t.Errorf("remedies.go lacks the reason %s of %s", name, file)
		}
	}
}

// setInRoles are the conditions that roles declare, with the files.
func setInRoles(t *testing.T) map[string]string {
	found := map[string]string{}
	files, err := filepath.Glob("../roles/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../roles/*.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^\s*(?:const )?[cC]ond[A-Z]\w*\s*=\s*"([a-z-]+)"`)
	for _, file := range append(files, more...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range declared.FindAllStringSubmatch(string(text), -1) {
			found[match[1]] = file
		}
	}
	if len(found) < 10 {
		t.Fatalf("only %q were found", found)
	}
	return found
}

// What is printed with an alarm begins where docs/alarms.md says that one begins.
func TestRanksAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/alarms.md")
	if err != nil {
		t.Fatal(err)
	}
	byHeading := map[string]int{
		"Brokers": rankBrokers, "The primary": rankPrimary, "Any node": -1, "Zones of a node": rankZones,
		"Completeness": rankCompleteness,
	}
	for _, part := range strings.Split(string(text), "\n## ")[1:] {
		heading, entries, _ := strings.Cut(part, "\n")
		want, known := byHeading[heading]
		for _, entry := range strings.Split(entries, "\n### ")[1:] {
			kind, _, _ := strings.Cut(entry, "\n")
			rank, ranked := ranks[Kind(kind)]
			switch {
			case !known:
				want = rankOutside
				fallthrough
			case want >= 0:
				if rank != want || !ranked {
					t.Errorf("%s stands below %q and has rank %d, %v", kind, heading, rank, ranked)
				}
			case ranked:
				t.Errorf("%s stands below %q and has a rank of its own", kind, heading)
			}
		}
	}
}

// Whoever may create zones, or names nodes, gives a shell nothing to run.
func TestLinesAreQuoted(t *testing.T) {
	for _, name := range []string{
		"example.org", `$(echo\ pwned).example`, "`id`.example", "it's.example", "a;b.example", `a\.b.example`, "*.example", "-x.example",
	} {
		z, err := zone.ParseName(name)
		if err != nil {
			t.Fatal(err)
		}
		line := Alarm{Kind: AlarmFailing, Role: RoleSecondary, Node: "ns1", Zone: z}.Commands()[0].Line
		out, err := exec.Command("sh", "-c", strings.Replace(strings.Replace(line, " -- ", " ", 1), "pdns-distribute sync", "printf -- %s", 1)).Output()
		if back, _ := zone.ParseName(string(out)); err != nil || back != z {
			t.Errorf("%s: %s gives %q, %v", name, line, out, err)
		}
	}
	line := Alarm{Kind: AlarmInactive, Role: RoleProxy, Node: "x; reboot"}.Commands()[0].Line
	if line != "systemctl start 'pdns-distribute-proxy@x; reboot'" {
		t.Error(line)
	}
}
