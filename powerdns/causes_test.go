package powerdns_test

import (
	"slices"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
)

// What PowerDNS 4.7.3, 4.9.18 and 5.1.5 say, and databases through it, is recognised.
func TestCauses(t *testing.T) {
	plain := map[string]string{"secondary": "yes", "enable-lua-record-updates": "no", "workaround-11804": "no"}
	for _, c := range []struct {
		side powerdns.Side
		says string
		name string // "" where it is not known
		does string // of the remedy
	}{
		{powerdns.Primary, "failed: not doing AXFR of an NSEC3 narrow zone", "NSEC3NARROW", "set-nsec3"},
		{powerdns.Primary, "attempt to write an oversized chunk", "100 records into a message", "workaround-11804"},
		{powerdns.Primary, "denied: client IP has no permission\nfailed: client may not request AXFR", "loopback", "allow-axfr-ips"},
		{powerdns.Primary, "error resolving for ALIAS nothing.invalid., aborting AXFR", "ALIAS", "ignore-errors"},
		{powerdns.Primary, "failed: not authoritative", "no SOA", "delete the zone"},
		{powerdns.Primary, "Parsing record content (try 'pdnsutil check-zone'): while parsing IP address", "cannot be read", "check"},
		{powerdns.Secondary, "refused as it contains Lua record updates", "LUA", "enable-lua-record-updates"},
		{powerdns.Secondary, "unable to xfr zone (PDNSException): Zones with a mixture of Opt-Out NSEC3 RRs and non-Opt-Out NSEC3 RRs are not supported.", "opt-out", "one or the other"},
		{powerdns.Secondary, "NSEC3PARAMs provided for zone 'n3.example' are invalid: Number of NSEC3 iterations is above 'max-nsec3-iterations'.", "iterations", "max-nsec3-iterations"},
		{powerdns.Secondary, "unable to xfr zone (ResolverException): Reached the maximum number of received bytes during AXFR", "larger zones", "xfr-max-received-mbytes"},
		{powerdns.Secondary, "unable to xfr, address family (IPv4 is not enabled for outgoing traffic (query-local-address)", "cannot ask the role", "query-local-address"},
		{powerdns.Secondary, "Resolver binding to local TCP socket on '192.0.2.77': Cannot assign requested address", "does not have", "AXFR-SOURCE"},
		{powerdns.Secondary, "the role refused PowerDNS's question from 127.0.0.1: it is signed with TSIG key mig., and the role has no such key", "TSIG", "slave_tsig_key_ids"},
		{powerdns.Secondary, "PowerDNS rejected the request: answered 422: Name 'sp\\032ace.example.' contains unsupported characters", "zones of this name", "letters"},
		{powerdns.Secondary, "Unable to compile SQLite statement : 'select content': no such table: domainmetadata (1)", "schema", "upgrade notes"},
		{powerdns.Secondary, "no such column: catalog (1)", "schema", "upgrade notes"},
		{powerdns.Secondary, `Fatal error during query: ERROR:  column "catalog" does not exist`, "schema", "upgrade notes"},
		{powerdns.Secondary, "Could not prepare statement: Unknown column 'catalog' in 'field list'", "schema", "upgrade notes"},
		{powerdns.Secondary, "Error while retrieving SQLite query results: database is locked (5)", "locked", "backend"},
		{powerdns.Secondary, "attempt to write a readonly database (8)", "no writes", "PowerDNS's user"},
		{powerdns.Secondary, "cannot execute INSERT in a read-only transaction", "no writes", "replica"},
		{powerdns.Secondary, "The MariaDB server is running with the --read-only option so it cannot execute this statement", "no writes", "replica"},
		{powerdns.Secondary, "database or disk is full (13)", "disk", "free space"},
		{powerdns.Secondary, "mdb_put: MDB_MAP_FULL: Environment mapsize limit reached", "no more zones", "lmdb-map-size"},
		{powerdns.Secondary, "answered 500: Unable to start RW transaction: Invalid argument", "lost the lock", "systemctl restart"},
		{powerdns.Secondary, "MySQL server has gone away", "lost its database", "start the database"},
		{powerdns.Secondary, "zone tsig.example.: not what is answered", "", ""},
	} {
		cause, known := powerdns.CauseOf(c.side, plain, c.says)
		if known != (c.name != "") || !strings.Contains(cause.Name, c.name) || !strings.Contains(cause.Remedy, c.does) {
			t.Errorf("%s: %+v", c.says, cause)
		}
	}
	old, _ := powerdns.CauseOf(powerdns.Primary, map[string]string{"secondary": "yes"}, "attempt to write an oversized chunk")
	if !strings.Contains(old.Remedy, "release 4.8 or later") {
		t.Errorf("where the setting is not known: %+v", old)
	}
	broken, known := powerdns.CauseOf(powerdns.Secondary, map[string]string{"secondary": "no"}, "not what is answered")
	if !known || !strings.Contains(broken.Name, "secondary=no") || !strings.Contains(broken.Remedy, "set secondary in pdns.conf to yes") {
		t.Errorf("a setting that breaks everything: %+v", broken)
	}
}

func TestLogOfAZone(t *testing.T) {
	before := powerdns.Log{
		"XFR-in zone: 'a.example', primary: '127.0.0.1', unable to xfr zone (ResolverException): old": 1,
		"AXFR-in zone 'a.example', primary '127.0.0.1', refused as it contains Lua record updates":    2,
	}
	now := powerdns.Log{
		"XFR-in zone: 'a.example', primary: '127.0.0.1', unable to xfr zone (ResolverException): old":                            1,
		"AXFR-in zone 'a.example', primary '127.0.0.1', refused as it contains Lua record updates":                               3,
		"AXFR-in zone 'a.example', primary '127.0.0.1', zone committed with serial 7":                                            1,
		"XFR-in zone: 'failed.example', primary: '127.0.0.1', starting AXFR":                                                     1,
		`msg="AXFR failed: not doing AXFR of an NSEC3 narrow zone" client="127.0.0.1:1" zone="structured.example"`:               1,
		`[webserver] 60a380d7 HTTP ISE for "/api/v1/servers/localhost/zones/b.example./axfr-retrieve": Exception: no such table`: 1,
		"TCP nameserver had error, cycling backend: attempt to write an oversized chunk":                                         1,
		"TCP Connection Thread for client 127.0.0.1:4711 failed, cycling backend: attempt to write an oversized chunk":           1,
		"TCP Connection Thread for client 127.0.0.1:47 died because of STL error, cycling backend: Parsing":                      1,
	}
	news := now.Since(before)
	for name, want := range map[string][]string{
		"a.example": {"refused as it contains Lua record updates"}, "failed.example": nil, "example": nil,
		"structured.example": {`msg="AXFR failed: not doing AXFR of an NSEC3 narrow zone" client="127.0.0.1:1" zone="structured.example"`},
		"b.example":          {`HTTP ISE for "/api/v1/servers/localhost/zones/b.example./axfr-retrieve": Exception: no such table`},
	} {
		if got := news.Trouble(zone.MustParseName(name)); !slices.Equal(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := news.Broken("127.0.0.1:47"); !slices.Equal(got, []string{"Parsing", "attempt to write an oversized chunk"}) {
		t.Errorf("of a broken connection: %q", got)
	}
}
