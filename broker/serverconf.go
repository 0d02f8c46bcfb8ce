package broker

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"text/template"

	"github.com/nats-io/nkeys"
)

// RemoteAPIPrefix is the api_prefix of proxies and secondaries on a broker with this configuration.
const RemoteAPIPrefix = "P.API"

// User is a node that may connect.
type User struct {
	ID        string // node id
	PublicKey string // of its nkey, U…
}

// ServerConf is a broker's configuration as `init` writes it: one broker, three accounts, nkeys.
type ServerConf struct {
	ServerName string // unique per broker
	Listen     string // "0.0.0.0:4222"
	StoreDir   string // for the streams; on a disk of its own, if it can be had
	CertFile   string // PEM, of this broker
	KeyFile    string
	CAFile     string // PEM, that signed it

	MaxFile   int64 // bytes of disk for the streams; 0 is 20 GiB
	MaxMemory int64 // bytes of memory for the statuses; 0 is 256 MiB

	// SyncAlways writes each message to the disk before it is acknowledged. It costs throughput (2,000 publishes take
	// 1.5 s instead of 0.08 s) and guards only against power failures, which the primary's sweep makes good anyway.
	SyncAlways bool

	Core        []User // primary, health, administrators: everything in the account that owns the streams
	Proxies     []User
	Secondaries []User
	System      []User // may watch and reload the server itself; may be empty
}

const (
	defaultMaxFile   = 20 << 30
	defaultMaxMemory = 256 << 20
)

//go:embed serverconf.tmpl
var serverConfText string

var serverConf = template.Must(template.New("nats-server.conf").Funcs(template.FuncMap{
	"quote": strconv.Quote,
}).Parse(serverConfText))

// Render gives the text of the configuration file; it holds no secrets. All faults of ids and keys are reported at
// once (ErrConfig).
func (s ServerConf) Render() ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if s.MaxFile == 0 {
		s.MaxFile = defaultMaxFile
	}
	if s.MaxMemory == 0 {
		s.MaxMemory = defaultMaxMemory
	}
	var text bytes.Buffer
	if err := serverConf.Execute(&text, s); err != nil {
		return nil, fmt.Errorf("write broker configuration: %w", err)
	}
	return text.Bytes(), nil
}

// APIPrefix lets the template agree with what clients are told.
func (ServerConf) APIPrefix() string { return RemoteAPIPrefix }

func (s ServerConf) validate() error {
	var faults []error
	for _, f := range []struct{ name, value string }{
		{"server name", s.ServerName}, {"listen address", s.Listen}, {"store directory", s.StoreDir},
		{"certificate file", s.CertFile}, {"key file", s.KeyFile}, {"CA file", s.CAFile},
	} {
		if f.value == "" {
			faults = append(faults, fmt.Errorf("broker's %s is missing", f.name))
		}
	}
	if len(s.Core) == 0 {
		faults = append(faults, errors.New("no core user; the primary needs one"))
	}
	return errors.Join(append(faults, s.checkUsers()...)...)
}

// checkUsers makes sure that each user is one node: with a shared id or key, one could read another's answers.
func (s ServerConf) checkUsers() (faults []error) {
	owner := make(map[string]string)
	for _, users := range [][]User{s.Core, s.Proxies, s.Secondaries, s.System} {
		for _, u := range users {
			if err := CheckNodeID(u.ID); err != nil {
				faults = append(faults, err)
			}
			if !nkeys.IsValidPublicUserKey(u.PublicKey) {
				faults = append(faults, fmt.Errorf("user %q: %q is no public nkey of a user (U…)", u.ID, u.PublicKey))
			}
			for _, unique := range []string{u.ID, u.PublicKey} {
				if other, taken := owner[unique]; taken {
					faults = append(faults, fmt.Errorf("%q is used by both %q and %q", unique, other, u.ID))
				}
				owner[unique] = u.ID
			}
		}
	}
	return faults
}
