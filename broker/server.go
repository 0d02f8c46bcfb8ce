package broker

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"pdns-distribute/private"
)

// readyTimeout is how long the server may take to read its store and listen. A million states take seconds.
const readyTimeout = 5 * time.Minute

// stopPatience is how long the server may take to stop: one whose stream stands still never does. Systemd waits for 30
// s.
const stopPatience = 25 * time.Second

// Server is the real nats-server, embedded, run from its own configuration file; nats-server itself would run from the
// same file. Its methods may be called concurrently.
type Server struct {
	nats  *server.Server
	file  string
	log   zerolog.Logger
	lines *serverLog // nats-server's own log
	fatal chan error // what nats-server would end the process for
	ready chan struct{}

	storeDir  string
	clustered bool
	ends      atomic.Pointer[Ends]
	every     time.Duration // how often it proves itself
	inside    inside
	admitted  bool          // the server can connect with itself
	asked     chan struct{} // has a value while nats-server is asked about itself
}

// NewServer reads and checks a nats-server configuration file (ErrConfig), and doesn't listen yet. It refuses what
// would let anyone in without credentials or unencrypted, a store without place or limits, and files that other users
// of the host can write, or read a secret in.
func NewServer(configFile string, log zerolog.Logger) (*Server, error) {
	options, err := loadServerOptions(configFile)
	if err != nil {
		return nil, err
	}
	if err := private.Folder(options.StoreDir); err != nil {
		return nil, fmt.Errorf("%w: %s: store_dir: %w", ErrConfig, configFile, err)
	}
	self, err := newInside()
	if err != nil {
		return nil, fmt.Errorf("make the broker's own key: %w", err)
	}
	admitted := self.admit(options)
	ns, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, configFile, err)
	}
	fatal := make(chan error, 1)
	s := &Server{
		nats: ns, file: configFile, log: log, lines: newServerLog(log, fatal), fatal: fatal, ready: make(chan struct{}),
		storeDir: options.StoreDir, clustered: options.Cluster.Port != 0, every: proofInterval, inside: self, admitted: admitted, asked: make(chan struct{}, 1),
	}
	s.ends.Store(readEnds(configFile, options.TLSConfig))
	ns.SetLoggerV2(s.lines, options.Debug, options.Trace, options.TraceVerbose)
	return s, nil
}

// loadServerOptions has nats-server read no file that was not checked.
func loadServerOptions(file string) (*server.Options, error) {
	if err := checkServerFiles(file); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, file, err)
	}
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
	beside, end := context.WithCancel(context.WithoutCancel(ctx)) // until nats-server has said its last
	var work sync.WaitGroup
	work.Go(func() { s.lines.run(beside) })
	defer work.Wait()
	defer end()
	s.nats.Start()
	go func() {
		defer close(stopped)
		s.nats.WaitForShutdown()
	}()
	defer func() {
		go s.nats.Shutdown()
		select {
		case <-stopped:
		case <-time.After(stopPatience): // the process ends, and it with that
			s.log.Error().Dur("after", stopPatience).Msg("nats-server does not stop, the role ends without it")
			return
		}
		if err := s.noteConsumers(); err != nil {
			s.log.Warn().Err(err).
				Msg("failed to note what consumers have delivered, so damage to it may stay unseen; is the disk full?")
		}
	}()
	if err := s.awaitReady(ctx, stopped); err != nil {
		return err
	}
	work.Go(func() { s.boundKeys(beside) })
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

// Name is the server's, by which the others of a cluster know it.
func (s *Server) Name() string { return s.nats.Name() }

// Version is nats-server's.
func (s *Server) Version() string { return server.VERSION }

// StoreDir is where the streams are kept.
func (s *Server) StoreDir() string { return s.storeDir }

// ClientURL is Addr as a URL, "tls://127.0.0.1:4222".
func (s *Server) ClientURL() string { return "tls://" + s.nats.Addr().String() }

// Reload reads the configuration file again. A file with faults changes nothing. Users, permissions, certificates and
// limits take effect at once; what needs a restart, such as the store directory, is refused.
//
// It is done twice: what an account imports that was not there before, nats-server (2.15.3) finds at the next reload
// only.
func (s *Server) Reload() error {
	for range 2 {
		options, err := loadServerOptions(s.file)
		if err != nil {
			return err
		}
		s.inside.admit(options)
		if err := s.nats.ReloadOptions(options); err != nil {
			return fmt.Errorf("%w: reload %s: %w", ErrConfig, s.file, err)
		}
		s.ends.Store(readEnds(s.file, options.TLSConfig))
	}
	s.log.Info().Str("file", s.file).Msg("broker configuration reloaded")
	return nil
}
