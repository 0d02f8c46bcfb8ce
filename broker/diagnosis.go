package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// oldestServer is the version that external brokers should at least have: those before have known holes.
const oldestServer = "2.14.3"

const (
	stepTimeout  = 4 * time.Second // for each step on the way to a connection
	probeTimeout = time.Second     // for an answer to what should get none
)

// ConnectError is why a node cannot connect to a broker, and what an operator can do about it.
type ConnectError struct {
	Step   string // "name", "tcp", "tls" or "login": each is taken only after those before
	Found  string // what was found there
	Remedy string // what the operator does next
	Err    error
}

func (o *ConnectError) Error() string { return o.Found + ": " + o.Remedy }

func (o *ConnectError) Unwrap() error { return o.Err }

// Diagnosis is a connection to one broker that is made to find out what is there, and what this node can do there. It
// does not reconnect. It is safe for concurrent use.
type Diagnosis struct {
	*Conn
	Certificate *x509.Certificate // of the broker
	Version     string            // of nats-server
	Broker      string            // which one it is, by its server_name

	mu     sync.Mutex
	guards map[int]guard
	next   int
}

// guard cancels a request when the broker refuses its subject.
type guard struct {
	subject string
	refused context.CancelCauseFunc
}

// ErrNotPermitted is returned where the broker refuses what this node tries.
var ErrNotPermitted = errors.New("the broker does not permit it")

// Diagnose connects to one of the URLs, step by step. The error is a *ConnectError, or a fault of the configuration and
// its files (ErrConfig). Close the Diagnosis when done.
func Diagnose(ctx context.Context, cfg Config, opt Options, at string) (*Diagnosis, error) {
	d := &Diagnosis{guards: map[int]guard{}}
	conn, options, err := newConn(cfg, opt)
	if err != nil {
		return nil, err
	}
	d.Conn = conn
	u, err := url.Parse(at)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if d.Certificate, err = cfg.shakeHands(ctx, u); err != nil {
		return nil, err
	}
	options = append(options, nats.RetryOnFailedConnect(false), nats.NoReconnect(), nats.IgnoreDiscoveredServers(),
		nats.Timeout(stepTimeout), nats.ErrorHandler(d.receiveRefusal))
	if err := conn.dial(at, options); err != nil {
		return nil, cfg.refusedLogin(u, opt.Node, err)
	}
	d.Version, d.Broker = conn.nc.ConnectedServerVersion(), conn.nc.ConnectedServerName()
	waiting, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := conn.Wait(waiting); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return d, nil
}

// Outdated reports whether the server is older than oldest, the version that it should at least have.
func (d *Diagnosis) Outdated() (is bool, oldest string) {
	return older(d.Version, oldestServer), oldestServer
}

// older compares versions such as 2.14.3 number by number; what stands behind them counts for nothing.
func older(a, b string) bool {
	x, y := numbers(a), numbers(b)
	for i := range y {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}

func numbers(version string) (n [3]int) {
	version, _, _ = strings.Cut(version, "-")
	for i, part := range strings.SplitN(version, ".", len(n)) {
		n[i], _ = strconv.Atoi(part) // 0 where there is none
	}
	return n
}

// shakeHands goes as far as TLS and returns the broker's certificate.
func (c Config) shakeHands(ctx context.Context, u *url.URL) (*x509.Certificate, error) {
	settings, err := c.tls(u.Hostname())
	if err != nil {
		return nil, err
	}
	if err := resolve(ctx, u.Hostname()); err != nil {
		return nil, err
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), strconv.Itoa(nats.DefaultPort))
	}
	dialer := net.Dialer{Timeout: stepTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, unreachable(address, err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	secured := tls.Client(conn, settings)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, c.untrusted(u.Hostname(), err)
	}
	return secured.ConnectionState().PeerCertificates[0], nil
}

// tls is what nats.go makes of security's options.
func (c Config) tls(host string) (*tls.Config, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: host}
	if c.CAFile != "" {
		text, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fault("ca_file", "%v", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(text) {
			return nil, fault("ca_file", "%s holds no certificate (PEM)", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fault("cert_file", "%s and %s make no pair: %v", c.CertFile, c.KeyFile, err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	return settings, nil
}

func resolve(ctx context.Context, host string) error {
	if net.ParseIP(host) != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	_, err := net.DefaultResolver.LookupHost(ctx, host)
	if err == nil {
		return nil
	}
	return &ConnectError{
		Step: "name", Err: err, Found: fmt.Sprintf("the name %s cannot be resolved: %v", host, err),
		Remedy: fmt.Sprintf("correct broker.urls, or this host's resolver; getent hosts %s tries it", host),
	}
}

func unreachable(address string, err error) error {
	o := &ConnectError{Step: "tcp", Err: err, Found: err.Error()}
	var failed net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		o.Found = "nothing listens there (connection refused)"
		o.Remedy = "start the broker on that host, or correct the port in broker.urls"
	case errors.As(err, &failed) && failed.Timeout():
		o.Found = fmt.Sprintf("no answer within %s", stepTimeout)
		o.Remedy = "see that the host is up, and that firewalls let this host through to " + address
	default:
		o.Remedy = "see to the network between this host and " + address
	}
	return o
}

// untrusted returns why a TLS handshake failed.
func (c Config) untrusted(host string, err error) error {
	o := &ConnectError{Step: "tls", Err: err, Found: err.Error(), Remedy: "see the broker's log, and that the port in broker.urls is that of its clients"}
	var (
		stranger x509.UnknownAuthorityError
		name     x509.HostnameError
		invalid  x509.CertificateInvalidError
		noTLS    tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		o.Found = fmt.Sprintf("it does not answer within %s", stepTimeout)
	case errors.As(err, &noTLS):
		o.Found = "what answers there does not begin with TLS"
		o.Remedy = "set handshake_first: true in the block tls of the broker's configuration, or correct the port in broker.urls"
	case errors.As(err, &name):
		o.Found = fmt.Sprintf("its certificate is not for %s, but for %s",
			host, strings.Join(names(name.Certificate), ", "))
		o.Remedy = "write one of these names into broker.urls, or give the broker a certificate for " + host
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		o.Found, o.Remedy = outOfTime(invalid.Cert, time.Now())
	case errors.As(err, &stranger) && c.CAFile == "":
		o.Found = "its certificate is signed by no CA of this system"
		o.Remedy = "set broker.ca_file to the ca.crt of the installation that the broker belongs to"
	case errors.As(err, &stranger):
		o.Found = fmt.Sprintf("its certificate is not signed by a CA in %s", c.CAFile)
		o.Remedy = fmt.Sprintf("copy the ca.crt of the installation that the broker belongs to over %s, or correct broker.urls", c.CAFile)
	}
	return o
}

// names are the first of those that a certificate is for.
func names(cert *x509.Certificate) []string {
	all := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		all = append(all, ip.String())
	}
	const most = 5
	if len(all) > most {
		all = append(all[:most], "...")
	}
	return all
}

func outOfTime(cert *x509.Certificate, now time.Time) (found, remedy string) {
	if now.Before(cert.NotBefore) {
		return "its certificate is good only from " + cert.NotBefore.UTC().Format(time.DateTime) + " UTC on", "set this host's clock, which is behind"
	}
	return "its certificate ended on " + cert.NotAfter.UTC().Format(time.DateOnly),
		"make another one for the broker in the installation's folder, by init rotate certificate"
}

// refusedLogin returns why the broker refused this node's credentials, though TLS was fine.
func (c Config) refusedLogin(u *url.URL, node string, err error) error {
	o := &ConnectError{Step: "login", Err: err, Found: err.Error(), Remedy: "see the log of the broker at " + u.Host}
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		o.Found = "it refuses the credentials of this node"
		o.Remedy = "use the credentials of a user that the broker knows, and correct broker.user, broker.creds_file or the like"
		if c.NKeyFile != "" {
			o.Remedy = fmt.Sprintf("put the right file in place of %s; or put its user %s, public key %s, into the broker's configuration, and have the broker read it (SIGHUP)",
				c.NKeyFile, node, publicKey(c.NKeyFile))
		}
	case strings.Contains(err.Error(), "certificate required"):
		o.Found = "it wants a certificate of its clients"
		o.Remedy = "set broker.cert_file and broker.key_file"
	case errors.Is(err, nats.ErrTimeout):
		o.Found = fmt.Sprintf("it does not greet within %s", stepTimeout)
	}
	return o
}

func publicKey(file string) string {
	seed, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	key, err := ReadUserKey(seed)
	if err != nil {
		return err.Error()
	}
	return key.PublicKey
}

// receiveRefusal receives what the broker refuses: the request that was refused would only time out.
func (d *Diagnosis) receiveRefusal(_ *nats.Conn, _ *nats.Subscription, err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.guards {
		// Without the right to receive answers nothing else can be tried.
		if strings.Contains(err.Error(), strconv.Quote(g.subject)) || strings.Contains(err.Error(), "Subscription") {
			g.refused(fmt.Errorf("%w: %w", ErrNotPermitted, err))
		}
	}
}

// permitted runs a request, and ends it with ErrNotPermitted as soon as the broker refuses its subject.
func (d *Diagnosis) permitted(ctx context.Context, subject string, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.mu.Lock()
	id := d.next
	d.next++
	d.guards[id] = guard{subject, cancel}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.guards, id)
	}()
	err := do(ctx)
	if refused := context.Cause(ctx); err != nil && errors.Is(refused, ErrNotPermitted) {
		return refused
	}
	return err
}

// LookAtFeed is InspectFeed, with ErrNotPermitted where the broker refuses it.
func (d *Diagnosis) LookAtFeed(ctx context.Context) (feed FeedInfo, clock Clock, err error) {
	err = d.permitted(ctx, d.apiPrefix+".CONSUMER.INFO."+stateStream+"."+d.self.Node, func(ctx context.Context) error {
		feed, clock, err = d.InspectFeed(ctx)
		return err
	})
	return feed, clock, err
}

// LookAtStreams is InspectStreams, with ErrNotPermitted where the broker refuses it.
func (d *Diagnosis) LookAtStreams(ctx context.Context, replicas int) (found []Inspected, clock Clock, err error) {
	err = d.permitted(ctx, d.apiPrefix+".STREAM.INFO."+touchStream, func(ctx context.Context) error {
		found, clock, err = d.InspectStreams(ctx, replicas)
		return err
	})
	return found, clock, err
}

// CountStatuses reads the statuses, as proxies do, and counts them. ErrNotPermitted where the broker refuses it.
func (d *Diagnosis) CountStatuses(ctx context.Context) (n int, err error) {
	err = d.permitted(ctx, d.apiPrefix+".DIRECT.GET."+statusStream, func(ctx context.Context) error {
		statuses, err := d.Statuses(ctx)
		n = len(statuses)
		return err
	})
	return n, err
}

// The probes name a stream that doesn't exist and bodies that nobody understands: whoever gets one refuses it and
// changes nothing, whatever this node may do.
const (
	noStream  = "PDNS_DOCTOR"
	noZone    = "invalid.pdns-distribute-doctor" // RFC 2606 §2
	noRequest = "-"
)

// CanTouch returns nil if a touch of this node would reach the queue, ErrNotPermitted if not, and ErrGone while there
// is no queue. It touches nothing: its message is marked as one for another stream, so the queue refuses it.
func (d *Diagnosis) CanTouch(ctx context.Context) error {
	return d.probe(ctx, &nats.Msg{Subject: d.self.subject(touchPrefix) + "." + noZone, Header: nats.Header{jetstream.ExpectedStreamHeader: {noStream}}})
}

// CanAnnounce tries in the same way whether this node may publish its presence.
func (d *Diagnosis) CanAnnounce(ctx context.Context) error {
	return d.probe(ctx, &nats.Msg{Subject: d.self.subject(statusPrefix), Header: nats.Header{jetstream.ExpectedStreamHeader: {noStream}}})
}

// ExcessPermissions returns what this node can do though its role should not: the probes that somebody answered. Not
// for primaries, which may do everything.
func (d *Diagnosis) ExcessPermissions(ctx context.Context) []string {
	type power struct {
		what string
		msg  *nats.Msg
	}
	foreign := nats.Header{jetstream.ExpectedStreamHeader: {noStream}}
	powers := []power{{"publish states of zones", &nats.Msg{Subject: statePrefix + noZone, Header: foreign}}}
	for _, role := range Roles {
		if other := (Sender{role, d.self.Node}); role != d.self.Role {
			powers = append(powers, power{"pass for a " + string(role), &nats.Msg{Subject: other.subject(statusPrefix), Header: foreign}},
				power{"touch zones as a " + string(role), &nats.Msg{Subject: other.subject(touchPrefix) + "." + noZone, Header: foreign}})
		}
	}
	if len(causes[d.self.Role]) == 0 {
		powers = append(powers, power{"touch zones", &nats.Msg{Subject: d.self.subject(touchPrefix) + "." + noZone, Header: foreign}})
	}
	for _, prefix := range unique(defaultAPIPrefix, d.apiPrefix) {
		ask := func(what, subject, body string) {
			powers = append(powers, power{what + " (" + prefix + ")", &nats.Msg{Subject: prefix + "." + subject, Data: []byte(body)}})
		}
		if d.self.Role != RoleHealth {
			ask("list streams", "STREAM.NAMES", "")
			ask("look into streams", "STREAM.INFO."+stateStream, "")
		}
		ask("create streams", "STREAM.CREATE."+noStream, noRequest)
		ask("create consumers", "CONSUMER.CREATE."+stateStream, noRequest)
		ask("read any message", "STREAM.MSG.GET."+stateStream, noRequest)
	}
	has := make([]bool, len(powers))
	var wg sync.WaitGroup
	for i, p := range powers {
		wg.Go(func() { has[i] = d.probe(ctx, p.msg) == nil })
	}
	wg.Wait()
	var excess []string
	for i, p := range powers {
		if has[i] {
			excess = append(excess, p.what)
		}
	}
	return excess
}

func unique(a, b string) []string {
	if a == b {
		return []string{a}
	}
	return []string{a, b}
}

// probe sends a request and returns nil if anybody answered, whatever it was.
func (d *Diagnosis) probe(ctx context.Context, msg *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return d.permitted(ctx, msg.Subject, func(ctx context.Context) error {
		return d.ask(ctx, func(ctx context.Context) error {
			_, err := d.nc.RequestMsgWithContext(ctx, msg)
			return err
		})
	})
}
