package roles

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/health"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/primary"
	"pdns-distribute/roles/secondary"
	"pdns-distribute/roles/settings"
	"pdns-distribute/roles/status"
)

// spoken is what a role logs.
type spoken struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *spoken) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await returns when the log has all these texts.
func (s *spoken) await(t *testing.T, parts ...string) {
	t.Helper()
	lacks := func(text string) bool { return !strings.Contains(s.String(), text) }
	for late := time.Now().Add(must.Patience); slices.ContainsFunc(parts, lacks); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("the log lacks %q: %s", parts, s)
		}
	}
}

// TestSecretsAreNotSpoken runs roles with secrets that can be told from everything else, at log level debug and beside
// servers that refuse them, break off, and send back what they were sent. None shows in logs, metrics, status or
// errors.
func TestSecretsAreNotSpoken(t *testing.T) {
	must.NotShort(t)
	const (
		apiKey, password, token, inQuery, inHook = "KEY-hunter22", "PASSWORD-hunter22", "TOKEN-hunter22", "QUERY-hunter22", "HOOK-hunter22"
		clientKey                                = "CLIENT-hunter22"
	)
	scoped, hash := proxy.NewSecret()
	unknown, _ := proxy.NewSecret()
	nkey, err := broker.NewUserKey()
	must.OK(t, err)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		must.OK(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.RawQuery, inQuery): // it breaks off
			panic(http.ErrAbortHandler)
		case r.Header.Get("X-API-Key") != clientKey:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer api.Close()
	credentials := map[string]map[string]string{
		"nkey":     {"broker.nkey_file": file("nkey", string(nkey.Seed))},
		"password": {"broker.user": "user", "broker.password_file": file("password", password)},
		"token":    {"broker.token_file": file("token", token)},
	}
	for role, c := range map[string]struct {
		keys map[string]string
		make func(config.Config, node.Deps) (runner, error)
	}{
		"primary": {nil, func(c config.Config, d node.Deps) (runner, error) { return primary.New(c, d) }},
		"secondary": {
			map[string]string{"secondary.transfer_listen": "127.0.0.1:0"}, func(c config.Config, d node.Deps) (runner, error) { return secondary.New(c, d) },
		},
		"health": {map[string]string{"health.webhook": "http://127.0.0.1:1/" + inHook}, func(c config.Config, d node.Deps) (runner, error) { return health.New(c, d) }},
		"proxy":  {map[string]string{"proxy.listen": "127.0.0.1:0"}, func(c config.Config, d node.Deps) (runner, error) { return NewProxy(c, d) }},
	} {
		for kind, of := range credentials {
			t.Run(role+" with "+kind, func(t *testing.T) {
				flags := map[string]string{
					"log.level": "debug", "node.id": "node1", "observe.listen": "127.0.0.1:0", "broker.urls": "tls://127.0.0.1:1",
				}
				maps.Copy(flags, of)
				maps.Copy(flags, c.keys)
				var environment []string
				if role != "health" {
					flags["powerdns.api_url"] = api.URL
					environment = []string{"PDNS_DISTRIBUTE_POWERDNS_API_KEY=" + apiKey}
				}
				if role == "proxy" {
					flags["proxy.key"] = `[{"id":"scoped1","hash":"` + hash + `","zones":["a."],"verbs":["read"]}]`
				}
				for _, key := range []string{"secondary", "proxy"} {
					if role == key {
						flags[key+".state_dir"] = filepath.Join(t.TempDir(), "state")
					}
				}
				cfg, err := config.ForRole(settings.Sources{Flags: flags, Env: environment}, role)
				must.OK(t, err)
				log := &spoken{}
				r, err := c.make(cfg, node.Deps{Version: "1", Log: log})
				must.OK(t, err)
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error, 1)
				go func() { ended <- r.Run(ctx) }()
				log.await(t, "trying again")
				var n *node.Node
				switch r := r.(type) {
				case *primary.Primary:
					n = r.Node
					awaitRefusal(t, n)
				case *secondary.Secondary:
					n = r.Node
					awaitRefusal(t, n)
				case *health.Health:
					r.Hook.Post(nil, nil, nil)
					log.await(t, "alarms were not posted")
					n = r.Node
				case *Proxy:
					zones := "https://" + r.proxy.Addr().String() + "/api/v1/servers/localhost/zones/"
					ask(t, zones+"a.?api-key="+inQuery, clientKey)
					ask(t, zones+"a.?x="+inQuery, clientKey)
					log.await(t, "PowerDNS did not answer")
					ask(t, zones+"b.?x="+inQuery, scoped)
					log.await(t, "not in the scope", "scoped1")
					ask(t, zones+"a.", scoped) // goes on with a key that PowerDNS refuses
					log.await(t, "could not be passed on")
					ask(t, zones+"a.", unknown)
					log.await(t, "API key refused")
					n = r.Node
				}
				said := log.String()
				for _, path := range []string{"/metrics", "/readyz", status.Path, "/"} {
					said += ask(t, "http://"+n.Observe.Addr()+path, "")
				}
				cancel()
				if err := <-ended; err != nil {
					said += err.Error()
				}
				said += log.String()
				for _, secret := range []string{apiKey, clientKey, scoped, unknown, password, token, inQuery, inHook, strings.TrimSpace(string(nkey.Seed))} {
					if i := strings.Index(said, secret); i >= 0 {
						t.Errorf("%s is spoken: …%s…", secret, said[max(0, i-200):min(len(said), i+200)])
					}
				}
				if !strings.Contains(said, "node1") {
					t.Error("nothing was heard")
				}
			})
		}
	}
}

// awaitRefusal returns when the role knows that PowerDNS takes its API key for a wrong one.
func awaitRefusal(t *testing.T, n *node.Node) {
	t.Helper()
	for late := time.Now().Add(must.Patience); ; time.Sleep(10 * time.Millisecond) {
		said := ask(t, "http://"+n.Observe.Addr()+"/readyz", "")
		if strings.Contains(said, "refused the API key") {
			return
		}
		if time.Now().After(late) {
			t.Fatal("PowerDNS was not asked: ", said)
		}
	}
}

// ask returns what is answered.
func ask(t *testing.T, url, key string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	must.OK(t, err)
	req.Header.Set("X-API-Key", key)
	client := http.Client{Timeout: must.Patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := client.Do(req)
	must.OK(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must.OK(t, err)
	return string(text)
}
