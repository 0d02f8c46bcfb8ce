package roles

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/private"
)

// signer signs states with a primary's key. The nil signer leaves them as they are.
type signer struct {
	key    zone.SignKey
	public string
}

// readSigner reads the key file; there is no signer where none is named.
func readSigner(file string) (*signer, error) {
	if file == "" {
		return nil, nil
	}
	if err := private.Check(file); err != nil {
		return nil, fmt.Errorf("primary.sign_key_file: %w", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("primary.sign_key_file: %w", err)
	}
	key, err := zone.ParseSignKey(text)
	if err != nil {
		return nil, fmt.Errorf("primary.sign_key_file: %s: %w; make one with: openssl genpkey -algorithm ed25519", file, err)
	}
	return &signer{key, key.Public().String()}, nil
}

// SigningKey reads a key file as the primary does, and returns its public half as secondary.trusted_keys has it.
func SigningKey(file string) (public string, err error) {
	s, err := readSigner(file)
	if err != nil {
		return "", err
	}
	return s.public, nil
}

// sign signs an encoded state, and says so in its header.
func (s *signer) sign(state []byte, header *broker.StateHeader) []byte {
	if s == nil {
		return state
	}
	header.Signer = s.public
	return s.key.Sign(state)
}

// lacks tells whether a published state is to be signed. One that another primary signed is not.
func (s *signer) lacks(h broker.StateHeader) bool { return s != nil && h.Signer == "" }

// farAhead is more than clocks differ by that a clock signal keeps.
const farAhead = time.Hour

// dated is when the zone's next state is published: later than the one before, whatever the clock says, because secondaries
// take nothing older. The time of that one is the broker's word, though. One far ahead is believed only where this primary
// signed it: else a broker could have it sign times that no true state reaches in years.
func (p *Primary) dated(ctx context.Context, name zone.Name, before published) (time.Time, error) {
	now := time.Now()
	at := before.after(now)
	if p.signer == nil || at.Sub(now) < farAhead {
		return at, nil
	}
	last, err := p.conn.LastState(ctx, name)
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return now, nil
	case err != nil:
		return at, err
	case last.Header.Published.Equal(before.header.Published) && p.signer.made(last):
		return at, nil
	}
	p.each.Error().Stringer("zone", name).Time("published", before.header.Published).
		Msg("the state on the broker is dated far ahead, and this primary did not sign it: somebody else writes there, or another primary's clock is wrong")
	return now, nil
}

// made tells whether it signed the state, with the time in its header.
func (s *signer) made(m broker.StateMsg) bool {
	encoded, err := zone.Verify(m.Data, []zone.TrustedKey{s.key.Public()})
	if err != nil {
		return false
	}
	state, err := zone.UnmarshalState(encoded)
	return err == nil && state.Name == m.Zone && state.Published.Equal(m.Header.Published)
}

// decodePublished decodes a state for a primary, which believes the broker in what it published.
func decodePublished(data []byte) (*zone.State, error) {
	encoded, err := zone.Verify(data, nil)
	if err != nil {
		return nil, err
	}
	return zone.UnmarshalState(encoded)
}

// refusedError is why a state is not applied: it may be forged. The zone goes on being served as it was.
type refusedError struct{ error }

func (e refusedError) Unwrap() error { return e.error }

// read verifies a state that the broker delivered, and decodes it. Its headers are the broker's word: only the time of
// publication is used of them, to put states in order, and must be that of the state.
func (s *Secondary) read(name zone.Name, m *broker.FeedMsg) (*zone.State, error) {
	encoded, err := zone.Verify(m.Data, s.trusted)
	if err != nil {
		return nil, s.refuse(err)
	}
	state, err := zone.UnmarshalState(encoded)
	switch {
	case err != nil:
		return nil, err
	case state.Name != name:
		return nil, s.refuse(fmt.Errorf("%w: it is the state of %s", zone.ErrCorrupt, state.Name))
	case !state.Published.Equal(m.Header.Published):
		return nil, s.refuse(fmt.Errorf("%w: it was published %s, and its header says otherwise", zone.ErrCorrupt, state.Published.Format(timeFormat)))
	}
	return state, nil
}

// checkAge refuses what is older than the newest that was ever verified here, deleted zones included. Without trusted keys
// there is no need: then the broker is believed.
func (s *Secondary) checkAge(state *zone.State) error {
	if len(s.trusted) == 0 {
		return nil
	}
	newest, err := s.store.Newest(state.Name)
	if err == nil && state.Published.Before(newest) {
		return s.refuse(fmt.Errorf("it was published %s, and one of %s was here already: the broker went back, or somebody plays back what was once published",
			state.Published.Format(timeFormat), newest.Format(timeFormat)))
	}
	return err
}

// refuse marks what only a broken-in broker, or other keys than those that are trusted here, can have brought about.
func (s *Secondary) refuse(err error) error {
	if len(s.trusted) == 0 {
		return err
	}
	return refusedError{err}
}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"
