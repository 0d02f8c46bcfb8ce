package node

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// Reasons finds why the PowerDNS beside a role does not give, take or serve a zone: by what PowerDNS itself has logged
// of the zone, which its API shows, by causes that are known, and by its settings. It is safe for concurrent use.
type Reasons struct {
	*Settings

	// Under mu.
	mu    sync.Mutex
	read  time.Time    // when the log was read last
	news  powerdns.Log // what it had since base
	base  powerdns.Log // as it was at least logWindow ago, or at the beginning
	next  powerdns.Log // what becomes the base
	based time.Time    // when next was read
}

// NewReasons returns reasons of the PowerDNS with these settings.
func NewReasons(settings *Settings) *Reasons { return &Reasons{Settings: settings} }

const (
	logPause    = 500 * time.Millisecond // between two readings of the log: all zones that fail meanwhile share one
	logPatience = 2 * time.Second
	logWindow   = 15 * time.Second // longer than an attempt mostly takes; what is older than twice that does not count

	saidMost = 2 // messages
)

// Reason is an error about a zone with its cause.
type Reason struct {
	Cause powerdns.Cause // without a name where none is known
	Said  []string       // what PowerDNS has logged of the zone
	Err   error
}

// Error begins with the cause and the remedy: the end of long reasons is cut.
func (r *Reason) Error() string {
	var parts []string
	if r.Cause.Name != "" {
		parts = append(parts, r.Cause.Name+": "+r.Cause.Remedy)
	}
	if len(r.Said) > 0 {
		parts = append(parts, "PowerDNS says: "+strings.Join(r.Said, "; "))
	}
	return strings.Join(append(parts, r.Err.Error()), "; ")
}

// Unwrap returns the error.
func (r *Reason) Unwrap() error { return r.Err }

// Begin forgets what PowerDNS has logged until now: it is about what was.
func (r *Reasons) Begin(ctx context.Context) {
	all, err := r.api.Log(ctx)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.base, r.next, r.based, r.news = all, all, time.Now(), nil
}

// Explain returns the error, which is about a zone and came of PowerDNS, as a [*Reason] where more is known. Nil
// reasons know nothing.
func (r *Reasons) Explain(ctx context.Context, name zone.Name, err error) error {
	if r == nil || err == nil || ctx.Err() != nil || errors.As(err, new(*Reason)) {
		return err
	}
	said, sure := r.said(ctx, name, err)
	texts := []string{err.Error()}
	if sure {
		texts = append(texts, said...)
	}
	cause, known := r.causeOf(texts...)
	if !known && len(said) == 0 {
		return err
	}
	return &Reason{Cause: cause, Said: said[:min(len(said), saidMost)], Err: err}
}

// said is what PowerDNS has logged of the zone lately. Where it breaks off connections it may be about another zone: it
// is sure only if there is nothing else.
func (r *Reasons) said(ctx context.Context, name zone.Name, err error) (said []string, sure bool) {
	news := r.log(ctx)
	if said = news.Trouble(name); len(said) > 0 {
		return said, true
	}
	if broken, is := errors.AsType[*transfer.BrokenOff](err); is {
		said = news.Broken(broken.Client)
	}
	return said, len(said) == 1
}

// log reads what PowerDNS has logged lately, or returns what it had a moment ago. Nothing is known of a log that cannot
// be read: the error that is to be explained says more then.
func (r *Reasons) log(ctx context.Context) powerdns.Log {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.read) < logPause {
		return r.news
	}
	r.read, r.news = now, nil
	ctx, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	all, err := r.api.Log(ctx)
	if err != nil {
		return nil
	}
	if r.next == nil || now.Sub(r.based) >= logWindow {
		r.base, r.next, r.based = r.next, all, now
	}
	r.news = all.Since(r.base)
	return r.news
}
