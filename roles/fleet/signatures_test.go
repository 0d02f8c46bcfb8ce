package fleet_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

const week = 7 * 24 * time.Hour

// Weeks pass at the primary PowerDNS: what it signs anew at an unchanged serial is taken everywhere, before what is there
// ends; and what ends all the same is shown.
func TestSignaturesAreRenewed(t *testing.T) {
	i := start(t, fleet.Options{Set: map[string]string{"dnssec.check_interval": "1s", "primary.scrub_rate": "0"}})
	at := func(off time.Duration) {
		t.Helper()
		i.Primary.SetClock(off)
		must(t, i.Primary.Restart(i.ctx))
	}
	at(-4 * week)
	nsec, nsec3 := numbered("signed", 1), numbered("signed", 3)
	for _, name := range []zone.Name{nsec, nsec3} {
		must(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "1"))))
		must(t, i.put(name, `{"dnssec":true}`))
	}
	must(t, i.put(nsec3, `{"nsec3param":"1 0 0 -"}`))
	i.eventually("signed four weeks ago", i.allSame)
	i.eventually("that they end is shown", func(context.Context) error { return i.notReady(fleet.Primary, "signatures") })
	serial := i.serial(nsec)

	for weeks := time.Duration(-3); weeks <= 0; weeks++ {
		at(weeks * week)
		i.eventually("signed another week later", func(ctx context.Context) error { return i.signedFor(ctx, (weeks+1)*week-time.Hour, nsec, nsec3) })
		i.eventually("the same everywhere", i.allSame)
	}
	for _, name := range []zone.Name{nsec, nsec3} {
		i.verify(name)
	}
	i.eventually("nothing ends any more", func(ctx context.Context) error { return i.AwaitReady(ctx, fleet.Primary) })
	if now := i.serial(nsec); now != serial {
		t.Errorf("serial %d, was %d", now, serial)
	}
}

// signedFor returns nil when all that the secondaries have of the zones is signed for longer than d.
func (i *installation) signedFor(ctx context.Context, d time.Duration, names ...zone.Name) error {
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
