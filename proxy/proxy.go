package proxy

import (
	"context"
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
	"golang.org/x/sync/errgroup"
)

// Proxy is the HTTPS server. New binds its listener; Run serves.
type Proxy struct {
	server   *http.Server
	listener net.Listener
	dirty    *dirtySet
	metrics  *metrics
	log      zerolog.Logger

	certificates *certificates
}

type metrics struct {
	requests *prometheus.CounterVec
	touches  *prometheus.CounterVec
	waiting  prometheus.Gauge
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
	}
	reg.MustRegister(m.requests, m.touches, m.waiting)
	return m
}

// New makes the proxy in front of the PowerDNS at upstream and binds its listener.
func New(cfg Config, upstream *url.URL, marker Marker, reg prometheus.Registerer, log zerolog.Logger) (*Proxy, error) {
	certificates, err := newCertificates(cfg, log)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("proxy.listen: %w", err)
	}
	p := &Proxy{listener: httpsOnly{listener}, certificates: certificates, metrics: newMetrics(reg), log: log}
	reg.MustRegister(certificates.metric())
	p.dirty = newDirtySet(marker, log, p.metrics.waiting.Set)
	p.server = &http.Server{
		Handler:           p.handler(cfg, upstream),
		TLSConfig:         certificates.config(),
		ReadHeaderTimeout: 10 * time.Second, // the handshake's as well
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          stdlog.New(log.With().Str(zerolog.LevelFieldName, "debug").Logger(), "", 0),
	}
	return p, nil
}

func (p *Proxy) handler(cfg Config, upstream *url.URL) http.Handler {
	forward := newForwarder(upstream, cfg.UpstreamTimeout,
		func(r *http.Request, t touch) http.Header {
			stored := p.dirty.store(r.Context(), t, cfg.StorePatience)
			p.metrics.touches.WithLabelValues(map[bool]string{true: "stored", false: "queued"}[stored]).Inc()
			if stored {
				return nil
			}
			return http.Header{HeaderQueued: {"1"}}
		},
		func(r *http.Request, err error) {
			p.log.Error().Err(err).Str("method", r.Method).Str("path", r.URL.EscapedPath()).Msg("PowerDNS did not answer")
		})
	router := chi.NewRouter()
	router.Use(p.count)
	router.Handle("/*", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		forward.ServeHTTP(w, withTouch(r))
	}))
	return router
}

// count keeps the metrics of requests.
func (p *Proxy) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(s, r)
		p.metrics.requests.WithLabelValues(methodLabel(r.Method), fmt.Sprint(s.status)).Inc()
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
