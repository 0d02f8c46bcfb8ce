package zone

import (
	"fmt"
	"iter"
	"strings"

	"github.com/miekg/dns"
)

// Aliases yields the names that CNAME and DNAME records lead to.
func (z *Zone) Aliases() iter.Seq[Name] {
	return func(yield func(Name) bool) {
		for r := range z.Records() {
			if typ := r.Type(); typ != dns.TypeCNAME && typ != dns.TypeDNAME {
				continue
			}
			if target, err := NameFromWire(r.Data()); err == nil && !yield(target) {
				return
			}
		}
	}
}

// Computed is what of a zone PowerDNS answers with what it computes when it is asked. A server that was given the zone
// signed computes nothing: it answers NODATA there (PowerDNS 4.7 to 5.1).
type Computed struct {
	Alias, Lua bool // the content has ALIAS, or LUA records

	// Of ALIAS records that the primary PowerDNS replaces as it gives the zone (outgoing-axfr-expand-alias):
	Expanded   int // how many there are
	Unresolved int // address RRsets that are missing because a resolver failed, not because a target has none
}

// Computed finds ALIAS and LUA records.
func (z *Zone) Computed() (c Computed) {
	for r := range z.Records() {
		switch r.Type() {
		case TypeALIAS:
			c.Alias = true
		case TypeLUA:
			c.Lua = true
		}
	}
	return c
}

// Any reports whether there are such records.
func (c Computed) Any() bool { return c.Alias || c.Lua }

// Types names them: "ALIAS", "LUA", "ALIAS and LUA", or "".
func (c Computed) Types() string {
	switch {
	case c.Alias && c.Lua:
		return "ALIAS and LUA"
	case c.Alias:
		return "ALIAS"
	case c.Lua:
		return "LUA"
	}
	return ""
}

// MarshalText gives the types, and both numbers, such as "ALIAS and LUA, 3, 0".
func (c Computed) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%s, %d, %d", c.Types(), c.Expanded, c.Unresolved), nil
}

// UnmarshalText reads what MarshalText gives, and nothing else.
func (c *Computed) UnmarshalText(text []byte) error {
	types, numbers, _ := strings.Cut(string(text), ", ")
	var expanded, unresolved uint16
	if _, err := fmt.Sscanf(numbers, "%d, %d", &expanded, &unresolved); err != nil {
		return fmt.Errorf("%.40q does not say what is computed", text)
	}
	read := Computed{strings.Contains(types, "ALIAS"), strings.Contains(types, "LUA"), int(expanded), int(unresolved)}
	if again, _ := read.MarshalText(); string(again) != string(text) {
		return fmt.Errorf("%.40q does not say what is computed", text)
	}
	*c = read
	return nil
}

// Parent is the name without its first label; the root is its own.
func (n Name) Parent() Name {
	if n == Root {
		return Root
	}
	return n[1+int(n[0]):]
}
