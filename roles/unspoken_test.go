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
	"strings"
	"sync"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/roles/settings"
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

// await returns when the log has the text.
func (s *spoken) await(t *testing.T, text string) {
	t.Helper()
	for late := time.Now().Add(30 * time.Second); !strings.Contains(s.String(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("the log lacks %q: %s", text, s)
		}
	}
}

// TestSecretsAreNotSpoken runs roles with secrets that can be told from everything else, at log level debug and beside
// neighbours that refuse them, break off, and send back what they were sent. None shows in logs, metrics, status or errors.
func TestSecretsAreNotSpoken(t *testing.T) {
	const (
		apiKey, password, token, inQuery, inHook = "KEY-hunter22", "PASSWORD-hunter22", "TOKEN-hunter22", "QUERY-hunter22", "HOOK-hunter22"
	)
	nkey, err := broker.NewUserKey()
	must(t, err)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, inQuery) { // it breaks off
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer api.Close()
	credentials := map[string]map[string]string{
		"nkey":     {"broker.nkey_file": file("nkey", string(nkey.Seed))},
		"password": {"broker.user": "user", "broker.password_file": file("password", password)},
		"token":    {"broker.token_file": file("token", token)},
	}
	for role, c := range map[string]struct {
		keys map[string]string
		make func(Config, Deps) (runner, error)
	}{
		rolePrimary: {nil, func(c Config, d Deps) (runner, error) { return NewPrimary(c, d) }},
		roleSecondary: {
			map[string]string{"secondary.transfer_listen": "127.0.0.1:0"}, func(c Config, d Deps) (runner, error) { return NewSecondary(c, d) },
		},
		"health": {map[string]string{"health.webhook": "http://127.0.0.1:1/" + inHook}, func(c Config, d Deps) (runner, error) { return NewHealth(c, d) }},
		"proxy":  {map[string]string{"proxy.listen": "127.0.0.1:0"}, func(c Config, d Deps) (runner, error) { return NewProxy(c, d) }},
	} {
		for kind, of := range credentials {
			t.Run(role+" with "+kind, func(t *testing.T) {
				flags := map[string]string{
					"log.level": "debug", "node.id": "node1", "observe.listen": "127.0.0.1:0", "broker.urls": "tls://127.0.0.1:1",
				}
				maps.Copy(flags, of)
				maps.Copy(flags, c.keys)
				if role != "health" {
					flags["powerdns.api_key"], flags["powerdns.api_url"] = apiKey, api.URL
				}
				for _, key := range []string{"secondary", "proxy"} {
					if role == key {
						flags[key+".state_dir"] = filepath.Join(t.TempDir(), "state")
					}
				}
				cfg, err := LoadConfig(settings.Sources{Flags: flags}, role)
				must(t, err)
				log := &spoken{}
				r, err := c.make(cfg, Deps{Version: "1", Log: log})
				must(t, err)
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error, 1)
				go func() { ended <- r.Run(ctx) }()
				log.await(t, "trying again")
				var n *node
				switch r := r.(type) {
				case *Primary:
					n = r.node
					awaitRefusal(t, n)
				case *Secondary:
					n = r.node
					awaitRefusal(t, n)
				case *Health:
					r.hook.post(nil, nil, nil)
					log.await(t, "alarms were not posted")
					n = r.node
				case *Proxy:
					ask(t, "https://"+r.proxy.Addr().String()+"/api/v1/servers/localhost/zones/a.?api-key="+inQuery, apiKey)
					log.await(t, "did not answer")
					n = r.node
				}
				said := log.String()
				for _, path := range []string{"/metrics", "/readyz", StatusPath, "/"} {
					said += ask(t, "http://"+n.observe.Addr()+path, "")
				}
				cancel()
				if err := <-ended; err != nil {
					said += err.Error()
				}
				said += log.String()
				for _, secret := range []string{apiKey, password, token, inQuery, inHook, strings.TrimSpace(string(nkey.Seed))} {
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
func awaitRefusal(t *testing.T, n *node) {
	t.Helper()
	for late := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		said := ask(t, "http://"+n.observe.Addr()+"/readyz", "")
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
	must(t, err)
	req.Header.Set("X-API-Key", key)
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(text)
}
