package node

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Gauges are a gauge with labels of which all values are renewed together. A scrape in between finds no value missing
// that was there before and is there after: Prometheus would take it for gone, and an alert for over. One goroutine
// renews them.
type Gauges struct {
	*prometheus.GaugeVec
	shown map[string][]string // labels, by their key
}

// NewGauges renews the gauge, which has no values yet.
func NewGauges(of *prometheus.GaugeVec) *Gauges { return &Gauges{GaugeVec: of} }

// Value is one of a gauge.
type Value struct {
	Value  float64
	Labels []string
}

// Renew has the gauge have these values and no others. Of two with the same labels the later one counts.
func (g *Gauges) Renew(values []Value) {
	shown := make(map[string][]string, len(values))
	for _, v := range values {
		g.WithLabelValues(v.Labels...).Set(v.Value)
		shown[strings.Join(v.Labels, "\x00")] = v.Labels
	}
	for key, labels := range g.shown {
		if _, is := shown[key]; !is {
			g.DeleteLabelValues(labels...)
		}
	}
	g.shown = shown
}
