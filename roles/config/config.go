// Package config is the configuration of all roles: its sections, which of them a role reads, and how they are checked.
// The sections of broker, PowerDNS, proxy and health are declared in the packages that use them.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
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
	// One that would let anybody in without credentials or unencrypted is refused.
	Config string `toml:"config" env:"CONFIG" envDefault:"/etc/pdns-distribute/nats.conf" path:"public"`
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
	// Workers is how many zones are transferred and published at a time, 1 to 256. A transfer keeps one PowerDNS
	// thread and one core busy: about the number of cores is best, and one more so that a slow zone does not block
	// others.
	Workers int `toml:"workers" env:"WORKERS" envDefault:"4"`

	// SweepInterval is how often all zones of PowerDNS are compared with what is published, by their serials, to find
	// changes that bypassed the proxy. A sweep costs PowerDNS about 150 µs per zone; where it takes longer than a
	// twentieth of the interval, sweeps are further apart.
	SweepInterval time.Duration `toml:"sweep_interval" env:"SWEEP_INTERVAL" envDefault:"15m"`

	// NotifyListen is the IP address and port where a DNS NOTIFY of PowerDNS is taken as a hint that a zone changed
	// (also-notify in pdns.conf). It is taken from this host only. Default: off.
	NotifyListen string `toml:"notify_listen" env:"NOTIFY_LISTEN"`

	// MaxDeletePercent is how many of all zones may be found missing in PowerDNS within one hour before the primary
	// holds further deletions until an operator confirms them, 0 to 100; 0 allows none. Deletions through the proxy
	// do not count.
	MaxDeletePercent int `toml:"max_delete_percent" env:"MAX_DELETE_PERCENT" envDefault:"10"`

	// MaxOrderedDeletes is how many zones each proxy may have deleted within one hour. What a proxy, or an API key
	// that it lets in, orders beyond that counts as found missing.
	MaxOrderedDeletes int `toml:"max_ordered_deletes" env:"MAX_ORDERED_DELETES" envDefault:"100"`

	// MaxOrderedDeletePercent is the same in percent of all zones. The higher one of both numbers counts.
	MaxOrderedDeletePercent int `toml:"max_ordered_delete_percent" env:"MAX_ORDERED_DELETE_PERCENT" envDefault:"20"`

	// ConfirmKeys are the public nkeys (U…) of the nodes on which an operator may confirm held deletions. Without
	// any, a confirmation needs no signature.
	ConfirmKeys []string `toml:"confirm_keys" env:"CONFIRM_KEYS"`

	// ScrubPeriod is the time within which each published zone is read anew from PowerDNS, to find changes that left
	// the serial as it was. Where there is time, it is a zone a second. 0 is never.
	ScrubPeriod time.Duration `toml:"scrub_period" env:"SCRUB_PERIOD" envDefault:"24h"`

	// AliasInterval is how often zones are read anew whose ALIAS records PowerDNS expands as it transfers them
	// (outgoing-axfr-expand-alias), so that their addresses follow the target: after the least TTL of these records,
	// but no sooner than AliasInterval, and no later than five times that. 0 is never.
	AliasInterval time.Duration `toml:"alias_interval" env:"ALIAS_INTERVAL" envDefault:"1m"`

	// MaxZoneMB is the largest zone that is taken, in MB of DNS wire form, up to 2047: 100,000 records are about 6 MB,
	// signed 20. While a zone is read it takes up to five times its size in memory, for each of Workers. A secondary
	// PowerDNS takes 100 MB, unless its xfr-max-received-mbytes says otherwise.
	MaxZoneMB int `toml:"max_zone_mb" env:"MAX_ZONE_MB" envDefault:"512"`

	// TransferTimeout is how long the transfer of one zone may take in all.
	TransferTimeout time.Duration `toml:"transfer_timeout" env:"TRANSFER_TIMEOUT" envDefault:"5m"`

	// SignKeyFile holds the key (Ed25519, PKCS #8, PEM) that states are signed with, readable by its owner alone.
	// Without it they are not signed, and a compromised broker can forge zones.
	SignKeyFile string `toml:"sign_key_file" env:"SIGN_KEY_FILE" path:"secret"`

	// IncludeSlaves also distributes the zones that this PowerDNS is itself a secondary of.
	IncludeSlaves bool `toml:"include_slaves" env:"INCLUDE_SLAVES" envDefault:"false"`

	// Replicated says that PowerDNS's database is one of several that replicate each other, each with a primary role
	// beside it. These then write heartbeats into a zone of their own, heartbeat.pdns-distribute.invalid, which is
	// not distributed.
	Replicated bool `toml:"replicated" env:"REPLICATED" envDefault:"false"`

	// HeartbeatURLs is where the heartbeat is written while the own PowerDNS takes no writes: the APIs of PowerDNS
	// servers whose databases may, or proxies in front of them. Default: none.
	HeartbeatURLs []string `toml:"heartbeat_urls" env:"HEARTBEAT_URLS"`

	// HeartbeatKeyFile holds the API key of HeartbeatURLs, readable by its owner alone. Default: that of the own
	// PowerDNS.
	HeartbeatKeyFile string `toml:"heartbeat_key_file" env:"HEARTBEAT_KEY_FILE" path:"secret"`

	// HeartbeatCAFile holds the certificates (PEM) that those of HeartbeatURLs are checked against. Default: the
	// system's.
	HeartbeatCAFile string `toml:"heartbeat_ca_file" env:"HEARTBEAT_CA_FILE" path:"public"`

	// Replicas is on how many brokers the streams are kept: 1, 3 or 5; `pdns-distribute init` writes 3 for a cluster.
	// It counts when the streams are made; those that exist are never altered.
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
		atLeast("primary.scrub_period", c.ScrubPeriod, 0),
		within("primary.max_delete_percent", c.MaxDeletePercent, 0, 100),
		within("primary.max_ordered_deletes", c.MaxOrderedDeletes, 0, 10_000_000),
		within("primary.max_ordered_delete_percent", c.MaxOrderedDeletePercent, 0, 100),
		checkConfirmKeys("primary.confirm_keys", c.ConfirmKeys),
		within("primary.max_zone_mb", c.MaxZoneMB, 1, 2047),
		atLeast("primary.sweep_interval", c.SweepInterval, time.Second),
		atLeastOrNone("primary.alias_interval", c.AliasInterval, time.Second),
		atLeast("primary.transfer_timeout", c.TransferTimeout, time.Second),
	)...)
}

// SecondaryConfig is the section [secondary].
type SecondaryConfig struct {
	// TransferListen is the IP address and port that the PowerDNS beside this role transfers its zones from. Only
	// this host gets answers, by loopback or from an address of its own.
	TransferListen string `toml:"transfer_listen" env:"TRANSFER_LISTEN" envDefault:"127.0.0.1:5300"`

	// StateDir is where the copy of all zones is kept, mode 0700. PowerDNS gets its zones from there, also while the
	// broker is away. It may be deleted while the role is stopped: it is filled again.
	StateDir string `toml:"state_dir" env:"STATE_DIR" envDefault:"/var/lib/pdns-distribute/secondary" path:"folder"`

	// TakeOver lets zones of other kinds be taken over that PowerDNS has under a published name: they become
	// secondaries of this role, and lose their DNSSEC keys. Off, because beside the wrong PowerDNS it would destroy a
	// primary.
	TakeOver bool `toml:"take_over" env:"TAKE_OVER" envDefault:"false"`

	// ScrubPeriod is the time within which each zone is transferred out of PowerDNS and compared with what it was
	// given, to find changes that left the serial as it was. Where there is time, it is a zone a second. 0 is never.
	ScrubPeriod time.Duration `toml:"scrub_period" env:"SCRUB_PERIOD" envDefault:"24h"`

	// Batches has many zones that PowerDNS lacks be made by catalog zones, which is quicker and costs less. Off, or where
	// PowerDNS is not known to take them well, zones are made one by one.
	Batches bool `toml:"batches" env:"BATCHES" envDefault:"true"`

	// ReviewInterval is how often all zones that PowerDNS lists here are compared with the role's own copy, but for no
	// more than a fiftieth of the time. Zones that nobody published are shown after three times that.
	ReviewInterval time.Duration `toml:"review_interval" env:"REVIEW_INTERVAL" envDefault:"1m"`

	// TrustedKeys are the public keys (base64) of primaries whose states are applied, and no others. Without any the
	// broker is trusted.
	TrustedKeys []string `toml:"trusted_keys" env:"TRUSTED_KEYS"`

	// PublicAddresses is where the PowerDNS beside this role answers the world, such as "192.0.2.53:53": the health
	// role asks there. Without any nothing is asked from outside.
	PublicAddresses []string `toml:"public_addresses" env:"PUBLIC_ADDRESSES"`

	// ExtraZones is what becomes of zones that PowerDNS has here, that nobody published and this role did not make:
	// "report" shows them, "keep" does not, "delete" deletes them, as all others that nobody published, with the
	// leave of health.max_delete_percent.
	ExtraZones string `toml:"extra_zones" env:"EXTRA_ZONES" envDefault:"report"`

	// Workers is how many zones are applied at a time, 1 to 256. PowerDNS takes them one after the other at its
	// database, so a few that wait keep it busy. Of 2,000 small zones on two cores (gsqlite3 beside lmdb) 4 workers
	// applied 64 a second, 8 75 to 84, 16 87 to 92, 32 69.
	Workers int `toml:"workers" env:"WORKERS" envDefault:"16"`
}

// Validate returns all faults, joined.
func (c *SecondaryConfig) Validate() error {
	var faults []error
	for _, address := range c.PublicAddresses {
		faults = append(faults, checkAddress("secondary.public_addresses", address))
	}
	_, err := c.Trusted()
	faults = append(faults, err)
	if c.StateDir == "" {
		faults = append(faults, errors.New("secondary.state_dir: the secondary needs a folder for its copy of the zones"))
	}
	return errors.Join(append(faults,
		checkAddress("secondary.transfer_listen", c.TransferListen),
		c.checkExtraZones(),
		within("secondary.workers", c.Workers, 1, 256),
		atLeast("secondary.scrub_period", c.ScrubPeriod, 0),
		atLeast("secondary.review_interval", c.ReviewInterval, time.Second),
	)...)
}

// Trusted reads the keys.
func (c *SecondaryConfig) Trusted() (keys []zone.TrustedKey, err error) {
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
	ExtraReport = "report"
	extraKeep   = "keep"
	ExtraDelete = "delete"
)

func (c *SecondaryConfig) checkExtraZones() error {
	switch c.ExtraZones {
	case ExtraReport, extraKeep, ExtraDelete:
		return nil
	}
	return fmt.Errorf("secondary.extra_zones: %q is none of %q, %q and %q", c.ExtraZones, ExtraReport, extraKeep, ExtraDelete)
}

func checkConfirmKeys(key string, keys []string) error {
	var faults []error
	for _, k := range keys {
		if err := broker.CheckPublicKey(k); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w; `pdns-distribute init` writes the nkeys of primaries and health roles here", key, err))
		}
	}
	return errors.Join(faults...)
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

func atLeastOrNone(key string, d, least time.Duration) error {
	if d == 0 {
		return nil
	}
	return atLeast(key, d, least)
}

// Load reads the sections that a role uses, besides those that every role does.
func Load(from settings.Sources, sections ...string) (Config, error) {
	var cfg Config
	cfg.PowerDNS.Keyless = slices.Contains(sections, "proxy") // it passes each client's own key on
	err := settings.Load(&cfg, from, slices.Concat(everybodys, sections)...)
	if from.File != "" {
		cfg.Proxy.KeysFile = cmp.Or(cfg.Proxy.KeysFile, keysFile)
		cfg.resolve(filepath.Dir(from.File))
	}
	cfg.Proxy.RereadKeys = func() (proxy.Keys, error) {
		again, err := Load(from, sections...)
		return again.Proxy.Keys, err
	}
	return cfg, err
}

// keysFile stands beside the configuration file, if there are scoped keys in a file of their own.
const keysFile = "keys.toml"

// resolve makes relative paths count from the folder of the configuration file, so that it can be moved as a whole.
func (c *Config) resolve(dir string) {
	for _, section := range reflect.ValueOf(c).Elem().Fields() {
		for field, value := range section.Fields() {
			if _, is := field.Tag.Lookup("path"); !is || value.String() == "" || filepath.IsAbs(value.String()) {
				continue
			}
			value.SetString(filepath.Join(dir, value.String()))
		}
	}
}
