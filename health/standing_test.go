package health

import (
	"testing"
	"time"

	"pdns-distribute/powerdns/zone"
)

// A difference stands when it is seen in a count that began after it was seen first, in the same way.
func TestStanding(t *testing.T) {
	var s Standing
	begin := time.Now()
	at := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Second) }
	a, b := zone.MustParseName("a.example"), zone.MustParseName("b.example")
	differs := func(name zone.Name, want, has uint32) Difference {
		w, h := BySerial(name, want), BySerial(name, has)
		return Difference{name, &w, &h}
	}
	see := func(now, counted int, source Source, d Difference, stands bool) {
		t.Helper()
		if since := s.See(at(now), at(counted), source, d); since.IsZero() == stands {
			t.Errorf("at %d, counted at %d, %s of %s: it stands since %v", now, counted, source, d.Zone, since)
		}
	}
	s.Begin()
	see(10, 9, PowerDNS, differs(a, 1, 2), false)
	see(10, 9, PowerDNS, differs(b, 1, 2), false)
	s.Begin()
	see(20, 9, PowerDNS, differs(a, 1, 2), false) // the same count
	see(20, 9, PowerDNS, differs(b, 2, 3), false) // it changes all the time
	s.Begin()
	see(30, 29, PowerDNS, differs(a, 1, 2), true)
	see(30, 29, Stored, differs(a, 1, 2), false) // another source
	see(30, 29, PowerDNS, differs(b, 3, 4), false)
	if since := s.See(at(30), at(29), PowerDNS, differs(a, 1, 2)); !since.Equal(at(10)) {
		t.Errorf("since %v", since)
	}
	s.Begin() // over
	s.Begin()
	see(50, 49, PowerDNS, differs(a, 1, 2), false)
	see(50, 49, PowerDNS, Difference{Zone: b}, false)
	if n := s.Open(); n != 2 {
		t.Errorf("%d are open", n)
	}
}
