package secondary

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// zoneSource is where the loopback server finds zones: first the staged versions, then the store. It is safe for
// concurrent use.
type zoneSource struct {
	store   *store.Store
	mayTake func(*zone.Zone) error // says whether PowerDNS may take the store's version; set before the server runs

	mu sync.Mutex

	// Under mu.
	versions map[zone.Name]*stagedVersion
	given    map[zone.Name]*given
	closures map[zone.Name]*closure
}

// stagedVersion is one version on its way into PowerDNS.
type stagedVersion struct {
	zone  *zone.Zone
	apex  zone.Apex
	ready chan struct{}          // closed when zone and apex are set, or never will be
	ahead bool                   // its transfer was ordered before it was ready
	begun chan struct{}          // gets a value when PowerDNS begins to take it
	sent  chan error             // gets a value when it has taken all, or has not
	note  atomic.Pointer[string] // what was odd about its questions, nil if nothing
	guard func() error           // nil, or what says whether PowerDNS may take it; under the source's lock
	bulk  bool                   // nobody waits for it: it may be made together with others
	taken bool                   // PowerDNS took it as it was made together with others
}

func newZoneSource(s *store.Store) *zoneSource {
	return &zoneSource{
		mayTake:  func(*zone.Zone) error { return nil },
		store:    s,
		versions: map[zone.Name]*stagedVersion{}, given: map[zone.Name]*given{}, closures: map[zone.Name]*closure{},
	}
}

func newStagedVersion() *stagedVersion {
	return &stagedVersion{ready: make(chan struct{}), begun: make(chan struct{}, 1), sent: make(chan error, 1)}
}

// stage puts z in front of the store until withdraw is called. There is one staged version per zone at a time: the
// queue sees to that.
func (s *zoneSource) stage(z *zone.Zone) (v *stagedVersion, withdraw func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v = s.versions[z.Name()]
	if v == nil {
		v = newStagedVersion()
		s.versions[z.Name()] = v
	}
	v.zone, v.apex = z, z.Apex()
	close(v.ready)
	return v, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.versions, z.Name())
	}
}

// expect makes room for a version that is said to come. Until it is ready, but no longer than patience, PowerDNS waits
// for its transfer. False when something is on its way already: PowerDNS has two threads for transfers by default, and
// only one may be kept waiting.
func (s *zoneSource) expect(name zone.Name, patience time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.versions) > 0 {
		return false
	}
	v := newStagedVersion()
	v.ahead = true
	s.versions[name] = v
	time.AfterFunc(patience, func() { s.expire(v, name) })
	return true
}

// expire ends the wait for a version that did not come.
func (s *zoneSource) expire(v *stagedVersion, name zone.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.versions[name] == v {
		s.unexpect(name)
	}
}

// unexpect ends the wait for the zone's version, if it is waited for; called under the lock.
func (s *zoneSource) unexpect(name zone.Name) {
	if v := s.versions[name]; v != nil && v.zone == nil {
		delete(s.versions, name)
		close(v.ready)
	}
}

// staged returns the zone's staged version, nil when there is none.
func (s *zoneSource) staged(name zone.Name) *stagedVersion {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.versions[name]
}

func (v *stagedVersion) isReady() bool {
	select {
	case <-v.ready:
		return v.zone != nil
	default:
		return false
	}
}

// guard has mayTake say whether PowerDNS may take the version, each time when PowerDNS asks for it: no other transfer
// of the zone runs then, and one from elsewhere may have ended since the last time. nil lets it.
func (s *zoneSource) guard(v *stagedVersion, mayTake func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.guard = mayTake
}

// admit returns why PowerDNS may not take the version, which ends the attempt.
func (s *zoneSource) admit(v *stagedVersion) error {
	s.mu.Lock()
	mayTake := v.guard
	s.mu.Unlock()
	if mayTake == nil {
		return nil
	}
	err := mayTake()
	if err != nil {
		work.Notify(v.sent, err)
	}
	return err
}

// SOA implements transfer.Source.
func (s *zoneSource) SOA(name zone.Name) (zone.Record, []zone.Record, error) {
	apex, err := zone.Apex(nil), error(nil)
	if v := s.staged(name); v != nil && v.isReady() {
		apex = v.apex
	} else if apex, err = s.store.Apex(name); err != nil {
		return nil, nil, sourceError(err)
	}
	soa, signatures := apex.SOA()
	return soa, signatures, nil
}

// Zone implements transfer.Source.
func (s *zoneSource) Zone(name zone.Name) (*zone.Zone, error) {
	if v := s.staged(name); v != nil {
		if <-v.ready; v.zone != nil {
			if err := s.admit(v); err != nil {
				return nil, err
			}
			if err := s.give(v.zone); err != nil {
				return nil, err
			}
			work.Notify(v.begun, struct{}{})
			return v.zone, nil
		}
	}
	z, err := s.store.Zone(name)
	if err != nil {
		return nil, errors.Join(sourceError(err), s.refuse(name))
	}
	if err := s.mayTake(z); err != nil {
		return nil, err
	}
	return z, s.give(z)
}

func sourceError(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %w", transfer.ErrNotHeld, err)
	}
	return err
}

// transferred notes that PowerDNS took, or failed to take, the staged version.
func (s *zoneSource) transferred(t transfer.Sent) {
	if v := s.staged(t.Zone); v != nil && v.isReady() && v.zone == t.Version {
		work.Notify(v.sent, t.Err)
	}
}

// asked notes why a question for a staged version was refused: PowerDNS does not ask as it should.
func (s *zoneSource) asked(q transfer.Query) {
	v := s.staged(q.Zone)
	if v == nil || q.Refused == "" {
		return
	}
	note := fmt.Sprintf("the role refused PowerDNS's question from %s: %s", q.Peer.Addr(), q.Refused)
	v.note.Store(&note)
}

// withNote is why PowerDNS did not take the version, and what was odd about its questions since the last call.
func (v *stagedVersion) withNote(err error) error {
	if note := v.note.Swap(nil); note != nil {
		return fmt.Errorf("%w; %s", err, *note)
	}
	return err
}
