package secondary

import (
	"fmt"
	"maps"
	"testing"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/roletest"
	"pdns-distribute/roles/work"
)

// News are fetched while the feed brings what is none, also those announced before it began to; else it brings them
// itself.
func TestNews(t *testing.T) {
	n := newNews()
	a, b, c := roletest.Named("a"), roletest.Named("b"), roletest.Named("c")
	never := func(zone.Name) bool { return false }
	brings := func(seq, behind uint64, p work.Priority) broker.FeedMsg {
		m := broker.FeedMsg{Message: broker.Message{NumPending: behind}, StateMsg: broker.StateMsg{Seq: seq}}
		n.bring(m, job{&m, p})
		return m
	}
	want := func(what string, postponed func(zone.Name) bool, due map[zone.Name]uint64) {
		t.Helper()
		if got := n.take(postponed); !maps.Equal(got, due) {
			t.Errorf("%s: %v are fetched, want %v", what, got, due)
		}
	}

	n.announce(a, 8)
	want("before the feed brings anything", never, nil)
	n.queued(brings(1, 9, work.Background))
	want("announced before a feed that is behind", never, map[zone.Name]uint64{a: 8})
	n.announce(b, 9)
	n.announce(b, 10)
	n.announce(b, 9)
	want("announced twice", never, map[zone.Name]uint64{b: 10})
	want("again", never, nil)

	last := brings(7, 0, work.Background)
	n.announce(c, 11)
	want("while the last state has no place in the queue", never, map[zone.Name]uint64{c: 11})
	n.queued(last)
	n.announce(c, 12)
	want("in order again", never, nil)
	n.queued(brings(12, 3, work.Live))
	want("brought", never, nil)
	n.announce(a, 12)
	want("brought, and behind what nobody waits for", func(name zone.Name) bool { return name == a }, map[zone.Name]uint64{a: 12})

	n.queued(brings(13, 3, work.Background))
	n.announce(a, 13)
	want("brought already", never, nil)
	n.reset()
	n.announce(a, 2)
	n.queued(brings(1, 9, work.Background))
	want("another feed", never, map[zone.Name]uint64{a: 2})
}

// However many zones are announced, few are remembered.
func TestNewsIsBounded(t *testing.T) {
	n := newNews()
	for i := range newsLimit + 10 {
		n.announce(roletest.Named(fmt.Sprint("n", i)), 1)
	}
	if len(n.announced) != newsLimit {
		t.Errorf("%d are remembered", len(n.announced))
	}
}
