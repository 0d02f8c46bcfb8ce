package health

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/roletest"
)

// of returns the values of a gauge by its only label.
func of(t *testing.T, reg *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	must.OK(t, err)
	found := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name {
				found[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return found
}

// An active secondary lags by the oldest change that it has not reported; one that is away by how long the broker has
// been keeping something for it.
func TestLag(t *testing.T) {
	reg, now := prometheus.NewRegistry(), time.Now()
	m := newSecondaryMetrics(reg)
	events := health.NewEvents(time.Minute)
	state := health.Settled{Zone: roletest.Numbered(1), Digest: "d", Published: now.Add(-7 * time.Second)}
	events.Published(now.Add(-7*time.Second), 1, state, true)
	events.Applied(now, "ns1", health.Applied{Zone: state.Zone, Digest: "d", Published: state.Published})
	board := health.Board{}
	for _, node := range []string{"ns1", "ns2", "ns3"} {
		row := health.Row{Presence: health.Presence{Node: node, Role: health.RoleSecondary}, Active: node != "ns3", Behind: 4}
		board.Nodes = append(board.Nodes, row)
	}
	m.lagging(now, board, events, func(node string) (since time.Time) {
		if node == "ns3" {
			since = now.Add(-time.Hour)
		}
		return since
	})
	for node, want := range map[string]float64{"ns1": 0, "ns2": 7, "ns3": 3600} {
		if got := of(t, reg, "pdns_distribute_health_lag_seconds")[node]; got != want {
			t.Errorf("%s lags by %v s, want %v", node, got, want)
		}
	}
	for node, want := range map[string]float64{"ns1": 0, "ns2": 1, "ns3": 0} {
		if got, is := of(t, reg, "pdns_distribute_health_unserved_changes")[node]; !is || got != want {
			t.Errorf("%s lacks %v changes, want %v", node, got, want)
		}
	}
}

func TestQueueMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newQueueMetrics(reg)
	const name = "pdns_distribute_health_queue_touches"
	if before := of(t, reg, name); len(before) != 2 {
		t.Errorf("before anything is known: %v", before)
	}
	m.queued(health.Queue{Touches: 5, Waiting: 2, Oldest: time.Minute})
	if got := of(t, reg, name); got["waiting"] != 2 || got["taken"] != 3 {
		t.Errorf("%v", got)
	}
}

// However many changes are on their way, most of the time is left for other work.
func TestLookIsPaced(t *testing.T) {
	events, now := health.NewEvents(time.Minute), time.Now()
	for n := range 1000 {
		events.Published(now, uint64(n), health.Settled{Zone: roletest.Numbered(n), Digest: "d"}, true)
	}
	l := &look{}
	first := l.at(now, events, []string{"ns1"})["ns1"].Changes
	events.Published(now, 2000, health.Settled{Zone: roletest.Numbered(2000), Digest: "d"}, true)
	if l.due.Before(now) || l.due.Equal(now) {
		t.Error("it is due again at once")
	}
	again := l.at(l.due.Add(-1), events, []string{"ns1"})["ns1"].Changes
	later := l.at(l.due, events, []string{"ns1"})["ns1"].Changes
	if first != 1000 || again != 1000 || later != 1001 {
		t.Errorf("%d changes, then %d, and when it is due %d", first, again, later)
	}
}
