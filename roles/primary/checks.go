package primary

import (
	"context"
	"errors"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/work"
)

// A primary counts what is published at three places, none of which is asked for what another one has: the listing of
// its PowerDNS, which a sweep takes, its index, and the broker's stream, which is read anew from its beginning.

// counted is what a primary counted last.
type counted struct {
	listing *node.Stock
	stream  *node.Stock
	wanted  chan struct{} // asks for the stream to be read
}

// readShare is as many times as long as a reading of the stream took none begins.
const readShare = 20

func newCounted(sweep func()) *counted {
	wanted := make(chan struct{}, 1)
	return &counted{
		listing: node.NewStock(sweepShare, sweep), wanted: wanted,
		stream: node.NewStock(readShare, func() { work.Notify(wanted, struct{}{}) }),
	}
}

// sources are what a primary answers checks from. Over DNS it only looks at single zones: secondaries show whether
// all are served.
func (p *Primary) sources() map[health.Source]node.Source {
	return map[health.Source]node.Source{
		health.PowerDNS: {Count: p.counted.listing.Get, Look: p.lookAtPowerDNS},
		health.Stream:   {Count: p.counted.stream.Get, Look: p.lookAtStream},
		health.Index:    {Count: p.countIndex, Look: p.lookAtIndex},
		health.DNS: {Look: func(ctx context.Context, name zone.Name) (*health.Entry, error) {
			return node.LookAtAnswers(ctx, p.source.address, name)
		}},
	}
}

// noteListing counts what a sweep listed: the zones that are to be distributed, by the serials that PowerDNS stores.
func (p *Primary) noteListing(zones []powerdns.ZoneInfo, begin time.Time, fault error) {
	stock := &health.Inventory{}
	for _, info := range zones {
		if p.cfg.Primary.Distributes(info) {
			stock.Add(health.BySerial(info.Name, info.Serial))
		}
	}
	p.counted.listing.Put(stock, begin, fault)
}

func (p *Primary) lookAtPowerDNS(ctx context.Context, name zone.Name) (*health.Entry, error) {
	info, err := p.source.info(ctx, name)
	if errors.Is(err, errNotHere) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e := health.BySerial(name, info.Serial)
	return &e, nil
}

func (p *Primary) lookAtStream(ctx context.Context, name zone.Name) (*health.Entry, error) {
	state, err := p.Conn.LastState(ctx, name)
	if errors.Is(err, broker.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return index.Published{Seq: state.Seq, Header: state.Header}.Entry(name), nil
}

func (p *Primary) lookAtIndex(_ context.Context, name zone.Name) (*health.Entry, error) {
	return p.index.Get(name).Entry(name), nil
}

var errIncompleteIndex = errors.New("this primary has not read yet what is published")

func (p *Primary) countIndex(context.Context, time.Duration) (*health.Inventory, time.Duration, error) {
	if !p.index.Complete() {
		return nil, 0, errIncompleteIndex
	}
	return p.index.Desired(), 0, nil
}

// keepReading reads the stream when a check wants to know what is there.
func (p *Primary) keepReading(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.counted.wanted:
		}
		begin := time.Now()
		zones, err := p.readStream(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			p.Log.Warn().Err(err).Msg("failed to read the states at the broker")
		}
		p.counted.stream.Put(zones, begin, err)
		work.Wait(ctx, node.StockPause)
	}
}

// readStream counts what is there, and puts right what this primary believed of it.
func (p *Primary) readStream(ctx context.Context) (*health.Inventory, error) {
	believed := p.index.Existing()
	stock := &health.Inventory{}
	there := make(map[zone.Name]index.Published, len(believed))
	err := p.Conn.ReadStates(ctx, func(s broker.StateMsg) {
		there[s.Zone] = index.Published{Seq: s.Seq, Header: s.Header}
	})
	if err != nil {
		return nil, err
	}
	for name, now := range there {
		if now.Stands() {
			stock.Add(index.ByContent.Entry(now, name))
		}
		p.index.Set(name, now.Seq, now.Header)
	}
	for name, before := range believed {
		if _, is := there[name]; !is && before.Seq > 0 {
			p.publishLost(ctx, name, before)
		}
	}
	return stock, nil
}

// publishLost publishes a zone anew whose state the broker lost, unless it was published meanwhile.
func (p *Primary) publishLost(ctx context.Context, name zone.Name, before index.Published) {
	if err := p.publisher.refresh(ctx, name); err != nil || p.index.Get(name).Seq != 0 {
		return
	}
	p.Each.Error().Stringer("zone", name).Uint64("seq", before.Seq).
		Msg("the broker lost the zone's state: publishing it anew")
	p.jobs.Add(ctx, name, sweepJob())
}
