package fleet_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

const week = 7 * 24 * time.Hour

// Weeks pass at the primary PowerDNS: what it signs anew at an unchanged serial is taken everywhere, before what is
// there ends; and what ends all the same is shown.
func TestSignaturesAreRenewed(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"dnssec.check_interval": "1s", "primary.scrub_period": "0s"}})
	at := func(off time.Duration) {
		t.Helper()
		i.Primary.SetClock(off)
		must.OK(t, i.Primary.Restart(i.ctx))
	}
	broker := i.connect(fleet.Primary)
	background := func(name zone.Name) bool {
		t.Helper()
		state, err := broker.LastState(i.ctx, name)
		must.OK(t, err)
		return state.Header.Background
	}
	fresh := numbered("fresh", 1) // no check looks at it before its touch is taken: its signatures last
	must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(fresh, text(fresh, "1")), "")))
	i.eventually("signed now", i.allSame)
	if background(fresh) {
		t.Error("a change through the proxy was published as background work")
	}
	must.OK(t, i.api.DeleteZone(i.ctx, fresh))

	at(-4 * week)
	nsec, nsec3 := numbered("signed", 1), numbered("signed", 3)
	for _, name := range []zone.Name{nsec, nsec3} {
		must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "1"))))
		must.OK(t, i.put(name, `{"dnssec":true}`))
	}
	must.OK(t, i.put(nsec3, `{"nsec3param":"1 0 0 -"}`))
	i.eventually("signed four weeks ago", i.allSame)
	i.eventually("that they end is shown", func(context.Context) error { return i.notReady(fleet.Primary, "signatures") })
	serial := i.serial(nsec)

	for weeks := time.Duration(-3); weeks <= 0; weeks++ {
		at(weeks * week)
		i.eventually("signed another week later", func(ctx context.Context) error { return i.signedFor(ctx, (weeks+1)*week-time.Hour, nsec, nsec3) })
		i.eventually("the same everywhere", i.allSame)
		if !background(nsec) {
			t.Error("renewed signatures were not published as background work")
		}
	}
	for _, name := range []zone.Name{nsec, nsec3} {
		i.verify(name)
	}
	i.eventually("nothing ends any more", func(ctx context.Context) error { return i.AwaitReady(ctx, fleet.Primary) })
	if now := i.serial(nsec); now != serial {
		t.Errorf("serial %d, was %d", now, serial)
	}
}

// Zones that were signed elsewhere are not read for their signatures, which PowerDNS cannot renew, but watched: what
// the primary is a secondary of, and what it keeps as its own.
func TestPresignedZonesAreWatched(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{
		Set:       map[string]string{"dnssec.check_interval": "1s", "primary.scrub_period": "0s", "primary.sweep_interval": "1s", "primary.include_slaves": "true", "dnssec.nsec3": "true"},
		OfPrimary: map[string]string{"secondary": "yes"},
	})
	elsewhere, err := local.Start(i.ctx, local.Options{Dir: filepath.Join(i.Dir, "elsewhere"), Primary: true})
	must.OK(t, err)
	t.Cleanup(elsewhere.Stop)
	elsewhere.SetClock(-5 * week)
	must.OK(t, elsewhere.Restart(i.ctx))
	signer, err := elsewhere.Client()
	must.OK(t, err)
	i.Primary.SetClock(-4 * week) // what it signs itself ends, too, and is looked at with each check
	must.OK(t, i.Primary.Restart(i.ctx))
	must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(numbered("own", 0)), "1 0 0 -")))

	slave, native := numbered("presigned", 0), numbered("presigned", 1)
	for _, name := range []zone.Name{slave, native} {
		must.OK(t, signer.CreateZoneWith(i.ctx, signed(spec(name, text(name, "1")), "")))
		must.OK(t, i.own.CreateZone(i.ctx, name, powerdns.Slave, []string{elsewhere.DNSAddr}))
		must.OK(t, i.own.Retrieve(i.ctx, name))
		i.eventually("there", func(ctx context.Context) error { _, err := fetch(ctx, i.Primary.DNSAddr, name); return err })
	}
	must.OK(t, i.api.SetKind(i.ctx, native, powerdns.Native))
	must.OK(t, i.api.SetMetadata(i.ctx, slave, "X-TOUCHED", []string{"1"}))
	i.eventually("everywhere", i.allSame)
	for _, name := range []zone.Name{slave, native} {
		if presigned, err := i.own.Presigned(i.ctx, name); err != nil || !presigned {
			t.Fatalf("%s: presigned %v, %v", name, presigned, err)
		}
	}

	i.eventually("the alarm names the first to end", func(context.Context) error {
		body, err := get("http://" + i.Observe(fleet.Primary) + "/readyz")
		if err == nil && !bytes.Contains(body, []byte("signatures of 3 zones end")) || !bytes.Contains(body, []byte("presigned")) {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
	i.awaitUnchanged(3) // what sweeps saw while the zones were coming in is looked at again, once
	before := i.transfers(slave) + i.transfers(native)
	i.awaitUnchanged(3) // looks at the zone that PowerDNS signs, one with each check
	if after := i.transfers(slave) + i.transfers(native); after != before {
		t.Errorf("transfers of presigned zones: %d, were %d", after, before)
	}
	must.OK(t, signer.Patch(i.ctx, slave, []powerdns.RRset{text(slave, "2")}))
	must.OK(t, i.own.Retrieve(i.ctx, slave))
	i.eventually("what came in by transfer", func(ctx context.Context) error { return i.saying(ctx, "2", slave) })
	i.eventually("denying as before", func(ctx context.Context) error { return i.denying(ctx, "NSEC", slave, native) })
}

// denying returns nil when every secondary has the zones with this way of denying.
func (i *harness) denying(ctx context.Context, want string, names ...zone.Name) error {
	for _, s := range i.Secondaries {
		for _, name := range names {
			z, err := fetch(ctx, s.DNSAddr, name)
			if err != nil {
				return err
			}
			if is := z.Apex().Denial(); is != want {
				return fmt.Errorf("%s: %s denies with %q, want %q", s.ID, name, is, want)
			}
		}
	}
	return nil
}

// awaitUnchanged waits until the primary has looked at so many zones more that have not changed.
func (i *harness) awaitUnchanged(zones float64) {
	i.t.Helper()
	const metric = `pdns_distribute_primary_jobs_total{result="unchanged"}`
	before := i.metric(fleet.Primary, metric)
	i.eventually("more looks", func(context.Context) error {
		if n := i.metric(fleet.Primary, metric) - before; n < zones {
			return fmt.Errorf("%v zones were looked at", n)
		}
		return nil
	})
}

// transfers counts how often the primary PowerDNS has transferred a zone to anybody.
func (i *harness) transfers(name zone.Name) int {
	i.t.Helper()
	log, err := os.ReadFile(i.Primary.LogFile())
	must.OK(i.t, err)
	return strings.Count(string(log), "AXFR-out zone '"+strings.TrimSuffix(name.String(), ".")+"'")
}

// metric is the value of one of a role's metrics, 0 if it has none.
func (i *harness) metric(id, name string) float64 {
	i.t.Helper()
	body, err := get("http://" + i.Observe(id) + "/metrics")
	must.OK(i.t, err)
	_, rest, _ := strings.Cut(string(body), "\n"+name+" ")
	text, _, _ := strings.Cut(rest, "\n")
	value, _ := strconv.ParseFloat(text, 64)
	return value
}

// signedFor returns nil when all that the secondaries have of the zones is signed for longer than d.
func (i *harness) signedFor(ctx context.Context, d time.Duration, names ...zone.Name) error {
	for _, s := range i.Secondaries {
		for _, name := range names {
			z, err := fetch(ctx, s.DNSAddr, name)
			if err != nil {
				return err
			}
			end, signed := z.FirstExpiry()
			if left := time.Until(time.Unix(int64(end), 0)); !signed || left < d {
				return fmt.Errorf("%s: signatures of %s end in %s", s.ID, name, left)
			}
		}
	}
	return nil
}
