package monitoring

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// docs is where a package puts the documents. The links lead there on any host that has the package, without a server
// that would have to be there when something is wrong.
const docs = "file:///usr/share/doc/pdns-distribute/docs/"

const made = "# Made by pdns-distribute's roles/monitoring (make man): change it there.\n"

// rulesText is what Prometheus takes as a file of rules.
func rulesText(rules []Rule) string {
	var b strings.Builder
	b.WriteString(made)
	b.WriteString("# docs/monitoring.md says how to load it. The job that scrapes the roles is to be called pdns-distribute.\n" +
		"# runbook_url leads to the documents of the package: put your own address in place of\n# " + docs + "\n")
	b.WriteString("groups:\n  - name: pdns-distribute\n    rules:\n")
	for _, r := range rules {
		fmt.Fprintf(&b, "      - alert: %s\n        expr: %s\n        for: %s\n        labels:\n          severity: %s\n"+
			"        annotations:\n          summary: %s\n          description: %s\n          runbook_url: %s\n",
			r.Name, quoted(r.Expr), r.For, r.Severity, quoted(r.Summary), quoted(r.Do), quoted(docs+r.Runbook))
	}
	return b.String()
}

// quoted is a text as YAML takes it literally.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

const (
	minutes    = 60 // that a trial takes where nothing else is said
	gapMinutes = 20

	// long is how many minutes make a trial a long one: those have a file of their own, with samples further apart.
	long = 300
)

// script is a file of tests for promtool.
type script struct {
	strings.Builder
	step int // minutes between two samples, and two evaluations
}

// testsText is what promtool tries the rules by, those with long trials or the others.
func testsText(rules []Rule, isLong bool) string {
	s := &script{step: 1}
	if isLong {
		s.step = 5
	}
	fmt.Fprintf(s, "%srule_files: [alerts.yaml]\nevaluation_interval: %dm\ntests:\n", made, s.step)
	for _, r := range rules {
		if n := cmp.Or(r.Try.Minutes, minutes); n >= long == isLong {
			s.try(r, n)
		}
	}
	return s.String()
}

// try has the rule fire, not fire, and not fire over a gap of the scrape, within so many minutes each.
func (s *script) try(r Rule, n int) {
	s.test(r.Name+" fires", r.Try.Bad, func(of Series) string { return s.values(of, 0, n) })
	s.expect(r.Name, n, cmp.Or(r.Try.Alerts, 1))
	s.test(r.Name+" does not fire", r.Try.Good, func(of Series) string { return s.values(of, 0, n) })
	s.expect(r.Name, n, 0)
	after := n + s.step + gapMinutes
	s.test(r.Name+" over a gap of the scrape", r.Try.Good, func(of Series) string {
		return fmt.Sprintf("%s _x%d %s", s.values(of, 0, n), gapMinutes/s.step, s.values(of, after, n))
	})
	within := 0
	if r.Try.GapFires {
		within = 1
	}
	s.expect(r.Name, n+gapMinutes, within)
	s.expect(r.Name, after+s.step, 0)
}

// values are those of so many minutes, from that minute on.
func (s *script) values(of Series, from, n int) string {
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	return fmt.Sprintf("%s+%sx%d", number(of.From+float64(from)*of.Step), number(of.Step*float64(s.step)), n/s.step)
}

func (s *script) test(name string, series []Series, values func(Series) string) {
	fmt.Fprintf(s, "  - name: %s\n    interval: %dm\n    input_series:", name, s.step)
	if len(series) == 0 {
		s.WriteString(" []")
	}
	s.WriteString("\n")
	for _, of := range series {
		fmt.Fprintf(s, "      - series: %s\n        values: %s\n", quoted(of.Name), quoted(values(of)))
	}
	s.WriteString("    promql_expr_test:\n")
}

// expect has so many alerts of the rule fire at that minute.
func (s *script) expect(rule string, minute, alerts int) {
	fmt.Fprintf(s, "      - expr: count(ALERTS{alertname=\"%s\", alertstate=\"firing\"})\n        eval_time: %dm\n", rule, minute)
	if alerts == 0 {
		s.WriteString("        exp_samples: []\n")
		return
	}
	fmt.Fprintf(s, "        exp_samples: [{labels: '{}', value: %d}]\n", alerts)
}
