package installation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"pdns-distribute/proxy"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
)

// KeyAdd is the command key add: it makes a scoped API key, writes it into the proxy's keys file, and prints its
// secret.
func KeyAdd(_ context.Context, in command.Invocation) error {
	k, err := plannedKey(in)
	if err != nil {
		return fmt.Errorf("key add: %w", err)
	}
	secret, hash := proxy.NewSecret()
	k.Hash = hash
	if err := (proxy.Keys{k}).Validate(); err != nil {
		return command.Misuse("key add: %v", err)
	}
	if err := usable(in); err != nil {
		return fmt.Errorf("key add: %w", err)
	}
	file, err := alterKeys(in, func(text []byte, written, configured proxy.Keys) ([]byte, error) {
		if slices.ContainsFunc(slices.Concat(written, configured), func(other proxy.Key) bool { return other.ID == k.ID }) {
			return nil, command.Misuse("there is a key %s already; remove it first, or take another id", k.ID)
		}
		entry, err := proxy.FormatKeys(proxy.Keys{k})
		return appendEntry(text, entry), err
	})
	if err != nil {
		return fmt.Errorf("key add: %w", err)
	}
	fmt.Fprintf(in.Stderr, "Key %s is in %s; the proxy takes it within 5 seconds. Its secret is shown only now:\n",
		k.ID, file)
	_, err = fmt.Fprintln(in.Stdout, secret)
	return err
}

// usable reports whether the proxy can use scoped keys: with a key and without PowerDNS's own one it would not start
// again.
func usable(in command.Invocation) error {
	cfg, err := config.Load(in.Settings, "proxy", "powerdns")
	if err != nil {
		return err
	}
	if own, err := cfg.PowerDNS.ReadAPIKey(); err != nil || own == "" {
		return errors.Join(command.Misuse("scoped keys need PowerDNS's own API key at the proxy: write it into a file of mode 600 that belongs "+
			"to the proxy's user, name the file in powerdns.api_key_file of the proxy's configuration, and restart the proxy"), err)
	}
	return nil
}

// plannedKey is what the command line asks for.
func plannedKey(in command.Invocation) (k proxy.Key, err error) {
	o := in.Options
	if len(in.Args) != 1 {
		return k, command.Misuse("name one key, for example: pdns-distribute key add --acme --zone example.org acme-web1")
	}
	k = proxy.Key{
		ID: in.Args[0], Zones: separated(o.StringSlice("zone")), Verbs: separated(o.StringSlice("verb")),
		Types: separated(o.StringSlice("type")), Names: separated(o.StringSlice("name")), Expires: o.String("expires"),
	}
	if o.Bool("acme") {
		if len(k.Verbs)+len(k.Types)+len(k.Names) > 0 {
			return k, command.Misuse("--acme sets verbs, types and names: leave out --verb, --type and --name")
		}
		k.Verbs, k.Types, k.Names = proxy.ACME()
	}
	if text := o.String("deletes-per-hour"); text != "" {
		if k.DeletesPerHour, err = strconv.Atoi(text); err != nil {
			return k, command.Misuse("--deletes-per-hour %q is not a whole number", text)
		}
	}
	if text := o.String("rate"); text != "" {
		if k.Rate, err = strconv.ParseFloat(text, 64); err != nil {
			return k, command.Misuse("--rate %q is not a number", text)
		}
	}
	if ended(k, time.Now()) {
		return k, command.Misuse("--expires %s is past", k.Expires)
	}
	return k, nil
}

// ended reports whether a key is past its end. One whose end cannot be read is not.
func ended(k proxy.Key, now time.Time) bool {
	end, err := k.End()
	return err == nil && !end.IsZero() && !now.Before(end)
}

func appendEntry(text, entry []byte) []byte {
	switch {
	case len(text) == 0:
		return append([]byte(keysFileHead), entry...)
	case text[len(text)-1] != '\n':
		text = append(text, '\n')
	}
	return append(append(slices.Clone(text), '\n'), entry...)
}

// keysFileHead begins a keys file. It is never empty: an empty one is taken for one that is just being written.
const keysFileHead = "# Scoped API keys of the proxy, which follows within 5 seconds: pdns-distribute key --help\n\n"

// KeyRemove is the command key remove.
func KeyRemove(_ context.Context, in command.Invocation) error {
	if len(in.Args) != 1 {
		return command.Misuse("key remove: name one key")
	}
	id := in.Args[0]
	file, err := alterKeys(in, func(text []byte, _, configured proxy.Keys) ([]byte, error) {
		rest, was, err := proxy.RemoveKey(text, id)
		is := slices.ContainsFunc(configured, func(k proxy.Key) bool { return k.ID == id })
		switch {
		case err != nil:
			return nil, err
		case !was && is:
			return nil, command.Misuse("key %s stands in the configuration; remove its [[proxy.key]] there", id)
		case !was:
			return nil, command.Misuse("there is no key %s; pdns-distribute key list shows all", id)
		}
		return rest, nil
	})
	if err != nil {
		return fmt.Errorf("key remove: %w", err)
	}
	_, err = fmt.Fprintf(in.Stdout, "Key %s is removed from %s; the proxy refuses it within 5 seconds.\n", id, file)
	return err
}

// KeyList is the command key list.
func KeyList(_ context.Context, in command.Invocation) error {
	cfg, err := keysConfig(in)
	if err != nil {
		return fmt.Errorf("key list: %w", err)
	}
	written, err := proxy.ReadKeysFile(cfg.KeysFile)
	if err != nil {
		return fmt.Errorf("key list: %w", err)
	}
	all := slices.Concat(cfg.Keys, written)
	if in.Options.Bool("json") {
		return printKeysJSON(in.Stdout, all)
	}
	return printKeys(in.Stdout, all, time.Now())
}

// keyJSON is a key as list shows it: all but its hash.
type keyJSON struct {
	proxy.Key
	Hash  string `json:"hash,omitempty"` // hides that of Key, and stays empty
	Ended bool   `json:"ended"`
}

func printKeysJSON(to io.Writer, keys proxy.Keys) error {
	list := []keyJSON{}
	for _, k := range keys {
		list = append(list, keyJSON{Key: k, Ended: ended(k, time.Now())})
	}
	enc := json.NewEncoder(to)
	enc.SetIndent("", "  ")
	return enc.Encode(list)
}

func printKeys(to io.Writer, keys proxy.Keys, now time.Time) error {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tZONES\tVERBS\tTYPES\tNAMES\tDELETES/HOUR\tEXPIRES")
	for _, k := range keys {
		end := orAll(k.Expires, "never")
		if ended(k, now) {
			end += " (ended)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", k.ID, strings.Join(k.Zones, " "), strings.Join(k.Verbs, " "),
			orAll(strings.Join(k.Types, " "), "all"), orAll(strings.Join(k.Names, " "), "all"), k.DeletesPerHour, end)
	}
	return table.Flush()
}

func orAll(text, none string) string {
	if text == "" {
		return none
	}
	return text
}

// keysConfig is the section [proxy], with the keys that it has itself and the name of the keys file.
func keysConfig(in command.Invocation) (proxy.Config, error) {
	cfg, err := config.Load(in.Settings, "proxy")
	if err == nil && cfg.Proxy.KeysFile == "" {
		err = command.Misuse("name the proxy's configuration by --config FILE: the keys stand beside it")
	}
	return cfg.Proxy, err
}

// alterKeys writes the keys file anew, with what change makes of its text, and returns its name. One command at a time
// does so.
func alterKeys(
	in command.Invocation, change func(text []byte, written, configured proxy.Keys) ([]byte, error),
) (file string, err error) {
	cfg, err := keysConfig(in)
	if err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Dir(cfg.KeysFile))
	if err != nil {
		return "", err
	}
	defer unlock()
	written, err := proxy.ReadKeysFile(cfg.KeysFile)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(cfg.KeysFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if text, err = change(text, written, cfg.Keys); err != nil {
		return "", err
	}
	return cfg.KeysFile, replaceSecret(cfg.KeysFile, text)
}

// replaceSecret writes a file at once, for its owner alone. The command runs as the user whom the configuration
// belongs to, see private.ActAsOwner, so that the role can read it.
func replaceSecret(file string, text []byte) error {
	fresh := file + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a command that was interrupted
		return err
	}
	if err := writeFile(fresh, text, secret); err != nil {
		return err
	}
	return errors.Join(os.Rename(fresh, file), syncFolder(filepath.Dir(file)))
}
