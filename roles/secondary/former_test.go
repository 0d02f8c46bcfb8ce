package secondary

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// A zone of another master keeps a version that is newer than the published one, but not for longer than
// formerPatience.
func TestFormerVersion(t *testing.T) {
	z, err := zone.NewEmpty(zone.MustParseName("former.example"))
	must.OK(t, err)
	for _, c := range []struct {
		serial uint32 // in PowerDNS
		kept   bool
	}{{0, false}, {z.Serial(), false}, {z.Serial() + 1, true}, {z.Serial() + 1<<31 + 1, false}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFormers()
			f.add(z.Name())
			for range 2 { // a second version meets the same
				if err := f.judge(c.serial, z); errors.Is(err, errOlder) != c.kept || !f.has(z.Name()) {
					t.Errorf("serial %d in place of %d: %v", c.serial, z.Serial(), err)
				}
			}
			time.Sleep(formerPatience + 1)
			if err := f.judge(c.serial, z); err != nil || f.has(z.Name()) == c.kept {
				t.Errorf("serial %d after %s: %v", c.serial, formerPatience, err)
			}
			if time.Sleep(formerLinger); f.has(z.Name()) {
				t.Errorf("serial %d: it counts for longer than %s", c.serial, formerLinger)
			}
		})
	}
}
