// Package proxy stands as an HTTPS server in front of the PowerDNS API. It forwards requests unchanged and touches the
// zones that a successful one wrote to, before the client gets its answer.
//
// Nothing of a request that could change something reaches PowerDNS, or leaves a trace, before its API key is known to
// be good (gate.go, known.go). What strangers may hold is bounded apart from what clients with a key may: connections
// (places.go), requests in work (crowd.go), and places on the way to PowerDNS (lane.go).
//
// A touch that cannot be stored because the broker is down stays pending, and the answer says so; it is stored as soon
// as the broker is back. When the proxy starts it asks for a sweep, so that what a crash took with it is found.
//
// forward.go passes requests on, upstream.go speaks with PowerDNS, client.go keeps clients going. touches.go knows
// which request writes what, created.go reads PowerDNS's answer to a creation, pending.go and journal.go keep what is
// not stored yet, certificate.go makes the proxy's own pair when none is given.
package proxy
