package broker

import (
	"context"
	"fmt"
	"sync"
)

// link is what is known of the connection: the present one, and why there is none.
type link struct {
	made signals // raised for each new connection

	mu      sync.Mutex
	present context.Context // ends, with ErrDisconnected as its cause, when the present connection is lost
	cut     context.CancelCauseFunc
	failed  error // why there is no connection
	count   uint64
}

func newLink() *link {
	l := &link{}
	l.present, l.cut = context.WithCancelCause(context.Background())
	l.cut(ErrDisconnected) // until there is a connection
	return l
}

// begin is called for each new connection.
func (l *link) begin() {
	l.mu.Lock()
	l.failed = nil
	l.count++
	l.cut(ErrDisconnected)
	l.present, l.cut = context.WithCancelCause(context.Background())
	l.mu.Unlock()
	l.made.raise()
}

// counted is how many connections there were.
func (l *link) counted() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// end is called when the connection is lost.
func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut(ErrDisconnected)
}

// fail keeps why there is no connection, and reports whether that is news.
func (l *link) fail(err error) (news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	news = err != nil && (l.failed == nil || l.failed.Error() != err.Error())
	l.failed = err
	return news
}

// now is the present connection as a context.
func (l *link) now() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.present
}

// err says why there is no connection, as far as is known; nil while there is one.
func (l *link) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil || l.present.Err() == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrDisconnected, l.failed)
}

// signals wakes any number of listeners.
type signals struct {
	mu        sync.Mutex
	listeners map[chan struct{}]struct{}
}

func (s *signals) listen() (ch chan struct{}, stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners == nil {
		s.listeners = make(map[chan struct{}]struct{})
	}
	ch = make(chan struct{}, 1)
	s.listeners[ch] = struct{}{}
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, ch)
	}
}

func (s *signals) raise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.listeners {
		raise(ch)
	}
}

// raise leaves a value in a channel of capacity one.
func raise(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
