// Package health is the role that watches all others. Any number of health roles may run: all see the same, and the
// one that holds the lease leads: it compares, has repaired what differs, and reports alarms.
//
// Entry: [New] binds the listener, [Health.Run] runs the parts.
//
// Trunk: check.go. What becomes of an observation: the sources of a node are counted, compared with what is
// published, each difference is found to be on its way or standing, a repair of what stands is ordered, and what
// stands all the same is an alarm.
//
// Features by file:
//
//   - nodes.go: what is known of nodes, feeds and brokers; published.go: what is known to be published, and served
//   - ask.go: questions to nodes; sources.go: what each source of a node should have
//   - repair.go: the repairer orders repairs; remind.go: changes that secondaries do not confirm are published again
//   - deletions.go: the deletion limits of secondaries; outcomes.go: what the last comparison of each node came to
//   - judge.go: each second all alarms are collected and reported; findings.go: those of checks and probes
//   - flow.go: what does not move at the broker, and what primaries report that the broker does not have
//   - probe.go: secondaries are asked at their public addresses
//   - lead.go: the lease, and all that only the leader does; requests.go, look.go: what commands ask of the leader
//   - metrics.go, page.go, webhook.go: metrics, the page for a person, alarms posted to a URL
//
// Whatever was found wrong goes one way: findings.go or an Alarms method of package health, then judge.go, which
// raises and clears, logs and posts.
package health
