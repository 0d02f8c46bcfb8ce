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

// Zones that PowerDNS signs with NSEC are turned to NSEC3: those that were there before it was wanted, and those that
// are made or signed later, through the proxy or behind it. What somebody chose otherwise stays.
func TestConvertedToNSEC3(t *testing.T) {
	t.Parallel()
	for _, backend := range []local.Backend{local.SQLite, local.LMDB} {
		t.Run(string(backend), func(t *testing.T) {
			i := start(t, fleet.Options{Primary: backend, Set: map[string]string{"primary.scrub_period": "0s", "primary.sweep_interval": "1s"}})
			before, others, plain := numbered("nsec3", 0), numbered("nsec3", 1), numbered("nsec3", 2)
			made, later, behind := numbered("nsec3", 3), numbered("nsec3", 4), numbered("nsec3", 5)
			must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(before, manyTypes(before)...), "")))
			must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(others, manyTypes(others)...), "1 0 5 abcd")))
			must.OK(t, i.api.CreateZoneWith(i.ctx, spec(plain)))
			i.eventually("as they were made", i.allSame)
			i.eventually("with NSEC", func(ctx context.Context) error { return i.denying(ctx, "NSEC", before) })

			must.OK(t, i.StopRole(fleet.Primary))
			_, set := i.Config(fleet.Primary)
			set["dnssec.nsec3"] = "true"
			must.OK(t, i.StartRole(i.ctx, fleet.Primary))
			withoutRectify := signed(spec(made, manyTypes(made)...), "")
			withoutRectify.APIRectify = false
			// One after the other: SQLite refuses who writes together with the primary role that turns a zone.
			turned := func(name zone.Name) {
				i.eventually("with NSEC3", func(ctx context.Context) error { return i.denying(ctx, "NSEC3 0100000000", name) })
			}
			turned(before)
			must.OK(t, i.api.CreateZoneWith(i.ctx, withoutRectify))
			turned(made)
			for _, name := range []zone.Name{later, behind} {
				must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, manyTypes(name)...)))
			}
			i.eventually("signed", func(context.Context) error { return i.put(later, `{"dnssec":true}`) })
			turned(later)
			pdnsutil(t, i.Primary, "secure-zone", strings.TrimSuffix(behind.String(), "."))
			turned(behind)
			i.eventually("the same everywhere", i.allSame)
			for _, name := range []zone.Name{before, made, later, behind} {
				i.verify(name)
				i.sameAnswers(name)
			}
			i.eventually("others' parameters", func(ctx context.Context) error { return i.denying(ctx, "NSEC3 0100000502abcd", others) })
			i.eventually("unsigned", func(ctx context.Context) error { return i.denying(ctx, "", plain) })
		})
	}
}

// A zone that cannot be turned shows with its reason, is published all the same, and is turned as soon as it can be.
func TestZoneThatCannotBeConverted(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"dnssec.nsec3": "true", "primary.scrub_period": "0s"}})
	database(t, i.Primary, `CREATE TRIGGER stuck BEFORE INSERT ON domainmetadata WHEN NEW.kind='NSEC3PARAM'
		AND NEW.domain_id=(SELECT id FROM domains WHERE name='stuck0.example') BEGIN SELECT RAISE(ABORT, 'stuck'); END`)
	stuck, free := numbered("stuck", 0), numbered("stuck", 1)
	for _, name := range []zone.Name{stuck, free} {
		must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "1"))))
		must.OK(t, i.put(name, `{"dnssec":true}`))
	}
	i.eventually("shown", func(context.Context) error { return i.failing(fleet.Primary, stuck) })
	i.eventually("the other one", func(ctx context.Context) error { return i.denying(ctx, "NSEC3 0100000000", free) })
	must.OK(t, i.api.Patch(i.ctx, stuck, []powerdns.RRset{text(stuck, "2")}))
	i.eventually("an edit", i.allSame)
	database(t, i.Primary, "DROP TRIGGER stuck")
	i.eventually("turned", func(ctx context.Context) error { return i.denying(ctx, "NSEC3 0100000000", stuck) })
	i.eventually("the same", i.allSame)
	i.verify(stuck)
	i.eventually("shown no more", func(context.Context) error {
		if i.failing(fleet.Primary, stuck) == nil {
			return fmt.Errorf("%s is still shown", stuck)
		}
		return nil
	})
}

// database has the database of a server with gsqlite3 do something.
func database(t *testing.T, s *local.Server, statement string) string {
	t.Helper()
	out, err := s.SQL(t.Context(), statement)
	must.OK(t, err)
	return out
}

// pdnsutil runs PowerDNS's tool, bypassing the proxy.
func pdnsutil(t *testing.T, s *local.Server, args ...string) {
	t.Helper()
	_, err := s.Pdnsutil(t.Context(), args...)
	must.OK(t, err)
}
