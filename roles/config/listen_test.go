package config

import (
	"net"
	"testing"

	"pdns-distribute/roles/settings"
)

// TestNothingListensBeyondLoopback looks at what is bound without a word in the configuration: clients of the proxy
// are all that is meant to come from elsewhere.
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
