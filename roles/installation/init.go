// Package installation writes the folders that an installation's hosts get, and changes them: the commands init, init
// add, remove, rotate and update, and the commands for scoped API keys.
//
// An installation's folder has a folder for each node, the CA, and a register of all nodes (register.go). What becomes
// of a node's files is in files.go. A change is made as a whole or not at all (change.go), and ends with the steps that
// are left to the operator: which file goes to which host, and what to restart there.
package installation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode"

	"pdns-distribute/health"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/host"
)

// Init is the command init: it writes a whole installation into a new folder. Where one is already it changes nothing,
// and is content if that is what the arguments say.
func Init(_ context.Context, in command.Invocation) error {
	plan, err := planned(in)
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	installed, err := readRegister(plan.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		err = plan.Write(time.Now())
	case err == nil:
		err = plan.compare(installed)
	}
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if len(installed.Nodes) == 0 {
		return plan.explain(in.Stdout)
	}
	_, err = fmt.Fprintf(in.Stdout, "%s holds this installation already; nothing was changed.\n", plan.Dir)
	return err
}

// planned is what the command line asks for.
func planned(in command.Invocation) (Installation, error) {
	if len(in.Args) != 1 {
		return Installation{}, command.Misuse("name the folder to write, for example: pdns-distribute init --broker broker.example.net --secondary ns1,ns2 ./installation")
	}
	dir, err := filepath.Abs(in.Args[0])
	if err != nil {
		return Installation{}, err
	}
	list := func(flag string, otherwise ...string) []string {
		if given := in.Options.StringSlice(flag); len(given) > 0 {
			return separated(given)
		}
		return otherwise
	}
	plan := Installation{
		Dir: dir, Home: in.Options.String("home"), Brokers: list("broker", "127.0.0.1"), Primaries: list("primary", "primary"),
		Proxies: list("proxy", "proxy"), Health: list("health", "health"), Secondaries: list("secondary"),
	}
	if plan.Home == "" {
		plan.Home = host.Home
	}
	if !filepath.IsAbs(plan.Home) {
		return plan, command.Misuse("--home %s: name a whole path, such as /var/lib/pdns-distribute", plan.Home)
	}
	if home := plan.home(); strings.ContainsFunc(home, func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(` "'%$\`, r) }) {
		return plan, command.Misuse("%q has characters that units and shells take for something else: give --home a plain path, such as /var/lib/pdns-distribute", home)
	}
	return plan, nil
}

// separated takes lists apart that were given with commas.
func separated(lists []string) (all []string) {
	for _, list := range lists {
		for item := range strings.SplitSeq(list, ",") {
			if item = strings.TrimSpace(item); item != "" {
				all = append(all, item)
			}
		}
	}
	return all
}

// Installation is what init is asked to write: a folder for each node, which is copied to the node's host, and the CA's
// key, which is not.
type Installation struct {
	Dir         string   // to be made; absolute
	Home        string   // where the folders will be on their hosts; "" means Dir
	Brokers     []string // HOST or HOST:PORT by which nodes reach each; they become broker1, broker2 and so on
	Primaries   []string // node ids
	Proxies     []string
	Health      []string
	Secondaries []string
}

// members lists all nodes, without keys yet.
func (p Installation) members() ([]member, error) {
	if n := len(p.Brokers); n%2 == 0 {
		return nil, command.Misuse("--broker: %d brokers are as good as %d, because more than half of them must be there: name 1, 3 or 5", n, max(n-1, 1))
	}
	if len(p.Primaries) == 0 {
		return nil, command.Misuse("--primary: an installation needs a primary")
	}
	var r register
	for i, text := range p.Brokers {
		address, err := brokerAddress(text, len(p.Brokers) > 1)
		if err != nil {
			return nil, err
		}
		if err := r.admit(member{Role: health.RoleBroker, ID: fmt.Sprintf("broker%d", i+1), Address: address}); err != nil {
			return nil, err
		}
	}
	for _, group := range []struct {
		role string
		ids  []string
	}{{health.RolePrimary, p.Primaries}, {health.RoleProxy, p.Proxies}, {health.RoleHealth, p.Health}, {health.RoleSecondary, p.Secondaries}} {
		for _, id := range group.ids {
			if err := r.admit(member{Role: group.role, ID: id}); err != nil {
				return nil, err
			}
		}
	}
	return r.Nodes, nil
}

func (p Installation) home() string {
	if p.Home == "" {
		return p.Dir
	}
	return filepath.Clean(p.Home)
}

// compare refuses to take an installation for this one that is another, and says how it becomes this one.
func (p Installation) compare(r register) error {
	wanted, err := p.members()
	if err != nil {
		return err
	}
	var differences []string
	differ := func(format string, args ...any) {
		differences = append(differences, "\n  "+fmt.Sprintf(format, args...))
	}
	if home := p.home(); home != r.Home {
		differ("it is for %s on the hosts, not for %s: give --home %s", r.Home, home, r.Home)
	}
	for _, m := range wanted {
		switch has := r.find(m.ID); {
		case has == nil && m.Role == health.RoleBroker:
			differ("it has no %s at %s, and brokers cannot be added: write a new installation", m.ID, m.Address)
		case has == nil:
			differ("it has no %s: pdns-distribute init add %s %s %s", m.ID, p.Dir, m.Role, m.ID)
		case has.Role != m.Role:
			differ("%s is a %s in it, not a %s: choose another id", m.ID, has.Role, m.Role)
		case has.Address != m.Address:
			differ("%s is at %s, not at %s: give --broker as it was, or write a new installation", m.ID, has.Address, m.Address)
		}
	}
	for _, m := range r.Nodes {
		switch wanted := (register{Nodes: wanted}).find(m.ID); {
		case wanted == nil && m.Role == health.RoleBroker:
			differ("it has %s at %s as well, and brokers cannot be removed: give --broker as it was, or write a new installation", m.ID, m.Address)
		case wanted == nil:
			differ("it has the %s %s as well: name it, too, or take it out by pdns-distribute init remove %s %s", m.Role, m.ID, p.Dir, m.ID)
		}
	}
	if len(differences) > 0 {
		return command.Misuse("%s holds an installation that is not the one that was asked for; nothing was changed:%s", p.Dir, strings.Join(differences, ""))
	}
	return nil
}
