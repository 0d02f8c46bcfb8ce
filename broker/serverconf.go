package broker

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"text/template"
)

// AccountsFile is what a broker's configuration includes from its own folder: see [Accounts].
const AccountsFile = "accounts.conf"

// ServerConf is a broker's own configuration as `init` writes it. Who may connect is in the file beside it.
type ServerConf struct {
	ServerName string // unique per broker
	Listen     string // "0.0.0.0:4222"
	StoreDir   string // for the streams; on a disk of its own, if it can be had
	CertFile   string // PEM, of this broker
	KeyFile    string
	CAFile     string // PEM, that signed it

	Cluster *Cluster // nil for a single broker

	MaxFile   int64 // bytes of disk for the streams; 0 is 20 GiB
	MaxMemory int64 // bytes of memory for the statuses; 0 is 256 MiB

	// SyncAlways writes each message to the disk before it is acknowledged. It costs throughput (2,000 publishes take
	// 1.5 s instead of 0.08 s) and guards only against power failures, which the primary's sweep makes good anyway.
	SyncAlways bool
}

// Cluster is how a broker finds the others. Both ends of a route show the certificate that clients are shown.
type Cluster struct {
	Name      string
	Listen    string   // "0.0.0.0:6222"
	Advertise string   // where the others reach it, by a name in its certificate: "broker1.example.net:6222"
	Routes    []string // of the others: "tls://broker2.example.net:6222"
}

const (
	defaultMaxFile   = 20 << 30
	defaultMaxMemory = 256 << 20
)

//go:embed serverconf.tmpl
var serverConfText string

var (
	quoting    = template.FuncMap{"quote": strconv.Quote}
	serverConf = template.Must(template.New("nats-server.conf").Funcs(quoting).Parse(serverConfText))
)

// Render gives the text of the configuration file; it holds no secrets. All that is missing is reported at once
// (ErrConfig).
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

// Accounts lets the template name the file.
func (ServerConf) Accounts() string { return AccountsFile }

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
	return errors.Join(faults...)
}
