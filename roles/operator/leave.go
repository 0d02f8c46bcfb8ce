package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
)

// Leave is the command leave: the zones that PowerDNS takes from the secondary role beside it become plain secondaries
// of other masters. It needs PowerDNS alone, no broker. What is done is seen in PowerDNS, so it can be killed at any
// time and run again.
func Leave(ctx context.Context, in command.Invocation) error {
	l, err := newLeaving(in)
	if err != nil {
		return err
	}
	if err := l.checkKey(ctx); err != nil {
		return err
	}
	if !in.Options.Bool("confirm") {
		return l.preview(ctx)
	}
	return l.leave(ctx)
}

// leaving is one run of the command.
type leaving struct {
	api     *powerdns.Client
	node    string
	role    string   // where PowerDNS finds the zones of the role
	masters []string // of which the zones become secondaries
	tsigKey string   // "" for none
	copy    string   // the file with the role's copy of all zones

	out      io.Writer
	progress io.Writer // gets a bar
}

func newLeaving(in command.Invocation) (*leaving, error) {
	if found, err := config.RolesIn(in.Settings.File); err == nil && !slices.Contains(found, health.RoleSecondary) {
		return nil, command.Misuse("leave: the configuration is that of another role: " +
			"use that of the secondary here by --config")
	}
	cfg, err := config.Load(in.Settings, "powerdns", "secondary")
	if err != nil {
		return nil, err
	}
	masters := in.Options.StringSlice("master")
	if len(masters) == 0 {
		return nil, command.Misuse("leave: name the address of the master that the zones are to follow, " +
			"such as --master 192.0.2.1")
	}
	for _, m := range masters {
		if !isAddress(m) {
			return nil, command.Misuse("leave: --master %q is neither an IP address nor one with a port, "+
				"such as 192.0.2.1 or [2001:db8::1]:5353", m)
		}
		if m == cfg.Secondary.TransferListen {
			return nil, command.Misuse("leave: --master %s is the role that the zones are to leave", m)
		}
	}
	api, err := powerdns.NewClient(cfg.PowerDNS)
	return &leaving{
		api: api, node: cfg.Node.ID, role: cfg.Secondary.TransferListen,
		masters: masters, tsigKey: in.Options.String("tsig-key"),
		copy: store.File(cfg.Secondary.StateDir), out: in.Stdout, progress: terminal(in.Stderr),
	}, err
}

func isAddress(master string) bool {
	host, _, err := net.SplitHostPort(master)
	if err != nil {
		host = master
	}
	return net.ParseIP(host) != nil
}

// checkKey looks whether PowerDNS has the TSIG key.
func (l *leaving) checkKey(ctx context.Context) error {
	if l.tsigKey == "" {
		return nil
	}
	name, err := zone.ParseName(l.tsigKey)
	if err != nil {
		return command.Misuse("leave: --tsig-key %q is not the name of a key: %v", l.tsigKey, err)
	}
	keys, err := l.api.TSIGKeys(ctx)
	if err == nil && !slices.Contains(keys, name) {
		err = fmt.Errorf("PowerDNS here has no TSIG key %s; with the algorithm and the secret that the master has, "+
			"run: pdnsutil import-tsig-key %s ALGORITHM SECRET", l.tsigKey, l.tsigKey)
	}
	return err
}

// preview shows what leave would do, and which zones the masters do not have as they are here.
func (l *leaving) preview(ctx context.Context) error {
	zones, others, err := l.find(ctx, nil)
	if err != nil || l.nothingToDo(zones, others) {
		return err
	}
	fmt.Fprintf(l.out, "With --confirm, %d zones of PowerDNS become secondaries of %s, and are transferred from there.\n",
		len(zones), l.target())
	if others > 0 {
		fmt.Fprintf(l.out, "%d zones that are not of this role are left alone.\n", others)
	}
	fmt.Fprintf(l.out, "The role's copy of all zones, %s, is removed then. The role has to be stopped before:"+
		"\n\n    systemctl stop %s\n", l.copy, health.Unit(health.RoleSecondary, l.node))
	return l.report("cannot leave, and would stay as they are", l.askMasters(ctx, zones))
}

// leave turns all zones, and then removes the role's copy of them.
func (l *leaving) leave(ctx context.Context) error {
	known, release, err := l.keepRoleOut()
	if err != nil {
		return err
	}
	defer release()
	if err := l.deleteBatches(ctx); err != nil {
		return err
	}
	zones, others, err := l.find(ctx, known)
	if err != nil {
		return err
	}
	if !l.nothingToDo(zones, others) {
		failed := l.askMasters(ctx, zones)
		ready := slices.DeleteFunc(slices.Clone(zones), func(z powerdns.ZoneInfo) bool { return failed[z.Name] != nil })
		if err := l.turnAll(ctx, ready, failed); err != nil {
			return err
		}
		fmt.Fprintf(l.out, "%d of %d zones are secondaries of %s, and were transferred from there.\n",
			len(zones)-len(failed), len(zones), l.target())
		if err := l.report("did not leave", failed); err != nil {
			return fmt.Errorf("%w; remove the cause and run the command again, or start the role again", err)
		}
	}
	if err := l.removeCopy(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(l.out, "The role has left. Where a health role's configuration and "+
		"the installation's folder are, run:\n\n    pdns-distribute forget %[1]s\n    pdns-distribute init remove %[1]s\n", l.node)
	return err
}

// keepRoleOut returns the zones in the role's copy, which is locked until release is called: the role cannot start and
// take zones back meanwhile.
func (l *leaving) keepRoleOut() (known map[zone.Name]bool, release func(), err error) {
	if conn, err := net.DialTimeout("tcp", l.role, time.Second); err == nil {
		conn.Close()
		return nil, nil, fmt.Errorf("the role runs, it listens at %s, and would take the zones back; "+
			"stop it first: systemctl stop %s", l.role, health.Unit(health.RoleSecondary, l.node))
	}
	if _, err := os.Stat(l.copy); errors.Is(err, os.ErrNotExist) {
		return nil, func() {}, nil
	}
	s, err := store.Open(l.copy)
	if err != nil {
		return nil, nil, err
	}
	known = map[zone.Name]bool{}
	for state, err := range s.States() {
		if err == nil && !state.Gone {
			known[state.Name] = true
		}
	}
	return known, func() { s.Close() }, nil
}

// deleteBatches deletes what a role that was killed left of batches. The zones that these made stay.
func (l *leaving) deleteBatches(ctx context.Context) error {
	all, err := l.api.Zones(ctx)
	if err != nil {
		return err
	}
	for _, z := range all {
		if !z.IsBatch() {
			continue
		}
		if err := l.api.DeleteZone(ctx, z.Name); err != nil && !errors.Is(err, powerdns.ErrNotFound) {
			return err
		}
	}
	return nil
}

// find returns the zones that leave: those that PowerDNS takes from the role, and of the known ones those that an
// earlier run turned and perhaps did not see transferred. others is how many zones PowerDNS has besides. Known zones
// that PowerDNS lacks are named: nobody creates them there any more.
func (l *leaving) find(ctx context.Context, known map[zone.Name]bool) (
	zones []powerdns.ZoneInfo, others int, err error,
) {
	all, err := l.api.Zones(ctx)
	if err != nil {
		return nil, 0, err
	}
	var turned []powerdns.ZoneInfo
	lacking := maps.Clone(known)
	all = powerdns.WithoutBatches(all)
	for _, z := range all {
		delete(lacking, z.Name)
		switch {
		case z.TransferredOnlyFrom(l.role):
			zones = append(zones, z)
		case known[z.Name] && z.TransferredOnlyFrom(l.masters...):
			turned = append(turned, z)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(lacking)) {
		fmt.Fprintf(l.out, "%s is published, and PowerDNS here does not have it; to create it, run: "+
			"pdnsutil create-secondary-zone %s %s\n", name, name, strings.Join(l.masters, " "))
	}
	zones = append(zones, turned...)
	return zones, len(all) - len(zones), nil
}

func (l *leaving) nothingToDo(zones []powerdns.ZoneInfo, others int) bool {
	if len(zones) > 0 {
		return false
	}
	fmt.Fprintf(l.out, "No zone of PowerDNS is of this role (%s); %d others are left alone.\n", l.role, others)
	return true
}

// removeCopy removes the role's copy of all zones, also what was put aside of it as damaged.
func (l *leaving) removeCopy() error {
	files, err := filepath.Glob(l.copy + "*")
	for _, file := range files {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}
