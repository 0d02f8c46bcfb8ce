//go:build campaign

package fleet_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/operator"
	"pdns-distribute/roles/settings"
)

// The commands of docs/migrate.md are run as they stand there, each on its host, but for those that make a second
// PowerDNS out of Debian's units. Afterwards the secondary has left, and changes arrive by NOTIFY and AXFR.
func TestMigrationDocument(t *testing.T) {
	path := program(t)
	quickly := map[string]string{"xfr-cycle-interval": "1"}
	i := start(t, fleet.Options{OfPrimary: quickly, Settings: quickly, Set: map[string]string{
		"primary.sweep_interval": "1s", "health.inactive_after": "10s",
	}})
	h := &hosts{harness: i, bin: t.TempDir(), program: path}
	h.equip()
	h.prepare()
	for _, b := range blocks(t, "../../docs/migrate.md") {
		if b.section == "From a replicated database" {
			continue
		}
		h.run(b)
	}
	if zones := []zone.Name{zone.MustParseName("example.org"), zone.MustParseName("example.com"), zone.MustParseName("moving.example")}; !t.Failed() {
		for _, name := range zones {
			i.eventually("by NOTIFY and AXFR", func(ctx context.Context) error { return i.same(ctx, name) })
			if masters := i.masterOf(i.Secondaries[0], name); !slices.Equal(masters, []string{i.Primary.DNSAddr}) {
				t.Errorf("ns1 takes %s from %v", name, masters)
			}
		}
	}
}

// block is some lines of the document that are run together.
type block struct {
	section, host, commands string
}

// programs are what the commands of the document begin with.
var programs = []string{"pdns-distribute", "pdnsutil", "systemctl", "dig", "curl", "for", "until", "sqlite3"}

// blocks are those of a document that begin with a command, each for the host that was named last. What follows a block
// without a text in between is what it prints.
func blocks(t *testing.T, file string) (found []block) {
	t.Helper()
	text, err := os.ReadFile(file)
	must.OK(t, err)
	var b block
	afterText := true
	for line := range strings.Lines(string(text)) {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "    ") && afterText:
			b.commands += trimmed + "\n"
		case trimmed == "" && b.commands != "":
			word, _, _ := strings.Cut(b.commands, " ")
			name, _, assigns := strings.Cut(word, "=")
			if slices.Contains(programs, word) || assigns && name == strings.ToUpper(name) {
				found = append(found, b)
			}
			b.commands, afterText = "", false
		case trimmed != "" && !strings.HasPrefix(line, "    "):
			afterText = true
			if heading, is := strings.CutPrefix(trimmed, "## "); is {
				b.section = heading
			}
			for _, host := range []string{"ns1", "hidden.example.net"} {
				if strings.Contains(strings.ToLower(trimmed), "on "+host) {
					b.host = host
				}
			}
		}
	}
	return found
}

// hosts run commands as if the fleet had the addresses and folders of the document.
type hosts struct {
	*harness
	bin, program string
	variables    string // that earlier blocks set
}

// run runs a block, which has to end with 0, but for doctor, which may warn of a load or of settings.
func (h *hosts) run(b block) {
	h.t.Helper()
	commands := strings.ReplaceAll(b.commands, "SECRET", h.secret())
	cmd := exec.CommandContext(h.ctx, "bash", "-e", "-c", h.variables+commands)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(h.bin, b.host)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(commands) {
		if name, _, is := strings.Cut(line, "="); is && name == strings.ToUpper(name) {
			h.variables += line
		}
	}
	h.t.Logf("%s, on %s:\n%s%s", b.section, b.host, b.commands, out)
	if err != nil && !strings.Contains(commands, " doctor ") {
		h.t.Errorf("%s, on %s: %v\n%s%s", b.section, b.host, err, commands, out)
	}
}

// secret is that of the TSIG key that the document makes, once it is there.
func (h *hosts) secret() string {
	out, _ := exec.Command("pdnsutil", "--config-dir="+h.Primary.Dir, "list-tsig-keys").Output()
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "transfer." {
			return fields[2]
		}
	}
	return "SECRET"
}

// equip writes for each host the programs of the document that are not as they are there.
func (h *hosts) equip() {
	h.t.Helper()
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		verb, id, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/pdns-distribute-secondary@")
		err := fmt.Errorf("systemctl %s is not expected", r.URL.Path)
		switch verb {
		case "start":
			err = h.StartRole(h.ctx, id)
		case "stop":
			err = h.StopRole(id)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	h.t.Cleanup(control.Close)
	ns1 := h.Secondaries[0]
	for host, server := range map[string]string{"ns1": ns1.Dir, "hidden.example.net": h.Primary.Dir} {
		must.OK(h.t, os.Mkdir(filepath.Join(h.bin, host), 0o755))
		for name, script := range map[string]string{
			"pdnsutil":        `exec /usr/bin/pdnsutil --config-dir=` + server + ` "$@" 2>/dev/null`,
			"systemctl":       `exec /usr/bin/curl -sS -f ` + control.URL + `/$1/$2`,
			"sqlite3":         `exec /usr/bin/sqlite3 ` + server + `/db/gsqlite3 ".backup ` + h.t.TempDir() + `/copy"`,
			"sleep":           `exec /bin/sleep $(($1 > 5 ? 5 : $1))`,
			"dig":             h.exchanging("/usr/bin/dig"),
			"curl":            h.exchanging("/usr/bin/curl"),
			"cat":             h.exchanging("/bin/cat"),
			"pdns-distribute": h.exchanging(h.program),
		} {
			must.OK(h.t, os.WriteFile(filepath.Join(h.bin, host, name), []byte("#!/bin/bash\n"+script+"\n"), 0o755))
		}
	}
}

// exchanging is a script that runs a program with the addresses and folders of the fleet for those of the document,
// and, where a node's configuration is named, with what the fleet sets besides.
func (h *hosts) exchanging(program string) string {
	var b strings.Builder
	for id, as := range map[string]string{"ns1": "ns1", "health": fleet.Health} {
		_, set := h.Config(as)
		fmt.Fprintf(&b, "case \"$*\" in */%s/config.toml*)\n", id)
		for key, value := range set {
			fmt.Fprintf(&b, "export PDNS_DISTRIBUTE_%s=%q\n", strings.ToUpper(strings.ReplaceAll(key, ".", "_")), value)
		}
		b.WriteString(";; esac\n")
	}
	b.WriteString("args=()\nfor arg in \"$@\"; do\n")
	at := func(address string) string {
		host, port, _ := strings.Cut(address, ":")
		return "@" + host + " -p " + port
	}
	cert := filepath.Join(h.Install(), fleet.Proxy, "state", "proxy.crt")
	for _, pair := range [][2]string{
		{"/var/lib/pdns-distribute/proxy/state/proxy.crt", cert},
		{"/var/lib/pdns-distribute/primary/powerdns-api-key", h.Primary.APIKeyFile()},
		{"/var/lib/pdns-distribute/health/", h.Install() + "/" + fleet.Health + "/"},
		{"/var/lib/pdns-distribute/", h.Install() + "/"},
		{"https://hidden.example.net:8443", h.ProxyURL},
		{"http://127.0.0.1:8081", h.Primary.APIURL},
		{"@192.0.2.51", at(h.Secondaries[0].DNSAddr)},
		{"@192.0.2.1", at(h.Primary.DNSAddr)},
		{"192.0.2.9", h.Secondaries[1].DNSAddr},
		{"192.0.2.1", h.Primary.DNSAddr},
	} {
		fmt.Fprintf(&b, "arg=${arg//%s/%s}\n", strings.ReplaceAll(pair[0], "/", `\/`), strings.ReplaceAll(pair[1], "/", `\/`))
	}
	b.WriteString("case \"$arg\" in @*) args+=($arg) ;; *) args+=(\"$arg\") ;; esac\ndone\nexec " + program + " \"${args[@]}\"\n")
	return b.String()
}

// prepare has the primary distribute by NOTIFY and AXFR, and by a catalog zone, to ns1, with roles beside none.
func (h *hosts) prepare() {
	h.t.Helper()
	for _, s := range h.Secondaries {
		must.OK(h.t, h.StopRole(s.ID))
		h.deregister(s.ID)
	}
	ns1, old := h.Secondaries[0], h.Secondaries[1]
	h.tell(h.Primary, http.MethodPost, "/zones", `{"name":"catalog.example.","kind":"Producer","nameservers":["invalid."]}`)
	for _, name := range []string{"example.org", "example.com"} {
		s := signed(spec(zone.MustParseName(name)), "")
		s.Kind = powerdns.Master
		must.OK(h.t, h.own.CreateZoneWith(h.ctx, s))
		h.tell(h.Primary, http.MethodPut, "/zones/"+name+"/metadata/ALSO-NOTIFY", fmt.Sprintf(`{"metadata":[%q]}`, ns1.DNSAddr))
	}
	h.tell(h.Primary, http.MethodPut, "/zones/example.com", `{"catalog":"catalog.example."}`)
	h.tell(ns1.Server, http.MethodPost, "/zones", fmt.Sprintf(`{"name":"catalog.example.","kind":"Consumer","masters":[%q]}`, h.Primary.DNSAddr))
	h.tell(ns1.Server, http.MethodPost, "/zones", fmt.Sprintf(`{"name":"example.org.","kind":"Slave","masters":[%q]}`, h.Primary.DNSAddr))
	must.OK(h.t, exec.Command("pdnsutil", "--config-dir="+ns1.Dir, "add-autoprimary", "192.0.2.1", "hidden.example.net").Run())
	from, err := old.Client()
	must.OK(h.t, err)
	must.OK(h.t, from.CreateZoneWith(h.ctx, spec(zone.MustParseName("moving.example"))))
	h.Secondaries = h.Secondaries[:1] // the other one is the old primary of a zone
	h.t.Cleanup(old.Stop)
}

// deregister has status not expect the node.
func (h *hosts) deregister(id string) {
	h.t.Helper()
	file, set := h.Config(fleet.Health)
	h.eventually("deregistered", func(ctx context.Context) error {
		return operator.Forget(ctx, command.Invocation{
			Settings: settings.Sources{File: file, Flags: set}, Args: []string{id}, Stdout: io.Discard, Stderr: io.Discard,
		})
	})
}
