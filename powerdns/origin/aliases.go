package origin

import (
	"context"
	"errors"
	"os"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// Unresolved counts the address RRsets that a transferred zone lacks because the resolver (host:port) fails to find the
// targets of these ALIAS records, which PowerDNS expanded. That a target has no address of that family, or does not
// exist, is no failure. A resolver that is silent once is asked no more.
func Unresolved(ctx context.Context, resolver string, z *zone.Zone, aliases []powerdns.Alias) (missing int) {
	silent := false
	for _, a := range aliases {
		for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
			if records, _ := z.RRset(a.Name, typ); len(records) > 0 {
				continue
			}
			var found bool
			if !silent {
				found, silent = resolves(ctx, resolver, a.Target, typ)
			}
			if !found {
				missing++
			}
		}
	}
	return missing
}

// resolves reports whether the resolver knows what there is, be it nothing.
func resolves(ctx context.Context, resolver string, target zone.Name, typ uint16) (found, silent bool) {
	answer, err := transfer.Ask(ctx, resolver, target, typ, transfer.AskOptions{Recurse: true})
	if err != nil {
		return false, errors.Is(err, os.ErrDeadlineExceeded)
	}
	return answer.Rcode == dns.RcodeSuccess || answer.Rcode == dns.RcodeNameError, false
}
