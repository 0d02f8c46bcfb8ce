package proxy

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"time"
)

// Config is the section [proxy].
type Config struct {
	// Listen is the address of the HTTPS listener. Default: all addresses, port 8443. There is no plain HTTP listener.
	Listen string `toml:"listen" env:"LISTEN" envDefault:":8443"`

	// TLSCert and TLSKey are PEM files, the key readable by its owner alone (chmod 600). They are taken anew when they
	// change. Default: none; the proxy then makes its own pair, keeps it in StateDir and renews it.
	TLSCert string `toml:"tls_cert" env:"TLS_CERT"`
	TLSKey  string `toml:"tls_key" env:"TLS_KEY"`

	// ClientCA is a PEM file with one or more CA certificates. When it is given, only clients with a certificate of one of
	// these get as far as a request. Taken anew when it changes.
	ClientCA string `toml:"client_ca" env:"CLIENT_CA"`

	// Names are host names and addresses that the proxy's own certificate is good for, besides those of the host. It
	// is made anew when one is added.
	Names []string `toml:"names" env:"NAMES"`

	// StateDir is where the proxy keeps its own pair, mode 0700.
	StateDir string `toml:"state_dir" env:"STATE_DIR" envDefault:"/var/lib/pdns-distribute/proxy"`

	// UpstreamTimeout is how long PowerDNS may take until its answer begins. A rectify of a large zone takes minutes.
	UpstreamTimeout time.Duration `toml:"upstream_timeout" env:"UPSTREAM_TIMEOUT" envDefault:"5m"`

	// StallTimeout is how long a client or PowerDNS may take for the next piece of a body, either way.
	StallTimeout time.Duration `toml:"stall_timeout" env:"STALL_TIMEOUT" envDefault:"1m"`

	// Wait is how long answers to writes are held until all active secondaries serve the change, for clients that do not
	// say so themselves by "Prefer: wait=SECONDS". Default: not at all. MaxWait bounds what clients ask for.
	Wait    time.Duration `toml:"wait" env:"WAIT" envDefault:"0s"`
	MaxWait time.Duration `toml:"max_wait" env:"MAX_WAIT" envDefault:"5m"`

	// MaxConnections is how many connections of clients there may be at once; further ones wait until one of them ends.
	// Each takes up to 100 KB.
	MaxConnections int `toml:"max_connections" env:"MAX_CONNECTIONS" envDefault:"4096"`

	// StorePatience is how long an answer waits for its touch to be stored before it goes out with the touch queued
	// here. Longer keeps more answers waiting while the broker elects a leader.
	StorePatience time.Duration `toml:"store_patience" env:"STORE_PATIENCE" envDefault:"2s"`
}

// hostName has no scheme and no port. The first label may be the wildcard.
var hostName = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]+$`)

// Validate returns all faults, joined.
func (c *Config) Validate() error {
	var faults []error
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		faults = append(faults, fmt.Errorf("proxy.listen: %q is not an address with a port, such as \":8443\"", c.Listen))
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		faults = append(faults, errors.New("proxy.tls_cert: tls_cert and tls_key go together; give both, or none to have the proxy make its own pair"))
	}
	if c.StateDir == "" {
		faults = append(faults, errors.New("proxy.state_dir: the proxy needs a folder to keep its own certificate and queued changes in"))
	}
	for _, name := range c.Names {
		if net.ParseIP(name) == nil && !hostName.MatchString(name) {
			faults = append(faults, fmt.Errorf("proxy.names: %q is no host name or address; write it as \"dns.example.net\" or \"192.0.2.53\", without a port", name))
		}
	}
	if c.MaxConnections < 1 {
		faults = append(faults, fmt.Errorf("proxy.max_connections: %d is not 1 or more", c.MaxConnections))
	}
	if c.Wait < 0 || c.Wait > c.MaxWait {
		faults = append(faults, fmt.Errorf("proxy.wait: %s is not between 0s, which is not to wait, and proxy.max_wait, which is %s", c.Wait, c.MaxWait))
	}
	for key, d := range map[string]time.Duration{"upstream_timeout": c.UpstreamTimeout, "stall_timeout": c.StallTimeout, "store_patience": c.StorePatience, "max_wait": c.MaxWait} {
		if d <= 0 {
			faults = append(faults, fmt.Errorf("proxy.%s: %s is not a positive duration, such as \"5s\"", key, d))
		}
	}
	return errors.Join(faults...)
}
