package host

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"pdns-distribute/health"
)

// AddressesFile is the drop-in with the addresses that a role may talk to.
const AddressesFile = "addresses.conf"

// peers are the settings that say whom a role talks to, by section and key. Roles that are not here talk to whoever
// comes, or to whoever has a public address.
var peers = map[string][][2]string{
	health.RoleSecondary: {{"broker", "urls"}, {"powerdns", "api_url"}, {"powerdns", "dns_address"}},
	health.RolePrimary: {
		{"broker", "urls"}, {"powerdns", "api_url"}, {"powerdns", "dns_address"}, {"primary", "heartbeat_urls"},
	},
}

// limitAddresses has systemd keep a role from all addresses but those that its configuration names, this host's and
// its resolvers': what breaks into the role gets nowhere else. It is not done unasked: systemd takes addresses and no
// names, so a broker that moves is out of reach until this is done again.
func (p *placing) limitAddresses() error {
	if peers[p.Role] == nil {
		p.note("the addresses of a role %s are not limited: nobody can list whom it talks to", p.Role)
		return nil
	}
	config, err := os.ReadFile(filepath.Join(p.folder, ConfigFile)) // the operator's, where it is in place already
	if err != nil {
		config = p.file(ConfigFile).Content
	}
	var more []string
	if p.Role == health.RolePrimary { // it asks for the targets of ALIAS records itself
		beside, err := p.powerDNS()
		if err != nil {
			return err
		}
		more = append(more, hostOf(beside.resolver))
	}
	allowed, err := p.peerAddresses(p.Role, config, more...)
	if err != nil {
		return err
	}
	if listen := listensAt(config); listen != "" {
		p.note("whoever reads metrics at observe.listen (%s) from elsewhere is kept out, too: allow these addresses by systemctl edit %s",
			listen, p.unit())
	}
	text := fmt.Appendf(nil, "# Whom %s talks to: this host, its resolvers, and what its configuration names. Where one of them changes:\n"+
		"# pdns-distribute install --limit-addresses %s\n[Service]\nIPAddressDeny=any\nIPAddressAllow=localhost\n", p.ID, p.folder)
	for _, address := range allowed {
		text = append(text, allow(address)...)
	}
	return p.placeDropIn(File{AddressesFile, text, 0o644}, "by which it talks to this host alone, and to "+strings.Join(allowed, ", "))
}

// limited reports whether the addresses of a node are limited already: then each installation does it anew.
func (h host) limited(n Node) bool {
	_, err := os.Stat(h.at(filepath.Join(h.dropIn(n), AddressesFile)))
	return err == nil
}

// Missing are the addresses that a role of this host needs, but is kept from by what install --limit-addresses wrote
// earlier. limited is false where the role's addresses are not limited.
func Missing(role, id, config string) (missing []string, limited bool, err error) {
	return thisHost().missing(role, id, config)
}

func (h host) missing(role, id, config string) (missing []string, limited bool, err error) {
	allowed, err := os.ReadFile(h.at(filepath.Join(h.dropIn(Node{ID: id, Role: role}), AddressesFile)))
	if errors.Is(err, fs.ErrNotExist) || peers[role] == nil {
		return nil, false, nil
	}
	text, failed := os.ReadFile(config)
	if err = errors.Join(err, failed); err != nil {
		return nil, true, err
	}
	needed, err := h.peerAddresses(role, text)
	for _, address := range needed {
		if !strings.Contains(string(allowed), allow(address)) {
			missing = append(missing, address)
		}
	}
	return missing, true, err
}

func allow(address string) string { return "IPAddressAllow=" + address + "\n" }

// peerAddresses are the addresses beside loopback that a role with this configuration needs, and those of more hosts, in
// order.
func (h host) peerAddresses(role string, config []byte, more ...string) ([]string, error) {
	named, err := configured(role, config)
	if err != nil {
		return nil, err
	}
	named = slices.DeleteFunc(append(named, more...), func(host string) bool { return host == "" })
	all := h.resolvers()
	for _, name := range named {
		found, err := h.lookup(name)
		if err != nil {
			return nil, fmt.Errorf("%s names %s, whose addresses cannot be found: %w", ConfigFile, name, err)
		}
		all = append(all, found...)
	}
	// PowerDNS may ask for its zones from any address of the host.
	own, err := h.own()
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, address := range append(all, own...) {
		if address = address.Unmap().WithZone(""); !address.IsLoopback() && !address.IsUnspecified() {
			texts = append(texts, address.String())
		}
	}
	slices.Sort(texts)
	return slices.Compact(texts), nil
}

// configured are the hosts that a configuration names as peers of the role.
func configured(role string, config []byte) (hosts []string, err error) {
	var sections map[string]map[string]any
	if err := toml.Unmarshal(config, &sections); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", ConfigFile, err)
	}
	for _, key := range peers[role] {
		switch value := sections[key[0]][key[1]].(type) {
		case string:
			hosts = append(hosts, hostOf(value))
		case []any:
			for _, one := range value {
				hosts = append(hosts, hostOf(fmt.Sprint(one)))
			}
		}
	}
	return hosts, nil
}

// listensAt is the address of /metrics where others than this host reach it, else "".
func listensAt(config []byte) string {
	var sections struct{ Observe struct{ Listen string } }
	if toml.Unmarshal(config, &sections) != nil || sections.Observe.Listen == "" {
		return ""
	}
	host := hostOf(sections.Observe.Listen)
	if address, err := netip.ParseAddr(host); host == "localhost" || err == nil && address.IsLoopback() {
		return ""
	}
	return sections.Observe.Listen
}

// hostOf is the host of a URL, of host:port or of an address alone, "" where there is none, as in unix:/path.
func hostOf(at string) string {
	if _, err := netip.ParseAddr(at); err == nil {
		return at
	}
	if u, err := url.Parse(at); err == nil && u.Host != "" {
		return u.Hostname()
	}
	host, _, err := net.SplitHostPort(at)
	if err != nil || strings.HasPrefix(at, "unix:") {
		return ""
	}
	return host
}

// resolvers are those that this host asks for names.
func (h host) resolvers() (all []netip.Addr) {
	text, err := os.ReadFile(h.at("/etc/resolv.conf"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "nameserver" {
			if address, err := netip.ParseAddr(words[1]); err == nil {
				all = append(all, address)
			}
		}
	}
	return all
}

// lookup finds the addresses of a host name, or takes the one that it is.
func lookup(name string) (all []netip.Addr, err error) {
	found, err := net.LookupHost(name)
	for _, text := range found {
		if address, err := netip.ParseAddr(text); err == nil {
			all = append(all, address)
		}
	}
	return all, err
}

// ownAddresses are those of this host's interfaces.
func ownAddresses() (all []netip.Addr, err error) {
	found, err := net.InterfaceAddrs()
	for _, f := range found {
		if prefix, err := netip.ParsePrefix(f.String()); err == nil {
			all = append(all, prefix.Addr())
		}
	}
	return all, err
}
