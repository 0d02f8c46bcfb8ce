package installation

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/settings"
)

// guardedFile is a file or folder that a role uses, and the settings by which it does.
type guardedFile struct {
	what, role, kind string // kind as in settings.Key.Path
	path             string
	set              map[string]string
}

// modes are those of each kind of file with which a role starts, and those with which it does not.
var modes = map[string]struct {
	good, bad []fs.FileMode
	remedy    string
}{
	settings.SecretFile:  {[]fs.FileMode{0o600, 0o400}, []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o644, 0o666}, "chmod 600 "},
	settings.PublicFile:  {[]fs.FileMode{0o644, 0o600, 0o444}, []fs.FileMode{0o664, 0o646, 0o620, 0o602, 0o666}, "chmod go-w "},
	settings.StateFolder: {[]fs.FileMode{0o700}, []fs.FileMode{0o750, 0o701, 0o770, 0o777}, "chmod 700 "},
}

// TestEveryFileOfARole starts each role with each file that it uses in each mode. A setting that names a file and is
// not among them fails the test.
func TestEveryFileOfARole(t *testing.T) {
	i := writeInstallation(t, 1)
	files := i.guardedFiles()
	for _, key := range settings.Describe(new(config.Config)) {
		is := regexp.MustCompile(`_file$|_dir$|_cert$|_ca$|^proxy\.tls_key$|^server\.config$`).MatchString(key.Name)
		if is != (key.Path != "") {
			t.Errorf("%s names a file, or does not: give it a tag path, or see to the pattern in this test", key.Name)
		}
		if key.Path != "" && !slices.ContainsFunc(files, func(f guardedFile) bool { return f.what == key.Name && f.kind == key.Path }) {
			t.Errorf("%s is not tried: add it to guardedFiles", key.Name)
		}
	}
	for _, f := range files {
		t.Run(f.what+" of "+f.role, func(t *testing.T) { i.tryModes(t, f) })
	}
}

func (i installation) tryModes(t *testing.T, f guardedFile) {
	info, err := os.Stat(f.path)
	must.OK(t, err)
	try := func(path string, mode fs.FileMode, remedy string) {
		t.Helper()
		before, err := os.Stat(path)
		must.OK(t, err)
		must.OK(t, os.Chmod(path, mode))
		err = i.tryStart(f)
		must.OK(t, os.Chmod(path, before.Mode().Perm()))
		if remedy == "" && err != nil || remedy != "" && !strings.Contains(fmt.Sprint(err), remedy) {
			t.Errorf("%s, mode %04o: %v, want %q", path, mode, err, remedy)
		}
	}
	for _, mode := range modes[f.kind].good {
		try(f.path, mode, "")
	}
	for _, mode := range modes[f.kind].bad {
		try(f.path, mode, "run: "+modes[f.kind].remedy+f.path)
	}
	above, remedy := filepath.Dir(f.path), "chmod go-w "
	if filepath.Base(above) == "state" {
		remedy = modes[settings.StateFolder].remedy
	}
	try(above, 0o777, "run: "+remedy+above)
	if f.kind != settings.SecretFile && !info.IsDir() {
		return
	}
	aside := f.path + ".aside"
	must.OK(t, os.Rename(f.path, aside))
	must.OK(t, os.Symlink(aside, f.path))
	try(f.path, modes[f.kind].bad[0], "run: "+modes[f.kind].remedy)
	must.OK(t, os.Remove(f.path))
	must.OK(t, os.Rename(aside, f.path))
}

// tryStart runs the role to the end that is ordered already.
func (i installation) tryStart(f guardedFile) error {
	id := map[string]string{
		"broker": "broker1", health.RolePrimary: "primary1", "proxy": "proxy1", "health": "health1", health.RoleSecondary: "ns1",
	}[f.role]
	set := map[string]string{"observe.listen": "", "log.level": "error"}
	switch f.role {
	case "proxy":
		set["proxy.listen"] = "127.0.0.1:0"
	case health.RoleSecondary:
		set["secondary.transfer_listen"] = "127.0.0.1:0"
	}
	maps.Copy(set, f.set)
	ended, end := context.WithCancel(context.Background())
	end()
	run := map[string]func(context.Context, command.Invocation) error{
		"broker": roles.RunBroker, health.RolePrimary: roles.RunPrimary, "proxy": roles.RunProxy, "health": roles.RunHealth, health.RoleSecondary: roles.RunSecondary,
	}[f.role]
	file := filepath.Join(i.Dir, id, nodeFile)
	return run(ended, command.Invocation{Settings: settings.Sources{File: file, Flags: set}, Stdout: io.Discard, Stderr: io.Discard})
}

// guardedFiles are all files of the installation's roles, and those that it could have besides.
func (i installation) guardedFiles() (files []guardedFile) {
	i.t.Helper()
	dir := filepath.Join(i.t.TempDir(), "more")
	must.OK(i.t, os.Mkdir(dir, 0o700))
	other := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		must.OK(i.t, os.WriteFile(path, content, 0o600))
		return path
	}
	copied := func(from, name string) string {
		content, err := os.ReadFile(filepath.Join(i.Dir, from))
		must.OK(i.t, err)
		return other(name, content)
	}
	add := func(what, role, kind, path string, set map[string]string) {
		if !filepath.IsAbs(path) {
			path = filepath.Join(i.Dir, path)
		}
		files = append(files, guardedFile{what, role, kind, path, set})
	}
	for role, id := range map[string]string{
		"broker": "broker1", health.RolePrimary: "primary1", "proxy": "proxy1", "health": "health1", health.RoleSecondary: "ns1",
	} {
		add("config.toml", role, settings.PublicFile, id+"/"+nodeFile, nil)
		if role != "broker" {
			add("broker.ca_file", role, settings.PublicFile, id+"/"+caFile, nil)
			add("broker.nkey_file", role, settings.SecretFile, id+"/"+nkeyFile, nil)
		}
		if role == health.RolePrimary || role == health.RoleSecondary {
			add("powerdns.api_key_file", role, settings.SecretFile, id+"/"+apiKeyFile, nil)
		}
	}
	crt, key, ca := copied("broker1/"+certFile, "node.crt"), copied("broker1/"+keyFile, "node.key"), copied(caFile, "other-ca.crt")
	pair := map[string]string{"broker.cert_file": crt, "broker.key_file": key}
	add("broker.cert_file", "health", settings.PublicFile, crt, pair)
	add("broker.key_file", "health", settings.SecretFile, key, pair)
	for name, set := range map[string]map[string]string{
		"creds_file": {}, "token_file": {}, "password_file": {"broker.user": "joe"},
	} {
		path := other(name, []byte("secret"))
		set["broker.nkey_file"], set["broker."+name] = "", path
		add("broker."+name, "health", settings.SecretFile, path, set)
	}
	for _, role := range []string{health.RolePrimary, health.RoleSecondary, "proxy"} {
		set := map[string]string{"powerdns.ca_file": ca, "powerdns.api_url": "https://127.0.0.1:1"}
		add("powerdns.ca_file", role, settings.PublicFile, ca, set)
	}
	spare := other("spare-key", []byte("secret"))
	add("powerdns.api_key_file", "proxy", settings.SecretFile, spare, map[string]string{"powerdns.api_key_file": spare})
	beats := map[string]string{
		"primary.replicated": "true", "primary.heartbeat_urls": "https://127.0.0.1:1", "primary.heartbeat_key_file": spare,
		"primary.heartbeat_ca_file": ca,
	}
	add("primary.heartbeat_key_file", health.RolePrimary, settings.SecretFile, spare, beats)
	add("primary.heartbeat_ca_file", health.RolePrimary, settings.PublicFile, ca, beats)
	add("primary.sign_key_file", health.RolePrimary, settings.SecretFile, "primary1/"+signFile, nil)
	add("secondary.state_dir", health.RoleSecondary, settings.StateFolder, "ns1/state", nil)
	add("health.state_dir", health.RoleHealth, settings.StateFolder, "health1/state", nil)
	watch := map[string]string{
		"observe.listen": "127.0.0.1:0", "observe.tls_cert_file": copied("broker1/"+certFile, "observe.crt"),
		"observe.tls_key_file": copied("broker1/"+keyFile, "observe.key"), "observe.client_ca_file": ca,
		"observe.password_file": other("password", []byte("correct horse battery\n")),
	}
	for key, kind := range map[string]string{
		"observe.tls_cert_file": settings.PublicFile, "observe.tls_key_file": settings.SecretFile,
		"observe.client_ca_file": settings.PublicFile, "observe.password_file": settings.SecretFile,
	} {
		add(key, health.RoleHealth, kind, watch[key], watch)
	}
	i.serverFiles(add, other)
	i.proxyFiles(add, copied, ca)
	return files
}

type adding = func(what, role, kind, path string, set map[string]string)

// serverFiles are those that the nats-server reads by its own configuration.
func (i installation) serverFiles(add adding, other func(string, []byte) string) {
	add("server.config", "broker", settings.PublicFile, "broker1/nats.conf", nil)
	add("accounts", "broker", settings.PublicFile, "broker1/"+broker.AccountsFile, nil)
	add("cert_file", "broker", settings.PublicFile, "broker1/"+certFile, nil)
	add("key_file", "broker", settings.SecretFile, "broker1/"+keyFile, nil)
	add("ca_file", "broker", settings.PublicFile, "broker1/"+caFile, nil)
	add("store_dir", "broker", settings.StateFolder, "broker1/store", nil)
	text, err := os.ReadFile(filepath.Join(i.Dir, "broker1", "nats.conf"))
	must.OK(i.t, err)
	other("users.conf", []byte("accounts { A { users: [ { user: joe, password: secret } ] } }\n"))
	other("more.conf", []byte("include 'users.conf'\n"))
	conf := other("passwords.conf", []byte(strings.Replace(string(text), `include "accounts.conf"`, "include more.conf", 1)))
	set := map[string]string{"server.config": conf}
	add("a password in a file that is included", "broker", settings.SecretFile, filepath.Join(filepath.Dir(conf), "users.conf"), set)
	add("a file that is included between", "broker", settings.PublicFile, filepath.Join(filepath.Dir(conf), "more.conf"), set)
}

func (i installation) proxyFiles(add adding, copied func(from, name string) string, ca string) {
	crt, key := copied("broker1/"+certFile, "proxy.crt"), copied("broker1/"+keyFile, "proxy.key")
	pair := map[string]string{"proxy.tls_cert": crt, "proxy.tls_key": key}
	add("proxy.tls_cert", "proxy", settings.PublicFile, crt, pair)
	add("proxy.tls_key", "proxy", settings.SecretFile, key, pair)
	keys := filepath.Join(filepath.Dir(crt), "keys.toml")
	must.OK(i.t, os.WriteFile(keys, []byte("[[proxy.key]]\nid = \"k\"\nhash = \"sha256:"+strings.Repeat("0", 64)+"\"\nzones = [\"*\"]\nverbs = [\"read\"]\n"), 0o600))
	add("proxy.keys_file", "proxy", settings.SecretFile, keys, map[string]string{"proxy.keys_file": keys, "powerdns.api_key_file": filepath.Join(filepath.Dir(crt), "spare-key")})
	add("proxy.client_ca", "proxy", settings.PublicFile, ca, map[string]string{"proxy.client_ca": ca})
	add("proxy.state_dir", "proxy", settings.StateFolder, "proxy1/state", nil)
	add("the proxy's own key", "proxy", settings.SecretFile, "proxy1/state/proxy.key", nil)
	add("the proxy's own certificate", "proxy", settings.PublicFile, "proxy1/state/proxy.crt", nil)
	for _, role := range []string{"proxy", health.RoleSecondary, "broker", health.RoleHealth} { // which makes their folders
		must.OK(i.t, i.tryStart(guardedFile{role: role}))
	}
}
