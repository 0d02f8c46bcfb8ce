package proxy

import (
	"fmt"
	"net"
	"pdns-distribute/powerdns/must"
	"testing"
	"time"
)

// visits is a listener that nobody comes to: a test brings connections itself, one after the other.
type visits struct{}

func (visits) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (visits) Close() error              { return nil }
func (visits) Addr() net.Addr            { return &net.TCPAddr{} }

// visit is a connection and what became of it.
type visit struct {
	net.Conn
	name   string
	from   net.Addr
	closed chan struct{}
}

func (v *visit) RemoteAddr() net.Addr { return v.from }

func (v *visit) Close() error {
	select {
	case <-v.closed:
	default:
		close(v.closed)
	}
	return nil
}

// Read gives as much as is asked for.
func (v *visit) Read(b []byte) (int, error) { return len(b), nil }

// house are places with those who came.
type house struct {
	*places
	t    *testing.T
	all  map[string]*visit
	here map[string]*place
}

func newHouse(t *testing.T, total, share int) *house {
	h := &house{newPlaces(visits{}, total, share), t, map[string]*visit{}, map[string]*place{}}
	t.Cleanup(func() { must.OK(t, h.Close()) })
	return h
}

// arrives has connections come from an address, named by it and a letter each.
func (h *house) arrives(ip string, letters string) {
	for _, letter := range letters {
		v := &visit{nil, fmt.Sprintf("%s%c", ip, letter), &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}, make(chan struct{})}
		h.all[v.name] = v
		h.arrive(v)
	}
}

// accepts takes the next and demands who it is.
func (h *house) accepts(names ...string) {
	h.t.Helper()
	for _, want := range names {
		conn, err := h.Accept()
		must.OK(h.t, err)
		c := conn.(*place)
		if got := c.Conn.(*visit).name; got != want {
			h.t.Fatalf("%s has a place, want %s", got, want)
		}
		h.here[want] = c
	}
}

// loses waits until these are closed, and demands that no others are.
func (h *house) loses(names ...string) {
	h.t.Helper()
	for _, name := range names {
		await(h.t, h.all[name].closed)
		delete(h.all, name)
	}
	for name, v := range h.all {
		select {
		case <-v.closed:
			h.t.Errorf("%s is closed as well", name)
		default:
		}
	}
}

func TestPlacesOfOneSource(t *testing.T) {
	h := newHouse(t, 10, 3)
	h.arrives("192.0.2.1", "abc")
	h.accepts("192.0.2.1a", "192.0.2.1b", "192.0.2.1c")
	h.here["192.0.2.1a"].prove(true)
	h.arrives("192.0.2.1", "d") // the oldest without a key makes room
	h.accepts("192.0.2.1d")
	h.loses("192.0.2.1b")
	h.arrives("192.0.2.2", "a") // others have their own
	h.accepts("192.0.2.2a")
	h.here["192.0.2.1c"].prove(true)
	h.here["192.0.2.1d"].prove(true)
	h.arrives("192.0.2.1", "ef") // and now they wait
	h.arrives("192.0.2.2", "b")
	h.accepts("192.0.2.2b")
	h.loses()
	must.OK(t, h.here["192.0.2.1c"].Close())
	h.accepts("192.0.2.1e")
	h.here["192.0.2.1a"].prove(false) // its key is none any more
	h.arrives("192.0.2.1", "g")
	h.accepts("192.0.2.1g")
	h.loses("192.0.2.1c", "192.0.2.1e") // which came before a was found out
	if n := h.sources[sourceOf("192.0.2.1:1")]; n.taken != 3 || n.waiting != 1 {
		t.Errorf("%+v", n)
	}
}

func TestPlacesInAll(t *testing.T) {
	h := newHouse(t, 4, 3)
	h.arrives("192.0.2.1", "a")
	h.arrives("2001:db8::1", "a")
	h.arrives("2001:db8::ffff:2", "b") // of the same host
	h.accepts("192.0.2.1a", "2001:db8::1a", "2001:db8::ffff:2b")
	h.arrives("192.0.2.3", "a")
	h.accepts("192.0.2.3a")
	h.arrives("192.0.2.4", "a") // who has most of them makes room
	h.accepts("192.0.2.4a")
	h.loses("2001:db8::1a")
	for _, c := range h.here {
		c.prove(true)
	}
	h.arrives("192.0.2.5", "ab")
	h.loses()
	must.OK(t, h.here["192.0.2.3a"].Close())
	h.accepts("192.0.2.5a")
	h.arrives("192.0.2.6", "a") // it has not shown a key yet
	h.accepts("192.0.2.6a")
	h.loses("192.0.2.3a", "192.0.2.5a")
}

// Who waits does so for a while, and in bounded numbers.
func TestWaitingForAPlace(t *testing.T) {
	h := newHouse(t, 2, 1)
	h.patience = time.Millisecond
	h.arrives("192.0.2.1", "a")
	h.accepts("192.0.2.1a")
	h.here["192.0.2.1a"].prove(true)
	h.arrives("192.0.2.1", "b")
	h.loses("192.0.2.1b")
	h.patience = time.Hour
	h.arrives("192.0.2.1", "c")
	h.arrives("192.0.2.1", "d") // one waits already
	h.loses("192.0.2.1d")
	must.OK(t, h.Close())
	h.loses("192.0.2.1c")
	if _, err := h.Accept(); err == nil {
		t.Error("a connection after the end")
	}
}

// Of those within a long header there are few. The oldest of the source with most of them is ended for another one.
func TestLongHeaders(t *testing.T) {
	h := newHouse(t, 1000, 1000)
	many := string(letters(maxHeavy))
	h.arrives("192.0.2.1", many)
	h.arrives("192.0.2.2", "abc")
	for _, letter := range many {
		h.accepts(fmt.Sprintf("192.0.2.1%c", letter))
	}
	h.accepts("192.0.2.2a", "192.0.2.2b", "192.0.2.2c")
	h.here["192.0.2.2c"].prove(true)
	read := func(name string, n int) {
		_, err := h.here[name].Read(make([]byte, n))
		must.OK(t, err)
	}
	for name := range h.here {
		read(name, longHeader)
	}
	h.loses()
	read("192.0.2.2a", 1)
	h.here["192.0.2.2a"].requested() // it is complete
	read("192.0.2.2b", 1)
	for _, letter := range many {
		read(fmt.Sprintf("192.0.2.1%c", letter), 1)
	}
	h.loses("192.0.2.1a")
	read("192.0.2.2c", 1<<20)
	h.loses()
	read("192.0.2.2a", longHeader+1)
	h.loses("192.0.2.1b")
	for _, c := range h.here {
		must.OK(t, c.Close())
	}
	if h.heavy != 0 || h.taken != 0 || len(h.sources) != 0 {
		t.Errorf("%d are heavy, %d have places, of %d sources", h.heavy, h.taken, len(h.sources))
	}
}

// letters are n names of one letter each.
func letters(n int) (all []rune) {
	for r := range rune(n) {
		all = append(all, 'a'+r)
	}
	return all
}

// Connections without a key keep nobody out, and the proxy's own client is none of them.
func TestSlowlorisOfTheSameAddress(t *testing.T) {
	real := startPowerDNS(t)
	cfg := newConfig(t)
	cfg.MaxConnections, cfg.MaxConnectionsPerSource = 100, 20
	p, err := newProxy(cfg, real.APIURL, &queue{})
	must.OK(t, err)
	p.run(t)
	good := p.client(t, false)
	get := func() int {
		return real.call("GET", zonesPath, "").through(t, good, "https://"+p.Addr().String())
	}
	if status := get(); status != 200 {
		t.Fatal(status)
	}
	for range 5 * cfg.MaxConnectionsPerSource {
		conn, err := net.Dial("tcp", p.Addr().String())
		must.OK(t, err)
		defer conn.Close()
	}
	good.Transport.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	for range 3 {
		if status := get(); status != 200 {
			t.Error(status)
		}
	}
	p.places.mu.Lock()
	defer p.places.mu.Unlock()
	if p.places.taken > cfg.MaxConnectionsPerSource {
		t.Errorf("%d connections are open", p.places.taken)
	}
}
