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
	"golang.org/x/sync/errgroup"
)

// Proxy is the HTTPS server. New binds its listener; Run serves. Its parts are safe for concurrent use; nothing here is
// set after New.
type Proxy struct {
	cfg     Config
	metrics *metrics
	logs

	// A connection gets a place, a request passes the gate and the limits of its key, then goes upstream.
	server       *http.Server
	certificates *certificates
	places       *places
	gate         *gate
	limits       *limits
	crowd        *crowd
	upstream     *upstream

	// What a write leads to.
	pending *pendingTouches
	tracker *Tracker

	// stopping ends when nobody is to be kept waiting any more.
	stopping context.Context
	stop     context.CancelFunc
}

// logs are the proxy's log, and two for lines about single requests, sampled: who makes up many must not fill logs, and
// strangers hide none of the others.
type logs struct {
	log, each, strangers zerolog.Logger
}

// Options are what the proxy is connected to.
type Options struct {
	Upstream *url.URL    // PowerDNS's web server; unix with a path for a socket
	TLS      *tls.Config // for an upstream with https; nil trusts the host's roots
	ServerID string      // the server's id in its API
	Touches  TouchStore
	Tracker  *Tracker
	Registry prometheus.Registerer
	Log      zerolog.Logger

	// OwnKey reads PowerDNS's own API key, which scoped keys need; nil: there is none.
	OwnKey func() (string, error)
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
		places: newPlaces(listener, cfg.MaxConnections, cfg.MaxConnectionsPerSource), crowd: newCrowd(),
		certificates: certificates, metrics: newMetrics(o.Registry), cfg: cfg, tracker: o.Tracker,
		logs:     logs{log: log, each: sampled(log), strangers: sampled(log)},
		upstream: newUpstream(o.Upstream, o.TLS, cfg.UpstreamTimeout, cfg.StallTimeout),
	}
	p.stopping, p.stop = context.WithCancel(context.Background())
	p.gate = newGate(p.upstream, o.ServerID, cfg, p.strangers)
	if p.limits, err = newLimits(cfg, o, p.metrics, p.each, p.strangers); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	p.gate.ring = p.limits
	p.pending = newPendingTouches(o.Touches, journal, log, p.metrics.waiting.Set)
	o.Registry.MustRegister(certificates.metric(), p.pending.metric())
	p.tracker.propagation = newPropagation(p.metrics, o.Tracker)
	p.pending.stored = p.tracker.propagation.stored
	p.server = &http.Server{
		Handler:           p.handler(),
		TLSConfig:         certificates.config(),
		ConnContext:       withPlace,
		ReadHeaderTimeout: 10 * time.Second, // the handshake's as well
		IdleTimeout:       2 * time.Minute,  // and in HTTP/2 until a request is complete
		MaxHeaderBytes:    maxHeader,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			WriteByteTimeout:     cfg.StallTimeout, // of a client that takes nothing, whatever waits for it
		},
		ErrorLog: stdlog.New(serverLog{p.strangers}, "", 0),

		DisableGeneralOptionsHandler: true, // PowerDNS answers "OPTIONS *"
	}
	return p, nil
}

const (
	// maxStreams is how many requests a client may have in work at once over one connection of HTTP/2.
	maxStreams = 100

	// maxHeader is how many bytes a request may have before its body.
	maxHeader = 64 << 10
)

func (p *Proxy) handler() http.Handler {
	to := newForwarder(p.upstream, p.written, p.failed)
	forward := func(w http.ResponseWriter, r *http.Request) {
		to.ServeHTTP(w, r)
		if s, ok := w.(*statusWriter); ok && s.status < 300 {
			p.warn(r)
		}
	}
	router := chi.NewRouter()
	router.Use(p.count, p.entrance)
	router.Route(apiPath, p.api)
	router.HandleFunc("/*", forward)
	router.NotFound(forward)         // "*"
	router.MethodNotAllowed(forward) // methods that chi does not know
	return router
}

// entrance lets requests through the gate. What is handled behind it knows the client and its admission by the context.
func (p *Proxy) entrance(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := newClient(w, r, p.cfg.StallTimeout)
		_ = c.control.EnableFullDuplex() // PowerDNS answers some requests before their end
		defer c.finish()
		r = r.WithContext(context.WithValue(r.Context(), clientKey{}, c))
		place := placeOf(r)
		place.requested()
		defer place.requested() // its body is over as well
		a, no, leave := p.enter(r)
		defer leave()
		place.prove(no == nil && a.trusted() || r.TLS != nil && len(r.TLS.PeerCertificates) > 0)
		if no == nil {
			if a.done != nil {
				defer a.done()
			}
			next.ServeHTTP(w, withAdmission(r, a))
			return
		}
		c.hurry()
		no.write(&clientWriter{w, c})
		leave()
		c.discard(&clientBody{r.Body, c})
	})
}

// enter admits the request or refuses it. Who has a key that is known to be good is served however many others there
// are.
func (p *Proxy) enter(r *http.Request) (a *admission, no *refusal, leave func()) {
	defer func() {
		if no == nil {
			p.limits.guard(a, r)
		}
	}()
	if a, no = p.gate.recall(r); a != nil || no != nil {
		return a, no, func() {}
	}
	leave, room := p.crowd.enter(sourceOf(r.RemoteAddr))
	switch {
	case !room && r.ProtoMajor > 1:
		panic(http.ErrAbortHandler) // even an answer would be held for a client that does not take it
	case !room:
		return nil, busy("there are too many requests without a good key"), func() {}
	}
	a, no = p.gate.admit(r)
	if no == nil && a.trusted() {
		leave()
	}
	return a, no, leave
}

// warn logs writes that PowerDNS accepted and that reach no secondary.
func (p *Proxy) warn(r *http.Request) {
	if what := undistributed(r.Method, r.URL.EscapedPath()); what != "" {
		p.each.Warn().Str("method", clip(r.Method)).Str("path", clip(r.URL.EscapedPath())).Str("what", what).
			Msg("write is not distributed, secondaries do not get it")
	}
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() net.Addr { return p.places.Addr() }

// Waiting is how many zones wait for their touch to be stored.
func (p *Proxy) Waiting() int { return p.pending.Len() }

// shutdownPatience is how long requests in hand may take to end once the proxy stops.
const shutdownPatience = 10 * time.Second

// Run serves until ctx ends, then lets the requests in hand finish and stores their touches.
func (p *Proxy) Run(ctx context.Context) error {
	storing, stopStoring := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStoring()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.pending.run(storing) })
	g.Go(func() error { return p.certificates.watch(gctx) })
	g.Go(func() error { return p.limits.keys.watch(gctx) })
	g.Go(func() error { return p.tracker.propagation.keepDropping(gctx) })
	g.Go(func() error {
		p.places.accept(gctx)
		return nil
	})
	g.Go(func() error {
		err := p.server.ServeTLS(httpsOnly{p.places}, "", "")
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("proxy: %w", err)
	})
	g.Go(func() error {
		<-gctx.Done()
		defer stopStoring()
		defer p.gate.end()
		defer p.places.Close()
		p.stop()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownPatience)
		defer cancel()
		if err := p.server.Shutdown(end); err != nil {
			p.log.Warn().Err(err).Msg("shutdown cut off requests")
			return p.server.Close()
		}
		return nil
	})
	return g.Wait()
}
