package secondary

import (
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
)

// feedState is which feed the states come from, and whether all of it is to be delivered again. It is safe for
// concurrent use.
type feedState struct {
	mu sync.Mutex

	// Under mu.
	created time.Time // when the feed was created
	opened  time.Time // when this process began to receive from it, last
	refeed  time.Time // see health.Presence; zero: nothing is asked for
	pending uint64    // states that it has still to deliver
}

func (f *feedState) open(created, refeed time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.created, f.refeed, f.opened = created, refeed, time.Now()
}

// delivered notes how many states are still to come.
func (f *feedState) delivered(pending uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending = pending
}

// waiting is how many states are still to come.
func (f *feedState) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int(f.pending)
}

// following returns since when states are received, now when they are not.
func (f *feedState) following() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.opened.IsZero() {
		return time.Now()
	}
	return f.opened
}

// since is when the feed was created.
func (f *feedState) since() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.created
}

// requestAll asks for all states again.
func (f *feedState) requestAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refeed = f.created
}

func (f *feedState) requested() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refeed
}

// feedOpened compares the feed with the store. A new store beside a feed that has gone on already lacks what was
// acknowledged before: only the primary can have it delivered again.
func (s *Secondary) feedOpened(feed broker.FeedInfo) {
	known, err := s.store.Feed()
	refeed := time.Time{}
	switch {
	case err == nil && known.IsZero() && feed.Used:
		refeed = feed.Created
	case err == nil && !known.Equal(feed.Created):
		err = s.store.SetFeed(feed.Created)
	}
	if err != nil {
		s.Log.Error().Err(err).Msg("the store cannot be used; is its disk full?")
	}
	if !s.feed.since().Equal(feed.Created) {
		s.news.reset()
	}
	s.feed.open(feed.Created, refeed)
	if !refeed.IsZero() {
		s.Log.Warn().Msg("the store is new, requesting all zones again")
		s.AnnounceSoon()
	}
}

// feedStatus has readiness show why the feed cannot be read; nil: it can.
func (s *Secondary) feedStatus(reason error) {
	if reason == nil {
		s.Ready.Clear(condFeed)
	} else {
		s.Ready.Set(condFeed, reason.Error())
	}
	s.AnnounceSoon()
}

// zoneDamaged is called for a zone in the store that is not what was put there. It is forgotten and asked for again,
// with all others, since only the whole feed can be; PowerDNS goes on with what it has meanwhile.
func (s *Secondary) zoneDamaged(name zone.Name, err error) {
	s.Each.Error().Stringer("zone", name).Err(err).
		Msg("the zone is damaged in the store, requesting all zones again; check the disk and the memory of this host")
	if err := s.store.Forget(name); err != nil {
		s.Log.Error().Err(err).Msg("the store cannot forget a damaged zone; is its disk full?")
		return
	}
	s.feed.requestAll()
	s.AnnounceSoon()
}
