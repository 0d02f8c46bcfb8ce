package primary

import (
	"fmt"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/private"
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
	text, err := private.Read(file)
	if err != nil {
		return nil, fmt.Errorf("primary.sign_key_file: %w", err)
	}
	key, err := zone.ParseSignKey(text)
	if err != nil {
		return nil, fmt.Errorf("primary.sign_key_file: %s: %w; make one with: openssl genpkey -algorithm ed25519",
			file, err)
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

// lacks reports whether a published state is to be signed. One that another primary signed is not.
func (s *signer) lacks(h broker.StateHeader) bool { return s != nil && h.Signer == "" }

// made reports whether it signed the state, with the time in its header.
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
