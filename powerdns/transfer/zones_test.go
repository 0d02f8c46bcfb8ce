package transfer_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// apex is the record set that every zone of these tests has.
const apex = `@ 3600 IN SOA ns1.example.net. hostmaster.example.net. 7 10800 3600 604800 3600
@ 3600 IN NS ns1.example.net.
@ 3600 IN NS ns2.example.net.
`

// parse makes a zone out of the text of a zone file.
func parse(t testing.TB, origin, text string) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(zone.MustParseName(origin), 0)
	parser := dns.NewZoneParser(strings.NewReader(text), dns.Fqdn(origin), "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		r, err := zone.NewRecord(rr)
		if err == nil {
			err = b.Add(r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	z, err := b.Zone()
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// hosts is a zone with n A records besides the apex.
func hosts(t testing.TB, origin string, n int) *zone.Zone {
	t.Helper()
	name := zone.MustParseName(origin)
	b := zone.NewBuilder(name, 0)
	for r := range parse(t, origin, apex).Records() {
		if err := b.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		label := fmt.Sprintf("host-%07d", i)
		wire := append([]byte{byte(len(label))}, label...)
		wire = append(wire, name...)
		wire = append(wire, 0, byte(dns.TypeA), 0, dns.ClassINET, 0, 0, 0, 60, 0, 4, 10, byte(i>>16), byte(i>>8), byte(i))
		if err := b.Add(wire); err != nil {
			t.Fatal(err)
		}
	}
	z, err := b.Zone()
	if err != nil {
		t.Fatal(err)
	}
	return z
}

var large struct {
	once sync.Once
	zone *zone.Zone
}

// largeZone is more than sockets buffer. All tests share it: it takes seconds to make.
func largeZone(t testing.TB) *zone.Zone {
	t.Helper()
	large.once.Do(func() { large.zone = hosts(t, "example", 500_000) })
	return large.zone
}

// zones is a source in memory.
type zones struct {
	mu   sync.Mutex
	held map[zone.Name]*zone.Zone
	err  error // in place of any answer
}

func newZones(list ...*zone.Zone) *zones {
	s := &zones{held: map[zone.Name]*zone.Zone{}}
	for _, z := range list {
		s.put(z)
	}
	return s
}

func (s *zones) put(z *zone.Zone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[z.Name()] = z
}

func (s *zones) Zone(name zone.Name) (*zone.Zone, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if z := s.held[name]; z != nil {
		return z, nil
	}
	return nil, fmt.Errorf("zone %s: %w", name, transfer.ErrNotHeld)
}

func (s *zones) SOA(name zone.Name) (zone.Record, []zone.Record, error) {
	z, err := s.Zone(name)
	if err != nil {
		return nil, nil, err
	}
	soa, signatures := z.Apex().SOA()
	return soa, signatures, nil
}
