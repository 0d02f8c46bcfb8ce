package broker

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"pdns-distribute/roles/private"
)

// readyTimeout is how long the server may take to read its store and listen. A million states take seconds.
const readyTimeout = 5 * time.Minute

// Server is the real nats-server, embedded, run from its own configuration file; nats-server itself would run from the
// same file. Its methods may be called concurrently.
type Server struct {
	nats  *server.Server
	file  string
	log   zerolog.Logger
	fatal chan error // what nats-server would end the process for
	ready chan struct{}
}

// NewServer reads and checks a nats-server configuration file (ErrConfig), and doesn't listen yet. It refuses what
// would let anyone in without credentials or unencrypted, and a store without place or limits.
func NewServer(configFile string, log zerolog.Logger) (*Server, error) {
	options, err := loadServerOptions(configFile)
	if err != nil {
		return nil, err
	}
	if err := private.Folder(options.StoreDir); err != nil {
		return nil, fmt.Errorf("%w: %s: store_dir: %w", ErrConfig, configFile, err)
	}
	ns, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, configFile, err)
	}
	s := &Server{nats: ns, file: configFile, log: log, fatal: make(chan error, 1), ready: make(chan struct{})}
	ns.SetLoggerV2(serverLog{log, s.fatal}, options.Debug, options.Trace, options.TraceVerbose)
	return s, nil
}

func loadServerOptions(file string) (*server.Options, error) {
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, file, err)
	}
	if err := checkServerOptions(options); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, file, err)
	}
	options.NoSigs = true // signals are the command line's business
	options.NoLog = true  // or a reload would replace our logger
	return options, nil
}

// ServerFacts is what a configuration of a nats-server says of the host that it runs on.
type ServerFacts struct {
	Listen      string // for clients, host:port
	Routes      string // for other brokers, "" for a single one
	StoreDir    string
	Certificate *x509.Certificate // shown to clients
}

// InspectServer checks a configuration as NewServer does (ErrConfig).
func InspectServer(configFile string) (ServerFacts, error) {
	options, err := loadServerOptions(configFile)
	if err != nil {
		return ServerFacts{}, err
	}
	if _, err := server.NewServer(options); err != nil {
		return ServerFacts{}, fmt.Errorf("%w: %s: %w", ErrConfig, configFile, err)
	}
	facts := ServerFacts{Listen: net.JoinHostPort(options.Host, strconv.Itoa(options.Port)), StoreDir: options.StoreDir}
	if options.Cluster.Port != 0 {
		facts.Routes = net.JoinHostPort(options.Cluster.Host, strconv.Itoa(options.Cluster.Port))
	}
	if len(options.TLSConfig.Certificates) > 0 {
		if facts.Certificate, err = x509.ParseCertificate(options.TLSConfig.Certificates[0].Certificate[0]); err != nil {
			return ServerFacts{}, fmt.Errorf("%w: %s: %w", ErrConfig, configFile, err)
		}
	}
	return facts, nil
}

// Run serves until ctx ends (nil), or until the server can't go on (error). Call it once.
func (s *Server) Run(ctx context.Context) error {
	stopped := make(chan struct{})
	s.nats.Start()
	go func() {
		defer close(stopped)
		s.nats.WaitForShutdown()
	}()
	defer func() {
		s.nats.Shutdown()
		<-stopped
	}()
	if err := s.awaitReady(ctx, stopped); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.fatal:
		return err
	case <-stopped:
		return s.whyStopped()
	}
}

// awaitReady returns when the server listens, or when ctx ends.
func (s *Server) awaitReady(ctx context.Context, stopped <-chan struct{}) error {
	deadline := time.After(readyTimeout)
	for !s.nats.ReadyForConnections(10 * time.Millisecond) {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.fatal:
			return err
		case <-stopped:
			return s.whyStopped()
		case <-deadline:
			return fmt.Errorf("broker isn't ready after %v; see its log", readyTimeout)
		default:
		}
	}
	close(s.ready)
	return nil
}

func (s *Server) whyStopped() error {
	select {
	case err := <-s.fatal:
		return err
	default:
		return errors.New("broker stopped by itself; see its log")
	}
}

// Ready is closed when the server listens. It doesn't close if Run fails before.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr is where clients connect, nil before Ready.
func (s *Server) Addr() net.Addr { return s.nats.Addr() }

// ClientURL is Addr as a URL, "tls://127.0.0.1:4222".
func (s *Server) ClientURL() string { return "tls://" + s.nats.Addr().String() }

// Reload reads the configuration file again. A file with faults changes nothing. Users, permissions, certificates and
// limits take effect at once; what needs a restart, such as the store directory, is refused.
func (s *Server) Reload() error {
	options, err := loadServerOptions(s.file)
	if err != nil {
		return err
	}
	if err := s.nats.ReloadOptions(options); err != nil {
		return fmt.Errorf("%w: reload %s: %w", ErrConfig, s.file, err)
	}
	s.log.Info().Str("file", s.file).Msg("broker configuration reloaded")
	return nil
}

// serverLog passes nats-server's log on.
type serverLog struct {
	log   zerolog.Logger
	fatal chan<- error
}

func (l serverLog) Noticef(format string, v ...any) { l.log.Info().Msgf(format, v...) }
func (l serverLog) Warnf(format string, v ...any)   { l.log.Warn().Msgf(format, v...) }
func (l serverLog) Errorf(format string, v ...any)  { l.log.Error().Msgf(format, v...) }
func (l serverLog) Debugf(format string, v ...any)  { l.log.Debug().Msgf(format, v...) }
func (l serverLog) Tracef(format string, v ...any)  { l.log.Trace().Msgf(format, v...) }

// Fatalf is where nats-server expects the process to end. Here Run ends, with the first of these errors.
func (l serverLog) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Errorf("broker: "+format, v...):
	default:
	}
}
