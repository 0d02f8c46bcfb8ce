package secondary

import (
	"fmt"
	"time"

	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// PowerDNS looks up which zone of its database a transfer is for before it asks for the content, and writes the
// content under that number whatever became of the zone meanwhile. A transfer that outlives its zone leaves records
// that belong to none, and one day to another one. So before a zone is deleted no transfer of it may be under way,
// and the content of the zone that is made in its place is for a transfer that began after. PowerDNS runs one
// transfer of a zone at a time: when it asks for the zone anew, the transfer before is over, its commit included.

// given is the version that PowerDNS was given last, by transfers that it is not known to have committed.
type given struct {
	version *zone.Zone
	times   int
}

// closure is a zone that is refused to PowerDNS: as long as it is being deleted, and once more thereafter.
type closure struct {
	deleted bool          // the next question is the last that is refused
	refused chan struct{} // gets a value when PowerDNS was refused
}

// closedFor is how long a transfer that PowerDNS began before a deletion may take to ask for the zone: several times
// its own patience with a master (axfr-fetch-timeout).
const closedFor = time.Minute

// close has the zone refused to PowerDNS, and the wait for a version that is expected end. reopen is to be called
// when the zone is deleted, or was not.
func (s *zoneSource) close(name zone.Name) (reopen func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &closure{refused: make(chan struct{}, 1)}
	s.closures[name] = c
	s.unexpect(name)
	return func() { s.reopen(name, c) }
}

func (s *zoneSource) reopen(name zone.Name, c *closure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.deleted = true
	time.AfterFunc(closedFor, func() { s.endClosure(name, c) })
}

func (s *zoneSource) endClosure(name zone.Name, c *closure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closures[name] == c {
		delete(s.closures, name)
	}
}

// refuse returns why PowerDNS does not get the zone now, nil when it does.
func (s *zoneSource) refuse(name zone.Name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refuseLocked(name)
}

func (s *zoneSource) refuseLocked(name zone.Name) error {
	c := s.closures[name]
	if c == nil {
		return nil
	}
	if c.deleted {
		delete(s.closures, name)
	}
	work.Notify(c.refused, struct{}{})
	return fmt.Errorf("%w: zone %s was deleted a moment ago", transfer.ErrNotHeld, name)
}

// give notes that PowerDNS gets this version, unless it is refused.
func (s *zoneSource) give(z *zone.Zone) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseLocked(z.Name()); err != nil {
		return err
	}
	g := s.given[z.Name()]
	if g == nil {
		g = &given{}
		s.given[z.Name()] = g
	}
	if g.version != z {
		g.version, g.times = z, 0
	}
	g.times++
	return nil
}

// committed notes that PowerDNS answers with the version. Where it was given it more than once it may commit it again.
func (s *zoneSource) committed(z *zone.Zone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.given[z.Name()]; g != nil && g.version == z && g.times == 1 {
		delete(s.given, z.Name())
	}
}

// underway reports whether PowerDNS may still commit a transfer of the closed zone. refused gets a value when it is
// refused the next one.
func (s *zoneSource) underway(name zone.Name) (refused <-chan struct{}, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, is = s.given[name]
	c := s.closures[name]
	if is && c != nil {
		work.Drain(c.refused)
		return c.refused, true
	}
	return nil, false
}

// over notes that no transfer is under way.
func (s *zoneSource) over(name zone.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.given, name)
}
