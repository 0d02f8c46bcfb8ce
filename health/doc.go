// Package health knows how an installation is: who is there, what differs from what is published, and what is wrong.
// It has no network: package roles/health and the operator commands bring it what the broker delivers.
//
// What nodes report, and what the broker knows of them:
//
//   - presence.go: [Presence], what every node reports of itself every few seconds; bounds.go cuts what is too long
//   - broker.go, replication.go, compared.go: the parts of a presence about brokers, replicated databases,
//     comparisons
//   - notices.go: [Settled] of a primary and [Applied] of a secondary, the two notices about one zone
//   - board.go: [NewBoard] puts presences and feeds together, a [Row] for each node, with its state
//
// What differs from what is published:
//
//   - inventory.go: [Inventory], zones and their versions, and the [Question] and [Answer] by which it is compared
//   - compare.go: [Compare] finds differences by few messages where there are none; sources.go: where nodes count
//     zones
//   - standing.go: [Standing] separates differences that stay from those that are on their way
//   - events.go: [Events] follows each published state until all secondaries serve it
//   - claims.go: [Claims] follows what primaries report as published until the stream has it
//
// What is wrong, and what to do:
//
//   - kinds.go: [Kind], all kinds of alarms; alarms.go: [Alarms], those that are raised
//   - judge.go: [Board.Alarms], what follows from the board; flow.go: [Flow], what does not move at the broker;
//     duplicates.go: [DuplicateNodes], two processes with one node id
//   - remedies.go: [Command], the lines to run for each alarm; groups.go: [Grouped] puts alarms together by cause, and
//     causes.go says which ones follow from which, and what to see to first
//   - deletionlimit.go: [DeletionLimit] holds deletions that nobody ordered; orders.go: [OrderLimit] those of a proxy
//
// To add an alarm: its kind in kinds.go, the code that finds it beside what it goes by, its lines in remedies.go, its
// rank in causes.go, an entry in docs/alarms.md.
package health
