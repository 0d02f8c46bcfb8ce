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

	"pdns-distribute/powerdns/zone"
)

// pending is what a request would do once PowerDNS has accepted it.
type pending struct {
	write
	client   context.Context // ends when the client leaves
	accepted bool            // PowerDNS said so, whatever became of its answer
	created  func() (zone.Name, *uint32, error)
}

// forwarder passes requests to PowerDNS as they are.
type forwarder struct {
	proxy    *httputil.ReverseProxy
	upstream *upstream

	// written is called for each request that changed something or may have, with the status that is to be answered,
	// before the answer goes out, and returns what to add to the answer's header.
	written func(*http.Request, *pending, int) http.Header
	failed  func(*http.Request, error)
}

func newForwarder(to *upstream, written func(*http.Request, *pending, int) http.Header, failed func(*http.Request, error)) *forwarder {
	f := &forwarder{upstream: to, written: written, failed: failed}
	f.proxy = &httputil.ReverseProxy{
		Rewrite: rewrite, Transport: resending{to}, ModifyResponse: f.answer, ErrorHandler: f.fail,
		ErrorLog: log.New(io.Discard, "", 0), // what it has to say is said to failed
	}
	return f
}

// ServeHTTP keeps PowerDNS's connection only as long as the client goes on sending or reading.
func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.ContainsAny(r.Method, " \t") { // comes in over HTTP/2, and PowerDNS would see another request in it
		answerError(w, http.StatusBadRequest, "the method is not a token")
		return
	}
	c, a := clientOf(r.Context()), admissionOf(r.Context())
	if !a.trusted() {
		ctx, cancel := context.WithTimeout(r.Context(), strangerPatience)
		defer cancel()
		r = r.WithContext(ctx)
	}
	w = &clientWriter{w, c}
	r.Body = &clientBody{r.Body, c}
	defer r.Body.Close() // ReverseProxy does not
	whole, err := gather(r, a.check)
	switch {
	case err != nil:
		f.fail(w, r, clientError{err})
	case whole != nil:
		whole.write(w)
	default:
		w.Header()["Content-Type"] = nil // net/http would make one up where PowerDNS sent none
		f.proxy.ServeHTTP(w, withWrite(a.lane.ticket(r, a.from)))
	}
	c.discard(r.Body)
}

// gatheredBytes is how much of a body is read before a connection to PowerDNS is taken: nearly all of them are
// shorter, and then a slow client holds nothing. PowerDNS gives up on who pauses for 5 s (4.7.3).
const gatheredBytes = 64 << 10

// gather reads a short body to its end, and any that is to be checked.
func gather(r *http.Request, check func(*http.Request, []byte) *refusal) (*refusal, error) {
	limit := int64(gatheredBytes)
	if check != nil {
		limit = maxChecked
	} else if r.ContentLength > limit {
		return nil, nil
	}
	begin, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case err != nil:
		return nil, err
	case r.ContentLength > int64(len(begin)) && int64(len(begin)) <= limit:
		return nil, io.ErrUnexpectedEOF
	case check != nil && int64(len(begin)) > limit:
		return &refusal{status: http.StatusRequestEntityTooLarge, text: "a request with this key has at most 2 MB"}, nil
	}
	if check != nil {
		if no := check(r, begin); no != nil {
			return no, nil
		}
	}
	r.Body = &gathered{io.MultiReader(bytes.NewReader(begin), r.Body), r.Body}
	return nil, nil
}

// gathered is a body of which the beginning was read.
type gathered struct {
	io.Reader
	io.Closer
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
	if a := admissionOf(r.In.Context()); a.send != "" {
		r.Out.Header[keyHeader] = []string{a.send}
	}
	for _, name := range []string{"Connection", "Te", "Upgrade"} { // no further than here (RFC 9110 §7.6.1)
		r.Out.Header.Del(name)
	}
}

// answer looks at PowerDNS's answer before the client gets anything of it.
func (f *forwarder) answer(res *http.Response) error {
	r := res.Request
	a, p := admissionOf(r.Context()), pendingOf(r.Context())
	a.heard(r, res.StatusCode)
	unclear := res.StatusCode >= 500 && wasSent(res)
	if p != nil {
		p.accepted = res.StatusCode/100 == 2
	}
	if a.filter != nil {
		if err := a.filter(res); err != nil {
			return fmt.Errorf("the answer cannot be passed on: %w", err)
		}
	}
	if p != nil && (p.accepted || unclear) {
		begin, err := relieve(res)
		if err != nil {
			return err
		}
		p.created = func() (zone.Name, *uint32, error) { return createdZone(bytes.NewReader(begin)) }
		maps.Copy(res.Header, f.written(r, p, res.StatusCode))
	}
	res.Body = &watchedBody{res.Body, func(err error) {
		f.failed(r, fmt.Errorf("the answer broke off: %w", err))
	}}
	return nil
}

// wasSent reports whether PowerDNS had all of the request when it answered.
func wasSent(res *http.Response) bool {
	b, ok := res.Body.(*answerBody)
	return ok && b.exchange.whole
}

// fail answers where PowerDNS did not, or in a way that cannot be passed on. Where PowerDNS cannot have seen the whole
// request nothing was written, and nothing is said of a change.
func (f *forwarder) fail(w http.ResponseWriter, r *http.Request, err error) {
	f.failed(r, err)
	no, nothing := failure(err)
	status := 0
	if nothing {
		status = notSent
	}
	admissionOf(r.Context()).heard(r, status)
	p := pendingOf(r.Context())
	if p != nil && (p.accepted || !nothing) {
		maps.Copy(w.Header(), f.written(r, p, no.status))
	}
	no.write(w)
}

// failure is what a client gets; nothing: PowerDNS has not had the whole request.
func failure(err error) (no *refusal, nothing bool) {
	late := errors.Is(err, os.ErrDeadlineExceeded)
	client := errors.As(err, new(clientError))
	switch {
	case client && late:
		return &refusal{status: http.StatusRequestTimeout, text: "the request's body did not come"}, true
	case client:
		text := "the request's body could not be read: " + err.Error()
		return &refusal{status: http.StatusBadRequest, text: text}, true
	case errors.Is(err, errCrowded), errors.Is(err, errNoPlace):
		return busy(err.Error()), true
	case errors.As(err, new(droppedError)):
		return busy(droppedText), true
	case errors.As(err, new(unreachedError)), errors.Is(err, errOwnKey):
		return &refusal{status: http.StatusBadGateway, text: noAnswerText}, true
	case late:
		text := "PowerDNS did not answer in time; see proxy.upstream_timeout and the log of pdns-distribute proxy"
		return &refusal{status: http.StatusGatewayTimeout, text: text}, errors.As(err, new(unsentError))
	}
	return &refusal{status: http.StatusBadGateway, text: noAnswerText}, errors.As(err, new(unsentError))
}

// watchedBody notes when it breaks off.
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

// relieve takes the answer's body, or the beginning of a long one, so that PowerDNS does not wait while it is held. It
// returns what it took.
func relieve(res *http.Response) (begin []byte, err error) {
	begin, err = io.ReadAll(io.LimitReader(res.Body, relievedBytes))
	if err != nil {
		return nil, err
	}
	if len(begin) < relievedBytes { // that is all, and PowerDNS's connection is not needed any more
		res.Body.Close()
		res.Body = io.NopCloser(bytes.NewReader(begin))
		return begin, nil
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(begin), res.Body), res.Body}
	return begin, nil
}

// touch returns the touch of the write; false: a sweep is to be asked for.
func (p *pending) touch() (Touch, bool) {
	t, known := p.write.touch(p.accepted)
	if p.order != create || !p.accepted || p.created == nil {
		return t, known
	}
	name, serial, err := p.created()
	t.Zone, t.Serial = name, serial
	return t, err == nil
}

// withWrite notes on the request what it would do. A write goes on when its client leaves: PowerDNS may have begun it,
// and then the touch must follow.
func withWrite(r *http.Request) *http.Request {
	w, ok := writes(r.Method, r.URL.EscapedPath())
	if !ok {
		return r
	}
	p := &pending{write: w, client: r.Context()}
	return r.WithContext(context.WithValue(context.WithoutCancel(r.Context()), pendingKey{}, p))
}

type pendingKey struct{}

// pendingOf returns nil where a request writes nothing.
func pendingOf(ctx context.Context) *pending {
	p, _ := ctx.Value(pendingKey{}).(*pending)
	return p
}
