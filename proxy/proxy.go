package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
)

// Proxy is the HTTPS server. New binds its listener; Run serves.
type Proxy struct {
	server   *http.Server
	listener net.Listener
	dirty    *dirtySet
	metrics  *metrics
	log      zerolog.Logger
	cfg      Config
	tracker  *Tracker

	// stopping ends when nobody is to be kept waiting any more.
	stopping context.Context
	stop     context.CancelFunc

	upstream *upstream
	serverID string

	certificates *certificates
}

type metrics struct {
	requests *prometheus.CounterVec
	touches  *prometheus.CounterVec
	waiting  prometheus.Gauge
	held     prometheus.Gauge
	waits    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_proxy_requests_total", Help: "Requests by method and status.",
		}, []string{"method", "status"}),
		touches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_proxy_touches_total", Help: "Writes whose touch was stored at once, or queued here because the broker was away.",
		}, []string{"result"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_proxy_dirty_zones", Help: "Zones whose touch is not stored yet.",
		}),
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_proxy_held_answers", Help: "Answers that are being held until their change is served everywhere.",
		}),
		waits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_proxy_waits_total", Help: "Answers that were held, by how the change stood in the end: insync, pending.",
		}, []string{"status"}),
	}
	reg.MustRegister(m.requests, m.touches, m.waiting, m.held, m.waits)
	return m
}

// Options are what the proxy is connected to.
type Options struct {
	Upstream *url.URL    // PowerDNS's web server
	TLS      *tls.Config // for an upstream with https; nil trusts the host's roots
	ServerID string      // the server's id in its API
	Marker   Marker
	Tracker  *Tracker
	Registry prometheus.Registerer
	Log      zerolog.Logger
}

// New makes the proxy and binds its listener.
func New(cfg Config, o Options) (*Proxy, error) {
	log := o.Log
	certificates, err := newCertificates(cfg, log)
	if err != nil {
		return nil, err
	}
	journal, err := openJournal(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("proxy.listen: %w", err)
	}
	p := &Proxy{
		listener: netutil.LimitListener(httpsOnly{listener}, cfg.MaxConnections), certificates: certificates, metrics: newMetrics(o.Registry), log: log, cfg: cfg,
		tracker: o.Tracker, upstream: newUpstream(o.Upstream, o.TLS, cfg.UpstreamTimeout, cfg.StallTimeout), serverID: o.ServerID,
	}
	p.stopping, p.stop = context.WithCancel(context.Background())
	o.Registry.MustRegister(certificates.metric())
	p.dirty = newDirtySet(o.Marker, journal, log, p.metrics.waiting.Set)
	p.server = &http.Server{
		Handler:           p.handler(),
		TLSConfig:         certificates.config(),
		ReadHeaderTimeout: 10 * time.Second, // the handshake's as well
		IdleTimeout:       2 * time.Minute,  // and in HTTP/2 until a request is complete
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          stdlog.New(log.With().Str(zerolog.LevelFieldName, "debug").Logger(), "", 0),

		DisableGeneralOptionsHandler: true, // PowerDNS answers "OPTIONS *"
	}
	return p, nil
}

// maxStreams is how many requests a client may have in work at once over one connection of HTTP/2.
const maxStreams = 100

func (p *Proxy) handler() http.Handler {
	to := newForwarder(p.upstream, p.written, p.failed)
	forward := func(w http.ResponseWriter, r *http.Request) {
		to.ServeHTTP(w, r)
		if s, ok := w.(*statusWriter); ok && s.status < 300 {
			p.warn(r)
		}
	}
	router := chi.NewRouter()
	router.Use(p.count)
	router.Route(apiPath, p.api)
	router.HandleFunc("/*", forward)
	router.NotFound(forward)         // "*"
	router.MethodNotAllowed(forward) // methods that chi does not know
	return router
}

// warn tells of writes that PowerDNS accepted and that reach no secondary.
func (p *Proxy) warn(r *http.Request) {
	if what := undistributed(r.Method, r.URL.EscapedPath()); what != "" {
		p.log.Warn().Str("method", r.Method).Str("path", r.URL.EscapedPath()).Msg(what + " are not distributed: secondaries do not get this")
	}
}

// failed logs what kept a request from being answered.
func (p *Proxy) failed(r *http.Request, err error) {
	event, message := p.log.Error(), "PowerDNS did not answer"
	if errors.As(err, new(clientError)) {
		event, message = p.log.Debug(), "the client left"
	}
	event.Err(err).Str("method", r.Method).Str("path", r.URL.EscapedPath()).Msg(message)
}

// count keeps the metrics of requests, of those as well whose answer breaks off.
func (p *Proxy) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() { p.metrics.requests.WithLabelValues(methodLabel(r.Method), fmt.Sprint(s.status)).Inc() }()
		next.ServeHTTP(s, r)
	})
}

// methodLabel bounds the label: clients may send any word as a method.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the writer underneath.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Addr is where the proxy listens.
func (p *Proxy) Addr() net.Addr { return p.listener.Addr() }

// Waiting is how many zones wait for their touch to be stored.
func (p *Proxy) Waiting() int { return p.dirty.Len() }

// shutdownPatience is how long requests in hand may take to end once the proxy stops.
const shutdownPatience = 10 * time.Second

// Run serves until ctx ends, then lets the requests in hand finish and stores their touches.
func (p *Proxy) Run(ctx context.Context) error {
	storing, stopStoring := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStoring()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.dirty.run(storing) })
	g.Go(func() error { return p.certificates.watch(gctx) })
	g.Go(func() error {
		err := p.server.ServeTLS(p.listener, "", "")
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("proxy: %w", err)
	})
	g.Go(func() error {
		<-gctx.Done()
		defer stopStoring()
		p.stop()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownPatience)
		defer cancel()
		if err := p.server.Shutdown(end); err != nil {
			p.log.Warn().Err(err).Msg("requests were cut off at the end")
			return p.server.Close()
		}
		return nil
	})
	return g.Wait()
}
