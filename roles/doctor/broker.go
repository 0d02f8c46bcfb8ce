package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/health"
)

// broker tries each URL by itself, and looks at what this node can do there through the first that works.
func (e *examination) broker(ctx context.Context, before findings) (f findings) {
	if e.role == health.RoleBroker || before.failedIn("broker") {
		return nil
	}
	urls := e.cfg.Broker.URLs
	diagnoses, found := make([]*broker.Diagnosis, len(urls)), make([]findings, len(urls))
	var wg sync.WaitGroup
	for i, url := range urls {
		wg.Go(func() { diagnoses[i] = found[i].diagnose(ctx, e, url) })
	}
	wg.Wait()
	var through *broker.Diagnosis
	for i, v := range diagnoses {
		f = append(f, found[i]...)
		if v == nil {
			continue
		}
		defer v.Close(ctx)
		if through == nil {
			through = v
		}
	}
	if through == nil {
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	f.right("broker.presence", e.cfg.Node.ID, e.role, "may say that it is there", func() error { return through.CanAnnounce(ctx) })
	switch e.role {
	case health.RoleSecondary:
		f.feed(ctx, through, e.cfg.Node.ID)
	case health.RoleProxy:
		f.proxyRights(ctx, through, e.cfg.Node.ID)
	default:
		f.streams(ctx, through, e)
	}
	if e.role != health.RolePrimary && !f.failedAt("broker.feed", "broker.statuses", "broker.touch", "broker.stream") { // or it might not receive the answers
		f.excessPermissions(ctx, through, e)
	}
	return f
}

// diagnose connects to one broker, and returns nil where that cannot be done.
func (f *findings) diagnose(ctx context.Context, e *examination, url string) *broker.Diagnosis {
	v, err := broker.Diagnose(ctx, e.cfg.Broker, broker.Options{Node: e.cfg.Node.ID, Role: broker.Role(e.role), Log: zerolog.Nop()}, url)
	if o, is := errors.AsType[*broker.ConnectError](err); is {
		f.fail("broker."+o.Step, url, o.Found, o.Remedy)
		return nil
	}
	if err != nil {
		f.fail("broker.login", url, err.Error(), "correct the section [broker] of the configuration")
		return nil
	}
	f.endOfBroker("broker.tls", url, v.Certificate, e.now, v.Broker)
	if outdated, oldest := v.Outdated(); outdated {
		f.warn("broker.login", url, fmt.Sprintf("connected as %s, but nats-server %s has known holes", e.cfg.Node.ID, v.Version),
			"upgrade that nats-server to "+oldest+" or later")
	} else {
		f.ok("broker.login", url, "connected as %s, nats-server %s", e.cfg.Node.ID, v.Version)
	}
	return v
}

const (
	asInit = "give this node's user the rights that the accounts.conf of init gives to its role, in the account of that role: " +
		"init update writes it, copy it to each broker and reload"
	byStart = "the primary role makes it when it starts"
)

// feed is what a secondary lives on.
func (f *findings) feed(ctx context.Context, v *broker.Diagnosis, node string) {
	const name = "broker.feed"
	feed, clock, err := v.LookAtFeed(ctx)
	switch {
	case err == nil:
		f.ok(name, node, "its feed is there, %d states to take", feed.Behind())
		f.clock(clock)
	case errors.Is(err, broker.ErrGone):
		f.warn(name, node, "its feed is not provisioned yet",
			"start this role, and the primary role: it makes the feed when it sees this secondary")
		f.run(here("systemctl start "+health.Unit(health.RoleSecondary, health.Quoted(node))), anywhere("status"))
	case errors.Is(err, broker.ErrNotPermitted):
		f.unlikeInit(name, node, "its credentials may not read its feed",
			"use in node.id the id that the broker's configuration has for this user, and "+broker.RemoteAPIPrefix+" as broker.api_prefix; else ")
	case broker.Silent(err):
		f.silent(name, node)
	default:
		f.fail(name, node, err.Error(), "see that broker.api_prefix is "+broker.RemoteAPIPrefix+", and the log of the broker")
	}
}

// What a broker does that lets nodes log in and answers nothing that it would have to look up.
const (
	noAnswer   = "connected, but the brokers do not answer: they have no quorum (less than half of them are there), or their store has failed"
	makeAnswer = "start the brokers that are away; each says at its /readyz and in its log why it is not ready"
)

// silent is what a broker does that has let the node in and does not answer: that is no lack of rights.
func (f *findings) silent(name, node string) {
	f.fail(name, node, noAnswer, makeAnswer)
	f.run(anywhere("status"))
}

// unlikeInit is about rights that a node lacks, or has too many of.
func (f *findings) unlikeInit(name, node, found, remedy string) {
	f.fail(name, node, found, remedy+asInit)
	f.run(inFolder("update"))
}

// proxyRights are to know who is there, and to touch zones.
func (f *findings) proxyRights(ctx context.Context, v *broker.Diagnosis, node string) {
	f.right("broker.statuses", node, health.RoleProxy, "may read who is there", func() error {
		_, err := v.CountStatuses(ctx)
		return err
	})
	f.right("broker.touch", node, health.RoleProxy, "may touch zones", func() error { return v.CanTouch(ctx) })
}

// right is one that the role needs.
func (f *findings) right(name, node, role, what string, try func() error) {
	switch err := try(); {
	case err == nil:
		f.ok(name, node, "%s", what)
	case errors.Is(err, broker.ErrGone):
		f.warn(name, node, "whether it "+what+" is not known: the stream for that is missing", byStart)
	case errors.Is(err, broker.ErrNotPermitted):
		f.unlikeInit(name, node, "refused, though a "+role+" "+what,
			"use in node.id the id that the broker's configuration has for this user; else ")
	case broker.Silent(err):
		f.silent(name, node)
	default:
		f.fail(name, node, fmt.Sprintf("whether it %s: %v", what, err),
			"see that broker.api_prefix is "+broker.RemoteAPIPrefix+", and the log of the broker")
	}
}

// excessPermissions are what a stolen node could do harm by.
func (f *findings) excessPermissions(ctx context.Context, v *broker.Diagnosis, e *examination) {
	if has := v.ExcessPermissions(ctx); len(has) > 0 {
		f.unlikeInit("broker.permissions", e.cfg.Node.ID,
			"its credentials permit what its role should not do: "+strings.Join(has, ", "), "")
		return
	}
	f.ok("broker.permissions", e.cfg.Node.ID, "its credentials permit nothing beyond its role")
}

// streams are for the roles of the core to see.
func (f *findings) streams(ctx context.Context, v *broker.Diagnosis, e *examination) {
	const name = "broker.stream"
	replicas := 0
	if e.role == health.RolePrimary {
		replicas = e.cfg.Primary.Replicas
	}
	found, clock, err := v.LookAtStreams(ctx, replicas)
	if broker.Silent(err) {
		f.silent(name, e.cfg.Node.ID)
		return
	}
	if err != nil {
		f.unlikeInit(name, e.cfg.Node.ID, "its credentials do not let it look at the streams: "+err.Error(), "")
		return
	}
	var fit []string
	for _, one := range found {
		switch {
		case one.Missing:
			f.warn(name, one.Object, "missing", byStart)
		case len(one.Deviations) > 0:
			for _, d := range one.Deviations {
				f.fail(name, one.Object, fmt.Sprintf("%s is %s, should be %s", d.Setting, d.Is, d.ShouldBe), d.Remedy())
			}
		default:
			fit = append(fit, one.Object)
		}
	}
	if len(fit) > 0 {
		f.ok(name, e.cfg.Node.ID, "as they should be: %s", strings.Join(fit, ", "))
	}
	f.clock(clock)
}

// How far clocks may be apart: from the first on it is a warning, from the second on a failure.
const (
	apart    = 2 * time.Second
	farApart = 30 * time.Second
)

func (f *findings) clock(c broker.Clock) {
	const name, object = "clock.skew", "of this host"
	if !c.Known {
		return
	}
	way := "ahead of"
	if c.Ahead < 0 {
		way = "behind"
	}
	off := c.Ahead.Abs()
	found := fmt.Sprintf("%s %s the broker's", off.Round(100*time.Millisecond), way)
	const remedy = "have this host and the broker's keep the time (NTP)"
	switch {
	case off >= farApart:
		f.fail(name, object, found, remedy)
	case off >= apart:
		f.warn(name, object, found, remedy)
	default:
		f.ok(name, object, "agrees with the broker's to the second")
	}
}
