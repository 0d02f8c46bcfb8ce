package proxy

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// places is a listener that bounds the connections of clients, in all and for each source. A connection is proven once
// a request over it came with a good key or a client certificate. Where there is no place for a new one the oldest of
// those that are not proven makes room: of the same source, or of the source that has most of them. So who holds
// connections without a key keeps nobody out. Only where all are proven does the new one wait in order, for a while.
//
// A header of many small lines takes twenty times its bytes in memory until it is complete (net/http of Go 1.26: 1.3
// MB of 64 KB). So only few connections that are not proven may be within a long one.
type places struct {
	listener net.Listener
	total    int
	share    int // of one source
	patience time.Duration
	more     chan struct{} // gets a value when there is something to accept
	ended    chan struct{} // closed when there will be nothing more

	mu      sync.Mutex
	closed  bool
	taken   int
	heavy   int // connections that are not proven and within a long header
	sources map[netip.Addr]*visitors
	waiting list.List // of *place, in order
	ready   list.List // of *place: have theirs, and are to be accepted
}

// visitors are the connections of one source.
type visitors struct {
	taken    int       // places
	waiting  int       // for one
	unproven list.List // of *place, the oldest in front
	heavy    list.List // of *place: those of them within a long header
}

const (
	// placePatience is how long a connection waits for a place.
	placePatience = 10 * time.Second

	// longHeader is how many bytes from a client make it a heavy one, the handshake included; maxHeavy is how many of
	// these there may be.
	longHeader = 4 << 10
	maxHeavy   = 32
)

func newPlaces(l net.Listener, total, share int) *places {
	return &places{
		listener: l, total: total, share: min(share, total), patience: placePatience,
		more: make(chan struct{}, 1), ended: make(chan struct{}), sources: map[netip.Addr]*visitors{},
	}
}

// place is a connection that has a place, or waits for one.
type place struct {
	net.Conn
	in   *places
	from netip.Addr
	late *time.Timer // while it waits

	// Under the lock of in:
	state placeState
	at    *list.Element // in the list of those that wait, or of those that are not proven
	ready *list.Element // nil once it is accepted
	heavy *list.Element // nil where it is not

	read atomic.Int64 // bytes of the request that is to come, or of the handshake
}

type placeState uint8

const (
	isGone placeState = iota
	isWaiting
	isUnproven
	isProven
)

// accept takes connections until the listener is closed.
func (p *places) accept(ctx context.Context) {
	defer p.Close()
	for pause := time.Duration(0); ; {
		conn, err := p.listener.Accept()
		if err == nil {
			pause = 0
			p.arrive(conn)
			continue
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second) // there may be too many open files
		select {
		case <-ctx.Done():
			return
		case <-p.ended:
			return
		case <-time.After(pause):
		}
	}
}

// arrive gives the connection a place, or has it wait for one. Of those that wait none has more than a source's share.
func (p *places) arrive(conn net.Conn) {
	c := &place{Conn: conn, in: p, from: sourceOf(conn.RemoteAddr().String())}
	if gone := p.receive(c); gone != nil {
		_ = gone.Conn.Close()
	}
}

// receive returns the connection that is to be closed instead: one that made room, or the new one.
func (p *places) receive(c *place) (gone *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.sources[c.from]
	if v == nil {
		v = &visitors{}
	}
	full := v.taken >= p.share || p.taken >= p.total
	if full {
		gone = p.oldest(v)
	}
	switch {
	case p.closed:
		return c
	case gone != nil:
		p.remove(gone)
		p.admit(c, v)
	case !full:
		p.admit(c, v)
	case v.waiting < p.share && p.waiting.Len() < p.total:
		p.wait(c, v)
	default:
		return c
	}
	return gone
}

// oldest is the connection that makes room for one of these visitors; nil: there is none.
func (p *places) oldest(v *visitors) *place {
	if v.taken < p.share {
		for _, other := range p.sources {
			if other.unproven.Len() > v.unproven.Len() {
				v = other
			}
		}
	}
	if e := v.unproven.Front(); e != nil {
		return e.Value.(*place)
	}
	return nil
}

func (p *places) admit(c *place, v *visitors) {
	p.sources[c.from] = v
	p.taken++
	v.taken++
	c.state, c.at = isUnproven, v.unproven.PushBack(c)
	c.ready = p.ready.PushBack(c)
	select {
	case p.more <- struct{}{}:
	default:
	}
}

func (p *places) wait(c *place, v *visitors) {
	p.sources[c.from] = v
	v.waiting++
	c.state, c.at = isWaiting, p.waiting.PushBack(c)
	c.late = time.AfterFunc(p.patience, func() { _ = c.Close() })
}

// remove takes the connection out, whatever it was; false: it was out.
func (p *places) remove(c *place) bool {
	v := p.sources[c.from]
	switch c.state {
	case isGone:
		return false
	case isWaiting:
		p.waiting.Remove(c.at)
		c.late.Stop()
		v.waiting--
	case isUnproven:
		v.unproven.Remove(c.at)
	}
	p.lighten(c, v)
	if c.ready != nil {
		p.ready.Remove(c.ready)
		c.ready = nil
	}
	if c.state != isWaiting {
		p.taken--
		v.taken--
	}
	c.state = isGone
	if v.taken == 0 && v.waiting == 0 {
		delete(p.sources, c.from)
	}
	return true
}

// Close gives the place to the first that waits and may have it.
func (c *place) Close() error {
	p := c.in
	p.mu.Lock()
	if p.remove(c) {
		p.fill()
	}
	p.mu.Unlock()
	return c.Conn.Close()
}

func (p *places) fill() {
	for e := p.waiting.Front(); e != nil && p.taken < p.total && !p.closed; {
		c := e.Value.(*place)
		e = e.Next()
		if v := p.sources[c.from]; v.taken < p.share && c.late.Stop() {
			p.waiting.Remove(c.at)
			v.waiting--
			p.admit(c, v)
		}
	}
}

// Read counts what comes.
func (c *place) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if read := c.read.Add(int64(n)); read > longHeader && read-int64(n) <= longHeader {
		if gone := c.in.weigh(c); gone != nil {
			_ = gone.Close()
		}
	}
	return n, err
}

// weigh notes that the connection is within a long header, and returns the one that is to be closed for it, if there
// are too many: the oldest of the source that has most of them.
func (p *places) weigh(c *place) (gone *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.state != isUnproven || c.heavy != nil {
		return nil
	}
	most := p.sources[c.from]
	c.heavy = most.heavy.PushBack(c)
	if p.heavy++; p.heavy <= maxHeavy {
		return nil
	}
	for _, v := range p.sources {
		if v.heavy.Len() > most.heavy.Len() {
			most = v
		}
	}
	return most.heavy.Front().Value.(*place)
}

// requested notes that a request is complete, but for its body.
func (c *place) requested() {
	if c.read.Swap(0) <= longHeader {
		return
	}
	p := c.in
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.sources[c.from]; v != nil {
		p.lighten(c, v)
	}
}

func (p *places) lighten(c *place, v *visitors) {
	if c.heavy != nil {
		v.heavy.Remove(c.heavy)
		c.heavy = nil
		p.heavy--
	}
}

// CloseWrite ends what is sent to the client, where the connection can.
func (c *place) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// prove notes whether somebody with a good key uses the connection.
func (c *place) prove(proven bool) {
	p := c.in
	p.mu.Lock()
	defer p.mu.Unlock()
	switch v := p.sources[c.from]; {
	case proven && c.state == isUnproven:
		p.lighten(c, v)
		v.unproven.Remove(c.at)
		c.state = isProven
	case !proven && c.state == isProven:
		c.state, c.at = isUnproven, v.unproven.PushBack(c)
	}
}

// Accept returns the next connection that has a place. There is one caller.
func (p *places) Accept() (net.Conn, error) {
	for {
		if c := p.next(); c != nil {
			return c, nil
		}
		select {
		case <-p.more:
		case <-p.ended:
			return nil, net.ErrClosed
		}
	}
}

func (p *places) next() *place {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.ready.Front()
	if e == nil {
		return nil
	}
	c := p.ready.Remove(e).(*place)
	c.ready = nil
	return c
}

// Close ends the listener, and the connections that wait or that nobody took.
func (p *places) Close() error {
	err := p.listener.Close()
	for _, c := range p.shut() {
		_ = c.Close()
	}
	return err
}

func (p *places) shut() (left []*place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.ended)
	}
	for _, l := range []*list.List{&p.waiting, &p.ready} {
		for e := l.Front(); e != nil; e = e.Next() {
			left = append(left, e.Value.(*place))
		}
	}
	return left
}

// Addr is where the listener listens.
func (p *places) Addr() net.Addr { return p.listener.Addr() }

type placeKey struct{}

// withPlace is for http.Server.ConnContext: what is known of a connection is known to its requests.
func withPlace(ctx context.Context, conn net.Conn) context.Context {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	if checked, ok := conn.(*httpsConn); ok {
		conn = checked.Conn
	}
	return context.WithValue(ctx, placeKey{}, conn.(*place))
}

// placeOf is the place of the connection that the request came over.
func placeOf(r *http.Request) *place { return r.Context().Value(placeKey{}).(*place) }
