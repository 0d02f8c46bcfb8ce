package secondary

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
)

// ownership knows which zones of PowerDNS are this role's: secondaries of the loopback server and of nothing else. It
// may be used for many zones at a time, but for one zone by one goroutine.
type ownership struct {
	api      *powerdns.Client
	master   string // where PowerDNS finds the loopback server
	takeOver bool   // zones of other kinds are made ours, too
	clean    bool   // zones that nobody published are deleted though they are not ours

	mu sync.Mutex

	// Under mu.
	ours map[zone.Name]time.Time // since when
}

// ensure makes the zone ours, whatever it was, and reports whether it was created.
func (o *ownership) ensure(ctx context.Context, name zone.Name) (created bool, err error) {
	if o.isOurs(name) {
		return false, nil
	}
	err = o.api.CreateZone(ctx, name, powerdns.Slave, []string{o.master})
	if errors.Is(err, powerdns.ErrExists) {
		return false, o.adoptZone(ctx, name)
	}
	if err != nil {
		return false, err
	}
	o.remember(name)
	return true, nil
}

// adoptZone makes a zone that exists ours. Secondary zones of another master are pointed here; zones of another kind
// are somebody's own, and only taken when the operator says so. Their keys go: what they are given is signed already.
func (o *ownership) adoptZone(ctx context.Context, name zone.Name) error {
	info, err := o.api.Zone(ctx, name)
	if err != nil {
		return err
	}
	switch {
	case o.owns(info):
	case info.Kind != powerdns.Slave && !o.takeOver:
		return fmt.Errorf("PowerDNS here has zone %s of its own (kind %s): is this the right PowerDNS? "+
			"Delete the zone there, or set secondary.take_over", name, info.Kind)
	default:
		if err := o.api.MakeSlave(ctx, name, []string{o.master}); err != nil {
			return err
		}
		if err := o.deleteKeys(ctx, name); err != nil {
			return err
		}
	}
	o.remember(name)
	return nil
}

func (o *ownership) deleteKeys(ctx context.Context, name zone.Name) error {
	keys, err := o.api.Cryptokeys(ctx, name)
	if err != nil {
		return err
	}
	for _, id := range keys {
		if err := o.api.DeleteCryptokey(ctx, name, id); err != nil && !errors.Is(err, powerdns.ErrNotFound) {
			return err
		}
	}
	return nil
}

// owns reports whether the zone is a secondary of the loopback server and of nothing else.
func (o *ownership) owns(info powerdns.ZoneInfo) bool {
	return info.Kind == powerdns.Slave && slices.Equal(info.Masters, []string{withoutPort53(o.master)})
}

// mayDelete reports whether the zone is deleted if nobody publishes it.
func (o *ownership) mayDelete(info powerdns.ZoneInfo) bool { return o.clean || o.owns(info) }

// withoutPort53 writes an address as PowerDNS reads it back.
func withoutPort53(address string) string {
	if host, port, err := net.SplitHostPort(address); err == nil && port == "53" {
		return host
	}
	return address
}

// adopt takes what PowerDNS listed, from begin on, as the truth about which zones are ours, and returns those with
// their serials.
func (o *ownership) adopt(zones []powerdns.ZoneInfo, begin time.Time) map[zone.Name]uint32 {
	serials := make(map[zone.Name]uint32, len(zones))
	ours := make(map[zone.Name]time.Time, len(zones))
	for _, info := range zones {
		if o.owns(info) {
			ours[info.Name] = begin
			serials[info.Name] = info.Serial
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, since := range o.ours {
		if since.After(begin) {
			ours[name] = since
		}
	}
	o.ours = ours
	return serials
}

func (o *ownership) isOurs(name zone.Name) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, is := o.ours[name]
	return is
}

func (o *ownership) remember(name zone.Name) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ours[name] = time.Now()
}

// forget has ensure look again.
func (o *ownership) forget(name zone.Name) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.ours, name)
}
