package monitoring

// Rule is an alert rule for Prometheus.
type Rule struct {
	Name     string
	Expr     string
	For      string
	Severity string // "critical": somebody should get up; "warning": somebody should look within a day

	// What people read. Labels may be named as in Prometheus's templates.
	Summary string // what is wrong
	Do      string // what to do about it
	Runbook string // below docs

	Try Trial
}

// Trial is what a rule is tried by: it fires for Bad, and not for Good, nor where Good has a gap of 20 minutes.
type Trial struct {
	Bad, Good []Series
	Alerts    int // that fire for Bad; 0 is one
	Minutes   int // that a trial takes; 0 is 60
	GapFires  bool
}

// Series is a series that has From at first, and Step more each minute.
type Series struct {
	Name       string
	From, Step float64
}

// at is a gauge that does not change.
func at(name string, value float64) Series { return Series{Name: name, From: value} }

// one is a trial by one gauge.
func one(name string, bad, good float64) Trial {
	return Trial{Bad: []Series{at(name, bad)}, Good: []Series{at(name, good)}}
}

// day is one in seconds, in which metrics have their times.
const day = 24 * 60 * 60

// Rules are all, the causes before what follows from them.
var Rules = append(append(append([]Rule{}, nodeRules...), brokerRules...), changeRules...)

// nodeRules are about each role, and what the health role finds.
var nodeRules = []Rule{{
	Name: "PdnsDistributeDown", Expr: `up{job="pdns-distribute"} == 0`, For: "2m", Severity: "critical",
	Summary: "{{ $labels.instance }} cannot be scraped",
	Do:      "Start the role on that host. If it runs, check that observe.listen can be reached from Prometheus.",
	Runbook: "alarms.md#inactive",
	Try:     one(`up{job="pdns-distribute", instance="ns1:9504"}`, 0, 1),
}, {
	Name: "PdnsDistributeNotScraped", Expr: `absent(pdns_distribute_build_info)`, For: "10m", Severity: "critical",
	Summary: "Prometheus has no metrics of pdns-distribute",
	Do:      "Check the scrape configuration: without metrics no other rule can fire.",
	Runbook: "monitoring.md#prometheus",
	Try: Trial{
		Bad: nil, Good: []Series{at(`pdns_distribute_build_info{role="primary", version="v1"}`, 1)}, GapFires: true,
	},
}, {
	Name: "PdnsDistributeAlarm", Expr: `max by (kind, node) (pdns_distribute_health_alarm{level="alarm"}) == 1`,
	For: "1m", Severity: "critical",
	Summary: "alarm {{ $labels.kind }}{{ with $labels.node }} of {{ . }}{{ end }}",
	Do:      "Read what and since when: pdns-distribute status. The page of the alarm says what to do.",
	Runbook: "alarms.md#{{ $labels.kind }}",
	Try: Trial{
		Bad: []Series{
			at(`pdns_distribute_health_alarm{kind="inactive", node="ns1", level="alarm", instance="h1:9503"}`, 1),
			at(`pdns_distribute_health_alarm{kind="inactive", node="ns1", level="alarm", instance="h2:9503"}`, 1),
			at(`pdns_distribute_health_alarm{kind="no-primary", node="", level="alarm", instance="h1:9503"}`, 1),
		},
		Good:   []Series{at(`pdns_distribute_health_alarm{kind="load", node="ns1", level="warning", instance="h1:9503"}`, 1)},
		Alerts: 2,
	},
}, {
	Name: "PdnsDistributeWarning", Expr: `max by (kind, node) (pdns_distribute_health_alarm{level="warning"}) == 1`,
	For: "15m", Severity: "warning",
	Summary: "warning {{ $labels.kind }}{{ with $labels.node }} of {{ . }}{{ end }}",
	Do:      "Nothing is endangered yet. Read what and since when: pdns-distribute status.",
	Runbook: "alarms.md#{{ $labels.kind }}",
	Try: Trial{
		Bad:  []Series{at(`pdns_distribute_health_alarm{kind="load", node="ns1", level="warning"}`, 1)},
		Good: []Series{at(`pdns_distribute_health_alarm{kind="inactive", node="ns1", level="alarm"}`, 1)},
	},
}, {
	Name: "PdnsDistributeNoHealthLeader", Expr: `max(pdns_distribute_health_leads) == 0`, For: "1m", Severity: "critical",
	Summary: "no health role leads: drift is neither detected nor repaired",
	Do:      "Start a health role. If one runs, read why it is not ready: /readyz of that role.",
	Runbook: "monitoring.md#the-health-role",
	Try: Trial{
		Bad:  []Series{at(`pdns_distribute_health_leads{instance="h1:9503"}`, 0), at(`pdns_distribute_health_leads{instance="h2:9503"}`, 0)},
		Good: []Series{at(`pdns_distribute_health_leads{instance="h1:9503"}`, 0), at(`pdns_distribute_health_leads{instance="h2:9503"}`, 1)},
	},
}, {
	Name: "PdnsDistributeNotReady", Expr: `pdns_distribute_ready == 0`, For: "2m", Severity: "critical",
	Summary: "{{ $labels.instance }} is not ready",
	Do:      "Read why: /readyz of that role, or pdns-distribute doctor on its host.",
	Runbook: "monitoring.md#why-a-role-is-not-ready",
	Try:     one(`pdns_distribute_ready{instance="ns1:9504"}`, 0, 1),
}, {
	Name: "PdnsDistributeDisconnected", Expr: `pdns_distribute_connected == 0`, For: "1m", Severity: "critical",
	Summary: "{{ $labels.instance }} has no connection to a broker",
	Do:      "Run pdns-distribute doctor on that host. Secondaries go on serving what they have.",
	Runbook: "alarms.md#no-broker",
	Try:     one(`pdns_distribute_connected{instance="ns1:9504"}`, 0, 1),
}, {
	Name: "PdnsDistributePowerDNSDown", Expr: `pdns_distribute_powerdns_up == 0`, For: "1m", Severity: "critical",
	Summary: "the PowerDNS beside {{ $labels.instance }} does not answer, or is another one than it should be",
	Do:      "Start PowerDNS there. If it runs, run pdns-distribute doctor on that host.",
	Runbook: "monitoring.md#why-a-role-is-not-ready",
	Try:     one(`pdns_distribute_powerdns_up{instance="ns1:9504"}`, 0, 1),
}, {
	Name: "PdnsDistributeRestarting", Expr: `changes(process_start_time_seconds{job="pdns-distribute"}[30m]) > 3`,
	For: "0m", Severity: "warning",
	Summary: "{{ $labels.instance }} was started {{ $value }} times within half an hour",
	Do:      "Read the role's log: it ends with the reason.",
	Runbook: "operate.md#exit-codes",
	Try: Trial{
		Bad:  []Series{{`process_start_time_seconds{job="pdns-distribute", instance="ns1:9504"}`, 0, 60}},
		Good: []Series{at(`process_start_time_seconds{job="pdns-distribute", instance="ns1:9504"}`, 60)},
	},
}, {
	Name: "PdnsDistributeVersionsDiffer", Expr: `count(count by (version) (pdns_distribute_build_info)) > 1`,
	For: "1d", Severity: "warning",
	Summary: "{{ $value }} versions of pdns-distribute have been running for a day",
	Do:      "Finish the upgrade, or go back.",
	Runbook: "upgrade.md#upgrade-pdns-distribute",
	Try: Trial{
		Bad: []Series{
			at(`pdns_distribute_build_info{role="primary", version="v1"}`, 1), at(`pdns_distribute_build_info{role="proxy", version="v2"}`, 1),
		},
		Good: []Series{
			at(`pdns_distribute_build_info{role="primary", version="v2"}`, 1), at(`pdns_distribute_build_info{role="proxy", version="v2"}`, 1),
		},
		Minutes: 1500,
	},
}, {
	Name: "PdnsDistributeDiskFull", Expr: `pdns_distribute_disk_free_bytes / (pdns_distribute_disk_size_bytes > 0) < 0.1`,
	For: "10m", Severity: "critical",
	Summary: "{{ $value | humanizePercentage }} is free where {{ $labels.instance }} keeps its state",
	Do:      "Make room. A broker whose disk is full stores nothing, and a secondary takes no change.",
	Runbook: "alarms.md#disk",
	Try: Trial{
		Bad:  []Series{at(`pdns_distribute_disk_free_bytes{instance="b1"}`, 9), at(`pdns_distribute_disk_size_bytes{instance="b1"}`, 100)},
		Good: []Series{at(`pdns_distribute_disk_free_bytes{instance="b1"}`, 20), at(`pdns_distribute_disk_size_bytes{instance="b1"}`, 100)},
	},
}}

// brokerRules are about brokers and what expires.
var brokerRules = []Rule{{
	Name: "PdnsDistributeNoQuorum", Expr: `min(pdns_distribute_broker_quorum) == 0`, For: "1m", Severity: "critical",
	Summary: "the brokers have no quorum: nothing is stored or distributed",
	Do:      "Start the brokers that are away. Secondaries go on serving what they have.",
	Runbook: "alarms.md#no-answer",
	Try:     one(`pdns_distribute_broker_quorum{instance="b1:9500"}`, 0, 1),
}, {
	Name: "PdnsDistributeBrokerUnsound", Expr: `pdns_distribute_broker_sound == 0`, For: "1m", Severity: "critical",
	Summary: "{{ $labels.instance }} does not store or deliver",
	Do:      "Read /readyz and the log of that broker. Where its disk is full, make room: it restarts by itself.",
	Runbook: "brokers.md#how-brokers-prove-themselves",
	Try:     one(`pdns_distribute_broker_sound{instance="b1:9500"}`, 0, 1),
}, {
	Name: "PdnsDistributeBrokerAway", Expr: `max by (peer) (pdns_distribute_broker_peer_up) == 0`, For: "5m", Severity: "warning",
	Summary: "broker {{ $labels.peer }} is away",
	Do:      "Start it. While another one is away as well, nothing may be distributed.",
	Runbook: "alarms.md#inactive",
	Try: Trial{
		Bad: []Series{
			at(`pdns_distribute_broker_peer_up{peer="b3", instance="b1:9500"}`, 0), at(`pdns_distribute_broker_peer_up{peer="b3", instance="b2:9500"}`, 0),
		},
		Good: []Series{
			at(`pdns_distribute_broker_peer_up{peer="b3", instance="b1:9500"}`, 0), at(`pdns_distribute_broker_peer_up{peer="b3", instance="b2:9500"}`, 1),
		},
	},
}, {
	Name: "PdnsDistributeBrokerStoreFull",
	Expr: `pdns_distribute_broker_store_bytes / (pdns_distribute_broker_store_limit_bytes > 0) > 0.8`,
	For:  "10m", Severity: "warning",
	Summary: "the streams of {{ $labels.instance }} take {{ $value | humanizePercentage }} of what they may",
	Do:      "Raise max_file_store in nats.conf where the disk has room, and reload the broker.",
	Runbook: "alarms.md#disk",
	Try: Trial{
		Bad:  []Series{at(`pdns_distribute_broker_store_bytes{instance="b1"}`, 90), at(`pdns_distribute_broker_store_limit_bytes{instance="b1"}`, 100)},
		Good: []Series{at(`pdns_distribute_broker_store_bytes{instance="b1"}`, 50), at(`pdns_distribute_broker_store_limit_bytes{instance="b1"}`, 100)},
	},
}, {
	Name: "PdnsDistributeBrokerCertificateEnds", Expr: `pdns_distribute_broker_certificate_end_timestamp_seconds - time() < 14 * 86400`,
	For: "15m", Severity: "critical",
	Summary: "the certificate of the {{ $labels.of }} that {{ $labels.instance }} shows ends in {{ $value | humanizeDuration }}",
	Do:      "Rotate it where the installation's folder is: pdns-distribute init rotate.",
	Runbook: "nodes.md#rotate-keys-and-certificates",
	Try:     one(`pdns_distribute_broker_certificate_end_timestamp_seconds{of="ca", instance="b1:9500"}`, 5*day, 90*day),
}, {
	Name: "PdnsDistributeProxyCertificateEnds", Expr: `pdns_distribute_proxy_certificate_expiry_timestamp_seconds - time() < 14 * 86400`,
	For: "15m", Severity: "critical",
	Summary: "the certificate of {{ $labels.instance }} ends in {{ $value | humanizeDuration }}",
	Do:      "Renew proxy.tls_cert: the proxy takes a new file within seconds.",
	Runbook: "api.md#certificates",
	Try:     one(`pdns_distribute_proxy_certificate_expiry_timestamp_seconds{instance="p1:9502"}`, 5*day, 90*day),
}, {
	Name: "PdnsDistributeKeyEnds", Expr: `pdns_distribute_proxy_key_expiry_timestamp_seconds - time() < 7 * 86400`,
	For: "1h", Severity: "warning",
	Summary: "the scoped API key {{ $labels.key }} ends in {{ $value | humanizeDuration }}",
	Do:      "Give its client another one.",
	Runbook: "keys.md#rotation",
	Try: Trial{
		Bad:     []Series{at(`pdns_distribute_proxy_key_expiry_timestamp_seconds{key="acme"}`, 5*day)},
		Good:    []Series{at(`pdns_distribute_proxy_key_expiry_timestamp_seconds{key="acme"}`, 90*day)},
		Minutes: 120,
	},
}, {
	Name: "PdnsDistributeSignaturesEnd",
	Expr: `min(pdns_distribute_primary_signatures_end_timestamp_seconds or pdns_distribute_secondary_signatures_end_timestamp_seconds)` +
		` - time() < 3 * 86400`,
	For: "15m", Severity: "critical",
	Summary: "the first signature of a zone ends in {{ $value | humanizeDuration }}",
	Do:      "See that the primary PowerDNS makes new signatures: pdns-distribute status names the zone.",
	Runbook: "alarms.md#signatures",
	Try:     one(`pdns_distribute_secondary_signatures_end_timestamp_seconds{instance="ns1:9504"}`, 2*day, 10*day),
}}

// changeRules are about changes and their way.
var changeRules = []Rule{{
	Name: "PdnsDistributeTouchesPending", Expr: `pdns_distribute_proxy_oldest_pending_touch_seconds > 60`, For: "1m", Severity: "critical",
	Summary: "changes have been waiting at {{ $labels.instance }} for {{ $value | humanizeDuration }}",
	Do:      "See that the brokers run, and that the proxy reaches them: pdns-distribute doctor on its host.",
	Runbook: "alarms.md#no-broker",
	Try:     one(`pdns_distribute_proxy_oldest_pending_touch_seconds{instance="p1:9502"}`, 90, 0),
}, {
	Name: "PdnsDistributeQueueStuck", Expr: `max(pdns_distribute_health_oldest_touch_seconds) > 120`, For: "2m", Severity: "critical",
	Summary: "the oldest touch has been at the broker for {{ $value | humanizeDuration }}",
	Do:      "Read the log of the primary. Zones that fail there stay in the queue: pdns-distribute status names them.",
	Runbook: "alarms.md#touches-waiting",
	Try:     one(`pdns_distribute_health_oldest_touch_seconds{instance="h1:9503"}`, 300, 1),
}, {
	Name: "PdnsDistributeLag", Expr: `max by (secondary) (pdns_distribute_health_lag_seconds) > 300`, For: "5m", Severity: "warning",
	Summary: "{{ $labels.secondary }} does not serve a change that is {{ $value | humanizeDuration }} old",
	Do:      "Read the log of that secondary. pdns-distribute status shows what it lacks and why.",
	Runbook: "alarms.md#behind",
	Try:     one(`pdns_distribute_health_lag_seconds{secondary="ns1", instance="h1:9503"}`, 400, 0.2),
}, {
	Name: "PdnsDistributeSlow",
	Expr: `histogram_quantile(0.99, sum by (le) (rate(pdns_distribute_proxy_propagation_seconds_bucket[15m]))) > 10`,
	For:  "15m", Severity: "warning",
	Summary: "1 of 100 changes takes longer than {{ $value | humanizeDuration }} until all secondaries serve it",
	Do:      "Look at the dashboard for the secondary that is slow, and for queues that are long.",
	Runbook: "alarms.md#behind",
	Try: Trial{
		Bad: []Series{
			{`pdns_distribute_proxy_propagation_seconds_bucket{le="10"}`, 0, 9}, {`pdns_distribute_proxy_propagation_seconds_bucket{le="20"}`, 0, 10},
			{`pdns_distribute_proxy_propagation_seconds_bucket{le="+Inf"}`, 0, 10},
		},
		Good: []Series{
			{`pdns_distribute_proxy_propagation_seconds_bucket{le="1"}`, 0, 10}, {`pdns_distribute_proxy_propagation_seconds_bucket{le="20"}`, 0, 10},
			{`pdns_distribute_proxy_propagation_seconds_bucket{le="+Inf"}`, 0, 10},
		},
	},
}, {
	Name: "PdnsDistributeFailingZones", Expr: `pdns_distribute_failing_zones > 0`, For: "15m", Severity: "warning",
	Summary: "{{ $value }} zones fail at {{ $labels.instance }}",
	Do:      "pdns-distribute status names them, with the reason of each.",
	Runbook: "alarms.md#failing",
	Try:     one(`pdns_distribute_failing_zones{instance="ns1:9504"}`, 2, 0),
}, {
	Name: "PdnsDistributeIncomplete", Expr: `pdns_distribute_secondary_incomplete == 1`, For: "1m", Severity: "critical",
	Summary: "{{ $labels.instance }} lacks zones that the primary signed, and they do not come in",
	Do:      "Treat the brokers as broken into until you know why: the page of the alarm has the steps.",
	Runbook: "alarms.md#incomplete",
	Try:     one(`pdns_distribute_secondary_incomplete{instance="ns1:9504"}`, 1, 0),
}, {
	Name: "PdnsDistributeNoCheckpoint", Expr: `pdns_distribute_secondary_checkpoint_age_seconds > 30`, For: "1m", Severity: "critical",
	Summary: "{{ $labels.instance }} has had no valid checkpoint for {{ $value | humanizeDuration }}: whether all zones came is unknown",
	Do:      "See that a primary runs and signs states, and that the broker delivers.",
	Runbook: "alarms.md#no-checkpoint",
	Try:     one(`pdns_distribute_secondary_checkpoint_age_seconds{instance="ns1:9504"}`, 40, 5),
}, {
	Name: "PdnsDistributeRefused", Expr: `increase(pdns_distribute_secondary_states_total{result="refused"}[15m]) > 0`,
	For: "0m", Severity: "critical",
	Summary: "{{ $labels.instance }} refused states: they may be forged",
	Do:      "pdns-distribute status names the zones. Find who publishes on the broker besides your primaries.",
	Runbook: "alarms.md#refused",
	Try: Trial{
		Bad:  []Series{{`pdns_distribute_secondary_states_total{result="refused", instance="ns1:9504"}`, 0, 1}},
		Good: []Series{at(`pdns_distribute_secondary_states_total{result="refused", instance="ns1:9504"}`, 3)},
	},
}, {
	Name: "PdnsDistributeHeldDeletions", Expr: `max(pdns_distribute_primary_held_deletions) > 0`, For: "1m", Severity: "critical",
	Summary: "{{ $value }} deletions are held until an operator confirms them",
	Do:      "Find out why the zones are gone from PowerDNS, and then confirm, or bring them back.",
	Runbook: "operate.md#held-deletions",
	Try:     one(`pdns_distribute_primary_held_deletions{instance="p1:9501"}`, 10, 0),
}, {
	Name: "PdnsDistributeErrors",
	Expr: `sum by (instance) (rate(pdns_distribute_proxy_requests_total{status=~"5.."}[10m]))` +
		` / sum by (instance) (rate(pdns_distribute_proxy_requests_total[10m])) > 0.05`,
	For: "10m", Severity: "warning",
	Summary: "{{ $labels.instance }} answers {{ $value | humanizePercentage }} of requests with 5xx",
	Do:      "Read the log of the proxy and of the primary PowerDNS.",
	Runbook: "api.md#errors-of-the-proxy",
	Try: Trial{
		Bad: []Series{
			{`pdns_distribute_proxy_requests_total{method="PATCH", status="204", instance="p1:9502"}`, 0, 9},
			{`pdns_distribute_proxy_requests_total{method="PATCH", status="502", instance="p1:9502"}`, 0, 1},
		},
		Good: []Series{
			{`pdns_distribute_proxy_requests_total{method="PATCH", status="204", instance="p1:9502"}`, 0, 99},
			at(`pdns_distribute_proxy_requests_total{method="PATCH", status="502", instance="p1:9502"}`, 1),
		},
	},
}, {
	Name: "PdnsDistributeNoSweep", Expr: `time() - max(pdns_distribute_primary_sweep_timestamp_seconds) > 3600`,
	For: "15m", Severity: "warning",
	Summary: "no primary has compared its zones with what is published for {{ $value | humanizeDuration }}",
	Do:      "Read what the log of the primary says of the sweep. Changes that bypass the proxy are not found.",
	Runbook: "alarms.md#sweep-overdue",
	Try: Trial{
		Bad:     []Series{at(`pdns_distribute_primary_sweep_timestamp_seconds{instance="p1:9501"}`, 0)},
		Good:    []Series{{`pdns_distribute_primary_sweep_timestamp_seconds{instance="p1:9501"}`, 0, 60}},
		Minutes: 120,
	},
}, {
	Name: "PdnsDistributeNoCheck", Expr: `time() - max(pdns_distribute_health_check_timestamp_seconds) > 2 * 3600`,
	For: "15m", Severity: "warning",
	Summary: "the nodes have not been compared with what is published for {{ $value | humanizeDuration }}",
	Do:      "Run pdns-distribute sync --check, and read the log of the health role that leads.",
	Runbook: "alarms.md#not-compared",
	Try: Trial{
		Bad:     []Series{at(`pdns_distribute_health_check_timestamp_seconds{instance="h1:9503"}`, 0)},
		Good:    []Series{{`pdns_distribute_health_check_timestamp_seconds{instance="h1:9503"}`, 0, 60}},
		Minutes: 180,
	},
}, {
	Name: "PdnsDistributeNoScrub",
	Expr: `(time() - pdns_distribute_secondary_scrub_timestamp_seconds > 3 * 86400)` +
		` and on (instance) (time() - process_start_time_seconds{job="pdns-distribute"} > 3 * 86400)`,
	For: "1h", Severity: "warning",
	Summary: "{{ $labels.instance }} has not compared all of its zones for {{ $value | humanizeDuration }}",
	Do:      "Its log says when a round is late. Raise secondary.scrub_period, or find what slows PowerDNS down.",
	Runbook: "settings.md#secondaryscrub_period",
	Try: Trial{
		Bad: []Series{
			at(`pdns_distribute_secondary_scrub_timestamp_seconds{instance="ns1:9504"}`, 0),
			at(`process_start_time_seconds{job="pdns-distribute", instance="ns1:9504"}`, 0),
		},
		Good: []Series{
			{`pdns_distribute_secondary_scrub_timestamp_seconds{instance="ns1:9504"}`, 0, 60},
			at(`process_start_time_seconds{job="pdns-distribute", instance="ns1:9504"}`, 0),
		},
		Minutes: 4500,
	},
}, {
	Name: "PdnsDistributeNoRenewal",
	Expr: `(time() - max(pdns_distribute_primary_renewal_timestamp_seconds) > 86400)` +
		` and on () (time() - max(process_start_time_seconds{job="pdns-distribute"}) > 86400)`,
	For: "1h", Severity: "warning",
	Summary: "no primary has looked for signatures to renew for {{ $value | humanizeDuration }}",
	Do:      "See that a primary runs and that its PowerDNS answers. dnssec.renew_rate may be too low for so many zones.",
	Runbook: "operate.md#signatures",
	Try: Trial{
		Bad: []Series{
			at(`pdns_distribute_primary_renewal_timestamp_seconds{instance="p1:9501"}`, 0),
			at(`process_start_time_seconds{job="pdns-distribute", instance="p1:9501"}`, 0),
		},
		Good: []Series{
			{`pdns_distribute_primary_renewal_timestamp_seconds{instance="p1:9501"}`, 0, 60},
			at(`process_start_time_seconds{job="pdns-distribute", instance="p1:9501"}`, 0),
		},
		Minutes: 1560,
	},
}}
