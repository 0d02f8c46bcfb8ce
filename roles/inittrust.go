package roles

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// trustedLine is the list in a secondary's configuration, wherever its line breaks are.
var (
	trustedLine = regexp.MustCompile(`(?m)^[ \t]*trusted_keys[ \t]*=[ \t]*\[[^\]]*\]`)
	quotedItem  = regexp.MustCompile(`"([^"]*)"|'([^']*)'`)
)

// retrust has the secondaries' configurations trust the keys that are registered now, and no longer those that were
// registered before. All else in them is the operator's: other lines, and other keys in the list.
func (c *change) retrust() error {
	before, err := readRegister(c.dir)
	if err != nil {
		return err
	}
	for _, m := range c.of(roleSecondary) {
		name := m.ID + "/" + nodeFile
		info, err := os.Stat(filepath.Join(c.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(c.dir, name))
		if err != nil {
			return err
		}
		c.put(initFile{name, trustedLine.ReplaceAllFunc(text, func(line []byte) []byte {
			return retrusted(line, before.trusted(), c.trusted())
		}), info.Mode().Perm()})
	}
	return nil
}

func retrusted(line []byte, before, now []string) []byte {
	keys := slices.Clone(now)
	for _, item := range quotedItem.FindAllSubmatch(line, -1) {
		key := string(item[1]) + string(item[2])
		if !slices.Contains(before, key) && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return []byte("trusted_keys = [" + quotedList(keys) + "]")
}

// trustSteps bring the secondaries the keys that they are to trust.
func (c *change) trustSteps() (steps []string) {
	for _, m := range c.of(roleSecondary) {
		steps = append(steps, c.copying(m.ID+"/"+nodeFile, "the host of "+m.ID)+
			"\n    (where the one there was edited: its line trusted_keys alone), and there:"+restarting(m))
	}
	return steps
}

// resigning has the primaries sign all states anew.
func (c *change) resigning(purpose string) string {
	return "wait for the end of this, " + purpose + ":" + line("pdns-distribute sync --all --config "+c.home(c.overseer(), nodeFile))
}
