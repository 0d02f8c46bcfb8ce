package powerdns

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"

	"pdns-distribute/powerdns/zone"
)

// Bounds on what is read of an answer, in bytes. 500,000 zones with long names are listed in about 200 MB; they are
// decoded as they come in, so the bound is against a peer that never stops.
const (
	maxAnswer  = 16 << 20
	maxListing = 1 << 30
	maxListed  = 4 << 20  // zones: twice as many as would fit, with names of common length
	maxEntry   = 1 << 20  // bytes of one zone in a listing, and of what is read ahead
	maxHearing = 64 << 20 // of some 60,000 questions, each of which has 1,000 bytes at most, escaped
	maxReason  = 1000     // characters of an error of PowerDNS's
)

// Client speaks to one PowerDNS server. It is safe for concurrent use; at most Config.Connections requests are in
// work at once, others wait for their turn or the end of their context.
type Client struct {
	endpoint    Endpoint
	server      string // URL of the server within the API
	key         Secret
	tls         *tls.Config // nil where the API is spoken to in the clear
	http        *http.Client
	slots       chan struct{}
	timeout     time.Duration
	listTimeout time.Duration
}

// NewClient checks cfg and reads the key file. It doesn't connect.
func NewClient(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	key, err := cfg.ReadAPIKey()
	if err != nil {
		return nil, err
	}
	config, err := cfg.TLS()
	if err != nil {
		return nil, err
	}
	endpoint, err := ParseEndpoint(cfg.APIURL)
	if err != nil {
		return nil, err
	}
	return &Client{
		endpoint:    endpoint,
		server:      endpoint.base() + "/api/v1/servers/" + url.PathEscape(cfg.ServerID),
		key:         key,
		tls:         config,
		http:        newHTTPClient(endpoint, cfg.Connections, config),
		slots:       make(chan struct{}, cfg.Connections),
		timeout:     cfg.Timeout,
		listTimeout: cfg.ListTimeout,
	}, nil
}

// newHTTPClient makes a client that follows no redirects and uses no proxy of the environment, so that the API key
// goes to the configured address only. Where the API is behind TLS something stands before PowerDNS, and connections,
// which cost a handshake each, are kept.
func newHTTPClient(e Endpoint, connections int, config *tls.Config) *http.Client {
	client := &http.Client{
		Transport:     oneShot{e},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if e.Secure() {
		client.Transport = &http.Transport{
			DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return e.Dial(ctx) },
			MaxIdleConnsPerHost: connections, IdleConnTimeout: 30 * time.Second,
			DisableCompression: true, TLSClientConfig: config,
		}
	}
	return client
}

// where is the server within the API, for errors.
func (c *Client) where() string {
	if c.endpoint.socket != "" {
		return c.endpoint.String()
	}
	return c.server
}

// call is one request to the API.
type call struct {
	what    string // for errors: verb and object
	method  string
	path    string // below the server's own URL, with the query
	body    any    // sent as JSON; nil: none
	inZone  bool   // the path is that of a zone, so that 404 can mean that there is no such thing
	listing bool   // all zones, or all of one: long and large
	accept  string // media type of the answer; "" means JSON
	most    int64  // bytes of the answer; 0 means maxAnswer, or maxListing
}

// zoneCall is a call about one zone; path goes below the zone's own.
func zoneCall(verb string, n zone.Name, method, path string, body any) call {
	return call{
		what:   fmt.Sprintf("%s %q", verb, n),
		method: method,
		path:   "/zones/" + n.ID() + path,
		body:   body,
		inZone: true,
	}
}

// errAnswered404 is a 404 in PowerDNS's own format. It says 'Not Found' alike for a missing zone, a wrong server id
// and a path that it doesn't know.
var errAnswered404 = errors.New("answered 404")

// do makes the call and hands the body of a positive answer to read, which may be nil.
func (c *Client) do(ctx context.Context, q call, read func(io.Reader) error) error {
	err := c.attempt(ctx, q, read)
	if errors.Is(err, errAnswered404) {
		err = c.judge404(ctx, q)
	}
	if err != nil {
		return fmt.Errorf("%s at %s: %w", q.what, c.where(), err)
	}
	return nil
}

// judge404 believes in a missing zone only when the server is known by its id at that address.
func (c *Client) judge404(ctx context.Context, q call) error {
	if !q.inZone {
		return fmt.Errorf("%w: answered 404", ErrProtocol)
	}
	if _, err := c.Server(ctx); err != nil {
		return fmt.Errorf("answered 404, but whether that is about the zone could not be confirmed: %w", err)
	}
	return ErrNotFound
}

func (c *Client) attempt(ctx context.Context, q call, read func(io.Reader) error) error {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, c.limit(q))
	defer cancel()
	release, err := c.slot(ctx)
	if err != nil {
		return unanswered(caller, err)
	}
	defer release()
	req, err := c.request(ctx, q)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return unanswered(caller, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return refusal(resp)
	}
	return consume(caller, resp, q, read)
}

func (c *Client) limit(q call) time.Duration {
	if q.listing {
		return c.listTimeout
	}
	return c.timeout
}

// slot waits for one of the client's connections.
func (c *Client) slot(ctx context.Context) (release func(), err error) {
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("all %d connections are busy: %w", cap(c.slots), ctx.Err())
	}
}

func (c *Client) request(ctx context.Context, q call) (*http.Request, error) {
	var body io.Reader
	if q.body != nil {
		text, err := json.Marshal(q.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, c.server+q.path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-API-Key", c.key.Reveal())
	req.Header.Set("Accept", cmp.Or(q.accept, jsonType)) // without it PowerDNS 4.7 puts its errors in plain text
	if q.body != nil {
		req.Header.Set("Content-Type", jsonType)
	}
	return req, nil
}

// unanswered is the error for a request that got no whole answer. A caller that gave up is no fault of PowerDNS.
func unanswered(caller context.Context, err error) error {
	if errors.Is(caller.Err(), context.Canceled) {
		return context.Cause(caller)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// consume hands the body to read and distinguishes a connection that broke off from an answer that is wrong.
func consume(caller context.Context, resp *http.Response, q call, read func(io.Reader) error) error {
	limit := cmp.Or(q.most, maxAnswer)
	if q.listing {
		limit = maxListing
	}
	body := &watchedReader{r: http.MaxBytesReader(nil, resp.Body, limit)}
	if read == nil {
		read = discard
	}
	err := read(body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(body.err, &tooLarge):
		return fmt.Errorf("%w: the answer is longer than %d bytes", ErrProtocol, tooLarge.Limit)
	case body.err != nil:
		return unanswered(caller, body.err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return nil
}

func discard(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// watchedReader remembers the error that ended reading, because decoders hide it.
type watchedReader struct {
	r   io.Reader
	err error
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// refusal turns an answer that is not positive into an error.
func refusal(resp *http.Response) error {
	text, ours := errorText(resp)
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized:
		return ErrUnauthorized
	case code >= 500:
		return fmt.Errorf("%w: answered %d: %s", ErrUnavailable, code, text)
	case !ours, code < 400:
		return fmt.Errorf("%w: answered %d: %s", ErrProtocol, code, text)
	case code == http.StatusNotFound:
		return errAnswered404
	case code == http.StatusConflict:
		return ErrExists
	default:
		return fmt.Errorf("%w: answered %d: %s", ErrRejected, code, text)
	}
}

// errorText reads PowerDNS's {"error": "…"}. Where the body is something else, ours is false and the text is its
// beginning.
func errorText(resp *http.Response) (text string, ours bool) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return err.Error(), false
	}
	var answer struct {
		Error string `json:"error"`
	}
	if isJSON(resp) && json.Unmarshal(body, &answer) == nil && answer.Error != "" {
		return fmt.Sprintf("%.*s", maxReason, answer.Error), true
	}
	return fmt.Sprintf("%.200q", body), false
}

const jsonType = "application/json"

func isJSON(resp *http.Response) bool {
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return err == nil && kind == jsonType
}

// into decodes a body that is exactly one JSON value.
func into(v any) func(io.Reader) error {
	return func(r io.Reader) error {
		d := json.NewDecoder(r)
		if err := d.Decode(v); err != nil {
			return err
		}
		return atEnd(d)
	}
}

// atEnd reports whether the document that d read is the whole body.
func atEnd(d *json.Decoder) error {
	switch _, err := d.Token(); {
	case err == nil:
		return errors.New("more than one JSON value")
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}
