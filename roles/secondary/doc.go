// Package secondary is the role beside a secondary PowerDNS: it takes the states that the node's feed delivers, has
// PowerDNS serve them, and keeps them in a store of its own, from which it refills PowerDNS when the broker is away.
//
// Entry are New and Run (secondary.go). What becomes of a state stands in deliver.go, from top to bottom: taken from
// the feed, verified, staged, taken by PowerDNS, proven, purged from caches, reported, stored, acknowledged. It calls
// by name
//
//   - verify.go: who signed the state, and whether it is a step back
//   - content.go, stored.go: chunks from the broker; what the store has of a state
//   - source.go: the zone source, where transfers to PowerDNS find the staged version, else the stored one
//   - own.go, transfer.go, edit.go: PowerDNS takes the version as one of our zones, whole or by an edit
//   - purge.go, aliases.go: PowerDNS's caches are purged of what it answered before
//   - held.go, prove.go: what PowerDNS is known to serve, and the proofs of that
//   - remove.go, closure.go: PowerDNS deletes a zone, and no transfer outlives it
//   - report.go: notices that a state is applied, unasked and asked for
//
// Beside that run
//
//   - feed.go: whether this is the feed of before, and a request for all states where the store is not whole
//   - ahead.go: transfers of states that are on their way are ordered before these come
//   - review.go, scrub.go: what PowerDNS lists, and serves, is compared with the store
//   - refill.go: PowerDNS is given again what it lacks
//   - inventory.go: what is here, for the checks of the health role
//   - checkpoint.go: the primaries' checkpoints show whether all states are here
package secondary
