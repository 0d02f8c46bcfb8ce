package broker_test

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/conf"
	"github.com/nats-io/nats-server/v2/server"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// These tests take all that a broker and its nodes listen to, from a server that runs with all of it, and lay it beside
// all that accounts.conf lets each kind of node publish and hear. Where the two meet there has to be a reason, and it
// stands here.

// reaches is what each kind of node may publish and somebody listens to, in its own account or behind bridges, and why.
// ID is the node itself; an entry that ends with > stands for all that begins so.
var reaches = map[broker.Role]map[string]string{
	broker.RoleSecondary: {
		"CORE pdns.status.secondary.ID":              "its status, into the stream and to primaries",
		"API pdns.status.secondary.ID":               "its status, to proxies",
		"HEALTH pdns.status.secondary.ID":            "its status, to health roles",
		"CORE pdns.applied.ID":                       "what it has applied, to primaries",
		"API pdns.applied.ID":                        "what it has applied, to proxies",
		"HEALTH pdns.applied.ID":                     "what it has applied, to health roles",
		"SEC pdns.applied.ID":                        "the same as others subscribe to it here, behind an export",
		"HEALTH pdns.checked.ID":                     "its answers to checks",
		"SEC pdns.checked.ID":                        "the same as others subscribe to it here, behind an export",
		"CORE $JS.ACK.PDNS_ZONE.ID.*.*.*.*.*":        "acknowledgements to its own feed",
		"CORE $JS.ACK._.HASH.PDNS_ZONE.ID.*.*.*.*.>": "acknowledgements to its own feed, in the newer form",
		"$JS.API.CONSUMER.MSG.NEXT.PDNS_ZONE.ID":     "pulls of its own feed",
		"$JS.API.CONSUMER.INFO.PDNS_ZONE.ID":         "where its own feed stands",
		"$JS.API.DIRECT.GET.PDNS_BLOB.pdns.blob.*":   "blobs, by hashes that states name",
		"$JS.API.DIRECT.GET.PDNS_ZONE.pdns.zone.>":   "states, which its feed delivers later",
	},
	broker.RoleProxy: {
		"CORE pdns.status.proxy.ID":      "its status, into the stream and to primaries",
		"API pdns.status.proxy.ID":       "its status, to other proxies and, behind an export, to health roles",
		"HEALTH pdns.status.proxy.ID":    "its status, to health roles",
		"CORE pdns.touch.proxy.ID.>":     "its touches, into the queue",
		"CORE pdns.sweep.proxy.ID":       "its requests to sweep, into the queue",
		"CORE pdns.ask.proxy.ID":         "its questions, to primaries",
		"SEC pdns.ask.proxy.ID":          "its questions, to secondaries",
		"API pdns.ask.proxy.ID":          "the same as others subscribe to it here, behind an export",
		"$JS.API.DIRECT.GET.PDNS_STATUS": "the statuses of all",
	},
	broker.RoleHealth: {
		"CORE pdns.status.health.ID":                             "its status, into the stream and to primaries",
		"HEALTH pdns.status.health.ID":                           "its status, to other health roles",
		"CORE pdns.touch.health.ID.>":                            "its orders, into the queue",
		"CORE pdns.ask.health.ID":                                "its questions, to primaries",
		"SEC pdns.ask.health.ID":                                 "its questions, to secondaries",
		"HEALTH pdns.ask.health.ID":                              "the same as others subscribe to it here, behind an export",
		"SEC pdns.check.ID.>":                                    "its checks, to the secondary that each is for",
		"CORE pdns.check.ID.>":                                   "its checks, to the primary that each is for",
		"HEALTH pdns.check.ID.>":                                 "the same as they subscribe to it here, behind an export",
		"CORE pdns.confirm.health.ID":                            "confirmations of operators, to primaries",
		"CORE pdns.forget.health.ID":                             "requests of operators to forget a node, to primaries",
		"HEALTH pdns.leader.health.ID":                           "requests to the health role that leads",
		"HEALTH _INBOX_>":                                        "answers to such requests of health roles",
		"HEALTH _R_.>":                                           "answers to such requests of primaries",
		"CORE $KV.pdns_lease.health":                             "the lease that health roles share",
		"$JS.API.DIRECT.GET.KV_pdns_lease.$KV.pdns_lease.health": "who holds it",
		"$JS.API.DIRECT.GET.PDNS_STATUS":                         "the statuses of all",
		"$JS.API.STREAM.INFO.*":                                  "how streams stand",
		"$JS.API.CONSUMER.LIST.PDNS_ZONE":                        "how feeds stand",
		"$JS.API.CONSUMER.INFO.PDNS_TOUCH.primary":               "how the queue stands",
		"$JS.API.CONSUMER.INFO.PDNS_ZONE.WATCH_ID":               "where its own watch stands",
		"$JS.API.CONSUMER.MSG.NEXT.PDNS_ZONE.WATCH_ID":           "pulls of its own watch",
		"$JS.API.CONSUMER.RESET.PDNS_ZONE.WATCH_ID":              "its own watch, to begin anew",
	},
	broker.RolePrimary: {
		"CORE pdns.status.primary.ID":                      "its status, into the stream and to other primaries",
		"HEALTH pdns.status.primary.ID":                    "its status, to health roles",
		"CORE pdns.touch.primary.ID.>":                     "its orders, into the queue",
		"CORE pdns.sweep.primary.ID":                       "its requests to sweep, into the queue",
		"CORE pdns.ask.primary.ID":                         "its questions, to primaries",
		"SEC pdns.ask.primary.ID":                          "its questions, to secondaries",
		"CORE pdns.confirm.primary.ID":                     "confirmations that operators give on its host",
		"CORE pdns.forget.primary.ID":                      "requests of operators on its host to forget a node",
		"HEALTH pdns.leader.primary.ID":                    "requests to the health role that leads",
		"CORE pdns.settled.ID":                             "which state a touch has led to, to other primaries",
		"API pdns.settled.ID":                              "the same, to proxies",
		"HEALTH pdns.settled.ID":                           "the same, to health roles",
		"SEC pdns.coming.ID":                               "word of what is on its way, to secondaries",
		"CORE pdns.coming.ID":                              "the same as they subscribe to it here, behind an export",
		"SEC pdns.published.ID":                            "notices of news, to secondaries",
		"CORE pdns.published.ID":                           "the same as they subscribe to it here, behind an export",
		"HEALTH pdns.checked.ID":                           "its answers to checks",
		"CORE pdns.checked.ID":                             "the same as they subscribe to it here, behind an export",
		"HEALTH pdns.forgotten.ID":                         "word of nodes that are no more, to health roles",
		"CORE pdns.forgotten.ID":                           "the same as they subscribe to it here, behind an export",
		"CORE pdns.zone.>":                                 "states, which it makes",
		"CORE pdns.blob.*":                                 "blobs, which it makes",
		"$JS.API.>":                                        "streams and consumers, which it makes",
		"CORE $JS.ACK.PDNS_TOUCH.primary.*.*.*.*.*":        "acknowledgements of touches",
		"CORE $JS.ACK._.HASH.PDNS_TOUCH.primary.*.*.*.*.>": "acknowledgements of touches, in the newer form",
		"CORE $KV.pdns_lease.primary":                      "the lease that primaries share",
		"CORE _INBOX_>":                                    "answers to requests of primaries",
		"CORE _R_.>":                                       "answers to requests of health roles",
	},
}

// hearsOf is what others hear in the node's account and it may hear, too, and why.
var hearsOf = map[broker.Role]map[string]string{
	broker.RoleSecondary: {
		"SEC _INBOX_ID.>":      "answers to itself",
		"SEC pdns.ask.*.*":     "questions to all",
		"SEC pdns.coming.*":    "word of what is on its way",
		"SEC pdns.published.*": "notices of news",
		"SEC pdns.check.*.ID":  "checks of itself",
	},
	broker.RoleProxy: {
		"API pdns.status.*.*":     "statuses",
		"API pdns.status.proxy.*": "statuses of proxies on their way to the stream",
		"API pdns.applied.*":      "what secondaries have applied",
		"API pdns.settled.*":      "which states touches have led to",
	},
	broker.RoleHealth: {
		"HEALTH _INBOX_ID.>":          "answers to itself",
		"HEALTH pdns.status.*.*":      "statuses",
		"HEALTH pdns.status.health.*": "statuses of health roles on their way to the stream",
		"HEALTH pdns.applied.*":       "what secondaries have applied",
		"HEALTH pdns.checked.*":       "answers to checks",
		"HEALTH pdns.settled.*":       "which states touches have led to",
		"HEALTH pdns.forgotten.*":     "nodes that are no more",
		"HEALTH pdns.leader.*.*":      "requests, if it leads",
	},
	broker.RolePrimary: {
		"CORE _INBOX_ID.>":           "answers to itself",
		"CORE pdns.status.*.*":       "statuses",
		"CORE pdns.status.primary.*": "statuses of primaries on their way to health roles",
		"CORE pdns.status.broker.*":  "statuses of brokers on their way to health roles",
		"CORE pdns.applied.*":        "what secondaries have applied",
		"CORE pdns.settled.*":        "which states the touches of other primaries have led to",
		"CORE pdns.ask.*.*":          "questions to all",
		"CORE pdns.ask.primary.*":    "questions of primaries on their way to secondaries",
		"CORE pdns.confirm.*.*":      "confirmations",
		"CORE pdns.forget.*.*":       "requests to forget a node",
		"CORE pdns.check.*.ID":       "checks of itself",
	},
}

// subject is one in an account, or a pattern.
type subject struct{ account, pattern string }

// rights are what accounts.conf says.
type rights struct {
	publish, subscribe map[string][]subject // by node
	bridges            []bridge
}

// bridge is an import: what is published to one subject goes to the other one.
type bridge struct {
	from, to subject
	service  bool
}

// readRights parses an accounts.conf; nodes are their ids by nkey.
func readRights(text string, nodes map[string]string) (rights, error) {
	r := rights{publish: map[string][]subject{}, subscribe: map[string][]subject{}}
	parsed, err := conf.Parse(text)
	if err != nil {
		return r, err
	}
	for account, v := range parsed["accounts"].(map[string]any) {
		settings := v.(map[string]any)
		for _, v := range list(settings["users"]) {
			user := v.(map[string]any)
			permissions, _ := user["permissions"].(map[string]any)
			if err := r.addUser(account, nodes[user["nkey"].(string)], permissions); err != nil {
				return r, err
			}
		}
		for _, v := range list(settings["imports"]) {
			b, err := readImport(account, v.(map[string]any))
			if err != nil {
				return r, err
			}
			r.bridges = append(r.bridges, b)
		}
	}
	// What nats-server adds by itself: every account has the JetStream API, which the system account serves.
	for _, account := range []string{"CORE", "HEALTH", "API", "SEC"} {
		r.bridges = append(r.bridges, bridge{subject{account, "$JS.API.>"}, subject{"SYS", "$JS.API.>"}, true})
	}
	return r, nil
}

func (r rights) addUser(account, node string, permissions map[string]any) error {
	if node == "" || len(permissions) != 2 {
		return fmt.Errorf("%s: rights of %q that nobody judges: %v", account, node, permissions)
	}
	for what, allowed := range map[string]map[string][]subject{"publish": r.publish, "subscribe": r.subscribe} {
		kinds, _ := permissions[what].(map[string]any)
		patterns := list(kinds["allow"])
		if len(kinds) != 1 || len(patterns) == 0 {
			return fmt.Errorf("%s of %s: rights that nobody judges: %v", what, node, permissions)
		}
		for _, pattern := range patterns {
			allowed[node] = append(allowed[node], subject{account, pattern.(string)})
		}
	}
	return nil
}

func list(v any) []any {
	all, _ := v.([]any)
	return all
}

func readImport(account string, v map[string]any) (bridge, error) {
	for kind, what := range v {
		theirs, ok := what.(map[string]any)
		if !ok {
			continue // "to"
		}
		their := subject{theirs["account"].(string), theirs["subject"].(string)}
		our := subject{account, their.pattern}
		if as, ok := v["to"].(string); ok {
			our.pattern = as
		}
		switch kind {
		case "service":
			return bridge{our, their, true}, nil
		case "stream":
			return bridge{their, our, false}, nil
		}
	}
	return bridge{}, fmt.Errorf("%s: an import that nobody judges: %v", account, v)
}

// meet is what both patterns match.
func meet(a, b string) (string, bool) {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	var both []string
	for i := 0; ; i++ {
		if i == len(x) || i == len(y) {
			return strings.Join(both, "."), len(x) == len(y)
		}
		switch {
		case x[i] == ">":
			return strings.Join(append(both, y[i:]...), "."), true
		case y[i] == ">":
			return strings.Join(append(both, x[i:]...), "."), true
		case x[i] == "*":
			both = append(both, y[i])
		case y[i] == "*", x[i] == y[i]:
			both = append(both, x[i])
		default:
			return "", false
		}
	}
}

// cross is where a bridge brings what of the pattern it takes.
func (b bridge) cross(s subject) (there subject, ok bool) {
	if b.from.account != s.account {
		return there, false
	}
	both, ok := meet(b.from.pattern, s.pattern)
	if !ok {
		return there, false
	}
	var wild []string
	tokens := strings.Split(both, ".")
	for i, token := range strings.Split(b.from.pattern, ".") {
		switch token {
		case "*":
			wild = append(wild, tokens[i])
		case ">":
			wild = append(wild, strings.Join(tokens[i:], "."))
		}
	}
	var to []string
	for _, token := range strings.Split(b.to.pattern, ".") {
		if token == "*" || token == ">" {
			token, wild = wild[0], wild[1:]
		}
		to = append(to, token)
	}
	return subject{b.to.account, strings.Join(to, ".")}, true
}

// spread is a pattern and all that it becomes behind bridges, more than nats-server does, which crosses no two of them.
func (r rights) spread(s subject) []subject {
	all := []subject{s}
	for i := 0; i < len(all); i++ {
		for _, b := range r.bridges {
			if there, ok := b.cross(all[i]); ok && !slices.Contains(all, there) {
				all = append(all, there)
			}
		}
	}
	return all
}

// reached is what the node may publish and somebody listens to, with the node's id written ID.
func (r rights) reached(node string, listeners []subject) []string {
	var found []string
	for _, allowed := range r.publish[node] {
		for _, s := range r.spread(allowed) {
			for _, l := range listeners {
				if both, ok := meet(s.pattern, l.pattern); ok && l.account == s.account && !r.isBridge(l) {
					found = append(found, anonymous(label(l.account, both), node))
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// label names a subject; the JetStream API is one, whichever account its parts listen in.
func label(account, pattern string) string {
	if strings.HasPrefix(pattern, "$JS.API.") {
		return pattern
	}
	return account + " " + pattern
}

func (r rights) isBridge(l subject) bool {
	return slices.ContainsFunc(r.bridges, func(b bridge) bool { return b.service && b.from == l })
}

// overheard is each listener in the account of the node whose messages the node may hear, too.
func (r rights) overheard(node string, listeners []subject) []string {
	var found []string
	for _, allowed := range r.subscribe[node] {
		// nats-server takes the last token of what is subscribed to for a name: "a.*" allows "a.>" (2.15.2).
		wide := subject{allowed.account, strings.TrimSuffix(allowed.pattern, "*")}
		if wide.pattern != allowed.pattern {
			wide.pattern += ">"
		}
		for _, l := range listeners {
			if _, ok := meet(wide.pattern, l.pattern); ok && l.account == wide.account {
				found = append(found, anonymous(label(l.account, l.pattern), node))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

var (
	inboxes  = regexp.MustCompile(`_INBOX_([a-z0-9]+)\.\S+`)
	replies  = regexp.MustCompile(`_R_\.\S+`)
	accounts = regexp.MustCompile(`\$JS\.(ACK|FC)\._\.\w+`)
)

// anonymous leaves out what is another one each time, and the node's own id.
func anonymous(s, node string) string {
	s = inboxes.ReplaceAllString(s, "_INBOX_$1.>")
	s = replies.ReplaceAllString(s, "_R_.>")
	s = accounts.ReplaceAllString(s, "$$JS.$1._.HASH")
	tokens := strings.Split(s, ".")
	for i, token := range tokens {
		switch token {
		case node:
			tokens[i] = "ID"
		case "WATCH_" + node:
			tokens[i] = "WATCH_ID"
		}
	}
	return strings.ReplaceAll(strings.Join(tokens, "."), "_INBOX_"+node+".", "_INBOX_ID.")
}

// everybody connects two nodes of each kind and has them listen to all that such a node does.
func everybody(t *testing.T) (b *brokertest.Broker, ids []string) {
	t.Helper()
	ids = []string{"primary1", "primary2", "health1", "health2", "proxy1", "proxy2", "sec1", "sec2"}
	b = brokertest.Start(t, brokertest.Options{Primaries: ids[0:2], Health: ids[2:4], Proxies: ids[4:6], Secondaries: ids[6:8]})
	ensure(t, b.Connect("primary1"))
	for _, id := range ids {
		switch b.Role(id) {
		case broker.RoleSecondary:
			must.OK(t, b.Connect("primary1").ProvisionFeed(t.Context(), id))
		case broker.RoleHealth:
			must.OK(t, b.Connect("primary1").ProvisionWatch(t.Context(), id))
		}
		listenToAll(t, b.Connect(id))
	}
	_, err := b.Connect("primary1").AskLeader(t.Context(), nil) // then that account listens for answers, too
	must.OK(t, err)
	return b, ids
}

// listenToAll calls whatever of Conn subscribes and this role may.
func listenToAll(t *testing.T, c *broker.Conn) {
	t.Helper()
	ctx := t.Context()
	listen := func(stop func(), err error) {
		t.Helper()
		must.OK(t, err)
		t.Cleanup(stop)
	}
	flowing := make(chan error, 100)
	flow := func(err error) { flowing <- err }
	silent := func(context.Context, broker.Sender, []byte) []byte { return nil }
	watch := func() {
		background(t, func(ctx context.Context) error {
			return c.WatchStates(ctx, broker.StateWatcher{State: func(broker.StateMsg) {}, Flow: flow})
		})
		must.OK(t, receive(t, flowing))
	}
	switch c.Self().Role {
	case broker.RolePrimary:
		background(t, func(ctx context.Context) error { return c.Touches(ctx, func(broker.TouchMsg) {}, flow) })
		must.OK(t, receive(t, flowing))
		watch()
		listen(c.SubscribeAsk(ctx, func(zone.Name) {}))
		listen(c.ServeConfirm(ctx, silent))
		listen(c.ServeForget(ctx, silent))
		listen(c.SubscribeCheck(ctx, func([]byte) {}))
	case broker.RoleHealth:
		watch()
		listen(c.SubscribeChecked(ctx, func(string, []byte) {}))
		listen(c.SubscribeForgotten(ctx, func(string) {}))
		listen(c.ServeLeader(ctx, func(context.Context, []byte) []byte { return []byte{} }))
	case broker.RoleSecondary:
		feed(t, c, flow)
		must.OK(t, receive(t, flowing))
		listen(c.SubscribeComing(ctx, func(zone.Name) {}))
		listen(c.SubscribePublished(ctx, func(zone.Name, uint64) {}))
		listen(c.SubscribeAsk(ctx, func(zone.Name) {}))
		listen(c.SubscribeCheck(ctx, func([]byte) {}))
		return
	}
	listen(c.SubscribeApplied(ctx, func(string, []byte) {}))
	listen(c.SubscribeSettled(ctx, func([]byte) {}))
	background(t, func(ctx context.Context) error { return c.WatchStatuses(ctx, func(string, broker.StatusMsg) {}) })
}

// listeners are all subscriptions of a broker, and those that it would have with consumers that push, or during a
// backup.
func listeners(t *testing.T, b *brokertest.Broker) (all []subject) {
	t.Helper()
	for _, account := range []string{"CORE", "HEALTH", "API", "SEC", "SYS"} {
		found, err := b.Server().NATS().Subsz(&server.SubszOptions{Subscriptions: true, Account: account, Limit: 100_000})
		must.OK(t, err)
		for _, s := range found.Subs {
			all = append(all, subject{account, s.Subject})
		}
	}
	for _, name := range []string{"PDNS_ZONE.sec1", "PDNS_ZONE.sec2", "PDNS_ZONE.WATCH_health1", "PDNS_ZONE.WATCH_health2", "PDNS_TOUCH.primary"} {
		for _, pattern := range []string{
			"$JS.ACK." + name + ".*.*.*.*.*", "$JS.ACK._.RtqtexZK." + name + ".*.*.*.*.>", "$JS.FC." + name + ".*", "$JS.FC._.RtqtexZK." + name + ".*",
		} {
			all = append(all, subject{"CORE", pattern})
		}
	}
	return append(all, subject{"CORE", "$JS.SNAPSHOT.ACK.PDNS_ZONE.x.>"}, subject{"CORE", "$JS.SNAPSHOT.RESTORE.PDNS_ZONE.x"})
}

func accountsOf(t *testing.T, b *brokertest.Broker, ids []string) (text string, nodes map[string]string) {
	t.Helper()
	nodes = map[string]string{}
	for _, id := range ids {
		nodes[public(t, stolenKey(t, b, id))] = id
	}
	return string(read(t, filepath.Join(filepath.Dir(b.ConfigFile()), broker.AccountsFile))), nodes
}

// surplus lists what is found and has no reason, and reasons of what is not found any more.
func surplus(found []string, reasons map[string]string) (wrong []string) {
	used := map[string]bool{}
	for _, s := range found {
		reason := s
		for r := range reasons {
			if strings.HasSuffix(r, ">") && strings.HasPrefix(s, strings.TrimSuffix(r, ">")) {
				reason = r
			}
		}
		used[reason] = true
		if reasons[reason] == "" {
			wrong = append(wrong, "without a reason: "+s)
		}
	}
	for r := range reasons {
		if !used[r] {
			wrong = append(wrong, "a reason for what is not so: "+r)
		}
	}
	slices.Sort(wrong)
	return wrong
}

// wrongRights are all overlaps without a reason, and reasons without an overlap.
func wrongRights(b *brokertest.Broker, ids []string, r rights, all []subject) (wrong []string) {
	for _, id := range ids {
		for _, w := range surplus(r.reached(id, all), reaches[b.Role(id)]) {
			wrong = append(wrong, id+" reaches, "+w)
		}
		for _, w := range surplus(r.overheard(id, all), hearsOf[b.Role(id)]) {
			wrong = append(wrong, id+" hears of, "+w)
		}
	}
	return wrong
}

func TestRights(t *testing.T) {
	b, ids := everybody(t)
	text, nodes := accountsOf(t, b, ids)
	all := listeners(t, b)
	r, err := readRights(text, nodes)
	must.OK(t, err)
	for _, w := range wrongRights(b, ids, r, all) {
		t.Error(w)
	}
	for name, c := range map[string]struct {
		was, is []string // in turns
		want    string
	}{
		"acknowledgements of any length": {
			[]string{`"$JS.ACK.*.*.PDNS_ZONE.sec1.*.*.*.*.>"`, `"$JS.ACK.*.*.PDNS_ZONE.*.*.*.*.*.>"`}, []string{`"$JS.ACK.*.*.PDNS_ZONE.sec1.>"`, `"$JS.ACK.*.*.PDNS_ZONE.>"`},
			"sec1 reaches, without a reason: CORE $JS.ACK.PDNS_TOUCH.primary.PDNS_ZONE.ID.*.*.*",
		},
		"acknowledgements of nine tokens": {
			[]string{`"$JS.ACK.*.*.PDNS_ZONE.sec1.*.*.*.*.>"`, `"$JS.ACK.*.*.PDNS_ZONE.*.*.*.*.*.>"`}, []string{`"$JS.ACK.*.*.PDNS_ZONE.sec1.*.*.>"`, `"$JS.ACK.*.*.PDNS_ZONE.*.*.*.>"`},
			"sec1 reaches, without a reason: CORE $JS.ACK.PDNS_TOUCH.primary.PDNS_ZONE.ID.*.*.*",
		},
		"touches in any name": {
			[]string{`"pdns.touch.health.health1.>"`, `"pdns.touch.health.*.>"`}, []string{`"pdns.touch.>"`, `"pdns.touch.>"`},
			"health1 reaches, without a reason: CORE pdns.touch.*.*.>",
		},
		"another's feed": {
			[]string{`"P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.WATCH_health1"`}, []string{`"P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.*"`},
			"health1 reaches, without a reason: $JS.API.CONSUMER.MSG.NEXT.PDNS_ZONE.sec1",
		},
		"another's inbox":   {[]string{`"_INBOX_sec1.>"`}, []string{`"*.>"`}, "sec1 hears of, without a reason: SEC _INBOX_sec2.>"},
		"another's request": {[]string{`"_INBOX_sec1.>"`}, []string{`"P.API.>"`}, "sec1 hears of, without a reason: SEC P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.*"},
	} {
		altered := text
		for i := range c.was {
			if !strings.Contains(altered, c.was[i]) {
				t.Fatalf("%s: %s is not in accounts.conf", name, c.was[i])
			}
			altered = strings.ReplaceAll(altered, c.was[i], c.is[i])
		}
		r, err := readRights(altered, nodes)
		must.OK(t, err)
		if wrong := wrongRights(b, ids, r, all); !slices.Contains(wrong, c.want) {
			t.Errorf("%s: not found; found: %q", name, wrong)
		}
	}
	answering := strings.Replace(text, `"_INBOX_sec1.>", "pdns.coming.*"`, `"_INBOX_sec1.>" ] }, allow_responses: true, x { allow: [ "pdns.coming.*"`, 1)
	if _, err := readRights(answering, nodes); err == nil || answering == text {
		t.Errorf("allow_responses: %v", err)
	}
}

// meet is compared with every subject there is of a few tokens, and with nats-server's own judgement.
func TestMeet(t *testing.T) {
	tokens := func(of string, n int) (all []string) {
		all = strings.Split(of, "")
		for from := 0; n > 1; n-- {
			to := len(all)
			for _, prefix := range all[from:to] {
				for _, token := range strings.Split(of, "") {
					all = append(all, prefix+"."+token)
				}
			}
			from = to
		}
		return all
	}
	literals := tokens("ab", 5)
	patterns := slices.DeleteFunc(tokens("ab*>", 4), func(p string) bool { return strings.Contains(strings.TrimSuffix(p, ">"), ">") })
	matches := func(subject, pattern string) bool { return server.SubjectsCollide(subject, pattern) }
	for _, a := range patterns {
		for _, b := range patterns {
			both, ok := meet(a, b)
			if ok != server.SubjectsCollide(a, b) {
				t.Fatalf("%s and %s: %v", a, b, ok)
			}
			for _, l := range literals {
				if want := matches(l, a) && matches(l, b); want != (ok && matches(l, both)) {
					t.Fatalf("%s and %s are said to meet in %q (%v); %s: %v", a, b, both, ok, l, want)
				}
			}
		}
	}
}
