package roles

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pdns-distribute/roles/settings"
)

func TestHealthcheck(t *testing.T) {
	status := http.StatusOK
	role := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			t.Errorf("asked for %s", r.URL)
		}
		w.WriteHeader(status)
	}))
	defer role.Close()
	listen := role.Listener.Addr().String()
	_, port, err := net.SplitHostPort(listen)
	must(t, err)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it takes connections and says nothing
	must(t, err)
	defer silent.Close()

	t.Setenv("HTTP_PROXY", "http://"+silent.Addr().String())
	for _, c := range []struct {
		listen string
		status int
		want   string // within the error; "" for none
	}{
		{listen, http.StatusOK, ""},
		{"0.0.0.0:" + port, http.StatusOK, ""},
		{":" + port, http.StatusOK, ""},
		{listen, http.StatusServiceUnavailable, "answered 503"},
		{"", 0, "observe.listen is \"\""},
		{silent.Addr().String(), 0, "does not answer"},
		{"127.0.0.1:1", 0, "connection refused"},
	} {
		var out bytes.Buffer
		status = c.status
		err := Healthcheck(t.Context(), Invocation{Settings: settings.Sources{Flags: map[string]string{"observe.listen": c.listen}}, Stdout: &out})
		switch {
		case c.want == "" && (err != nil || out.String() != "alive\n"):
			t.Errorf("%s: %v, %q", c.listen, err, &out)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.listen, err, c.want)
		}
	}
}

// TestNothingListensBeyondLoopback looks at what is bound without a word in the configuration: clients of the proxy are all
// that is meant to come from elsewhere.
func TestNothingListensBeyondLoopback(t *testing.T) {
	var cfg Config
	if err := settings.Load(&cfg, settings.Sources{}); err != nil {
		t.Fatal(err)
	}
	for key, listen := range map[string]string{
		"observe.listen": cfg.Observe.Listen, "secondary.transfer_listen": cfg.Secondary.TransferListen, "primary.notify_listen": cfg.Primary.NotifyListen,
	} {
		host, _, err := net.SplitHostPort(listen)
		if listen == "" { // off
			continue
		}
		if err != nil || !net.ParseIP(host).IsLoopback() {
			t.Errorf("%s is %q", key, listen)
		}
	}
	if cfg.Primary.NotifyListen != "" {
		t.Errorf("primary.notify_listen is %q, and not off", cfg.Primary.NotifyListen)
	}
}
