package secondary

import (
	"context"
	"errors"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/node"
)

// What a secondary has is counted at four places, none of which is asked for what another one has: what was proven to
// this process, the file of its store, the listing of PowerDNS, and what PowerDNS answers. A review counts the second
// and third ([reviewed]).

// sources are what a secondary answers checks from.
func (s *Secondary) sources() map[health.Source]node.Source {
	return map[health.Source]node.Source{
		health.Served:   {Count: s.countServed, Look: s.lookAtServed, Leaves: s.leaves},
		health.Stored:   {Count: s.reviewed.store.Get, Look: s.lookAtStore},
		health.PowerDNS: {Count: s.reviewed.listing.Get, Look: s.lookAtPowerDNS},
		health.DNS:      {Look: s.lookAtDNS, Names: s.reviewed.names},
	}
}

// names are the zones of a bucket that the store or PowerDNS's listing had.
func (r *reviewed) names(bucket int) (names []zone.Name) {
	known := map[zone.Name]bool{}
	for _, s := range []*node.Stock{r.store, r.listing} {
		zones := s.Last()
		if zones == nil {
			continue
		}
		for _, e := range zones.In(bucket) {
			if !known[e.Zone] && len(names) < node.MaxAsked {
				names = append(names, e.Zone)
			}
			known[e.Zone] = true
		}
	}
	return names
}

var errPowerDNSAway = errors.New("PowerDNS is away")

// countServed is what PowerDNS is known to serve, and, without a version, what it had besides at the last review.
func (s *Secondary) countServed(context.Context, time.Duration) (*health.Inventory, time.Duration, error) {
	if !s.powerdns.IsUp() {
		return nil, 0, errPowerDNSAway
	}
	return s.inventory(), 0, nil
}

func (s *Secondary) inventory() *health.Inventory {
	stock := &health.Inventory{}
	extra := s.reviewed.findings().extra
	held := s.held.all() // read last: what is extra no more is held by then
	for name, h := range held {
		stock.Add(h.entry(name))
	}
	for name, serial := range extra {
		if _, is := held[name]; !is {
			stock.Add(health.Entry{Zone: name, Serial: serial})
		}
	}
	return stock
}

func (h holding) entry(name zone.Name) health.Entry {
	return health.Entry{Zone: name, Version: health.VersionOf(name, h.digest, h.stable), Serial: h.serial}
}

func entryOf(state *zone.State) health.Entry {
	version := health.VersionOf(state.Name, state.Digest, state.Stable)
	return health.Entry{Zone: state.Name, Version: version, Serial: state.Serial}
}

func (s *Secondary) lookAtServed(_ context.Context, name zone.Name) (*health.Entry, error) {
	h, is := s.held.get(name)
	if !is {
		return nil, nil
	}
	e := h.entry(name)
	return &e, nil
}

func (s *Secondary) lookAtStore(_ context.Context, name zone.Name) (*health.Entry, error) {
	state, err := s.store.State(name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e := entryOf(state)
	return &e, nil
}

func (s *Secondary) lookAtPowerDNS(ctx context.Context, name zone.Name) (*health.Entry, error) {
	return lookAtListed(ctx, s.applier.api, name)
}

func lookAtListed(ctx context.Context, api *powerdns.Client, name zone.Name) (*health.Entry, error) {
	info, err := api.Zone(ctx, name)
	if errors.Is(err, powerdns.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e := health.BySerial(name, info.Serial)
	return &e, nil
}

func (s *Secondary) lookAtDNS(ctx context.Context, name zone.Name) (*health.Entry, error) {
	return node.LookAtAnswers(ctx, s.applier.dns, name)
}

// leaves reports whether the entry is a zone that PowerDNS was said to have besides, and that may stay there.
func (s *Secondary) leaves(ctx context.Context, e health.Entry) bool {
	return e.Version == health.Version{} && !s.isExtra(ctx, e.Zone)
}

// isExtra looks again: the zone may have been published, or deleted, since PowerDNS was asked for its list.
func (s *Secondary) isExtra(ctx context.Context, name zone.Name) bool {
	if s.source.staged(name) != nil {
		return false
	}
	if _, err := s.store.State(name); !errors.Is(err, store.ErrNotFound) {
		return false
	}
	info, err := s.applier.api.Zone(ctx, name)
	return err == nil && s.applier.mayDelete(info)
}

// listed are the zones of a listing that this role made, or that it deletes if nobody published them.
func (s *Secondary) listed(zones []powerdns.ZoneInfo) *health.Inventory {
	stock := &health.Inventory{}
	for _, info := range zones {
		if s.applier.mayDelete(info) {
			stock.Add(health.BySerial(info.Name, info.Serial))
		}
	}
	return stock
}
