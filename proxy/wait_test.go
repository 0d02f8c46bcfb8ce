package proxy

import (
	"context"
	"net/http"
	"net/http/httptest"
	"pdns-distribute/powerdns/must"
	"testing"
	"time"
)

func TestPreferredWait(t *testing.T) {
	for _, test := range []struct {
		values []string
		want   time.Duration
		asked  bool
	}{
		{nil, 0, false},
		{[]string{"wait=10"}, 10 * time.Second, true},
		{[]string{"WAIT = 10"}, 10 * time.Second, true},
		{[]string{`wait="10"`}, 10 * time.Second, true},
		{[]string{"respond-async, wait=100; x=y"}, 100 * time.Second, true},
		{[]string{"handling=lenient", "wait=3, wait=5"}, 3 * time.Second, true},
		{[]string{"wait=0"}, 0, true},
		{[]string{"wait"}, 0, false},
		{[]string{"wait=-1"}, 0, false},
		{[]string{"wait=1.5"}, 0, false},
		{[]string{"wait=99999999999999999999"}, 0, false},
		{[]string{"await=5"}, 0, false},
		{[]string{",,=;"}, 0, false},
	} {
		got, asked := preferredWait(http.Header{"Prefer": test.values})
		if got != test.want || asked != test.asked {
			t.Errorf("%q: %s, %v; want %s, %v", test.values, got, asked, test.want, test.asked)
		}
	}
}

// A proxy that is stopped keeps nobody waiting: the write has happened.
func TestHeldAnswersGoOutWhenTheProxyStops(t *testing.T) {
	powerdns := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer powerdns.Close()
	p, err := newProxy(newConfig(t), powerdns.URL, &queue{})
	must.OK(t, err)
	p.trust()
	p.tracker.Seen("ns1", time.Now())
	p.tracker.Resumed()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	conn := p.dial(t)
	answered := make(chan answer, 1)
	go func() {
		answered <- call{method: "PATCH", target: zonesPath + "/example.org.", body: "{}", header: http.Header{"Prefer": {"wait=30"}}}.over(t, conn)
	}()
	for held := false; !held; {
		select {
		case a := <-answered:
			t.Fatalf("was not held: %+v", a)
		case <-time.After(time.Millisecond):
			p.tracker.mu.Lock()
			held = len(p.tracker.watches) > 0
			p.tracker.mu.Unlock()
		}
	}
	stop()
	if a := <-answered; a.status != http.StatusNoContent || a.header.Get(HeaderStatus) != StatusPending || a.header.Get(HeaderMissing) != "ns1" {
		t.Errorf("%d %v", a.status, a.header)
	}
	must.OK(t, <-ended)
}

func FuzzPreferredWait(f *testing.F) {
	f.Add("respond-async, wait=100; x=y")
	f.Fuzz(func(t *testing.T, value string) {
		if wait, asked := preferredWait(http.Header{"Prefer": {value}}); wait < 0 || wait > 0 && !asked {
			t.Errorf("%q: %s, %v", value, wait, asked)
		}
	})
}
