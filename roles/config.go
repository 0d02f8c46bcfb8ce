package roles

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/dnssec"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/observe"
	"pdns-distribute/roles/settings"
)

// Config is the configuration file: a section for each part. A role reads only the sections that it uses, so that one
// file can serve several.
type Config struct {
	Node      NodeConfig        `toml:"node" envPrefix:"NODE_"`
	Log       observe.LogConfig `toml:"log" envPrefix:"LOG_"`
	Observe   observe.Config    `toml:"observe" envPrefix:"OBSERVE_"`
	Broker    broker.Config     `toml:"broker" envPrefix:"BROKER_"`
	Server    ServerConfig      `toml:"server" envPrefix:"SERVER_"`
	PowerDNS  powerdns.Config   `toml:"powerdns" envPrefix:"POWERDNS_"`
	Primary   PrimaryConfig     `toml:"primary" envPrefix:"PRIMARY_"`
	Secondary SecondaryConfig   `toml:"secondary" envPrefix:"SECONDARY_"`
	Proxy     proxy.Config      `toml:"proxy" envPrefix:"PROXY_"`
	Health    health.Config     `toml:"health" envPrefix:"HEALTH_"`
	DNSSEC    dnssec.Config     `toml:"dnssec" envPrefix:"DNSSEC_"`
}

// NodeConfig is the section [node].
type NodeConfig struct {
	// ID names this node to all others: 1 to 63 of a-z, 0-9, '-' and '_'. Each role that runs needs its own. Default:
	// the host name up to its first dot.
	ID string `toml:"id" env:"ID"`
}

// Validate fills in the host name where no id is given.
func (c *NodeConfig) Validate() error {
	if c.ID == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("node.id: not set, and the host name cannot be read: %w", err)
		}
		host, _, _ = strings.Cut(host, ".")
		c.ID = strings.ToLower(host)
	}
	if err := broker.CheckNodeID(c.ID); err != nil {
		return fmt.Errorf("node.id: %w", err)
	}
	return nil
}

// ServerConfig is the section [server], of role broker.
type ServerConfig struct {
	// Config is the nats-server configuration file that the broker runs from, as `pdns-distribute init` writes it.
	Config string `toml:"config" env:"CONFIG" envDefault:"/etc/pdns-distribute/nats.conf"`
}

// Validate returns the fault.
func (c *ServerConfig) Validate() error {
	if c.Config == "" {
		return errors.New("server.config: name the nats-server configuration file, such as \"/etc/pdns-distribute/nats.conf\"")
	}
	return nil
}

// PrimaryConfig is the section [primary].
type PrimaryConfig struct {
	// Workers is how many zones are transferred and published at a time. A transfer keeps one PowerDNS thread and one
	// core busy: about the number of cores is best, and one more so that a slow zone leaves the others their way.
	Workers int `toml:"workers" env:"WORKERS" envDefault:"4"`

	// SweepInterval is how often all zones of PowerDNS are compared with what is published, to find changes that were
	// made behind the proxy. A sweep costs PowerDNS about 150 µs per zone.
	SweepInterval time.Duration `toml:"sweep_interval" env:"SWEEP_INTERVAL" envDefault:"15m"`

	// NotifyListen is where DNS NOTIFY from PowerDNS is taken as a hint that a zone changed (also-notify in pdns.conf).
	// Default: off.
	NotifyListen string `toml:"notify_listen" env:"NOTIFY_LISTEN"`

	// MaxDeletePercent is how many of all zones may be found missing in PowerDNS within one hour before the primary
	// stops and waits for an operator's word. Deletions through the proxy do not count.
	MaxDeletePercent int `toml:"max_delete_percent" env:"MAX_DELETE_PERCENT" envDefault:"10"`

	// ScrubRate is how many zones a minute are read anew from PowerDNS, to find what no serial shows. 0 is none.
	ScrubRate int `toml:"scrub_rate" env:"SCRUB_RATE" envDefault:"60"`

	// MaxZoneMB is the largest zone that is taken, in MB of DNS wire form: 100,000 records are about 6 MB, signed 20.
	MaxZoneMB int `toml:"max_zone_mb" env:"MAX_ZONE_MB" envDefault:"512"`

	// TransferTimeout is how long the transfer of one zone may take in all.
	TransferTimeout time.Duration `toml:"transfer_timeout" env:"TRANSFER_TIMEOUT" envDefault:"5m"`

	// SignKeyFile holds the key (Ed25519, PKCS #8, PEM) that states are signed with, readable by its owner alone. Without
	// it they are not signed, and whoever has the broker can forge zones.
	SignKeyFile string `toml:"sign_key_file" env:"SIGN_KEY_FILE"`

	// IncludeSlaves also distributes the zones that this PowerDNS is itself a secondary of.
	IncludeSlaves bool `toml:"include_slaves" env:"INCLUDE_SLAVES" envDefault:"false"`

	// Replicas is on how many brokers the streams are kept: 1, or 3 in a cluster of three or more. It counts when the
	// streams are made; those that exist are never altered.
	Replicas int `toml:"replicas" env:"REPLICAS" envDefault:"1"`
}

// Validate returns all faults, joined.
func (c *PrimaryConfig) Validate() error {
	var faults []error
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		faults = append(faults, fmt.Errorf("primary.replicas: %d is none of 1, 3 and 5", c.Replicas))
	}
	if c.NotifyListen != "" {
		faults = append(faults, checkAddress("primary.notify_listen", c.NotifyListen))
	}
	return errors.Join(append(faults,
		within("primary.workers", c.Workers, 1, 256),
		within("primary.scrub_rate", c.ScrubRate, 0, 60_000),
		within("primary.max_delete_percent", c.MaxDeletePercent, 0, 100),
		within("primary.max_zone_mb", c.MaxZoneMB, 1, 2047),
		atLeast("primary.sweep_interval", c.SweepInterval, time.Second),
		atLeast("primary.transfer_timeout", c.TransferTimeout, time.Second),
	)...)
}

// SecondaryConfig is the section [secondary].
type SecondaryConfig struct {
	// TransferListen is the loopback address that the PowerDNS beside this role transfers its zones from.
	TransferListen string `toml:"transfer_listen" env:"TRANSFER_LISTEN" envDefault:"127.0.0.1:5300"`

	// StateDir is where the copy of all zones is kept, mode 0700. It may be deleted: it is filled again.
	StateDir string `toml:"state_dir" env:"STATE_DIR" envDefault:"/var/lib/pdns-distribute/secondary"`

	// TakeOver lets zones of other kinds be taken over that PowerDNS has under a published name: they become secondaries
	// of this role, and lose their DNSSEC keys. Off, because beside the wrong PowerDNS it would destroy a primary.
	TakeOver bool `toml:"take_over" env:"TAKE_OVER" envDefault:"false"`

	// ScrubRate is how many zones a minute are transferred out of PowerDNS and compared with what it was given, to find what no serial shows. 0 is none.
	ScrubRate int `toml:"scrub_rate" env:"SCRUB_RATE" envDefault:"60"`

	// TrustedKeys are the public keys (base64) of primaries whose states are applied, and no others. Without any the broker
	// is trusted.
	TrustedKeys []string `toml:"trusted_keys" env:"TRUSTED_KEYS"`

	// PublicAddresses is where the PowerDNS beside this role answers the world, host:port with an IP address: the health
	// role asks there. Without any nothing is asked from outside.
	PublicAddresses []string `toml:"public_addresses" env:"PUBLIC_ADDRESSES"`

	// ExtraZones is what becomes of zones that PowerDNS has here, that nobody published and this role did not make:
	// "report" shows them, "keep" does not, "delete" deletes them, as all others that nobody published, with the leave of
	// health.max_delete_percent.
	ExtraZones string `toml:"extra_zones" env:"EXTRA_ZONES" envDefault:"report"`

	// Workers is how many zones are applied at a time. PowerDNS takes them one after the other at its database, so a few
	// that wait keep it busy. Of 2,000 small zones on two cores (gsqlite3 beside lmdb) 4 workers applied 64 a second, 8
	// 75 to 84, 16 87 to 92, 32 69.
	Workers int `toml:"workers" env:"WORKERS" envDefault:"16"`
}

// Validate returns all faults, joined.
func (c *SecondaryConfig) Validate() error {
	var faults []error
	for _, address := range c.PublicAddresses {
		faults = append(faults, checkAddress("secondary.public_addresses", address))
	}
	_, err := c.trusted()
	faults = append(faults, err)
	if c.StateDir == "" {
		faults = append(faults, errors.New("secondary.state_dir: the secondary needs a folder for its copy of the zones"))
	}
	return errors.Join(append(faults,
		checkAddress("secondary.transfer_listen", c.TransferListen),
		c.checkExtraZones(),
		within("secondary.workers", c.Workers, 1, 256),
		within("secondary.scrub_rate", c.ScrubRate, 0, 60_000),
	)...)
}

// trusted reads the keys.
func (c *SecondaryConfig) trusted() (keys []zone.TrustedKey, err error) {
	var faults []error
	for _, text := range c.TrustedKeys {
		key, err := zone.ParseTrustedKey(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("secondary.trusted_keys: %w; `pdns-distribute init` writes the keys of all primaries here", err))
		}
		keys = append(keys, key)
	}
	return keys, errors.Join(faults...)
}

// The values of SecondaryConfig.ExtraZones.
const (
	extraReport = "report"
	extraKeep   = "keep"
	extraDelete = "delete"
)

func (c *SecondaryConfig) checkExtraZones() error {
	switch c.ExtraZones {
	case extraReport, extraKeep, extraDelete:
		return nil
	}
	return fmt.Errorf("secondary.extra_zones: %q is none of %q, %q and %q", c.ExtraZones, extraReport, extraKeep, extraDelete)
}

func checkAddress(key, address string) error {
	if host, _, err := net.SplitHostPort(address); err != nil || net.ParseIP(host) == nil {
		return fmt.Errorf("%s: %q is not an IP address with a port, such as \"127.0.0.1:5300\"", key, address)
	}
	return nil
}

func within(key string, n, least, most int) error {
	if n < least || n > most {
		return fmt.Errorf("%s: %d is not between %d and %d", key, n, least, most)
	}
	return nil
}

func atLeast(key string, d, least time.Duration) error {
	if d < least {
		return fmt.Errorf("%s: %s is too short; use %s or more", key, d, least)
	}
	return nil
}

// loadConfig reads the sections that a role uses, besides those that every role does.
func loadConfig(from settings.Sources, sections ...string) (Config, error) {
	var cfg Config
	err := settings.Load(&cfg, from, append([]string{"node", "log", "observe"}, sections...)...)
	if from.File != "" {
		cfg.resolve(filepath.Dir(from.File))
	}
	return cfg, err
}

// resolve makes relative paths count from the folder of the configuration file, so that it can be moved as a whole.
func (c *Config) resolve(dir string) {
	for _, path := range []*string{
		&c.Broker.CAFile, &c.Broker.CertFile, &c.Broker.KeyFile, &c.Broker.NKeyFile, &c.Broker.CredsFile, &c.Broker.PasswordFile, &c.Broker.TokenFile,
		&c.Server.Config, &c.PowerDNS.APIKeyFile, &c.PowerDNS.CAFile, &c.Primary.SignKeyFile, &c.Secondary.StateDir, &c.Proxy.StateDir, &c.Proxy.TLSCert, &c.Proxy.TLSKey, &c.Proxy.ClientCA,
	} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
}
