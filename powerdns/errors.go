package powerdns

import "errors"

// What went wrong, for errors.Is. The texts say what an operator should look at.
var (
	// ErrUnavailable: no complete answer came in time, or PowerDNS answered that it failed (5xx). Whether the request
	// took effect is not known. Worth trying again.
	ErrUnavailable = errors.New("PowerDNS is unavailable " +
		"(is pdns_server running, with webserver=yes and api=yes, its database well, and powerdns.api_url right?)")

	// ErrUnauthorized: the API key was refused. Nothing was done.
	ErrUnauthorized = errors.New("PowerDNS refused the API key (make powerdns.api_key, or the content of powerdns.api_key_file, the same as api-key in pdns.conf)")

	// ErrNotFound: the configured server positively has no such zone, or no such key of a zone.
	ErrNotFound = errors.New("not found")

	// ErrExists: a zone of that name is there already. It was left as it is.
	ErrExists = errors.New("exists already")

	// ErrRejected: PowerDNS understood the request and refused it; its own text follows. Trying again won't help.
	ErrRejected = errors.New("PowerDNS rejected the request")

	// ErrProtocol: something answered that is not the API of the configured server, or an answer was not what the API
	// promises. Nothing may be concluded from it, least of all that zones are gone.
	ErrProtocol = errors.New("not the answer of a PowerDNS API (check powerdns.api_url and powerdns.server_id)")
)
