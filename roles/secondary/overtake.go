package secondary

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// A secondary that is filled, or was away, takes what its feed holds for it in the order of the stream: what somebody
// changes now comes last there, perhaps in an hour. So primaries say which states are news, and those are fetched past
// the feed. Nothing depends on it: where the notice is lost, the feed delivers the state in its turn. It does so in any
// case, and then the state is confirmed and acknowledged.

const (
	// newsAge is how long after it was published a state counts as news. What a burst of changes leaves in line is
	// younger, and goes in order.
	newsAge = 30 * time.Second

	// newsLimit is how many states that the feed has not brought yet are remembered. Notices beyond are dropped.
	newsLimit = 4096

	// fetchLimit is how many states are fetched at once.
	fetchLimit = 16
)

// overtake fetches news that the feed does not deliver at once.
func (s *Secondary) overtake(ctx context.Context) error {
	stop, err := s.Conn.SubscribePublished(ctx, s.news.announce)
	if err != nil {
		return err
	}
	defer stop()
	var fetches errgroup.Group
	fetches.SetLimit(fetchLimit)
	defer fetches.Wait() // none returns an error
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.news.changed:
		}
		for name, seq := range s.news.take(s.jobs.Postponed) {
			fetches.Go(func() error {
				s.fetchNews(ctx, name, seq)
				return nil
			})
		}
	}
}

// fetchNews submits the state with this sequence, or a newer one, as if the feed had delivered it now.
func (s *Secondary) fetchNews(ctx context.Context, name zone.Name, seq uint64) {
	feed := s.feed.since()
	if feed.IsZero() {
		return // there is none yet, so the state would have no place among those of the zone
	}
	m, err := s.Conn.FetchState(ctx, name, seq, feed)
	if err != nil {
		s.Log.Debug().Err(err).Stringer("zone", name).Msg("failed to fetch a state past the feed")
		return
	}
	s.metrics.overtaken.Inc()
	s.jobs.Add(ctx, name, s.liveJob(&m))
}

// news are states that somebody may wait for, and how far the feed is. It is safe for concurrent use.
type news struct {
	changed chan struct{} // gets a value when there may be something to take

	mu sync.Mutex

	// Under mu.
	announced  map[zone.Name]uint64 // sequences of what the feed has not brought, as far as is known
	delivered  uint64               // the highest sequence that it has brought
	catchingUp bool                 // what it brings is no news
}

func newNews() *news {
	return &news{changed: make(chan struct{}, 1), announced: map[zone.Name]uint64{}}
}

// announce notes that the zone's state with this sequence is news.
func (n *news) announce(name zone.Name, seq uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.announced[name]; known || len(n.announced) < newsLimit {
		n.announced[name] = max(n.announced[name], seq)
		work.Notify(n.changed, struct{}{})
	}
}

// bring notes what the feed has brought. The job may have to wait for a place in the queue.
func (n *news) bring(m broker.FeedMsg, j job) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delivered = max(n.delivered, m.Seq)
	if n.catchingUp = j.priority == work.Background; n.catchingUp && len(n.announced) > 0 {
		work.Notify(n.changed, struct{}{})
	}
}

// queued notes that the queue has the state that the feed brought last.
func (n *news) queued(m broker.FeedMsg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.NumPending == 0 {
		n.catchingUp = false
	}
}

// reset begins with another feed, whose sequences may be others.
func (n *news) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.announced)
	n.delivered, n.catchingUp = 0, false
}

// take returns what must be fetched: what the feed does not bring soon, and what it has brought and is postponed. What
// it has brought otherwise is forgotten.
func (n *news) take(postponed func(zone.Name) bool) map[zone.Name]uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	due := map[zone.Name]uint64{}
	for name, seq := range n.announced {
		brought := seq <= n.delivered
		if n.catchingUp && !brought || postponed(name) {
			due[name] = seq
		}
		if due[name] > 0 || brought {
			delete(n.announced, name)
		}
	}
	return due
}
