package primary

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/origin"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/node"
)

var (
	// errNotHere says that PowerDNS positively has no such zone, or none that is to be distributed.
	errNotHere = errors.New("not a zone to be distributed")

	// errOtherKind is the errNotHere of a zone that PowerDNS has, as something else.
	errOtherKind = fmt.Errorf("%w: its kind", errNotHere)

	// errDisagree says that PowerDNS's API has no zone that its DNS has.
	errDisagree = errors.New("PowerDNS's API says that there is no such zone, and its DNS answers with it; " +
		"are powerdns.api_url and powerdns.dns_address the same server?")
)

// source reads zones out of PowerDNS. It is safe for concurrent use.
type source struct {
	cfg     config.PrimaryConfig
	api     *powerdns.Client
	origin  *origin.Reader
	address string        // of PowerDNS's DNS, host:port
	lag     *lagging      // what it gives that looks old
	reasons *node.Reasons // why PowerDNS does not give a zone

	expansion *expansion // of ALIAS records
}

func newSource(cfg config.Config, api *powerdns.Client, reasons *node.Reasons) *source {
	address := cfg.PowerDNS.DNSAddress
	s := &source{
		cfg: cfg.Primary, api: api, origin: origin.New(api, address, cfg.Primary.MaxZoneMB<<20), address: address,
		lag: newLagging(), reasons: reasons, expansion: newExpansion(cfg.Primary.AliasInterval),
	}
	s.lag.proven = cfg.Primary.Replicated
	return s
}

// reading is a zone as PowerDNS gave it.
type reading struct {
	zone     *zone.Zone
	stored   uint32           // serial that PowerDNS stores, never newer than the content
	aliases  []powerdns.Alias // records that it has expanded
	computed zone.Computed
	took     time.Duration
}

// read returns the zone as PowerDNS has it. Content and settings are those of after the call, so a touch is settled by
// both: a zone whose kind was changed is not here any more, which is errNotHere.
func (s *source) read(ctx context.Context, name zone.Name) (r reading, err error) {
	begin := time.Now()
	var unlisted error
	var listing sync.WaitGroup // of the records that PowerDNS expands as it transfers the zone
	if s.expansion.get().On {
		listing.Go(func() { r.aliases, unlisted = s.api.Aliases(ctx, name) })
	}
	r.zone, r.stored, err = s.origin.Read(ctx, name, s.accept)
	listing.Wait()
	if err = notHere(err); err != nil {
		return r, s.explain(ctx, name, r.aliases, err)
	}
	if unlisted != nil {
		return r, unlisted
	}
	r.took = time.Since(begin)
	r.computed = r.zone.Computed()
	r.computed.Expanded = min(len(r.aliases), math.MaxUint16)
	unresolved := origin.Unresolved(ctx, s.expansion.get().Resolver, r.zone, r.aliases)
	r.computed.Unresolved = min(unresolved, math.MaxUint16)
	return r, nil
}

// explain returns an error with what is known of its cause, unless the zone is elsewhere.
func (s *source) explain(ctx context.Context, name zone.Name, aliases []powerdns.Alias, err error) error {
	if errors.Is(err, errNotHere) || errors.Is(err, origin.ErrOther) {
		return err
	}
	return s.reasons.Explain(ctx, name, explainAliases(aliases, err))
}

// info returns what PowerDNS knows of a zone that is to be distributed, and errNotHere of any other.
func (s *source) info(ctx context.Context, name zone.Name) (powerdns.ZoneInfo, error) {
	info, err := s.api.Zone(ctx, name)
	if err == nil {
		err = s.accept(info)
	}
	return info, notHere(err)
}

func notHere(err error) error {
	if errors.Is(err, powerdns.ErrNotFound) {
		return fmt.Errorf("%w: %w", errNotHere, err)
	}
	return err
}

// accept returns errOtherKind for a zone that is not to be distributed.
func (s *source) accept(info powerdns.ZoneInfo) error {
	if !s.cfg.Distributes(info) {
		return fmt.Errorf("%w is %s", errOtherKind, info.Kind)
	}
	return nil
}

// list returns all zones that PowerDNS has, with what the scope asks for, or an error if that is not certain.
func (s *source) list(ctx context.Context, scope sweepScope) ([]powerdns.ZoneInfo, error) {
	if scope == servedScope {
		return s.api.ServedZones(ctx)
	}
	return s.api.Zones(ctx)
}

// isGone returns errNotHere for what is positively not here, by PowerDNS's API and DNS.
func (s *source) isGone(ctx context.Context, name zone.Name) error {
	_, err := s.info(ctx, name)
	if !errors.Is(err, errNotHere) || errors.Is(err, errOtherKind) {
		return err
	}
	switch proof := transfer.ProveGone(ctx, s.address, name); {
	case errors.Is(proof, transfer.ErrNotServed):
		return errDisagree
	case proof != nil:
		return fmt.Errorf("%w: %w", powerdns.ErrUnavailable, proof)
	}
	return err
}
