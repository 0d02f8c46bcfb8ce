package roles

import (
	"context"
	"errors"
	"net/url"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
)

// Proxy is the role in front of the primary PowerDNS's API.
type Proxy struct {
	*node
	proxy   *proxy.Proxy
	tracker *proxy.Tracker
}

// NewProxy binds the role's listeners. Run does the rest.
func NewProxy(cfg Config, deps Deps) (*Proxy, error) {
	upstream, err := url.Parse(cfg.PowerDNS.APIURL)
	if err != nil {
		return nil, err
	}
	config, err := cfg.PowerDNS.TLS()
	if err != nil {
		return nil, err
	}
	n, err := newNode(cfg, "proxy", deps)
	if err != nil {
		return nil, err
	}
	p := &Proxy{node: n}
	p.tracker = newTracker(n.conn, cfg, hearing)
	p.proxy, err = proxy.New(cfg.Proxy, proxy.Options{
		Upstream: upstream, TLS: config, ServerID: cfg.PowerDNS.ServerID, Marker: marker{n.conn}, Tracker: p.tracker, Registry: n.registry, Log: n.log,
	})
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return p, nil
}

// Run works until ctx ends.
func (p *Proxy) Run(ctx context.Context) error {
	return p.run(ctx, func(pr *health.Presence) { pr.Zones = p.proxy.Waiting() }, p.proxy.Run,
		func(ctx context.Context) error { return followAll(ctx, p.conn, p.tracker, nil) })
}

// marker stores the proxy's touches in the broker's queue.
type marker struct{ conn *broker.Conn }

func (m marker) Touch(ctx context.Context, name zone.Name, reason string) (seq uint64, err error) {
	return m.conn.PublishTouch(ctx, name, broker.Touch{Reason: reason})
}

func (m marker) Sweep(ctx context.Context) error {
	return m.conn.PublishSweep(ctx, broker.Touch{Reason: "a proxy started"})
}
