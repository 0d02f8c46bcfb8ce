package operator

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/work"
)

// This file is how leave turns zones from the role to other masters.

const (
	leaveWidth    = 8                // zones on their way at a time
	leavePatience = 30 * time.Second // for the transfer of one zone

	// PowerDNS drops an order while a transfer of the zone runs, and shows when it has checked a zone to the second: so
	// orders are repeated.
	orderPause = 2 * time.Second
	firstLook  = 10 * time.Millisecond
)

// failures are the zones that do not leave, with the reasons.
type failures map[zone.Name]error

// each calls do for zones, several at a time, and adds those that fail.
func (l *leaving) each(ctx context.Context, zones []powerdns.ZoneInfo, failed failures,
	do func(context.Context, powerdns.ZoneInfo) error) {
	var (
		g    errgroup.Group
		mu   sync.Mutex
		done int
	)
	g.SetLimit(leaveWidth)
	for _, z := range zones {
		g.Go(func() error {
			err := do(ctx, z)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[z.Name] = err
			}
			done++
			drawBar(l.progress, done, len(zones))
			return nil
		})
	}
	g.Wait()
}

// askMasters asks each master for each zone, and returns those zones that a master does not have, or has in an older
// version than is served here.
func (l *leaving) askMasters(ctx context.Context, zones []powerdns.ZoneInfo) failures {
	failed := failures{}
	l.each(ctx, zones, failed, func(ctx context.Context, z powerdns.ZoneInfo) error {
		for _, m := range l.masters {
			serial, err := transfer.Serial(ctx, withPort(m), z.Name, transfer.AskOptions{})
			if err != nil {
				return err
			}
			if zone.SerialNewer(z.Serial, serial) {
				return fmt.Errorf("master %s has serial %d, which is older than %d here", m, serial, z.Serial)
			}
		}
		return nil
	})
	return failed
}

// withPort adds the port of DNS where none is given.
func withPort(address string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(address, "53")
}

// pilots is how many zones go alone, one after the other, before leave concludes that none can go.
const pilots = 3

// turnAll turns zones. The first ones go alone until PowerDNS has transferred one: a master that refuses all of them
// must not get all of them.
func (l *leaving) turnAll(ctx context.Context, zones []powerdns.ZoneInfo, failed failures) error {
	var err error
	for n, z := range zones {
		if n == pilots {
			return fmt.Errorf("the first %d zones did not leave, and no others were changed: %w", n, err)
		}
		if err = l.turn(ctx, z); err == nil {
			l.each(ctx, zones[n+1:], failed, l.turn)
			break
		}
		failed[z.Name] = err
	}
	return context.Cause(ctx)
}

// turn makes the zone a secondary of the masters, and returns when PowerDNS has transferred it from there.
func (l *leaving) turn(ctx context.Context, z powerdns.ZoneInfo) error {
	before, err := l.api.Zone(ctx, z.Name)
	if err != nil {
		return err
	}
	if err := l.api.SetMasters(ctx, z.Name, l.masters, l.tsigKey); err != nil {
		return err
	}
	deadline := time.Now().Add(leavePatience)
	for time.Now().Before(deadline) {
		if err := l.api.Retrieve(ctx, z.Name); err != nil {
			return err
		}
		done, err := l.checkedSince(ctx, before)
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("PowerDNS has not transferred it from %s within %s; see PowerDNS's log, and there "+
		"allow-axfr-ips and the TSIG key", l.target(), leavePatience)
}

// checkedSince reports whether PowerDNS has transferred the zone, or found it fresh, since. It looks until the order is
// to be repeated.
func (l *leaving) checkedSince(ctx context.Context, before powerdns.ZoneInfo) (bool, error) {
	for pause := firstLook; pause < orderPause; pause *= 2 {
		now, err := l.api.Zone(ctx, before.Name)
		if err != nil || now.LastCheck > before.LastCheck {
			return err == nil, err
		}
		if !work.Wait(ctx, pause) {
			return false, context.Cause(ctx)
		}
	}
	return false, nil
}

// target names the masters for people.
func (l *leaving) target() string {
	text := strings.Join(l.masters, ", ")
	if l.tsigKey != "" {
		text += " with TSIG key " + l.tsigKey
	}
	return text
}

// report prints the zones that failed, and returns ErrNotInOrder if there are some.
func (l *leaving) report(what string, failed failures) error {
	if len(failed) == 0 {
		return nil
	}
	fmt.Fprintf(l.out, "%d zones %s:\n", len(failed), what)
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		fmt.Fprintf(l.out, "  %s: %v\n", name, failed[name])
	}
	return command.ErrNotInOrder
}
