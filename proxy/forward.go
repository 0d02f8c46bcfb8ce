package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httputil"
	"os"
	"strings"
	"time"
)

type contextKey struct{}

// pending is what a request touches once PowerDNS has accepted it.
type pending struct {
	touch
	client context.Context // ends when the client leaves
	body   *nameReader     // of a create: knows the zone's name
}

// forwarder passes requests to PowerDNS as they are.
type forwarder struct {
	proxy    *httputil.ReverseProxy
	upstream *upstream
	stall    time.Duration // for which a client may leave us waiting

	// written is called for each request that may have changed something, with the status that is to be answered, before
	// the answer goes out, and returns what to add to the answer's header.
	written func(*http.Request, *pending, int) http.Header
	failed  func(*http.Request, error)
}

func newForwarder(to *upstream, written func(*http.Request, *pending, int) http.Header, failed func(*http.Request, error)) *forwarder {
	f := &forwarder{upstream: to, stall: to.stall, written: written, failed: failed}
	f.proxy = &httputil.ReverseProxy{
		Rewrite: rewrite, Transport: to, ModifyResponse: f.answer, ErrorHandler: f.fail,
		ErrorLog: log.New(io.Discard, "", 0), // what it has to say is said to failed
	}
	return f
}

// ServeHTTP keeps PowerDNS's connection only as long as the client goes on sending or reading.
func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.ContainsAny(r.Method, " \t") { // comes in over HTTP/2, and PowerDNS would see another request in it
		answerError(w, http.StatusBadRequest, "the method is no word")
		return
	}
	c := newClient(w, r, f.stall)
	_ = c.control.EnableFullDuplex() // PowerDNS answers some requests before their end
	defer c.finish()
	r = r.WithContext(context.WithValue(r.Context(), clientKey{}, c))
	r.Body = &clientBody{r.Body, c}
	r = withTouch(r)
	defer r.Body.Close()             // ReverseProxy does not
	w.Header()["Content-Type"] = nil // net/http would make one up where PowerDNS sent none
	f.proxy.ServeHTTP(&clientWriter{w, c}, r)
	c.discard(r.Body)
}

// forwarded are headers that ReverseProxy keeps for itself; here they belong to the client.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

func rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.RawQuery = r.In.URL.RawQuery // the default drops what net/url can't parse
	for _, name := range forwarded {
		if values, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = values
		}
	}
	for _, name := range []string{"Connection", "Te", "Upgrade"} { // no further than here (RFC 9110 §7.6.1)
		r.Out.Header.Del(name)
	}
}

func (f *forwarder) answer(res *http.Response) error {
	p, ok := res.Request.Context().Value(contextKey{}).(*pending)
	if ok && mayHaveWritten(res.StatusCode) {
		if err := relieve(res); err != nil {
			return err
		}
		maps.Copy(res.Header, f.written(res.Request, p, res.StatusCode))
	}
	res.Body = &watchedBody{res.Body, func(err error) {
		f.failed(res.Request, fmt.Errorf("the answer broke off: %w", err))
	}}
	return nil
}

func (f *forwarder) fail(w http.ResponseWriter, r *http.Request, err error) {
	f.failed(r, err)
	status, text := http.StatusBadGateway, "PowerDNS does not answer; see the log of pdns-distribute proxy"
	late := errors.Is(err, os.ErrDeadlineExceeded)
	nothing := errors.As(err, new(clientError)) // PowerDNS has not seen the whole request
	switch {
	case nothing && late:
		status, text = http.StatusRequestTimeout, "the request's body did not come"
	case nothing:
		status, text = http.StatusBadRequest, "the request's body could not be read: "+err.Error()
	case errors.As(err, new(unreachedError)):
		nothing = true
	case late:
		status, text = http.StatusGatewayTimeout, "PowerDNS did not answer in time; see proxy.upstream_timeout and the log of pdns-distribute proxy"
	}
	if p, ok := r.Context().Value(contextKey{}).(*pending); ok && !nothing {
		maps.Copy(w.Header(), f.written(r, p, status))
	}
	answerError(w, status, text)
}

// watchedBody tells when it breaks off.
type watchedBody struct {
	io.ReadCloser
	broke func(error)
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.broke(err)
	}
	return n, err
}

// relievedBytes is how much of an answer is taken from PowerDNS before it is held.
const relievedBytes = 1 << 20

// relieve takes the answer's body, or the beginning of a long one, so that PowerDNS does not wait while it is held.
func relieve(res *http.Response) error {
	begin, err := io.ReadAll(io.LimitReader(res.Body, relievedBytes))
	if err != nil {
		return err
	}
	if len(begin) < relievedBytes { // that is all, and PowerDNS's connection is not needed any more
		res.Body.Close()
		res.Body = io.NopCloser(bytes.NewReader(begin))
		return nil
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(begin), res.Body), res.Body}
	return nil
}

// mayHaveWritten is true where PowerDNS did what it was asked, and where it may have done some of it. A touch claims
// nothing: the primary looks.
func mayHaveWritten(status int) bool {
	return 200 <= status && status <= 299 || status >= 500
}

// settled is the touch, with the zone that the body named. Where no name could be read in it the zone stays empty: any
// zone may have been created.
func (p *pending) settled() touch {
	if p.body != nil {
		p.body.Close() // where it was not read to its end, there is no more to be found
		if name, err := p.body.name(); err == nil {
			p.zone = name
		}
		p.body = nil
	}
	return p.touch
}

// withTouch notes on the request what it would touch. A write goes on when its client leaves: PowerDNS may have
// begun it, and then the touch must follow.
func withTouch(r *http.Request) *http.Request {
	t, create, ok := touches(r.Method, r.URL.EscapedPath())
	if !ok || create && r.ContentLength == 0 { // nobody reads or closes a body that there is not
		return r
	}
	p := &pending{touch: t, client: r.Context()}
	if create {
		p.body = newNameReader(r.Body)
	}
	r = r.WithContext(context.WithValue(context.WithoutCancel(r.Context()), contextKey{}, p))
	if create {
		r.Body = p.body
	}
	return r
}
