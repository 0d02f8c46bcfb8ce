package primary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/dnssec"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/work"
)

// publisher stores states on the broker, signed and dated, by compare-and-set. It is safe for concurrent use.
type publisher struct {
	*node.Node
	index     *index.Index
	chunks    *chunks
	signer    *signer       // nil without a key
	published chan struct{} // gets a value when a state was published that somebody waits for
	acts      func() bool   // whether this primary acts
}

func newPublisher(p *Primary, signer *signer) *publisher {
	acts := p.replication.acts
	return &publisher{
		Node: p.Node, index: p.index, signer: signer, published: make(chan struct{}, 1), acts: acts,
		chunks: &chunks{Node: p.Node, index: p.index, source: p.source, acts: acts, wanted: make(chan struct{}, 1)},
	}
}

// version is a zone as it was read, ready to be published.
type version struct {
	zone     *zone.Zone
	state    *zone.State
	contents [][]byte // of the state's chunks
	computed zone.Computed
}

// newVersion returns what is to be published at that time of a zone that was read.
func newVersion(r reading, at time.Time) version {
	state, contents := zone.NewState(r.zone, r.stored, at)
	return version{r.zone, state, contents, r.computed}
}

// isPublished reports whether the state with this header shows no difference of that depth.
func (v version) isPublished(h broker.StateHeader, d depth) bool {
	s := v.state
	switch {
	case h.Stored != s.Stored, h.Computed != v.computed:
		return false
	case d == toSignatures:
		return h.Stable == fmt.Sprintf("%x", s.Stable) && h.Digest == fmt.Sprintf("%x", s.Digest)
	case h.Serial != s.Serial && !ticks(s.Serial-h.Serial, s.Published.Sub(h.Published)):
		return false
	}
	return h.Stable == fmt.Sprintf("%x", v.zone.StableAt(h.Serial))
}

// publish stores the content and then the state that refers to it. It returns broker.ErrConflict if what was published
// before is another state by now.
func (p *publisher) publish(ctx context.Context, v version, before index.Published, j job) error {
	if err := p.chunks.put(ctx, v, before); err != nil {
		return err
	}
	s := v.state
	return p.store(ctx, s, before, broker.StateHeader{
		Kind: broker.KindZone, Serial: s.Serial, Stored: s.Stored, Published: s.Published,
		Chunks: len(s.Chunks()), Expires: s.Expires,
		Digest: fmt.Sprintf("%x", s.Digest), Stable: fmt.Sprintf("%x", s.Stable), NSEC: dnssec.Convertible(v.zone),
		Computed: v.computed,
		Again:    j.again, Background: j.background(), Origin: j.origin(),
	})
}

// retract stores a tombstone.
func (p *publisher) retract(ctx context.Context, name zone.Name, before index.Published, j job) error {
	at, err := p.date(ctx, name, before)
	if err != nil {
		return err
	}
	tombstone := zone.NewTombstone(name, at)
	return p.store(ctx, tombstone, before, broker.StateHeader{
		Kind: broker.KindGone, Published: tombstone.Published, TTL: index.TombstoneTTL,
		Again: j.again, Background: j.background(), Origin: j.origin(),
	})
}

func (p *publisher) store(ctx context.Context, s *zone.State, before index.Published, header broker.StateHeader) error {
	data, err := s.MarshalBinary()
	if err != nil {
		return err
	}
	if !p.acts() {
		return errDeposed
	}
	data = p.signer.sign(data, &header)
	seq, err := p.Conn.PublishState(ctx, s.Name, data, header, before.Seq)
	if err != nil {
		return err
	}
	p.index.Set(s.Name, seq, header)
	p.index.PublishedHere(s.Name, seq, before.Learned)
	if !header.Background {
		work.Notify(p.published, struct{}{})
		p.announce(s.Name, seq)
	}
	p.Log.Debug().Stringer("zone", s.Name).Str("kind", header.Kind).Uint32("serial", header.Serial).Uint64("seq", seq).
		Msg("published")
	return nil
}

// announce tells secondaries that somebody may wait for the state: who is still behind need not wait for its turn.
func (p *publisher) announce(name zone.Name, seq uint64) {
	if err := p.Conn.PublishPublished(name, seq); err != nil {
		p.Log.Debug().Err(err).Stringer("zone", name).Msg("failed to announce a state, the feeds bring it in its turn")
	}
}

// refresh reads what the broker has of the zone when the index is behind.
func (p *publisher) refresh(ctx context.Context, name zone.Name) error {
	last, err := p.Conn.LastState(ctx, name)
	switch {
	case errors.Is(err, broker.ErrNotFound):
		p.index.Replace(name, 0, p.index.Get(name).Header)
		return nil
	case err != nil:
		return err
	}
	p.index.Replace(name, last.Seq, last.Header)
	return nil
}

// farAhead is more than clocks differ by that a clock signal keeps.
const farAhead = time.Hour

// date returns when the zone's next state is published: later than the one before, whatever the clock says, because
// secondaries take nothing older. When that one was published only the broker says, though. A time far ahead is
// believed only where this primary signed it: else a broker could have it sign times that no true state reaches in
// years.
func (p *publisher) date(ctx context.Context, name zone.Name, before index.Published) (time.Time, error) {
	now := time.Now()
	at := before.After(now)
	if p.signer == nil || at.Sub(now) < farAhead {
		return at, nil
	}
	last, err := p.Conn.LastState(ctx, name)
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return now, nil
	case err != nil:
		return at, err
	case last.Header.Published.Equal(before.Header.Published) && p.signer.made(last):
		return at, nil
	}
	p.Each.Error().Stringer("zone", name).Time("published", before.Header.Published).
		Msg("the state on the broker is dated far ahead, and this primary did not sign it: " +
			"somebody else writes there, or another primary's clock is wrong")
	return now, nil
}
