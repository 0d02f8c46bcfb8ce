package monitoring

// object is one of Grafana's JSON, whose keys are written in order of the alphabet.
type object = map[string]any

const (
	wide   = 24 // units in a row
	height = 8
)

// source is the data source that is chosen at the top of the dashboard.
var source = object{"type": "prometheus", "uid": "${datasource}"}

// dashboard is what Grafana (9 and later) imports.
func dashboard() object {
	var panels []any
	y := 0
	add := func(panel object, x, w, h int) {
		panel["id"], panel["gridPos"] = len(panels)+1, object{"x": x, "y": y, "w": w, "h": h}
		panels = append(panels, panel)
	}
	for _, row := range Rows {
		add(object{"type": "row", "title": row.Title, "collapsed": false, "panels": []any{}}, 0, wide, 1)
		y++
		x := 0
		for _, p := range row.Panels {
			if x+p.Width > wide {
				x, y = 0, y+height
			}
			add(p.object(), x, p.Width, height)
			x += p.Width
		}
		y += height
	}
	return object{
		"title": "pdns-distribute", "uid": "pdns-distribute", "tags": []string{"dns", "pdns-distribute"},
		"description":   "Made by pdns-distribute's roles/monitoring (make man).",
		"schemaVersion": 38, "version": 1, "editable": true, "refresh": "30s", "timezone": "browser",
		"time": object{"from": "now-6h", "to": "now"}, "panels": panels,
		"templating": object{"list": []any{object{
			"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
		}}},
	}
}

func (p Panel) object() object {
	var targets []any
	for i, q := range p.Queries {
		targets = append(targets, object{
			"refId": string(rune('A' + i)), "datasource": source, "expr": q.Expr, "legendFormat": q.Legend,
			"instant": p.Kind != "timeseries", "range": p.Kind == "timeseries", "format": p.format(),
		})
	}
	defaults := object{"unit": p.Unit}
	o := object{
		"type": p.Kind, "title": p.Title, "description": p.About, "datasource": source, "targets": targets,
		"fieldConfig": object{"defaults": defaults, "overrides": []any{}},
	}
	switch p.Kind {
	case "stat":
		defaults["thresholds"] = object{"mode": "absolute", "steps": p.steps()}
		o["options"] = object{
			"colorMode": "background", "graphMode": "none", "textMode": "auto",
			"reduceOptions": object{"calcs": []string{"lastNotNull"}},
		}
	case "table":
		o["transformations"] = []any{object{"id": "organize", "options": object{"excludeByName": object{"Time": true}}}}
	default:
		defaults["min"] = 0
		o["options"] = object{"tooltip": object{"mode": "multi", "sort": "desc"}, "legend": object{"displayMode": "list"}}
	}
	return o
}

func (p Panel) format() string {
	if p.Kind == "table" {
		return "table"
	}
	return "time_series"
}

// steps are the colours of a stat. The first one has no value: it is from the least on.
func (p Panel) steps() []any {
	step := func(colour string, from any) any { return object{"color": colour, "value": from} }
	if p.Low {
		if p.Yellow > p.Red {
			return []any{step("red", nil), step("yellow", p.Red), step("green", p.Yellow)}
		}
		return []any{step("red", nil), step("green", p.Red)}
	}
	if p.Red > p.Yellow {
		return []any{step("green", nil), step("yellow", p.Yellow), step("red", p.Red)}
	}
	return []any{step("green", nil), step("red", p.Red)}
}
