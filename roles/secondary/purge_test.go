package secondary

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// echo answers each question with itself, as an answer, and counts them.
func echo(t *testing.T) (address string, asked *atomic.Int64) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must.OK(t, err)
	asked = &atomic.Int64{}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 512)
		for {
			n, peer, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			asked.Add(1)
			buf[2] |= 0x80
			_, _ = conn.WriteTo(buf[:n], peer)
		}
	})
	t.Cleanup(func() { conn.Close(); wg.Wait() })
	return conn.LocalAddr().String(), asked
}

// purged is an API that notes which names it is told to purge.
func purged(t *testing.T) (api *powerdns.Client, names func() []string) {
	t.Helper()
	var mu sync.Mutex
	var list []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // which is whole when the barrier is passed
		mu.Lock()
		list = append(list, r.URL.Query().Get("domain"))
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"count": 1, "result": "Flushed cache."}`)
	}))
	t.Cleanup(s.Close)
	api, err := powerdns.NewClient(powerdns.Config{
		APIURL: s.URL, APIKey: "key", DNSAddress: "127.0.0.1:1", ServerID: "localhost", Timeout: time.Minute, ListTimeout: time.Minute, Connections: 8,
	})
	must.OK(t, err)
	return api, func() []string {
		mu.Lock()
		defer mu.Unlock()
		taken := slices.Sorted(slices.Values(list))
		list = nil
		return taken
	}
}

// Few zones are purged one by one. Many that come while others wait share a barrier and a purge of all.
func TestPurgesAreShared(t *testing.T) {
	address, asked := echo(t)
	api, names := purged(t)
	example := zone.MustParseName("one.example.")
	p := newPurges(api, address)
	must.OK(t, p.pass(t.Context(), example, 0, nil))
	one := asked.Load()
	if one < int64(defaultThreads.Distributors) {
		t.Fatalf("%d questions for %d threads", one, defaultThreads.Distributors)
	}
	if got := names(); !slices.Equal(got, []string{"one.example."}) {
		t.Errorf("purged %q", got)
	}

	together := func(n int) {
		p.turn <- struct{}{} // a round is under way
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				if err := p.pass(t.Context(), waitingZone(i), 0, nil); err != nil {
					t.Error(err)
				}
			})
		}
		for !p.has(n) {
			runtime.Gosched()
		}
		<-p.turn
		wg.Wait()
	}
	before := asked.Load()
	together(purgedApart)
	if got := names(); !slices.Equal(got, []string{"z0.example.", "z1.example."}) {
		t.Errorf("purged %q", got)
	}
	together(50)
	if got := names(); !slices.Equal(got, []string{"."}) {
		t.Errorf("purged %q", got)
	}
	if all := asked.Load() - before; all != 2*one {
		t.Errorf("two rounds took %d questions, one takes %d", all, one)
	}

	p.configure(threadsOf(map[string]string{"distributor-threads": "1"}), true)
	before = asked.Load()
	must.OK(t, p.pass(t.Context(), example, 0, nil))
	if n := asked.Load() - before; n >= 2*one {
		t.Errorf("%d questions for one thread twice, %d for three", n, one)
	}
	if got := names(); !slices.Equal(got, []string{"one.example.", "one.example."}) {
		t.Errorf("with a query cache purged %q", got)
	}
	r, first := p.join(example)
	p.begin()
	if again, leads := p.join(example); !first || !leads || again == r {
		t.Error("a round takes in who came after it began")
	}
}

func waitingZone(i int) zone.Name { return zone.MustParseName(fmt.Sprintf("z%d.example.", i)) }

// has tells whether so many zones wait.
func (p *purges) has(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next != nil && len(p.next.names) == n
}
