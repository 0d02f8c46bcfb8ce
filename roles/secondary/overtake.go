package secondary

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/powerdns/zone"
)

// A secondary that is filled, or was away, takes what its feed holds for it in the order of the stream: what somebody
// changes now comes last there, perhaps in an hour. So primaries say which states are news, and those are fetched past
// the feed. Nothing depends on it: where the notice is lost, the feed delivers the state in its turn. It does so in any
// case, and then the state is confirmed and acknowledged.

const (
	// newsAge is how long after it was published a state counts as news. What a burst of changes leaves in line is
	// younger, and goes in order.
	newsAge = 30 * time.Second

	// fetchLimit is how many states are fetched at once. Notices beyond are dropped.
	fetchLimit = 64
)

// overtake fetches states that primaries announce, where the feed does not deliver them at once.
func (s *Secondary) overtake(ctx context.Context) error {
	var fetches errgroup.Group
	fetches.SetLimit(fetchLimit)
	defer fetches.Wait() // none returns an error
	stop, err := s.Conn.SubscribePublished(ctx, func(name zone.Name, seq uint64) {
		if s.feed.catchingUp.Load() || s.jobs.Postponed(name) {
			fetches.TryGo(func() error {
				s.fetchNews(ctx, name, seq)
				return nil
			})
		}
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	stop()
	return nil
}

// fetchNews submits the state with this sequence, or a newer one, as if the feed had delivered it now.
func (s *Secondary) fetchNews(ctx context.Context, name zone.Name, seq uint64) {
	feed := s.feed.since()
	if feed.IsZero() {
		return // there is none yet, so nothing could be put in order
	}
	m, err := s.Conn.FetchState(ctx, name, seq, feed)
	if err != nil {
		s.Log.Debug().Err(err).Stringer("zone", name).Msg("failed to fetch a state past the feed")
		return
	}
	s.metrics.overtaken.Inc()
	s.jobs.Add(ctx, name, s.liveJob(&m))
}
