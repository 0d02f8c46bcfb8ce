// Package observe is how a role is watched: its log, its metrics, and the HTTP listener that every role has.
//
//	/healthz  200 as long as the process answers. It depends on nothing else, the broker least of all: restarting a role
//	          doesn't bring back what it lost touch with.
//	/readyz   200 {"ready":true}, or 503 with what is not ready, why, and since when; see [Readiness].
//	/metrics  the role's registry in the Prometheus format; see [NewRegistry].
//
// A role mounts more with [Server.Handle], before it calls [Server.Run].
package observe

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"
)

// Config is the section [observe].
type Config struct {
	// Listen is the address, host:port, of /metrics, /healthz and /readyz; "" means none. Without a password or client
	// certificates it answers anybody: keep it on loopback or on a network for monitoring. Beyond loopback the log has
	// a warning then. `pdns-distribute init` gives 9500 to brokers, 9501 to primaries, 9502 to proxies, 9503 to health
	// roles and 9504 to secondaries.
	Listen string `toml:"listen" env:"LISTEN" envDefault:"127.0.0.1:9500"`

	// TLSCertFile and TLSKeyFile are PEM files, the key readable by its owner alone. With them the listener speaks HTTPS
	// alone. They are taken anew when they change.
	TLSCertFile string `toml:"tls_cert_file" env:"TLS_CERT_FILE" path:"public"`
	TLSKeyFile  string `toml:"tls_key_file" env:"TLS_KEY_FILE" path:"secret"`

	// PasswordFile holds a password of 12 characters or more, and nothing else. All but /healthz wants it then, by
	// HTTP Basic and with any user name. Beyond loopback it wants TLSCertFile. It is taken anew when it changes.
	PasswordFile string `toml:"password_file" env:"PASSWORD_FILE" path:"secret"`

	// ClientCAFile is a PEM file with CA certificates. All but /healthz wants a client certificate of one of these then,
	// or the password if there is one.
	ClientCAFile string `toml:"client_ca_file" env:"CLIENT_CA_FILE" path:"public"`
}

// Validate finds an address that can't be listened on, and credentials that would protect nothing.
func (c Config) Validate() error {
	if c.Listen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf(`observe.listen: %q is not host:port (for example "127.0.0.1:9500")`, c.Listen)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("observe.listen: %q is not a port between 0 and 65535", port)
	}
	ip := net.ParseIP(host)
	switch loopback := host == "localhost" || ip != nil && ip.IsLoopback(); {
	case (c.TLSCertFile == "") != (c.TLSKeyFile == ""):
		return errors.New("observe.tls_cert_file, observe.tls_key_file: set both or none")
	case c.ClientCAFile != "" && c.TLSCertFile == "":
		return errors.New("observe.client_ca_file: clients show certificates over TLS alone; set observe.tls_cert_file")
	case c.PasswordFile != "" && c.TLSCertFile == "" && !loopback:
		return errors.New("observe.password_file: beyond loopback the password would travel in the clear; set observe.tls_cert_file")
	}
	return nil
}

// TLS reports whether the listener speaks HTTPS.
func (c Config) TLS() bool { return c.TLSCertFile != "" }

// limits of the listener: nobody is asked who they are, so whoever is slow, or holds connections, must not keep those
// out that look whether the role is well. A handler that answers for longer moves its own write deadline by
// http.ResponseController.
type limits struct {
	connections                   int // served at once; others wait for one of them to end, as all of them do
	readHeader, read, write, idle time.Duration
}

var standardLimits = limits{
	connections: 128, readHeader: 5 * time.Second, read: 10 * time.Second, write: 30 * time.Second, idle: 30 * time.Second,
}

const (
	maxHeaderBytes = 16 << 10
	// shutdownTimeout is what requests get to end in when the role stops.
	shutdownTimeout = 5 * time.Second
)

// Server is the HTTP listener of a role.
type Server struct {
	listener net.Listener // nil when switched off
	guard    *guard
	router   chi.Router
	log      zerolog.Logger
	limits   limits
}

// New binds the address, so that a role whose port is taken fails at once, not while it runs. Nothing is answered
// before Run. A role that never gets to Run releases the address by Close.
func New(cfg Config, reg *prometheus.Registry, ready *Readiness, log zerolog.Logger) (*Server, error) {
	s := &Server{router: chi.NewRouter(), log: log, limits: standardLimits, guard: newGuard(cfg, log)}
	reg.MustRegister(readyMetric(ready))
	s.router.Use(middleware.GetHead) // what load balancers ask with
	s.router.Use(s.guard.check)
	s.router.Get("/healthz", alive)
	s.router.Get("/readyz", ready.answer)
	s.router.Method(http.MethodGet, "/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	if cfg.Listen == "" {
		return s, nil
	}
	if err := s.guard.load(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("observe.listen: %w", err)
	}
	s.listener = listener
	if ip := listener.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() && !s.guard.asks() {
		log.Warn().Str("listen", s.Addr()).
			Msg("observe.listen is not on loopback: metrics and status can be read without credentials")
	}
	return s, nil
}

// Addr is the address that was bound, with its real port where port 0 was asked for; "" when the listener is switched
// off.
func (s *Server) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Handle mounts a handler at a pattern of chi ("/", "/api/*"). It must not be called after Run.
func (s *Server) Handle(pattern string, handler http.Handler) { s.router.Handle(pattern, handler) }

// Close releases the address of a Server that will not Run.
func (s *Server) Close() error {
	if s.listener == nil {
		return nil
	}
	return s.listener.Close()
}

// Run answers until ctx is done, then lets running requests end, for five seconds at most, and returns nil. It
// returns an error only when the listener fails.
func (s *Server) Run(ctx context.Context) error {
	if s.listener == nil {
		<-ctx.Done()
		return nil
	}
	server := s.httpServer()
	served := make(chan error, 1)
	limited := netutil.LimitListener(s.listener, s.limits.connections)
	if s.guard.cfg.TLS() {
		limited = tls.NewListener(limited, s.guard.config())
	}
	go func() { served <- server.Serve(limited) }()
	select {
	case err := <-served:
		return fmt.Errorf("observe: serve %s: %w", s.Addr(), err)
	case <-ctx.Done():
		err := shutDown(server)
		<-served
		return err
	}
}

func (s *Server) httpServer() *http.Server {
	return &http.Server{
		Handler:           s.router,
		ReadHeaderTimeout: s.limits.readHeader,
		ReadTimeout:       s.limits.read,
		WriteTimeout:      s.limits.write,
		IdleTimeout:       s.limits.idle,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          stdlog.New(s.log, "", 0),
	}
}

// shutDown ends the requests in hand kindly, and those that take too long by closing their connections.
func shutDown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	} else if err != nil {
		return fmt.Errorf("observe: shut down: %w", err)
	}
	return nil
}

func alive(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]bool{"alive": true})
}

// writeJSON answers with a document that is true for this moment only. A client that left before it was written is
// its own affair.
func writeJSON(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document)
}
