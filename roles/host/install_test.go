package host

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pdns-distribute/roles/command"
)

// tried is a host in a folder: PowerDNS as Debian has it, the package's units, and no users yet.
type tried struct {
	host
	t      *testing.T
	users  map[string]bool
	ran    []string
	owned  map[string]bool // what was given to the role's user
	active map[string]bool
}

func newHost(t *testing.T) *tried {
	t.Helper()
	h := &tried{t: t, users: map[string]bool{}, owned: map[string]bool{}, active: map[string]bool{}}
	root := t.TempDir()
	h.host = host{
		root: root, home: filepath.Join(root, Home), run: h.runs,
		active: func(unit string) bool { return h.active[unit] },
		owner:  func(user string) (int, int, bool) { return os.Getuid(), os.Getgid(), h.users[user] },
		chown: func(folder *os.Root, name string, _, _ int) error {
			h.owned[filepath.Join(folder.Name(), name)] = true
			return nil
		},
		lookup: func(name string) ([]netip.Addr, error) {
			if name == "broker1.example.net" {
				return []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}, nil
			}
			address, err := netip.ParseAddr(name)
			return []netip.Addr{address}, err
		},
		own: func() ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("fe80::1%eth0")}, nil
		},
	}
	for _, role := range []string{"broker", "secondary"} {
		h.write("/usr/lib/systemd/system/pdns-distribute-"+role+"@.service", "[Service]\n", 0o644)
	}
	h.write("/etc/powerdns/pdns.conf", "launch=bind\ninclude-dir=/etc/powerdns/pdns.d\n", 0o640)
	return h
}

func (h *tried) runs(name string, args ...string) error {
	h.ran = append(h.ran, strings.Join(append([]string{name}, args...), " "))
	switch {
	case name == "useradd":
		h.users[args[len(args)-1]] = true
	case slices.Contains(args, "disable"):
		delete(h.active, args[len(args)-1])
	}
	return nil
}

func (h *tried) write(path, text string, mode fs.FileMode) {
	h.t.Helper()
	must(h.t, os.MkdirAll(filepath.Dir(h.at(path)), 0o755))
	must(h.t, os.WriteFile(h.at(path), []byte(text), mode))
	must(h.t, os.Chmod(h.at(path), mode))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree lists all of the host: modes, and what is in files.
func (h *tried) tree() map[string]string {
	h.t.Helper()
	all := map[string]string{}
	must(h.t, filepath.WalkDir(h.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content := ""
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(text)
		}
		all[strings.TrimPrefix(path, h.root)] = fmt.Sprint(info.Mode(), " ", content)
		return nil
	}))
	return all
}

type options map[string]bool

func (o options) Bool(name string) bool       { return o[name] }
func (o options) String(string) string        { return "" }
func (o options) StringSlice(string) []string { return nil }

func (h *tried) do(what func(command.Invocation) error, o options, args ...string) (string, error) {
	h.t.Helper()
	var out bytes.Buffer
	err := what(command.Invocation{Args: args, Options: o, Stdout: &out})
	return out.String(), err
}

func (h *tried) must(what func(command.Invocation) error, o options, args ...string) string {
	h.t.Helper()
	out, err := h.do(what, o, args...)
	if err != nil {
		h.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// ns1 are the files of a secondary, as init writes them.
func ns1() []File {
	return []File{
		{ConfigFile, []byte("[node]\nid = \"ns1\"\n[secondary]\nstate_dir = \"state\"\n"), 0o644},
		{"node.nkey", []byte("SUSECRET"), 0o600},
		{"ca.crt", []byte("certificate"), 0o644},
		{APIKeyFile, []byte("own\n"), 0o600},
		{SnippetFile, []byte("# For ns1\napi=yes\napi-key=own\nsecondary=yes\n"), 0o600},
	}
}

// archive writes the archive of a node.
func archive(t *testing.T, id string, files []File) string {
	t.Helper()
	packed, err := Pack(id, files)
	must(t, err)
	path := filepath.Join(t.TempDir(), Archive(id))
	must(t, os.WriteFile(path, packed, 0o600))
	return path
}

func (h *tried) wantFiles(want map[string]string) {
	h.t.Helper()
	has := h.tree()
	for path, what := range want {
		if has[path] != what {
			h.t.Errorf("%s is %q, want %q", path, has[path], what)
		}
	}
}

const snippetPath = "/etc/powerdns/pdns.d/pdns-distribute.conf"

func TestInstall(t *testing.T) {
	h := newHost(t)
	packed := archive(t, "ns1", ns1())
	before := h.tree()
	dry := h.must(h.install, options{"dry-run": true}, packed)
	if after := h.tree(); fmt.Sprint(after) != fmt.Sprint(before) || len(h.ran) > 0 {
		t.Errorf("--dry-run changed the host: %v, %v", after, h.ran)
	}
	out := h.must(h.install, nil, packed)
	steps := func(text string) (all []string) {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "  - ") {
				all = append(all, line)
			}
		}
		return all
	}
	if announced, done := steps(dry), steps(out); !slices.Equal(announced, done) || len(done) < 9 {
		t.Errorf("announced %q\ndone      %q", announced, done)
	}
	if want := "Now:\n\n    systemctl restart pdns\n    systemctl enable --now pdns-distribute-secondary@ns1\n"; !strings.HasSuffix(out, want) {
		t.Errorf("it does not end with %q:\n%s", want, out)
	}
	if want := "useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin pdns-distribute-secondary"; !slices.Equal(h.ran, []string{want}) {
		t.Errorf("it ran %q", h.ran)
	}
	h.wantFiles(map[string]string{
		Home:                      "drwxr-xr-x ",
		Home + "/ns1":             "drwx------ ",
		Home + "/ns1/config.toml": "-rw-r--r-- " + string(ns1()[0].Content),
		Home + "/ns1/node.nkey":   "-rw------- SUSECRET",
		Home + "/ns1/ca.crt":      "-rw-r--r-- certificate",
		snippetPath:               "-rw-r----- # For ns1\napi=yes\napi-key=own\nsecondary=yes\n",
	})
	for _, name := range []string{"", "/node.nkey", "/config.toml"} {
		if path := h.home + "/ns1" + name; !h.owned[path] {
			t.Errorf("%s is not the user's: %v", path, h.owned)
		}
	}
	h.active["pdns-distribute-secondary@ns1"] = true
	before = h.tree()
	if out := h.must(h.install, nil, packed); out != "secondary ns1 is in place already.\n" || fmt.Sprint(h.tree()) != fmt.Sprint(before) {
		t.Errorf("a second time: %s", out)
	}
}

const limitsPath = "/etc/systemd/system/pdns-distribute-secondary@ns1.service.d/" + AddressesFile

func TestLimitAddresses(t *testing.T) {
	h := newHost(t)
	h.write("/etc/resolv.conf", "search example.net\nnameserver 127.0.0.53\nnameserver 192.0.2.2\n", 0o644)
	files := ns1()
	config := func(text string) { files[0].Content = []byte("[node]\nid = \"ns1\"\n[secondary]\n" + text) }
	config("[broker]\nurls = [\"tls://broker1.example.net:4222\", \"tls://198.51.100.7\"]\n[powerdns]\napi_url = \"unix:/run/pdns/api.sock\"\ndns_address = \"[2001:db8::53]:53\"\n")
	allowed := func() (all []string) {
		text, err := os.ReadFile(h.at(limitsPath))
		must(t, err)
		if !strings.Contains(string(text), "\n[Service]\nIPAddressDeny=any\nIPAddressAllow=localhost\n") {
			t.Errorf("%s", text)
		}
		for line := range strings.Lines(string(text)) {
			if address, is := strings.CutPrefix(strings.TrimSpace(line), "IPAddressAllow="); is && address != "localhost" {
				all = append(all, address)
			}
		}
		return all
	}
	h.must(h.install, nil, archive(t, "ns1", files))
	if _, err := os.Stat(h.at(limitsPath)); err == nil {
		t.Error("addresses are limited, which nobody asked for")
	}
	h.must(h.install, options{"limit-addresses": true}, archive(t, "ns1", files))
	want := []string{"192.0.2.1", "192.0.2.2", "192.0.2.53", "198.51.100.7", "2001:db8::1", "2001:db8::53", "fe80::1"}
	if got := allowed(); !slices.Equal(got, want) {
		t.Errorf("it may talk to %q\nwant              %q", got, want)
	}
	if out := h.must(h.install, nil, archive(t, "ns1", files)); !strings.Contains(out, "is in place already") {
		t.Error(out)
	}
	// The configuration that the host has counts, and is looked at again.
	config("[broker]\nurls = [\"tls://198.51.100.8:4222\"]\n")
	h.write(Home+"/ns1/config.toml", string(files[0].Content), 0o644)
	if missing, limited, err := h.missing("secondary", "ns1", h.home+"/ns1/config.toml"); err != nil || !limited || !slices.Equal(missing, []string{"198.51.100.8"}) {
		t.Errorf("kept from %q, limited %v: %v", missing, limited, err)
	}
	h.must(h.install, nil, h.home+"/ns1")
	if missing, limited, err := h.missing("secondary", "ns1", h.home+"/ns1/config.toml"); err != nil || !limited || len(missing) > 0 {
		t.Errorf("then kept from %q, limited %v: %v", missing, limited, err)
	}
	if got, want := allowed(), []string{"192.0.2.2", "192.0.2.53", "198.51.100.8", "fe80::1"}; !slices.Equal(got, want) {
		t.Errorf("then it may talk to %q\nwant                   %q", got, want)
	}
	config("[broker]\nurls = [\"tls://nowhere.example.net:4222\"]\n")
	h.write(Home+"/ns1/config.toml", string(files[0].Content), 0o644)
	if _, err := h.do(h.install, nil, h.home+"/ns1"); err == nil || !strings.Contains(err.Error(), "names nowhere.example.net, whose addresses cannot be found") {
		t.Errorf("a broker without an address: %v", err)
	}
	config("[observe]\nlisten = \":9504\"\n")
	h.write(Home+"/ns1/config.toml", string(files[0].Content), 0o644)
	if out := h.must(h.install, nil, h.home+"/ns1"); !strings.Contains(out, "observe.listen (:9504)") {
		t.Error(out)
	}
	h.must(h.uninstall, nil, "ns1")
	h.wantFiles(map[string]string{limitsPath: ""})
	if _, limited, err := h.missing("secondary", "ns1", h.home+"/ns1/config.toml"); err != nil || limited {
		t.Errorf("limited without the file: %v", err)
	}
	broker := []File{{ConfigFile, []byte("[node]\nid = \"b1\"\n[server]\n"), 0o644}}
	if out := h.must(h.install, options{"limit-addresses": true}, archive(t, "b1", broker)); !strings.Contains(out, "the addresses of a role broker are not limited") {
		t.Error(out)
	}
}

// A primary asks PowerDNS's resolver for the targets of ALIAS records.
func TestLimitAddressesOfAPrimary(t *testing.T) {
	for setting, want := range map[string]string{
		"resolver=198.51.100.53": "198.51.100.53", "resolver = 198.51.100.54:5353": "198.51.100.54", "resolver=[2001:db8::53]:53": "2001:db8::53",
		"# resolver=198.51.100.53": "", "resolver=127.0.0.1": "",
	} {
		h := newHost(t)
		h.write("/usr/lib/systemd/system/pdns-distribute-primary@.service", "[Service]\n", 0o644)
		h.write("/etc/powerdns/pdns.d/own.conf", setting+"\n", 0o644)
		h.must(h.install, options{"limit-addresses": true}, archive(t, "p1", []File{
			{ConfigFile, []byte("[node]\nid = \"p1\"\n[primary]\n[broker]\nurls = [\"tls://198.51.100.7\"]\n"), 0o644},
		}))
		text, err := os.ReadFile(h.at("/etc/systemd/system/pdns-distribute-primary@p1.service.d/" + AddressesFile))
		must(t, err)
		lines := strings.Count(string(text), "IPAddressAllow=")
		if want == "" && lines != 4 || want != "" && (lines != 5 || !strings.Contains(string(text), "IPAddressAllow="+want+"\n")) {
			t.Errorf("%s: %s", setting, text)
		}
	}
}

// What operators edit is kept; keys are replaced; another one's link is replaced as well, and not followed.
func TestInstallAgain(t *testing.T) {
	h := newHost(t)
	h.must(h.install, nil, archive(t, "ns1", ns1()))
	h.active["pdns-distribute-secondary@ns1"] = true
	h.write(Home+"/ns1/config.toml", "[node]\nid = \"ns1\"\n[secondary]\n# edited\n", 0o644)
	h.write(Home+"/ns1/state/zones.db", "zones", 0o600)
	h.write("/etc/shadow", "secret", 0o600)
	must(t, os.Symlink(h.at("/etc/shadow"), h.at(Home+"/ns1/.node.nkey.new")))
	files := ns1()
	files[1].Content = []byte("SUNEXT")
	out := h.must(h.install, nil, archive(t, "ns1", files))
	h.wantFiles(map[string]string{
		Home + "/ns1/config.toml":     "-rw-r--r-- [node]\nid = \"ns1\"\n[secondary]\n# edited\n",
		Home + "/ns1/config.toml.new": "-rw-r--r-- " + string(files[0].Content),
		Home + "/ns1/node.nkey":       "-rw------- SUNEXT",
		Home + "/ns1/state/zones.db":  "-rw------- zones",
		"/etc/shadow":                 "-rw------- secret",
	})
	if !strings.Contains(out, "config.toml is kept") || !strings.HasSuffix(out, "\n    systemctl restart pdns-distribute-secondary@ns1\n") {
		t.Error(out)
	}
}

// A folder that was copied to its place, without its modes.
func TestInstallInPlace(t *testing.T) {
	h := newHost(t)
	for _, f := range ns1() {
		h.write(Home+"/ns1/"+f.Name, string(f.Content), 0o644)
	}
	h.must(h.install, nil, h.at(Home+"/ns1"))
	h.wantFiles(map[string]string{
		Home + "/ns1":                  "drwx------ ",
		Home + "/ns1/config.toml":      "-rw-r--r-- " + string(ns1()[0].Content),
		Home + "/ns1/node.nkey":        "-rw------- SUSECRET",
		Home + "/ns1/powerdns-api-key": "-rw------- own\n",
	})
	if out := h.must(h.install, options{"dry-run": true}, h.at(Home+"/ns1")); !strings.Contains(out, "is in place already") {
		t.Error(out)
	}
}

// A PowerDNS that has an API key keeps it.
func TestInstallBesideAnAPIKey(t *testing.T) {
	for file, key := range map[string]string{"/etc/powerdns/pdns.d/api.conf": "theirs", "/etc/powerdns/pdns.conf": "$scrypt$x"} {
		h := newHost(t)
		h.write(file, "include-dir=/etc/powerdns/pdns.d\napi-key="+key+"\n", 0o640)
		out := h.must(h.install, nil, archive(t, "ns1", ns1()))
		want := map[string]string{
			snippetPath:                    "-rw-r----- # For ns1\napi=yes\nsecondary=yes\n",
			Home + "/ns1/powerdns-api-key": "-rw------- theirs\n",
		}
		if strings.HasPrefix(key, "$") {
			want[Home+"/ns1/powerdns-api-key"] = "-rw------- own\n"
		}
		h.wantFiles(want)
		if !strings.Contains(out, file+" has an API key, as a hash") && !strings.Contains(out, "PowerDNS keeps the API key that it has in "+file) {
			t.Error(out)
		}
		if out := h.must(h.install, options{"dry-run": true}, archive(t, "ns1", ns1())); !strings.Contains(out, "is in place already") {
			t.Error(out)
		}
	}
}

func TestUninstall(t *testing.T) {
	h := newHost(t)
	before := h.tree()
	broker := []File{
		{ConfigFile, []byte("[node]\nid = \"b1\"\n[server]\n"), 0o644},
		{ServerFile, []byte("store_dir: " + Home + "/b1/store\n"), 0o644},
		{UnitFile, []byte("[Service]\nSocketBindAllow=tcp:4444\n"), 0o644},
	}
	h.must(h.install, nil, archive(t, "ns1", ns1()), archive(t, "b1", broker))
	h.wantFiles(map[string]string{
		"/etc/systemd/system/pdns-distribute-broker@b1.service.d/unit.conf": "-rw-r--r-- [Service]\nSocketBindAllow=tcp:4444\n",
	})
	h.active["pdns-distribute-secondary@ns1"], h.active["pdns-distribute-broker@b1"] = true, true
	h.write(Home+"/ns1/state/zones.db", "zones", 0o600)
	h.ran = nil
	dry := h.must(h.uninstall, options{"dry-run": true}, "ns1", "b1")
	if len(h.ran) > 0 || !strings.Contains(dry, "this would be done") {
		t.Errorf("%v, %s", h.ran, dry)
	}
	h.must(h.uninstall, nil, "ns1", "b1")
	if want := []string{
		"systemctl disable --now pdns-distribute-secondary@ns1", "systemctl disable --now pdns-distribute-broker@b1", "systemctl daemon-reload",
	}; !slices.Equal(h.ran, want) {
		t.Errorf("it ran %q", h.ran)
	}
	h.wantFiles(map[string]string{Home + "/ns1/state/zones.db": "-rw------- zones", snippetPath: ""})
	if out := h.must(h.uninstall, nil, "ns1"); !strings.Contains(out, "is uninstalled already") {
		t.Error(out)
	}
	h.must(h.uninstall, options{"purge": true}, "ns1", "b1")
	must(t, os.Remove(h.home))
	for _, made := range []string{"/var/lib", "/var", "/etc/systemd/system", "/etc/systemd", "/etc/powerdns/pdns.d"} {
		must(t, os.Remove(h.at(made)))
	}
	if after := h.tree(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("left: %v\nwas:  %v", after, before)
	}
	if out := h.must(h.uninstall, nil, "ns1"); !strings.Contains(out, "is not installed") {
		t.Error(out)
	}
}

// What somebody has changed since is not taken away.
func TestUninstallKeepsWhatIsOthers(t *testing.T) {
	h := newHost(t)
	h.must(h.install, nil, archive(t, "ns1", ns1()))
	h.write(snippetPath, "# edited\n", 0o640)
	if out := h.must(h.uninstall, nil, "ns1"); !strings.Contains(out, snippetPath+" stays") {
		t.Error(out)
	}
	h.wantFiles(map[string]string{snippetPath: "-rw-r----- # edited\n"})
}

func TestInstallRefuses(t *testing.T) {
	h := newHost(t)
	config := File{ConfigFile, []byte("[node]\nid = \"b1\"\n[server]\n"), 0o644}
	for want, source := range map[string]string{
		"holds no node":                       archive(t, "ns1", []File{{"node.nkey", nil, 0o600}}),
		"holds no node: name":                 archive(t, "ns1", []File{{ConfigFile, []byte("[node]\nid = \"../ns1\"\n[secondary]\n"), 0o644}}),
		"has no unit pdns-distribute-proxy@":  archive(t, "p1", []File{{ConfigFile, []byte("[node]\nid = \"p1\"\n[proxy]\n"), 0o644}}),
		"b1 was written for another folder":   archive(t, "b1", []File{config, {ServerFile, []byte("store_dir: /srv/b1/store\n"), 0o644}}),
		"does not belong into a node's archi": archive(t, "ns1", []File{{"../../etc/passwd", nil, 0o644}}),
		"no such file":                        filepath.Join(t.TempDir(), "missing.tar.gz"),
	} {
		before := h.tree()
		if _, err := h.do(h.install, nil, source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if fmt.Sprint(h.tree()) != fmt.Sprint(before) {
			t.Errorf("%s: the host was changed", want)
		}
	}
}
