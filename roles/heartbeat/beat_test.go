package heartbeat

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/local/localtest"
	"pdns-distribute/powerdns/zone"
)

// What is taken for a beat is one that this package writes.
func FuzzBeat(f *testing.F) {
	f.Add("primary1", "17 1764277470123 ABCDEFG")
	f.Add("a", "0 -1 x")
	f.Add("a", "01 1 x")
	f.Add("", "1 1 ")
	f.Fuzz(func(t *testing.T, node, text string) {
		b, err := parseBeat(node, text)
		if err == nil && (b.text() != text || b.Node != node) {
			t.Fatalf("%q became %+v", text, b)
		}
	})
}

func TestFirstString(t *testing.T) {
	for data, want := range map[string]string{"": "", "\x03abc": "abc", "\x02abc": "", "\x04abc": "", "\x01a\x01b": "", "\x00": ""} {
		if got := firstString([]byte(data)); got != want {
			t.Errorf("%q gives %q, want %q", data, got, want)
		}
	}
}

// gate is an API that can be closed.
type gate struct {
	Writer
	shut atomic.Bool
}

func (g *gate) Patch(ctx context.Context, n zone.Name, sets []powerdns.RRset) error {
	if g.shut.Load() {
		return powerdns.ErrUnavailable
	}
	return g.Writer.Patch(ctx, n, sets)
}

// A heart proves that a moment has passed in PowerDNS's database, by the own server or another one, and tells when none
// takes its beats.
func TestHeart(t *testing.T) {
	t.Parallel()
	server := localtest.Start(t, local.Options{Primary: true})
	api, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	own, other := &gate{Writer: api}, &gate{Writer: api}
	turned := make(chan struct{}, 100)
	h := New(Options{
		Node: "primary1", Instance: "ONE", Own: own, Others: []Writer{other}, Address: server.DNSAddr,
		Acts: func() bool { return true }, Turned: func() { turned <- struct{}{} },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	now := time.Now()
	h.Await(t.Context(), now)
	if s := h.State(); h.Proven().Before(now) || !s.Writes || s.Fault != nil || s.Beats["primary1"].IsZero() {
		t.Errorf("proven %s, %+v", h.Proven(), s)
	}
	<-turned
	own.shut.Store(true)
	<-turned
	now = time.Now()
	h.Await(t.Context(), now)
	if s := h.State(); h.Proven().Before(now) || s.Writes || s.Fault != nil {
		t.Errorf("by the other server: proven %s, %+v", h.Proven(), s)
	}
	other.shut.Store(true)
	short, end := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer end()
	now = time.Now()
	h.Await(short, now)
	if s := h.State(); !h.Proven().Before(now) || !errors.Is(s.Fault, powerdns.ErrUnavailable) {
		t.Errorf("by none: proven %s, %+v", h.Proven(), s)
	}
	other.shut.Store(false)
	h.Await(t.Context(), time.Now())
	if (*Heart)(nil).Proven().Before(now) {
		t.Error("the only database is not the truth")
	}
}
