package broker

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/nats-io/nats-server/v2/conf"

	"pdns-distribute/private"
)

// checkServerFiles refuses a nats-server configuration when others than its owner can write it, a file that it includes
// or one that it names, or can read a secret in any of them.
func checkServerFiles(file string) error {
	sources, err := sourcesOf(file)
	if err != nil {
		return err
	}
	document, err := conf.ParseFileWithChecks(file)
	if err != nil {
		return err
	}
	f := serverFiles{
		sources: sources, secrets: map[string]bool{}, public: map[string]bool{}, folders: map[string]bool{},
	}
	for path := range sources {
		f.public[path] = true
	}
	f.table("", document)
	return f.check()
}

// inclusion matches what nats-server's lexer takes for the inclusion of a file (conf/lex.go in 2.15), and more: what
// stands in a comment, which does no harm where there is no such file.
var inclusion = regexp.MustCompile(`(?i)include[ \t]+(?:"([^"]*)"|'([^']*)'|([^ \t\r\n;}']+))`)

// sourcesOf gives the texts, by path, of a configuration and of all that it includes. It reads nothing that may never
// end, such as a pipe. Which of them hold a secret, and are to be guarded as such, is seen afterwards.
func sourcesOf(file string) (map[string]string, error) {
	sources := map[string]string{}
	var read func(string) error
	read = func(path string) error {
		if _, known := sources[path]; known {
			return nil
		}
		text, err := private.ReadRegular(path)
		if err != nil {
			return err
		}
		sources[path] = string(text)
		for _, found := range inclusion.FindAllStringSubmatch(string(text), -1) {
			included := filepath.Join(filepath.Dir(path), found[1]+found[2]+found[3])
			if info, err := os.Stat(included); err != nil || info.IsDir() {
				continue // nats-server says what is missing
			}
			if err := read(included); err != nil {
				return err
			}
		}
		return nil
	}
	return sources, read(file)
}

// serverFiles is what a configuration of a nats-server is made of and names.
type serverFiles struct {
	sources map[string]string // texts by path
	secrets map[string]bool   // paths of files that hold one, sources among them
	public  map[string]bool
	folders map[string]bool
}

// The keys, in lower case, whose values are paths of files that nats-server reads (server/opts.go in 2.15).
var (
	secretFileKeys = []string{"key_file", "keys_file", "creds", "credentials", "seed", "nkey"}
	publicFileKeys = []string{
		"cert_file", "ca_file", "operator", "operators", "roots", "root", "root_operators", "root_operator",
	}
)

// secretKeys are those whose values are themselves secrets. A hash of a password is one, too: it can be tried offline.
var secretKeys = []string{
	"pass", "password", "token", "ek", "encryption_key", "prev_key", "prev_ek", "prev_encryption_key",
	"encryption_password", "srk_password", "seed", "nkey",
}

// parsed is a value of nats-server's parser, with where it stands.
type parsed interface {
	Value() any
	SourceFile() string
}

// table looks at the entries of a block, whose own key is given.
func (f *serverFiles) table(block string, entries map[string]any) {
	for key, value := range entries {
		f.value(block, strings.ToLower(key), value)
	}
}

func (f *serverFiles) value(block, key string, value any) {
	at, is := value.(parsed)
	if is {
		value = at.Value()
	}
	switch v := value.(type) {
	case map[string]any:
		f.table(key, v)
	case []any:
		for _, each := range v {
			f.value(block, key, each)
		}
	case int64:
		f.secret(block, key, strconv.FormatInt(v, 10), at)
	case string:
		f.text(block, key, v)
		f.secret(block, key, v, at)
	}
}

// text notes the file or folder that a value names. What is not there is nats-server's to complain of.
func (f *serverFiles) text(block, key, path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
	case info.IsDir() && block == "resolver" && key == "dir":
		f.folders[path] = true
	case info.IsDir():
	case slices.Contains(secretFileKeys, key):
		f.secrets[path] = true
	case slices.Contains(publicFileKeys, key):
		f.public[path] = true
	}
}

// isSecret reports whether a value is one, and not the path of a file with one or a public key.
func (f *serverFiles) isSecret(block, key, value string) bool {
	switch {
	case value == "" || f.secrets[value]:
		return false
	case key == "nkey" || key == "seed":
		return strings.HasPrefix(value, "S") // a seed; public keys begin with U
	case key == "key" && block == "jetstream":
		return true
	case strings.Contains(value, "://"): // of a route or a remote
		return strings.Contains(value, "@")
	}
	return slices.Contains(secretKeys, key)
}

// secret notes the files that a value stands in, if it is a secret: none where it comes from the environment. One that
// was written with escapes stands nowhere as it is.
func (f *serverFiles) secret(block, key, value string, at parsed) {
	if at == nil || !f.isSecret(block, key, value) {
		return
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r == '"' || r == '\\' || !unicode.IsPrint(r) }) {
		f.secrets[at.SourceFile()] = true
	}
	for path, text := range f.sources {
		if strings.Contains(text, value) {
			f.secrets[path] = true
		}
	}
}

// check reports all faults at once.
func (f *serverFiles) check() error {
	for path := range f.secrets { // of which more is asked
		delete(f.public, path)
	}
	var faults []error
	for _, group := range []struct {
		paths map[string]bool
		check func(string) error
	}{{f.secrets, private.Check}, {f.public, private.CheckPublic}, {f.folders, private.CheckFolder}} {
		for _, path := range slices.Sorted(maps.Keys(group.paths)) {
			if err := group.check(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				faults = append(faults, err)
			}
		}
	}
	return errors.Join(faults...)
}
