package operator

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/command"
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
	must.OK(t, err)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it takes connections and says nothing
	must.OK(t, err)
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
		err := Healthcheck(t.Context(), command.Invocation{Settings: settings.Sources{Flags: map[string]string{"observe.listen": c.listen}}, Stdout: &out})
		switch {
		case c.want == "" && (err != nil || out.String() != "alive\n"):
			t.Errorf("%s: %v, %q", c.listen, err, &out)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.listen, err, c.want)
		}
	}
}
