package secondary

import (
	"fmt"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/node"
)

// verifier believes what is signed with a trusted key. Without trusted keys it believes the broker.
type verifier struct {
	trusted []zone.TrustedKey
	store   *store.Store // knows the newest state of each zone
}

// signed reports whether a key says who published a state, and when.
func (v verifier) signed() bool { return len(v.trusted) > 0 }

// verify decodes a state that the broker delivered. The headers come from the broker: only the time of publication is
// used of them, to put states in order, and must be that of the state.
func (v verifier) verify(name zone.Name, m *broker.FeedMsg) (*zone.State, error) {
	encoded, err := zone.Verify(m.Data, v.trusted)
	if err != nil {
		return nil, v.refuse(err)
	}
	state, err := zone.UnmarshalState(encoded)
	switch {
	case err != nil:
		return nil, err
	case state.Name != name:
		return nil, v.refuse(fmt.Errorf("%w: the message holds the state of zone %s", zone.ErrCorrupt, state.Name))
	case !state.Published.Equal(m.Header.Published):
		return nil, v.refuse(fmt.Errorf("%w: the state was published %s, and the message's header says %s",
			zone.ErrCorrupt, state.Published.Format(timeFormat), m.Header.Published.Format(timeFormat)))
	}
	return state, nil
}

// checkAge refuses what is older than the newest state of the zone that was ever verified here, deleted zones
// included. Without trusted keys there is no need: then the broker is believed.
func (v verifier) checkAge(state *zone.State) error {
	if !v.signed() {
		return nil
	}
	newest, err := v.store.Newest(state.Name)
	if err == nil && state.Published.Before(newest) {
		return v.refuse(fmt.Errorf("the state was published %s, and one published %s was known already: "+
			"the broker was restored from an older copy, or somebody replays old states",
			state.Published.Format(timeFormat), newest.Format(timeFormat)))
	}
	return err
}

// refuse marks what only a compromised broker, or other keys than those that are trusted here, can have brought about.
func (v verifier) refuse(err error) error {
	if !v.signed() {
		return err
	}
	return node.RefusedError{Err: err}
}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"
