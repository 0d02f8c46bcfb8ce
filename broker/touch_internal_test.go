package broker

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// queued is a message as it comes from the queue.
type queued struct {
	jetstream.Msg
	subject string
	header  nats.Header
}

func (q queued) Subject() string      { return q.subject }
func (q queued) Headers() nats.Header { return q.header }

func (q queued) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Consumer: 1, Stream: 7}, NumDelivered: 1}, nil
}

// headerOf reads lines "key: value".
func headerOf(text string) nats.Header {
	h := nats.Header{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
			h[key] = append(h[key], value)
		}
	}
	return h
}

// What is taken for a touch is one that its sender could have published with this package, and says no more.
func FuzzTouch(f *testing.F) {
	f.Add("pdns.touch.proxy.p1.example.a", "Pdns-Cause: changed\nPdns-Shown-Serial: 17\nPdns-At: 2026-11-27T12:00:00Z\n")
	f.Add("pdns.touch.proxy.p1.=", "Pdns-Cause: deleted\n")
	f.Add("pdns.touch.health.h1.example.=2a", "Pdns-Cause: ordered\nPdns-Again: *\nPdns-Term: 1790000000000000000-17\n")
	f.Add("pdns.touch.primary.x.com", "Pdns-Cause: ordered\nPdns-Again: sec1\nPdns-Shown-Serial: 1\n")
	f.Add("pdns.touch.secondary.s1.com", "Pdns-Cause: changed\nPdns-Cause: deleted\n")
	f.Add("pdns.sweep.proxy.p1", "")
	f.Add("pdns.sweep.health.h1", "")
	f.Add("pdns.sweep.proxy.p1.x", "")
	f.Add("pdns.touch.proxy..com", "")
	f.Fuzz(func(t *testing.T, subject, header string) {
		h := headerOf(header)
		m, err := newTouchMsg(delivery{Msg: queued{subject: subject, header: h}})
		if err != nil {
			return
		}
		if !slices.Contains(Roles, m.From.Role) || CheckNodeID(m.From.Node) != nil || m.Seq != 7 {
			t.Fatalf("%q is of %+v", subject, m)
		}
		if m.Sweep {
			if m.From.Role == RoleHealth || m.From.Role == RoleSecondary {
				t.Fatalf("%s has all swept", m.From)
			}
			if subject != "pdns.sweep."+string(m.From.Role)+"."+m.From.Node || m.Zone != "" || m.Cause != "" || m.Again != "" || m.Serial != nil || !m.Term.IsZero() {
				t.Fatalf("%q is %+v", subject, m)
			}
			return
		}
		spelled, err := zoneSubject("pdns.touch."+string(m.From.Role)+"."+m.From.Node+".", m.Zone)
		if err != nil || spelled != subject {
			t.Fatalf("%q of zone %s is spelled %q (%v)", subject, m.Zone, spelled, err)
		}
		wantPermitted(t, m)
		for _, key := range []string{"Pdns-Cause", "Pdns-At", "Pdns-Again", "Pdns-Term", "Pdns-Shown-Serial"} {
			if len(h[key]) > 1 {
				t.Fatalf("%q is a touch", h)
			}
		}
	})
}

// wantPermitted says once more, in other words than the code, what each role may say.
func wantPermitted(t *testing.T, m TouchMsg) {
	t.Helper()
	may := false
	switch m.From.Role {
	case RoleProxy:
		may = m.Cause == Changed || m.Cause == Deleted && m.Serial == nil
		may = may && m.Again == "" && m.Term.IsZero()
	case RoleHealth, RolePrimary:
		may = m.Cause == Ordered && (m.Again == "*" || CheckNodeID(m.Again) == nil) && m.Serial == nil
	}
	if !may {
		t.Fatalf("%+v is a touch of %s", m.Touch, m.From)
	}
}

// A sender that is read is written the same, and what follows it is the rest.
func FuzzSender(f *testing.F) {
	f.Add("pdns.status.", "pdns.status.proxy.p1")
	f.Add("pdns.touch.", "pdns.touch.health.h1.com.example")
	f.Add("pdns.ask.", "pdns.ask.*.*")
	f.Add("pdns.ask.", "pdns.ask.primary.primary1.")
	f.Add("", "secondary.s1")
	f.Fuzz(func(t *testing.T, prefix, subject string) {
		from, rest, err := subjectSender(prefix, subject)
		whole, wholeErr := wholeSender(prefix, subject)
		if err != nil {
			if wholeErr == nil {
				t.Fatalf("%q is a whole sender, and no sender", subject)
			}
			return
		}
		if !slices.Contains(Roles, from.Role) || CheckNodeID(from.Node) != nil || strings.ContainsAny(from.Node, ".*> ") {
			t.Fatalf("%q is of %+v", subject, from)
		}
		head := from.subject(prefix)
		if subject != head && subject != head+"."+rest {
			t.Fatalf("%q is %q and %q", subject, head, rest)
		}
		if (wholeErr == nil) != (subject == head) || wholeErr == nil && whole != from {
			t.Fatalf("%q is whole: %v", subject, wholeErr)
		}
	})
}

// A primary is not to be told of a pause that is over.
func TestPaused(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	before, after := now.Add(-time.Second), now.Add(time.Second)
	for _, c := range []struct {
		until *time.Time
		want  string
	}{{nil, ""}, {&before, ""}, {&now, ""}, {&after, "2026-11-27T12:00:01Z"}} {
		if got := paused(c.until, now); got != c.want {
			t.Errorf("%v: %q", c.until, got)
		}
	}
}
