package proxy

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"pdns-distribute/powerdns/must"
)

// PowerDNS may listen at a Unix socket (5.0). What it hangs up on unread there was not done either.
func TestUpstreamAtASocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "proxy") // t.TempDir makes paths too long for sockets
	must.OK(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "api.sock")
	listener, err := net.Listen("unix", path)
	must.OK(t, err)
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	upstream.Listener.Close()
	upstream.Listener = listener
	upstream.Start()
	q := &queue{}
	p := startProxy(t, "unix:"+path, q)
	patch := call{"PATCH", zonesPath + "/example.org.", "{}", http.Header{keyHeader: {"good"}}}
	if a := patch.over(t, p.dial(t)); a.status != http.StatusNoContent || a.header.Get(HeaderChange) == "" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	q.want(t, "sweep", "change example.org.")
	upstream.Close()

	listener, err = net.Listen("unix", path)
	must.OK(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	for range 20 {
		a := patch.over(t, p.dial(t))
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || a.header.Get(HeaderChange) != "" {
			t.Errorf("%d %v %s", a.status, a.header, a.body)
		}
	}
	if got := q.take(); len(got) > 0 {
		t.Errorf("touched: %v", got)
	}
}
