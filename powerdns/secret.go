package powerdns

import (
	"fmt"
	"io"
)

// Secret is a text that is never shown: whatever the verb, fmt prints *** for it, and so do encoders to JSON, TOML and
// the like. Only [Secret.Reveal] gives it away.
type Secret string

const redacted = "***"

// Reveal returns the text itself, for the one place that has to send it.
func (s Secret) Reveal() string { return string(s) }

// Format makes every verb of fmt print ***, also those that don't fit a string (a bare String method would leave those
// to fmt, which prints the value).
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText gives ***.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText takes the text as it is.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(text)
	return nil
}
