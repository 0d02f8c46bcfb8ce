package monitoring

// Row is a row of the dashboard with its panels.
type Row struct {
	Title  string
	Panels []Panel
}

// Panel is a panel of the dashboard.
type Panel struct {
	Title, About string
	Kind         string // of Grafana: stat, timeseries, table
	Unit         string // of Grafana
	Width        int    // of 24
	Queries      []Query

	// Steps are from which values on a stat is yellow and red; Low: it is so below them.
	Yellow, Red float64
	Low         bool
}

// Query is one of a panel's.
type Query struct{ Expr, Legend string }

// Panels are those of all rows.
func Panels() (all []Panel) {
	for _, row := range Rows {
		all = append(all, row.Panels...)
	}
	return all
}

// quantiles are two of a histogram, by a label or over all.
func quantiles(metric, label string) []Query {
	by, legend := "le", ""
	if label != "" {
		by, legend = "le, "+label, " {{"+label+"}}"
	}
	rate := "sum by (" + by + ") (rate(" + metric + "_bucket[$__rate_interval]))"
	return []Query{
		{"histogram_quantile(0.5, " + rate + ")", "p50" + legend},
		{"histogram_quantile(0.99, " + rate + ")", "p99" + legend},
	}
}

// Rows are the dashboard, what one looks at first on top.
var Rows = []Row{
	{"The fleet", fleetPanels}, {"Changes", changePanels}, {"Queues", queuePanels}, {"Brokers", brokerPanels},
	{"The proxy", proxyPanels}, {"What ends, and what was done last", endPanels}, {"Hosts", hostPanels},
}

var fleetPanels = []Panel{{
	Title: "Alarms", Kind: "stat", Width: 4, Red: 1, Yellow: 1,
	About:   "Alarms that the health role raises; pdns-distribute status has the text of each.",
	Queries: []Query{{`count(max by (kind, node) (pdns_distribute_health_alarm{level="alarm"})) or vector(0)`, "alarms"}},
}, {
	Title: "Nodes not in order", Kind: "stat", Width: 4, Red: 3, Yellow: 1,
	About:   "Nodes that are inactive, not ready, failing, behind or incomplete.",
	Queries: []Query{{`sum(max by (role, state) (pdns_distribute_health_nodes{state!~"ok|standby|loaded|filling"})) or vector(0)`, "nodes"}},
}, {
	Title: "Largest lag", Kind: "stat", Unit: "s", Width: 4, Yellow: 30, Red: 300,
	About:   "Age of the oldest change that some secondary is not known to serve.",
	Queries: []Query{{`max(pdns_distribute_health_lag_seconds)`, "lag"}},
}, {
	Title: "Served everywhere, p99", Kind: "stat", Unit: "s", Width: 4, Yellow: 2, Red: 10,
	About:   "From PowerDNS's answer to a write until all active secondaries serve it, in the last hour.",
	Queries: []Query{{`histogram_quantile(0.99, sum by (le) (increase(pdns_distribute_proxy_propagation_seconds_bucket[1h])))`, "p99"}},
}, {
	Title: "Published zones", Kind: "stat", Width: 4, Yellow: 1e9, Red: 1e9,
	Queries: []Query{{`max(pdns_distribute_primary_zones)`, "zones"}},
}, {
	Title: "Roles that are ready", Kind: "stat", Unit: "percentunit", Width: 4, Yellow: 1, Red: 0.9, Low: true,
	Queries: []Query{{`avg(pdns_distribute_ready)`, "ready"}},
}, {
	Title: "Alarms and warnings", Kind: "table", Width: 12,
	Queries: []Query{{`max by (kind, node, level) (pdns_distribute_health_alarm) or vector(0)`, ""}},
}, {
	Title: "Nodes by role and state", Kind: "table", Width: 6,
	Queries: []Query{{`max by (role, state) (pdns_distribute_health_nodes)`, ""}},
}, {
	Title: "Versions", Kind: "table", Width: 6,
	Queries: []Query{{`count by (version, role) (pdns_distribute_build_info)`, ""}},
}}

var changePanels = []Panel{{
	Title: "From the answer to a write until all serve it", Kind: "timeseries", Unit: "s", Width: 12,
	About:   "Changes through a proxy, by the proxy's clock.",
	Queries: quantiles("pdns_distribute_proxy_propagation_seconds", ""),
}, {
	Title: "From the answer to a write until a secondary serves it, p99", Kind: "timeseries", Unit: "s", Width: 12,
	Queries: quantiles("pdns_distribute_proxy_served_seconds", "secondary")[1:],
}, {
	Title: "From publication until a secondary serves it, p99", Kind: "timeseries", Unit: "s", Width: 12,
	About:   "Also changes that bypassed the proxy, by the clock of the health role.",
	Queries: quantiles("pdns_distribute_health_served_seconds", "secondary")[1:],
}, {
	Title: "Lag", Kind: "timeseries", Unit: "s", Width: 12,
	About:   "Age of the oldest change that a secondary is not known to serve.",
	Queries: []Query{{`max by (secondary) (pdns_distribute_health_lag_seconds)`, "{{secondary}}"}},
}, {
	Title: "At the primary: from a touch until it is published", Kind: "timeseries", Unit: "s", Width: 12,
	Queries: quantiles("pdns_distribute_primary_publish_seconds", ""),
}, {
	Title: "At secondaries: from a state until PowerDNS serves it", Kind: "timeseries", Unit: "s", Width: 12,
	Queries: quantiles("pdns_distribute_secondary_apply_seconds", ""),
}, {
	Title: "Published", Kind: "timeseries", Unit: "ops", Width: 12,
	Queries: []Query{{`sum by (result) (rate(pdns_distribute_primary_jobs_total[$__rate_interval]))`, "{{result}}"}},
}, {
	Title: "Applied", Kind: "timeseries", Unit: "ops", Width: 12,
	Queries: []Query{{`sum by (result) (rate(pdns_distribute_secondary_states_total[$__rate_interval]))`, "{{result}}"}},
}}

var queuePanels = []Panel{{
	Title: "Touches at the broker", Kind: "timeseries", Width: 8,
	Queries: []Query{{`max by (state) (pdns_distribute_health_queue_touches)`, "{{state}}"}},
}, {
	Title: "Oldest touch", Kind: "timeseries", Unit: "s", Width: 8,
	Queries: []Query{
		{`max(pdns_distribute_health_oldest_touch_seconds)`, "at the broker"},
		{`max(pdns_distribute_proxy_oldest_pending_touch_seconds)`, "pending at a proxy"},
	},
}, {
	Title: "States that secondaries have still to confirm", Kind: "timeseries", Width: 8,
	Queries: []Query{{`max by (secondary) (pdns_distribute_health_behind)`, "{{secondary}}"}},
}, {
	Title: "Zones in the queues of roles", Kind: "timeseries", Width: 8,
	Queries: []Query{{`sum by (instance, priority) (pdns_distribute_queue_jobs)`, "{{instance}} {{priority}}"}},
}, {
	Title: "Zones that are still to be taken (a fill)", Kind: "timeseries", Width: 8,
	Queries: []Query{{`pdns_distribute_secondary_waiting_zones`, "{{instance}}"}},
}, {
	Title: "Failing zones and held deletions", Kind: "timeseries", Width: 8,
	Queries: []Query{
		{`pdns_distribute_failing_zones`, "failing at {{instance}}"}, {`max(pdns_distribute_primary_held_deletions)`, "held deletions"},
	},
}}

var brokerPanels = []Panel{{
	Title: "Quorum", Kind: "stat", Width: 4, Yellow: 1, Red: 1, Low: true,
	Queries: []Query{{`min(pdns_distribute_broker_quorum)`, "quorum"}},
}, {
	Title: "Sound", Kind: "stat", Width: 4, Yellow: 1, Red: 1, Low: true,
	Queries: []Query{{`pdns_distribute_broker_sound`, "{{instance}}"}},
}, {
	Title: "Clients", Kind: "timeseries", Width: 8,
	Queries: []Query{{`pdns_distribute_broker_clients`, "{{instance}}"}},
}, {
	Title: "Store", Kind: "timeseries", Unit: "bytes", Width: 8,
	Queries: []Query{
		{`pdns_distribute_broker_store_bytes`, "{{instance}}"}, {`pdns_distribute_broker_store_limit_bytes`, "limit of {{instance}}"},
	},
}, {
	Title: "Messages by stream", Kind: "timeseries", Width: 8,
	Queries: []Query{{`max by (stream) (pdns_distribute_broker_messages)`, "{{stream}}"}},
}, {
	Title: "Bytes by stream", Kind: "timeseries", Unit: "bytes", Width: 8,
	Queries: []Query{{`max by (stream) (pdns_distribute_broker_stream_bytes)`, "{{stream}}"}},
}, {
	Title: "Consumers by stream", Kind: "timeseries", Width: 8,
	Queries: []Query{{`max by (stream) (pdns_distribute_broker_stream_consumers)`, "{{stream}}"}},
}}

var proxyPanels = []Panel{{
	Title: "Requests by status", Kind: "timeseries", Unit: "reqps", Width: 8,
	Queries: []Query{{`sum by (status) (rate(pdns_distribute_proxy_requests_total[$__rate_interval])) > 0 or vector(0)`, "{{status}}"}},
}, {
	Title: "Time of requests, without being held", Kind: "timeseries", Unit: "s", Width: 8,
	Queries: quantiles("pdns_distribute_proxy_request_duration_seconds", ""),
}, {
	Title: "Time that answers were held", Kind: "timeseries", Unit: "s", Width: 8,
	Queries: quantiles("pdns_distribute_proxy_wait_seconds", "status"),
}, {
	Title: "Requests in hand, and answers held", Kind: "timeseries", Width: 8,
	Queries: []Query{
		{`sum(pdns_distribute_proxy_requests_in_flight)`, "in hand"}, {`sum(pdns_distribute_proxy_held_answers)`, "held"},
	},
}, {
	Title: "Held answers by how they ended", Kind: "timeseries", Unit: "reqps", Width: 8,
	Queries: []Query{{`sum by (status) (rate(pdns_distribute_proxy_waits_total[$__rate_interval]))`, "{{status}}"}},
}, {
	Title: "Refused by their API key", Kind: "timeseries", Unit: "reqps", Width: 8,
	Queries: []Query{{`sum by (key, reason) (rate(pdns_distribute_proxy_refused_total[$__rate_interval]))`, "{{key}} {{reason}}"}},
}}

var endPanels = []Panel{{
	Title: "First end of signatures", Kind: "stat", Unit: "s", Width: 6, Yellow: 5 * day, Red: 3 * day, Low: true,
	About: "What is left of the signatures that end first, at primaries and secondaries.",
	Queries: []Query{{`min(pdns_distribute_primary_signatures_end_timestamp_seconds or ` +
		`pdns_distribute_secondary_signatures_end_timestamp_seconds) - time()`, "left"}},
}, {
	Title: "Certificates of brokers and CA", Kind: "stat", Unit: "s", Width: 6, Yellow: 30 * day, Red: 7 * day, Low: true,
	Queries: []Query{{`min by (of) (pdns_distribute_broker_certificate_end_timestamp_seconds) - time()`, "{{of}}"}},
}, {
	Title: "Certificates of proxies", Kind: "stat", Unit: "s", Width: 6, Yellow: 30 * day, Red: 7 * day, Low: true,
	Queries: []Query{{`pdns_distribute_proxy_certificate_expiry_timestamp_seconds - time()`, "{{instance}}"}},
}, {
	Title: "Scoped API keys that end", Kind: "stat", Unit: "s", Width: 6, Yellow: 14 * day, Red: 3 * day, Low: true,
	Queries: []Query{{`min by (key) (pdns_distribute_proxy_key_expiry_timestamp_seconds) - time()`, "{{key}}"}},
}, {
	Title: "Since the last sweep, check and renewal", Kind: "timeseries", Unit: "s", Width: 12,
	Queries: []Query{
		{`time() - (max(pdns_distribute_primary_sweep_timestamp_seconds) > 0)`, "sweep"},
		{`time() - (max(pdns_distribute_health_check_timestamp_seconds) > 0)`, "check"},
		{`time() - (max(pdns_distribute_primary_renewal_timestamp_seconds) > 0)`, "renewal"},
	},
}, {
	Title: "Since the last scrub", Kind: "timeseries", Unit: "s", Width: 12,
	Queries: []Query{
		{`time() - (max(pdns_distribute_primary_scrub_timestamp_seconds) > 0)`, "primary"},
		{`time() - (pdns_distribute_secondary_scrub_timestamp_seconds > 0)`, "{{instance}}"},
	},
}, {
	Title: "Repairs", Kind: "timeseries", Unit: "ops", Width: 12,
	Queries: []Query{{`sum by (reason) (rate(pdns_distribute_health_repairs_total[$__rate_interval]))`, "{{reason}}"}},
}, {
	Title: "Comparisons of nodes", Kind: "timeseries", Unit: "ops", Width: 12,
	Queries: []Query{{`sum by (result) (rate(pdns_distribute_health_checks_total[$__rate_interval]))`, "{{result}}"}},
}}

var hostPanels = []Panel{{
	Title: "Free disk", Kind: "timeseries", Unit: "percentunit", Width: 8,
	Queries: []Query{{`pdns_distribute_disk_free_bytes / pdns_distribute_disk_size_bytes`, "{{instance}}"}},
}, {
	Title: "Memory of roles", Kind: "timeseries", Unit: "bytes", Width: 8,
	Queries: []Query{{`process_resident_memory_bytes{job="pdns-distribute"}`, "{{instance}}"}},
}, {
	Title: "CPU of roles", Kind: "timeseries", Unit: "percentunit", Width: 8,
	Queries: []Query{{`rate(process_cpu_seconds_total{job="pdns-distribute"}[$__rate_interval])`, "{{instance}}"}},
}, {
	Title: "Connected to a broker", Kind: "timeseries", Width: 12,
	Queries: []Query{{`pdns_distribute_connected`, "{{instance}}"}},
}, {
	Title: "PowerDNS up", Kind: "timeseries", Width: 12,
	Queries: []Query{{`pdns_distribute_powerdns_up`, "{{instance}}"}},
}}
