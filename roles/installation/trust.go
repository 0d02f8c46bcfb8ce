package installation

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/settings"
)

// keyList is a list of public keys in the configurations of one role, which follows from what is registered.
type keyList struct {
	role, section, key string
	of                 func(register) []string
}

var (
	// trustedList is whose states secondaries take.
	trustedList = keyList{health.RoleSecondary, "secondary", "trusted_keys", register.trusted}

	// confirmLists are on whose hosts an operator may confirm held deletions.
	confirmLists = []keyList{
		{health.RolePrimary, "primary", "confirm_keys", register.confirming},
		{health.RoleHealth, "health", "confirm_keys", register.confirming},
	}
)

// retrust has the secondaries' configurations trust the keys that are registered now, and no longer those that were
// registered before. All else in them is the operator's: other lines, and other keys in the list.
func (c *change) retrust() error { return c.relist(trustedList) }

// reconfirm does that for who may confirm deletions.
func (c *change) reconfirm() error {
	var faults []error
	for _, l := range confirmLists {
		faults = append(faults, c.relist(l))
	}
	return errors.Join(faults...)
}

func (c *change) relist(l keyList) error {
	before, err := readRegister(c.dir)
	if err != nil {
		return err
	}
	return c.edit(l.role, func(text []byte) ([]byte, error) { return l.rewritten(text, l.of(before), l.of(c.register)) })
}

// edit changes the configurations of a role, as far as their folders are here.
func (c *change) edit(role string, rewrite func([]byte) ([]byte, error)) error {
	for _, m := range c.of(role) {
		name := m.ID + "/" + nodeFile
		info, err := os.Stat(filepath.Join(c.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		text, err := c.text(name)
		if err != nil {
			return err
		}
		edited, err := rewrite(text)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(c.dir, name), err)
		}
		c.put(initFile{name, edited, info.Mode().Perm()})
	}
	return nil
}

// text is what a file will hold after the change, as far as that is decided by now.
func (c *change) text(name string) ([]byte, error) {
	for _, f := range slices.Backward(c.files) {
		if f.name == name {
			return f.content, nil
		}
	}
	return os.ReadFile(filepath.Join(c.dir, name))
}

// rewritten is a configuration whose list has the keys of now, and of those that it had all but the keys of before.
func (l keyList) rewritten(text []byte, before, now []string) ([]byte, error) {
	list, err := settings.FindList(text, l.section, l.key)
	if err != nil || list == nil {
		return text, err
	}
	keys := slices.Clone(now)
	for _, key := range list.Items {
		if !slices.Contains(before, key) && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return slices.Concat(text[:list.Begin], []byte(l.line(keys)), text[list.End:]), nil
}

// line sets the list in a configuration.
func (l keyList) line(keys []string) string { return l.key + " = [" + quotedList(keys) + "]" }

// renewConfigs gives the configurations lines that an earlier version did not write: who may confirm deletions, and
// by which prefix a health role reaches JetStream, since it has an account of its own.
func (c *change) renewConfigs() error {
	for _, l := range confirmLists {
		line := l.line(l.of(c.register))
		err := c.edit(l.role, func(text []byte) ([]byte, error) {
			return settings.WithLine(text, l.section, l.key, line)
		})
		if err != nil {
			return err
		}
	}
	prefix := "api_prefix = " + strconv.Quote(broker.RemoteAPIPrefix)
	return c.edit(health.RoleHealth, func(text []byte) ([]byte, error) {
		return settings.WithLine(text, "broker", "api_prefix", prefix)
	})
}

// trustSteps bring the secondaries the keys that they are to trust.
func (c *change) trustSteps() (steps []string) {
	for _, m := range c.of(health.RoleSecondary) {
		steps = append(steps, c.configStep(m, "its line trusted_keys alone"))
	}
	return steps
}

// confirmSteps bring primaries and health roles the keys that may confirm.
func (c *change) confirmSteps() (steps []string) {
	for _, l := range confirmLists {
		for _, m := range c.of(l.role) {
			if c.rewrites(m.ID + "/" + nodeFile) {
				steps = append(steps, c.configStep(m, "its line confirm_keys alone"))
			}
		}
	}
	return steps
}

// updateSteps bring changed configurations to their hosts.
func (c *change) updateSteps() (steps []string) {
	for _, m := range c.Nodes {
		if c.rewrites(m.ID + "/" + nodeFile) {
			lines := "its line confirm_keys alone"
			if m.Role == health.RoleHealth {
				lines = "its lines confirm_keys and api_prefix alone"
			}
			steps = append(steps, c.configStep(m, lines))
		}
	}
	return steps
}

// rewrites reports whether the change has a file that was there before.
func (c *change) rewrites(name string) bool {
	return slices.ContainsFunc(c.files, func(f initFile) bool { return f.name == name && !c.isNew(f) })
}

// isNew reports whether a file belongs to a node that the change adds: its whole folder is copied.
func (c *change) isNew(f initFile) bool {
	return slices.ContainsFunc(c.added, func(id string) bool { return filepath.Dir(f.name) == id })
}

func (c *change) configStep(m member, alone string) string {
	return c.copying(m.ID+"/"+nodeFile, "the host of "+m.ID) +
		"\n    (where the one there was edited: " + alone + "), and there:" + restarting(m)
}

// resigning has the primaries sign all states anew.
func (c *change) resigning(purpose string) string {
	return "wait for the end of this, " + purpose + ":" + line("pdns-distribute sync --all --config "+c.home(c.overseer(), nodeFile))
}
