package installation

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/host"
	"pdns-distribute/roles/settings"
)

// fromFolder puts the installation's folder first, which may be left out where it is the current one.
func fromFolder(args []string) []string {
	holdsOne := func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, config.RegisterFile))
		return err == nil
	}
	if holdsOne(".") && (len(args) == 0 || !holdsOne(args[0])) {
		return append([]string{"."}, args...)
	}
	return args
}

// addable are the roles of which nodes are added and removed.
var addable = []string{health.RolePrimary, health.RoleProxy, health.RoleHealth, health.RoleSecondary}

// InitAdd is the command init add: it makes the folders of further nodes, and their users in the brokers' accounts.
func InitAdd(_ context.Context, in command.Invocation) error {
	in.Args = fromFolder(in.Args)
	if len(in.Args) < 3 {
		return command.Misuse("init add: name the folder, the role and the new nodes, for example: pdns-distribute init add ./installation secondary ns3")
	}
	role, ids := in.Args[1], separated(in.Args[2:])
	if role == health.RoleBroker {
		return command.Misuse("init add: brokers cannot be added, because all brokers and nodes have the addresses of all: write a new installation with --broker for each")
	}
	if !slices.Contains(addable, role) {
		return command.Misuse("init add: %q is none of %s%s", role, strings.Join(addable, ", "), settings.DidYouMean(role, addable))
	}
	c, err := alter(in.Args[0], func(c *change) error { return c.add(role, ids) })
	if err != nil {
		return fmt.Errorf("init add: %w", err)
	}
	steps := c.accountSteps()
	for _, id := range ids {
		steps = append(steps, c.placing(*c.find(id)))
	}
	if role == health.RolePrimary {
		steps = append(c.trustSteps(), steps...)
	}
	steps = append(steps, c.confirmSteps()...)
	return c.say(in.Stdout, fmt.Sprintf("Added %s %s to %s.", role, strings.Join(ids, ", "), c.dir), steps)
}

func (c *change) add(role string, ids []string) error {
	caCert, err := os.ReadFile(filepath.Join(c.dir, caFile))
	if err != nil {
		return err
	}
	for _, id := range ids {
		secrets, err := c.enroll(member{Role: role, ID: id})
		if err != nil {
			return err
		}
		if _, err := os.Lstat(filepath.Join(c.dir, id)); !errors.Is(err, fs.ErrNotExist) {
			return command.Misuse("%s exists already, though no node %s is installed: move it away first", filepath.Join(c.dir, id), id)
		}
		c.files = append(c.files, secrets...)
		c.added = append(c.added, id)
	}
	for _, id := range ids {
		apiKey, err := c.apiKey(role)
		if err != nil {
			return err
		}
		files, err := c.folder(*c.find(id), apiKey, caCert)
		if err != nil {
			return err
		}
		c.files = append(c.files, files...)
	}
	var retrusting error
	if role == health.RolePrimary {
		retrusting = c.retrust()
	}
	return errors.Join(retrusting, c.reconfirm())
}

// apiKey is that of the PowerDNS beside a new node. Primaries stand beside the same, which has one already; former
// versions kept it for proxies, too.
func (c *change) apiKey(role string) (string, error) {
	if role == health.RoleSecondary {
		return rand.Text(), nil
	}
	for _, m := range slices.Concat(c.of(health.RolePrimary), c.of(health.RoleProxy)) {
		text, err := os.ReadFile(filepath.Join(c.dir, m.ID, apiKeyFile))
		switch {
		case err == nil:
			return string(bytes.TrimSpace(text)), nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
	}
	return rand.Text(), nil
}

// InitUpdate is the command init update: it writes the accounts anew, as this version of the program has them, and
// adds lines that configurations need by now.
func InitUpdate(_ context.Context, in command.Invocation) error {
	in.Args = fromFolder(in.Args)
	if len(in.Args) != 1 {
		return command.Misuse("init update: name the folder, for example: pdns-distribute init update ./installation")
	}
	c, err := alter(in.Args[0], (*change).renewConfigs)
	if err != nil {
		return fmt.Errorf("init update: %w", err)
	}
	needless := c.needlessKeys()
	if len(c.files) == 0 {
		return c.say(in.Stdout, c.dir+" is as this version of the program writes it; nothing was changed."+c.repacked(), needless)
	}
	first := "see that the brokers run this version of the program, or restart them with it one after the other: " +
		"an earlier one has to be reloaded twice"
	steps := slices.Concat([]string{first}, c.accountSteps(), c.updateSteps(), needless)
	return c.say(in.Stdout, "Wrote the accounts in "+c.dir+" as this version of the program has them.", steps)
}

// repacked says which archives did not have what is in the folders, as after an edit by hand.
func (c *change) repacked() string {
	if len(c.archives) == 0 {
		return ""
	}
	var names []string
	for _, f := range c.archives {
		names = append(names, f.name)
	}
	return "\nWritten anew, from the folders: " + strings.Join(names, ", ") + "."
}

// needlessKeys are steps that take PowerDNS's API key from proxies, to which former versions gave it: they pass each
// client's own on.
func (c *change) needlessKeys() (steps []string) {
	for _, m := range c.of(health.RoleProxy) {
		if _, err := os.Stat(filepath.Join(c.dir, m.ID, apiKeyFile)); err != nil {
			continue
		}
		lines := line("sed -i '/^api_key_file = \""+apiKeyFile+"\"/d' "+nodeFile) + line("rm "+apiKeyFile+" pdns.conf")
		steps = append(steps, fmt.Sprintf(
			"%s needs no API key of PowerDNS, unless it is to give out keys of its own; in %s, and on its host in %s:%s",
			m.ID, filepath.Join(c.dir, m.ID), c.home(m.ID), lines))
	}
	return steps
}

// InitRemove is the command init remove: it takes nodes out, whose credentials are worth nothing then.
func InitRemove(_ context.Context, in command.Invocation) error {
	in.Args = fromFolder(in.Args)
	if len(in.Args) < 2 {
		return command.Misuse("init remove: name the folder and the nodes, for example: pdns-distribute init remove ./installation ns3")
	}
	ids := separated(in.Args[1:])
	var removed []member
	c, err := alter(in.Args[0], func(c *change) (err error) {
		removed, err = c.remove(ids)
		return err
	})
	if err != nil {
		return fmt.Errorf("init remove: %w", err)
	}
	aside, err := c.setAside(ids, time.Now())
	if err != nil {
		return fmt.Errorf("init remove: %s no longer belongs to the installation, but: %w", strings.Join(ids, ", "), err)
	}
	steps := append(c.leaveSteps(removed), "where it runs, stop it and remove the folder:"+line("pdns-distribute uninstall --purge "+strings.Join(ids, " ")))
	steps = append(steps, c.accountSteps()...)
	steps = append(steps, "once status shows no life of it:"+line("pdns-distribute forget --config "+c.home(c.overseer(), nodeFile)+" "+strings.Join(ids, " ")))
	if slices.ContainsFunc(removed, func(m member) bool { return m.Role == health.RolePrimary }) {
		steps = append(steps, c.resigning("so that nothing is left that it has signed"))
		steps = append(steps, c.trustSteps()...)
	}
	steps = append(steps, c.confirmSteps()...)
	return c.say(in.Stdout, fmt.Sprintf("Removed %s from %s; what was in the folder is in %s.", strings.Join(ids, ", "), c.dir, strings.Join(aside, ", ")), steps)
}

// leaveSteps keep PowerDNS from serving for ever what a removed secondary role gave it last.
func (c *change) leaveSteps(removed []member) (steps []string) {
	for _, m := range removed {
		if m.Role == health.RoleSecondary {
			steps = append(steps, "if the PowerDNS of "+m.ID+" is to go on serving, from another master, see there what would be done; "+
				"without it PowerDNS serves what it has for ever (docs/migrate.md, Moving out):"+
				line("pdns-distribute leave --config "+c.home(m.ID, nodeFile)+" --master ADDRESS"))
		}
	}
	return steps
}

func (c *change) remove(ids []string) (removed []member, err error) {
	for _, id := range ids {
		m, err := c.named(id)
		if err != nil {
			return nil, err
		}
		if m.Role == health.RoleBroker {
			return nil, command.Misuse("brokers cannot be removed, because all brokers and nodes have the addresses of all: write a new installation")
		}
		removed = append(removed, *m)
		c.Nodes = slices.DeleteFunc(c.Nodes, func(n member) bool { return n.ID == id })
	}
	if len(c.of(health.RolePrimary)) == 0 {
		return nil, command.Misuse("no primary would be left: add another one first (pdns-distribute init add %s primary …)", c.dir)
	}
	if slices.ContainsFunc(removed, func(m member) bool { return m.Role == health.RolePrimary }) {
		return removed, errors.Join(c.retrust(), c.reconfirm())
	}
	return removed, c.reconfirm()
}

// setAside renames the folders of removed nodes to what is the id of none.
func (c *change) setAside(ids []string, now time.Time) (names []string, err error) {
	for _, id := range ids {
		folder := filepath.Join(c.dir, id)
		name := folder + ".removed-" + now.UTC().Format("20060102T150405Z")
		for _, err := range []error{os.Rename(folder, name), os.Remove(filepath.Join(c.dir, host.Archive(id)))} {
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
		names = append(names, name)
	}
	return names, nil
}

// named is the node that an argument names.
func (c *change) named(id string) (*member, error) {
	if m := c.find(id); m != nil {
		return m, nil
	}
	var ids []string
	for _, m := range c.Nodes {
		ids = append(ids, m.ID)
	}
	return nil, command.Misuse("no node %q is installed in %s (there are %s)%s", id, c.dir, strings.Join(ids, ", "), settings.DidYouMean(id, ids))
}

// overseer is a node whose credentials commands can use.
func (c *change) overseer() string {
	return slices.Concat(c.of(health.RoleHealth), c.of(health.RolePrimary))[0].ID
}

// say prints what was done, and what is left for the operator to do.
func (c *change) say(out io.Writer, done string, steps []string) error {
	fmt.Fprintln(out, done)
	if len(steps) > 0 {
		fmt.Fprintln(out, "Now, in this order:")
	}
	var err error
	for i, step := range steps {
		_, err = fmt.Fprintf(out, "\n%2d. %s%s\n", i+1, strings.ToUpper(step[:1]), step[1:])
	}
	return err
}

// copying is the step by which a file or folder gets to a node's host.
func (c *change) copying(name, host string) string {
	from, to := filepath.Join(c.dir, name), c.home(name)
	if from == to {
		return from + " is in its place; the role's user has to own it"
	}
	return "copy " + from + "\n    to " + host + " as " + to
}

// placing is the step by which a new node gets to its host.
func (c *change) placing(m member) string {
	if c.Home == host.Home && c.Home != c.dir {
		return "put " + m.ID + " in its place on its host, where the package is installed, and start it as install says there:" +
			line(c.installing(c.dir, m))
	}
	return c.copying(m.ID, "the host of "+m.ID) + ", and start it there:" + line("pdns-distribute "+m.Role+" --config "+c.home(m.ID, nodeFile))
}

// accountSteps bring changed users to the brokers.
func (c *change) accountSteps() (steps []string) {
	for _, b := range c.of(health.RoleBroker) {
		steps = append(steps, c.copying(b.ID+"/"+broker.AccountsFile, b.host())+", and there:"+reloading(b))
	}
	return steps
}

// reloading has a broker read its files again, which no connection notices that may stay.
func reloading(b member) string { return line("systemctl reload " + health.Unit(b.Role, b.ID)) }

func restarting(m member) string { return line("systemctl restart " + health.Unit(m.Role, m.ID)) }

// line sets a command off from the text of a step.
func line(command string) string { return "\n\n        " + command }
