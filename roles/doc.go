// Package roles makes a role of its parts, for each command that runs one: [RunPrimary], [RunSecondary], [RunProxy],
// [RunHealth], [RunBroker]. The roles proxy and broker, which are little more than their packages, are here:
// proxy.go, with the database behind it in database.go, and broker.go.
//
// # The map
//
// What the roles are made of, and what knows nothing of roles:
//
//   - powerdns/zone: zones, states, digests, signatures, checkpoints; powerdns/transfer: AXFR, and proofs by DNS
//   - powerdns: the API of PowerDNS; powerdns/origin: whether it is the right one; powerdns/store: a secondary's own
//     copy
//   - broker: NATS: the server, streams and subjects, feeds, leases, rights
//   - proxy: the HTTPS proxy before the API of the primary's PowerDNS, and the tracker of changes
//   - dnssec: when signatures end, NSEC3
//   - private: who can read and write a file; backoff: pauses that double
//   - health: presences, comparisons, alarms, deletion limits: what is known of an installation, without any network
//
// The roles, and what never imports each other:
//
//   - roles/primary: a touch becomes a published state
//   - roles/secondary: a delivered state becomes what PowerDNS serves
//   - roles/health: all nodes are watched, compared and repaired
//   - roles/installation: what init and its subcommands write
//   - roles/operator: the commands that a person runs: status, sync, forget, leave, healthcheck
//   - roles/doctor: the command doctor, which looks at all that a role needs
//
// What they share:
//
//   - roles/node: what every role has: connection, log, readiness, failures, presence, the PowerDNS beside it
//   - roles/index: what is published, as it is known here; roles/follow: notices about changes
//   - roles/status: the status document, and what the leading health role answers
//   - roles/work: keyed queue, schedule, pauses
//   - roles/config: the sections of the configuration; roles/settings: how one is read
//   - roles/command: what a command is given; roles/observe: log, metrics, readiness
//   - roles/checkpoint: signed checkpoints judged; roles/heartbeat: how far a replicated database is
//
// What runs whole installations: roles/fleet, for the tests; roles/demo, roles/bench and roles/soak.
//
// # The way of a change
//
//   - A client changes a zone through the proxy: proxy stores a touch in the broker's queue.
//   - A touch becomes a state in roles/primary: the zone is read, compared with what is published, signed, published.
//   - A state becomes what is served in roles/secondary: verified, staged as a zone source, taken by PowerDNS over
//     AXFR, proven.
//   - That PowerDNS serves a version is decided by the proof in powerdns/transfer (type Proof), by DNS and nothing
//     else.
//   - The secondary publishes a notice, health.Applied. proxy's Tracker has answers wait for it, health.Events
//     reminds of it.
//   - Whatever went wrong on the way is found in roles/health: check.go.
//
// # How to add
//
//   - a metric: in the metrics of its role (in roles/health: metrics.go); make man writes docs/metrics.md
//   - an alarm: its kind in health/kinds.go, the code that finds it beside what it goes by (health/judge.go where it
//     follows from presences, roles/health/check.go from comparisons), and an entry in docs/alarms.md
//   - something that nodes report: a field in health/presence.go, bounded in health/bounds.go, filled in by the role
//   - a setting: a field in the section's struct (roles/config, or the Config of a package), its check in Validate;
//     make man writes docs/settings.md
//   - a subcommand: beside its code in roles/operator or roles/installation, and in the list of commands of main
//   - a check of doctor: in the file of roles/doctor that looks at the same thing, and docs/doctor.md
//   - an import of another package of this project: its row in imports_test.go
package roles
