package roles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/private"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/follow"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/observe"
)

// Proxy is the role in front of the primary PowerDNS's API.
type Proxy struct {
	*node.Node
	proxy    *proxy.Proxy
	tracker  *proxy.Tracker
	database *database // nil where it is the only one
}

// NewProxy binds the role's listeners. Run does the rest.
func NewProxy(cfg config.Config, deps node.Deps) (*Proxy, error) {
	upstream, err := url.Parse(cfg.PowerDNS.APIURL)
	if err != nil {
		return nil, err
	}
	config, err := cfg.PowerDNS.TLS()
	if err != nil {
		return nil, err
	}
	if err := checkSpareKey(cfg.PowerDNS.APIKeyFile); err != nil {
		return nil, err
	}
	n, err := node.New(cfg, health.RoleProxy, deps)
	if err != nil {
		return nil, err
	}
	p := &Proxy{Node: n}
	if cfg.Proxy.Replicated {
		p.database = &database{
			address: cfg.PowerDNS.DNSAddress, beside: node.BesideOf(cfg.PowerDNS.APIURL, n.Instance), moved: n.AnnounceSoon,
			wake: make(chan struct{}, 1),
		}
	}
	p.tracker = follow.NewTracker(n.Conn, cfg, follow.Discovery)
	p.proxy, err = proxy.New(cfg.Proxy, proxy.Options{
		Upstream: upstream, TLS: config, ServerID: cfg.PowerDNS.ServerID,
		Touches: touchStore{n.Conn, p.database}, Tracker: p.tracker, Registry: n.Registry, Log: n.Log,
		OwnKey: func() (string, error) {
			key, err := cfg.PowerDNS.ReadAPIKey()
			return key.Reveal(), err
		},
	})
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	observe.RegisterDisk(n.Registry, cfg.Proxy.StateDir)
	return p, nil
}

// checkSpareKey refuses an API key that others can read. The proxy itself needs none, so one that is gone is no error.
func checkSpareKey(file string) error {
	if file == "" {
		return nil
	}
	if err := private.Check(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("powerdns.api_key_file: %w", err)
	}
	return nil
}

// Run works until ctx ends.
func (p *Proxy) Run(ctx context.Context) error {
	describe := func(pr *health.Presence) { pr.Zones, pr.Replication = p.proxy.Waiting(), p.database.presence() }
	track := func(ctx context.Context) error { return follow.All(ctx, p.Conn, p.tracker, nil) }
	return p.RunAll(ctx, describe, p.proxy.Run, p.database.watch, track)
}

// touchStore stores the proxy's touches in the broker's queue.
type touchStore struct {
	conn     *broker.Conn
	database *database
}

func (m touchStore) Touch(ctx context.Context, t proxy.Touch) (seq uint64, err error) {
	touch := broker.Touch{Cause: broker.Changed, Serial: t.Serial}
	if t.Cause == proxy.Deleted {
		touch.Cause = broker.Deleted
	}
	m.database.note(&touch)
	return m.conn.PublishTouch(ctx, t.Zone, touch)
}

func (m touchStore) Sweep(ctx context.Context) error {
	return m.conn.PublishSweep(ctx)
}
