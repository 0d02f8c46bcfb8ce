package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// HeaderQueued is set on the answer to a write whose touch could not be stored yet: the write happened, and its
// distribution begins when the broker is back.
const HeaderQueued = "Pdns-Distribute-Queued"

type contextKey struct{}

// pending is what a request touches once PowerDNS has accepted it.
type pending struct {
	touch
	body *nameReader // of a create: knows the zone's name
}

// newForwarder passes requests to PowerDNS as they are. touched is called with the touch of each that may have changed
// something, before its answer goes out, and returns what to add to the answer's header.
func newForwarder(upstream *url.URL, timeout time.Duration, touched func(*http.Request, touch) http.Header, failed func(*http.Request, error)) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = upstream.Scheme, upstream.Host
			r.Out.URL.RawQuery = r.In.URL.RawQuery // the default drops what net/url can't parse
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			DisableCompression:    true, // what PowerDNS sends passes as sent
			DisableKeepAlives:     true, // PowerDNS closes after every answer
			ResponseHeaderTimeout: timeout,
		},
		ModifyResponse: func(res *http.Response) error {
			p, ok := res.Request.Context().Value(contextKey{}).(*pending)
			if ok && mayHaveWritten(res.StatusCode) {
				maps.Copy(res.Header, touched(res.Request, p.settled()))
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			failed(r, err)
			if p, ok := r.Context().Value(contextKey{}).(*pending); ok {
				maps.Copy(w.Header(), touched(r, p.settled()))
			}
			if errors.Is(err, context.Canceled) {
				return // the client is gone
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadGateway)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "PowerDNS does not answer; see the log of pdns-distribute proxy"})
		},
	}
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
	p := &pending{touch: t}
	if create {
		p.body = newNameReader(r.Body)
	}
	r = r.WithContext(context.WithValue(context.WithoutCancel(r.Context()), contextKey{}, p))
	if create {
		r.Body = p.body
	}
	return r
}
