package roles

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/broker"
	"pdns-distribute/roles/node"
)

// brokerMetrics are renewed with each proof.
type brokerMetrics struct {
	sound  prometheus.Gauge
	proofs *prometheus.CounterVec
	proven prometheus.Gauge
	ends   *prometheus.GaugeVec
	clusterMetrics
	storeMetrics
}

// clusterMetrics are about the other brokers.
type clusterMetrics struct {
	quorum prometheus.Gauge
	leads  prometheus.Gauge
	peers  *node.Gauges
	lags   *node.Gauges
}

// storeMetrics are about what the broker keeps.
type storeMetrics struct {
	used, limit prometheus.Gauge
	clients     prometheus.Gauge
	messages    *prometheus.GaugeVec
	bytes       *node.Gauges
	consumers   *node.Gauges
}

const proofSound = "sound"

func newBrokerMetrics(reg prometheus.Registerer) brokerMetrics {
	m := brokerMetrics{
		sound: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_broker_sound", Help: "1 if the last proof found that the broker stores and delivers, else 0.",
		}),
		proofs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_broker_proofs_total",
			Help: "Proofs by result: sound, or the fault that was found (disk, jetstream, quorum, streams).",
		}, []string{"result"}),
		proven: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_broker_proof_timestamp_seconds",
			Help: "When the last proof ended that found the broker sound; 0: none has yet.",
		}),
		ends: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_broker_certificate_end_timestamp_seconds",
			Help: "When the certificate of the broker and that of its CA expire.",
		}, []string{"of"}),
		clusterMetrics: newClusterMetrics(reg), storeMetrics: newStoreMetrics(reg),
	}
	for _, result := range append(slices.Clone(brokerFaults), proofSound) {
		m.proofs.WithLabelValues(result)
	}
	reg.MustRegister(m.sound, m.proofs, m.proven, m.ends)
	return m
}

func newClusterMetrics(reg prometheus.Registerer) clusterMetrics {
	m := clusterMetrics{
		quorum: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_broker_quorum",
			Help: "1 while more than half of the brokers are there, as far as this one knows, else 0.",
		}),
		leads: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_broker_leads", Help: "1 at the broker that keeps the books of the cluster, else 0.",
		}),
		peers: node.NewGauges(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_broker_peer_up", Help: "1 if another broker of the cluster is up, else 0.",
		}, []string{"peer"})),
		lags: node.NewGauges(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_broker_peer_lag",
			Help: "Operations of the cluster's books that another broker is behind; only the broker that leads knows.",
		}, []string{"peer"})),
	}
	reg.MustRegister(m.quorum, m.leads, m.peers, m.lags)
	return m
}

func newStoreMetrics(reg prometheus.Registerer) storeMetrics {
	m := storeMetrics{
		used: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_broker_store_bytes", Help: "Bytes on disk that all streams of this broker take.",
		}),
		limit: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_broker_store_limit_bytes",
			Help: "Bytes on disk that all streams of this broker may take, by its configuration.",
		}),
		clients: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_broker_clients", Help: "Connections of clients to this broker.",
		}),
		messages: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_broker_messages", Help: "Messages in each stream.",
		}, []string{"stream"}),
		bytes: node.NewGauges(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_broker_stream_bytes", Help: "Bytes of each stream at this broker.",
		}, []string{"stream"})),
		consumers: node.NewGauges(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_broker_stream_consumers",
			Help: "Consumers of each stream: a feed for each secondary and a watch for each health role at PDNS_ZONE.",
		}, []string{"stream"})),
	}
	reg.MustRegister(m.used, m.limit, m.clients, m.messages, m.bytes, m.consumers)
	return m
}

// measure takes a proof.
func (m brokerMetrics) measure(p broker.Proof, ends broker.Ends) {
	m.sound.Set(number(len(p.Faults) == 0))
	if len(p.Faults) == 0 {
		m.proofs.WithLabelValues(proofSound).Inc()
		m.proven.Set(float64(p.At.Unix()))
	}
	quorum := true
	for _, f := range p.Faults {
		m.proofs.WithLabelValues(f.What).Inc()
		quorum = quorum && f.What != broker.FaultQuorum
	}
	m.quorum.Set(number(quorum))
	for of, at := range map[string]time.Time{"broker": ends.Certificate, "ca": ends.CA} {
		if !at.IsZero() {
			m.ends.WithLabelValues(of).Set(float64(at.Unix()))
		}
	}
	m.clusterMetrics.measure(p)
	m.storeMetrics.measure(p)
}

func (m clusterMetrics) measure(p broker.Proof) {
	var peers, lags []node.Value
	for _, peer := range p.Peers {
		labels := []string{peer.Name}
		peers = append(peers, node.Value{Value: number(!peer.Away), Labels: labels})
		lags = append(lags, node.Value{Value: float64(peer.Lag), Labels: labels})
	}
	m.peers.Renew(peers)
	m.lags.Renew(lags)
	m.leads.Set(number(p.Leads))
}

func (m storeMetrics) measure(p broker.Proof) {
	for _, s := range p.Streams {
		m.messages.WithLabelValues(s.Name).Set(float64(s.Messages))
	}
	m.used.Set(float64(p.Store.Bytes))
	m.limit.Set(float64(p.Store.Limit))
	m.clients.Set(float64(p.Store.Clients))
	var bytes, consumers []node.Value
	for _, s := range p.Store.Streams {
		labels := []string{s.Name}
		bytes = append(bytes, node.Value{Value: float64(s.Bytes), Labels: labels})
		consumers = append(consumers, node.Value{Value: float64(s.Consumers), Labels: labels})
	}
	m.bytes.Renew(bytes)
	m.consumers.Renew(consumers)
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
