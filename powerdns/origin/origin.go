// Package origin reads the zones of the primary PowerDNS: content by AXFR, and what a zone is from the API.
//
// Nothing in a transfer says whose it is. Another PowerDNS may answer at the address, an old one or a copy, and since
// 5.0 one and the same gives other content to networks that it maps to a view. So each transfer is compared with what
// the API has of the zone, and the two addresses are proven to belong to one process.
package origin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// ErrOther means that what DNS gives is not what the API has; the chain holds an [*OtherError].
var ErrOther = errors.New("transfers do not give the zones of powerdns.api_url")

// OtherError is what was found, and what to do.
type OtherError struct{ Found, Remedy string }

func (e *OtherError) Error() string { return fmt.Sprintf("%v: %s: %s", ErrOther, e.Found, e.Remedy) }

// Unwrap is ErrOther.
func (e *OtherError) Unwrap() error { return ErrOther }

// Reader reads the zones of one PowerDNS. It is safe for concurrent use.
type Reader struct {
	api     *powerdns.Client
	address string
	limit   int
	views   atomic.Bool // networks may be mapped to views while PowerDNS runs, or were when it is started again
	seen    atomic.Bool // PowerDNS sees transfers come from where this host does
}

// New makes a reader of the PowerDNS that has this API and answers DNS at address. limit is of one zone, in bytes.
func New(api *powerdns.Client, address string, limit int) *Reader {
	return &Reader{api: api, address: address, limit: limit}
}

// Transfer takes the zone by AXFR as it comes.
func (r *Reader) Transfer(ctx context.Context, name zone.Name) (*zone.Zone, error) {
	return transfer.FetchSettled(ctx, transfer.FetchOptions{Address: r.address, Limit: r.limit}, name)
}

// attempts bounds how often a zone may change while it is being read.
const attempts = 4

// Read returns the zone's content and the serial that PowerDNS stores for it, which is never newer than the content: a
// sweep relies on it to find edits. Both are read after Read was called, and belong together, or the error is ErrOther.
//
// accept judges what the API says of the zone; its error is returned whatever the transfer gives.
func (r *Reader) Read(ctx context.Context, name zone.Name, accept func(powerdns.ZoneInfo) error) (*zone.Zone, uint32, error) {
	for range attempts {
		z, of, err := r.look(ctx, name, accept)
		if err != nil {
			return nil, 0, err
		}
		if of.fits(z) != nil {
			continue // edited between the two, or the API's cache was older: a transfer clears it (4.7.3 to 5.1.5)
		}
		if of.Serial != of.EditedSerial { // SOA-EDIT can hide an edit between the two
			if z, err = r.Transfer(ctx, name); err != nil {
				return nil, 0, err
			}
		}
		if of.fits(z) == nil {
			return z, of.Serial, r.proveView(ctx)
		}
	}
	return r.readBetween(ctx, name, accept)
}

// readBetween reads a zone that is edited all the time: its serial lies between those of two looks at the API.
func (r *Reader) readBetween(ctx context.Context, name zone.Name, accept func(powerdns.ZoneInfo) error) (*zone.Zone, uint32, error) {
	before, err := r.ask(ctx, name, accept)
	if err != nil {
		return nil, 0, err
	}
	z, err := r.Transfer(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	after, err := r.ask(ctx, name, accept)
	if err != nil {
		return nil, 0, err
	}
	if zone.SerialNewer(before.EditedSerial, z.Serial()) || zone.SerialNewer(z.Serial(), after.EditedSerial) {
		found := fmt.Sprintf("a transfer gives serial %d, the API %d before it and %d after it",
			z.Serial(), before.EditedSerial, after.EditedSerial)
		return nil, 0, fmt.Errorf("zone %s: %w", name, &OtherError{found, sameServer})
	}
	if err := after.sameSOA(z); err != nil && before.sameSOA(z) != nil {
		return nil, 0, fmt.Errorf("zone %s: %w", name, err)
	}
	return z, before.Serial, r.proveView(ctx)
}

// look asks the API and transfers at the same time. What the API says counts first: of a zone that is not there, or not
// accepted, no transfer matters.
func (r *Reader) look(ctx context.Context, name zone.Name, accept func(powerdns.ZoneInfo) error) (z *zone.Zone, of known, err error) {
	transferring, stop := context.WithCancel(ctx)
	defer stop()
	var failed error
	transferred := make(chan struct{})
	go func() {
		defer close(transferred)
		z, failed = r.Transfer(transferring, name)
	}()
	of, err = r.ask(ctx, name, accept)
	if err != nil {
		stop()
	}
	<-transferred
	if err == nil {
		err = failed
	}
	return z, of, err
}

// known is what the API has of a zone.
type known struct {
	powerdns.ZoneInfo
	soa []zone.Record // empty where it cannot be shown
}

func (r *Reader) ask(ctx context.Context, name zone.Name, accept func(powerdns.ZoneInfo) error) (of known, err error) {
	of.ZoneInfo, of.soa, err = r.api.ZoneWithSOA(ctx, name)
	if err == nil {
		err = accept(of.ZoneInfo)
	}
	return of, err
}

// fits reports whether the content is that of the zone.
func (k known) fits(z *zone.Zone) error {
	if z.Serial() != k.EditedSerial {
		return &OtherError{fmt.Sprintf("a transfer gives serial %d, the API %d",
			z.Serial(), k.EditedSerial), sameServer}
	}
	return k.sameSOA(z)
}

func (k known) sameSOA(z *zone.Zone) error {
	if len(k.soa) == 0 || slices.ContainsFunc(k.soa, func(s zone.Record) bool { return zone.SameSOA(s, z.SOA()) }) {
		return nil
	}
	return &OtherError{fmt.Sprintf("a transfer gives the SOA %q, the API %q", z.SOA(), k.soa[0]), sameServer}
}

// sameServer is the remedy.
const sameServer = "set powerdns.dns_address and powerdns.api_url to one and the same PowerDNS, without anything between that answers itself"
