package node

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/powerdns/must"
)

// What stays has a value all the time, and what is over has none.
func TestGaugesAreRenewed(t *testing.T) {
	g := NewGauges(prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "g"}, []string{"a", "b"}))
	reg := prometheus.NewRegistry()
	reg.MustRegister(g)
	show := func() (all []string) {
		families, err := reg.Gather()
		must.OK(t, err)
		for _, family := range families {
			for _, m := range family.GetMetric() {
				all = append(all, fmt.Sprint(m.GetLabel()[0].GetValue(), m.GetLabel()[1].GetValue(), "=", m.GetGauge().GetValue()))
			}
		}
		return all
	}
	g.Renew([]Value{{1, []string{"x", "1"}}, {2, []string{"x", "2"}}})
	g.Renew([]Value{{3, []string{"x", "2"}}, {4, []string{"y", "1"}}})
	if got, want := show(), []string{"x2=3", "y1=4"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	scraped, stop := make(chan int), make(chan struct{})
	go func() {
		least := 2
		for {
			select {
			case <-stop:
				scraped <- least
				return
			default:
				least = min(least, len(show()))
			}
		}
	}()
	for n := range 2000 {
		g.Renew([]Value{{float64(n), []string{"x", "2"}}, {4, []string{"y", "1"}}})
	}
	close(stop)
	if least := <-scraped; least < 2 {
		t.Errorf("a scrape found %d values of two", least)
	}
}
