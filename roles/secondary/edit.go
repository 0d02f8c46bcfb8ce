package secondary

import (
	"context"
	"slices"
	"strings"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// A large unsigned zone in which little changed is not transferred but edited through the API: PowerDNS takes seconds
// for a transfer of 100,000 records and milliseconds for an edit of some (4.7.3). Signed zones are never edited,
// because their chains of denial would break.
const (
	editFrom = 5000 // records: smaller zones are transferred as fast
	editMost = 64   // RRsets in one edit
)

// editReleases are the PowerDNS releases for which TestEditsAreTransfers has shown that an edit is served as a
// transfer of the same version is. With any other all is transferred: an edit that proves wrong was served wrong.
var editReleases = []string{"4.7.", "4.9.", "5.1."}

func editsProven(version string) bool {
	return slices.ContainsFunc(editReleases, func(release string) bool { return strings.HasPrefix(version, release) })
}

// tryEdit has PowerDNS edit what it serves into the zone, where that is enough, and reports whether PowerDNS answers
// with it. False: it is to be transferred.
func (s *Secondary) tryEdit(ctx context.Context, state *zone.State, z *zone.Zone) (edited bool, err error) {
	edits, ok := s.edits(state, z)
	if !ok {
		return false, nil
	}
	err = s.applier.edit(ctx, z, edits)
	if err == nil || ctx.Err() != nil {
		return err == nil, err
	}
	s.Each.Info().Err(err).Stringer("zone", state.Name).Msg("failed to edit the zone, transferring it")
	s.held.forget(state.Name)
	return false, nil
}

// edits returns the RRsets to change in what PowerDNS serves, false when the zone must be transferred: also where it
// is not proven what PowerDNS serves, as after a restart, because an edit leaves all else as it is.
func (s *Secondary) edits(state *zone.State, z *zone.Zone) ([]zone.Edit, bool) {
	if state.Records < editFrom || state.Expires != 0 || !editsProven(s.powerdns.RunningVersion()) {
		return nil, false
	}
	held, err := s.store.State(state.Name)
	if err != nil || held.Gone || held.Expires != 0 || !s.held.proves(held) {
		return nil, false
	}
	old, err := s.store.Zone(state.Name)
	if err != nil {
		return nil, false
	}
	return z.Edits(old, editMost)
}

// edit has PowerDNS change these RRsets and returns when it answers with them past its caches. Whatever goes wrong, a
// transfer puts it right.
func (a *applier) edit(ctx context.Context, z *zone.Zone, edits []zone.Edit) error {
	sets, err := rrsets(edits)
	if err != nil {
		return err
	}
	if err := a.api.Patch(ctx, z.Name(), sets); err != nil {
		return err
	}
	return transfer.NewEditProof(a.dns, z, edits).Await(ctx, firstPause, commitPatience)
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
