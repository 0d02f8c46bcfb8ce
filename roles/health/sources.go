package health

import (
	"context"
	"crypto/rand"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/status"
)

const (
	sampleSize = 20 // zones that each comparison asks for over DNS
	firstZones = 3  // that are named
)

// compareSource has a node count one source, and compares that with what is published. The count may be as old as
// maxAge; 0 is any age.
func (c *checker) compareSource(ctx context.Context, n checked, source health.Source,
	maxAge time.Duration) (found health.Comparison, r status.SourceReport) {
	want := c.h.published.index.StockOf(versionsAt(n.role, source))
	q := health.Question{Check: rand.Text(), Source: source, Fresh: maxAge}
	ask := func(ctx context.Context, q health.Question) (health.Answer, error) {
		return c.asker.ask(ctx, n.node, q)
	}
	r.Source = source
	var err error
	if source == health.DNS {
		found, r.Zones, c.samples[n.node], err = health.Sample(ctx, q, want, c.samples[n.node], sampleSize, ask)
		r.Sample = true
	} else {
		found, err = health.Compare(ctx, q, want, ask)
		r.Zones, r.Sum = found.Sum.Zones, status.Short(found.Sum.String())
	}
	r.Age, r.Found = found.Age, found.Count()
	for _, d := range found.Differences[:min(len(found.Differences), firstZones)] {
		r.First = append(r.First, d.Zone)
	}
	if err != nil {
		r.Fault = err.Error()
	}
	return found, r
}

// versionsAt returns by what a source tells versions apart.
func versionsAt(role string, source health.Source) index.VersionKind {
	switch {
	case source == health.PowerDNS && role == health.RolePrimary:
		return index.ByStoredSerial
	case source == health.PowerDNS, source == health.DNS:
		return index.ByServedSerial
	}
	return index.ByContent
}

const (
	// clockSlack is how far the clocks of two nodes may be apart, and how long a change may take from its publication
	// to each place.
	clockSlack = 15 * time.Second

	// agedCount is from what age on a count may be older than a change that is known here. Others are as of now.
	agedCount = 2 * time.Second
)

// onWay reports whether a difference is over by itself: the zone has changed since, or just before, or waits for the
// secondary at the broker.
func (c *checker) onWay(n checked, by index.VersionKind, d health.Difference, counted time.Time) bool {
	p := c.h.published
	now := p.index.Get(d.Zone)
	switch {
	case !p.events.Settled(d.Zone):
		return true
	case n.role == health.RoleSecondary && now.Seq > 0 && c.h.nodes.comes(n.node, now.Seq):
		return true
	case time.Since(counted) > agedCount && now.Header.Published.After(counted.Add(-clockSlack)):
		return true
	case !now.Stands(): // or it is published again, after the broker lost its store
		return d.Want != nil || now.Remembered()
	}
	return d.Want == nil || d.Want.Version != by.Entry(now, d.Zone).Version
}
