package main

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// smallZone is the content of a usual zone: 33 records with SOA and NS.
func smallZone(name zone.Name) []powerdns.RRset {
	sets := []powerdns.RRset{
		{Name: name, Type: "SOA", TTL: 3600, Content: []string{"ns1.example.net. hostmaster.example.net. 1 10800 3600 604800 3600"}},
		{Name: name, Type: "NS", TTL: 3600, Content: []string{"ns1.example.net.", "ns2.example.net."}},
		{Name: name, Type: "MX", TTL: 3600, Content: []string{"10 mail.example.net."}},
		{Name: name, Type: "TXT", TTL: 3600, Content: []string{`"round 0"`}},
	}
	for i := range 28 {
		host := zone.MustParseName(fmt.Sprintf("host%02d.%s", i, name))
		sets = append(sets, powerdns.RRset{Name: host, Type: "A", TTL: 3600, Content: []string{fmt.Sprintf("192.0.2.%d", i+1)}})
	}
	return sets
}

func create(ctx context.Context, api *powerdns.Client, name zone.Name, sets []powerdns.RRset) error {
	return api.CreateZoneWith(ctx, powerdns.ZoneSpec{Name: name, Kind: powerdns.Native, RRsets: sets, SOAEditAPI: "INCREASE"})
}

// change gives the zone's TXT record another text.
func change(ctx context.Context, api *powerdns.Client, name zone.Name, round int) error {
	return api.Patch(ctx, name, []powerdns.RRset{{Name: name, Type: "TXT", TTL: 3600, Content: []string{fmt.Sprintf(`"round %d"`, round)}}})
}

// follow makes the server a secondary of the primary PowerDNS for the zone, without pdns-distribute.
func follow(ctx context.Context, s, primary *local.Server, name zone.Name) error {
	api, err := s.Client()
	if err != nil {
		return err
	}
	if err := api.CreateZone(ctx, name, powerdns.Slave, []string{primary.DNSAddr}); err != nil {
		return err
	}
	if err := api.Retrieve(ctx, name); err != nil {
		return err
	}
	return awaitZone(ctx, s.DNSAddr, name)
}

// awaitZone asks until the zone is served.
func awaitZone(ctx context.Context, address string, name zone.Name) error {
	for {
		answer, err := transfer.Ask(ctx, address, name, dns.TypeSOA, transfer.AskOptions{Unique: true})
		if err == nil && answer.AA && len(answer.Answer) == 1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not serve %s: %w", address, name, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// notifyTo has the primary send NOTIFY for the zone to the address, which is done by a metadata setting.
func notifyTo(ctx context.Context, primary *powerdns.Client, name zone.Name, address string) error {
	if err := primary.SetMetadata(ctx, name, "ALSO-NOTIFY", []string{address}); err != nil {
		return err
	}
	return primary.SetKind(ctx, name, powerdns.Master)
}
