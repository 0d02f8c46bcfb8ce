package status

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/follow"
)

func readFeeds(ctx context.Context, conn *broker.Conn) ([]health.Feed, error) {
	infos, err := conn.Feeds(ctx)
	return FeedsOf(slices.Values(infos)), err
}

// FeedsOf returns feeds as the board takes them.
func FeedsOf(infos iter.Seq[broker.FeedInfo]) (feeds []health.Feed) {
	for f := range infos {
		feeds = append(feeds, health.Feed{Node: f.Node, Behind: f.Behind()})
	}
	return feeds
}

// Read asks the brokers all that they keep. Without a quorum the brokers still answer who is active; what they do not
// answer is in Document.Unanswered.
func Read(ctx context.Context, conn *broker.Conn, cfg health.Config) (Document, error) {
	statuses, err := conn.Statuses(ctx)
	if err != nil {
		return Document{}, err
	}
	var (
		feeds      []health.Feed
		now        time.Time
		peers      []broker.Peer
		holder     broker.Holder
		questions  sync.WaitGroup
		unanswered [4]error
	)
	questions.Go(func() { feeds, unanswered[0] = readFeeds(ctx, conn) })
	questions.Go(func() { now, unanswered[1] = conn.Now(ctx) })
	questions.Go(func() { peers, unanswered[2] = conn.Peers(ctx) })
	questions.Go(func() { holder, unanswered[3] = conn.LeaseHolder(ctx, health.LeaseName) })
	questions.Wait()
	if err := context.Cause(ctx); err != nil {
		return Document{}, err
	}
	seen := map[string]health.Sighting{}
	for id, status := range statuses {
		seen[id] = follow.NewSighting(id, status)
		if unanswered[1] != nil && status.At.After(now) {
			now = status.At
		}
	}
	health.SeePeers(seen, now, follow.PeersOf(now, peers))
	board := health.NewBoard(now, cfg, seen, feeds)
	alarms := []health.Alarm{}
	if r := Leader(board, holder.Node); r != nil {
		alarms = append(alarms, r.Health.Alarms...)
	}
	d := NewDocument(board, cfg, holder.Node, alarms)
	for _, err := range unanswered {
		if err != nil && broker.Answered(err) {
			return Document{}, err
		}
		if err != nil {
			d.OK, d.Unanswered = false, append(d.Unanswered, err.Error())
		}
	}
	return d, nil
}
