package zone

import (
	"fmt"
	"strings"
)

// ID is how PowerDNS's API writes the zone in paths: the presentation form with the closing dot, everything but ASCII
// letters, digits, '-' and '.' as '=' and two upper-case hex digits; the root is =2E, a lone dot in a path being
// easily lost on the way.
func (n Name) ID() string {
	if n == Root {
		return "=2E"
	}
	name := n.String()
	var id strings.Builder
	for i := range len(name) {
		if c := name[i]; plainInID(c) {
			id.WriteByte(c)
		} else {
			fmt.Fprintf(&id, "=%02X", c)
		}
	}
	return id.String()
}

func plainInID(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-'
}

// ParseID reads a zone id as PowerDNS does: escapes where needed or not, any case, the closing dot optional. The
// error wraps ErrName.
func ParseID(id string) (Name, error) {
	var name strings.Builder
	for i := 0; i < len(id); i++ {
		if id[i] != '=' {
			name.WriteByte(id[i])
			continue
		}
		if i+2 >= len(id) {
			return "", fmt.Errorf("%w: zone id %q ends within an escape", ErrName, id)
		}
		high, low := hexDigit(id[i+1]), hexDigit(id[i+2])
		if high < 0 || low < 0 {
			return "", fmt.Errorf("%w: zone id %q has a bad escape at %d", ErrName, id, i)
		}
		name.WriteByte(byte(high<<4 | low))
		i += 2
	}
	return ParseName(name.String())
}

// hexDigit gives the value of an upper-case hex digit, or -1: PowerDNS 4.7 answers 400 to lower-case ones.
func hexDigit(c byte) int {
	return strings.IndexByte("0123456789ABCDEF", c)
}
