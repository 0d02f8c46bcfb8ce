// Package proxy stands as an HTTPS server in front of the PowerDNS API. It forwards every request unchanged and marks
// the zones that a successful one touched, before the client gets its answer.
//
// A mark that cannot be stored because the broker is away stays in the dirty set, and the answer says so; it is stored
// as soon as the broker is back. When the proxy starts it asks for a sweep, so that what a crash took with it is found.
//
// forward.go passes requests on, upstream.go speaks with PowerDNS, client.go keeps clients going. touches.go knows which
// request touches what, dirty.go keeps what is not stored yet, certificate.go makes the proxy's own pair when none is
// given.
package proxy
