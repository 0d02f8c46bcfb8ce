// Package node is what every role that speaks to the broker has: a log, metrics, a listener that is watched, the
// connection, and a presence by which others know how the node is. [New] makes it, and [Node.RunAll] is the life
// of a role: the first part that fails ends all. Besides: the [Monitor] of the PowerDNS beside a role, the [Failures]
// of zones, and the answers to questions of others about zones ([Node.AnswerAsks]) and to the checks of health roles
// ([Node.AnswerChecks]).
package node

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
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/observe"
)

// Deps is what a role is given from outside.
type Deps struct {
	Version string
	Log     io.Writer // gets the role's log lines
	Reload  <-chan os.Signal
}

// Node is what a role has. All fields are set before RunAll, and what they refer to is safe for concurrent use.
type Node struct {
	ID, role string
	Instance string // unlike that of any other process
	StateDir string // where the role keeps its state, "" if nowhere
	version  string
	Started  time.Time
	Log      zerolog.Logger
	Each     zerolog.Logger // of single zones and nodes: whoever makes up many must not fill logs
	Registry *prometheus.Registry
	Ready    *observe.Readiness
	Observe  *observe.Server
	Conn     *broker.Conn
	Failures *Failures
	wake     chan struct{} // asks for an announcement
}

// maxEach is how many lines about single zones and nodes are written a minute; status and metrics count them all.
const maxEach = 100

const (
	condBroker = "broker" // the readiness condition of the connection
	condRights = "rights" // the one of what the broker permits
)

// New binds the listener and begins to connect. conditions are those that the role must clear to be ready.
func New(cfg config.Config, role string, deps Deps, conditions ...string) (*Node, error) {
	n := &Node{
		ID: cfg.Node.ID, role: role, Instance: rand.Text(), version: deps.Version, Started: time.Now().UTC(),
		Log:      cfg.Log.New(deps.Log).With().Str("role", role).Str("node", cfg.Node.ID).Logger(),
		Registry: observe.NewRegistry(role, deps.Version),
		Ready:    observe.NewReadiness(append(conditions, condBroker)...),
		wake:     make(chan struct{}, 1),
	}
	n.Ready.Remedies(func(reason string) any { return health.CommandsFor(role, n.ID, reason) })
	n.Each = n.Log.Sample(&zerolog.BurstSampler{Burst: maxEach, Period: time.Minute})
	n.Failures = newFailures(n.Registry)
	var err error
	if n.Observe, err = observe.New(cfg.Observe, n.Registry, n.Ready, n.Log); err != nil {
		return nil, err
	}
	n.Conn, err = broker.Connect(cfg.Broker, broker.Options{Node: n.ID, Role: broker.Role(role), Log: n.Log})
	if err != nil {
		return nil, errors.Join(err, n.Observe.Close())
	}
	registerConnection(n.Registry, n.Conn)
	return n, nil
}

// Close undoes New for a role that cannot be made.
func (n *Node) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	return errors.Join(n.Observe.Close(), n.Conn.Close(ctx))
}

// closePatience is how long the connection may take to send what is still to be sent.
const closePatience = 5 * time.Second

// RunAll runs the role's parts until ctx ends or one fails, waits for all of them, and closes what New opened. The
// parts stop taking work and finish what is in hand when their context ends; only then the connection is closed.
func (n *Node) RunAll(
	ctx context.Context, presence func(*health.Presence), parts ...func(context.Context) error,
) error {
	n.Log.Info().Str("version", n.version).Msg("started")
	if n.StateDir != "" {
		observe.RegisterDisk(n.Registry, n.StateDir)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, part := range parts {
		g.Go(func() error { return part(ctx) })
	}
	g.Go(func() error { return n.watchConnection(ctx) })
	g.Go(func() error { return n.keepAnnouncing(ctx, presence) })
	g.Go(func() error { return n.Observe.Run(ctx) })
	err := g.Wait()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
	defer cancel()
	if closing := n.Conn.Close(end); closing != nil {
		n.Log.Warn().Err(closing).Msg("failed to close the connection to the broker in order")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", n.role, err)
	}
	n.Log.Info().Msg("stopped")
	return nil
}

// connectionPoll is how often readiness looks at the connection.
const connectionPoll = time.Second

// watchConnection keeps the readiness condition true, and ends the role when the connection is closed for good.
func (n *Node) watchConnection(ctx context.Context) error {
	tick := time.NewTicker(connectionPoll)
	defer tick.Stop()
	for {
		n.noteConnection()
		select {
		case <-ctx.Done():
			return nil
		case <-n.Conn.Done():
			return broker.ErrClosed
		case <-tick.C:
		}
	}
}

func (n *Node) noteConnection() {
	if n.Conn.Connected() {
		n.Ready.Clear(condBroker)
	} else if err := n.Conn.Err(); err != nil {
		n.Ready.Set(condBroker, err.Error())
	}
	if err := n.Conn.Refused(); err != nil {
		n.Ready.Set(condRights, err.Error())
	} else {
		n.Ready.Clear(condRights)
	}
}

// PresenceInterval is how often a node announces its presence.
const PresenceInterval = 5 * time.Second

// presencePatience is how long one may take to be stored. While there is no stream nobody answers, and what is said
// next must not wait for that.
const presencePatience = time.Second

// keepAnnouncing announces the presence at each connection, at intervals, and when it is woken.
func (n *Node) keepAnnouncing(ctx context.Context, fill func(*health.Presence)) error {
	connected, stop := n.Conn.Connections()
	defer stop()
	tick := time.NewTicker(PresenceInterval)
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
		if err := n.announce(ctx, fill); err != nil {
			n.Log.Debug().Err(err).Msg("failed to announce this node")
		}
	}
}

// AnnounceSoon announces the presence now, for changes that others wait for.
func (n *Node) AnnounceSoon() {
	select {
	case n.wake <- struct{}{}:
	default: // it is about to
	}
}

// announce says how this node is.
func (n *Node) announce(ctx context.Context, fill func(*health.Presence)) error {
	p := health.Presence{Node: n.ID, Role: n.role}
	p.Process = health.Process{Version: n.version, Started: n.Started, Instance: n.Instance, Clock: time.Now().UTC()}
	DescribeHost(&p, n.StateDir)
	for _, r := range n.Ready.Reasons() {
		p.Problems = append(p.Problems, r.What+": "+r.Why)
	}
	p.Failing, p.Failures = n.Failures.list(health.MaxFailures)
	if fill != nil {
		fill(&p)
	}
	p.Bound() // the reasons of others, such as PowerDNS's, may be long
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, presencePatience)
	defer cancel()
	return n.Conn.PublishStatus(ctx, data)
}
