// Package monitoring is what an operator gives to Prometheus and Grafana: alert rules with their tests, and a
// dashboard. [Files] writes them; make man calls it. The rules stand in rules.go, each with what it is tried by, the
// panels in panels.go, and dashboard.go makes Grafana's JSON of them.
package monitoring

import (
	"encoding/json"
	"path"
)

// Dir is where the files are, below the project's top.
const Dir = "packaging/monitoring"

// Files are the texts of the files, by their paths.
func Files() (map[string]string, error) {
	board, err := json.MarshalIndent(dashboard(), "", "  ")
	if err != nil {
		return nil, err
	}
	return map[string]string{
		path.Join(Dir, "alerts.yaml"):           rulesText(Rules),
		path.Join(Dir, "alerts_test.yaml"):      testsText(Rules, false),
		path.Join(Dir, "alerts_long_test.yaml"): testsText(Rules, true),
		path.Join(Dir, "dashboard.json"):        string(board) + "\n",
	}, nil
}

// Expressions are all that the rules and panels ask Prometheus, by who asks. Variables of the dashboard stand in them.
func Expressions() map[string]string {
	all := map[string]string{}
	for _, r := range Rules {
		all["rule "+r.Name] = r.Expr
	}
	for _, p := range Panels() {
		for _, q := range p.Queries {
			all["panel "+p.Title+", "+q.Legend] = q.Expr
		}
	}
	return all
}
