package powerdns

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"pdns-distribute/powerdns/zone"
)

// Network is one whose questions, transfers included, PowerDNS answers by a view: out of other zones of the same names.
type Network struct {
	Prefix netip.Prefix
	View   string
}

// MayHaveViews reports whether the server that these settings are of answers networks by views, or will once it is
// started again with views=yes: release 5.0 or later, with lmdb. Networks lists none as long as it does not.
func MayHaveViews(settings map[string]string) bool {
	_, known := settings["views"]
	return known && strings.Contains(settings["launch"], "lmdb")
}

// Networks lists those that have a view. A server without views may not know the question.
func (c *Client) Networks(ctx context.Context) ([]Network, error) {
	var answer struct {
		Networks []struct {
			Network netip.Prefix `json:"network"`
			View    string       `json:"view"`
		} `json:"networks"`
	}
	if err := c.do(ctx, call{what: "list networks", method: http.MethodGet, path: "/networks"}, into(&answer)); err != nil {
		return nil, err
	}
	networks := make([]Network, 0, len(answer.Networks))
	for _, n := range answer.Networks {
		networks = append(networks, Network{n.Network, n.View})
	}
	return networks, nil
}

// Hearing is what a server remembers of the questions that it was asked lately.
type Hearing struct {
	names  map[string]bool
	askers map[netip.Addr]bool
}

// Heard reports whether the name was asked for.
func (h Hearing) Heard(name zone.Name) bool { return h.names[strings.ToLower(name.String())] }

// HeardFrom reports whether the address asked, as the server sees addresses.
func (h Hearing) HeardFrom(a netip.Addr) bool { return h.askers[a.Unmap()] }

// Hearing reads what the server remembers, some 10,000 questions of each kind. Of those by TCP it remembers only the
// ones that it has no such name or zone for.
func (c *Client) Hearing(ctx context.Context) (Hearing, error) {
	rings, err := c.rings(ctx, "read the questions asked lately")
	if err != nil {
		return Hearing{}, err
	}
	h := Hearing{names: map[string]bool{}, askers: map[netip.Addr]bool{}}
	for ring, entries := range rings {
		if ring == ringOfLog {
			continue
		}
		for _, e := range entries {
			h.note(ring, e.Name)
		}
	}
	return h, nil
}

// note takes one entry of a ring: an address, or a name, mostly followed by a slash and the type.
func (h Hearing) note(ring, entry string) {
	if strings.HasPrefix(ring, "remotes") {
		if a, err := netip.ParseAddr(entry); err == nil {
			h.askers[a.Unmap()] = true
		}
		return
	}
	if cut := strings.LastIndexByte(entry, '/'); cut >= 0 {
		entry = entry[:cut]
	}
	h.names[strings.ToLower(strings.TrimSuffix(entry, "."))+"."] = true
}
