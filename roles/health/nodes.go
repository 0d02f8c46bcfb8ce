package health

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/follow"
	"pdns-distribute/roles/status"
)

// nodes is what is known of the nodes: what they report of themselves, and what the broker knows of their feeds. It
// is safe for concurrent use.
type nodes struct {
	cfg        health.Config
	duplicates *health.DuplicateNodes

	mu sync.Mutex // guards all below

	seen   map[string]health.Sighting
	peers  []health.Peer // brokers, as the one that leads the states sees them
	holder string        // of the lease of health roles

	feeds   map[string]broker.FeedInfo
	feedsAt time.Time        // when the broker was asked for them
	stalls  map[string]stall // of feeds

	mute time.Time // since when the brokers answer nothing; zero if they do
}

// stall is how far a secondary was to come when it was looked at, and since when it has not.
type stall struct {
	target uint64
	since  time.Time
}

const (
	// stallPatience is how long a secondary may take to come as far as others were then.
	stallPatience = 5 * time.Minute

	// brokerInterval is how often the broker is asked how far the secondaries are.
	brokerInterval = 5 * time.Second

	// feedsStale is when what is known of feeds means nothing any more.
	feedsStale = 3 * brokerInterval
)

func newNodes(cfg health.Config) *nodes {
	return &nodes{
		cfg: cfg, duplicates: health.NewDuplicateNodes(), seen: map[string]health.Sighting{},
		feeds: map[string]broker.FeedInfo{}, stalls: map[string]stall{},
	}
}

// watchNodes takes what nodes report of themselves.
func (h *Health) watchNodes(ctx context.Context) error {
	return h.Conn.WatchStatuses(ctx, func(id string, status broker.StatusMsg) {
		h.nodes.see(follow.NewSighting(id, status))
	})
}

// watchForgotten forgets nodes that an operator deregistered.
func (h *Health) watchForgotten(ctx context.Context) error {
	stop, err := h.Conn.SubscribeForgotten(ctx, func(node string) {
		h.nodes.forget(node)
		h.findings.forget(node)
		if c := h.checker.Load(); c != nil {
			c.forget(node)
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	<-ctx.Done()
	return nil
}

// watchBroker asks the broker how feeds, queue and other brokers are, and who holds the lease.
func (h *Health) watchBroker(ctx context.Context) error {
	connected, stop := h.Conn.Connections()
	defer stop()
	for {
		asked := time.Now()
		infos, err := h.Conn.Feeds(ctx)
		if err == nil {
			h.nodes.noteFeeds(asked, infos, h.published.index.Newest())
			err = h.seeBrokers(ctx)
			h.noteFlow(ctx, asked, infos)
		}
		h.nodes.noteAnswers(asked, err, h.Conn.Refused())
		if holder, err := h.Conn.LeaseHolder(ctx, health.LeaseName); err == nil {
			h.nodes.noteHolder(holder.Node)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-connected:
		case <-time.After(brokerInterval):
		}
	}
}

// seeBrokers notes what brokers report of themselves, and what others report of those that do not.
func (h *Health) seeBrokers(ctx context.Context) error {
	statuses, err := h.Conn.BrokerStatuses(ctx)
	now, errNow := h.Conn.Now(ctx)
	peers, errPeers := h.Conn.Peers(ctx)
	for id, status := range statuses {
		if errNow == nil { // those times are the broker's, which need not be this host's
			status.At = time.Now().Add(status.At.Sub(now))
			h.nodes.see(follow.NewSighting(id, status))
		}
	}
	if errPeers == nil {
		h.nodes.notePeers(follow.PeersOf(time.Now(), peers))
	}
	return errors.Join(err, errNow, errPeers)
}

func (n *nodes) see(s health.Sighting) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before, is := n.seen[s.Node]
	if is && before.At.After(s.At) || !is && len(n.seen) >= health.MaxNodes {
		return // it was stored before; or whoever may name nodes names too many
	}
	n.duplicates.See(s)
	n.seen[s.Node] = s
}

func (n *nodes) forget(node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.seen, node)
	delete(n.feeds, node)
}

// knows reports whether the node was seen, and not deregistered since.
func (n *nodes) knows(node string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, known := n.seen[node]
	return known
}

func (n *nodes) notePeers(peers []health.Peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers = peers
}

func (n *nodes) noteHolder(node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.holder = node
}

func (n *nodes) leaseHolder() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.holder
}

// noteAnswers notes since when the brokers answer nothing though there is a connection that they do not refuse.
func (n *nodes) noteAnswers(asked time.Time, err, refused error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case broker.Answered(err), errors.Is(err, broker.ErrDisconnected), errors.Is(err, context.Canceled), refused != nil:
		n.mute = time.Time{}
	case n.mute.IsZero():
		n.mute = asked
	}
}

// muteSince returns since when the brokers answer nothing, the zero time if they answer.
func (n *nodes) muteSince() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mute
}

// noteFeeds notes how far the secondaries are, and since when they come no nearer to newest, the newest state.
func (n *nodes) noteFeeds(now time.Time, infos []broker.FeedInfo, newest uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.feeds, n.feedsAt = map[string]broker.FeedInfo{}, now
	stalls := map[string]stall{}
	for _, f := range infos {
		n.feeds[f.Node] = f
		if f.Behind() == 0 {
			continue
		}
		s, is := n.stalls[f.Node]
		if !is || f.AckFloor >= s.target {
			s = stall{target: newest, since: now}
		}
		stalls[f.Node] = s
	}
	n.stalls = stalls
}

func (n *nodes) board() health.Board {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	feeds := status.FeedsOf(maps.Values(n.feeds))
	for i := range feeds {
		s, is := n.stalls[feeds[i].Node]
		feeds[i].Stalled = is && now.Sub(s.since) > stallPatience
	}
	seen := maps.Clone(n.seen)
	health.SeePeers(seen, now, n.peers)
	return health.NewBoard(now, n.cfg, seen, feeds)
}

// stalledSince returns since when the secondary has not come as far as it was to come then, the zero time if it has.
func (n *nodes) stalledSince(node string) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stalls[node].since
}

// active returns the secondaries that are waited for.
func (n *nodes) active(b health.Board) (active []health.Active) {
	for _, r := range b.Nodes {
		if r.Role == health.RoleSecondary && r.Active {
			stage := func(seq uint64) health.Stage { return n.stage(r.Node, seq) }
			active = append(active, health.Active{Node: r.Node, Stage: stage})
		}
	}
	return active
}

// comes reports whether the state waits for the secondary at the broker, or is in its hands while it gets on with
// others.
func (n *nodes) comes(node string, seq uint64) bool {
	switch n.stage(node, seq) {
	case health.Queued:
		return true
	case health.InHand:
		n.mu.Lock()
		defer n.mu.Unlock()
		s, is := n.stalls[node]
		return is && time.Since(s.since) < stallPatience
	}
	return false
}

// stage returns how far a state is on its way to a secondary. What is not known counts as queued.
func (n *nodes) stage(node string, seq uint64) health.Stage {
	n.mu.Lock()
	defer n.mu.Unlock()
	f, is := n.feeds[node]
	switch {
	case !is || time.Since(n.feedsAt) > feedsStale || seq > f.Delivered:
		return health.Queued
	case f.Behind() > 0 && seq > f.AckFloor:
		return health.InHand
	}
	return health.Delivered
}
