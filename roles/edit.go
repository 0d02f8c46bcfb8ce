package roles

import (
	"context"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// A large unsigned zone in which little changed is not transferred but edited through the API: PowerDNS takes seconds for
// a transfer of 100,000 records and milliseconds for an edit of some (4.7.3). Signed zones are never edited, because their
// chains of denial would break.
const (
	editFrom = 5000 // records: smaller zones are transferred as fast
	editMost = 64   // RRsets in one edit
)

// edits returns the RRsets to change in what PowerDNS serves, false when the zone must be transferred: also where it is
// not proven what PowerDNS serves, as after a restart, because an edit leaves all else as it is.
func (s *Secondary) edits(state *zone.State, z *zone.Zone) ([]zone.Edit, bool) {
	if state.Records < editFrom || state.Expires != 0 {
		return nil, false
	}
	held, err := s.store.State(state.Name)
	if err != nil || held.Gone || held.Expires != 0 || !s.proves(held) {
		return nil, false
	}
	old, err := s.store.Zone(state.Name)
	if err != nil {
		return nil, false
	}
	return z.Edits(old, editMost)
}

// edit has PowerDNS change these RRsets and returns when it answers with them. Whatever goes wrong, a transfer puts it
// right.
func (a *applier) edit(ctx context.Context, z *zone.Zone, edits []zone.Edit) error {
	sets, err := rrsets(edits)
	if err != nil {
		return err
	}
	if err := a.api.Patch(ctx, z.Name(), sets); err != nil {
		return err
	}
	if err := transfer.NewEditProof(a.dns, z, edits).Await(ctx, firstPause, commitPatience); err != nil {
		return err
	}
	if !a.isCaching() { // PowerDNS empties its packet cache before it answers a PATCH
		return nil
	}
	return a.flush(ctx, z.Name())
}

func rrsets(edits []zone.Edit) ([]powerdns.RRset, error) {
	sets := make([]powerdns.RRset, 0, len(edits))
	for _, e := range edits {
		set := powerdns.RRset{Name: e.Owner, Type: e.TypeName()}
		for _, r := range e.Records {
			content, err := r.Content()
			if err != nil {
				return nil, err
			}
			set.TTL, set.Content = r.TTL(), append(set.Content, content)
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// bring has PowerDNS serve the offered version, by an edit where that is enough and else by a transfer.
func (s *Secondary) bring(ctx context.Context, state *zone.State, o *offer) error {
	if edits, ok := s.edits(state, o.zone); ok {
		err := s.apply.edit(ctx, o.zone, edits)
		if err == nil || ctx.Err() != nil {
			return err
		}
		s.each.Info().Err(err).Stringer("zone", state.Name).Msg("the zone could not be edited; it is transferred")
		s.unsure(state.Name)
	}
	return s.apply.apply(ctx, o, s.before(state.Name))
}
