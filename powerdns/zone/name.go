package zone

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/miekg/dns"
)

// Name is a domain name in canonical wire form: length-prefixed labels, US-ASCII letters in lower case, no
// compression, ended by the root label (RFC 1035 §3.1, RFC 4034 §6.2). It is comparable, so two spellings of one
// name are one map key. The zero value is no name.
type Name string

// Root is the name of the root zone.
const Root = Name("\x00")

// maxName is the longest name in wire form, in bytes (RFC 1035 §2.3.4).
const maxName = 255

// ErrName is wrapped by the errors of functions that read names.
var ErrName = errors.New("not a domain name")

// ParseName reads a name in presentation form, with or without the closing dot, escapes as in RFC 1035 §5.1.
func ParseName(s string) (Name, error) {
	if s == "" {
		return "", fmt.Errorf("%w: empty", ErrName)
	}
	var buf [maxName + 1]byte
	n, err := dns.PackDomainName(dns.Fqdn(s), buf[:], 0, nil, false)
	if err != nil {
		return "", fmt.Errorf("%w: %q: %w", ErrName, s, err)
	}
	if n > maxName {
		return "", fmt.Errorf("%w: %q is %d bytes long, %d are allowed", ErrName, s, n, maxName)
	}
	lower(buf[:n])
	return Name(buf[:n]), nil
}

// MustParseName is ParseName for names written in the program's own code; it panics on a bad one.
func MustParseName(s string) Name {
	n, err := ParseName(s)
	if err != nil {
		panic(err)
	}
	return n
}

// NameFromWire checks that b is exactly one uncompressed name and returns it in lower case.
func NameFromWire(b []byte) (Name, error) {
	n, rest, err := cutName(b)
	if err != nil {
		return "", err
	}
	if len(rest) > 0 {
		return "", fmt.Errorf("%w: %d bytes after its end", ErrName, len(rest))
	}
	low := bytes.Clone(n)
	lower(low)
	return Name(low), nil
}

// String is the presentation form with the closing dot.
func (n Name) String() string {
	if n == "" {
		return ""
	}
	s, _, err := dns.UnpackDomainName([]byte(n), 0)
	if err != nil {
		return fmt.Sprintf("<bad name %q>", string(n))
	}
	return s
}

// Labels yields the labels from the leftmost to the one before the root, as raw bytes.
func (n Name) Labels() []string {
	var labels []string
	for i := 0; i < len(n) && n[i] != 0; i += 1 + int(n[i]) {
		labels = append(labels, string(n[i+1:i+1+int(n[i])]))
	}
	return labels
}

// Under reports whether n is parent or lies below it.
func (n Name) Under(parent Name) bool { return under(n, parent) }

func under[T Name | []byte](name T, parent Name) bool {
	cut := len(name) - len(parent)
	if cut < 0 || string(name[cut:]) != string(parent) {
		return false
	}
	i := 0
	for i < cut {
		i += 1 + int(name[i])
	}
	return i == cut // the suffix begins at a label, not inside one
}

// MarshalText is String.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText is ParseName.
func (n *Name) UnmarshalText(b []byte) error {
	p, err := ParseName(string(b))
	if err == nil {
		*n = p
	}
	return err
}

// cutName splits an uncompressed name off the front of b, as it stands.
func cutName(b []byte) (name, rest []byte, err error) {
	for i := 0; i < len(b) && i < maxName; {
		switch l := int(b[i]); {
		case l == 0:
			return b[:i+1], b[i+1:], nil
		case l > 63:
			return nil, nil, fmt.Errorf("%w: label type %#x", ErrName, l)
		default:
			i += 1 + l
		}
	}
	return nil, nil, fmt.Errorf("%w: no end within %d bytes", ErrName, min(len(b), maxName))
}

// lower turns US-ASCII letters to lower case in place. Length bytes are below 'A', so whole wire names may be given.
func lower(b []byte) {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
}
