package roles

import (
	"errors"
	"fmt"
	"os"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
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
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("primary.sign_key_file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("primary.sign_key_file: %s (mode %04o) is readable by others than its owner; run: chmod 600 %s", file, mode, file)
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

// decodePublished decodes a state for a primary, which believes the broker in what it published.
func decodePublished(data []byte) (*zone.State, error) {
	encoded, err := zone.Verify(data, nil)
	if err != nil {
		return nil, err
	}
	return zone.UnmarshalState(encoded)
}

// errReplayed says that a state is properly signed and older than what the store was given before.
var errReplayed = errors.New("older than what was applied here; the broker went back, or somebody plays back what was published before")

// read verifies a state that the broker delivered, and decodes it. Its headers are the broker's word: only the time of
// publication is used of them, to put states in order, and must be that of the state.
func (s *Secondary) read(name zone.Name, m *broker.FeedMsg) (*zone.State, error) {
	encoded, err := zone.Verify(m.Data, s.trusted)
	if errors.Is(err, zone.ErrUnverified) {
		return nil, fmt.Errorf("%w; it is not applied, and the zone is served as it was. If a primary has a new key, add it to secondary.trusted_keys; if not, somebody has broken into the broker", err)
	}
	if err != nil {
		return nil, err
	}
	state, err := zone.UnmarshalState(encoded)
	switch {
	case err != nil:
		return nil, err
	case state.Name != name:
		return nil, fmt.Errorf("%w: the state of %s holds %s", zone.ErrCorrupt, name, state.Name)
	case !state.Published.Equal(m.Header.Published):
		return nil, fmt.Errorf("%w: the state of %s was published at another time than its header says", zone.ErrCorrupt, name)
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
		return fmt.Errorf("the state of %s, published %s, is %w (%s)", state.Name, state.Published.Format(timeFormat), errReplayed, newest.Format(timeFormat))
	}
	return err
}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"
