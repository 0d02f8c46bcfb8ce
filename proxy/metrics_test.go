package proxy

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
)

// measured is a tracker whose changes are measured.
type measured struct {
	*world
	registry *prometheus.Registry
}

func newMeasured(secondaries ...string) measured {
	m := measured{newWorld(secondaries...), prometheus.NewRegistry()}
	m.propagation = newPropagation(newMetrics(m.registry), m.Tracker)
	return m
}

// durations are the count and the sum of a histogram, over all of its series that have this label's value.
func durations(t *testing.T, reg *prometheus.Registry, name, value string) (count uint64, sum float64) {
	t.Helper()
	families, err := reg.Gather()
	must.OK(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			named := value == ""
			for _, label := range m.GetLabel() {
				named = named || label.GetValue() == value
			}
			if family.GetName() == name && named {
				count, sum = count+m.GetHistogram().GetSampleCount(), sum+m.GetHistogram().GetSampleSum()
			}
		}
	}
	return count, sum
}

// seriesOf is how many series a metric has.
func seriesOf(t *testing.T, reg *prometheus.Registry, name string) int {
	t.Helper()
	families, err := reg.Gather()
	must.OK(t, err)
	for _, family := range families {
		if family.GetName() == name {
			return len(family.GetMetric())
		}
	}
	return 0
}

func (m measured) check(t *testing.T, name, value string, wantCount uint64, want time.Duration) {
	t.Helper()
	count, sum := durations(t, m.registry, "pdns_distribute_proxy_"+name, value)
	if count != wantCount || math.Abs(sum-want.Seconds()) > 1e-6 {
		t.Errorf("%s{%s}: %d observed, %v s in all; want %d, %s", name, value, count, sum, wantCount, want)
	}
}

// settled is the notice of a state that is published now, and served the notice of who has it.
func settledNow(touch uint64) health.Settled {
	return health.Settled{Zone: example.Zone, Touch: touch, Digest: "new", Published: time.Now()}
}

func served(s health.Settled) health.Applied {
	return health.Applied{Zone: s.Zone, Digest: s.Digest, Published: s.Published, At: time.Now()}
}

func TestPropagation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeasured("ns1", "ns2")
		m.propagation.began(example.Zone, time.Now())
		time.Sleep(10 * time.Millisecond)
		m.propagation.stored(example.Zone, 7)
		m.Settled(settledAt(6, "of an earlier touch"))
		state := settledNow(7)
		m.Settled(state)
		time.Sleep(10 * time.Millisecond)
		m.Applied("ns1", appliedAs("old"))
		m.Applied("ns1", served(state))
		m.Applied("ns1", served(state)) // again, for somebody who asked
		m.check(t, "served_seconds", "ns1", 1, 20*time.Millisecond)
		m.check(t, "propagation_seconds", "", 0, 0)
		time.Sleep(30 * time.Millisecond)
		m.Applied("ns2", served(state))
		m.check(t, "served_seconds", "ns2", 1, 50*time.Millisecond)
		m.check(t, "propagation_seconds", "", 1, 50*time.Millisecond)
		if m.propagation.count != 0 || len(m.propagation.zones) != 0 {
			t.Errorf("%d changes of %d zones are still followed", m.propagation.count, len(m.propagation.zones))
		}
	})
}

// Notices come over several connections, in any order, and the answer to the touch perhaps after all of them.
func TestPropagationInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeasured("ns1")
		m.propagation.began(example.Zone, time.Now())
		state := settledNow(7)
		time.Sleep(20 * time.Millisecond)
		m.Applied("ns1", served(state))
		time.Sleep(20 * time.Millisecond)
		m.Settled(state)
		m.propagation.stored(example.Zone, 7)
		m.check(t, "propagation_seconds", "", 1, 20*time.Millisecond)
	})
}

// What nobody serves anew is not measured: a write that changed nothing, and a notice that is repeated much later.
func TestPropagationOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeasured("ns1")
		before := settledNow(6)
		applied := served(before)
		time.Sleep(time.Hour)
		m.propagation.began(example.Zone, time.Now())
		m.propagation.stored(example.Zone, 7)
		before.Touch = 7
		m.Settled(before)
		m.Applied("ns1", applied)

		m.propagation.began(example.Zone, time.Now())
		m.propagation.stored(example.Zone, 8)
		state := settledNow(8)
		applied = served(state)
		time.Sleep(5 * time.Minute)
		m.Seen("ns1", time.Now())
		m.Settled(state)
		m.Applied("ns1", applied)
		m.check(t, "served_seconds", "", 0, 0)
		m.check(t, "propagation_seconds", "", 0, 0)
	})
}

func TestPropagationIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeasured("ns1")
		for range maxFollowedHere + 1 {
			m.propagation.began(example.Zone, time.Now())
		}
		if m.propagation.count != maxFollowedHere {
			t.Errorf("%d changes of one zone are followed", m.propagation.count)
		}
		m.propagation.dropOld(time.Now().Add(followedFor + time.Second))
		if m.propagation.count != 0 || len(m.propagation.zones) != 0 {
			t.Errorf("%d are followed for ever", m.propagation.count)
		}
	})
}

// The time that an answer was held counts for itself.
func TestRequestDurations(t *testing.T) {
	const held = 300 * time.Millisecond
	powerdns := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	defer powerdns.Close()
	cfg := newConfig(t)
	cfg.MaxWait = held
	p, err := newProxy(cfg, powerdns.URL, &queue{})
	must.OK(t, err)
	p.trust()
	p.tracker.Seen("ns1", time.Now())
	p.tracker.Resumed()
	p.run(t)
	begin := time.Now()
	call{method: "PATCH", target: zonesPath + "/example.org.", body: "{}", header: http.Header{"Prefer": {"wait=30"}}}.over(t, p.dial(t))
	whole := time.Since(begin)
	count, waited := durations(t, p.registry, "pdns_distribute_proxy_wait_seconds", "pending")
	if count != 1 || waited < held.Seconds() || waited > whole.Seconds() {
		t.Errorf("%d answers were held for %v s, of %s", count, waited, whole)
	}
	must.Eventually(t, func() error {
		if count, _ := durations(t, p.registry, "pdns_distribute_proxy_request_duration_seconds", "PATCH"); count != 1 {
			return fmt.Errorf("%d requests were counted", count)
		}
		return nil
	})
	if _, took := durations(t, p.registry, "pdns_distribute_proxy_request_duration_seconds", "PATCH"); took+waited > time.Since(begin).Seconds() {
		t.Errorf("the request took %v s beside the %v s that it was held", took, waited)
	}
}

// A counter that begins with its first event shows no increase by it.
func TestCountersBeginAtZero(t *testing.T) {
	reg := prometheus.NewRegistry()
	newMetrics(reg)
	for name, want := range map[string]int{
		"requests_total": len(methods) * len(usualStatuses), "touches_total": 2, "waits_total": 2, "wait_seconds": 2,
		"request_duration_seconds": len(methods), "refused_total": 1, "propagation_seconds": 1,
	} {
		if got := seriesOf(t, reg, "pdns_distribute_proxy_"+name); got != want {
			t.Errorf("%s has %d series before anything happened, want %d", name, got, want)
		}
	}
}

func TestOldestPendingTouch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{away: true}
		p, err := newProxy(newConfig(t), "http://127.0.0.1:1", q)
		must.OK(t, err)
		defer p.places.Close()
		p.pending.add(Touch{Zone: example.Zone, Cause: Changed}, true)
		time.Sleep(time.Minute)
		p.pending.add(Touch{Zone: example.Zone, Cause: Changed}, true)
		if age := p.pending.oldest(time.Now()); age != time.Minute {
			t.Errorf("pending for %s", age)
		}
		q.away = false
		p.pending.flush(t.Context())
		if age := p.pending.oldest(time.Now()); age != 0 {
			t.Errorf("pending for %s though all are stored", age)
		}
	})
}
