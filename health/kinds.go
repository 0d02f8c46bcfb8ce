package health

// Kind says what an alarm is about. Monitoring goes by kinds, so they do not change, and docs/alarms.md has an entry
// for each.
type Kind string

// All kinds of alarms there are.
const (
	AlarmNoPrimary   Kind = "no-primary"  // no primary is active, or of several none acts
	AlarmReplication Kind = "replication" // a database lacks what the leading primary reads

	AlarmInactive        Kind = "inactive"          // no heartbeat of a node for health.inactive_after
	AlarmNotReady        Kind = "not-ready"         // a node reports that it cannot work
	AlarmDuplicateNodeID Kind = "duplicate-node-id" // two processes run with one node id
	AlarmClock           Kind = "clock"             // the clock of a node differs from those of the others
	AlarmDisk            Kind = "disk"              // little is free where a node keeps its state
	AlarmLoad            Kind = "load"              // the host of a node has more to do than it can
	AlarmSettings        Kind = "settings"          // settings of PowerDNS that work but should be changed
	AlarmRepaired        Kind = "repaired"          // files of a node were damaged, and are repaired or put aside
	AlarmCertificate     Kind = "certificate"       // the certificate of a broker or of its CA expires soon

	AlarmFailing    Kind = "failing"    // zones fail at a node
	AlarmRefused    Kind = "refused"    // a secondary does not apply what it cannot verify
	AlarmBehind     Kind = "behind"     // a secondary confirms states more slowly than they come
	AlarmSignatures Kind = "signatures" // signatures that a secondary serves expire soon
	AlarmExtra      Kind = "extra"      // PowerDNS of a secondary has zones that nobody published
	AlarmUnanswered Kind = "unanswered" // signed zones have ALIAS or LUA records, which no secondary answers
	AlarmUnresolved Kind = "unresolved" // a resolver fails to find targets of ALIAS records

	AlarmIncomplete   Kind = "incomplete"    // a secondary lacks zones that are in the signed checkpoints
	AlarmNoCheckpoint Kind = "no-checkpoint" // a secondary gets no valid signed checkpoint

	AlarmTouchesWaiting    Kind = "touches-waiting"    // no primary takes touches out of the queue
	AlarmTouchesUnfinished Kind = "touches-unfinished" // primaries take touches and finish none
	AlarmQueueGrowing      Kind = "queue-growing"      // touches come faster than primaries finish them
	AlarmFeedStalled       Kind = "feed-stalled"       // a secondary takes no states out of its feed
	AlarmSweepOverdue      Kind = "sweep-overdue"      // no primary has compared all zones of its PowerDNS for long
	AlarmNotInStream       Kind = "not-in-stream"      // a primary reports as published what the stream lacks

	AlarmNoBroker Kind = "no-broker" // a health role has no connection to a broker
	AlarmNoAnswer Kind = "no-answer" // the brokers do not answer a health role

	AlarmLate        Kind = "late"         // a secondary does not serve a change though it was published again
	AlarmDiffers     Kind = "differs"      // a source of a node differs from what is published though a repair was ordered
	AlarmOrphans     Kind = "orphans"      // more zones of a secondary are not published than the deletion limit allows
	AlarmNotCompared Kind = "not-compared" // a node cannot be compared with what is published

	AlarmUnreachableUDP Kind = "unreachable-udp" // a public address of a secondary does not answer over UDP
	AlarmUnreachableTCP Kind = "unreachable-tcp" // a public address of a secondary does not answer over TCP
	AlarmServfail       Kind = "servfail"        // a public address of a secondary answers SERVFAIL
	AlarmLame           Kind = "lame"            // a public address of a secondary answers without authority
	AlarmSerial         Kind = "serial"          // a public address of a secondary answers with another SOA serial
	AlarmUnsigned       Kind = "unsigned"        // a public address of a secondary answers without valid signatures
)
