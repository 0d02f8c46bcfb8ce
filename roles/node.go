package roles

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/observe"
)

// Deps is what a role is given from outside.
type Deps struct {
	Version string
	Log     io.Writer // gets the role's log lines
	Reload  <-chan os.Signal
}

// node is what every role that speaks to the broker has: a log, metrics, a listener to be watched by, a connection, and
// a voice that tells the others how it is.
type node struct {
	id, role string
	instance string // unlike that of any other process
	stateDir string // where the role keeps its state, "" if nowhere
	version  string
	started  time.Time
	log      zerolog.Logger
	each     zerolog.Logger // of single zones and nodes: whoever makes up many must not fill logs
	registry *prometheus.Registry
	ready    *observe.Readiness
	observe  *observe.Server
	conn     *broker.Conn
	failures *failures
	wake     chan struct{} // has the node announced now
}

// maxEach is how many lines about single zones and nodes are written a minute; status and metrics count them all.
const maxEach = 100

// condBroker is the readiness condition of the connection.
const condBroker = "broker"

// newNode binds the listener and begins to connect. conditions are those that the role must clear to be ready.
func newNode(cfg Config, role string, deps Deps, conditions ...string) (*node, error) {
	n := &node{
		id: cfg.Node.ID, role: role, instance: rand.Text(), version: deps.Version, started: time.Now().UTC(),
		log:      cfg.Log.New(deps.Log).With().Str("role", role).Str("node", cfg.Node.ID).Logger(),
		registry: observe.NewRegistry(role, deps.Version),
		ready:    observe.NewReadiness(append(conditions, condBroker)...),
		wake:     make(chan struct{}, 1),
	}
	n.each = n.log.Sample(&zerolog.BurstSampler{Burst: maxEach, Period: time.Minute})
	n.failures = newFailures(n.registry)
	var err error
	if n.observe, err = observe.New(cfg.Observe, n.registry, n.ready, n.log); err != nil {
		return nil, err
	}
	if n.conn, err = broker.Connect(cfg.Broker, broker.Options{Node: n.id, Log: n.log}); err != nil {
		return nil, errors.Join(err, n.observe.Close())
	}
	return n, nil
}

// handBackPause keeps a message that is handed back as a role ends from being delivered to that role once more.
const handBackPause = 500 * time.Millisecond

// close undoes newNode for a role that cannot be made.
func (n *node) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	return errors.Join(n.observe.Close(), n.conn.Close(ctx))
}

// closePatience is how long the connection may take to send what is still to be sent.
const closePatience = 5 * time.Second

// run runs the role's parts until ctx ends or one fails, waits for all of them, and closes what newNode opened. The
// parts stop taking work and finish what is in hand when their context ends; only then the connection is closed.
func (n *node) run(ctx context.Context, presence func(*health.Presence), parts ...func(context.Context) error) error {
	n.log.Info().Str("version", n.version).Msg("started")
	g, ctx := errgroup.WithContext(ctx)
	for _, part := range parts {
		g.Go(func() error { return part(ctx) })
	}
	g.Go(func() error { return n.watchConnection(ctx) })
	g.Go(func() error { return n.announce(ctx, presence) })
	g.Go(func() error { return n.observe.Run(ctx) })
	err := g.Wait()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
	defer cancel()
	if closing := n.conn.Close(end); closing != nil {
		n.log.Warn().Err(closing).Msg("the connection to the broker did not end in order")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", n.role, err)
	}
	n.log.Info().Msg("stopped")
	return nil
}

// connectionPoll is how often readiness looks at the connection.
const connectionPoll = time.Second

// watchConnection keeps the readiness condition true, and ends the role when the connection is closed for good.
func (n *node) watchConnection(ctx context.Context) error {
	tick := time.NewTicker(connectionPoll)
	defer tick.Stop()
	for {
		n.noteConnection()
		select {
		case <-ctx.Done():
			return nil
		case <-n.conn.Done():
			return broker.ErrClosed
		case <-tick.C:
		}
	}
}

func (n *node) noteConnection() {
	if n.conn.Connected() {
		n.ready.Clear(condBroker)
	} else if err := n.conn.Err(); err != nil {
		n.ready.Set(condBroker, err.Error())
	}
}

// presenceInterval is how often a node says how it is.
const presenceInterval = 5 * time.Second

// announce tells the others how this node is: at each connection, at intervals, and when it is woken.
func (n *node) announce(ctx context.Context, fill func(*health.Presence)) error {
	connected, stop := n.conn.Connections()
	defer stop()
	tick := time.NewTicker(presenceInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-connected:
		case <-n.wake:
		case <-tick.C:
		}
		n.noteConnection()
		if err := n.speak(ctx, fill); err != nil {
			n.log.Debug().Err(err).Msg("could not announce this node")
		}
	}
}

// announceSoon is for changes that others wait for.
func (n *node) announceSoon() { notify(n.wake, struct{}{}) }

func (n *node) speak(ctx context.Context, fill func(*health.Presence)) error {
	p := health.Presence{Node: n.id, Role: n.role, Version: n.version, Started: n.started, Instance: n.instance, Clock: time.Now().UTC()}
	describeHost(&p, n.stateDir)
	for _, r := range n.ready.Reasons() {
		p.Problems = append(p.Problems, r.What+": "+r.Why)
	}
	p.Failing, p.Failures = n.failures.list(health.MaxFailures)
	if fill != nil {
		fill(&p)
	}
	p.Bound() // the reasons of others, such as PowerDNS's, may be long
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return n.conn.PublishStatus(ctx, data)
}
