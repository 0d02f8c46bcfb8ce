package powerdns_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/local/localtest"
	"pdns-distribute/powerdns/must"
)

// fit are settings with nothing to say about: as PowerDNS 4.7 gives them, a former name may stand beside the present
// one.
var fit = map[powerdns.Side]map[string]string{
	powerdns.Secondary: {
		"query-cache-ttl": "0", "negquery-cache-ttl": "0", "zone-metadata-cache-ttl": "0", "disable-axfr": "no",
		"secondary": "yes", "slave": "yes", "autosecondary": "no", "superslave": "no", "query-local-address": "0.0.0.0 ::",
		"allow-axfr-ips": "127.0.0.0/8,::1", "launch": "gsqlite3", "gsqlite3-dnssec": "yes", "loglevel": "4",
	},
	powerdns.Primary: {
		"disable-axfr": "no", "allow-axfr-ips": "127.0.0.0/8,::1", "outgoing-axfr-expand-alias": "no",
		"direct-dnskey": "yes", "launch": "lmdb:one,gsqlite3", "gsqlite3-dnssec": "on", "proxy-protocol-from": "",
	},
}

func TestUnfitSettings(t *testing.T) {
	own := "192.0.2.77" // an address of a host that is none of the test's
	for _, c := range []struct {
		side    powerdns.Side
		key, to string
		want    powerdns.Weight // -1: suits
		part    string          // of what is said
	}{
		{powerdns.Secondary, "query-cache-ttl", "20", powerdns.Harmful, "query-cache-ttl=20 (should be 0: "},
		{powerdns.Secondary, "negquery-cache-ttl", "60", powerdns.Harmful, "flushes"},
		{powerdns.Secondary, "zone-metadata-cache-ttl", "60", powerdns.Harmful, "proof"},
		{powerdns.Secondary, "secondary", "no", -1, ""}, // slave=yes counts
		{powerdns.Secondary, "slave", "no", -1, ""},
		{powerdns.Secondary, "autosecondary", "yes", powerdns.Harmful, "others than the role could make zones there"},
		{powerdns.Secondary, "superslave", "yes", powerdns.Harmful, "autosecondary=yes"},
		{powerdns.Secondary, "views", "yes", powerdns.Harmful, "networks that are mapped to a view"},
		{powerdns.Secondary, "lua-axfr-script", "/etc/a.lua", powerdns.Breaking, "lua-axfr-script=/etc/a.lua"},
		{powerdns.Secondary, "max-ent-entries", "10", powerdns.Harmful, "should be 100000"},
		{powerdns.Secondary, "max-ent-entries", "100000", -1, ""},
		{powerdns.Secondary, "max-nsec3-iterations", "10", powerdns.Harmful, "iterations"},
		{powerdns.Secondary, "xfr-max-received-mbytes", "10", powerdns.Harmful, "larger zones"},
		{powerdns.Secondary, "xfr-max-received-mbytes", "0", -1, ""}, // no bound
		{powerdns.Secondary, "query-local-address", own, powerdns.Breaking, "cannot ask the role"},
		{powerdns.Secondary, "query-local-address", "::", powerdns.Breaking, "cannot ask the role"},
		{powerdns.Secondary, "query-local-address", "127.0.0.1", -1, ""},
		{powerdns.Secondary, "query-local-address", own + " 0.0.0.0", -1, ""},
		{powerdns.Secondary, "retrieval-threads", "0", powerdns.Breaking, "takes no zones"},
		{powerdns.Secondary, "disable-axfr", "on", powerdns.Breaking, "cannot be proven"},
		{powerdns.Secondary, "allow-axfr-ips", "192.0.2.0/24", powerdns.Harmful, "cannot be proven"},
		{powerdns.Secondary, "gsqlite3-dnssec", "no", powerdns.Breaking, "without signatures"},
		{powerdns.Secondary, "gsqlite3-dnssec", "off", powerdns.Breaking, "without signatures"},
		{powerdns.Secondary, "gmysql-dnssec", "no", -1, ""}, // not launched
		{powerdns.Secondary, "webserver-max-concurrent-connections", "20", powerdns.Harmful, "dropped unanswered"},
		{powerdns.Secondary, "webserver-max-concurrent-connections", "0", -1, ""},
		{powerdns.Secondary, "max-tcp-connections-per-client", "1", powerdns.Harmful, "refused"},
		{powerdns.Secondary, "proxy-protocol-from", "127.0.0.0/8", powerdns.Breaking, "PROXY header"},
		{powerdns.Secondary, "proxy-protocol-from", "192.0.2.0/24", -1, ""},
		{powerdns.Secondary, "launch", "bind,gsqlite3", powerdns.Harmful, "not known"},
		{powerdns.Secondary, "enable-lua-record-updates", "no", powerdns.Noted, "LUA"},
		{powerdns.Secondary, "loglevel", "3", powerdns.Noted, "reasons"},
		{powerdns.Secondary, "unknown", "1", -1, ""},
		{powerdns.Primary, "disable-axfr", "yes", powerdns.Breaking, "no zone can be published"},
		{powerdns.Primary, "allow-axfr-ips", "192.0.2.0/24, 10.0.0.1", powerdns.Harmful, "loopback"},
		{powerdns.Primary, "allow-axfr-ips", "192.0.2.0/24 127.0.0.1", -1, ""},
		{powerdns.Primary, "query-cache-ttl", "20", -1, ""},
		{powerdns.Primary, "outgoing-axfr-expand-alias", "yes", powerdns.Harmful, "ignore-errors"},
		{powerdns.Primary, "outgoing-axfr-expand-alias", "ignore-errors", powerdns.Noted, "when its zone was read"},
		{powerdns.Primary, "direct-dnskey", "no", powerdns.Noted, "CDS"},
		{powerdns.Primary, "webserver-max-bodysize", "1", powerdns.Harmful, "chunks"},
		{powerdns.Primary, "gsqlite3-pragma-journal-mode", "delete", powerdns.Harmful, "database is locked"},
		{powerdns.Primary, "gsqlite3-pragma-journal-mode", "wal", -1, ""},
	} {
		settings := maps.Clone(fit[c.side])
		if got := powerdns.Judge(c.side, settings); len(got) > 0 {
			t.Errorf("%v is fit: %v", settings, got)
		}
		settings[c.key] = c.to
		got := powerdns.Judge(c.side, settings)
		if c.want < 0 && len(got) > 0 || c.want >= 0 && (len(got) != 1 || got[0].Weight != c.want || !strings.Contains(got[0].String(), c.part)) {
			t.Errorf("%s: %s=%s: %v", c.side, c.key, c.to, got)
		}
		keeps := strings.HasSuffix(c.key, "query-cache-ttl") && c.to != "0"
		if c.side == powerdns.Secondary && powerdns.KeepsAnswers(settings) != keeps {
			t.Errorf("%s=%s: keeps answers: %v", c.key, c.to, !keeps)
		}
	}
	neither := maps.Clone(fit[powerdns.Secondary])
	neither["secondary"], neither["slave"] = "no", "no"
	if got := powerdns.Judge(powerdns.Secondary, neither); len(got) != 1 || got[0].Weight != powerdns.Breaking {
		t.Error(got)
	}
}

// unfit are values of settings that a PowerDNS starts with all the same, for each side. The installed release need not
// have each setting.
var unfit = map[powerdns.Side]map[string]string{
	powerdns.Secondary: {
		"secondary": "no", "query-local-address": "::", "retrieval-threads": "0", "lua-axfr-script": "/none.lua", "disable-axfr": "yes",
		"allow-axfr-ips": "192.0.2.0/24", "query-cache-ttl": "20", "negquery-cache-ttl": "60", "zone-metadata-cache-ttl": "60",
		"max-nsec3-iterations": "10", "max-ent-entries": "10", "xfr-max-received-mbytes": "1", "axfr-fetch-timeout": "1", "views": "yes",
		"autosecondary": "yes", "enable-lua-record-updates": "no", "gsqlite3-dnssec": "no", "max-tcp-connections": "5",
		"max-tcp-connections-per-client": "2", "max-tcp-connection-duration": "30", "webserver-max-concurrent-connections": "10",
		"webserver-connection-timeout": "2", "gsqlite3-pragma-journal-mode": "delete", "loglevel": "3",
	},
	powerdns.Primary: {
		"disable-axfr": "yes", "allow-axfr-ips": "192.0.2.0/24", "outgoing-axfr-expand-alias": "yes", "direct-dnskey": "no",
		"disable-axfr-rectify": "yes", "webserver-max-bodysize": "1", "views": "yes", "dnsupdate": "yes", "gsqlite3-dnssec": "no",
		"default-soa-edit": "INCEPTION-INCREMENT", "default-soa-edit-signed": "EPOCH",
	},
}

// TestUnfitSettingsOfServers has a PowerDNS of each side run with everything that does not suit at once: what its API
// shows is judged as the table says.
func TestUnfitSettingsOfServers(t *testing.T) {
	t.Parallel()
	known := installed(t)
	decide(t, known)
	for side, settings := range unfit {
		settings = maps.Clone(settings)
		maps.DeleteFunc(settings, func(name, _ string) bool { _, is := known[name]; return !is })
		s := localtest.Start(t, local.Options{Primary: side == powerdns.Primary, Settings: settings})
		api, err := s.Client()
		must.OK(t, err)
		shown, err := api.Config(t.Context())
		must.OK(t, err)
		var found []string
		for _, u := range powerdns.Judge(side, shown) {
			found = append(found, u.Name)
		}
		slices.Sort(found)
		if want := slices.Sorted(maps.Keys(settings)); !slices.Equal(found, want) {
			t.Errorf("%s: found %q, want %q", side, found, want)
		}
	}
}

// installed are the settings that the installed PowerDNS has, with their values, as a secondary of this program.
func installed(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, backend := range []local.Backend{local.SQLite, local.LMDB} {
		api, err := localtest.Start(t, local.Options{Backend: backend}).Client()
		must.OK(t, err)
		shown, err := api.Config(t.Context())
		must.OK(t, err)
		maps.Copy(all, shown)
	}
	return all
}

// indifferent are the settings of 4.7.3, 4.9.18 and 5.1.5 that do not matter to the distribution, whatever their
// values: a setting that is neither here nor in the table is one about which nobody has decided.
var indifferent = strings.Fields(`
	ignore-unknown-settings allow-dnsupdate-from allow-unsigned-autoprimary allow-unsigned-supermaster axfr-lower-serial
	carbon-instance carbon-interval carbon-namespace carbon-ourname carbon-server chroot config-dir config-name
	consistent-backends control-console daemon default-api-rectify default-catalog-zone default-ksk-algorithm default-ksk-size
	default-publish-cdnskey default-publish-cds default-soa-content default-ttl default-zsk-algorithm default-zsk-size
	direct-dnskey-signature disable-syslog distributor-threads dnsproxy-udp-port-range dnssec-key-cache-ttl
	dnsupdate-require-tsig edns-cookie-secret entropy-source guardian include-dir load-modules local-address-nonexist-fail
	log-dns-details log-dns-queries log-timestamp logging-facility logging-structured loglevel-show
	lua-consistent-hashes-cleanup-interval lua-consistent-hashes-expire-delay lua-dnsupdate-policy-script
	lua-health-checks-expire-delay lua-health-checks-interval master max-generate-steps max-include-depth
	max-pointers-per-name max-pointers-per-packet-byte max-pointers-to-pointers max-queue-length max-signature-cache-entries
	max-tcp-transactions-per-conn member-catalog-group module-dir no-shuffle non-local-bind overload-queue-length
	protobuf-servers proxy-protocol-maximum-size query-logging queue-limit receiver-threads reuseport rng
	rrsig-expiry-extend secondary-check-signature-freshness security-poll-suffix send-signed-notify server-id setgid setuid
	signing-threads slave-cycle-interval slave-renotify soa-edit-spread socket-dir tcp-control-address tcp-control-port
	tcp-control-range tcp-control-secret tcp-fast-open tcp-idle-timeout traceback-handler udp-truncation-threshold
	upgrade-unknown-types version-string webserver-cross-origin-request-header webserver-hash-plaintext-credentials
	webserver-loglevel webserver-password webserver-print-arguments write-pid gsqlite3-database gsqlite3-pragma-foreign-keys
	gsqlite3-pragma-synchronous lmdb-filename lmdb-flag-deleted lmdb-lightning-stream lmdb-random-ids lmdb-schema-version
	lmdb-shards lmdb-shards-map-size lmdb-split-domains-table lmdb-sync-mode lmdb-write-notification-update
	help version config no-config list-modules
`)

// decide reports each setting of the installed PowerDNS about which nobody has decided. Queries of SQL backends are not
// counted: whoever replaces them knows what they do.
func decide(t *testing.T, settings map[string]string) {
	decided := map[string]bool{}
	for _, name := range indifferent {
		decided[name] = true
	}
	for _, side := range []powerdns.Side{powerdns.Primary, powerdns.Secondary} {
		for _, s := range powerdns.SettingsOf(side) {
			decided[s.Former] = true
			for name := range strings.SplitSeq(s.Name, ", ") {
				decided[name] = true
			}
		}
	}
	for name := range settings {
		isQuery := strings.HasPrefix(name, "gsqlite3-") && !strings.HasPrefix(name, "gsqlite3-pragma") && name != "gsqlite3-dnssec"
		if !decided[name] && !isQuery {
			t.Errorf("%s is neither in the table nor known to be indifferent", name)
		}
	}
}

func TestTooOld(t *testing.T) {
	for version, want := range map[string]bool{
		"4.6.4": true, "4.7.0": false, "4.7.3": false, "4.10.0-rc1": false, "5.1.4": false, "3.4": true, "0.0.1234.master": false, "git-abc": false, "": false,
	} {
		if got := (powerdns.ServerInfo{Version: version}).TooOld(); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}

func TestReleases(t *testing.T) {
	at := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	for version, want := range map[string]string{"4.7.3": "over", "4.8.4": "over", "4.9.18": "", "5.0.2": "", "5.1.5": "", "6.0.0": "unknown", "git-abc": "unknown"} {
		r, known := powerdns.ServerInfo{Version: version}.Release()
		got := ""
		if !known {
			got = "unknown"
		} else if r.Over(at) {
			got = "over"
		}
		if got != want {
			t.Errorf("%s: %q, %+v", version, got, r)
		}
	}
	if r, _ := (powerdns.ServerInfo{Version: "4.7.3"}).Release(); r.End() != "August 2025" || r.Over(at.AddDate(-2, 0, 0)) {
		t.Errorf("%s", r.End())
	}
}
