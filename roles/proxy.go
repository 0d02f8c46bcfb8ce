package roles

import (
	"context"
	"encoding/json"
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
	p.tracker = proxy.NewTracker(cfg.Health.InactiveAfter, n.conn.PublishAsk)
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
	return p.run(ctx, func(pr *health.Presence) { pr.Zones = p.proxy.Waiting() }, p.proxy.Run, p.followSecondaries, p.followNotices)
}

// followSecondaries keeps who is waited for.
func (p *Proxy) followSecondaries(ctx context.Context) error {
	return p.conn.WatchStatuses(ctx, func(id string, status broker.StatusMsg) {
		if s, err := newSighting(status); err == nil && s.Role == roleSecondary {
			p.tracker.Seen(id, s.At)
		}
	})
}

// followNotices brings what is told of changes to those who wait for them.
func (p *Proxy) followNotices(ctx context.Context) error {
	stopSettled, err := p.conn.SubscribeSettled(ctx, func(notice []byte) {
		var s health.Settled
		if json.Unmarshal(notice, &s) == nil {
			p.tracker.Settled(s)
		}
	})
	if err != nil {
		return err
	}
	defer stopSettled()
	stopApplied, err := p.conn.SubscribeApplied(ctx, func(node string, notice []byte) {
		var a health.Applied
		if json.Unmarshal(notice, &a) == nil {
			p.tracker.Applied(node, a)
		}
	})
	if err != nil {
		return err
	}
	defer stopApplied()
	<-ctx.Done()
	return nil
}

// marker stores the proxy's touches in the broker's queue.
type marker struct{ conn *broker.Conn }

func (m marker) Touch(ctx context.Context, name zone.Name, reason string) (seq uint64, err error) {
	return m.conn.PublishTouch(ctx, name, broker.Touch{Reason: reason})
}

func (m marker) Sweep(ctx context.Context) error {
	return m.conn.PublishSweep(ctx, broker.Touch{Reason: "a proxy started"})
}
