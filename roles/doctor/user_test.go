package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/settings"
)

const asRoot = "DOCTOR_TEST_CONFIG"

// TestAsRoot is what TestUserOfTheUnit runs in a process of its own: it gives up root's rights for good.
func TestAsRoot(t *testing.T) {
	file := os.Getenv(asRoot)
	if file == "" {
		t.Skip("run by another test")
	}
	in := command.Invocation{Settings: settings.Sources{File: file}, Options: options{json: true}, Stdout: os.Stdout}
	must.OK(t, become(in))
	if err := Run(t.Context(), in); err != nil && !errors.Is(err, command.ErrNotInOrder) {
		fmt.Println(err)
	}
	os.Exit(0)
}

// Run by root, files are judged for the user of the unit: what only root may read is no use to the role.
func TestUserOfTheUnit(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir := t.TempDir()
	for path := dir; path != "/"; path = filepath.Dir(path) {
		if info, err := os.Stat(path); err != nil || info.Mode()&1 == 0 {
			must.OK(t, os.Chmod(path, 0o755))
		}
	}
	file, secret := filepath.Join(dir, "config.toml"), filepath.Join(dir, "node.nkey")
	must.OK(t, os.WriteFile(file, []byte("[node]\nid = \"health1\"\n[health]\n[broker]\nurls = [\"tls://127.0.0.1:1\"]\nnkey_file = \"node.nkey\"\n"), 0o644))
	must.OK(t, os.WriteFile(secret, []byte("x"), 0o600))
	const nobody = 65534
	for _, c := range []struct {
		user, want string
		install    bool // as the package's install leaves it: the folder is the user's alone
	}{{"nobody", fail, false}, {"", ok, false}, {"nobody", ok, true}} {
		user, want := c.user, c.want
		if c.install {
			for _, path := range []string{file, secret, dir} {
				must.OK(t, os.Chown(path, nobody, nobody))
			}
			must.OK(t, os.Chmod(dir, 0o700))
		}
		tools := t.TempDir()
		must.OK(t, os.WriteFile(filepath.Join(tools, "systemctl"), []byte("#!/bin/sh\n[ \"$4\" = pdns-distribute-health@health1 ] && echo "+user+"\n"), 0o755))
		cmd := exec.Command(os.Args[0], "-test.run=^TestAsRoot$")
		cmd.Env = append(os.Environ(), asRoot+"="+file, "PATH="+tools+":/usr/bin:/bin")
		out, err := cmd.Output()
		must.OK(t, err)
		var r report
		must.OK(t, json.Unmarshal(bytes.SplitAfter(out, []byte("\n"))[0], &r))
		of := func(name string) check {
			i := slices.IndexFunc(r.Checks, func(c check) bool { return c.Check == name })
			if i < 0 {
				t.Fatalf("no finding of %s: %s", name, out)
			}
			return r.Checks[i]
		}
		if c := of("broker.secret"); c.Result != want {
			t.Errorf("user %q: %+v", user, c)
		}
		if c := of("config.user"); user != "" && (c.Object != user || !strings.Contains(c.Found, "pdns-distribute-health@health1")) {
			t.Errorf("user %q: %+v", user, c)
		}
	}
}
