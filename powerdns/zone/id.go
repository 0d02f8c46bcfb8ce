package zone

import (
	"fmt"
	"strings"
)

// ID is how PowerDNS's API names the zone in paths: presentation form, where any byte but letters, digits, '.', '-' and
// '_' is written '=' and two upper-case hex digits; the root zone is "=2E" (PowerDNS 4.7 apiZoneNameToId).
func (n Name) ID() string {
	if n == Root {
		return "=2E"
	}
	var id strings.Builder
	for _, c := range []byte(n.String()) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
			id.WriteByte(c)
		default:
			fmt.Fprintf(&id, "=%02X", c)
		}
	}
	return id.String()
}

// ParseID reads a zone id of PowerDNS's API, with or without the closing dot, in any case. Percent escapes must have
// been resolved before.
func ParseID(id string) (Name, error) {
	var s strings.Builder
	for i := 0; i < len(id); i++ {
		c := id[i]
		if c == '=' {
			var b byte
			if n, err := fmt.Sscanf(id[i:min(i+3, len(id))], "=%02X", &b); n != 1 || err != nil || i+2 >= len(id) {
				return "", fmt.Errorf("%w: zone id %q: '=' without two hex digits", ErrName, id)
			}
			c = b
			i += 2
		}
		s.WriteByte(c)
	}
	return ParseName(s.String())
}
