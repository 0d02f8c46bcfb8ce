package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
)

// altered is a confirmation's text with something else in it.
func altered(t *testing.T, c broker.Confirmation, change func(*broker.Confirmation)) []byte {
	t.Helper()
	change(&c)
	return []byte(text(t, c))
}

func TestConfirmations(t *testing.T) {
	t.Parallel()
	b, _ := start(t)
	health := b.Connect("health1")
	id := public(t, stolenKey(t, b, "health1"))
	given, err := health.Confirm("primary1", 7)
	must.OK(t, err)
	good := []byte(text(t, given))
	at := given.At
	stranger := key(t, nkeys.CreateUser)
	other, err := b.Connect("primary1").Confirm("primary1", 7)
	must.OK(t, err)
	is := func(change func(*broker.Confirmation)) []byte { return altered(t, given, change) }
	for name, c := range map[string]struct {
		text []byte
		now  time.Time
		want string
	}{
		"good":                    {good, at, ""},
		"just in time":            {good, at.Add(broker.ConfirmationTime), ""},
		"just ahead":              {good, at.Add(-broker.ConfirmationAhead), ""},
		"late":                    {good, at.Add(broker.ConfirmationTime + time.Millisecond), "give it anew, and see that the clocks agree"},
		"ahead":                   {good, at.Add(-broker.ConfirmationAhead - time.Millisecond), "clocks agree"},
		"another count":           {is(func(c *broker.Confirmation) { c.Count++ }), at, "signature"},
		"another node":            {is(func(c *broker.Confirmation) { c.Node = "primary2" }), at, "signature"},
		"another time":            {is(func(c *broker.Confirmation) { c.At = c.At.Add(time.Millisecond) }), at, "signature"},
		"no zone":                 {is(func(c *broker.Confirmation) { c.Count = 0 }), at, "for no zone"},
		"fewer than none":         {is(func(c *broker.Confirmation) { c.Count = -7 }), at, "for no zone"},
		"no node":                 {is(func(c *broker.Confirmation) { c.Node = "" }), at, "names no node"},
		"all nodes":               {is(func(c *broker.Confirmation) { c.Node = "*" }), at, "names no node"},
		"no signature":            {is(func(c *broker.Confirmation) { c.Sig = nil }), at, "signature"},
		"half a signature":        {is(func(c *broker.Confirmation) { c.Sig = c.Sig[:32] }), at, "signature"},
		"no signer":               {is(func(c *broker.Confirmation) { c.By = "" }), at, "confirm_keys"},
		"a key that is not ours":  {is(func(c *broker.Confirmation) { c.By = public(t, stranger) }), at, "confirm_keys"},
		"another node's key":      {[]byte(text(t, other)), at, "confirm_keys"},
		"another node's name":     {altered(t, other, func(c *broker.Confirmation) { c.By = id }), at, "signature"},
		"nothing":                 {nil, at, "cannot be read"},
		"a list":                  {[]byte("[]"), at, "cannot be read"},
		"a count that is no such": {[]byte(strings.Replace(string(good), `"count":7`, `"count":7.5`, 1)), at, "cannot be read"},
		"a name without an end":   {is(func(c *broker.Confirmation) { c.By = strings.Repeat("U", 5000) }), at, "confirm_keys"},
	} {
		taken, err := (&broker.Confirmations{Keys: []string{id}}).Take(c.text, c.now)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || len(err.Error()) > 300) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err == nil && (taken.Node != "primary1" || taken.Count != 7 || taken.By != id || !taken.At.Equal(at)) {
			t.Errorf("%s: %+v", name, taken)
		}
	}
	if _, err := b.Connect("sec1").Confirm("primary1", 1); err != nil { // who may bring it is the broker's to say
		t.Error(err)
	}
}

// A confirmation counts once, in whichever order it comes with others, and however its text is written.
func TestConfirmationsCountOnce(t *testing.T) {
	b, _ := start(t)
	health := b.Connect("health1")
	give := func(node string) (given broker.Confirmation) {
		given, err := health.Confirm(node, 3)
		must.OK(t, err)
		time.Sleep(2 * time.Millisecond) // times of confirmations differ by milliseconds
		return given
	}
	first, second, elsewhere := give("primary1"), give("primary1"), give("sec1")
	now := second.At
	k := broker.Confirmations{Keys: []string{public(t, stolenKey(t, b, "health1"))}}
	take := func(what string, text []byte, good bool) {
		t.Helper()
		if _, err := k.Take(text, now); (err == nil) != good || err != nil && !strings.Contains(err.Error(), "was used before") {
			t.Errorf("%s: %v", what, err)
		}
	}
	bytes := func(c broker.Confirmation) []byte { return []byte(text(t, c)) }
	if _, err := k.Take(altered(t, second, func(c *broker.Confirmation) { c.Count = 1000 }), now); err == nil {
		t.Error("an altered one counts")
	}
	take("the second, of which an altered one came before", bytes(second), true)
	take("again", bytes(second), false)
	take("with other microseconds", altered(t, second, func(c *broker.Confirmation) { c.At = c.At.Add(999 * time.Microsecond) }), false)
	take("in another zone", altered(t, second, func(c *broker.Confirmation) { c.At = c.At.In(time.FixedZone("x", 3600)) }), false)
	take("with more in it", []byte(strings.Replace(text(t, second), "{", `{"x":1,`, 1)), false)
	take("an earlier one", bytes(first), false)
	take("one for another node", bytes(elsewhere), true)
	take("a later one", bytes(give("primary1")), true)
	last := give("primary1")
	k = broker.Confirmations{Keys: k.Keys, Since: last.At.Add(time.Millisecond)}
	if _, err := k.Take(bytes(last), now); err == nil || !strings.Contains(err.Error(), "older than the role") {
		t.Errorf("one from before the process: %v", err)
	}
}

// Without keys whoever may send one is believed, and the name in it is nobody's. It counts once all the same.
func TestConfirmationsWithoutKeys(t *testing.T) {
	e := startExisting(t, "", func(*existing) string {
		return `accounts { PDNS { jetstream: enabled, users: [ { user: "node1", password: "secret" } ] } }`
	})
	cfg := e.config()
	cfg.User, cfg.PasswordFile = "node1", e.write("secret", []byte("secret"))
	conn, err := broker.Connect(cfg, broker.Options{Node: "node1", Role: broker.RoleHealth})
	must.OK(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	given, err := conn.Confirm("primary1", 2)
	must.OK(t, err)
	if given.By != "" || given.Sig != nil {
		t.Errorf("signed without a key: %+v", given)
	}
	var k broker.Confirmations
	for i, by := range []string{"UEVIL", "UEVEN", ""} {
		taken, err := k.Take(altered(t, given, func(c *broker.Confirmation) { c.By = by }), given.At)
		if (err == nil) != (i == 0) || taken.By != "" {
			t.Errorf("by %q: %+v, %v", by, taken, err)
		}
	}
	signed := broker.Confirmations{Keys: []string{public(t, key(t, nkeys.CreateUser))}}
	if _, err := signed.Take([]byte(text(t, given)), given.At); err == nil {
		t.Error("one without a signature counts where keys are given")
	}
}

// A confirmation reaches every primary, and the answer of the one that it names comes back; others say nothing.
func TestRequestsToPrimaries(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	health := b.Connect("health1")
	for what, ask := range map[string]func() ([]byte, error){
		"confirm": func() ([]byte, error) { return health.RequestConfirm(t.Context(), nil) },
		"forget":  func() ([]byte, error) { return health.RequestForget(t.Context(), "sec1") },
	} {
		if _, err := ask(); !errors.Is(err, broker.ErrNoPrimary) {
			t.Errorf("%s without a primary: %v", what, err)
		}
	}
	other := b.Connect("primary2")
	serve := func(c *broker.Conn) {
		answer := func(what string) func(context.Context, broker.Sender, []byte) []byte {
			return func(_ context.Context, from broker.Sender, request []byte) []byte {
				if c == other {
					return nil
				}
				return fmt.Appendf(nil, "%s %s of %s", what, request, from)
			}
		}
		stop, err := c.ServeConfirm(t.Context(), answer("confirm"))
		must.OK(t, err)
		t.Cleanup(stop)
		stop, err = c.ServeForget(t.Context(), answer("forget"))
		must.OK(t, err)
		t.Cleanup(stop)
	}
	serve(primary)
	serve(other)
	for from, c := range map[string]*broker.Conn{"health health1": health, "primary primary2": other, "primary primary1": primary} {
		confirmed, err1 := c.RequestConfirm(t.Context(), []byte("it"))
		forgot, err2 := c.RequestForget(t.Context(), "sec1")
		if err := errors.Join(err1, err2); err != nil || string(confirmed) != "confirm it of "+from || string(forgot) != "forget sec1 of "+from {
			t.Errorf("%q, %q, %v", confirmed, forgot, err)
		}
	}
}

func FuzzConfirmations(f *testing.F) {
	signer, err := nkeys.CreateUser()
	must.OK(f, err)
	id, err := signer.PublicKey()
	must.OK(f, err)
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	genuine := func(node string, count int) []byte {
		c := broker.Confirmation{Node: node, Count: count, At: now, By: id}
		c.Sig, err = signer.Sign(fmt.Appendf(nil, "pdns-distribute confirm deletions\x00%s\x00%d\x00%d", node, count, now.UnixMilli()))
		must.OK(f, err)
		text, err := json.Marshal(c)
		must.OK(f, err)
		return text
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"node":"primary1","count":1,"at":"2026-11-27T12:00:00Z"}`))
	f.Add(genuine("primary1", 1))
	f.Add(genuine("sec1", 1<<40))
	f.Fuzz(func(t *testing.T, said []byte) {
		for _, k := range []broker.Confirmations{{Keys: []string{id}}, {}} {
			c, err := k.Take(said, now)
			if err != nil {
				continue
			}
			if broker.CheckNodeID(c.Node) != nil || c.Count < 1 || now.Sub(c.At) > broker.ConfirmationTime || c.At.Sub(now) > broker.ConfirmationAhead || (c.By != "") != (k.Keys != nil) {
				t.Errorf("%+v counts", c)
			}
			if k.Keys != nil && !slices.ContainsFunc([]string{"primary1", "sec1"}, func(node string) bool { return node == c.Node }) {
				t.Errorf("%+v counts, which nobody signed", c)
			}
			if _, err := k.Take(said, now); err == nil {
				t.Errorf("%+v counts twice", c)
			}
		}
	})
}
