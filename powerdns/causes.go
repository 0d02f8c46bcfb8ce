package powerdns

import (
	"fmt"
	"slices"
	"strings"
)

// Cause is a known reason for which PowerDNS does not give, take or serve a zone, and what to do.
type Cause struct {
	Name   string // a few words
	Remedy string
	Signs  []string // in PowerDNS's log, in its answer, or in an error of this program, whatever the case of letters
}

// Causes returns those that are no setting.
func Causes() []Cause { return slices.Clone(causes) }

var causes = []Cause{
	{
		"the zone has NSEC3NARROW, and PowerDNS transfers no such zone",
		"give it NSEC3 that is not narrow: pdnsutil set-nsec3 ZONE '1 0 0 -' (from release 5.0 on: pdnsutil zone set-nsec3)",
		[]string{"nsec3 narrow zone"},
	},
	{
		"the zone mixes NSEC3 with and without opt-out, and PowerDNS takes no such zone",
		"have it signed with one or the other",
		[]string{"mixture of opt-out"},
	},
	{
		"the zone has a TSIG key here, and the role beside PowerDNS has none",
		"remove it from the zone: slave_tsig_key_ids [] and the metadata AXFR-MASTER-TSIG",
		[]string{"tsig key"},
	},
	{
		"PowerDNS asks from an address that this host does not have",
		"remove the metadata AXFR-SOURCE from the zone, or correct query-local-address in pdns.conf",
		[]string{"binding to local", "cannot assign requested address"},
	},
	{
		"PowerDNS has the zone, and it has no SOA",
		"delete the zone, or give it a SOA record",
		[]string{"failed: not authoritative", "the server refused: NOTAUTH"},
	},
	{
		"PowerDNS's database has a record of the zone that cannot be read",
		"find it with pdnsutil check-zone ZONE (from release 5.0 on: pdnsutil zone check), and correct or delete it",
		[]string{"parsing record content"},
	},
	{
		"PowerDNS's API does not take zones of this name",
		"names of zones have letters, digits, - _ / and dots alone there: PowerDNS cannot serve this one as a zone of its own",
		[]string{"contains unsupported characters"},
	},
	{
		"the schema of PowerDNS's database is missing, or of an older release",
		"apply the schema of its package, or the steps of PowerDNS's upgrade notes (doc.powerdns.com)",
		[]string{
			"no such table", "no such column", "has no column named", "unknown column", "doesn't exist",
			`" does not exist`,
		},
	},
	{
		"PowerDNS's database is locked",
		"see what else writes to it; where load is the reason, gsqlite3-pragma-journal-mode=WAL or another backend helps",
		[]string{"database is locked", "lock wait timeout", "deadlock"},
	},
	{
		"PowerDNS has lost the lock of its lmdb, which happens to release 4.9 (Debian 13) where zones are made while others " +
			"are listed",
		"restart it (systemctl restart pdns), unless it has ended by itself; docs/upgrade.md says how to keep it from that",
		[]string{"unable to start rw transaction: invalid argument"},
	},
	{
		"PowerDNS's database takes no writes",
		"let PowerDNS's user write to its files and folder, or connect PowerDNS to a database that is no replica",
		[]string{
			"readonly database", "read-only transaction", "read-only option", "read only option", "permission denied",
			"read-only file system",
		},
	},
	{
		"the disk of PowerDNS's database is full",
		"free space there",
		[]string{"disk is full", "no space left on device", "could not extend file", "the table is full"},
	},
	{
		"PowerDNS has lost its database",
		"start the database, and see that PowerDNS may connect to it",
		[]string{
			"could not connect", "can't connect to", "unable to launch", "gone away", "lost connection",
			"server closed the connection", "too many connections", "terminating connection",
		},
	},
	{
		"the role beside PowerDNS refused the transfer",
		"let PowerDNS ask from an address of this host (query-local-address in pdns.conf, AXFR-SOURCE of the zone)",
		[]string{"no address of this host"},
	},
}

// cause is the setting as a cause.
func (s Setting) cause() Cause {
	return Cause{Name: s.Does, Remedy: s.Remedy(), Signs: []string{s.Sign}}
}

// shows reports whether a text, in small letters, has one of the cause's signs.
func (c Cause) shows(text string) bool {
	return slices.ContainsFunc(c.Signs, func(sign string) bool {
		return sign != "" && strings.Contains(text, strings.ToLower(sign))
	})
}

// CauseOf returns why a server of that side with these settings does not give, take or serve a zone: by what the
// texts say, and where they say nothing that is known, by a setting that keeps all zones from being distributed.
func CauseOf(side Side, settings map[string]string, texts ...string) (Cause, bool) {
	text := strings.ToLower(strings.Join(texts, "\n"))
	unfit := Judge(side, settings)
	for _, u := range unfit {
		if c := u.cause(); c.shows(text) {
			return c, true
		}
	}
	for _, s := range SettingsOf(side) {
		if c := s.cause(); c.shows(text) {
			if _, has := settings[s.Name]; !has && s.Since != "" && len(settings) > 0 {
				c.Remedy = fmt.Sprintf("upgrade PowerDNS to release %s or later, and %s", s.Since, c.Remedy)
			}
			return c, true
		}
	}
	if i := slices.IndexFunc(causes, func(c Cause) bool { return c.shows(text) }); i >= 0 {
		return causes[i], true
	}
	if len(unfit) > 0 && unfit[0].Weight == Breaking {
		return Cause{Name: "PowerDNS runs with " + unfit[0].Name + "=" + unfit[0].Value + ": " + unfit[0].Does,
			Remedy: unfit[0].Remedy()}, true
	}
	return Cause{}, false
}
