package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// metric is one metric as its source declares it.
type metric struct {
	name, kind, help string
	labels           []string
}

// places are the files that declare metrics, with the heading that docs/metrics.md gives them. Several files may have
// one heading.
var places = []struct{ heading, files string }{
	{"Every role", "roles/observe/metrics.go"},
	{"Every role but broker", "roles/node/*.go"},
	{"proxy", "proxy/*.go"},
	{"primary", "roles/primary/*.go"},
	{"secondary", "roles/secondary/*.go"},
	{"health", "roles/health/*.go"},
	{"broker", "roles/brokermetrics.go"},
}

// metrics is docs/metrics.md.
func metrics(root string) (string, error) {
	var out strings.Builder
	out.WriteString(metricsHead)
	for _, place := range places {
		found, err := readMetrics(filepath.Join(root, filepath.FromSlash(place.files)))
		if err != nil {
			return "", err
		}
		if len(found) == 0 {
			return "", fmt.Errorf("%s declares no metrics", place.files)
		}
		fmt.Fprintf(&out, "\n## %s\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n", place.heading)
		for _, m := range found {
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", m.name, m.kind, m.labelCell(), m.help)
		}
	}
	return out.String(), nil
}

const metricsHead = `# Metrics

<!-- Made from the declarations of metrics in the source: change those, and run make man. -->

Each role serves these for Prometheus at ` + "`/metrics`" + ` of its ` + "`observe.listen`" + `. Beside them it has the usual ones of the Go
runtime and of the process (go_…, process_…). [What to alert on](monitoring.md#what-to-alert-on) is a choice of them.
`

func (m metric) labelCell() string {
	if len(m.labels) == 0 {
		return "–"
	}
	return "`" + strings.Join(m.labels, "`, `") + "`"
}

// readMetrics returns what files declare, by name.
func readMetrics(pattern string) (found []metric, err error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, is := n.(*ast.CallExpr)
			if !is || err != nil {
				return err == nil
			}
			var m metric
			if m, is, err = metricOf(call); err != nil {
				err = fmt.Errorf("%s: %w", file, err)
			} else if is {
				found = append(found, m)
			}
			return err == nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return found, nil
}

// metricOf reads a call such as prometheus.NewGaugeVec(prometheus.GaugeOpts{…}, []string{…}).
func metricOf(call *ast.CallExpr) (m metric, is bool, err error) {
	maker, is := call.Fun.(*ast.SelectorExpr)
	if !is || len(call.Args) == 0 {
		return m, false, nil
	}
	options, is := call.Args[0].(*ast.CompositeLit)
	if from, named := maker.X.(*ast.Ident); !is || !named || from.Name != "prometheus" {
		return m, false, nil
	}
	m.kind = strings.ToLower(strings.TrimPrefix(maker.Sel.Name, "New"))
	m.kind = strings.TrimSuffix(strings.TrimSuffix(m.kind, "vec"), "func")
	for _, element := range options.Elts {
		field := element.(*ast.KeyValueExpr)
		switch field.Key.(*ast.Ident).Name {
		case "Name":
			m.name, err = constant(field.Value)
		case "Help":
			m.help, err = constant(field.Value)
		case "ConstLabels":
			m.labels, err = keys(field.Value.(*ast.CompositeLit))
		}
		if err != nil {
			return m, false, err
		}
	}
	if list, has := call.Args[len(call.Args)-1].(*ast.CompositeLit); has && len(call.Args) > 1 {
		for _, label := range list.Elts {
			name, err := constant(label)
			if err != nil {
				return m, false, err
			}
			m.labels = append(m.labels, name)
		}
	}
	if m.name == "" || m.help == "" {
		return m, false, fmt.Errorf("metric %q has no name or no help", m.name)
	}
	return m, true, nil
}

// keys are those of a map that is written down.
func keys(of *ast.CompositeLit) (all []string, err error) {
	for _, element := range of.Elts {
		key, err := constant(element.(*ast.KeyValueExpr).Key)
		if err != nil {
			return nil, err
		}
		all = append(all, key)
	}
	return all, nil
}

// constant is a text that is written down, perhaps in parts.
func constant(e ast.Expr) (string, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return strconv.Unquote(e.Value)
	case *ast.BinaryExpr:
		left, err := constant(e.X)
		if err != nil {
			return "", err
		}
		right, err := constant(e.Y)
		return left + right, err
	}
	return "", fmt.Errorf("a name, help or label of a metric is no text that is written down")
}
