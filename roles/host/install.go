package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"pdns-distribute/health"
	"pdns-distribute/roles/command"
)

// Install is the command install: it puts nodes in their places on this host.
func Install(_ context.Context, in command.Invocation) error { return thisHost().install(in) }

// Uninstall is the command uninstall: it takes nodes out again.
func Uninstall(_ context.Context, in command.Invocation) error { return thisHost().uninstall(in) }

func (h host) install(in command.Invocation) error {
	if len(in.Args) == 0 {
		return command.Misuse("install: name what init wrote for a node of this host, for example: pdns-distribute install ns1.tar.gz")
	}
	var nodes []*placing
	for _, source := range in.Args {
		n, err := readNode(source, os.Stdin)
		if err != nil {
			return fmt.Errorf("install: %w", err)
		}
		p, err := h.place(n)
		if err == nil && (in.Options.Bool("limit-addresses") || h.limited(n)) {
			err = p.limitAddresses()
		}
		if err != nil {
			return fmt.Errorf("install: %w", err)
		}
		nodes = append(nodes, p)
	}
	for _, p := range nodes {
		done, err := h.carryOut(in, p.Node, &p.plan, "is in place already")
		if err != nil {
			return fmt.Errorf("install: %w", err)
		}
		if !done {
			continue
		}
		fmt.Fprintln(in.Stdout)
	}
	if in.Options.Bool("dry-run") {
		return nil
	}
	return h.next(in.Stdout, nodes)
}

// carryOut shows a plan, and does what it says unless only that was asked for.
func (h host) carryOut(in command.Invocation, n Node, p *plan, nothing string) (done bool, err error) {
	dry := in.Options.Bool("dry-run")
	switch {
	case len(p.steps) == 0:
		fmt.Fprintf(in.Stdout, "%s %s %s.\n", n.Role, n.ID, nothing)
	case dry:
		fmt.Fprintf(in.Stdout, "%s %s: this would be done:\n", n.Role, n.ID)
	default:
		fmt.Fprintf(in.Stdout, "%s %s: this is being done:\n", n.Role, n.ID)
	}
	for _, s := range p.steps {
		fmt.Fprintf(in.Stdout, "  - %s\n", s.what)
	}
	for _, note := range p.notes {
		fmt.Fprintf(in.Stdout, "  Note: %s.\n", note)
	}
	if dry || len(p.steps) == 0 {
		return false, nil
	}
	if h.root == "/" && os.Geteuid() != 0 {
		return false, errors.New("this changes the host: run it as root")
	}
	return true, p.carryOut()
}

// next says what starts the roles. Starting is the operator's: PowerDNS serves the world meanwhile.
func (h host) next(out io.Writer, nodes []*placing) error {
	var restart, enable, again string
	for _, p := range nodes {
		switch {
		case !p.active(p.unit()):
			enable += " " + p.unit()
		case len(p.steps) > 0:
			again += " " + p.unit()
		}
		if p.asksOf {
			restart = "    systemctl restart pdns\n"
		}
	}
	if enable != "" {
		enable = "    systemctl enable --now" + enable + "\n"
	}
	if again != "" {
		again = "    systemctl restart" + again + "\n"
	}
	if restart+enable+again == "" {
		return nil
	}
	_, err := fmt.Fprintf(out, "Now:\n\n%s%s%s", restart, enable, again)
	return err
}

func (h host) uninstall(in command.Invocation) error {
	if len(in.Args) == 0 {
		return command.Misuse("uninstall: name a node of this host, for example: pdns-distribute uninstall ns1")
	}
	for _, id := range in.Args {
		files, err := ReadFolder(filepath.Join(h.home, id))
		if errors.Is(err, fs.ErrNotExist) && filepath.Base(id) == id {
			fmt.Fprintf(in.Stdout, "%s is not installed: there is no %s.\n", id, filepath.Join(h.home, id))
			continue
		}
		if err != nil {
			return fmt.Errorf("uninstall: %w", err)
		}
		n, err := identify(files)
		if err != nil {
			return fmt.Errorf("uninstall: %s %w", filepath.Join(h.home, id), err)
		}
		if n.ID != id {
			return fmt.Errorf("uninstall: %s is the folder of %s", filepath.Join(h.home, id), n.ID)
		}
		p, err := h.removal(n, in.Options.Bool("purge"))
		if err != nil {
			return fmt.Errorf("uninstall: %w", err)
		}
		if _, err := h.carryOut(in, n, p, "is uninstalled already"); err != nil {
			return fmt.Errorf("uninstall: %w", err)
		}
	}
	return nil
}

// removal finds out what undoes an installation.
func (h host) removal(n Node, purge bool) (*plan, error) {
	beside, err := h.powerDNS()
	if err != nil {
		return nil, err
	}
	beside.adapt(&n)
	p := &plan{}
	if h.active(n.unit()) {
		p.add(func() error { return h.run("systemctl", "disable", "--now", n.unit()) }, "stop and disable %s", n.unit())
	}
	h.removeSnippet(p, n, beside)
	if unit := n.file(UnitFile); unit != nil && sameLines(h.at(filepath.Join(h.dropIn(n), UnitFile)), unit.Content) {
		h.removeDropIn(p, n, UnitFile)
	}
	if h.limited(n) {
		h.removeDropIn(p, n, AddressesFile)
	}
	folder := filepath.Join(h.home, n.ID)
	if !purge {
		p.note("%s stays, with keys and state; --purge removes it", folder)
		return p, nil
	}
	p.add(func() error { return os.RemoveAll(folder) }, "remove %s, with its keys and state", folder)
	return p, nil
}

func (h host) removeDropIn(p *plan, n Node, name string) {
	folder := h.dropIn(n)
	p.add(func() error {
		err := os.Remove(h.at(filepath.Join(folder, name)))
		if left, of := os.ReadDir(h.at(folder)); of == nil && len(left) == 0 {
			err = errors.Join(err, os.Remove(h.at(folder)))
		}
		return errors.Join(err, h.run("systemctl", "daemon-reload"))
	}, "remove %s/%s", folder, name)
}

// removeSnippet takes the node's lines from PowerDNS, unless somebody has changed them.
func (h host) removeSnippet(p *plan, n Node, beside powerDNS) {
	snippet := n.file(SnippetFile)
	if snippet == nil || beside.include == "" {
		return
	}
	path := filepath.Join(beside.include, snippetName)
	has, err := os.ReadFile(h.at(path))
	switch {
	case err != nil:
	case string(has) != string(snippet.Content):
		p.note("%s stays: it is not as %s has it", path, n.ID)
	default:
		p.add(func() error { return os.Remove(h.at(path)) }, "remove %s; PowerDNS follows when it is restarted", path)
		if n.Role == health.RoleSecondary {
			p.note("PowerDNS goes on serving what it has; where another master is to follow, see pdns-distribute leave --help first")
		}
	}
}
