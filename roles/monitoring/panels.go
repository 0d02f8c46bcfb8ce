package monitoring

// Panel is a panel of the dashboard.
type Panel struct {
	Title, About string
	Kind         string // of Grafana: stat, timeseries, table, heatmap
	Unit         string
	Queries      []Query
	Width        int // of 24
	May          bool
}

// Query is one of a panel's.
type Query struct{ Expr, Legend string }

// Panels are those of all rows.
func Panels() (all []Panel) {
	return all
}
