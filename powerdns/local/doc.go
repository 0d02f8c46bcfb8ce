// Package local runs real PowerDNS servers on loopback, for the demo and for tests.
//
// [Start] makes a server in a folder of its own: pdns.conf, database (gsqlite3 or lmdb), log file. It picks free
// ports, starts pdns_server in the foreground and returns when that very process answers over its API and over DNS.
// A [Server] can be stopped, killed, started again on the same ports and data, and emptied, so that whatever happens
// to a PowerDNS in production can be made to happen here. Servers die with the program that started them.
//
// A secondary gets the cache settings that pdns-distribute recommends (see conf.go); all else is PowerDNS's default,
// durability included, so that what is measured here holds for production.
package local
