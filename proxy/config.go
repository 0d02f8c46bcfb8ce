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
	TLSCert string `toml:"tls_cert" env:"TLS_CERT" path:"public"`
	TLSKey  string `toml:"tls_key" env:"TLS_KEY" path:"secret"`

	// ClientCA is a PEM file with one or more CA certificates. When it is given, only clients with a certificate of one
	// of these get as far as a request. Taken anew when it changes.
	ClientCA string `toml:"client_ca" env:"CLIENT_CA" path:"public"`

	// Names are host names and addresses that the proxy's own certificate is good for, besides those of the host. It
	// is made anew when one is added.
	Names []string `toml:"names" env:"NAMES"`

	// StateDir is where the proxy keeps its own pair and changes that are not stored at the broker yet, mode 0700.
	StateDir string `toml:"state_dir" env:"STATE_DIR" envDefault:"/var/lib/pdns-distribute/proxy" path:"folder"`

	// UpstreamTimeout is how long PowerDNS may take until its answer begins. A rectify of a large zone takes minutes.
	UpstreamTimeout time.Duration `toml:"upstream_timeout" env:"UPSTREAM_TIMEOUT" envDefault:"5m"`

	// StallTimeout is how long a client or PowerDNS may take for the next piece of a body, either way.
	StallTimeout time.Duration `toml:"stall_timeout" env:"STALL_TIMEOUT" envDefault:"1m"`

	// Wait is how long answers to writes are held until all active secondaries serve the change, for clients that do
	// not say so themselves by "Prefer: wait=SECONDS". Default: not at all. MaxWait bounds what clients ask for.
	Wait    time.Duration `toml:"wait" env:"WAIT" envDefault:"0s"`
	MaxWait time.Duration `toml:"max_wait" env:"MAX_WAIT" envDefault:"5m"`

	// MaxConnections is how many connections of clients there may be at once, and MaxConnectionsPerSource how many of
	// one source: an IPv4 address, or a /64 of IPv6. A further one replaces the oldest over which no good API key has
	// come yet; where there is none it waits up to 10 s until one of them ends. Each takes up to 100 KB.
	MaxConnections          int `toml:"max_connections" env:"MAX_CONNECTIONS" envDefault:"4096"`
	MaxConnectionsPerSource int `toml:"max_connections_per_source" env:"MAX_CONNECTIONS_PER_SOURCE" envDefault:"1024"`

	// MaxUpstream is how many connections to PowerDNS there may be at once; further requests wait in order, for up to
	// StallTimeout, and then get 503. PowerDNS 5.1 drops what comes beyond webserver-max-concurrent-connections, 100 by
	// default, of which the primary role needs some: a proxy takes four fifths of that number at most, and knows of no
	// other proxy. Where several stand before one PowerDNS, give each its share: 30 for each of two. A sixth of them is
	// for clients that have not shown a good key yet; of the rest one address has at most two thirds.
	MaxUpstream int `toml:"max_upstream" env:"MAX_UPSTREAM" envDefault:"60"`

	// StorePatience is how long an answer waits for its touch to be stored before it goes out with the touch pending
	// here. Longer keeps more answers waiting while the broker elects a leader.
	StorePatience time.Duration `toml:"store_patience" env:"STORE_PATIENCE" envDefault:"2s"`

	// Keys are scoped API keys, written as [[proxy.key]] tables. They are read anew every 5 seconds, as KeysFile is.
	Keys Keys `toml:"key" env:"KEY"`

	// KeysFile holds more [[proxy.key]] tables and nothing else, readable by its owner alone; `pdns-distribute key`
	// writes it. Default: keys.toml beside the configuration file. It need not be there.
	KeysFile string `toml:"keys_file" env:"KEYS_FILE" path:"secret"`

	// PowerDNSKey lets clients use PowerDNS's own API key. Without it only scoped keys are good.
	PowerDNSKey bool `toml:"powerdns_key" env:"POWERDNS_KEY" envDefault:"true"`

	// PrivateKeys lets the private DNSSEC keys out that PowerDNS answers requests for cryptokeys with. Without it they
	// are taken out of every answer, whatever API key it is for.
	PrivateKeys bool `toml:"private_keys" env:"PRIVATE_KEYS" envDefault:"true"`

	// MaxDeletesPerHour is how many zones may be deleted with PowerDNS's own API key within any hour; scoped keys have
	// their own numbers. 0 is none.
	MaxDeletesPerHour int `toml:"max_deletes_per_hour" env:"MAX_DELETES_PER_HOUR" envDefault:"1000"`

	// Replicated says that the database of PowerDNS is one of several that replicate each other: see
	// primary.replicated. The proxy then notes with each change what that database shows after it, at
	// powerdns.dns_address.
	Replicated bool `toml:"replicated" env:"REPLICATED" envDefault:"false"`

	// RereadKeys reads Keys anew. Nil: they stay as they are.
	RereadKeys func() (Keys, error)
}

// minUpstream has a place in each lane.
const minUpstream = 4

// hostName has no scheme and no port. The first label may be the wildcard.
var hostName = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]+$`)

// Validate returns all faults, joined.
func (c *Config) Validate() error {
	var faults []error
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		faults = append(faults, fmt.Errorf("proxy.listen: %q is not an address with a port, such as \":8443\"",
			c.Listen))
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		faults = append(faults, errors.New("proxy.tls_cert: tls_cert and tls_key go together; give both, or none to have the proxy make its own pair"))
	}
	if c.StateDir == "" {
		faults = append(faults, errors.New("proxy.state_dir: the proxy needs a folder to keep its own certificate and pending touches in"))
	}
	for _, name := range c.Names {
		if net.ParseIP(name) == nil && !hostName.MatchString(name) {
			faults = append(faults, fmt.Errorf("proxy.names: %q is no host name or address; write it as \"dns.example.net\" or \"192.0.2.53\", without a port", name))
		}
	}
	for key, least := range map[string][2]int{
		"max_connections": {c.MaxConnections, 1}, "max_connections_per_source": {c.MaxConnectionsPerSource, 1}, "max_upstream": {c.MaxUpstream, minUpstream},
	} {
		if least[0] < least[1] {
			faults = append(faults, fmt.Errorf("proxy.%s: %d is not %d or more", key, least[0], least[1]))
		}
	}
	if c.Wait < 0 || c.Wait > c.MaxWait {
		faults = append(faults, fmt.Errorf("proxy.wait: %s is not between 0s, which is not to wait, and proxy.max_wait, which is %s", c.Wait, c.MaxWait))
	}
	for key, d := range map[string]time.Duration{"upstream_timeout": c.UpstreamTimeout, "stall_timeout": c.StallTimeout, "store_patience": c.StorePatience, "max_wait": c.MaxWait} {
		if d <= 0 {
			faults = append(faults, fmt.Errorf("proxy.%s: %s is not a positive duration, such as \"5s\"", key, d))
		}
	}
	for _, fault := range c.Keys.faults() {
		faults = append(faults, fmt.Errorf("proxy.key: %w", fault))
	}
	if c.MaxDeletesPerHour < 0 || c.MaxDeletesPerHour > maxDeletes {
		faults = append(faults, fmt.Errorf("proxy.max_deletes_per_hour: %d is not between 0, which is none, and %d",
			c.MaxDeletesPerHour, maxDeletes))
	}
	return errors.Join(faults...)
}
