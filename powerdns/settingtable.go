package powerdns

// What happens, where several settings do the same.
const (
	editsHidden = "edits are hidden from serials; they are found all the same, by the stored serial"
	makesZones  = "others than the role could make zones there"
	noSignature = "zones that are signed are served and distributed without signatures"
	noAnswers   = "PowerDNS drops the role's questions, which come without a PROXY header"
	cutTransfer = "long transfers are broken off, and large zones fail"
	noTCP       = "transfers and questions of the role are refused while others are under way"
	harmless    = "harmless: "
)

const (
	noQueryCache = "under load an old answer can stay in the packet cache for up to 20 s after a change; " +
		"the role flushes the caches of a zone twice then"
	unprovenKind = "for up to 60 s after a zone was signed, unsigned, or changed between NSEC and NSEC3, negative " +
		"answers can lack their proof; the zone is failing until they are right"
)

// ofSecondaries are the settings of a PowerDNS that zones are given to.
var ofSecondaries = []Setting{
	{
		Name: "secondary", Former: "slave", Bad: off, Weight: Breaking, Should: "yes", Does: "PowerDNS takes no zones",
	},
	{
		Name: "query-local-address", Bad: cannotAsk, Weight: Breaking, Should: "0.0.0.0, ::",
		Does: "PowerDNS cannot ask the role beside it for zones; it ends when one is transferred from an address that " +
			"the host does not have",
		Sign: "query-local-address",
	},
	{
		Name: "retrieval-threads", Bad: below(1), Weight: Breaking, Should: "2", Does: "PowerDNS takes no zones",
	},
	{
		Name: "lua-axfr-script", Bad: set, Weight: Breaking, Should: "nothing",
		Does: "the script alters zones while they are taken: they are not what was published, and fail",
	},
	{
		Name: "disable-axfr", Bad: on, Weight: Breaking, Should: "no, with allow-axfr-ips for the role",
		Does: "a zone that has changed at an unchanged serial cannot be proven, and fails",
	},
	{
		Name: "allow-axfr-ips", Bad: withoutLoopback, Weight: Harmful, Should: "127.0.0.0/8,::1, and what else may transfer",
		Does: "a zone that has changed at an unchanged serial cannot be proven from loopback, and fails",
	},
	{Name: "query-cache-ttl", Bad: not("0"), Weight: Harmful, Should: "0", Does: noQueryCache},
	{Name: "negquery-cache-ttl", Bad: not("0"), Weight: Harmful, Should: "0", Does: noQueryCache},
	{
		Name: "zone-metadata-cache-ttl", Former: "domain-metadata-cache-ttl", Bad: not("0"), Weight: Harmful, Should: "0",
		Does: unprovenKind, Sign: "zone-metadata-cache-ttl",
	},
	{
		Name: "max-nsec3-iterations", Bad: below(100), Weight: Harmful, Should: "100",
		Does: "zones with more iterations are not taken", Sign: "max-nsec3-iterations",
	},
	{
		Name: "max-ent-entries", Bad: below(100_000), Weight: Harmful, Should: "100000",
		Does: "in zones with more names that only have names below them, such names are answered NXDOMAIN",
		Sign: "max-ent-entries",
	},
	{
		Name: "xfr-max-received-mbytes", Bad: bounded(100), Weight: Harmful, Does: "larger zones are not taken",
		Should: "100 or more, and more than the largest zone has", Sign: "maximum number of received bytes",
	},
	{
		Name: "axfr-fetch-timeout", Bad: below(5), Weight: Harmful, Should: "10",
		Does: "PowerDNS gives up transfers that the role begins late, under load",
	},
	{
		Name: "views", Since: "5.0", Bad: on, Weight: Harmful, Should: "no",
		Does: "networks that are mapped to a view get other zones than those that are distributed, and nothing shows it",
	},
	{Name: "autosecondary", Former: "superslave", Bad: on, Weight: Harmful, Should: "no", Does: makesZones},
	{
		Name: "enable-lua-record-updates", Since: "5.1", Bad: off, Should: "yes, where zones have LUA records",
		Does: "zones with LUA records are not taken as a whole", Sign: "contains Lua record updates",
	},
	{
		Name: "direct-dnskey", Bad: unjudged("any"), Should: "what the primary has",
		Does: harmless + "CDS, CDNSKEY and DNSKEY records of unsigned zones are left out of transfers from here, and " +
			"answered; the role asks for them where it compares content",
	},
	{
		Name: "default-soa-edit, default-soa-edit-signed", Bad: unjudged("any"), Should: "any value",
		Does: harmless + "the zones of the role have SOA-EDIT NONE; where it is set, many are made one by one",
	},
	{
		Name: "cache-ttl, zone-cache-refresh-interval, max-cache-entries, max-packet-cache-entries", Bad: unjudged("any"),
		Should: "any value", Does: harmless + "the role purges what has changed, and makes zones through the API, " +
			"which keeps the zone cache right",
	},
	{
		Name: "allow-notify-from, allow-unsigned-notify, trusted-notification-proxy, forward-notify, only-notify, " +
			"also-notify, secondary-do-renotify, xfr-cycle-interval",
		Bad: unjudged("any"), Should: "any value",
		Does: harmless + "PowerDNS asks the role for the SOA once more, or sends NOTIFY once more",
	},
	{
		Name: "dnsupdate, forward-dnsupdate", Bad: unjudged("`yes`"), Should: "any value",
		Does: harmless + "updates are forwarded to the role, which refuses them",
	},
}

// ofPrimaries are the settings of the PowerDNS that zones are read from.
var ofPrimaries = []Setting{
	{
		Name: "allow-axfr-ips", Bad: withoutLoopback, Weight: Harmful, Sign: "client IP has no permission",
		Should: "127.0.0.0/8,::1, or whatever the primary role transfers from",
		Does:   "no zone can be published where the role transfers from loopback",
	},
	{
		Name: "disable-axfr", Bad: on, Weight: Breaking, Should: "no, with allow-axfr-ips for the primary role",
		Does: "no zone can be published", Sign: "client may not request AXFR",
	},
	{
		Name: "outgoing-axfr-expand-alias", Bad: Rule{on.Text, func(v string, _ map[string]string) bool {
			return isOn(v) && v != "ignore-errors"
		}},
		Weight: Harmful, Should: "no, or from release 4.9 on ignore-errors, with resolver", Sign: "aborting AXFR",
		Does: "one ALIAS whose target does not resolve breaks off the transfer of its zone",
	},
	{
		Name: "outgoing-axfr-expand-alias", Since: "4.9", Bad: oneOf("`ignore-errors`", "IGNORE-ERRORS"), Should: "no",
		Does: "secondaries serve the addresses that an ALIAS led to when its zone was read; without one they serve none",
	},
	{
		Name: "workaround-11804", Since: "4.8", Bad: unjudged("`no`, for some zones"), Should: "yes",
		Does: "zones with many large records cannot be transferred: PowerDNS puts 100 records into a message, " +
			"whatever their size (its issue 11804)", Sign: "oversized chunk",
	},
	{
		Name: "direct-dnskey", Bad: off, Should: "yes, here and at the secondaries, where zones have such records",
		Does: "CDS, CDNSKEY and DNSKEY records in the database are answered here and left out of transfers: " +
			"secondaries lack them",
	},
	{
		Name: "disable-axfr-rectify", Bad: on, Weight: Harmful, Should: "no",
		Does: "zones that were not rectified are transferred with wrong denials and without empty non-terminals",
	},
	{
		Name: "webserver-max-bodysize", Bad: below(2), Weight: Harmful, Should: "2 or more",
		Does: "larger requests through the proxy are refused, unless they come in chunks",
	},
	{
		Name: "views", Since: "5.0", Bad: on, Should: "no, or no view for the address that the role transfers from",
		Does: "a view for that address would give other zones; the role sees it, and publishes nothing then",
	},
	{Name: "default-soa-edit", Bad: hidesEdits, Should: "any value", Does: editsHidden},
	{Name: "default-soa-edit-signed", Bad: hidesEdits, Should: "any value", Does: editsHidden},
	{
		Name: "default-soa-edit-api", Since: "5.1", Bad: unjudged("`OFF`, or nothing"), Should: "DEFAULT",
		Does: "edits move no serial: those that bypass the proxy are found by the scrub alone",
	},
	{
		Name: "dnsupdate", Bad: on, Should: "any value",
		Does: "updates bypass the proxy: the sweep finds them, or NOTIFY (primary.notify_listen)",
	},
	{
		Name: "primary, also-notify, only-notify, prevent-self-notification, delay-notifications, xfr-cycle-interval",
		Bad:  unjudged("any"), Should: "any value",
		Does: harmless + "they decide what primary.notify_listen receives, and when",
	},
	{
		Name: "zone-cache-refresh-interval", Bad: unjudged("any"), Should: "any value",
		Does: harmless + "a zone made by SQL or pdnsutil is published at once, and answered here after that time",
	},
	{
		Name: "autosecondary, secondary", Bad: unjudged("`yes`"), Should: "any value",
		Does: harmless + "zones of kind Slave are published with primary.include_slaves alone",
	},
}

// ofBoth are the settings that matter on either side alike.
var ofBoth = []Setting{
	{
		Name: "gsqlite3-dnssec", Bad: offWhere("gsqlite3"), Weight: Breaking, Should: "yes", Does: noSignature,
	},
	{Name: "gmysql-dnssec", Bad: offWhere("gmysql"), Weight: Breaking, Should: "yes", Does: noSignature},
	{Name: "gpgsql-dnssec", Bad: offWhere("gpgsql"), Weight: Breaking, Should: "yes", Does: noSignature},
	{
		Name: "proxy-protocol-from", Bad: withLoopback, Weight: Breaking, Should: "the addresses of load balancers alone",
		Does: noAnswers,
	},
	{
		Name: "launch", Bad: untried, Weight: Harmful, Should: "backends of these alone",
		Does: "zones of other backends are not known to be given, taken or deleted as they should",
	},
	{Name: "max-tcp-connections", Bad: below(20), Weight: Harmful, Should: "20 or more", Does: noTCP},
	{Name: "max-tcp-connections-per-client", Bad: bounded(20), Weight: Harmful, Should: "0", Does: noTCP},
	{Name: "max-tcp-connection-duration", Bad: bounded(60), Weight: Harmful, Should: "0", Does: cutTransfer},
	{
		Name: "webserver-max-concurrent-connections", Since: "5.1", Bad: bounded(50), Weight: Harmful, Should: "100",
		Does: "calls of the role, and writes through the proxy, are dropped unanswered under load",
	},
	{
		Name: "webserver-connection-timeout", Since: "4.8.5", Bad: below(5), Weight: Harmful, Should: "5",
		Does: "calls that take longer are cut",
	},
	{
		Name: "lua-prequery-script", Bad: set, Weight: Harmful, Should: "nothing",
		Does: "the script answers in place of zones: proofs may fail, or hold for nobody else",
	},
	{
		Name: "gsqlite3-pragma-journal-mode", Bad: otherThan("WAL"), Weight: Harmful, Should: "WAL",
		Does: "readers and writers wait for each other, and fail with \"database is locked\" under load",
	},
	{
		Name: "lmdb-map-size", Bad: bounded(1000), Weight: Harmful, Should: "16000",
		Does: "a database of that many MB takes no more zones", Sign: "MDB_MAP_FULL",
	},
	{
		Name: "loglevel", Bad: below(4), Should: "4",
		Does: "reasons of failing zones lack what PowerDNS's log would say of them",
	},
	{
		Name: "api, api-key, webserver, webserver-address, webserver-port, webserver-allow-from, local-address, local-port",
		Bad:  unjudged("those without the role beside it"), Weight: Breaking,
		Should: "what powerdns.api_url, powerdns.api_key_file and powerdns.dns_address say, and this host let in",
		Does:   "the role does not reach PowerDNS, is not ready, and says what it tried",
	},
	{
		Name: "expand-alias, resolver, enable-lua-records, lua-records-exec-limit, lua-records-insert-whitespace, " +
			"lua-global-include-dir, dname-processing, 8bit-dns, svc-autohints, resolve-across-zones, " +
			"edns-subnet-processing, naptr-additional-processing, any-to-tcp",
		Bad: unjudged("different values at the servers"), Should: "the same value everywhere",
		Does: "the servers answer differently out of the same zones",
	},
}
