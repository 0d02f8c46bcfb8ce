package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

const (
	dialTimeout    = 5 * time.Second        // per broker URL, TLS handshake included
	reconnectWait  = 250 * time.Millisecond // between two attempts at one URL; recovery is at most this late
	reconnectSpray = 500 * time.Millisecond // added at random, so that a fleet doesn't shake hands at one instant
	pingInterval   = 20 * time.Second       // a dead peer is noticed after two unanswered pings
	requestTimeout = 5 * time.Second        // for an answer of the broker: in a cluster it can be lost though the connection stands
)

// Options is what Connect needs beside the configuration file.
type Options struct {
	Node string         // id of this node, see CheckNodeID; it is also shown by the broker as the client's name
	Role Role           // of this node; the subjects that it publishes to begin with it
	Log  zerolog.Logger // connection events and permission violations go here
}

// Conn is one node's connection to the broker. All methods may be called concurrently. Methods that ask the broker
// wait for each answer until ctx ends, or five seconds if ctx has no deadline. They fail at once with ErrDisconnected
// while there is no connection, or when it is lost before the answer came; nothing is buffered to be sent later.
type Conn struct {
	// Set before the Conn is given out.
	self      Sender
	apiPrefix string
	nkeyFile  string // "" without
	nc        *nats.Conn
	js        jetstream.JetStream
	log       zerolog.Logger
	strange   zerolog.Logger // of messages that nobody of ours sends: whoever floods the broker with them must not fill logs

	// Safe for concurrent use, each by itself. The callbacks of nats.go are the only ones to change link and refusals.
	link     *link
	refusals refusals
	prober   atomic.Pointer[jetstream.Consumer] // of proofs; nil without
	done     chan struct{}                      // closed with the connection for good

	mu           sync.Mutex
	statusesMute time.Time // since when nobody answers for the statuses, zero if somebody does
}

// Connect tries each URL once and returns; while none answers, the Conn goes on trying for ever, see Wait. It fails
// only for faults of the configuration and the files it names (ErrConfig).
func Connect(cfg Config, opt Options) (*Conn, error) {
	c, options, err := newConn(cfg, opt)
	if err != nil {
		return nil, err
	}
	if err := c.dial(strings.Join(cfg.URLs, ","), options); err != nil {
		return nil, err
	}
	return c, nil
}

// newConn makes a Conn that is yet to dial, and what it is to dial with.
func newConn(cfg Config, opt Options) (*Conn, []nats.Option, error) {
	self := Sender{opt.Role, opt.Node}
	if err := self.check(); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if self.Role == RoleBroker {
		return nil, nil, fmt.Errorf("%w: a broker connects with itself alone", ErrConfig)
	}
	if err := cfg.Validate(); err != nil {
		return nil, nil, err
	}
	security, err := cfg.security()
	if err != nil {
		return nil, nil, err
	}
	c := unconnected(self, opt.Log)
	c.nkeyFile, c.apiPrefix = cfg.NKeyFile, cmp.Or(cfg.APIPrefix, defaultAPIPrefix)
	inbox := cmp.Or(cfg.InboxPrefix, "_INBOX_"+opt.Node)
	return c, append(c.options(inbox), security...), nil
}

// unconnected is a Conn that has everything but a connection.
func unconnected(self Sender, log zerolog.Logger) *Conn {
	return &Conn{
		self: self, apiPrefix: defaultAPIPrefix, log: log, link: newLink(),
		strange: log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Minute}), done: make(chan struct{}),
	}
}

func (c *Conn) dial(urls string, options []nats.Option) error {
	var err error
	if c.nc, err = nats.Connect(urls, options...); err != nil {
		return fmt.Errorf("%w: connect to broker %s: %w", ErrConfig, urls, err)
	}
	if c.js, err = jetstream.NewWithAPIPrefix(c.nc, c.apiPrefix); err != nil {
		c.nc.Close()
		return fmt.Errorf("%w: broker.api_prefix: %w", ErrConfig, err)
	}
	return nil
}

func (c *Conn) options(inbox string) []nats.Option {
	return []nats.Option{
		nats.Name(c.self.Node),
		nats.Timeout(dialTimeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectSpray, reconnectSpray),
		nats.PingInterval(pingInterval),
		nats.IgnoreAuthErrorAbort(), // a user may be added to the broker after the node was started
		nats.ReconnectBufSize(-1),   // fail at once: a buffered publish may be stored after it was reported as failed
		nats.CustomInboxPrefix(inbox),
		nats.ConnectHandler(c.onConnect),
		nats.ReconnectHandler(c.onConnect),
		nats.DisconnectErrHandler(c.onDisconnect),
		nats.ReconnectErrHandler(c.onRetry),
		nats.ErrorHandler(c.onError),
		nats.ClosedHandler(func(*nats.Conn) { close(c.done) }),
	}
}

func (c *Conn) onConnect(nc *nats.Conn) {
	c.log.Info().Str("broker", nc.ConnectedUrlRedacted()).Msg("connected to broker")
	c.link.begin()
}

func (c *Conn) onDisconnect(_ *nats.Conn, err error) {
	c.link.end()
	if err != nil { // nil when Close was called
		c.link.fail(err)
		c.log.Warn().Err(err).Msg("connection to broker lost, reconnecting")
	}
}

// onRetry reports an attempt that failed; repeated at debug level only, so that a broker away for a night doesn't fill
// the log.
func (c *Conn) onRetry(_ *nats.Conn, err error) {
	level := zerolog.DebugLevel
	if c.link.fail(err) {
		level = zerolog.WarnLevel
	}
	c.log.WithLevel(level).Err(err).Msg("broker cannot be reached, trying again")
}

// onError gets what has no caller to return to. Permission violations appear here only; the call just times out.
func (c *Conn) onError(_ *nats.Conn, sub *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		c.refusals.note(err)
	}
	event := c.strange.Error().Err(err)
	if sub != nil {
		event = event.Str("subject", sub.Subject)
	}
	event.Msg("broker reported an error")
}

// Connected reports whether there is a connection at this moment.
func (c *Conn) Connected() bool { return c.link.now().Err() == nil }

// Made is how many connections were made.
func (c *Conn) Made() uint64 { return c.link.counted() }

// Err says why there is no connection, as far as is known; nil while there is one.
func (c *Conn) Err() error { return c.link.err() }

// Wait returns when there is a connection. When ctx ends first, the error says what the last attempt failed with.
func (c *Conn) Wait(ctx context.Context) error {
	connected, stop := c.Connections()
	defer stop()
	select {
	case <-connected:
		return nil
	case <-c.done:
		return ErrClosed
	case <-ctx.Done():
		return cmp.Or(c.Err(), ctx.Err())
	}
}

// Connections returns a channel that gets a value for the present connection, if there is one, and for each later
// one; values not yet received collapse into one. Call stop when done; it doesn't close the channel.
func (c *Conn) Connections() (connected <-chan struct{}, stop func()) {
	ch, stop := c.link.made.listen()
	if c.Connected() {
		raise(ch)
	}
	return ch, stop
}

// Done is closed when the connection is closed for good. Unless Close was called, the process should end.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close sends what is still to be sent (acknowledgements), until ctx ends but five seconds at most, and closes the
// connection. Stop consuming before. It returns when all callbacks have ended.
func (c *Conn) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var err error
	if c.Connected() {
		err = c.nc.FlushWithContext(ctx)
	}
	c.nc.Close()
	<-c.done
	if err != nil {
		return fmt.Errorf("send the rest to the broker: %w", err)
	}
	return nil
}

// ask makes requests that the broker answers. It gives up when the connection is lost, since the answer is lost with
// it.
func (c *Conn) ask(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	link := c.link.now()
	if err := c.lost(link); err != nil {
		return err
	}
	defer context.AfterFunc(link, func() { cancel(context.Cause(link)) })()
	err := request(ctx)
	if err == nil {
		return nil
	}
	if lost := c.lost(link); lost != nil {
		return fmt.Errorf("%w: %w", lost, err)
	}
	return explain(err)
}

// lost reports whether a connection has ended, and for good or not.
func (c *Conn) lost(link context.Context) error {
	select {
	case <-c.done:
		return ErrClosed
	default:
		return context.Cause(link)
	}
}

// publish stores a message in a stream and returns its sequence.
func (c *Conn) publish(ctx context.Context, stream string, msg *nats.Msg, options ...jetstream.PublishOpt) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var ack *jetstream.PubAck
	err := c.ask(ctx, func(ctx context.Context) (err error) {
		ack, err = c.js.PublishMsg(ctx, msg, append(options, jetstream.WithExpectStream(stream))...)
		return err
	})
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// request asks the JetStream API.
func (c *Conn) request(ctx context.Context, subject string, body []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var answer *nats.Msg
	err := c.ask(ctx, func(ctx context.Context) (err error) {
		answer, err = c.nc.RequestWithContext(ctx, c.apiPrefix+"."+subject, body)
		return err
	})
	return answer, err
}

// call asks the JetStream API a question that nats.go has no method for, or one that does something else.
func (c *Conn) call(ctx context.Context, subject string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	reply, err := c.request(ctx, subject, body)
	if err != nil {
		return err
	}
	var refusal struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &refusal); err != nil {
		return err
	}
	if refusal.Error != nil {
		return explain(refusal.Error)
	}
	return json.Unmarshal(reply.Data, answer)
}
