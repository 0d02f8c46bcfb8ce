package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/zone"
)

// keyHeader carries the API key, in the spelling of net/http.
const keyHeader = "X-Api-Key"

// powerdnsKey is who has PowerDNS's own key.
const powerdnsKey = "powerdns"

// admission says who sends a request and what becomes of it. One without a name is a stranger's: a question without a
// body, that changes nothing whatever PowerDNS answers.
type admission struct {
	// who names the key in logs and limits: powerdnsKey, or the id of a scoped key. Empty: no key that is known to be
	// good.
	who string

	from netip.Addr // where the client is
	lane *lane      // in which it gets to PowerDNS

	// send is the key that goes to PowerDNS instead of the client's; empty: the client's own. Once PowerDNS refuses it,
	// renew gives another one to try, or the reason why there is none.
	send  string
	renew func() (string, error)

	// covers reports whether the client may know of a zone; nil: all.
	covers func(zone.Name) bool

	// check looks at the whole request before anything of it reaches PowerDNS; nil: whatever it is may pass. What it
	// gets as body are the very bytes that go on; longer ones than maxChecked are refused before.
	check func(r *http.Request, body []byte) *refusal

	// filter may replace the answer's body and header before anything else reads them; nil: it stays. After an error
	// the client gets 502 and nothing of the answer.
	filter func(*http.Response) error

	// answered gets the status with which PowerDNS answered the request, once; notSent, or 0 where it gave no answer.
	answered func(r *http.Request, status int)
	told     bool // it has got it

	// done is called when the request is done with, once; nil: nobody wants to know.
	done func()
}

// notSent stands for the status of an answer where PowerDNS certainly got no whole request.
const notSent = -1

// maxChecked is how long the body of a request may be whose admission has a check. PowerDNS takes no longer ones by
// default (webserver-max-bodysize).
const maxChecked = 2 << 20

// trusted reports whether PowerDNS, or a keyring, accepted the key.
func (a *admission) trusted() bool { return a.who != "" }

// heard passes the status on that PowerDNS answered with.
func (a *admission) heard(r *http.Request, status int) {
	if a.answered != nil && !a.told {
		a.told = true
		a.answered(r, status)
	}
}

type admissionKey struct{}

func withAdmission(r *http.Request, a *admission) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), admissionKey{}, a))
}

// admissionOf is of requests that have passed the gate.
func admissionOf(ctx context.Context) *admission { return ctx.Value(admissionKey{}).(*admission) }

// refusal is an answer that the proxy gives instead of PowerDNS.
type refusal struct {
	status int
	header http.Header // besides the content type; may be nil
	text   string      // of the error; unused where there is a body

	relayed bool // header and body are PowerDNS's own
	body    []byte
}

func (no *refusal) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), no.header)
	if !no.relayed {
		answerError(w, no.status, no.text)
		return
	}
	if no.header["Content-Type"] == nil {
		w.Header()["Content-Type"] = nil // net/http would make one up
	}
	w.WriteHeader(no.status)
	_, _ = w.Write(no.body) // fails when the client is gone
}

// busy refuses what there is no place for.
func busy(text string) *refusal {
	return &refusal{status: http.StatusServiceUnavailable, header: http.Header{"Retry-After": {"1"}}, text: text}
}

// keyring knows keys that are not PowerDNS's.
type keyring interface {
	// admit returns what the holder of this key may do with one request, or why not now; the gate fills in from and
	// lane. It returns neither where it knows no such key. It does not wait.
	admit(key string, from netip.Addr) (*admission, *refusal)
}

// gate decides who sends a request before anything of it reaches PowerDNS or leaves a trace. It is safe for concurrent
// use.
//
// A key is good that PowerDNS accepted within the last minute: the gate asks it by a small request of its own, with
// that key and nothing else of the client's, and anew in the background while the key is being used. So whatever
// passes the gate comes from somebody whom PowerDNS let in, also where PowerDNS then gives no answer: its touch is
// stored at once. It needs no second look at the key, for the touch of such a write claims no more than that the zone
// may have changed. Wrong is only a key that PowerDNS exchanged within that minute, and what it gains is that the
// primary looks at a zone.
type gate struct {
	upstream *upstream
	probe    string  // the path that PowerDNS is asked with
	ring     keyring // nil: there are no others than PowerDNS's key
	lanes    lanes
	budget   budget
	known    *knownKeys
	log      zerolog.Logger // sampled: strangers cause its lines

	ctx   context.Context // ends with the gate
	stop  context.CancelFunc
	asks  sync.WaitGroup // the questions to PowerDNS on their way
	mu    sync.Mutex
	onWay map[keyHash]*inquiry
	ended bool
}

// inquiry is a question to PowerDNS, about a key. All who wait for the same one share it.
type inquiry struct {
	done chan struct{}
	no   *refusal // once done is closed; nil: the key is good
}

// lanes share what PowerDNS takes at once: what strangers ask for never takes the place of who has a key.
type lanes struct {
	keyed     *lane // requests of who has a good key
	keys      *lane // questions about keys that were never good
	keysAgain *lane // and about those that were
	pages     *lane // what needs no key
}

// laneSizes share out n places. Half of what strangers have is for one source, so that none of them keeps all others
// out, and two thirds of what is for those with good keys: some keys are less trusted than others.
func laneSizes(n int) (stranger, again, keyed laneSize) {
	stranger.size = max(1, n/15)
	stranger.share = max(1, stranger.size/2)
	again.size = max(1, n/30)
	again.share = again.size
	keyed.size = n - 2*stranger.size - again.size
	keyed.share = keyed.size - keyed.size/3
	return stranger, again, keyed
}

func newLanes(n int, patience time.Duration) lanes {
	stranger, again, keyed := laneSizes(n)
	ofStrangers := laneBounds{laneSize: stranger, waiting: 256, waitingShare: 64, patience: strangerPatience}
	return lanes{
		keyed: newLane(laneBounds{laneSize: keyed, waiting: 4096, waitingShare: 2048, patience: patience}),
		keys:  newLane(ofStrangers), pages: newLane(ofStrangers),
		keysAgain: newLane(laneBounds{laneSize: again, waiting: maxKeys, waitingShare: maxKeys, patience: strangerPatience}),
	}
}

// resize shares out n places from now on.
func (l lanes) resize(n int) {
	stranger, again, keyed := laneSizes(n)
	l.keyed.resize(keyed)
	l.keys.resize(stranger)
	l.pages.resize(stranger)
	l.keysAgain.resize(again)
}

// strangerPatience bounds what is done for who has shown no good key: waiting for PowerDNS, and PowerDNS's answer.
const strangerPatience = 10 * time.Second

func newGate(up *upstream, serverID string, cfg Config, log zerolog.Logger) *gate {
	ctx, stop := context.WithCancel(context.Background())
	return &gate{
		upstream: up, probe: "/api/v1/servers/" + url.PathEscape(serverID), known: newKnownKeys(),
		lanes: newLanes(cfg.MaxUpstream, cfg.StallTimeout), budget: budget{most: cfg.MaxUpstream},
		log: log, ctx: ctx, stop: stop, onWay: map[keyHash]*inquiry{},
	}
}

// recall admits who has a key that is known to be good, without waiting. It returns nil, nil of others.
func (g *gate) recall(r *http.Request) (*admission, *refusal) {
	if keyInQuery(r.URL.RawQuery) {
		return nil, &refusal{
			status: http.StatusBadRequest,
			text:   "send the API key as the header X-API-Key: a key in a URL ends up in logs",
		}
	}
	from, key := sourceOf(r.RemoteAddr), r.Header[keyHeader]
	if g.ring != nil && len(key) > 0 {
		a, no := g.ring.admit(strings.Join(key, ", "), from) // several are none that it knows
		if a != nil {
			a.from, a.lane = from, g.lanes.keyed
		}
		if a != nil || no != nil {
			return a, no
		}
	}
	hash := g.known.hash(key)
	switch g.known.look(hash, time.Now()) {
	case ageing:
		g.ask(hash, key, r.Header["Accept"], g.lanes.keysAgain, from)
	case good:
	default:
		return nil, nil
	}
	return g.keyed(hash, from), nil
}

// keyed is for who has PowerDNS's key.
func (g *gate) keyed(hash keyHash, from netip.Addr) *admission {
	return &admission{who: powerdnsKey, from: from, lane: g.lanes.keyed, answered: func(r *http.Request, status int) {
		switch {
		case status == http.StatusUnauthorized:
			g.known.refused(hash)
		case provesKey(r, status):
			g.known.accepted(hash, time.Now())
		}
	}}
}

// provesKey reports whether PowerDNS gives this answer only to who has the key.
func provesKey(r *http.Request, status int) bool {
	_, zones := zonesOf(r.URL.EscapedPath())
	return zones && status/100 == 2 && !strings.EqualFold(r.Method, http.MethodOptions)
}

// admit decides about who is not known yet, which may take a question to PowerDNS.
func (g *gate) admit(r *http.Request) (*admission, *refusal) {
	key, from := r.Header[keyHeader], sourceOf(r.RemoteAddr)
	if reads(strings.ToUpper(r.Method)) && !needsKey(r.URL.Path, key) {
		if r.ContentLength != 0 {
			return nil, &refusal{status: http.StatusRequestEntityTooLarge, text: "without an API key a request has no body"}
		}
		return &admission{from: from, lane: g.lanes.pages}, nil
	}
	hash, lane := g.known.hash(key), g.lanes.keys
	if g.known.look(hash, time.Now()) != unknown { // strangers cannot crowd out those whose key was good
		lane = g.lanes.keysAgain
	}
	q := g.ask(hash, key, r.Header["Accept"], lane, from)
	select {
	case <-q.done:
	case <-r.Context().Done():
		return nil, busy("the client left")
	}
	if q.no != nil {
		return nil, q.no
	}
	return g.keyed(hash, from), nil
}

// needsKey reports whether a question is one that only a good key can have answered. Without a key PowerDNS says so by
// itself. Paths are judged generously: where PowerDNS has no such page a key is merely looked at for nothing.
func needsKey(path string, key []string) bool {
	path = strings.ToLower(strings.TrimLeft(path, "/"))
	if path == apiPath[1:] || strings.HasPrefix(path, apiPath[1:]+"/") {
		return true
	}
	return len(key) > 0 && (path == "api" || strings.HasPrefix(path, "api/"))
}

// keyInQuery finds a key in the query, which PowerDNS takes until 5.0. 4.7.3 splits at '&', decodes names as long as
// there is anything to decode, and does not mind their case.
func keyInQuery(query string) bool {
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		if strings.EqualFold(decodedWholly(name), "api-key") {
			return true
		}
	}
	return false
}

// decodedWholly decodes %XX, also where it results from what was decoded before, and leaves what is none.
func decodedWholly(text string) string {
	out := make([]byte, 0, len(text))
	for _, c := range []byte(text) {
		out = append(out, c)
		for n := len(out) - 3; n >= 0 && out[n] == '%'; n = len(out) - 3 {
			c, err := strconv.ParseUint(string(out[n+1:]), 16, 8)
			if err != nil {
				break
			}
			out = append(out[:n], byte(c))
		}
	}
	return string(out)
}

// ask has PowerDNS asked about the key, unless it is being asked. Accept is the client's: PowerDNS words a refusal by
// it.
func (g *gate) ask(hash keyHash, key, accept []string, in *lane, from netip.Addr) *inquiry {
	about := g.known.hash(append(append([]string{string(hash[:])}, accept...), "accept"))
	g.mu.Lock()
	defer g.mu.Unlock()
	if q := g.onWay[about]; q != nil {
		return q
	}
	q := &inquiry{done: make(chan struct{})}
	if g.ended {
		q.no = busy("the proxy stops")
	}
	if g.ended || g.known.look(hash, time.Now()) == good { // since a moment ago
		close(q.done)
		return q
	}
	g.onWay[about] = q
	g.asks.Go(func() {
		q.no = g.verdict(hash, key, accept, in, from)
		g.mu.Lock()
		delete(g.onWay, about)
		g.mu.Unlock()
		close(q.done)
	})
	return q
}

// end waits for the questions on their way.
func (g *gate) end() {
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	g.stop()
	g.asks.Wait()
}

// verdict asks PowerDNS. A key is forgotten only where PowerDNS says so.
func (g *gate) verdict(hash keyHash, key, accept []string, in *lane, from netip.Addr) *refusal {
	header := http.Header{}
	for name, values := range map[string][]string{keyHeader: key, "Accept": accept} {
		if len(values) > 0 {
			header[name] = values
		}
	}
	res, err := g.get(g.probe, header, in, from)
	switch {
	case errors.Is(err, errCrowded), errors.Is(err, errNoPlace):
		return busy(err.Error())
	case errors.As(err, new(droppedError)):
		return busy(droppedText)
	case err != nil:
		g.log.Error().Str("error", clip(err.Error())).Msg("PowerDNS did not answer whether an API key is good")
		return &refusal{status: http.StatusBadGateway, text: noAnswerText}
	case res.status/100 == 2:
		g.known.accepted(hash, time.Now())
		g.asks.Go(func() { g.fit(header, in, from) })
		return nil
	case res.status == http.StatusUnauthorized:
		g.known.refused(hash)
	case res.status == http.StatusNotFound:
		g.log.Error().Str("path", g.probe).Msg("PowerDNS has no server of this id: see powerdns.server_id")
		return &refusal{status: http.StatusBadGateway, text: "PowerDNS has no server of this id: see powerdns.server_id"}
	case res.status >= 500:
		g.log.Error().Int("status", res.status).Msg("PowerDNS did not say whether an API key is good; see its log")
		return &refusal{status: http.StatusBadGateway, text: noAnswerText}
	}
	return res
}

const (
	noAnswerText = "PowerDNS does not answer; see the log of pdns-distribute proxy"
	droppedText  = "PowerDNS closed the connection before it had read the request, and did nothing of it; " +
		"it may have too many connections (webserver-max-concurrent-connections)"
)

// maxVerdict is how much is read of an answer to the gate's own questions.
const maxVerdict = 64 << 10

// get asks PowerDNS a question of the gate's own, and returns all of the answer.
func (g *gate) get(path string, header http.Header, in *lane, from netip.Addr) (*refusal, error) {
	ctx, cancel := context.WithTimeout(g.ctx, strangerPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.upstream.host()+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	res, err := g.upstream.RoundTrip(in.ticket(req, from))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxVerdict))
	if err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length"} {
		res.Header.Del(name)
	}
	res.Header.Set("Content-Length", fmt.Sprint(len(body)))
	return &refusal{status: res.StatusCode, header: res.Header, relayed: true, body: bytes.Clone(body)}, nil
}

// sourceOf is who counts as one client: an IPv4 address, or what a host of IPv6 has by itself, a /64.
func sourceOf(remote string) netip.Addr {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return sourceAddr(at.Addr())
}

func sourceAddr(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		prefix, _ := addr.Prefix(64) // 64 fits
		return prefix.Addr()
	}
	return addr
}
