package powerdns_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// From 5.0 on PowerDNS's API can listen at a Unix socket.
func TestSocket(t *testing.T) {
	must.HavePowerDNS(t)
	dir, err := os.MkdirTemp("", "pdns") // t.TempDir makes paths too long for sockets
	must.OK(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	server, err := local.Start(t.Context(), local.Options{Dir: dir, Primary: true, Socket: true, Settings: map[string]string{"views": "no"}})
	if err != nil {
		t.Skip("this PowerDNS does not know the setting views: ", err)
	}
	t.Cleanup(server.Stop)
	api, err := server.Client()
	must.OK(t, err)
	name := zone.MustParseName("socket.example")
	must.OK(t, api.CreateZone(t.Context(), name, powerdns.Native, nil))
	flush, err := api.PrepareFlush(t.Context(), name)
	must.OK(t, err)
	defer flush.Close()
	must.OK(t, flush.Do())

	cfg := server.Config()
	cfg.APIURL = "unix:" + filepath.Join(dir, "none.sock")
	api, err = powerdns.NewClient(cfg)
	must.OK(t, err)
	_, err = api.Server(t.Context())
	if !errors.Is(err, powerdns.ErrUnavailable) || !strings.Contains(err.Error(), filepath.Join(dir, "none.sock")) {
		t.Error(err)
	}
}
