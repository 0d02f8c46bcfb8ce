// Package powerdns is the client of the HTTP API of the PowerDNS Authoritative Server.
//
// A [Client] reads which zones a server has and what it knows of them, makes zones secondary, asks PowerDNS to
// transfer them, flushes caches and reads settings. It is built for callers that act on what they are told, deletions
// included: an answer that is not positively that of the configured server is an error, never 'no such zone' and
// never a short list. Every error wraps one of the sentinels in errors.go, or the cause of the caller's context.
//
// Nothing is retried and nothing is cached here; whether and when to try again is the caller's decision. What the
// comments say about PowerDNS was found on version 4.7.3 and is kept true by the contract tests, which run against
// real servers with the gsqlite3 and the lmdb backend.
package powerdns
