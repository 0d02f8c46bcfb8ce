package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"pdns-distribute/powerdns/local"
)

// flow is what a relay does with what it is given.
type flow int

const (
	passing flow = iota
	delaying
	stalling // connections stay, and nothing comes through them
	cutting  // connections are closed, and new ones, too
)

// relay stands between a role and what it connects to, by TCP and by UDP.
type relay struct {
	name, address, target string

	tcp  net.Listener
	udp  net.PacketConn
	work sync.WaitGroup

	mu      sync.Mutex
	flow    flow
	changed chan struct{} // closed when flow changes
	open    map[io.Closer]bool
	closed  bool
}

// delay is what each piece takes longer through a relay that delays.
const delay = 60 * time.Millisecond

// newRelay listens on the same host as the target, whose certificate may name it.
func newRelay(name, target string) (*relay, error) {
	free, err := local.FreeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(free)
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	r := &relay{name: name, address: net.JoinHostPort(host, port), target: target, changed: make(chan struct{}), open: map[io.Closer]bool{}}
	if r.tcp, err = net.Listen("tcp", r.address); err != nil {
		return nil, err
	}
	if r.udp, err = net.ListenPacket("udp", r.address); err != nil {
		r.tcp.Close()
		return nil, err
	}
	r.work.Go(r.accept)
	r.work.Go(r.receive)
	return r, nil
}

// set changes the flow.
func (r *relay) set(f flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flow = f
	close(r.changed)
	r.changed = make(chan struct{})
	if f == cutting {
		r.closeAll()
	}
}

func (r *relay) closeAll() {
	for c := range r.open {
		c.Close()
	}
}

func (r *relay) close() {
	r.tcp.Close()
	r.udp.Close()
	r.mu.Lock()
	r.closed = true
	close(r.changed)
	r.changed = make(chan struct{})
	r.closeAll()
	r.mu.Unlock()
	r.work.Wait()
}

func (r *relay) keep(c io.Closer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.flow == cutting {
		c.Close()
		return false
	}
	r.open[c] = true
	return true
}

func (r *relay) drop(c io.Closer) {
	c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, c)
}

// let waits until something may pass; false when the relay is closed.
func (r *relay) let() bool {
	for {
		r.mu.Lock()
		f, changed, closed := r.flow, r.changed, r.closed
		r.mu.Unlock()
		switch {
		case closed:
			return false
		case f == delaying:
			time.Sleep(delay)
			return true
		case f != stalling:
			return true
		}
		<-changed
	}
}

func (r *relay) accept() {
	for {
		client, err := r.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // out of descriptors
			continue
		}
		if r.keep(client) {
			r.work.Go(func() { r.join(client) })
		}
	}
}

// join connects a client with the target. While the relay stalls the client has a connection, and nobody hears it.
func (r *relay) join(client net.Conn) {
	defer r.drop(client)
	if !r.let() {
		return
	}
	target, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", r.target)
	if err != nil || !r.keep(target) {
		return
	}
	defer r.drop(target)
	var back sync.WaitGroup
	back.Go(func() { r.pass(client, target) })
	r.pass(target, client)
	back.Wait()
}

// pass copies one direction until its end, and passes the end on.
func (r *relay) pass(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !r.let() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				from.Close()
				return
			}
		}
		if err == nil {
			continue
		}
		if half, is := to.(*net.TCPConn); is && errors.Is(err, io.EOF) {
			r.let()
			_ = half.CloseWrite() // closed already: nothing to pass on
			return
		}
		to.Close()
		return
	}
}

// receive passes questions by UDP on, each from a socket of its own, and the answer back.
func (r *relay) receive() {
	buf := make([]byte, 64<<10)
	for {
		n, client, err := r.udp.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || r.loses() {
			continue
		}
		packet := append([]byte(nil), buf[:n]...)
		r.work.Go(func() { r.exchange(client, packet) })
	}
}

func (r *relay) loses() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flow == stalling || r.flow == cutting || r.closed
}

func (r *relay) exchange(client net.Addr, packet []byte) {
	if !r.let() {
		return
	}
	target, err := net.Dial("udp", r.target)
	if err != nil || !r.keep(target) {
		return
	}
	defer r.drop(target)
	if _, err := target.Write(packet); err != nil {
		return
	}
	_ = target.SetReadDeadline(time.Now().Add(2 * time.Second))
	buf := make([]byte, 64<<10)
	n, err := target.Read(buf)
	if err != nil || r.loses() {
		return
	}
	_, _ = r.udp.WriteTo(buf[:n], client) // lost, as packets may be
}

// relays are those of an installation, by name: the role, an arrow, and what it connects to.
type relays struct {
	mu     sync.Mutex
	byName map[string]*relay
}

// between is for fleet.Options.Between.
func (r *relays) between(id, to, address string) (string, error) {
	made, err := newRelay(id+">"+to, address)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byName[made.name] = made
	return made.address, nil
}

func (r *relays) close() {
	for _, each := range r.byName {
		each.close()
	}
}

// rest waits, or until ctx ends, which it tells by false.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
