// Package localtest starts PowerDNS servers for tests.
package localtest

import (
	"testing"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
)

// Start starts a server that ends with the test, in a folder that the test removes unless o.Dir names another. Tests
// that call it are left out under -short.
func Start(t testing.TB, o local.Options) *local.Server {
	t.Helper()
	s, err := TryStart(t, o)
	must.OK(t, err)
	return s
}

// TryStart is Start for settings that some releases of PowerDNS do not know.
func TryStart(t testing.TB, o local.Options) (*local.Server, error) {
	t.Helper()
	must.HavePowerDNS(t)
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := local.Start(t.Context(), o)
	if err == nil {
		t.Cleanup(s.Stop)
	}
	return s, err
}
