package broker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/conf"

	"pdns-distribute/private"
)

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// FuzzSources has nats-server's own parser say which files it has read.
func FuzzSources(f *testing.F) {
	for _, text := range []string{
		`include "a"`, `include 'a'`, "include a\n", "INCLUDE\ta;", "x { include a }", "x { y = 1, include 'b' }", "# include a\ny: 1",
		"include a\ninclude b", `include "../` + "conf/a" + `"`, "x: [ { include a } ]", "include 'b'\nx = $y", "include a}", "include include",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		file := filepath.Join(dir, "nats.conf")
		writeFile(t, file, text)
		writeFile(t, filepath.Join(dir, "a"), "include b\nof_a = 1\n")
		writeFile(t, filepath.Join(dir, "b"), "of_b { deep = [ 1 ] }\n")
		writeFile(t, filepath.Join(dir, "include"), "named = 1\n")
		document, err := conf.ParseFileWithChecks(file)
		if err != nil {
			return
		}
		sources, err := sourcesOf(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range sourcesIn(document) {
			if _, known := sources[path]; !known {
				t.Errorf("%q: nats-server has read %s, which is not among %v", text, path, sources)
			}
		}
	})
}

func sourcesIn(value any) (paths []string) {
	if at, is := value.(parsed); is {
		paths, value = append(paths, at.SourceFile()), at.Value()
	}
	switch v := value.(type) {
	case map[string]any:
		for _, each := range v {
			paths = append(paths, sourcesIn(each)...)
		}
	case []any:
		for _, each := range v {
			paths = append(paths, sourcesIn(each)...)
		}
	}
	return paths
}

// A configuration with a secret in it is one itself.
func TestServerSecrets(t *testing.T) {
	t.Setenv("FROM_ENVIRONMENT", "hunter22")
	dir := t.TempDir()
	file, creds := filepath.Join(dir, "nats.conf"), filepath.Join(dir, "user.creds")
	operator, folder := filepath.Join(dir, "operator.jwt"), filepath.Join(dir, "jwt")
	writeFile(t, creds, "")
	writeFile(t, operator, "")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	for text, open := range map[string]string{
		`accounts { A { users: [ { nkey: UABC } ] } }`:                                "",
		`accounts { A { users: [ { user: joe, password: secret } ] } }`:               file,
		`accounts { A { users: [ { user: joe, PASS: "$2a$11$hash" } ] } }`:            file,
		`authorization { token: secret }`:                                             file,
		`authorization { user: joe, password: $FROM_ENVIRONMENT }`:                    "",
		"secret: hunter23\nauthorization { user: joe, password: $secret }":            file,
		`cluster { routes: [ "tls://joe:secret@broker2:6222" ] }`:                     file,
		`cluster { routes: [ "tls://broker2:6222" ] }`:                                "",
		`authorization { token: 1234567 }`:                                            file,
		`authorization { user: joe, password: "a\"b" }`:                               file,
		`jetstream { key: secret }`:                                                   file,
		`auth_callout { xkey: XPUBLIC }`:                                              "",
		`leafnodes { remotes: [ { url: "tls://a", credentials: "` + creds + `" } ] }`: creds,
		`leafnodes { remotes: [ { url: "tls://a", seed: SUABC } ] }`:                  file,
		`operator: "` + operator + `"`:                                                operator,
		`operators: [ "` + operator + `" ]`:                                           operator,
		`resolver { type: full, dir: "` + folder + `" }`:                              folder,
	} {
		writeFile(t, file, text+"\n")
		for path, mode := range map[string]os.FileMode{file: 0o644, creds: 0o640, operator: 0o646, folder: 0o777} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		err := checkServerFiles(file)
		fault, is := errors.AsType[*private.Fault](err)
		if open == "" && err != nil || open != "" && (!is || fault.Path != open || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v, want a fault of %q", text, err, open)
		}
	}
}

// What never ends is refused, and not read: a pipe in the place of any file, or a device.
func TestServerFilesThatNeverEnd(t *testing.T) {
	dir := t.TempDir()
	file, pipe, zero := filepath.Join(dir, "nats.conf"), filepath.Join(dir, "pipe"), filepath.Join(dir, "zero")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Symlink("/dev/zero", zero)); err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, "")
	for _, path := range []string{pipe, zero} {
		for _, text := range []string{
			"include " + filepath.Base(path), "tls { key_file: '" + path + "' }", "tls { cert_file: '" + path + "' }",
			"leafnodes { remotes: [ { url: 'tls://a', credentials: '" + path + "' } ] }",
		} {
			writeFile(t, file, text+"\n")
			if _, err := loadServerOptions(file); !errors.Is(err, private.ErrNotRegular) {
				t.Errorf("%s: %v", text, err)
			}
		}
		if _, err := loadServerOptions(path); !errors.Is(err, private.ErrNotRegular) {
			t.Errorf("%s as the configuration: %v", path, err)
		}
	}
}
