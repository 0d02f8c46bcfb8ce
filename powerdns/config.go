package powerdns

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"pdns-distribute/private"
)

// Config says how to reach the PowerDNS server that a role runs beside. Primaries and secondaries need one of APIKey
// and APIKeyFile. The proxy passes each client's own key on, and needs one only to give out scoped keys.
type Config struct {
	// APIURL is where the webserver of PowerDNS listens (webserver-address, webserver-port), without /api/v1. A path
	// may stand before that where a reverse proxy adds one. The API has no encryption of its own: keep it on loopback.
	// Where webserver-address is a path (5.0 and later), unix: and that path: unix:/run/pdns/api.sock.
	APIURL string `toml:"api_url" env:"API_URL" envDefault:"http://127.0.0.1:8081"`

	// APIKey is PowerDNS's api-key. A configuration that holds it is refused when others than its owner can read it,
	// and so is the flag --set, which every user of the host sees: better give APIKeyFile.
	APIKey Secret `toml:"api_key" env:"API_KEY"`

	// APIKeyFile is a file that holds the API key and nothing else, readable by its owner alone (chmod 600). Read once,
	// at start. It is not given beside APIKey.
	APIKeyFile string `toml:"api_key_file" env:"API_KEY_FILE" path:"secret"`

	// Keyless lets APIKey and APIKeyFile both be missing, for a role that passes its clients' keys on. No setting.
	Keyless bool

	// CAFile holds the certificates (PEM) that an https APIURL is checked against. Default: the system's.
	CAFile string `toml:"ca_file" env:"CA_FILE" path:"public"`

	// ServerID names the server within the API. Every PowerDNS so far (5.1) knows only localhost; change it for a
	// gateway that serves several.
	ServerID string `toml:"server_id" env:"SERVER_ID" envDefault:"localhost"`

	// DNSAddress is host:port where the same PowerDNS answers DNS, UDP and TCP: zones are transferred from there, and
	// asked for there to prove that they are served.
	DNSAddress string `toml:"dns_address" env:"DNS_ADDRESS" envDefault:"127.0.0.1:53"`

	// Timeout bounds every request but listings, from the wait for a free connection to the last byte. PowerDNS needs
	// 1 to 10 ms; raise it for a database that stalls for seconds.
	Timeout time.Duration `toml:"timeout" env:"TIMEOUT" envDefault:"10s"`

	// ListTimeout bounds listings of all zones. PowerDNS needs about 50 µs per zone, 150 µs with DNSSEC details, and
	// answers only when it has them all.
	ListTimeout time.Duration `toml:"list_timeout" env:"LIST_TIMEOUT" envDefault:"5m"`

	// Connections is how many requests may be in work at once, 1 to 256. PowerDNS takes a thread and database
	// connections for each; changes to zones queue at its database anyway, so more than a few only help reading.
	// A secondary role holds one more, to flush caches.
	Connections int `toml:"api_connections" env:"API_CONNECTIONS" envDefault:"8"`
}

// maxConnections is far above what any backend of PowerDNS profits from.
const maxConnections = 256

// Validate returns all faults at once, each beginning with the key that it is about. It reads no files.
func (c Config) Validate() error {
	return errors.Join(
		fault("api_url", checkAPIURL(c.APIURL)),
		fault("api_key", c.checkOneKey()),
		fault("server_id", checkServerID(c.ServerID)),
		fault("dns_address", checkAddress(c.DNSAddress)),
		fault("timeout", checkPositive(c.Timeout)),
		fault("list_timeout", checkPositive(c.ListTimeout)),
		fault("api_connections", checkConnections(c.Connections)),
	)
}

func fault(key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("powerdns.%s: %w", key, err)
}

func checkAPIURL(s string) error {
	e, err := ParseEndpoint(s)
	if err == nil && e.url != nil && strings.HasSuffix(strings.TrimRight(e.url.Path, "/"), "/api/v1") {
		return fmt.Errorf("%q: leave out /api/v1, it is added", s)
	}
	return err
}

func (c Config) checkOneKey() error {
	switch {
	case c.APIKey == "" && c.APIKeyFile == "" && !c.Keyless:
		return errors.New("missing: give it, or powerdns.api_key_file")
	case c.APIKey != "" && c.APIKeyFile != "":
		return errors.New("given beside powerdns.api_key_file: remove one of them")
	}
	return nil
}

func checkServerID(s string) error {
	if s == "" {
		return errors.New("missing: PowerDNS itself uses localhost")
	}
	return nil
}

func checkAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return err
	}
	if host == "" || port == "" || port == "0" {
		return fmt.Errorf("%q is not host:port", s)
	}
	return nil
}

func checkPositive(d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%v is not a time span above zero", d)
	}
	return nil
}

func checkConnections(n int) error {
	if n < 1 || n > maxConnections {
		return fmt.Errorf("%d is not between 1 and %d", n, maxConnections)
	}
	return nil
}

// ReadAPIKey returns the key, from its file where one is named, which is read each time. It is empty where none is
// given.
func (c Config) ReadAPIKey() (Secret, error) {
	if c.APIKeyFile == "" {
		return c.APIKey, nil
	}
	key, err := readKeyFile(c.APIKeyFile)
	return key, fault("api_key_file", err)
}

func readKeyFile(name string) (Secret, error) {
	text, err := private.Read(name)
	if err != nil {
		return "", err
	}
	key := strings.TrimRight(string(text), "\r\n")
	if key == "" {
		return "", fmt.Errorf("%s is empty: write PowerDNS's api-key into it", name)
	}
	return Secret(key), nil
}

// TLS is for connections to an APIURL with https.
func (c Config) TLS() (*tls.Config, error) {
	roots, err := c.roots()
	return &tls.Config{RootCAs: roots}, err
}

// roots are the certificates of CAFile, nil for the system's.
func (c Config) roots() (*x509.CertPool, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	pem, err := private.ReadPublic(c.CAFile)
	if err != nil {
		return nil, fault("ca_file", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fault("ca_file", fmt.Errorf("%s holds no certificate (PEM)", c.CAFile))
	}
	return roots, nil
}
