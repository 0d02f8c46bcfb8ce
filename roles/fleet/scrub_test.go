package fleet_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// What was changed by hand, without a new serial, is found: in the primary's database, and in any secondary's PowerDNS.
func TestChangesThatNoSerialShows(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"primary.scrub_period": "100ms", "secondary.scrub_period": "100ms"}})
	must.OK(t, createMany(i.ctx, i.api, "scrubbed", 10, 4))
	signed := numbered("scrubbed", 7)
	must.OK(t, i.put(signed, `{"dnssec":true}`))
	i.eventually("created", i.allSame)

	for n, s := range i.Secondaries {
		edge, err := s.Client()
		must.OK(t, err)
		altered, emptied := numbered("scrubbed", n), numbered("scrubbed", n+2)
		must.OK(t, edge.Patch(i.ctx, altered, []powerdns.RRset{text(altered, "by hand")}))
		must.OK(t, edge.Patch(i.ctx, emptied, []powerdns.RRset{{Name: emptied, Type: "TXT"}}))
	}
	for _, name := range []zone.Name{numbered("scrubbed", 5), signed} {
		sql(t, i.Secondaries[0].Server, "DELETE FROM records WHERE type='TXT' AND name="+inSQL(name))
	}
	i.eventually("repaired", i.allSame)
	i.verify(signed)

	keyed := numbered("scrubbed", 8)
	i.atSecondaries("PUT", "/zones/"+signed.ID(), `{"nsec3param":"1 0 0 ab","soa_edit":""}`)
	i.atSecondaries("POST", "/zones/"+keyed.ID()+"/cryptokeys", `{"keytype":"csk","active":true}`)
	for _, s := range i.Secondaries {
		edge, err := s.Client()
		must.OK(t, err)
		for _, changed := range []zone.Name{signed, keyed} {
			i.eventually("put right", func(ctx context.Context) error {
				state, err := edge.ZoneState(ctx, changed)
				if len(state.Keys) > 0 || len(state.Metadata["NSEC3PARAM"]) > 0 || state.Metadata["SOA-EDIT"][0] != "NONE" {
					err = fmt.Errorf("it is %+v", state)
				}
				return err
			})
		}
	}
	i.eventually("served", i.allSame)
	i.sameAnswers(signed)
	i.sameAnswers(keyed)

	name := numbered("scrubbed", 9)
	before := i.serial(name)
	sql(t, i.Primary, `UPDATE records SET content='"by SQL"' WHERE type='TXT' AND name=`+inSQL(name))
	i.eventually("what SQL changed", i.allSame)
	if after := i.serial(name); after != before {
		t.Errorf("the serial was to stay %d and is %d", before, after)
	}
}

// A scrub that reads a zone while it changes takes nothing for somebody else's work.
func TestScrubAmidChanges(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"secondary.scrub_period": "10ms"}})
	l := i.load("amid")
	for range 20 {
		l.goOn()
	}
	l.settle()
	for _, s := range i.Secondaries {
		if n := i.metric(s.ID, "pdns_distribute_secondary_repaired_total"); n != 0 {
			t.Errorf("%s repaired %v zones that nobody had touched", s.ID, n)
		}
	}
}

// inSQL is how PowerDNS writes a name in its database.
func inSQL(name zone.Name) string { return fmt.Sprintf("'%s'", strings.TrimSuffix(name.String(), ".")) }

// sql changes one row in the database of a server with gsqlite3.
func sql(t *testing.T, s *local.Server, statement string) {
	t.Helper()
	if out := database(t, s, statement+"; SELECT changes()"); out != "1\n" {
		t.Fatalf("%s: %s rows changed", statement, out)
	}
}
