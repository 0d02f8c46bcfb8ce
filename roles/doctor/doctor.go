// Package doctor is the command doctor: it looks at everything that a role needs on its host, whether it runs already
// or not, and says of each what was found and, where something is wrong, what to do next.
//
// The role's configuration is read as the role reads it, by the role's user (user.go). Then come its files (files.go), the host (host.go), the
// broker (broker.go) and the PowerDNS beside it (powerdns.go), the last three at the same time, and at last what
// these say of the zones is laid beside each other (sources.go). A check that builds on one that has failed is left
// out. Nothing that is looked at is changed.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/settings"
)

// patience is how long one answer is waited for.
const patience = 4 * time.Second

// Run checks what the configuration is for. It returns ErrNotInOrder when something has failed.
func Run(ctx context.Context, in command.Invocation) error {
	role, err := whichRole(in)
	var cfg config.Config
	if err == nil {
		cfg, err = config.ForRole(in.Settings, role)
	}
	if faults, are := errors.AsType[settings.Faults](err); are {
		if err := newReport(role, "", ofFaults(faults)).print(in.Stdout, in.Options.Bool("json")); err != nil {
			return err
		}
		return unreadable{faults}
	}
	if errors.Is(err, fs.ErrPermission) {
		if err := newReport(role, "", unreadableFile(in.Settings.File, err)).print(in.Stdout, in.Options.Bool("json")); err != nil {
			return err
		}
		return fmt.Errorf("%s: %w", in.Settings.File, command.ErrNotInOrder)
	}
	if err != nil {
		return err
	}
	if len(in.Args) > 0 && in.Args[0] != cfg.Node.ID {
		return command.Misuse("doctor: the configuration is that of %s: name that of %s by --config", cfg.Node.ID, in.Args[0])
	}
	e := &examination{role: role, file: in.Settings.File, cfg: cfg, now: time.Now()}
	r := newReport(role, cfg.Node.ID, e.run(ctx))
	if ctx.Err() != nil {
		return ctx.Err() // what was found then says nothing
	}
	if err := r.print(in.Stdout, in.Options.Bool("json")); err != nil {
		return err
	}
	if !r.OK {
		return fmt.Errorf("%s %s: %w", role, cfg.Node.ID, command.ErrNotInOrder)
	}
	return nil
}

// unreadable is a configuration whose faults were shown among the findings already.
type unreadable struct{ faults settings.Faults }

func (unreadable) Error() string { return "the configuration is at fault: nothing else was checked" }

func (u unreadable) Unwrap() error { return u.faults }

// whichRole is the role that was named, or the one that the file is for.
func whichRole(in command.Invocation) (string, error) {
	names := strings.Join(config.Roles(), ", ")
	if role := in.Options.String("role"); role != "" {
		if !slices.Contains(config.Roles(), role) {
			return "", fmt.Errorf("%w: doctor: --role %s is none of %s%s", command.ErrUsage, role, names, settings.DidYouMean(role, config.Roles()))
		}
		return role, nil
	}
	if in.Settings.File == "" {
		return "", fmt.Errorf("%w: doctor: no configuration file names the role: give --config FILE, or --role with one of %s", command.ErrUsage, names)
	}
	candidates, err := config.RolesIn(in.Settings.File)
	if err != nil {
		return "", err
	}
	if len(candidates) != 1 {
		return "", fmt.Errorf("%w: doctor: %s has the sections of %d roles: say by --role which of %s to check", command.ErrUsage, in.Settings.File, len(candidates), names)
	}
	return candidates[0], nil
}

// ofFaults makes a finding of each fault.
func ofFaults(faults settings.Faults) (f findings) {
	for _, fault := range faults {
		object := fault.Origin.String()
		if object == "" {
			object = fault.Key
		}
		found := fault.Problem
		if fault.Key != "" && fault.Key != object {
			found = fault.Key + ": " + found
		}
		f.fail("config.settings", object, found,
			"put it right; the role does not start before that. docs/settings.md explains each key")
	}
	return f
}

// examination is one run of the command.
type examination struct {
	role, file string
	cfg        config.Config
	now        time.Time
	server     broker.ServerFacts // of role broker, once its configuration was read
}

func (e *examination) run(ctx context.Context) (all findings) {
	all.ok("config.settings", e.where(), "complete for role %s, node %s", e.role, e.cfg.Node.ID)
	all.user(e.role, e.cfg.Node.ID, e.file)
	all = append(all, e.files()...)
	parts := []func(context.Context, findings) findings{e.host, e.broker, e.powerdns}
	found := make([]findings, len(parts))
	var wg sync.WaitGroup
	for i, part := range parts {
		wg.Go(func() { found[i] = part(ctx, all) })
	}
	wg.Wait()
	all = append(all, slices.Concat(found...)...)
	return append(all, e.sources(ctx, all)...)
}

func (e *examination) where() string {
	if e.file == "" {
		return "environment"
	}
	return e.file
}

func (e *examination) besidePowerDNS() bool {
	return e.role == health.RolePrimary || e.role == health.RoleSecondary || e.role == health.RoleProxy
}
