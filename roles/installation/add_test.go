package installation

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/host"
	"pdns-distribute/roles/settings"
)

// written is an installation that nobody runs, for /var/lib/pdns-distribute on the hosts.
func written(t *testing.T, brokers string) installation {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "installation")
	must.OK(t, initAs(dir, "/var/lib/pdns-distribute", brokers, io.Discard, "ns1", "ns2"))
	return installation{Installation{Dir: dir}, t}
}

// contents are all files and what is in them, but for archives, which follow from them.
func (i installation) contents() map[string]string {
	i.t.Helper()
	files := map[string]string{}
	for name := range tree(i.t, i.Dir) {
		if !strings.HasSuffix(name, ".tar.gz") {
			files[name] = i.read(name)
		}
	}
	return files
}

// wantPacked compares all archives with the folders of the nodes.
func (i installation) wantPacked() {
	i.t.Helper()
	r, err := readRegister(i.Dir)
	must.OK(i.t, err)
	folders, archives := map[string]fs.FileMode{}, map[string]fs.FileMode{}
	for name, mode := range tree(i.t, i.Dir) {
		switch folder, _, below := strings.Cut(name, "/"); {
		case strings.HasSuffix(name, ".tar.gz"):
			out := filepath.Join(i.t.TempDir(), "unpacked")
			must.OK(i.t, os.MkdirAll(out, 0o700))
			must.OK(i.t, exec.CommandContext(i.t.Context(), "tar", "-xpzf", filepath.Join(i.Dir, name), "-C", out).Run())
			for file, mode := range tree(i.t, out) {
				archives[file] = mode
				if content, err := os.ReadFile(filepath.Join(out, file)); err != nil || string(content) != i.read(file) {
					i.t.Errorf("%s has another %s than the folder (%v)", name, file, err)
				}
			}
		case below && r.find(folder) != nil:
			folders[name] = mode
		}
	}
	if !maps.Equal(archives, folders) {
		i.t.Errorf("the archives hold %v\nthe folders   %v", archives, folders)
	}
}

func (i installation) read(name string) string {
	i.t.Helper()
	text, err := os.ReadFile(filepath.Join(i.Dir, name))
	must.OK(i.t, err)
	return string(text)
}

// wantChanged compares with what was before.
func (i installation) wantChanged(before map[string]string, want ...string) {
	i.t.Helper()
	var changed []string
	now := i.contents()
	for name := range now {
		if old, was := before[name]; !was || old != now[name] {
			changed = append(changed, name)
		}
	}
	for name := range before {
		if _, is := now[name]; !is {
			changed = append(changed, "-"+name)
		}
	}
	slices.Sort(changed)
	slices.Sort(want)
	if !slices.Equal(changed, want) {
		i.t.Errorf("changed %v\nwant    %v", changed, want)
	}
	i.wantPacked()
}

func wantMisuse(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !errors.Is(err, command.ErrUsage) || !strings.Contains(err.Error(), part) {
			t.Errorf("error is %v, want %q in it", err, part)
		}
	}
}

func TestInitAgain(t *testing.T) {
	i := written(t, "a,b,c")
	before := i.contents()
	var out strings.Builder
	must.OK(t, initAs(i.Dir, "/var/lib/pdns-distribute/", "a:4222,b,c", &out, "ns2,ns1"))
	if want := i.Dir + " holds this installation already; nothing was changed.\n"; out.String() != want {
		t.Errorf("got %q", out.String())
	}
	wantMisuse(t, initAs(i.Dir, "/elsewhere", "a,x,c", io.Discard, "ns1", "ns3", "health2"),
		"nothing was changed:",
		"\n  it is for /var/lib/pdns-distribute on the hosts, not for /elsewhere: give --home /var/lib/pdns-distribute",
		"\n  broker2 is at b:4222, not at x:4222: give --broker as it was",
		"\n  it has no ns3: pdns-distribute init add "+i.Dir+" secondary ns3",
		"\n  it has the secondary ns2 as well: name it, too, or take it out by pdns-distribute init remove "+i.Dir+" ns2")
	wantMisuse(t, initAs(i.Dir, "/var/lib/pdns-distribute", "a,b,c,d,e", io.Discard, "ns1", "ns2"), "it has no broker4 at d:4222, and brokers cannot be added")
	wantMisuse(t, initAs(i.Dir, "/var/lib/pdns-distribute", "a", io.Discard, "ns1", "ns2"), "it has broker2 at b:4222 as well, and brokers cannot be removed")
	wantMisuse(t, initAs(i.Dir, "/var/lib/pdns-distribute", "a,b,c", io.Discard, "ns1", "ns2", "ns1"), `"ns1" is the id of the secondary already`)
	wantMisuse(t, initAs(i.Dir, "relative", "a,b,c", io.Discard), "--home relative: name a whole path")
	wantMisuse(t, initAs(i.Dir, "/srv/my dns", "a,b,c", io.Discard), "\"/srv/my dns\" has characters that")
	if out, err := i.run("update"); err != nil || !strings.Contains(out, "nothing was changed") {
		t.Errorf("%s, %v", out, err)
	}
	i.wantChanged(before)
}

func TestUpdateBringsTheAccountsOfThisVersion(t *testing.T) {
	i := written(t, "a,b,c")
	before := i.contents()
	must.OK(t, os.WriteFile(filepath.Join(i.Dir, "broker2", broker.AccountsFile), []byte("# older"), 0o644))
	if out := i.mustRun("update"); !strings.Contains(out, "systemctl reload pdns-distribute-broker@broker2") {
		t.Error(out)
	}
	i.wantChanged(before)
}

// secrets are what must be in one file only, which its owner alone can read.
var secrets = regexp.MustCompile(`SU[A-Z0-9]{56}|PRIVATE KEY|(?m:^api-key=.+$)`)

func TestSecretsAreTheOwnersAlone(t *testing.T) {
	i := written(t, "a,b,c")
	i.mustRun("add", "secondary", "ns3")
	i.mustRun("add", "primary", "primary2")
	i.mustRun("rotate", "nkey", "ns1")
	i.mustRun("rotate", "signing", "primary1")
	i.mustRun("rotate", "certificate", "broker1")
	i.mustRun("rotate", "ca")
	for name, mode := range tree(t, i.Dir) {
		text := i.read(name)
		if mode != secret && mode != public || mode != secret && secrets.MatchString(text) {
			t.Errorf("%s has mode %04o", name, mode)
		}
	}
}

func TestAddTouchesNothingElse(t *testing.T) {
	i := written(t, "a,b,c")
	for _, name := range []string{"ns1/config.toml", "broker1/nats.conf"} { // as an operator does
		must.OK(t, os.WriteFile(filepath.Join(i.Dir, name), []byte("# edited\n"+i.read(name)), public))
	}
	before := i.contents()
	out := i.mustRun("add", "secondary", "ns3,ns4")
	want := []string{config.RegisterFile, "broker1/accounts.conf", "broker2/accounts.conf", "broker3/accounts.conf"}
	for _, id := range []string{"ns3", "ns4"} {
		for _, name := range []string{caFile, nodeFile, nkeyFile, apiKeyFile, host.SnippetFile} {
			want = append(want, id+"/"+name)
		}
	}
	i.wantChanged(before, want...)
	for _, part := range []string{
		" 1. Copy " + i.Dir + "/broker1/accounts.conf\n    to a as /var/lib/pdns-distribute/broker1/accounts.conf, and there:\n\n        systemctl reload pdns-distribute-broker@broker1\n",
		" 5. Put ns4 in its place on its host, where the package is installed, and start it as install says there:\n\n" +
			"        ssh root@HOST pdns-distribute install - < " + i.Dir + "/ns4.tar.gz\n",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("%q is not in:\n%s", part, out)
		}
	}
	if i.read("ns3/"+apiKeyFile) == i.read("ns4/"+apiKeyFile) || trusted(i, "ns3") != trusted(i, "ns1") {
		t.Error("the new nodes have one API key, or trust others than the old ones do")
	}
	i.mustRun("add", "primary", "primary2")
	if i.read("primary2/"+apiKeyFile) != i.read("primary1/"+apiKeyFile) {
		t.Error("the new primary has another API key than the PowerDNS that it stands beside")
	}
	i.mustRun("add", "proxy", "proxy2")
	if _, err := os.Stat(filepath.Join(i.Dir, "proxy2", apiKeyFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the new proxy was given the API key, which it does not need: ", err)
	}
}

// Former versions gave proxies the API key. An update takes nothing away, and says how an operator does.
func TestUpdateOfAProxyWithAKey(t *testing.T) {
	i := written(t, "a")
	for _, name := range []string{apiKeyFile, "pdns.conf"} {
		must.OK(t, os.WriteFile(filepath.Join(i.Dir, "proxy1", name), []byte("key\n"), secret))
	}
	tlsConfig := filepath.Join(i.Dir, "proxy1", nodeFile)
	had := strings.Replace(i.read("proxy1/"+nodeFile), "\n[proxy]", "api_key_file = \"powerdns-api-key\" # see pdns.conf\n\n[proxy]", 1)
	must.OK(t, os.WriteFile(tlsConfig, []byte(had), public))
	before := i.contents()
	out := i.mustRun("update")
	i.wantChanged(before)
	if !strings.Contains(out, " 1. Proxy1 needs no API key of PowerDNS") || !strings.Contains(out, i.Home+"/proxy1:") {
		t.Error(out)
	}
	for command := range strings.Lines(out) {
		if command = strings.TrimSpace(command); strings.HasPrefix(command, "sed ") || strings.HasPrefix(command, "rm ") {
			cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
			cmd.Dir = filepath.Join(i.Dir, "proxy1")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", command, err, out)
			}
		}
	}
	if cfg, err := config.ForRole(settings.Sources{File: tlsConfig}, "proxy"); err != nil || cfg.PowerDNS.APIKeyFile != "" {
		t.Errorf("after the steps: %v, %q", err, cfg.PowerDNS.APIKeyFile)
	}
	if out := i.mustRun("update"); strings.Contains(out, "needs no") {
		t.Error(out)
	}
}

// trusted is the line of a secondary's configuration.
func trusted(i installation, id string) string {
	i.t.Helper()
	text := i.read(id + "/" + nodeFile)
	list, err := settings.FindList([]byte(text), trustedList.section, trustedList.key)
	must.OK(i.t, err)
	return text[list.Begin:list.End]
}

func TestAddRefuses(t *testing.T) {
	i := written(t, "a")
	must.OK(t, os.Mkdir(filepath.Join(i.Dir, "stray"), 0o700))
	before := i.contents()
	for want, args := range map[string][]string{
		"brokers cannot be added":                  {"broker", "broker2"},
		`"secundary" is none of`:                   {"secundary", "ns3"},
		`, did you mean "secondary"?`:              {"secundary", "ns3"},
		`"ns1" is the id of the secondary already`: {"secondary", "ns3", "ns1"},
		`"ns.3"`: {"secondary", "ns.3"},
		"stray exists already, though no node stray is insta": {"secondary", "stray"},
		"name the folder, the role and the new nodes":         {"secondary"},
	} {
		_, err := i.run("add", args...)
		wantMisuse(t, err, want)
	}
	err := InitAdd(t.Context(), command.Invocation{Args: []string{t.TempDir(), "secondary", "ns3"}})
	wantMisuse(t, err, "holds no installation: there is no installation.toml in it")
	err = InitAdd(t.Context(), command.Invocation{Args: []string{"/none", "secondary", "ns3"}})
	wantMisuse(t, err, "/none holds no installation")
	i.wantChanged(before)
}

func TestWithinTheFolder(t *testing.T) {
	i := written(t, "a")
	t.Chdir(i.Dir)
	for _, c := range []struct {
		run  func(context.Context, command.Invocation) error
		args string
	}{
		{InitAdd, "secondary ns3"}, {InitAdd, ". secondary ns4"}, {InitAdd, i.Dir + " secondary ns5"},
		{InitRotate, "nkey ns3"}, {InitRemove, "ns3 ns4"}, {InitUpdate, ""},
	} {
		if err := c.run(t.Context(), command.Invocation{Args: strings.Fields(c.args), Stdout: io.Discard, Options: options{}}); err != nil {
			t.Errorf("%s: %v", c.args, err)
		}
	}
	r, err := readRegister(i.Dir)
	must.OK(t, err)
	if r.find("ns3") != nil || r.find("ns4") != nil || r.find("ns5") == nil {
		t.Error(i.read(config.RegisterFile))
	}
	wantMisuse(t, InitAdd(t.Context(), command.Invocation{Args: []string{"/none", "secondary", "ns6"}}), `"/none" is none of`)
}

func TestRemove(t *testing.T) {
	i := written(t, "a")
	before := i.contents()
	out := i.mustRun("remove", "ns2")
	moved, err := filepath.Glob(filepath.Join(i.Dir, "ns2.removed-*"))
	must.OK(t, err)
	if len(moved) != 1 || !strings.Contains(out, moved[0]) || !strings.Contains(out, "pdns-distribute forget --config /var/lib/pdns-distribute/health1/config.toml ns2\n") {
		t.Errorf("folders %v, and the word:\n%s", moved, out)
	}
	must.OK(t, os.Rename(moved[0], filepath.Join(i.Dir, "ns2")))
	i.wantChanged(before, config.RegisterFile, "broker1/accounts.conf")
	if accounts := i.read("broker1/accounts.conf"); strings.Contains(accounts, "# ns2") || !strings.Contains(accounts, "# ns1") {
		t.Error(accounts)
	}
	for want, args := range map[string][]string{
		`no node "ns2" is installed`:                              {"ns2"},
		"(there are broker1, primary1, proxy1, health1, ns1), di": {"ns3"},
		"brokers cannot be removed":                               {"broker1"},
		"no primary would be left":                                {"primary1"},
		"name the folder and the nodes":                           {},
	} {
		_, err := i.run("remove", args...)
		wantMisuse(t, err, want)
	}
}

func TestPrimariesComeAndGoWithTheirSigningKeys(t *testing.T) {
	i := written(t, "a")
	before := i.contents()
	own, err := zone.NewSignKey()
	must.OK(t, err)
	edited := strings.Replace(i.read("ns1/config.toml"), "trusted_keys = [", "  trusted_keys=[\n  '"+own.Public().String()+"',\n  ", 1) + "# edited\n"
	must.OK(t, os.WriteFile(filepath.Join(i.Dir, "ns1/config.toml"), []byte(edited), 0o600))
	must.OK(t, os.Chmod(filepath.Join(i.Dir, "ns1/config.toml"), 0o600))

	out := i.mustRun("add", "primary", "primary2")
	first, second := publicOf(i, "primary1"), publicOf(i, "primary2")
	if want := "trusted_keys = [" + quotedList([]string{first, second, own.Public().String()}) + "]"; trusted(i, "ns1") != want || !strings.HasSuffix(i.read("ns1/config.toml"), "# edited\n") {
		t.Errorf("got %s, want %s", trusted(i, "ns1"), want)
	}
	if !strings.Contains(out, "its line trusted_keys alone") || !strings.Contains(out, "systemctl restart pdns-distribute-secondary@ns2") {
		t.Error(out)
	}
	if mode := tree(t, i.Dir)["ns1/config.toml"]; mode != 0o600 {
		t.Errorf("mode %04o", mode)
	}
	if out := i.mustRun("remove", "primary2"); !strings.Contains(out, "pdns-distribute sync --all --config /var/lib/pdns-distribute/health1/config.toml") {
		t.Error(out)
	}
	if now := i.read("ns2/config.toml"); now != before["ns2/config.toml"] {
		t.Error(now)
	}
}

// publicOf is what secondaries have to trust of a primary's own file.
func publicOf(i installation, id string) string {
	i.t.Helper()
	key, err := zone.ParseSignKey([]byte(i.read(id + "/" + signFile)))
	must.OK(i.t, err)
	return key.Public().String()
}

func TestRotationOfNKeys(t *testing.T) {
	i := written(t, "a")
	before := i.contents()
	_, err := i.run("rotate", "nkey", "ns1", "--finish")
	wantMisuse(t, err, "no rotation of nkey of ns1 has begun")
	i.mustRun("rotate", "nkey", "ns1")
	i.wantChanged(before, config.RegisterFile, "broker1/accounts.conf", "ns1/node.nkey")
	begun := i.contents()
	_, err = i.run("rotate", "nkey", "ns1")
	wantMisuse(t, err, "has begun already: bring it to an end first, by pdns-distribute init rotate --finish "+i.Dir+" nkey ns1")
	old, err := broker.ReadUserKey([]byte(before["ns1/node.nkey"]))
	must.OK(t, err)
	renewed, err := broker.ReadUserKey([]byte(begun["ns1/node.nkey"]))
	must.OK(t, err)
	if a := begun["broker1/accounts.conf"]; !strings.Contains(a, old.PublicKey) || !strings.Contains(a, renewed.PublicKey) {
		t.Error(a)
	}
	i.mustRun("rotate", "nkey", "ns1", "--finish")
	i.wantChanged(begun, config.RegisterFile, "broker1/accounts.conf")
	if a := i.read("broker1/accounts.conf"); strings.Contains(a, old.PublicKey) || !strings.Contains(a, renewed.PublicKey) {
		t.Error(a)
	}
}

func TestRotationOfSigningKeys(t *testing.T) {
	i := written(t, "a")
	before, old := i.contents(), publicOf(i, "primary1")
	i.mustRun("rotate", "signing", "primary1")
	i.wantChanged(before, config.RegisterFile, "primary1/sign.key", "ns1/config.toml", "ns2/config.toml")
	renewed := publicOf(i, "primary1")
	if want := "trusted_keys = [" + quotedList([]string{renewed, old}) + "]"; trusted(i, "ns2") != want {
		t.Errorf("got %s, want %s", trusted(i, "ns2"), want)
	}
	begun := i.contents()
	i.mustRun("rotate", "signing", "primary1", "--finish")
	i.wantChanged(begun, config.RegisterFile, "ns1/config.toml", "ns2/config.toml")
	if want := "trusted_keys = [" + quotedList([]string{renewed}) + "]"; trusted(i, "ns1") != want {
		t.Errorf("got %s, want %s", trusted(i, "ns1"), want)
	}
}

func TestRotateRefuses(t *testing.T) {
	i := written(t, "a")
	must.OK(t, os.Remove(filepath.Join(i.Dir, caKeyFile)))
	before := i.contents()
	for want, args := range map[string][]string{
		"name the folder, what to rotate, and whose":                              {},
		`"nkeys" is none of nkey, signing, certificate, ca, did you mean "nkey"?`: {"nkeys", "ns1"},
		"name one node behind nkey":                                               {"nkey"},
		"broker1 is a broker, and has no nkey":                                    {"nkey", "broker1"},
		"ns1 is a secondary, not a primary":                                       {"signing", "ns1"},
		"ns1 is a secondary, not a broker":                                        {"certificate", "ns1"},
		"there is nothing to finish for a certificate":                            {"certificate", "broker1", "--finish"},
		"ca is of the whole installation: leave out ns1":                          {"ca", "ns1"},
		"no rotation of ca has begun":                                             {"ca", "--finish"},
		"no rotation of signing of primary1 has begun":                            {"signing", "primary1", "--finish"},
		`no node "ns9" is installed`:                                              {"nkey", "ns9"},
	} {
		_, err := i.run("rotate", args...)
		wantMisuse(t, err, want)
	}
	if _, err := i.run("rotate", "certificate", "broker1"); err == nil || !strings.Contains(err.Error(), "ca.key is not there: put it back for this command") {
		t.Errorf("without ca.key: %v", err)
	}
	i.wantChanged(before)
}

func TestCommandsDoNotMeet(t *testing.T) {
	i := written(t, "a")
	before := i.contents()
	unlock, err := lock(i.Dir)
	must.OK(t, err)
	if _, err := i.run("add", "secondary", "ns3"); err == nil || !strings.Contains(err.Error(), "is being changed by another command") {
		t.Errorf("two at once: %v", err)
	}
	must.OK(t, unlock())
	i.wantChanged(before)
	i.mustRun("add", "secondary", "ns3")
}

func TestInterruptedChanges(t *testing.T) {
	i := written(t, "a")
	before := i.contents()
	for _, stage := range []string{prepared, decided} { // the command was killed before, and after its decision
		must.OK(t, writeAll(filepath.Join(i.Dir, stage), []initFile{{"ns9/node.nkey", []byte("seed"), secret}, {"ca.crt", []byte("new"), public}}))
		i.mustRun("update")
		if stage == prepared {
			i.wantChanged(before)
		}
	}
	i.wantChanged(before, "ca.crt", "ns9/node.nkey")
}

func TestFailedChangeLeavesNothing(t *testing.T) {
	i := written(t, "a")
	before := i.contents()
	must.OK(t, os.Remove(filepath.Join(i.Dir, caFile)))
	if _, err := i.run("add", "secondary", "ns3"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), caFile) {
		t.Errorf("without ca.crt: %v", err)
	}
	must.OK(t, os.WriteFile(filepath.Join(i.Dir, config.RegisterFile), []byte("home = 1\n"), 0o600))
	if _, err := i.run("add", "secondary", "ns3"); err == nil || !strings.Contains(err.Error(), config.RegisterFile) {
		t.Errorf("with a broken register: %v", err)
	}
	now := i.contents()
	if len(now) != len(before)-1 {
		t.Errorf("there are %d files, were %d", len(now), len(before))
	}
}
