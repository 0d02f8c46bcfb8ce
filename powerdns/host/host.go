// Package host knows the host that PowerDNS and the role beside it share.
package host

import (
	"net"
	"net/netip"
	"slices"
)

// Has reports whether the address is one of this host. PowerDNS asks from it where query-local-address says so.
func Has(addr netip.Addr) (bool, error) {
	own, err := net.InterfaceAddrs()
	return slices.ContainsFunc(own, func(a net.Addr) bool {
		network, is := a.(*net.IPNet)
		return is && network.IP.Equal(addr.AsSlice())
	}), err
}
