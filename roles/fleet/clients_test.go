package fleet_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// Clients that know nothing of this project, and cannot be told to wait, find that what they changed is served
// everywhere when they are done.
func TestClients(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"proxy.wait": "30s"}})
	// They end their changes of a zone of this kind with `notify`.
	a := i.prefer("", "POST", zonesPath, `{"name":"example.org.","kind":"Master","nameservers":["ns1.example.net."]}`)
	if a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	t.Run("lego", func(t *testing.T) { testLego(t, i) })
	t.Run("lexicon", func(t *testing.T) { testLexicon(t, i) })
}

// lego solves challenges for a name and for its wildcard: two records of one name.
func testLego(t *testing.T, i *harness) {
	binary := filepath.Join(t.TempDir(), "lego")
	// A module of its own keeps what lego needs out of this one's go.mod.
	run(t, nil, "go", "build", "-C", "../../testdata/clients/lego", "-o", binary, ".")
	const domain = "www.example.org"
	name := zone.MustParseName("_acme-challenge." + domain)
	env := []string{
		"PDNS_API_URL=" + i.ProxyURL, "PDNS_API_KEY=" + i.Primary.APIKey.Reveal(), "PDNS_SERVER_NAME=localhost",
		"SSL_CERT_FILE=" + i.ProxyCert, "RESOLVER=" + i.Primary.DNSAddr,
	}
	for n := range size(6, 20) {
		plain, wildcard := fmt.Sprintf("token-%d.thumbprint", n), fmt.Sprintf("wildcard-%d.thumbprint", n)
		for _, step := range []struct {
			does, keyAuth string
			served        []string // after it, the key authorizations of all records
		}{
			{"present", plain, []string{plain}},
			{"present", wildcard, []string{plain, wildcard}},
			{"cleanup", plain, []string{wildcard}},
			{"cleanup", wildcard, nil},
		} {
			run(t, env, binary, step.does, domain, step.keyAuth)
			i.serves(t, name, dns.TypeTXT, challenges(step.served)...)
		}
	}
}

// challenges are the records that prove key authorizations (RFC 8555 §8.4).
func challenges(keyAuths []string) (contents []string) {
	for _, keyAuth := range keyAuths {
		sum := sha256.Sum256([]byte(keyAuth))
		contents = append(contents, `"`+base64.RawURLEncoding.EncodeToString(sum[:])+`"`)
	}
	return contents
}

func testLexicon(t *testing.T, i *harness) {
	env := []string{
		"REQUESTS_CA_BUNDLE=" + i.ProxyCert,
		// lexicon would fetch the list of public suffixes from the Internet; it has one of its own.
		"https_proxy=http://127.0.0.1:1", "no_proxy=127.0.0.1", "TLDEXTRACT_CACHE_PATH=" + t.TempDir(),
	}
	lexicon := func(action, typ string, args ...string) string {
		return run(t, env, "lexicon", append([]string{"powerdns", action, "example.org", typ, "--pdns-server", i.ProxyURL,
			"--auth-token", i.Primary.APIKey.Reveal(), "--output", "JSON"}, args...)...)
	}
	for _, record := range []struct {
		typ                   string
		first, second, change string
		quote                 string
	}{
		{"A", "192.0.2.1", "192.0.2.2", "192.0.2.3", ""},
		{"TXT", "first", "second", "changed", `"`},
	} {
		label := strings.ToLower(record.typ)
		name := zone.MustParseName(label + ".example.org")
		serves := func(contents ...string) {
			t.Helper()
			for n := range contents {
				contents[n] = record.quote + contents[n] + record.quote
			}
			i.serves(t, name, dns.StringToType[record.typ], contents...)
		}
		id := func(content string) string {
			return record.typ + "/" + name.String() + "=" + record.quote + content + record.quote
		}

		lexicon("create", record.typ, "--name", label, "--content", record.first)
		serves(record.first)
		lexicon("create", record.typ, "--name", label, "--content", record.second)
		serves(record.first, record.second)
		if list := lexicon("list", record.typ, "--name", label); !strings.Contains(list, record.first) || !strings.Contains(list, record.second) {
			t.Errorf("the list is %s", list)
		}
		lexicon("update", record.typ, "--identifier", id(record.second), "--name", label, "--content", record.change)
		serves(record.first, record.change)
		lexicon("delete", record.typ, "--identifier", id(record.change))
		serves(record.first)
		lexicon("delete", record.typ, "--name", label)
		serves()
	}
}

// run runs a client to its end; env is what it gets besides this process's environment.
func run(t *testing.T, env []string, program string, args ...string) (output string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// serves asks every secondary once: each must have these contents and no others.
func (i *harness) serves(t *testing.T, name zone.Name, typ uint16, contents ...string) {
	t.Helper()
	slices.Sort(contents)
	for _, s := range i.Secondaries {
		a, err := transfer.Ask(i.ctx, s.DNSAddr, name, typ, transfer.AskOptions{})
		must.OK(t, err)
		var got []string
		for _, r := range a.Answer {
			content, err := r.Content()
			must.OK(t, err)
			got = append(got, content)
		}
		slices.Sort(got)
		if !slices.Equal(got, contents) {
			t.Fatalf("%s answers %q, want %q", s.ID, got, contents)
		}
	}
}
