package monitoring

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pdns-distribute/powerdns/must"
)

const root = "../.."

// promtool judges the rules, where it is installed: packaging/setup.sh does that.
func promtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool is not installed; packaging/setup.sh does that")
	}
	ctx, cancel := context.WithTimeout(t.Context(), must.Patience)
	defer cancel()
	command := exec.CommandContext(ctx, "promtool", args...)
	command.Dir = filepath.Join(root, Dir)
	text, err := command.CombinedOutput()
	return string(text), err
}

func TestRules(t *testing.T) {
	must.NotShort(t)
	for _, args := range [][]string{
		{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}, {"test", "rules", "alerts_long_test.yaml"},
	} {
		if text, err := promtool(t, args...); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, text)
		}
	}
}

// A rule that never fires does not pass.
func TestRulesThatDoNotFire(t *testing.T) {
	dir := t.TempDir()
	rule := Rules[0]
	rule.Expr = strings.Replace(rule.Expr, "== 0", "== 2", 1)
	must.OK(t, os.WriteFile(filepath.Join(dir, "alerts.yaml"), []byte(rulesText([]Rule{rule})), 0o600))
	must.OK(t, os.WriteFile(filepath.Join(dir, "t.yaml"), []byte(testsText([]Rule{rule}, false)), 0o600))
	if text, err := promtool(t, "test", "rules", filepath.Join(dir, "t.yaml")); err == nil || !strings.Contains(text, rule.Name) {
		t.Errorf("%v\n%s", err, text)
	}
}

// The address of a runbook is a heading of the documents, and whatever an alarm's kind is has one.
func TestRunbooks(t *testing.T) {
	for _, r := range Rules {
		if r.Summary == "" || r.Do == "" || r.Severity != "critical" && r.Severity != "warning" {
			t.Errorf("%s: %+v", r.Name, r)
		}
		file, anchor, _ := strings.Cut(r.Runbook, "#")
		text, err := os.ReadFile(filepath.Join(root, "docs", file))
		if err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
		if anchor != "{{ $labels.kind }}" && !slices.Contains(anchors(string(text)), anchor) {
			t.Errorf("%s: docs/%s has no heading #%s", r.Name, file, anchor)
		}
	}
}

var (
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notSlug = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors are what GitHub calls the headings of a document.
func anchors(text string) (found []string) {
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		found = append(found, strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-"))
	}
	return found
}

// A selector of a metric, with the labels that it names.
var (
	selector = regexp.MustCompile(`(pdns_distribute_\w+)(?:\{([^}]*)\})?`)
	label    = regexp.MustCompile(`(\w+)\s*(?:=~|!=|!~|=)`)
	grouping = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// scraped are labels that Prometheus adds.
var scraped = []string{"instance", "job", "le"}

// TestMetricsExist looks in docs/metrics.md, which is made of the source, for each metric and label that is asked for.
func TestMetricsExist(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "metrics.md"))
	must.OK(t, err)
	metrics := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(pdns_distribute_\\w+)` \\| (\\w+) \\| ([^|]*) \\|").FindAllStringSubmatch(string(page), -1) {
		labels := append(regexp.MustCompile(`\w+`).FindAllString(row[3], -1), scraped...)
		metrics[row[1]] = labels
		if row[2] == "histogram" {
			for _, part := range []string{"_bucket", "_count", "_sum"} {
				metrics[row[1]+part] = labels
			}
		}
	}
	asked := Expressions()
	for who, expression := range asked {
		var known []string
		for _, found := range selector.FindAllStringSubmatch(expression, -1) {
			labels, is := metrics[found[1]]
			if known = append(known, labels...); !is {
				t.Errorf("%s asks for %s, which does not exist", who, found[1])
			}
			for _, named := range label.FindAllStringSubmatch(found[2], -1) {
				if is && !slices.Contains(labels, named[1]) {
					t.Errorf("%s: %s has no label %s", who, found[1], named[1])
				}
			}
		}
		for _, found := range grouping.FindAllStringSubmatch(expression, -1) {
			for _, name := range strings.Split(found[1], ", ") {
				if len(known) > 0 && !slices.Contains(known, name) {
					t.Errorf("%s groups by %s, which no metric there has", who, name)
				}
			}
		}
	}
	if len(asked) < len(Rules) || len(metrics) < 60 {
		t.Errorf("%d expressions and %d metrics were found", len(asked), len(metrics))
	}
}

// Two rules of one name would be one in ALERTS, and the tests of one would be those of the other.
func TestRulesHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules {
		if seen[r.Name] || !strings.HasPrefix(r.Name, "PdnsDistribute") {
			t.Errorf("%s", r.Name)
		}
		seen[r.Name] = true
	}
}
