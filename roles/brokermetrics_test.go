package roles

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
)

// values are those of a registry's counters and gauges, by name and labels.
func values(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	must.OK(t, err)
	all := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += fmt.Sprintf(" %s=%s", label.GetName(), label.GetValue())
			}
			all[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return all
}

func TestBrokerMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newBrokerMetrics(reg)
	for _, result := range []string{"sound", "disk", "jetstream", "quorum", "streams"} {
		if got, is := values(t, reg)["pdns_distribute_broker_proofs_total result="+result]; !is || got != 0 {
			t.Errorf("proofs_total{%s} is %v, %v before the first proof", result, got, is)
		}
	}
	at := time.Unix(1_800_000_000, 0)
	m.measure(broker.Proof{
		At: at, Leads: true, Peers: []broker.Peer{{Name: "b2", Lag: 3}, {Name: "b3", Away: true}},
		Streams: []broker.StreamCount{{Name: "PDNS_ZONE", Messages: 7}},
		Store: broker.StoreUse{
			Bytes: 10, Limit: 100, Clients: 4, Streams: []broker.StreamUse{{Name: "PDNS_ZONE", Bytes: 9, Consumers: 2}},
		},
	}, broker.Ends{CA: at.Add(time.Hour)})
	m.measure(broker.Proof{At: at.Add(time.Minute), Leads: true, Faults: []broker.Fault{{What: broker.FaultQuorum}}}, broker.Ends{})
	want := map[string]float64{
		"sound": 0, "quorum": 0, "leads": 1, "proof_timestamp_seconds": 1_800_000_000,
		"proofs_total result=sound": 1, "proofs_total result=quorum": 1, "proofs_total result=disk": 0,
		"certificate_end_timestamp_seconds of=ca": 1_800_003_600, "messages stream=PDNS_ZONE": 7,
	}
	got := values(t, reg)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got["pdns_distribute_broker_"+name] != want[name] {
			t.Errorf("%s is %v, want %v", name, got["pdns_distribute_broker_"+name], want[name])
		}
	}
	m.storeMetrics.measure(broker.Proof{Store: broker.StoreUse{
		Bytes: 10, Limit: 100, Clients: 4, Streams: []broker.StreamUse{{Name: "PDNS_ZONE", Bytes: 9, Consumers: 2}},
	}})
	m.clusterMetrics.measure(broker.Proof{Peers: []broker.Peer{{Name: "b2", Lag: 3}, {Name: "b3", Away: true}}})
	got = values(t, reg)
	for name, want := range map[string]float64{
		"leads": 0, "peer_up peer=b2": 1, "peer_up peer=b3": 0, "peer_lag peer=b2": 3,
		"store_bytes": 10, "store_limit_bytes": 100, "clients": 4,
		"stream_bytes stream=PDNS_ZONE": 9, "stream_consumers stream=PDNS_ZONE": 2,
	} {
		if got["pdns_distribute_broker_"+name] != want {
			t.Errorf("%s is %v, want %v", name, got["pdns_distribute_broker_"+name], want)
		}
	}
	if _, is := got["pdns_distribute_broker_certificate_end_timestamp_seconds of=broker"]; is {
		t.Error("an end is shown that nobody knows")
	}
}
