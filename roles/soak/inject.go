package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"pdns-distribute/powerdns/local"
)

// The names of PowerDNS servers as targets of faults: those of secondaries are the ids of the roles beside them with a
// prefix.
const (
	serverPrefix  = "pdns-"
	primaryServer = serverPrefix + "primary"
)

func serverOf(id string) string { return serverPrefix + id }

func (f *faults) serverNamed(target string) *local.Server {
	for _, s := range f.fleet.Secondaries {
		if target == serverOf(s.ID) || target == s.ID {
			return s.Server
		}
	}
	return f.fleet.Primary
}

// away ends a role at once, does something, and starts it again when the fault is over.
func (f *faults) away(ctx context.Context, id string, each fault, meanwhile func() error) error {
	if err := f.fleet.KillRole(id); err != nil {
		return err
	}
	err := meanwhile()
	rest(ctx, each.Lasts)
	return errors.Join(err, f.fleet.Launch(id))
}

func nothing() error { return nil }

func (f *faults) killRole(ctx context.Context, each fault) error {
	return f.away(ctx, each.Target, each, nothing)
}

func (f *faults) restartRole(_ context.Context, each fault) error {
	err := f.fleet.StopRole(each.Target)
	return errors.Join(err, f.fleet.Launch(each.Target))
}

func (f *faults) pauseRole(ctx context.Context, each fault) error {
	if err := f.fleet.Signal(each.Target, syscall.SIGSTOP); err != nil {
		return err
	}
	rest(ctx, each.Lasts)
	return f.fleet.Signal(each.Target, syscall.SIGCONT)
}

func (f *faults) killServer(ctx context.Context, each fault) error {
	s := f.serverNamed(each.Target)
	s.Kill()
	rest(ctx, each.Lasts)
	return s.Restart(ctx)
}

func (f *faults) restartServer(ctx context.Context, each fault) error {
	return f.serverNamed(each.Target).Restart(ctx)
}

func (f *faults) pauseServer(ctx context.Context, each fault) error {
	s := f.serverNamed(each.Target)
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	rest(ctx, each.Lasts)
	return s.Signal(syscall.SIGCONT)
}

func flowing(how flow) func(*faults, context.Context, fault) error {
	return func(f *faults, ctx context.Context, each fault) error {
		r := f.relays.byName[each.Target]
		r.set(how)
		defer r.set(passing)
		rest(ctx, each.Lasts)
		return nil
	}
}

func (f *faults) brokerStore(id string) string {
	return filepath.Join(f.fleet.Install(), id, "store")
}

func (f *faults) wipeBroker(ctx context.Context, each fault) error {
	return f.away(ctx, each.Target, each, func() error { return emptyFolder(f.brokerStore(each.Target)) })
}

func (f *faults) wipeBrokers(ctx context.Context, each fault) error {
	var errs []error
	for _, id := range f.targets.brokers {
		errs = append(errs, f.fleet.KillRole(id))
	}
	for _, id := range f.targets.brokers {
		errs = append(errs, emptyFolder(f.brokerStore(id)))
	}
	rest(ctx, each.Lasts)
	for _, id := range f.targets.brokers {
		errs = append(errs, f.fleet.Launch(id))
	}
	return errors.Join(errs...)
}

// emptyFolder leaves the folder itself, which may be a disk of its own.
func emptyFolder(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(path, e.Name())))
	}
	return err
}

// damageBroker alters a block of messages.
func (f *faults) damageBroker(ctx context.Context, each fault) error {
	return f.away(ctx, each.Target, each, func() error {
		var blocks []string
		err := filepath.WalkDir(f.brokerStore(each.Target), func(path string, _ fs.DirEntry, err error) error {
			if strings.HasSuffix(path, ".blk") {
				blocks = append(blocks, path)
			}
			return err
		})
		if err != nil || len(blocks) == 0 {
			return err
		}
		rnd := rand.New(rand.NewPCG(each.Dice, 1))
		return f.damage(blocks[rnd.IntN(len(blocks))], rnd)
	})
}

func (f *faults) stateOf(id string) string { return filepath.Join(f.fleet.Install(), id, "state") }

func (f *faults) loseStore(ctx context.Context, each fault) error {
	return f.away(ctx, each.Target, each, func() error { return emptyFolder(f.stateOf(each.Target)) })
}

func (f *faults) damageStore(ctx context.Context, each fault) error {
	return f.away(ctx, each.Target, each, func() error {
		return f.damage(filepath.Join(f.stateOf(each.Target), "zones.db"), rand.New(rand.NewPCG(each.Dice, 2)))
	})
}

func (f *faults) damageJournal(ctx context.Context, each fault) error {
	return f.away(ctx, each.Target, each, func() error {
		return f.damage(filepath.Join(f.stateOf(each.Target), "pending"), rand.New(rand.NewPCG(each.Dice, 3)))
	})
}

// damage turns one bit over, cuts a file in half, or puts zeros into it. A file that is not there cannot be damaged.
func (f *faults) damage(path string, rnd *rand.Rand) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || len(text) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	what := "a bit was turned over"
	switch at := rnd.IntN(len(text)); rnd.IntN(3) {
	case 0:
		text[at] ^= 1 << rnd.IntN(8)
	case 1:
		what, text = "it was cut", text[:at]
	default:
		what = "a page is zeros"
		clear(text[at/4096*4096 : min(len(text), at/4096*4096+4096)])
	}
	f.record.note("damage", map[string]any{"file": path, "what": what})
	return os.WriteFile(path, text, 0o600)
}

// wipeServer empties a secondary PowerDNS: until the role has filled it again, nothing is promised of it.
func (f *faults) wipeServer(ctx context.Context, each fault) error {
	f.exceptAll(each.Target)
	defer f.exceptAll(each.Target)
	return f.serverNamed(each.Target).Wipe(ctx)
}

func (f *faults) exceptAll(id string) {
	for _, z := range f.zones {
		z.except(id)
	}
}

// editServer alters what a secondary PowerDNS has of one zone, as somebody with SQL would.
func (f *faults) editServer(ctx context.Context, each fault) error {
	rnd := rand.New(rand.NewPCG(each.Dice, 4))
	z := f.zones[rnd.IntN(len(f.zones))]
	z.tamper(each.Target)
	of := fmt.Sprintf("domain_id = (select id from domains where name = '%s')", strings.TrimSuffix(z.name.String(), "."))
	statement := []string{
		"update records set content = '10.255.255.255' where type = 'A' and ",
		"delete from records where type = 'TXT' and ",
		"update records set auth = 0 where type = 'MX' and ",
		"update records set ttl = 7 where type = 'TXT' and ",
	}[rnd.IntN(4)]
	f.record.note("edit", map[string]any{"node": each.Target, "sql": statement + of})
	_, err := f.serverNamed(each.Target).SQL(ctx, statement+of+";")
	return err
}

// fillDisk leaves nothing free on the disk of a role's own.
func (f *faults) fillDisk(ctx context.Context, each fault) error {
	path := filepath.Join(f.diskOf(each.Target), "filled")
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = file.Write(block)
	}
	_ = file.Close() // it is full, as it should be
	rest(ctx, each.Lasts)
	return os.Remove(path)
}
